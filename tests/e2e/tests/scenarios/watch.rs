//! Merges verified without anyone starting a run: the watcher as its Deployment, under its own account.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::{Message, Scene, Setup, WATCHER, eventually, objects, objects::text, poll::seconds, scenario};
use serde_json::json;

use crate::edits::{STORE, assert_opens, close_sessions, open_both_sides, short, touch_readme, web_to_db};

/// A busy node may take longer to apply than the usual ten seconds after which a test's Flux counts as stuck.
fn patient() -> Setup {
    Setup { config: json!({"flux": {"wait": "30s", "stuck": "3m"}}), ..Setup::default() }
}

/// What a merge changes.
type Edit<'a> = &'a dyn Fn(&Scene) -> Result<()>;

/// Messages outside threads that name a commit.
async fn told(scene: &Scene, commit: &str) -> Result<Vec<Message>> {
    Ok(scene.room.top().await?.into_iter().filter(|message| message.first_line().contains(&short(commit))).collect())
}

/// Starts the watcher, which finds that the first commit is not checked.
async fn begin(scene: &Scene) -> Result<()> {
    scene.watchers(1).await?;
    let first = scene.new_job(&[]).await?;
    scene.verifier.wait(&first).await?.expect(0)?;
    Ok(())
}

#[test]
fn three_merges_lead_to_one_job_and_one_message_each() -> Result<()> {
    scenario(patient(), async |scene| {
        let audit = scene.audit()?;
        begin(scene).await?;
        let mut commits = vec![scene.first_commit.clone()];
        let edits: [(&str, Edit<'_>); 3] = [
            ("Let the shop use pgbouncer", &|scene| open_both_sides(scene, 6432)),
            ("Write a README", &|scene| touch_readme(scene, "How we do things here\n")),
            ("Sessions moved out of the database", &close_sessions),
        ];
        for (message, edit) in edits {
            edit(scene)?;
            let merge = scene.merge_watched(message).await?;
            println!("{}: Job {} {} ms after Ready", short(&merge.commit), merge.job.name, merge.after.as_millis());
            // Usually within a second (`bin/latency` measures it); the node is busy with other scenarios here.
            assert!(merge.after < Duration::from_secs(5), "{merge:?}");
            let run = scene.verifier.wait(&merge.job).await?;
            let report = run.expect(0)?;
            assert_eq!(report.trigger, "merge");
            assert_eq!(report.kustomizations[0].applied, Some(e2e::flux::revision(&merge.commit)));
            commits.push(merge.commit);
        }
        for commit in &commits {
            assert_eq!(told(scene, commit).await?.len(), 1, "{}", short(commit));
        }
        assert_eq!(scene.room.top().await?.len(), commits.len());
        // A second one changes nothing, nor does the end of both and a new one.
        scene.watchers(2).await?;
        open_both_sides(scene, 7000)?;
        let merge = scene.merge_watched("One more port").await?;
        scene.verifier.wait(&merge.job).await?.expect(0)?;
        scene.watchers(0).await?;
        scene.watchers(1).await?;
        assert_eq!(audit.jobs_made(WATCHER)?, commits.len() + 1, "one Job for each merge");
        assert_eq!(scene.room.top().await?.len(), commits.len() + 1);
        shows_itself(scene).await
    })
}

/// Its sign of life and its figures.
async fn shows_itself(scene: &Scene) -> Result<()> {
    let pods = scene.watcher_pods().await?;
    let pod = pods.first().context("there is no watcher")?;
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"namespace": scene.verifier.namespace(), "name": WATCHER}});
    eventually("the watcher gives a sign of life", seconds(10), async || {
        let lease = objects::get(&scene.cluster.client, &lease).await?.context("there is no Lease")?;
        Ok((text(&lease, "/spec/holderIdentity") == text(pod, "/metadata/name")).then_some(()))
    })
    .await?;
    let url = format!("http://{}:8080/metrics", text(pod, "/status/podIP"));
    let page = scene.cluster.inside(&["curl", "-sf", "--max-time", "5", &url]).await?;
    let checked = format!(
        "netpol_verify_kustomization{{kustomization=\"flux-system/{}\",standing=\"checked\"}} 1",
        scene.flux.name
    );
    for line in [checked.as_str(), "netpol_verify_findings_open 0", "netpol_verify_messages_owed 0"] {
        assert!(page.lines().any(|found| found == line), "{line}:\n{page}");
    }
    assert!(page.contains("netpol_verify_last_verified_timestamp_seconds{"), "{page}");
    Ok(())
}

#[test]
fn a_failed_apply_is_one_message_and_its_end_is_told_in_its_thread() -> Result<()> {
    scenario(patient(), async |scene| {
        let audit = scene.audit()?;
        begin(scene).await?;
        let known = scene.jobs().await?;
        open_both_sides(scene, 6432)?;
        scene.git.replace(STORE, "port: 6432", "port: 70000")?;
        let refused = scene.git.merge("Let the shop use pgbouncer").await?;
        scene.flux.fail(&refused).await?;
        let job = scene.new_job(&known).await?;
        let run = scene.verifier.wait(&job).await?;
        assert_eq!(run.expect(3)?.verdict, "not-applied");
        // Flux tries again, and a new watcher begins: neither is news.
        scene.flux.reconcile().await?;
        scene.flux.fail(&refused).await?;
        scene.watchers(0).await?;
        scene.watchers(1).await?;

        scene.git.replace(STORE, "port: 70000", "port: 6432")?;
        let fixed = scene.merge_watched("A port that exists").await?;
        let run = scene.verifier.wait(&fixed.job).await?;
        assert_eq!(web_to_db(scene, run.expect(0)?, 6432).observed, "open");
        assert_eq!(audit.jobs_made(WATCHER)?, 3, "the first state, the failure, and the merge that works");
        let failures = told(scene, &refused).await?;
        let [failure] = failures.as_slice() else { panic!("one message: {failures:?}") };
        assert_opens(failure, "❌", &refused);
        assert!(!scene.room.thread(failure).await?.is_empty(), "its thread hears that it is over");
        assert_eq!(scene.room.top().await?.len(), 3);
        Ok(())
    })
}

#[test]
fn a_watcher_that_dies_between_a_merge_and_its_job_makes_it_when_it_is_back() -> Result<()> {
    scenario(patient(), async |scene| {
        let audit = scene.audit()?;
        begin(scene).await?;
        let known = scene.jobs().await?;
        // It stands still while Flux applies, and never gets to see it.
        scene.signal_watcher("SIGSTOP").await?;
        open_both_sides(scene, 6432)?;
        let commit = scene.merge("Let the shop use pgbouncer").await?;
        assert_eq!(scene.jobs().await?, known, "nobody made a Job");
        scene.signal_watcher("SIGKILL").await?;
        let job = scene.new_job(&known).await?;
        let run = scene.verifier.wait(&job).await?;
        assert_eq!(web_to_db(scene, run.expect(0)?, 6432).observed, "open");
        assert_eq!(audit.jobs_made(WATCHER)?, 2);
        assert_eq!(told(scene, &commit).await?.len(), 1);
        Ok(())
    })
}

#[test]
fn the_watcher_may_do_what_it_needs_and_nothing_else() -> Result<()> {
    scenario(patient(), async |scene| {
        let own = scene.verifier.namespace();
        let shop = scene.namespace("shop");
        let account = format!("--as=system:serviceaccount:{own}:{WATCHER}");
        let may = async |verb: &str, what: &str, namespace: &str| {
            let said = scene.cluster.kubectl(&["auth", "can-i", verb, what, "-n", namespace, &account]).await;
            said.is_ok_and(|said| said.trim() == "yes")
        };
        for (verb, what, namespace) in [
            ("watch", "kustomizations.kustomize.toolkit.fluxcd.io", "flux-system"),
            ("get", "gitrepositories.source.toolkit.fluxcd.io", "flux-system"),
            ("create", "jobs.batch", own),
            ("get", "cronjobs.batch/netpol-verify", own),
            ("watch", "configmaps/netpol-verify-state", own),
            ("patch", "leases.coordination.k8s.io/netpol-verify-watch", own),
        ] {
            assert!(may(verb, what, namespace).await, "it needs to {verb} {what}");
        }
        for (verb, what, namespace) in [
            ("get", "secrets", own),
            ("get", "secrets/netpol-verify-matrix", own),
            ("get", "configmaps", own),
            ("update", "configmaps/netpol-verify-state", own),
            ("create", "jobs.batch", shop.as_str()),
            ("delete", "jobs.batch", own),
            ("patch", "jobs.batch", own),
            ("patch", "cronjobs.batch/netpol-verify", own),
            ("get", "cronjobs.batch/another", own),
            ("create", "pods", own),
            ("create", "pods/exec", shop.as_str()),
            ("get", "pods", shop.as_str()),
            ("list", "networkpolicies.networking.k8s.io", shop.as_str()),
            ("patch", "kustomizations.kustomize.toolkit.fluxcd.io", "flux-system"),
            ("update", "leases.coordination.k8s.io/netpol-verify", own),
        ] {
            assert!(!may(verb, what, namespace).await, "it may {verb} {what} in {namespace}");
        }
        Ok(())
    })
}
