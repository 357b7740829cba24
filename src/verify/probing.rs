//! Real packets: rounds of probes with their controls, until everything has settled or the settle time is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::{Either, join_all, select};

use super::{
    seams::{Clock, Outside, ProbeSource, ProbeTarget, Prober, Seen},
    track::{Purpose, Track},
};
use crate::{
    engine::plan::{Address, Planned},
    model::{DenialLook, Outcome, PodInfo, PodRef, Protocol, Snapshot},
};

/// Targets in one exec (design §5).
const TARGETS_PER_EXEC: usize = 64;

/// Pauses between rounds: 0.5 s, then up to 2 s (the conformance suites poll so).
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long probing may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until a flow must be as declared.
    pub settle: Duration,
    /// For all probing of the run.
    pub deadline: Duration,
}

/// What probing showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probing {
    /// One for each planned probe, in order.
    pub tracks: Vec<Track>,
    /// How a denial looks, by node.
    pub denial: BTreeMap<String, DenialLook>,
}

/// Probes a plan.
pub async fn probe<O: Outside>(outside: &O, snapshot: &Snapshot, plan: Vec<Planned>, patience: Patience) -> Probing {
    let pods: BTreeMap<&PodRef, &PodInfo> = snapshot.pods.iter().map(|p| (&p.id, p)).collect();
    let start = outside.clock().elapsed();
    let mut looks = Looks::new(snapshot);
    let mut tracks: Vec<Track> = plan.into_iter().map(|planned| Track::new(planned, &pods)).collect();
    let mut pause = FIRST_PAUSE;
    while tracks.iter().any(|t| !t.is_settled()) {
        let began = outside.clock().elapsed();
        let left = patience.deadline.saturating_sub(began.saturating_sub(start));
        let round = within(outside, left, round(outside, &pods, &tracks)).await;
        for (index, purpose, seen) in round {
            if let Some(track) = tracks.get_mut(index) {
                track.note(&purpose, &seen, began.saturating_sub(start));
            }
        }
        looks.learn(&tracks);
        let now = outside.clock().elapsed();
        let waited = now.saturating_sub(start);
        let over = waited >= patience.deadline;
        for track in tracks.iter_mut().filter(|t| !t.is_settled()) {
            // A round of many probes may alone take longer than the settle time.
            let patient = waited >= patience.settle && track.was_tried_twice();
            track.settle(looks.of(track), waited, over || patient);
        }
        if over || tracks.iter().all(Track::is_settled) {
            break;
        }
        outside.clock().sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    for track in &mut tracks {
        track.look = looks.of(track);
    }
    Probing { tracks, denial: looks.nodes }
}

/// The answers of a round, or none where the time is over before.
async fn within<O: Outside>(
    outside: &O,
    left: Duration,
    round: impl Future<Output = Vec<(usize, Purpose, Seen)>>,
) -> Vec<(usize, Purpose, Seen)> {
    match select(std::pin::pin!(round), std::pin::pin!(outside.clock().sleep(left))).await {
        Either::Left((answers, _)) => answers,
        Either::Right(_) => Vec::new(),
    }
}

/// One exec a source pod with everything that is asked of it; the answers go back to the tracks that asked.
async fn round<O: Outside>(
    outside: &O,
    pods: &BTreeMap<&PodRef, &PodInfo>,
    tracks: &[Track],
) -> Vec<(usize, Purpose, Seen)> {
    let mut asked: BTreeMap<PodRef, BTreeMap<Address, Vec<(usize, Purpose)>>> = BTreeMap::new();
    for (index, track) in tracks.iter().enumerate().filter(|(_, t)| !t.is_settled()) {
        for (pod, address, purpose) in track.questions() {
            asked.entry(pod).or_default().entry(address).or_default().push((index, purpose));
        }
    }
    let mut execs = Vec::new();
    for (pod, questions) in &asked {
        let questions: Vec<(&Address, &Vec<(usize, Purpose)>)> = questions.iter().collect();
        for chunk in questions.chunks(TARGETS_PER_EXEC) {
            execs.push(exec(outside, pods, pod, chunk.to_vec()));
        }
    }
    join_all(execs).await.into_iter().flatten().collect()
}

async fn exec<O: Outside>(
    outside: &O,
    pods: &BTreeMap<&PodRef, &PodInfo>,
    pod: &PodRef,
    questions: Vec<(&Address, &Vec<(usize, Purpose)>)>,
) -> Vec<(usize, Purpose, Seen)> {
    let targets: Vec<ProbeTarget> = questions.iter().map(|(address, _)| target(**address)).collect();
    let seen = match pods.get(pod) {
        Some(info) => outside.prober().probe(&source(info), &targets).await,
        None => Vec::new(),
    };
    let mut answers = Vec::new();
    for (position, (_, asking)) in questions.iter().enumerate() {
        // A prober that answers less than it was asked has broken off.
        let answer = seen.get(position).cloned().unwrap_or_else(cut);
        answers.extend(asking.iter().map(|(index, purpose)| (*index, purpose.clone(), answer.clone())));
    }
    answers
}

/// Over UDP only an answer tells anything, and DNS is what is known to give one.
const fn target(Address { ip, port, protocol }: Address) -> ProbeTarget {
    match protocol {
        Protocol::Udp => ProbeTarget::Dns { server: ip, port },
        Protocol::Tcp | Protocol::Sctp => ProbeTarget::Connect { protocol, address: ip, port },
    }
}

fn cut() -> Seen {
    Seen { outcome: Outcome::Cut, elapsed: Duration::ZERO, text: "no answer".to_owned(), addresses: Vec::new() }
}

/// A pod to probe from: its running containers, in their order.
#[must_use]
pub fn source(pod: &PodInfo) -> ProbeSource {
    let containers = pod.containers.iter().filter(|c| c.running).cloned().collect();
    let workload = format!("{}/{}", pod.workload.kind, pod.workload.name);
    ProbeSource { pod: pod.id.clone(), workload, containers, node: pod.node.clone() }
}

/// How a denial looks on each node: as configured, else as a denied flow with good controls showed.
struct Looks {
    nodes: BTreeMap<String, DenialLook>,
    configured: Option<DenialLook>,
}

impl Looks {
    fn new(snapshot: &Snapshot) -> Self {
        let configured = snapshot.deny_action.as_deref().and_then(|action| match action {
            "Drop" => Some(DenialLook::Drop),
            "Reject" => Some(DenialLook::Reject),
            _ => None,
        });
        let names: BTreeSet<String> = snapshot.pods.iter().filter_map(|p| p.node.clone()).collect();
        let look = configured.unwrap_or(DenialLook::Unknown);
        Self { nodes: names.into_iter().map(|n| (n, look)).collect(), configured }
    }

    fn learn(&mut self, tracks: &[Track]) {
        if self.configured.is_some() {
            return;
        }
        for (node, look) in tracks.iter().filter_map(Track::shown_look) {
            self.nodes.insert(node, look);
        }
    }

    /// Both ends' nodes have their say: a silent denial is certain only where neither rejects.
    fn of(&self, track: &Track) -> DenialLook {
        let looks: Vec<DenialLook> =
            track.nodes().map(|node| self.nodes.get(node).copied().unwrap_or(DenialLook::Unknown)).collect();
        if looks.contains(&DenialLook::Reject) {
            DenialLook::Reject
        } else if !looks.is_empty() && looks.iter().all(|l| *l == DenialLook::Drop) {
            DenialLook::Drop
        } else {
            DenialLook::Unknown
        }
    }
}
