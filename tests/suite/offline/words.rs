//! What people are told where there is little to tell, or where what they gave cannot be read.

use super::support::{over, pod, policy};

fn closed() -> String {
    policy("shop/deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}")
        + &pod("shop/web", "app: web", "", "podIP: 10.0.0.1")
        + &pod("shop/db", "app: db", "", "podIP: 10.0.0.2")
}

#[test]
fn a_list_without_a_flow_says_so() {
    let ran = over(&closed(), &["list"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "No flow is allowed.\n"), "{ran:?}");
    let part = over(&closed(), &["list", "--from", "shop/web", "--to", "shop/db", "--port", "5432"]);
    assert_eq!(part.out, "No flow is allowed from shop/web to shop/db on 5432.\n", "{part:?}");
    let json = over(&closed(), &["list", "-o", "json"]).json();
    assert_eq!(json["flows"], serde_json::json!([]));
    let open = over(&pod("shop/web", "app: web", "", "podIP: 10.0.0.1"), &["list"]);
    assert!(!open.out.is_empty() && !open.out.contains("No flow"), "{open:?}");
}
