//! Workloads without a pod, for which flows wait, and whether one of their pods is Ready now.
//!
//! Pods are asked for only while the state has a flow that waits, a list a workload, by its labels: a watch of all pods
//! would cost the API server more than an hour's delay is worth. A run that was started for a workload and could not
//! see it (its pods live for seconds) is followed by another one only after a pause that grows.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};

use crate::{
    engine::plan::runs_no_pod,
    model::{Endpoint, FlowRecord, State, Unseen, Workload},
};

/// The most workloads that are looked for at once; the schedule sees to the others.
const MOST: usize = 20;
/// The most pods of a workload that are looked at.
const PODS: u32 = 200;
/// How long a list may take: a merge must not wait for it.
const ANSWER: Duration = Duration::from_secs(5);
/// The first pause after a run for a workload; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause: the schedule looks more often.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// Kinds whose pods' owners bear their name, or begin with it.
const NAMED: [&str; 8] =
    ["CronJob", "DaemonSet", "Deployment", "Job", "Pod", "ReplicaSet", "ReplicationController", "StatefulSet"];

/// A workload that a flow waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Awaited {
    /// The workload.
    pub workload: Workload,
    /// Its pods' labels, as a selector; empty where they have none that are known.
    pub selector: String,
}

/// The workloads without a pod that the state's flows wait for.
#[must_use]
pub fn awaited(state: &State) -> Vec<Awaited> {
    let waiting = state.flows.values().filter(|record| record.state == Unseen::Waiting);
    let mut workloads: Vec<&Workload> = waiting.flat_map(absent).collect();
    workloads.sort();
    workloads.dedup();
    let classes = state.checked.iter().flat_map(|checked| &checked.classes);
    let labels: BTreeMap<&Workload, _> = classes.map(|class| (&class.workload, &class.labels)).collect();
    let with_labels = workloads.into_iter().map(|workload| {
        let pairs = labels.get(workload).into_iter().flat_map(|labels| labels.iter());
        let selector: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
        Awaited { workload: workload.clone(), selector: selector.join(",") }
    });
    with_labels.collect()
}

/// The end of a flow that runs no pod.
fn absent(record: &FlowRecord) -> impl Iterator<Item = &Workload> {
    let ends = record.flow.iter().flat_map(|flow| [&flow.source, &flow.destination]);
    let workloads = ends.filter_map(|end| match end {
        Endpoint::Workload(workload) => Some(workload),
        Endpoint::External { .. } | Endpoint::Host { .. } => None,
    });
    workloads.filter(|workload| record.reason == runs_no_pod(workload))
}

/// Runs that were started for workloads.
#[derive(Debug, Default)]
pub struct Arrivals {
    tried: BTreeMap<Workload, (u32, Duration)>,
    refused: bool,
}

impl Arrivals {
    /// Of the awaited workloads, those of which a pod is Ready, without those for which a run was started a short while
    /// ago. Where pods cannot be listed there are none: a merge must not wait for that.
    pub async fn arrived(&mut self, client: &Client, awaited: &[Awaited], now: Duration) -> Vec<Workload> {
        self.tried.retain(|workload, _| awaited.iter().any(|one| one.workload == *workload));
        let due = awaited.iter().filter(|one| self.is_due(&one.workload, now)).take(MOST);
        let asked: Vec<_> = due.map(|one| async move { (one, has_ready_pod(client, one).await) }).collect();
        let mut arrived = Vec::new();
        for (one, answer) in futures::future::join_all(asked).await {
            match answer {
                Ok(ready) => {
                    self.refused = false;
                    arrived.extend(ready.then(|| one.workload.clone()));
                }
                // Once, not every few seconds.
                Err(error) if !std::mem::replace(&mut self.refused, true) => {
                    let workload = one.workload.to_string();
                    tracing::warn!(error, workload, "could not list pods: what waits is left to the schedule");
                }
                Err(_) => {}
            }
        }
        arrived
    }

    /// A run was started for these.
    pub fn tried(&mut self, workloads: &[Workload], now: Duration) {
        for workload in workloads {
            let (times, at) = self.tried.entry(workload.clone()).or_default();
            (*times, *at) = (times.saturating_add(1), now);
        }
    }

    fn is_due(&self, workload: &Workload, now: Duration) -> bool {
        self.tried.get(workload).is_none_or(|(times, at)| now.saturating_sub(*at) >= pause(*times))
    }
}

fn pause(times: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(times.saturating_sub(1))).min(LONGEST_PAUSE)
}

async fn has_ready_pod(client: &Client, awaited: &Awaited) -> Result<bool, String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &awaited.workload.namespace);
    let list = ListParams::default().fields("status.phase=Running").labels(&awaited.selector).limit(PODS);
    let answered = tokio::time::timeout(ANSWER, pods.list(&list)).await;
    let found = answered.map_err(|_| format!("no answer within {} s", ANSWER.as_secs()))?;
    let found = found.map_err(|error| error.to_string())?;
    Ok(found.items.iter().any(|pod| is_ready(pod) && is_of(pod, awaited)))
}

fn is_ready(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// Whether a pod may be of a workload, by its owner's name. The run looks at all owners; a mistake here costs one run in
/// vain.
fn is_of(pod: &Pod, awaited: &Awaited) -> bool {
    let workload = &awaited.workload;
    if !NAMED.contains(&workload.kind.as_str()) {
        return !awaited.selector.is_empty();
    }
    let mut owners = pod.metadata.owner_references.iter().flatten().filter(|owner| owner.controller == Some(true));
    let name = owners.next().map(|owner| owner.name.as_str()).or(pod.metadata.name.as_deref()).unwrap_or_default();
    name.strip_prefix(workload.name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{ClassRecord, Decision, Labels, Protocol, RecordedFlow};

    fn workload(kind: &str, name: &str) -> Workload {
        Workload { kind: kind.to_owned(), namespace: "shop".to_owned(), name: name.to_owned() }
    }

    fn record(state: Unseen, reason: &str) -> FlowRecord {
        let flow = RecordedFlow {
            source: Endpoint::Workload(workload("CronJob", "report")),
            destination: Endpoint::Workload(workload("StatefulSet", "db")),
            protocol: Protocol::Tcp,
            port: 5432,
            declared: Decision::Allowed,
            ipv6: false,
        };
        FlowRecord {
            state,
            reason: reason.to_owned(),
            since: String::new(),
            revision: None,
            thread: None,
            flow: Some(flow),
            rule: None,
            parts: Vec::new(),
            missing: None,
        }
    }

    fn state(record: FlowRecord, labels: Labels) -> State {
        let class =
            ClassRecord { workload: workload("CronJob", "report"), labels, ports: Vec::new(), service_account: None };
        let mut state = crate::watch::decide::tests::checked("a", "r", "d");
        state.checked.as_mut().unwrap().classes = vec![class];
        state.flows.insert("key".to_owned(), record);
        state
    }

    #[test]
    fn the_end_without_a_pod_is_awaited_by_its_labels() {
        let reason = runs_no_pod(&workload("CronJob", "report"));
        let labels = Labels::from([("app".to_owned(), "report".to_owned()), ("tier".to_owned(), String::new())]);
        let expected = Awaited { workload: workload("CronJob", "report"), selector: "app=report,tier=".to_owned() };
        assert_eq!(awaited(&state(record(Unseen::Waiting, &reason), labels.clone())), [expected]);
        let bare = awaited(&state(record(Unseen::Waiting, &reason), Labels::new()));
        assert_eq!(bare[0].selector, "");
        for (unseen, reason) in
            [(Unseen::Pending, reason.as_str()), (Unseen::Unprobeable, &reason), (Unseen::Waiting, "a rule waits")]
        {
            assert_eq!(awaited(&state(record(unseen, reason), labels.clone())), [], "{unseen:?} {reason}");
        }
    }

    fn pod(owner: Option<&str>, name: &str) -> Pod {
        let owners: Vec<_> = owner
            .map(|name| json!({"apiVersion": "v1", "kind": "X", "name": name, "uid": "u", "controller": true}))
            .into_iter()
            .collect();
        serde_json::from_value(json!({"metadata": {"name": name, "ownerReferences": owners}})).unwrap()
    }

    #[test]
    fn a_pod_is_known_by_its_owners_name() {
        let of = |kind: &str, selector: &str, pod: &Pod| {
            is_of(pod, &Awaited { workload: workload(kind, "report"), selector: selector.to_owned() })
        };
        assert!(of("CronJob", "", &pod(Some("report-29384712"), "report-29384712-x7x")));
        assert!(of("Deployment", "app=a", &pod(Some("report-5966cf887d"), "report-5966cf887d-abc")));
        assert!(of("StatefulSet", "app=a", &pod(Some("report"), "report-0")));
        assert!(of("Pod", "", &pod(None, "report")));
        for owner in ["reports", "reporting-1", "another", ""] {
            assert!(!of("CronJob", "app=a", &pod(Some(owner), "report-0")), "{owner}");
        }
        assert!(of("Composition", "app=a", &pod(Some("any"), "any-x")), "whose owners' names are not known");
        assert!(!of("Composition", "", &pod(Some("any"), "any-x")), "nothing tells its pods from others");
    }

    #[test]
    fn a_run_in_vain_is_followed_by_a_pause_that_grows_and_ends() {
        let (mut arrivals, report) = (Arrivals::default(), workload("CronJob", "report"));
        let seconds = Duration::from_secs;
        assert!(arrivals.is_due(&report, seconds(0)));
        arrivals.tried(std::slice::from_ref(&report), seconds(100));
        assert!(!arrivals.is_due(&report, seconds(159)) && arrivals.is_due(&report, seconds(160)));
        arrivals.tried(std::slice::from_ref(&report), seconds(200));
        assert!(!arrivals.is_due(&report, seconds(319)) && arrivals.is_due(&report, seconds(320)));
        assert!(arrivals.is_due(&workload("CronJob", "other"), seconds(200)));
        for _ in 0..100 {
            arrivals.tried(std::slice::from_ref(&report), seconds(200));
        }
        assert!(!arrivals.is_due(&report, seconds(3600)) && arrivals.is_due(&report, seconds(200 + 6 * 3600)));
    }
}
