//! `netpol-verify status`: what a person asks first.

use serde_json::json;

use super::{Failure, Global, Output, client, outside::STATE, sets};
use crate::{
    model::{State, Unseen},
    state::ConfigMapStore,
    verify::seams::Store as _,
    watch::{Life, last_sign},
};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct StatusArgs {}

const EXAMPLES: &str = "Examples:
  netpol-verify status
  netpol-verify status --context prod -o json | jq '.findings'

It reads the state ConfigMap and the watcher's Lease of the verifier's namespace, with the kubeconfig or the pod's
ServiceAccount, and changes nothing.

Outputs (-o): text, json (docs/schemas/status.json).

Exit codes: 0 printed, whatever it says; 2 usage; 3 the cluster or the state could not be read.";

/// The schema of `-o json`.
const SCHEMA: &str = "netpol-verify/status/v1";

/// Runs of the list.
const SHOWN_RUNS: usize = 5;

/// Prints the state for people or programs.
pub async fn status(_: StatusArgs, global: &Global) -> Result<u8, Failure> {
    let client = client(global).await?;
    let state = ConfigMapStore::new(client.clone(), &global.namespace, STATE).load().await;
    let state = match state {
        Ok(state) => state,
        Err(fault) => return Err(client::reached(global, Failure::not_told(anyhow::anyhow!(fault))).await),
    };
    // Who may read the state may not read the Lease, perhaps: the rest is worth telling all the same.
    let sign = last_sign(client, &global.namespace, jiff::Timestamp::now()).await.map_err(|error| error.to_string());
    sets::printed(&match global.output {
        Output::Json => format!("{:#}\n", as_json(&state, &sign)),
        _ => as_text(&state, &sign),
    })
}

/// The watcher's last sign of life, or why it is not known.
type Watcher = Result<Life, String>;

fn watcher_json(sign: &Watcher) -> serde_json::Value {
    match sign {
        Ok(Life::Sign(sign)) => json!({"alive": sign.is_alive, "pod": sign.holder, "at": sign.renewed}),
        Ok(Life::Silent | Life::Absent) => json!({"alive": false, "pod": null, "at": null}),
        Err(error) => json!({"alive": null, "error": error}),
    }
}

fn watcher_text(sign: &Watcher) -> String {
    match sign {
        Ok(Life::Sign(sign)) if sign.is_alive => format!("watcher   alive: {} at {}", sign.holder, sign.renewed),
        Ok(Life::Sign(sign)) => format!(
            "watcher   no sign of life since {} ({}): see the log of Deployment netpol-verify-watch",
            sign.renewed, sign.holder
        ),
        Ok(Life::Silent) => {
            "watcher   never gave a sign of life: see Deployment netpol-verify-watch, its pod and its log".to_owned()
        }
        Ok(Life::Absent) => "watcher   none: runs are started by the schedule and by people".to_owned(),
        Err(error) => format!("watcher   not known: {error}"),
    }
}

fn count(state: &State, unseen: Unseen) -> usize {
    state.flows.values().filter(|f| f.state == unseen).count()
}

fn as_json(state: &State, sign: &Watcher) -> serde_json::Value {
    let checked = state.checked.as_ref().map(|c| {
        let revisions: Vec<_> = c
            .kustomizations
            .iter()
            .map(
                |k| json!({"namespace": k.id.namespace, "name": k.id.name, "revision": k.revision, "digest": k.digest}),
            )
            .collect();
        json!({"seq": c.seq, "verdict": c.verdict, "finished": c.finished, "kustomizations": revisions})
    });
    json!({
        "schema": SCHEMA,
        "checked": checked,
        "verified": state.verified,
        "findings": state.findings.iter().map(|(key, f)| json!({"key": key, "since": f.since, "at": f.at, "summary": f.summary})).collect::<Vec<_>>(),
        "flows": state.flows.iter().map(|(key, f)| json!({"key": key, "state": f.state, "reason": f.reason, "since": f.since})).collect::<Vec<_>>(),
        "failed": state.failed,
        "runs": state.runs,
        "owed_messages": state.outbox.len(),
        "watcher": watcher_json(sign),
    })
}

fn as_text(state: &State, sign: &Watcher) -> String {
    let mut lines = revisions(state);
    lines.push(watcher_text(sign));
    for failed in &state.failed {
        lines.push(format!("failed    {}: {}", failed.id, failed.reason));
    }
    for (key, finding) in &state.findings {
        let since = finding.since.as_ref().map(|r| format!(" since {}", r.short())).unwrap_or_default();
        lines.push(format!("finding   {key}{since}"));
    }
    lines.push(format!(
        "flows     {} pending, {} waiting, {} unprobeable",
        count(state, Unseen::Pending),
        count(state, Unseen::Waiting),
        count(state, Unseen::Unprobeable)
    ));
    for (key, flow) in &state.flows {
        lines.push(format!("          {key} since {}: {}", flow.since, flow.reason));
    }
    lines.push(format!("messages  {} owed", state.outbox.len()));
    for run in state.runs.iter().take(SHOWN_RUNS) {
        let job = run.job.as_deref().unwrap_or("by hand");
        lines.push(format!("run {:5} {} {} (exit {}) {job}", run.seq, run.finished, run.verdict.word(), run.exit));
    }
    lines.join("\n") + "\n"
}

/// What was checked and verified last, a line each.
fn revisions(state: &State) -> Vec<String> {
    let mut lines = Vec::new();
    match &state.checked {
        None => lines.push("nothing was checked yet".to_owned()),
        Some(checked) => {
            for k in &checked.kustomizations {
                lines.push(format!(
                    "checked   {} {} at {}: {}",
                    k.id,
                    k.revision.short(),
                    checked.finished,
                    checked.verdict.word()
                ));
            }
        }
    }
    for (id, verified) in &state.verified {
        lines.push(format!(
            "verified  {id} {} at {} ({} flows not seen)",
            verified.revision.short(),
            verified.at,
            verified.unseen
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Sign;

    #[test]
    fn a_watcher_that_stands_still_is_told_from_one_that_lives_and_from_none() {
        let sign = |is_alive| {
            Life::Sign(Sign {
                holder: "watch-x".to_owned(),
                renewed: "2026-11-20T09:00:00Z".to_owned(),
                age: 7,
                is_alive,
            })
        };
        for (sign, text, alive) in [
            (Ok(sign(true)), "watcher   alive: watch-x at 2026-11-20T09:00:00Z", json!(true)),
            (Ok(sign(false)), "watcher   no sign of life since 2026-11-20T09:00:00Z (watch-x)", json!(false)),
            (Ok(Life::Silent), "watcher   never gave a sign of life: see Deployment", json!(false)),
            (Ok(Life::Absent), "watcher   none", json!(false)),
            (Err("forbidden".to_owned()), "watcher   not known: forbidden", json!(null)),
        ] {
            let page = as_text(&State::default(), &sign);
            assert!(page.lines().any(|line| line.starts_with(text)), "{page}");
            assert_eq!(as_json(&State::default(), &sign)["watcher"]["alive"], alive, "{text}");
        }
    }
}
