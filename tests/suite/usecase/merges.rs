//! Merges that are as they should be, and merges that forget one side.

use std::time::Duration;

use netpol_verify::{
    model::{Decision, FlowResult, Outcome, Strength, Verdict, Why},
    verify::{
        run::{applied_now, has_moved_on, next},
        seams::OwnJob,
    },
};

use crate::usecase::{
    fake::revision,
    shop::{BANK, Files, REDIS, checked, cluster},
};

#[tokio::test]
async fn the_first_run_sees_each_rule_and_one_closed_flow_of_each_workload() {
    let fake = cluster();
    fake.push(&Files::base());
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{ran:#?}");
    let headline = ran.headline();
    // A baseline's DNS rule in each of three namespaces, and the two sides of shop/web → redis.
    assert_eq!(
        headline,
        "✅ infra main@0000001: first state taken, 5 of 5 rules seen as declared, 5 of 5 closed flows closed"
    );
    let open = ran.flows().iter().filter(|f| f.live == Decision::Allowed).count();
    assert_eq!(open, 4, "one flow shows both sides of it: {:#?}", ran.keys());
    assert!(ran.report.as_ref().unwrap().first_run);
    assert_eq!(fake.state().checked.unwrap().kustomizations[0].revision, revision(1));
    assert_eq!(fake.state().verified["flux-system/network-policies"].revision, revision(1));
}

#[tokio::test]
async fn a_flow_opened_on_both_sides_is_verified_open() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress().bank_ingress());
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{ran:#?}");
    assert_eq!(ran.headline(), "✅ infra main@0000002 verified — 1 flow changed, 1 probed as declared, no drift");
    assert_eq!(ran.results(), [(BANK.to_owned(), FlowResult::Verified)]);
    assert_eq!(ran.flow(BANK).observed, Outcome::Open);
    assert_eq!((ran.flow(BANK).before, ran.flow(BANK).live), (Some(Decision::Denied), Decision::Allowed));
}

#[tokio::test]
async fn a_missing_side_is_named_and_pasting_the_entry_cures_it() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress());
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding));
    assert_eq!(ran.headline(), "❌ infra main@0000002: 1 of 1 changed flow is blocked");
    assert!(ran.root().mentions);
    let flow = ran.flow(BANK);
    assert_eq!((flow.result, flow.why), (FlowResult::MissingEntry, Why::OneSided));
    assert_eq!(flow.entries.len(), 1, "{flow:#?}");
    files.paste(&flow.entries[0]);
    fake.push(&files);
    let cured = fake.run().await;
    assert_eq!((cured.exit, cured.verdict()), (0, Verdict::Verified), "{cured:#?}");
    assert_eq!(cured.flow(BANK).observed, Outcome::Open);
    assert_eq!(cured.replies()[0].thread.as_deref(), Some(ran.root().id.as_str()), "told in the thread of the red");
    assert_eq!(cured.replies().len(), 1);
    assert!(fake.state().findings.is_empty());
}

#[tokio::test]
async fn an_entry_for_a_policy_with_rules_goes_into_it() {
    let (fake, mut files) = checked().await;
    fake.app("shop", "stock", &[80]);
    let both = crate::usecase::shop::opens("ingress", ("bank", "api"), ("shop", "stock"), 8080);
    files.put("infra/bank/web.yaml", &both);
    files
        .put("infra/shop/stock.yaml", &crate::usecase::shop::opens("egress", ("shop", "stock"), ("bank", "api"), 8080));
    fake.push(files.bank_egress());
    let ran = fake.run().await;
    assert_eq!(ran.exit, 1, "{ran:#?}");
    let entry = ran.flow(BANK).entries[0].clone();
    assert_eq!(entry.file.as_deref(), Some("infra/bank/web.yaml"));
    files.paste(&entry);
    fake.push(&files);
    let cured = fake.run().await;
    assert_eq!(cured.exit, 0, "{cured:#?}");
}

#[tokio::test]
async fn a_closed_flow_is_denied_with_full_controls_however_a_denial_looks() {
    for (rejects, known) in [(false, true), (false, false), (true, false)] {
        let (fake, mut files) = checked().await;
        {
            let mut world = fake.world();
            world.rejects = rejects;
            world.deny_action = known.then(|| "Drop".to_owned());
        }
        fake.push(files.remove("infra/shop/redis.yaml").remove("infra/redis/web.yaml"));
        let ran = fake.run().await;
        assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{rejects} {known} {ran:#?}");
        let flow = ran.flow(REDIS);
        assert_eq!((flow.before, flow.live), (Some(Decision::Allowed), Decision::Denied));
        assert_eq!(flow.observed, if rejects { Outcome::Refused } else { Outcome::Timeout });
        assert_eq!(flow.controls.as_ref().unwrap().strength, Strength::Full, "{flow:#?}");
    }
}

/// A node under load: an exec is cut before it tells anything, and each takes longer than the settle time.
#[tokio::test]
async fn a_try_that_was_cut_is_none_of_the_two_that_a_denial_takes() {
    for cut in 1..=6 {
        let (fake, mut files) = checked().await;
        fake.push(files.remove("infra/shop/redis.yaml").remove("infra/redis/web.yaml"));
        {
            let mut world = fake.world();
            world.exec_takes = Duration::from_secs(40);
            world.cuts = [cut].into();
            // The next look is so late that the two of it cannot be told from each other's time.
            world.on_sleep = Some(Box::new(|fake| fake.world().elapsed += Duration::from_secs(5)));
        }
        let ran = fake.run().await;
        assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{cut} {ran:#?}");
        assert_eq!(ran.flow(REDIS).observed, Outcome::Timeout);
    }
}

#[tokio::test]
async fn one_side_of_an_open_flow_closed_is_a_closure_and_no_missing_entry() {
    for file in ["infra/shop/redis.yaml", "infra/redis/web.yaml"] {
        let (fake, mut files) = checked().await;
        fake.push(files.remove(file));
        let ran = fake.run().await;
        assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{ran:#?}");
        let flow = ran.flow(REDIS);
        assert_eq!((flow.why, flow.result), (Why::Closure, FlowResult::Verified));
        assert!(flow.note.as_ref().unwrap().contains("the other is still open"), "{flow:#?}");
    }
}

#[tokio::test]
async fn a_merge_that_changes_no_policy_is_one_quiet_line_without_a_probe() {
    let (fake, files) = checked().await;
    fake.push(&files);
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified));
    assert_eq!(fake.world().execs, 0);
    assert_eq!(ran.events.len(), 1, "{:#?}", ran.events);
    assert_eq!(ran.root().body, "✅ infra main@0000002: no policy changed");
    assert_eq!(fake.state().checked.unwrap().kustomizations[0].revision, revision(2));
}

#[tokio::test]
async fn quiet_lines_can_be_turned_off() {
    let (fake, files) = checked().await;
    let quiet = fake.config.lock().unwrap().replace("mention:", "quietMerges: false, mention:");
    *fake.config.lock().unwrap() = quiet;
    fake.push(&files);
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.events.len()), (0, 0));
    assert_eq!(fake.state().checked.unwrap().kustomizations[0].revision, revision(2));
}

#[tokio::test]
async fn a_target_that_does_not_listen_is_told_apart_only_where_denials_are_silent() {
    for (rejects, exit) in [(false, 0), (true, 3)] {
        let (fake, mut files) = checked().await;
        {
            let mut world = fake.world();
            world.rejects = rejects;
            world.deny_action = (!rejects).then(|| "Drop".to_owned());
        }
        fake.pod_of("bank/api", |p| p.listens.clear());
        fake.push(files.bank_egress().bank_ingress());
        let ran = fake.run().await;
        assert_eq!(ran.exit, exit, "{ran:#?}");
        let flow = ran.flow(BANK);
        assert_eq!(flow.observed, Outcome::Refused);
        if rejects {
            assert_eq!(flow.result, FlowResult::Inconclusive);
            assert_eq!(ran.headline(), "⚠️ infra main@0000002: 1 of 1 changed flow could not be verified");
        } else {
            assert_eq!(flow.note.as_deref(), Some("nothing listens there"));
        }
    }
}

#[tokio::test]
async fn a_target_replaced_during_the_run_is_planned_again() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress().bank_ingress());
    fake.world().on_probe = Some(Box::new(|fake| fake.replace("bank/api")));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{ran:#?}");
    assert_eq!(ran.flow(BANK).result, FlowResult::Verified);
    assert_eq!(ran.roots().len(), 1);
}

#[tokio::test]
async fn a_target_that_is_replaced_again_and_again_is_pending_after_three_looks() {
    fn again(fake: &crate::usecase::fake::Fake) {
        fake.replace("bank/api");
        fake.world().on_probe = Some(Box::new(again));
    }
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress().bank_ingress());
    fake.world().on_probe = Some(Box::new(again));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "{ran:#?}");
    assert!(ran.flow(BANK).note.as_ref().unwrap().contains("replaced"), "{ran:#?}");
    fake.world().on_probe = None;
    let next = fake.run().await;
    assert_eq!((next.exit, next.verdict()), (0, Verdict::Verified), "{next:#?}");
    assert_eq!(next.events.len(), 1, "only the recovery: {:#?}", next.events);
    assert_eq!(next.replies()[0].thread.as_deref(), Some(ran.root().id.as_str()));
}

#[tokio::test]
async fn a_bare_target_pod_deleted_during_the_run_is_pending_and_the_next_run_clears_it() {
    let (fake, mut files) = checked().await;
    fake.world().workloads.retain(|w| w.id.to_string() != "bank/api");
    fake.push(files.bank_egress().bank_ingress());
    let pod = fake.world().pods.iter().find(|p| p.info.workload.to_string() == "bank/api").unwrap().clone();
    let name = pod.info.id.clone();
    fake.world().on_probe = Some(Box::new(move |fake| fake.world().pods.retain(|p| p.info.id != name)));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "{ran:#?}");
    // Looked at again in the same run, the rules of both sides wait for a pod; the flow that was lost is still owed.
    assert_eq!(ran.report.as_ref().unwrap().standing.waiting, 2);
    assert_eq!(ran.report.as_ref().unwrap().standing.pending, 1);
    fake.world().pods.push(pod);
    let next = fake.run().await;
    assert_eq!((next.exit, next.verdict()), (0, Verdict::Verified), "{next:#?}");
    assert_eq!(next.flow(BANK).result, FlowResult::Verified);
    assert!(fake.state().flows.is_empty());
}

#[tokio::test]
async fn a_data_plane_that_lags_is_waited_for() {
    let (fake, mut files) = checked().await;
    fake.world().lag = Duration::from_secs(5);
    fake.push(files.bank_egress().bank_ingress().remove("infra/shop/redis.yaml"));
    // The run itself begins a minute later: the lag begins there.
    let until = fake.world().elapsed + Duration::from_secs(65);
    fake.world().lagging.as_mut().unwrap().0 = until;
    let ran = fake.run().await;
    assert_eq!(ran.exit, 0, "{ran:#?}");
    assert!(ran.flow(BANK).converged_ms.unwrap() >= 4000, "{ran:#?}");
    assert!(ran.flow(REDIS).converged_ms.unwrap() >= 4000);
}

#[tokio::test]
async fn a_data_plane_that_does_otherwise_is_an_enforcement_finding() {
    for open in [false, true] {
        let (fake, mut files) = checked().await;
        if open {
            fake.push(files.remove("infra/shop/redis.yaml").remove("infra/redis/web.yaml"));
            fake.world().broken.push(crate::usecase::fake::Broken {
                source: "shop/web".to_owned(),
                destination: "redis/redis".to_owned(),
                port: 6379,
                open,
            });
        } else {
            fake.push(files.bank_egress().bank_ingress());
            fake.world().broken.push(crate::usecase::fake::Broken {
                source: "shop/web".to_owned(),
                destination: "bank/api".to_owned(),
                port: 8080,
                open,
            });
        }
        let ran = fake.run().await;
        assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding), "{ran:#?}");
        assert_eq!(ran.headline(), "❌ infra main@0000002: declared and live agree, packets do not");
        fake.world().broken.clear();
        let same = fake.run().await;
        assert_eq!((same.exit, same.events.len()), (1, 0), "{same:#?}");
        let cured = fake.scheduled().await;
        assert_eq!((cured.exit, cured.events.len()), (0, 1), "{cured:#?}");
    }
}

#[tokio::test]
async fn an_entry_in_place_of_a_line_is_announced_so() {
    let (fake, mut files) = checked().await;
    let closed = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api, namespace: bank}
spec:
  podSelector: {matchLabels: {app: api}}
  policyTypes: [Ingress]
  ingress: []
";
    fake.push(files.put("infra/bank/web.yaml", closed).bank_egress());
    let ran = fake.run().await;
    assert_eq!(ran.exit, 1, "{ran:#?}");
    let body = &ran.root().body;
    assert!(body.contains("Add to infra/bank/web.yaml, policy api, in place of line 7:"), "{body}");
    assert!(!body.contains("after line"), "{body}");
    files.paste(&ran.flow(BANK).entries[0].clone());
    fake.push(&files);
    let cured = fake.run().await;
    assert_eq!((cured.exit, cured.replies().len()), (0, 1), "{cured:#?}");
}

#[tokio::test]
async fn a_run_is_followed_by_another_where_flux_moved_on_after_its_last_look() {
    let (fake, mut files) = checked().await;
    let job = || OwnJob { scheduled: true, ..OwnJob::default() };
    let settings = fake.settings(job());
    let before = applied_now(&fake, &settings).await.unwrap();
    fake.push(files.bank_egress());
    assert_eq!(fake.scheduled().await.exit, 1);
    let still = applied_now(&fake, &settings).await.unwrap();
    assert!(!has_moved_on(&fake, &settings, &before).await.unwrap(), "it was seen by that run itself");
    fake.push(files.bank_ingress());
    assert!(has_moved_on(&fake, &settings, &still).await.unwrap(), "nobody has looked at it");
    let again = fake.run_as(next(&fake, job())).await;
    assert_eq!((again.exit, again.verdict()), (0, Verdict::Verified), "the run before it is no answer: {again:#?}");
    assert!(!has_moved_on(&fake, &settings, &still).await.unwrap());
    // What a run could not tell stays unchecked, and is no reason to go round for ever.
    let now = applied_now(&fake, &settings).await.unwrap();
    fake.kustomization(|k| k.status.digest = Some("sha256:other".to_owned()));
    let other = applied_now(&fake, &settings).await.unwrap();
    assert!(has_moved_on(&fake, &settings, &now).await.unwrap());
    assert!(!has_moved_on(&fake, &settings, &other).await.unwrap());
}
