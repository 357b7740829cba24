//! One more entry in a list of peers or ports: it does not hide behind the others.

use netpol_verify::model::{FlowResult, Outcome, Verdict};

use crate::usecase::shop::{Files, REDIS, checked, opens};

const CACHE: &str = "shop/web -> bank/cache:6379/TCP";

/// The policy of shop/web towards redis, with one more peer.
fn also(files: &mut Files) -> &mut Files {
    let more = "    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: bank}}
      podSelector: {matchLabels: {app: cache}}
    ports:
";
    let rule = opens("egress", ("shop", "web"), ("redis", "redis"), 6379).replace("    ports:\n", more);
    files.put("infra/shop/redis.yaml", &rule)
}

#[tokio::test]
async fn a_new_entry_in_a_list_lacks_its_other_side_although_the_old_one_works() {
    let (fake, mut files) = checked().await;
    fake.app("bank", "cache", &[6379]);
    fake.push(also(&mut files));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding), "{ran:#?}");
    assert_eq!(ran.flow(CACHE).result, FlowResult::MissingEntry);
    files.paste(&ran.flow(CACHE).entries[0].clone());
    fake.push(&files);
    let next = fake.run().await;
    assert_eq!(next.flow(CACHE).observed, Outcome::Open, "{next:#?}");
    assert_eq!(next.exit, 0, "{next:#?}");
}

#[tokio::test]
async fn a_new_entry_for_an_app_to_come_is_remembered_until_it_comes() {
    let (fake, mut files) = checked().await;
    fake.push(also(&mut files));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "the run that brings it says so: {ran:#?}");
    let quiet = fake.scheduled().await;
    assert_eq!((quiet.exit, quiet.events.len()), (0, 0), "{quiet:#?}");
    assert_eq!(quiet.report.as_ref().unwrap().standing.waiting, 1);
    assert!(quiet.keys().iter().all(|key| key != REDIS), "its neighbour works and is left alone: {quiet:#?}");
    fake.app("bank", "cache", &[6379]);
    let late = fake.scheduled().await;
    assert_eq!((late.exit, late.verdict()), (1, Verdict::Finding), "the other side was forgotten: {late:#?}");
    assert_eq!(late.flow(CACHE).result, FlowResult::MissingEntry);
}
