//! Sources of which no container has a tool: a container is added to them, once, and what keeps it from running is told.

use anyhow::{Context, Result, ensure};
use e2e::{
    Account, Scene, Setup,
    account::Answer,
    eventually,
    objects::{put, text},
    poll::seconds,
    report::Flow,
    scenario,
};
use netpol_verify::probe::ephemeral::container;
use serde_json::{Value, json};

use crate::edits::{SHOP, STORE, append, egress, ingress};

const PROBE: &str = "registry.local/netpol-verify-probe:test";

/// A stand-in for a gateway: one program and no shell, in a namespace that asks for `restricted`.
const GATEWAY: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, namespace: xx-shop}
spec:
  selector: {matchLabels: {app: gateway}}
  template:
    metadata: {labels: {app: gateway}}
    spec:
      terminationGracePeriodSeconds: 0
      securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: gateway
        image: registry.local/distroless:test
        imagePullPolicy: Never
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
";

fn with_image(image: &str) -> Value {
    json!({"probe": {"ephemeral": true, "image": image}})
}

fn opted_in(image: &str) -> Setup {
    Setup { config: with_image(image), ..Setup::default() }
}

/// The shop as it is, and the gateway beside it.
async fn with_gateway(scene: &Scene) -> Result<()> {
    scene.first_run().await?;
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    scene.cluster.kubectl(&["label", "namespace", &scene.namespace("shop"), restricted]).await?;
    scene.apply(GATEWAY).await?;
    scene.wait_until_ready("shop").await
}

/// Opens a port of the database to the gateway, and looks. Gives the flow.
fn to_db<'r>(scene: &Scene, report: &'r e2e::Report, port: u16) -> &'r Flow {
    report.flow(&scene.text("xx-shop/gateway"), &scene.text("xx-store/db"), port)
}

fn seen(flow: &Flow) -> [&str; 3] {
    [flow.via.as_deref().unwrap_or("-"), &flow.observed, &flow.result]
}

/// The containers that were added to the gateway's pod.
async fn added(scene: &Scene) -> Result<Vec<Value>> {
    let pod = scene.pods("shop", "app=gateway").await?.pop().context("the gateway runs")?;
    Ok(pod.pointer("/spec/ephemeralContainers").and_then(Value::as_array).cloned().unwrap_or_default())
}

#[test]
fn h_a_source_without_tools_is_probed_from_one_container_that_is_added_and_used_again() -> Result<()> {
    scenario(opted_in(PROBE), async |scene| {
        with_gateway(scene).await?;
        append(scene, STORE, &ingress("gateway", 5432))?;
        let run = scene.merge_and_run("The gateway uses the database").await?;
        let report = run.expect(0)?;
        assert_eq!(seen(to_db(scene, report, 5432)), ["ephemeral", "open", "verified"]);
        assert_eq!((report.ephemeral_containers, added(scene).await?.len()), (1, 1));
        let message = scene.room.last().await?;
        let told: String = scene.room.thread(&message).await?.iter().map(|part| part.body.clone()).collect();
        assert!(told.contains("1 ephemeral container added"), "people are told: {told}");

        append(scene, SHOP, &egress(6432))?;
        append(scene, STORE, &ingress("gateway", 6432))?;
        let run = scene.merge_and_run("And pgbouncer").await?;
        let report = run.expect(0)?;
        assert_eq!(seen(to_db(scene, report, 6432)), ["ephemeral", "open", "verified"]);
        assert_eq!((report.ephemeral_containers, added(scene).await?.len()), (0, 1), "the same one");
        Ok(())
    })
}

#[test]
fn h_without_the_opt_in_nothing_is_added() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        with_gateway(scene).await?;
        append(scene, STORE, &ingress("gateway", 5432))?;
        let run = scene.merge_and_run("The gateway uses the database").await?;
        let flow = to_db(scene, run.expect(3)?, 5432);
        assert_eq!((flow.observed.as_str(), flow.state.as_deref()), ("tool-missing", Some("unprobeable")));
        assert!(added(scene).await?.is_empty());
        Ok(())
    })
}

/// The note and state of the gateway's flow after a run by hand with this image.
async fn run_with(scene: &Scene, image: &str, exit: i64) -> Result<(Flow, String)> {
    scene.verifier.configure(&with_image(image)).await?;
    let account = Account::of(&scene.cluster, scene.verifier.namespace(), "netpol-verify").await?;
    // Under a name that none has yet: one that is there may not be changed.
    let free = container::names().last().context("a name")?;
    let answer = eventually("the policy has the image", seconds(20), async || {
        let said = add(scene, &account, &container::container(&free, image)).await?;
        let other = matches!(&said, Answer::Denied(reason) if reason.contains("has another image"));
        Ok((!other).then_some(said))
    })
    .await?;
    let run = scene.verifier.run_by_hand().await?;
    let flow = to_db(scene, run.expect(exit)?, 5432).clone();
    let note = flow.note.clone().unwrap_or_default();
    ensure!(!note.is_empty() || exit == 0, "{flow:?} after {answer:?}");
    Ok((flow, note))
}

/// Tries to add a container to the gateway's pod, and leaves none.
async fn add(scene: &Scene, account: &Account, container: &impl serde::Serialize) -> Result<Answer> {
    let pod = scene.pods("shop", "app=gateway").await?.pop().context("the gateway runs")?;
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/ephemeralcontainers",
        scene.namespace("shop"),
        text(&pod, "/metadata/name")
    );
    account.patch(&path, &json!({"spec": {"ephemeralContainers": [serde_json::to_value(container)?]}})).await
}

#[test]
fn h_what_keeps_an_added_container_from_running_is_told_with_its_reason() -> Result<()> {
    scenario(opted_in("registry.local/nobody-has-it:1"), async |scene| {
        with_gateway(scene).await?;
        append(scene, STORE, &ingress("gateway", 5432))?;
        let run = scene.merge_and_run("The gateway uses the database").await?;
        let flow = to_db(scene, run.expect(3)?, 5432);
        assert_eq!((flow.observed.as_str(), flow.state.as_deref()), ("not-probed", Some("pending")));
        let note = flow.note.clone().unwrap_or_default();
        assert!(note.contains("ErrImagePull") || note.contains("ImagePullBackOff"), "{note}");

        let (flow, note) = run_with(scene, "registry.local/distroless:test", 3).await?;
        assert_eq!(flow.state.as_deref(), Some("unprobeable"), "no retry gives it a shell: {flow:?}");
        assert!(note.contains("executable file not found"), "{note}");
        assert_eq!(added(scene).await?.len(), 2, "one for each image");

        // The control: what is mended is seen, in the same pod.
        let (flow, _) = run_with(scene, PROBE, 0).await?;
        assert_eq!(seen(&flow), ["ephemeral", "open", "verified"]);
        Ok(())
    })
}

#[test]
fn h_a_refusal_of_pod_security_is_told_and_a_quota_does_not_count_added_containers() -> Result<()> {
    scenario(opted_in(PROBE), async |scene| {
        scene.first_run().await?;
        // Pod Security judges a pod as a whole: this one was there before its namespace asked for anything.
        let privileged =
            GATEWAY.replace("{allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}", "{privileged: true}");
        scene.apply(&privileged).await?;
        scene.wait_until_ready("shop").await?;
        let shop = scene.namespace("shop");
        let restricted = "pod-security.kubernetes.io/enforce=restricted";
        scene.cluster.kubectl(&["label", "namespace", &shop, restricted]).await?;
        append(scene, STORE, &ingress("gateway", 5432))?;
        let run = scene.merge_and_run("The gateway uses the database").await?;
        let flow = to_db(scene, run.expect(3)?, 5432);
        assert_eq!(flow.state.as_deref(), Some("unprobeable"), "{flow:?}");
        assert!(flow.note.as_deref().unwrap_or_default().contains("violates PodSecurity"), "{flow:?}");

        scene.cluster.kubectl(&["label", "namespace", &shop, "pod-security.kubernetes.io/enforce-"]).await?;
        scene.cluster.kubectl(&["create", "quota", "small", "-n", &shop, "--hard=pods=1,requests.memory=1Mi"]).await?;
        let run = scene.verifier.run_by_hand().await?;
        assert_eq!(seen(to_db(scene, run.expect(0)?, 5432)), ["ephemeral", "open", "verified"]);
        Ok(())
    })
}

/// The real container, each time with one thing changed, and what an attacker would rather add.
fn forged() -> Result<Vec<(&'static str, Value)>> {
    const CONTEXT: &str = "/securityContext";
    let real = serde_json::to_value(container::container(container::NAME, PROBE))?;
    let changes = [
        ("name", "", "name", json!("debugger")),
        ("one too many", "", "name", json!(format!("{}-{}", container::NAME, container::MOST + 1))),
        ("image", "", "image", json!("registry.local/netcat:test")),
        ("tag", "", "image", json!("registry.local/netpol-verify-probe:other")),
        ("command", "", "command", json!(["sh", "-c", "id"])),
        ("image's command", "", "command", Value::Null),
        ("arguments", "", "args", json!(["x"])),
        ("environment", "", "env", json!([{"name": "A", "value": "b"}])),
        ("secret", "", "envFrom", json!([{"secretRef": {"name": "x"}}])),
        ("input", "", "stdin", json!(true)),
        ("terminal", "", "tty", json!(true)),
        ("processes of another", "", "targetContainerName", json!("gateway")),
        ("folder", "", "workingDir", json!("/tmp")),
        ("user", CONTEXT, "runAsUser", json!(1000)),
        ("no user", CONTEXT, "runAsUser", Value::Null),
        ("group", CONTEXT, "runAsGroup", json!(0)),
        ("capability", CONTEXT, "capabilities", json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]})),
        ("label", CONTEXT, "seLinuxOptions", json!({"level": "s0"})),
        ("writes", CONTEXT, "readOnlyRootFilesystem", Value::Null),
    ];
    let forged = changes.into_iter().map(|(what, at, key, value)| {
        let mut forged = real.clone();
        put(&mut forged, at, key, value)?;
        Ok((what, forged))
    });
    forged.collect()
}

#[test]
fn the_verifiers_token_adds_its_own_container_to_pods_and_no_other() -> Result<()> {
    scenario(opted_in(PROBE), async |scene| {
        with_gateway(scene).await?;
        let account = Account::of(&scene.cluster, scene.verifier.namespace(), "netpol-verify").await?;
        let last = container::names().last().context("a name")?;
        for name in [container::NAME, &last] {
            let answer = add(scene, &account, &container::container(name, PROBE)).await?;
            assert!(matches!(answer, Answer::Admitted(_)), "{name}: {answer:?}");
        }
        for (what, forged) in forged()? {
            let answer = add(scene, &account, &forged).await?;
            assert!(answer.is_by_policy(), "{what}: {answer:?}");
        }
        // Nor its own in another namespace.
        scene
            .verifier
            .bound_to(&json!({"productNamespaces": {"names": ["elsewhere"]}, "probe": {"image": PROBE}}))
            .await?;
        eventually("the namespaces are bounded", seconds(20), async || {
            let answer = add(scene, &account, &container::container(container::NAME, PROBE)).await?;
            Ok(answer.is_by_policy().then_some(()))
        })
        .await
    })
}
