//! The list of intended flows in the artifact: held against the policies in each run, and never silently left out.

use netpol_verify::model::{Finding, FindingRule, Severity, Verdict};

use crate::usecase::{
    fake::{Fake, Ran, main},
    shop::{Files, checked},
};

const LIST: &str = "schema: netpol-verify/allowlist/v1
namespaces:
- match: shop
  egress:
  - {to: redis.redis, ports: [6379], reason: Sessions}
  - {to: kube-dns.kube-system, ports: [53], reason: Names}
- match: redis
  ingress:
  - {from: shop, ports: [6379], reason: Sessions of the shop}
";
const PAYMENTS: &str = "  - {to: api.bank, ports: [8080], reason: Payments}\n";
const NAMES: &str = "  - {to: kube-dns.kube-system, ports: [53], reason: Names}\n";

fn with(entry: &str) -> String {
    LIST.replace(NAMES, &format!("{NAMES}{entry}"))
}

/// The shop after its first check, with a list.
async fn listed(list: &str) -> (Fake, Files) {
    let (fake, files) = checked().await;
    fake.configure("allowlist: ./infra/allowlist.yaml");
    fake.world().allowlist = Some(list.to_owned());
    (fake, files)
}

fn told(ran: &Ran) -> Vec<&Finding> {
    let rules = [FindingRule::AllowlistMissing, FindingRule::AllowlistExcess, FindingRule::AllowlistUntold];
    ran.report.as_ref().unwrap().findings.iter().filter(|finding| rules.contains(&finding.rule)).collect()
}

#[track_caller]
fn one(ran: &Ran, rule: FindingRule, severity: Severity) -> &Finding {
    let all = told(ran);
    let [finding] = all.as_slice() else { panic!("{all:#?}") };
    assert_eq!((finding.rule, finding.severity), (rule, severity), "{finding:#?}");
    finding
}

#[tokio::test]
async fn policies_that_are_as_intended_are_green() {
    let (fake, _) = listed(LIST).await;
    let ran = fake.scheduled().await;
    assert_eq!((ran.exit, ran.verdict(), told(&ran).len()), (0, Verdict::Verified, 0), "{ran:#?}");
}

#[tokio::test]
async fn an_intended_flow_that_is_not_open_is_an_error_until_it_is() {
    let (fake, mut files) = listed(&with(PAYMENTS)).await;
    let red = fake.scheduled().await;
    assert_eq!((red.exit, red.verdict()), (1, Verdict::Finding), "{red:#?}");
    assert!(red.headline().contains("1 intended flow is not open"), "{}", red.headline());
    let finding = one(&red, FindingRule::AllowlistMissing, Severity::Error);
    assert!(
        finding.message.starts_with("the intended flow shop → api.bank:8080 (Payments) is not open: "),
        "{finding:#?}"
    );
    assert_eq!(finding.origin.as_ref().unwrap().to_string(), "infra/allowlist.yaml:7:5");
    assert_eq!(finding.namespace.as_deref(), Some("shop"));
    assert!(finding.fix.is_some(), "{finding:#?}");
    let again = fake.scheduled().await;
    assert_eq!((again.exit, again.events.len()), (1, 0), "said once, and still red: {again:#?}");
    fake.push(files.bank_egress().bank_ingress());
    let cured = fake.run().await;
    assert_eq!((cured.exit, told(&cured).len()), (0, 0), "{cured:#?}");
}

#[tokio::test]
async fn a_flow_that_the_list_does_not_intend_is_an_error_at_its_rule_until_it_does() {
    let (fake, mut files) = listed(LIST).await;
    assert_eq!(fake.scheduled().await.exit, 0);
    fake.push(files.bank_egress().bank_ingress());
    let red = fake.run().await;
    assert_eq!((red.exit, red.verdict()), (1, Verdict::Finding), "{red:#?}");
    assert!(red.headline().contains("1 rule opens what no table intends"), "{}", red.headline());
    let finding = one(&red, FindingRule::AllowlistExcess, Severity::Error);
    let words = "NetworkPolicy/shop/web-egress-api egress[0] lets through shop/web → bank/api:8080, which nothing in infra/allowlist.yaml intends";
    assert!(finding.message.starts_with(words), "{finding:#?}");
    assert_eq!(finding.origin.as_ref().unwrap().file, "infra/shop/bank.yaml");
    fake.world().allowlist = Some(with(PAYMENTS));
    let cured = fake.scheduled().await;
    assert_eq!((cured.exit, told(&cured).len()), (0, 0), "{cured:#?}");
}

#[tokio::test]
async fn an_accepted_one_does_not_count() {
    let (fake, _) = listed(&with(PAYMENTS)).await;
    fake.configure("accept: [{finding: allowlist-missing, namespace: shop, reason: next week, until: 2027-01-01}]");
    let ran = fake.scheduled().await;
    assert_eq!(ran.exit, 0, "{ran:#?}");
}

#[tokio::test]
async fn a_list_that_is_not_in_the_artifact_or_broken_is_an_error_and_cures_nothing() {
    let (fake, _) = listed(&with(PAYMENTS)).await;
    assert_eq!(fake.scheduled().await.exit, 1);
    fake.world().allowlist = Some(with("  - {to: api.bank, prots: [8080], reason: Payments}\n"));
    let broken = fake.scheduled().await;
    assert_eq!(broken.exit, 1, "{broken:#?}");
    let finding = one(&broken, FindingRule::AllowlistUntold, Severity::Error);
    assert!(finding.message.starts_with("infra/allowlist.yaml:7:20: unknown field `prots`"), "{finding:#?}");
    assert_eq!(finding.origin.as_ref().unwrap().to_string(), "infra/allowlist.yaml:7:20");
    let is_kept = |ran: &Ran| ran.report.as_ref().unwrap().cleared.is_empty();
    assert!(is_kept(&broken), "the flow that was missing is not seen to be open: {broken:#?}");
    fake.world().allowlist = None;
    let absent = fake.scheduled().await;
    assert_eq!(absent.exit, 1, "{absent:#?}");
    let finding = one(&absent, FindingRule::AllowlistUntold, Severity::Error);
    let words = "infra/allowlist.yaml is not in the artifact of flux-system/network-policies";
    assert!(finding.message.starts_with(words) && is_kept(&absent), "{absent:#?}");
    fake.world().allowlist = Some(LIST.to_owned());
    assert_eq!(fake.scheduled().await.exit, 0, "the control");
}

#[tokio::test]
async fn an_artifact_that_is_not_to_be_had_cures_nothing_of_the_list() {
    let (fake, _) = listed(&with(PAYMENTS)).await;
    assert_eq!(fake.scheduled().await.exit, 1);
    fake.world().kustomizations.get_mut(&main()).unwrap().fetch_fault = Some("the artifact is gone".to_owned());
    let blind = fake.scheduled().await;
    assert_eq!(blind.exit, 1, "{blind:#?}");
    let finding = one(&blind, FindingRule::AllowlistUntold, Severity::Warning);
    assert!(
        finding.message.contains("could not be read: the artifact of flux-system/network-policies"),
        "{finding:#?}"
    );
    assert!(blind.report.as_ref().unwrap().cleared.is_empty(), "{blind:#?}");
}

#[tokio::test]
async fn a_name_whose_addresses_are_not_known_is_said_once_and_looked_at_when_they_are() {
    let (fake, _) = listed(&with("  - {to: api.example.org, ports: [443], reason: Models}\n")).await;
    let unknown = fake.scheduled().await;
    assert_eq!((unknown.exit, unknown.verdict()), (3, Verdict::Inconclusive), "{unknown:#?}");
    let finding = one(&unknown, FindingRule::AllowlistUntold, Severity::Warning);
    assert!(finding.message.starts_with("the intended flow to `api.example.org` is not looked at"), "{finding:#?}");
    let again = fake.scheduled().await;
    assert_eq!((again.exit, again.events.len(), told(&again).len()), (0, 0, 1), "said once, then counted: {again:#?}");
    fake.configure("destinations: [{name: api.example.org, ports: [443]}]");
    fake.world().names.insert("api.example.org".to_owned(), vec![std::net::IpAddr::from([192, 0, 2, 7])]);
    let known = fake.scheduled().await;
    assert_eq!(known.exit, 1, "{known:#?}");
    let finding = one(&known, FindingRule::AllowlistMissing, Severity::Error);
    assert!(
        finding.message.contains("shop → api.example.org at 192.0.2.7/32:443 (Models) is not open"),
        "{finding:#?}"
    );
}
