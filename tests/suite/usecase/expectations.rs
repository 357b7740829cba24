//! Configured expectations: met, not met, not looked at.

use netpol_verify::model::{FindingRule, Verdict};

use crate::usecase::{
    fake::Fake,
    shop::{Files, checked},
};

/// An address outside, which the base policies open to nobody.
const OUTSIDE: &str = "10.9.9.9:443";

async fn expecting(is: &str) -> (Fake, Files) {
    let (fake, files) = checked().await;
    fake.configure(&format!("expectations: [{{from: {{namespace: shop}}, to: '{OUTSIDE}', is: {is}}}]"));
    fake.world().outside.insert((std::net::IpAddr::from([10, 9, 9, 9]), 443));
    (fake, files)
}

fn toolless(fake: &Fake, toolless: bool) {
    for pod in fake.world().pods.iter_mut().filter(|p| p.info.id.namespace == "shop") {
        pod.has_nc = !toolless;
    }
}

#[tokio::test]
async fn what_is_closed_as_expected_is_green_and_what_should_be_open_is_not() {
    let (fake, _) = expecting("unreachable").await;
    let met = fake.scheduled().await;
    assert_eq!((met.exit, met.verdict()), (0, Verdict::Verified), "{met:#?}");
    let (fake, _) = expecting("reachable").await;
    let missed = fake.scheduled().await;
    assert_eq!((missed.exit, missed.verdict()), (1, Verdict::Finding), "{missed:#?}");
    assert!(missed.root().body.contains("10.9.9.9:443 should be reachable from shop/"), "{}", missed.root().body);
}

#[tokio::test]
async fn from_pods_without_a_tool_it_is_said_once_and_looked_at_when_there_is_one() {
    let (fake, _) = expecting("unreachable").await;
    toolless(&fake, true);
    let blind = fake.scheduled().await;
    assert_eq!((blind.exit, blind.verdict()), (3, Verdict::Inconclusive), "{blind:#?}");
    assert!(blind.root().body.contains("has no `nc` and no bash to look with"), "{}", blind.root().body);
    let again = fake.scheduled().await;
    assert_eq!((again.exit, again.events.len()), (0, 0), "no retry cures it: {again:#?}");
    assert!(again.report.unwrap().findings.iter().any(|f| f.rule == FindingRule::NotReadable), "and still counted");
    toolless(&fake, false);
    let seen = fake.scheduled().await;
    assert_eq!(seen.exit, 0, "{seen:#?}");
    assert!(!seen.report.unwrap().findings.iter().any(|f| f.rule == FindingRule::NotReadable));
}

#[tokio::test]
async fn one_that_is_not_met_stays_open_over_merges_that_touch_nothing() {
    let (fake, files) = expecting("reachable").await;
    assert_eq!(fake.scheduled().await.exit, 1);
    fake.push(&files);
    let merge = fake.run().await;
    assert_eq!(merge.exit, 1, "a merge that does not look cures nothing: {merge:#?}");
    assert!(!merge.events.iter().any(|e| e.body.contains("clears")), "{:#?}", merge.events);
}

#[tokio::test]
async fn the_control_of_unreachable_is_that_an_open_way_is_an_error() {
    let (fake, mut files) = expecting("unreachable").await;
    let rule = "  - to: [{ipBlock: {cidr: 10.9.9.9/32}}]\n    ports: [{port: 443}]\n";
    let open = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: out, namespace: shop}}\nspec:\n  \
         podSelector: {{}}\n  policyTypes: [Egress]\n  egress:\n{rule}"
    );
    fake.push(files.put("infra/shop/out.yaml", &open));
    let ran = fake.run().await;
    assert_eq!(ran.exit, 1, "{ran:#?}");
    assert!(
        ran.report.unwrap().findings.iter().any(|f| f.message.contains("should be unreachable, is open from shop/"))
    );
}
