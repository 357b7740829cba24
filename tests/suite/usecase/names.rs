//! Hosts outside by their names: what the source pod's own resolver says decides, and a name that moves is told.

use std::net::IpAddr;

use netpol_verify::model::{Finding, FindingRule, FlowResult, Outcome, Severity, Unseen, Verdict};

use crate::usecase::{
    fake::{Fake, Ran},
    shop::{Files, checked},
};

const HOST: &str = "pg01.example.org";
const FLOW: &str = "shop/web -> pg01.example.org:5432/TCP";
const OLD: [u8; 4] = [10, 0, 5, 4];
const NEW: [u8; 4] = [10, 0, 7, 9];

fn addresses(all: &[[u8; 4]]) -> Vec<IpAddr> {
    all.iter().map(|address| IpAddr::from(*address)).collect()
}

/// What DNS says of the host; it listens wherever it is.
fn leads_to(fake: &Fake, all: &[[u8; 4]]) {
    let mut world = fake.world();
    world.names.insert(HOST.to_owned(), addresses(all));
    world.outside.extend(addresses(all).into_iter().map(|address| (address, 5432)));
}

/// What the pods of a workload see in place of that.
fn to_pods_of(fake: &Fake, workload: &str, all: &[[u8; 4]]) {
    let mut world = fake.world();
    world.pod_names.insert((workload.to_owned(), HOST.to_owned()), addresses(all));
    world.outside.extend(addresses(all).into_iter().map(|address| (address, 5432)));
}

/// `app` may reach these blocks on the host's port.
fn out(app: &str, blocks: &[&str]) -> String {
    let blocks: Vec<String> = blocks.iter().map(|block| format!("    - ipBlock: {{cidr: {block}}}\n")).collect();
    let blocks = blocks.concat();
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {app}-out\n  namespace: shop\nspec:\n  \
         podSelector:\n    matchLabels: {{app: {app}}}\n  policyTypes: [Egress]\n  egress:\n  - to:\n{blocks}    ports:\n    \
         - {{protocol: TCP, port: 5432}}\n"
    )
}

fn open(fake: &Fake, files: &mut Files, blocks: &[&str]) {
    fake.push(files.put("infra/shop/out.yaml", &out("web", blocks)));
}

/// A cluster whose shop/web was seen to reach the host where it is.
async fn seen() -> (Fake, Files) {
    let (fake, mut files) = checked().await;
    fake.configure(&format!("destinations: [{{name: {HOST}, ports: [5432]}}]"));
    leads_to(&fake, &[OLD]);
    open(&fake, &mut files, &["10.0.5.4/32"]);
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.flow(FLOW).result), (0, FlowResult::Verified), "{ran:#?}");
    (fake, files)
}

fn moved(ran: &Ran) -> Vec<&Finding> {
    let findings = ran.report.as_ref().unwrap().findings.iter();
    findings.filter(|f| f.rule == FindingRule::MovedName && f.severity != Severity::Info).collect()
}

fn texts(ran: &Ran) -> Vec<&str> {
    ran.report.as_ref().unwrap().findings.iter().map(|f| f.message.as_str()).collect()
}

#[tokio::test]
async fn the_address_that_the_pod_sees_is_probed_and_not_the_verifiers() {
    let (fake, mut files) = checked().await;
    fake.configure(&format!("destinations: [{{name: {HOST}, ports: [5432]}}]"));
    leads_to(&fake, &[OLD]);
    to_pods_of(&fake, "shop/web", &[NEW]);
    open(&fake, &mut files, &["10.0.7.9/32"]);
    let ran = fake.run().await;
    let flow = ran.flow(FLOW);
    assert_eq!((flow.target.as_deref(), flow.result), (Some("10.0.7.9"), FlowResult::Verified), "{ran:#?}");
    let said = "pg01.example.org is 10.0.5.4 to the verifier, and 10.0.7.9 in shop/web: what a pod sees itself is what \
                is looked at from it";
    assert!(texts(&ran).contains(&said), "{:#?}", texts(&ran));
    assert_eq!(ran.exit, 0, "a remark, and no trouble: {ran:#?}");
}

/// The other way round: the policy allows what the plan had, and the pod goes elsewhere.
#[tokio::test]
async fn a_block_that_only_the_verifiers_address_lies_in_is_not_verified() {
    let (fake, mut files) = checked().await;
    fake.configure(&format!("destinations: [{{name: {HOST}, ports: [5432]}}]"));
    leads_to(&fake, &[OLD]);
    to_pods_of(&fake, "shop/web", &[NEW]);
    open(&fake, &mut files, &["10.0.5.4/32"]);
    let ran = fake.run().await;
    assert!(ran.flows().iter().all(|flow| flow.port != 5432 || flow.result != FlowResult::Verified), "{ran:#?}");
    assert_eq!(ran.exit, 3, "{ran:#?}");
}

#[tokio::test]
async fn a_name_is_asked_once_a_pod_and_run() {
    let (fake, mut files) = seen().await;
    fake.world().on_probe = Some(Box::new(|fake: &Fake| fake.replace("bank/api")));
    fake.push(files.bank_egress().bank_ingress());
    let ran = fake.run().await;
    assert_eq!(ran.exit, 0, "{ran:#?}");
    let world = fake.world();
    assert!(!world.resolved.is_empty(), "the workload whose rule is for the host looks where it is");
    assert!(world.resolved.values().all(|times| *times == 1), "{:?}", world.resolved);
}

#[tokio::test]
async fn a_pod_that_may_not_ask_dns_is_told_so_and_its_name_is_not_called_missing() {
    let (fake, mut files) = checked().await;
    fake.configure(&format!("destinations: [{{name: {HOST}, ports: [5432]}}]"));
    leads_to(&fake, &[OLD]);
    let shop = files.0["infra/shop/baseline.yaml"].clone();
    let (without_dns, _) = shop.split_once("---\n").unwrap();
    files.put("infra/shop/baseline.yaml", without_dns);
    open(&fake, &mut files, &["10.0.5.4/32"]);
    let ran = fake.run().await;
    let flow = ran.flow(FLOW);
    assert_eq!((flow.observed, flow.result), (Outcome::Dns, FlowResult::Inconclusive), "{ran:#?}");
    assert_eq!(flow.state, Some(Unseen::Unprobeable), "no retry cures it");
    assert!(flow.note.as_ref().unwrap().contains("no rule lets it ask the cluster's DNS"), "{flow:?}");
    assert_eq!((ran.exit, moved(&ran).len()), (3, 0), "{ran:#?}");
    let again = fake.scheduled().await;
    assert_eq!((again.exit, again.events.len()), (0, 0), "said once, then counted: {again:#?}");
    fake.push(files.put("infra/shop/baseline.yaml", &shop));
    let cured = fake.run().await;
    assert_eq!(cured.flow(FLOW).result, FlowResult::Verified, "{cured:#?}");
}

/// A name that nobody can resolve once cost a flow that was owed: it counted as gone.
#[tokio::test]
async fn a_flow_that_is_owed_stays_owed_while_its_name_cannot_be_resolved() {
    let (fake, mut files) = checked().await;
    fake.configure(&format!("destinations: [{{name: {HOST}, ports: [5432]}}]"));
    leads_to(&fake, &[OLD]);
    fake.world().outside.clear();
    open(&fake, &mut files, &["10.0.5.4/32"]);
    assert_eq!(fake.run().await.flow(FLOW).state, Some(Unseen::Pending));
    fake.world().names.clear();
    let blind = fake.scheduled().await;
    assert_eq!(blind.exit, 3, "{blind:#?}");
    assert!(fake.state().flows.contains_key(FLOW), "{:?}", fake.state().flows);
    leads_to(&fake, &[OLD]);
    let ran = fake.scheduled().await;
    assert_eq!((ran.exit, ran.flow(FLOW).result), (0, FlowResult::Verified), "{ran:#?}");
}

/// The first address once stood for all: a flow that was owed at another one counted as seen.
#[tokio::test]
async fn a_flow_is_owed_until_it_was_seen_at_every_address() {
    let (fake, mut files) = checked().await;
    fake.configure(&format!("destinations: [{{name: {HOST}, ports: [5432]}}]"));
    leads_to(&fake, &[OLD, NEW]);
    fake.world().outside.remove(&(IpAddr::from(NEW), 5432));
    open(&fake, &mut files, &["10.0.0.0/16"]);
    assert_eq!(fake.run().await.exit, 3);
    let again = fake.scheduled().await;
    assert_eq!(again.exit, 3, "one of two is dead: {again:#?}");
    assert!(fake.state().flows.contains_key(FLOW));
    leads_to(&fake, &[OLD, NEW]);
    let ran = fake.scheduled().await;
    assert_eq!(ran.exit, 0, "{ran:#?}");
    assert!(!fake.state().flows.contains_key(FLOW));
}

#[tokio::test]
async fn a_name_that_moved_is_told_once_with_what_to_paste_and_is_cured_by_it() {
    let (fake, mut files) = seen().await;
    leads_to(&fake, &[NEW]);
    let ran = fake.scheduled().await;
    assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding), "{ran:#?}");
    let [finding] = moved(&ran)[..] else { panic!("{ran:#?}") };
    assert_eq!(
        finding.message,
        "pg01.example.org moved to 10.0.7.9, NetworkPolicy shop/web-out still allows 10.0.5.4/32 \
         (infra/shop/out.yaml:11) and nothing lets shop/web through to it: let the policy follow, or correct the name"
    );
    assert!(ran.root().body.contains("moved to 10.0.7.9") && ran.root().mentions, "{:#?}", ran.events);
    let again = fake.scheduled().await;
    assert_eq!((again.exit, again.events.len(), moved(&again).len()), (1, 0, 1), "counted: {again:#?}");
    let fix = finding.fix.as_ref().unwrap();
    assert_eq!(fix.file.as_deref(), Some("infra/shop/out.yaml"), "beside the rule that is behind");
    files.paste(fix);
    fake.push(&files);
    let cured = fake.run().await;
    assert_eq!((cured.exit, moved(&cured).len()), (0, 0), "{cured:#?}");
    assert_eq!(cured.flow(FLOW).target.as_deref(), Some("10.0.7.9"), "and the way there is seen");
}

#[tokio::test]
async fn a_merge_finds_a_name_that_moved_too_and_moving_back_cures_it() {
    let (fake, mut files) = seen().await;
    leads_to(&fake, &[NEW]);
    fake.push(files.bank_egress().bank_ingress());
    let merge = fake.run().await;
    assert_eq!((merge.exit, moved(&merge).len()), (1, 1), "{merge:#?}");
    fake.push(files.remove("infra/bank/web.yaml").remove("infra/shop/bank.yaml"));
    assert_eq!(fake.run().await.exit, 1, "another merge cures nothing");
    leads_to(&fake, &[OLD]);
    let back = fake.scheduled().await;
    assert_eq!((back.exit, moved(&back).len()), (0, 0), "{back:#?}");
}

#[tokio::test]
async fn a_lookup_that_fails_neither_brings_nor_cures_it() {
    let (fake, _) = seen().await;
    fake.world().names.clear();
    let blind = fake.scheduled().await;
    assert_eq!((blind.exit, moved(&blind).len()), (0, 0), "{blind:#?}");
    leads_to(&fake, &[NEW]);
    assert_eq!(fake.scheduled().await.exit, 1);
    fake.world().names.clear();
    let blind = fake.scheduled().await;
    assert_eq!((blind.exit, moved(&blind).len(), blind.events.len()), (1, 1, 0), "{blind:#?}");
    fake.scale("shop/web", 0);
    let absent = fake.scheduled().await;
    assert_eq!((absent.exit, moved(&absent).len()), (1, 1), "nobody could look: {absent:#?}");
    fake.scale("shop/web", 1);
    leads_to(&fake, &[OLD]);
    assert_eq!(fake.scheduled().await.exit, 0);
}

#[tokio::test]
async fn a_rule_that_was_taken_out_is_no_name_that_moved() {
    let (fake, mut files) = seen().await;
    leads_to(&fake, &[NEW]);
    assert_eq!(fake.scheduled().await.exit, 1);
    fake.push(files.remove("infra/shop/out.yaml"));
    let ran = fake.run().await;
    assert_eq!(moved(&ran).len(), 0, "{ran:#?}");
}

#[tokio::test]
async fn an_address_more_that_no_rule_allows_is_told_as_a_part() {
    let (fake, mut files) = seen().await;
    leads_to(&fake, &[OLD, NEW]);
    let ran = fake.scheduled().await;
    let [finding] = moved(&ran)[..] else { panic!("{ran:#?}") };
    assert_eq!(
        finding.message,
        "pg01.example.org is 10.0.5.4, 10.0.7.9, and shop/web may not reach all of it: 10.0.7.9:5432 is closed, \
         NetworkPolicy shop/web-out still allows 10.0.5.4/32 (infra/shop/out.yaml:11); connections fail by turns until \
         each address is allowed"
    );
    assert_eq!(ran.exit, 1);
    assert_eq!(fake.scheduled().await.events.len(), 0, "once");
    leads_to(&fake, &[NEW]);
    let all = fake.scheduled().await;
    assert!(all.root().body.contains("moved to 10.0.7.9"), "the rest follows, and that is told: {all:#?}");
    open(&fake, &mut files, &["10.0.5.4/32", "10.0.7.9/32"]);
    let cured = fake.run().await;
    assert_eq!((cured.exit, moved(&cured).len()), (0, 0), "{cured:#?}");
}

/// What was never let through altogether may be meant so.
#[tokio::test]
async fn a_part_that_was_never_allowed_is_a_warning() {
    let (fake, mut files) = checked().await;
    fake.configure(&format!("destinations: [{{name: {HOST}, ports: [5432]}}]"));
    leads_to(&fake, &[OLD, NEW]);
    open(&fake, &mut files, &["10.0.5.4/32"]);
    let ran = fake.run().await;
    let [finding] = moved(&ran)[..] else { panic!("{ran:#?}") };
    assert_eq!((finding.severity, ran.exit), (Severity::Warning, 0), "{ran:#?}");
    let again = fake.scheduled().await;
    assert_eq!((again.exit, again.events.len()), (0, 0), "{again:#?}");
}

#[tokio::test]
async fn a_host_that_has_to_be_reachable_from_a_namespace_needs_a_rule_there() {
    let (fake, mut files) = checked().await;
    fake.configure(&format!("destinations: [{{name: {HOST}, ports: [5432], from: [\"sho*\"]}}]"));
    leads_to(&fake, &[OLD]);
    open(&fake, &mut files, &["10.0.5.4/32"]);
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.flow(FLOW).result), (1, FlowResult::Verified), "{ran:#?}");
    let [finding] = moved(&ran)[..] else { panic!("{ran:#?}") };
    assert_eq!(
        finding.message,
        "pg01.example.org (10.0.5.4) should be reachable from shop/cart (`from` of its destination), and no rule allows \
         it on 5432: add one, or correct `from`"
    );
    assert_eq!(finding.namespace.as_deref(), Some("shop"));
    assert!(finding.fix.as_ref().unwrap().entry.contains("10.0.5.4/32"), "{:?}", finding.fix);
    fake.push(files.put("infra/shop/cart.yaml", &out("cart", &["10.0.5.4/32"])));
    let cured = fake.run().await;
    assert_eq!((cured.exit, moved(&cured).len()), (0, 0), "{cured:#?}");
}

/// A state without names, as earlier versions wrote it.
#[tokio::test]
async fn after_an_upgrade_names_are_learned_and_nothing_is_told() {
    let (fake, _) = seen().await;
    let mut state = fake.state();
    assert!(!state.names.is_empty());
    state.names.clear();
    fake.world().state = Some(netpol_verify::state::encode(&state).unwrap());
    let ran = fake.scheduled().await;
    assert_eq!((ran.exit, ran.events.len()), (0, 0), "{ran:#?}");
    assert_eq!(fake.state().names[0].addresses, addresses(&[OLD]));
}

/// Accepted, it stays accepted while nobody can look.
#[tokio::test]
async fn what_is_accepted_is_not_told_again_by_a_lookup_that_fails() {
    let (fake, _) = seen().await;
    leads_to(&fake, &[NEW]);
    assert_eq!(fake.scheduled().await.exit, 1);
    fake.configure("accept: [{finding: moved-name, namespace: shop, reason: it comes back, until: 2027-01-31}]");
    assert_eq!(fake.scheduled().await.exit, 0);
    fake.world().names.clear();
    let blind = fake.scheduled().await;
    assert_eq!((blind.exit, blind.events.len(), moved(&blind).len()), (0, 0, 1), "{blind:#?}");
}

/// Whom no policy isolates any more goes anywhere: nothing is behind.
#[tokio::test]
async fn without_isolation_nothing_is_behind() {
    let (fake, mut files) = seen().await;
    leads_to(&fake, &[NEW]);
    assert_eq!(fake.scheduled().await.exit, 1);
    for file in ["infra/shop/out.yaml", "infra/shop/baseline.yaml", "infra/shop/redis.yaml"] {
        files.remove(file);
    }
    fake.push(&files);
    let ran = fake.run().await;
    assert_eq!(moved(&ran).len(), 0, "{ran:#?}");
}
