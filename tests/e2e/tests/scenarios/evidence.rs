//! Beside a blocked flow stands what the enforcer wrote of it: by a right that is asked for by name.

use anyhow::{Context, Result};
use e2e::{
    Scene, Setup, objects,
    objects::{Kind, put, text},
    report::Flow,
    scenario,
};
use serde_json::json;

use crate::edits::{SHOP, append, cut, egress, open_both_sides, web_to_db};

/// What `job/evidence` adds, under names of this scene's own.
async fn grant(scene: &Scene) -> Result<Vec<serde_json::Value>> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../job/evidence/rbac.yaml");
    let mut granted = objects::parse(&std::fs::read_to_string(file)?)?;
    let name = format!("netpol-verify-evidence-{}", scene.prefix);
    for object in &mut granted {
        put(object, "/metadata", "name", json!(name))?;
        if text(object, "/kind") == "RoleBinding" {
            put(object, "/roleRef", "name", json!(name))?;
            put(object, "/subjects/0", "namespace", json!(scene.verifier.namespace()))?;
        }
    }
    objects::apply_all(&scene.cluster.client, &granted).await?;
    Ok(granted)
}

async fn take_back(scene: &Scene, granted: &[serde_json::Value]) -> Result<()> {
    for object in granted {
        objects::delete(&scene.cluster.client, object).await?;
    }
    Ok(())
}

/// The line that Felix's pod has of a flow's last packet.
async fn is_the_enforcers(scene: &Scene, flow: &Flow, line: &str) -> Result<()> {
    let source = flow.source_pod.as_ref().context("a source pod")?;
    let pods = objects::list(&scene.cluster.client, &Kind("v1", "Pod"), text(source, "/namespace"), "").await?;
    let pod = pods.iter().find(|pod| text(pod, "/metadata/name") == text(source, "/name"));
    let (from, to) =
        (text(pod.context("the source runs")?, "/status/podIP"), flow.target.as_deref().unwrap_or_default());
    let words: Vec<&str> = line.split(' ').collect();
    for word in [format!("SRC={from}"), format!("DST={to}"), format!("DPT={}", flow.port), "PROTO=TCP".to_owned()] {
        assert!(words.contains(&word.as_str()), "{line} has {word}");
    }
    assert!(line.starts_with("calico-packet: IN=cali") && line.chars().count() <= 200, "{line}");
    let log = ["logs", "-n", "calico-system", "-l", "k8s-app=calico-node", "--tail=-1"];
    let number = words.iter().find(|word| word.starts_with("SPT=")).context("a source port")?;
    let said = scene.cluster.kubectl(&log).await?;
    assert!(said.lines().any(|said| said.contains(&format!("SRC={from} ")) && said.contains(number)), "{line} is real");
    Ok(())
}

#[test]
fn a_blocked_flow_has_the_enforcers_lines_once_the_right_is_given() -> Result<()> {
    let setup = Setup { config: json!({"evidence": {}}), ..Setup::default() };
    scenario(setup, async |scene| {
        scene.first_run().await?;
        // Without the right: the same verdict, and a remark that names it.
        append(scene, SHOP, &egress(6432))?;
        let run = scene.merge_and_run("Let the shop use pgbouncer").await?;
        let report = run.expect(1)?;
        let flow = web_to_db(scene, report, 6432);
        assert_eq!((flow.result.as_str(), flow.observed.as_str()), ("missing-entry", "timeout"), "{report}");
        assert_eq!(flow.evidence, [""; 0]);
        let remarks = report.findings("evidence");
        assert_eq!((remarks.len(), remarks[0].severity.as_str()), (1, "info"), "{report}");
        let right = "add get on pods/log to Role netpol-verify-evidence in calico-system";
        assert!(remarks[0].message.contains(right), "{}", remarks[0].message);
        let told = scene.room.thread(&scene.room.last().await?).await?;
        assert!(told.iter().any(|part| part.body.contains(right)), "{told:?}");

        let granted = grant(scene).await?;
        let run = scene.verifier.run_by_hand().await?;
        let report = run.expect(1)?;
        let flow = web_to_db(scene, report, 6432);
        let line = flow.evidence.last().with_context(|| format!("a line of the enforcer: {report}"))?;
        is_the_enforcers(scene, flow, line).await?;
        assert_eq!(flow.evidence.len(), 1, "a packet sent again says nothing new: {:?}", flow.evidence);
        assert!(report.findings("evidence").is_empty(), "{report}");
        let told = scene.room.thread(&scene.room.last().await?).await?;
        assert!(told.iter().any(|part| part.body.contains(line)), "{line} is in the thread: {told:?}");

        // The control: cured, nothing is said of it any more.
        cut(scene, SHOP, &egress(6432))?;
        open_both_sides(scene, 6432)?;
        let report = scene.merge_and_run("Let the database answer").await?;
        let report = report.expect(0)?;
        assert_eq!(web_to_db(scene, report, 6432).evidence, [""; 0], "{report}");
        take_back(scene, &granted).await
    })
}
