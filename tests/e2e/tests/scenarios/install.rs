//! What a cluster's administrator sees of it: installed without a warning, held to the strictest Pod Security level, run
//! again where that helps, and gone without a trace.

use std::io::Write as _;

use anyhow::{Result, ensure};
use e2e::{
    Account, Scene, Setup, Started,
    account::Answer,
    eventually,
    flux::merge,
    install::Manifests,
    objects::{self, text},
    poll::seconds,
    scenario,
};
use kube::api::AttachParams;
use serde_json::{Value, json};

use crate::edits::{SHOP, WEB, append, egress, open_both_sides};

/// Applies objects on the server's side, as an administrator does who lets no warning pass.
async fn apply_strictly(scene: &Scene, objects: &[Value]) -> Result<String> {
    let mut file = tempfile::NamedTempFile::new()?;
    write!(file, "{}", json!({"apiVersion": "v1", "kind": "List", "items": objects}))?;
    let path = file.path().display().to_string();
    scene.cluster.kubectl(&["apply", "--server-side", "--warnings-as-errors", "-f", &path]).await
}

/// The names of all objects of the cluster, of whatever kind, that hold a text.
async fn named(scene: &Scene, part: &str) -> Result<Vec<String>> {
    let kinds = scene.cluster.kubectl(&["api-resources", "--verbs=list", "-o", "name"]).await?;
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
    let all = scene.cluster.kubectl(&["get", &kinds.join(","), "-A", "--ignore-not-found", "-o", "name"]).await?;
    Ok(all.lines().filter(|name| name.contains(part)).map(str::to_owned).collect())
}

#[test]
fn the_manifests_apply_without_a_warning_and_leave_nothing_when_they_go() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        let manifests = Manifests::load(&scene.cluster, &format!("{}-again", scene.prefix), false).await?;
        let mut objects = manifests.objects().to_vec();
        objects.sort_by_key(|object| text(object, "/kind") != "Namespace");
        for object in &objects {
            let part_of = text(object, "/metadata/labels/app.kubernetes.io~1part-of");
            assert_eq!(part_of, "netpol-verify", "{} {}", text(object, "/kind"), text(object, "/metadata/name"));
        }
        apply_strictly(scene, &objects).await?;
        apply_strictly(scene, &objects).await?;
        // The control: what the namespace's level does not allow is a warning, and so an error.
        let mut loose = objects.iter().find(|object| text(object, "/kind") == "Deployment").expect("a watcher").clone();
        loose["metadata"]["name"] = json!("loose");
        loose["spec"]["template"]["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
        let refused = apply_strictly(scene, &[loose]).await.unwrap_err().to_string();
        assert!(refused.contains("PodSecurity") && refused.contains("restricted"), "{refused}");

        let there = named(scene, &manifests.namespace).await?;
        assert!(there.len() > 5, "the control: it can be found by its name: {there:?}");
        let mut file = tempfile::NamedTempFile::new()?;
        write!(file, "{}", json!({"apiVersion": "v1", "kind": "List", "items": objects}))?;
        let path = file.path().display().to_string();
        scene.cluster.kubectl(&["delete", "-f", &path, "--wait=true", "--timeout=60s"]).await?;
        let left = named(scene, &format!("{}-again", scene.prefix)).await?;
        assert!(left.is_empty(), "{left:?}");
        Ok(())
    })
}

/// What the project ships beside `job/`, relative to the repository.
const SHIPPED: &[&str] = &[
    "kustomization",
    "kustomization/alert",
    "kustomization/overlays/calico",
    "kustomization/overlays/flux-only",
    "kustomization/overlays/plana",
];

#[test]
fn whatever_is_shipped_passes_the_api_server_without_a_warning() -> Result<()> {
    scenario(Setup { alone: true, ..Setup::default() }, async |scene| {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "netpol-verify"}});
        objects::apply(&scene.cluster.client, &namespace).await?;
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let dry = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--warnings-as-errors"];
        for folder in SHIPPED {
            let path = root.join(folder).display().to_string();
            let said = scene.cluster.kubectl(&[&dry[..], &["-k", &path]].concat()).await?;
            assert!(said.lines().count() > 1, "{folder}: {said}");
        }
        let beside = root.join("kustomization/overlays/flux-only/policies-repository").display().to_string();
        let said = scene.cluster.kubectl(&[&dry[..], &["-f", &beside]].concat()).await?;
        assert_eq!(said.lines().count(), 2, "{said}");
        // The control: what a typing slip would look like.
        let mut file = tempfile::NamedTempFile::with_suffix(".yaml")?;
        write!(file, "{}", std::fs::read_to_string(root.join("job/cronjob.yaml"))?.replace("schedule:", "shedule:"))?;
        let slip = file.path().display().to_string();
        assert!(scene.cluster.kubectl(&[&dry[..], &["-f", &slip]].concat()).await.is_err());
        objects::delete(&scene.cluster.client, &namespace).await
    })
}

#[test]
fn the_namespace_takes_no_pod_that_is_not_restricted() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        let run =
            ["run", "x", "--image=registry.local/netcat:test", "--dry-run=server", "-n", scene.verifier.namespace()];
        let refused = scene.cluster.kubectl(&run).await.unwrap_err().to_string();
        assert!(refused.contains("violates PodSecurity \"restricted"), "{refused}");
        Ok(())
    })
}

/// Lets the scene's CronJob try again, as the shipped one does.
async fn with_retries(scene: &Scene) -> Result<()> {
    let mut change = json!({"apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"namespace": scene.verifier.namespace(), "name": "netpol-verify"}});
    merge(&mut change, &json!({"spec": {"jobTemplate": {"spec": {"backoffLimit": 2}}}}));
    objects::merge_patch(&scene.cluster.client, &change).await
}

/// The Job's end, as Kubernetes tells it: the condition and its reason.
async fn end(scene: &Scene, job: &Started) -> Result<(String, String)> {
    let object = json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"namespace": scene.verifier.namespace(), "name": job.name}});
    eventually(&format!("Job {} ends", job.name), seconds(120), async || {
        let now = objects::get(&scene.cluster.client, &object).await?.unwrap_or_default();
        let conditions = now.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let ended = conditions.iter().find(|one| ["Complete", "Failed"].contains(&text(one, "/type")));
        Ok(ended.map(|one| (text(one, "/type").to_owned(), text(one, "/reason").to_owned())))
    })
    .await
}

#[test]
fn a_finding_ends_its_job_at_once() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        with_retries(scene).await?;
        append(scene, SHOP, &egress(6432))?;
        let commit = scene.merge("Only one side").await?;
        let job = scene.verifier.start_for(&commit).await?;
        scene.verifier.wait(&job).await?.expect(1)?;
        assert_eq!(end(scene, &job).await?, ("Failed".to_owned(), "PodFailurePolicy".to_owned()));
        assert_eq!(scene.verifier.pods(&job).await?.len(), 1, "a finding is not tried again");
        Ok(())
    })
}

#[test]
fn what_could_not_be_told_is_tried_again_in_silence_until_it_can() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        with_retries(scene).await?;
        // Nobody may probe, so that nothing can be told.
        scene.verifier.bound_to(&json!({})).await?;
        let account = Account::of(&scene.cluster, scene.verifier.namespace(), "netpol-verify").await?;
        let mut web = scene.pods(WEB.0, WEB.1).await?.pop().expect("the shop runs");
        web["metadata"]["namespace"] = json!(scene.namespace(WEB.0));
        let how = AttachParams::default().stdin(false).stdout(true).stderr(true);
        eventually("no namespace is open", seconds(20), async || {
            let answer = account.exec(&web, &["nc", "-zvnw2", "10.0.0.1", "80"], &how).await?;
            Ok(matches!(answer, Answer::Denied(reason) if reason.contains("namespaces")).then_some(()))
        })
        .await?;
        open_both_sides(scene, 6432)?;
        let commit = scene.merge("Let the shop use pgbouncer").await?;
        let job = scene.verifier.start_for(&commit).await?;
        scene.verifier.wait(&job).await?.expect(3)?;
        let told = scene.room.messages().await?.len();
        eventually("a second try ends as the first", seconds(60), async || {
            let pods = scene.verifier.pods(&job).await?;
            let failed = pods.iter().filter(|pod| text(pod, "/status/phase") == "Failed").count();
            ensure!(failed < 3, "it was not cured in time");
            Ok((failed == 2).then_some(()))
        })
        .await?;
        assert_eq!(scene.room.messages().await?.len(), told, "nothing new, so nothing is said");
        scene.verifier.bound_to(&json!({"productNamespaces": {"names": [scene.text("xx-*")]}})).await?;
        assert_eq!(end(scene, &job).await?.0, "Complete");
        assert_eq!(scene.verifier.pods(&job).await?.len(), 3);
        Ok(())
    })
}
