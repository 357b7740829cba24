//! Pods with addresses of both families, and a policy that decides the two otherwise.

use netpol_verify::model::{FlowResult, Outcome, Verdict};

use crate::usecase::shop::{BANK, checked};

/// bank/api may be reached from everywhere, over IPv6.
const FROM_IPV6: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api-ingress-six, namespace: bank}
spec:
  podSelector:
    matchLabels: {app: api}
  policyTypes: [Ingress]
  ingress:
  - from:
    - ipBlock: {cidr: fd00::/8}
    ports:
    - {protocol: TCP, port: 8080}
";

#[tokio::test]
async fn a_flow_that_is_open_over_ipv6_alone_is_not_called_open() {
    let (fake, mut files) = checked().await;
    for (number, name) in ["shop/web", "bank/api"].into_iter().enumerate() {
        fake.pod_of(name, |p| p.info.ips.push(format!("fd00::{}", number + 1).parse().unwrap()));
    }
    fake.push(files.bank_egress().put("infra/bank/six.yaml", FROM_IPV6));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding), "{ran:#?}");
    assert_eq!(ran.flow(BANK).result, FlowResult::MissingEntry);
    let six = ran.flow(&format!("{BANK} (IPv6)"));
    assert_eq!(
        (six.result, six.observed, six.target.as_deref()),
        (FlowResult::Verified, Outcome::Open, Some("fd00::2"))
    );
    assert!(ran.root().body.contains("shop/web → bank/api:8080 "), "{}", ran.root().body);
    files.paste(&ran.flow(BANK).entries[0].clone());
    fake.push(&files);
    let cured = fake.run().await;
    assert_eq!((cured.exit, cured.verdict()), (0, Verdict::Verified), "{cured:#?}");
    assert!(fake.state().findings.is_empty());
}
