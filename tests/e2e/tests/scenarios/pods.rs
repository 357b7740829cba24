//! Pods that do not listen, go away, come back, have no tools, or do not run.

use crate::world::{DataPlane, Setup, scenario, text};
use anyhow::Result;
use serde_json::json;

use crate::edits::{SHOP, STORE, append, close_sessions, cut, egress, ingress, open_both_sides, row, web_to_db};

#[test]
fn g_a_port_where_nothing_listens() -> Result<()> {
    let setup = Setup { data_planes: &[DataPlane::Calico, DataPlane::KubeRouter], ..Setup::default() };
    scenario(setup, async |scene| {
        scene.first_run().await?;
        open_both_sides(scene, 9999)?;
        let run = scene.merge_and_run("Open a port ahead of its server").await?;
        if scene.data_plane()? == DataPlane::Calico {
            let flow = web_to_db(scene, run.expect(0)?, 9999);
            assert_eq!(row(flow), ["denied", "allowed", "allowed", "refused", "verified"]);
            let note = flow.note.as_deref().unwrap_or_default();
            assert!(note.contains("nothing listens"), "a refusal is no denial where denials are dropped: {flow:?}");
        } else {
            let flow = web_to_db(scene, run.expect(3)?, 9999);
            assert_eq!((flow.observed.as_str(), flow.result.as_str()), ("refused", "inconclusive"));
        }
        Ok(())
    })
}

/// A pod that nobody replaces.
const BARE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: late, namespace: xx-store, labels: {app: late}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: late, image: 'registry.local/netcat:test', imagePullPolicy: Never, args: [/serve 7000/tcp]}]
";

#[test]
fn g_a_target_that_goes_away_during_the_run_is_pending_until_it_is_back() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.apply(BARE).await?;
        scene.wait_until_ready("store").await?;
        scene.first_run().await?;
        let to_late = egress(7000).replace("app: db", "app: late");
        append(scene, SHOP, &to_late)?;
        append(scene, STORE, &ingress("web", 7000))?;
        scene.merge_and_run("Open the late one").await?.expect(0)?;
        cut(scene, SHOP, &to_late)?;
        cut(scene, STORE, &ingress("web", 7000))?;
        let commit = scene.merge("Close the late one").await?;

        let probing = scene.audit()?;
        let job = scene.verifier.start_for(&commit).await?;
        probing.first_exec().await?;
        scene.delete(BARE).await?;
        let run = scene.verifier.wait(&job).await?;
        let (web, late) = (scene.text("xx-shop/web"), scene.text("xx-store/late"));
        let flow = run.expect(3)?.flow(&web, &late, 7000);
        assert_eq!((flow.result.as_str(), flow.state.as_deref()), ("inconclusive", Some("pending")));
        assert!(scene.room.last().await?.first_line().starts_with('⚠'));

        scene.apply(BARE).await?;
        scene.wait_until_ready("store").await?;
        let run = scene.verifier.run_scheduled().await?;
        let flow = run.expect(0)?.flow(&web, &late, 7000);
        assert_eq!(
            (flow.why.as_str(), flow.observed.as_str(), flow.result.as_str()),
            ("retried", "timeout", "verified")
        );
        Ok(())
    })
}

#[test]
fn g_a_target_that_its_deployment_replaces_is_planned_again() -> Result<()> {
    // Both looks at the old pod take twice this time, in which its successor starts.
    let setup = Setup { config: json!({"probe": {"timeout": "6s"}}), ..Setup::default() };
    scenario(setup, async |scene| {
        scene.first_run().await?;
        let before = scene.pods("store", "app=db").await?;
        close_sessions(scene)?;
        let commit = scene.merge("Sessions moved out of the database").await?;
        let probing = scene.audit()?;
        let job = scene.verifier.start_for(&commit).await?;
        probing.first_exec().await?;
        scene.delete_pods("store", "app=db").await?;
        let run = scene.verifier.wait(&job).await?;
        let report = run.expect(0)?;
        let flow = web_to_db(scene, report, 6379);
        assert_eq!(row(flow), ["allowed", "denied", "denied", "timeout", "verified"]);
        let old = before.first().map(|pod| text(pod, "/status/podIP").to_owned());
        assert_ne!(flow.target, old, "the pod that took its place was probed");
        Ok(())
    })
}

/// Sources without `nc`: one with bash, which can connect by itself, one with a shell that cannot.
const TOOLLESS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: xx-shop}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: api, image: 'registry.local/bash:test', imagePullPolicy: Never}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker, namespace: xx-shop}
spec:
  selector: {matchLabels: {app: worker}}
  template:
    metadata: {labels: {app: worker}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: worker, image: 'registry.local/shell:test', imagePullPolicy: Never}]
";

#[test]
fn h_without_nc_bash_probes_and_a_bare_shell_is_unprobeable_and_said_once() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        scene.apply(TOOLLESS).await?;
        scene.wait_until_ready("shop").await?;
        append(scene, STORE, &ingress("api", 5432))?;
        append(scene, STORE, &ingress("worker", 5432))?;
        let run = scene.merge_and_run("The API and the worker use the database").await?;
        let report = run.expect(3)?;
        let db = scene.text("xx-store/db");
        let flow = report.flow(&scene.text("xx-shop/api"), &db, 5432);
        assert_eq!((flow.observed.as_str(), flow.result.as_str()), ("open", "verified"));
        let flow = report.flow(&scene.text("xx-shop/worker"), &db, 5432);
        assert_eq!((flow.observed.as_str(), flow.state.as_deref()), ("tool-missing", Some("unprobeable")));
        let message = scene.room.last().await?;
        assert!(message.first_line().starts_with('⚠') && message.body.contains("worker"), "{}", message.body);

        open_both_sides(scene, 6432)?;
        let run = scene.merge_and_run("Let the shop use pgbouncer").await?;
        run.expect(0)?;
        let message = scene.room.last().await?;
        assert!(!message.body.contains("worker"), "said once: {}", message.body);
        assert!(message.last_line().contains("1 not provable"), "then only counted: {}", message.body);
        Ok(())
    })
}
