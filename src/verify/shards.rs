//! Probing by all pods of an Indexed Job, for a plan that is more than one of them can do.
//!
//! ```text
//! plan ─[deal]─▶ own share ─────────────────[probing]─┐
//!            └─▶ tasks ─▶ the other pods, each [work] ─▶ answers ─▶ tracks in the plan's order
//! ```
//!
//! The pod with index 0 makes the run: it alone holds the Lease, compares, judges, writes the state and tells the room. The
//! others hold no opinion: they probe what lies at their [`Desk`](super::seams::Desk) and say what they saw. A share that
//! nobody answers for is pending, as is whatever was not seen.

mod work;

use std::{collections::BTreeMap, time::Duration};

use futures::future::join;
use serde::{Deserialize, Serialize};

use super::{
    ground::Ground,
    probing::{self, Patience, Probing},
    seams::{Clock, Outside, Shards, Ticket},
    track::Track,
};
use crate::{
    engine::{
        plan::{Planned, deal},
        touched::TouchedFlow,
    },
    model::DenialLook,
};
pub use work::work;

/// How often the other pods' places are looked at.
const PAUSE: Duration = Duration::from_secs(1);

/// How much longer than probing may take an answer is waited for: to find the task, and to write.
const GRACE: Duration = Duration::from_secs(15);

/// A share of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// What is known of its pods.
    pub ground: Ground,
    /// The probes.
    pub probes: Vec<Planned>,
    /// How long they may take.
    pub patience: Patience,
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// One for each probe, in order.
    pub tracks: Vec<Track>,
    /// How a denial looks, by node.
    pub denial: BTreeMap<String, DenialLook>,
    /// How many ephemeral containers were added for it.
    pub added: usize,
}

/// What probing with the other pods showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// As if one pod had probed all of it.
    pub probing: Probing,
    /// How many ephemeral containers the others have added.
    pub added: usize,
    /// How many pods probed.
    pub pods: usize,
}

/// A share that lies before another pod.
struct Given {
    index: usize,
    ticket: Ticket,
    /// Positions in the plan.
    share: Vec<usize>,
}

/// What came of it: the answer, or why there is none.
type Outcome = (Given, Result<Answer, String>);

/// Probes a plan, with the other pods of the own Job where it has some.
pub async fn probe<O: Outside>(outside: &O, ground: &Ground, plan: Vec<Planned>, patience: Patience) -> Shared {
    let others = others(outside).await;
    if others.is_empty() {
        let probing = probing::probe(outside, ground, plan, patience).await;
        return Shared { probing, added: 0, pods: 1 };
    }
    let (own, given) = give(outside, ground, &plan, patience, &others).await;
    tracing::info!(own = own.len(), given = plan.len() - own.len(), pods = given.len(), "the other pods probe too");
    let mine: Vec<Planned> = own.iter().filter_map(|index| plan.get(*index).cloned()).collect();
    let limit = patience.deadline + GRACE;
    let probing = probing::probe(outside, ground, mine, patience);
    let (mine, theirs) = join(probing, collect(outside, given, &plan, limit)).await;
    gathered(ground, plan, (own, mine), theirs, outside.clock().elapsed())
}

/// The other pods that can answer.
async fn others<O: Outside>(outside: &O) -> Vec<usize> {
    if outside.shards().count() <= 1 {
        return Vec::new();
    }
    outside.shards().alive().await.unwrap_or_else(|fault| {
        tracing::warn!(error = %fault, "the Job's other pods are left alone: this one probes everything");
        Vec::new()
    })
}

/// Deals the plan; what cannot be given stays here.
async fn give<O: Outside>(
    outside: &O,
    ground: &Ground,
    plan: &[Planned],
    patience: Patience,
    others: &[usize],
) -> (Vec<usize>, Vec<Given>) {
    let pods = ground.by_name();
    let node = |pod| pods.get(pod).and_then(|source| source.node.as_deref());
    let mut shares = deal(plan, node, others.len() + 1).into_iter();
    let mut own = shares.next().unwrap_or_default();
    let mut given = Vec::new();
    for (index, share) in others.iter().zip(shares).filter(|(_, share)| !share.is_empty()) {
        let probes: Vec<Planned> = share.iter().filter_map(|index| plan.get(*index)).map(sent).collect();
        let task = Task { ground: ground.of(&probes), probes, patience };
        match outside.shards().give(*index, &task).await {
            Ok(ticket) => given.push(Given { index: *index, ticket, share }),
            Err(fault) => {
                tracing::warn!(error = %fault, pod = index, "a share could not be given away: it is probed here");
                own.extend(share);
            }
        }
    }
    own.sort_unstable();
    (own, given)
}

/// A probe without what only the report needs.
fn sent(planned: &Planned) -> Planned {
    let flow = TouchedFlow { rules: Vec::new(), note: None, ..planned.flow.clone() };
    Planned { flow, ..planned.clone() }
}

/// Waits for the answers, as long as they can come.
async fn collect<O: Outside>(outside: &O, mut given: Vec<Given>, plan: &[Planned], limit: Duration) -> Vec<Outcome> {
    let start = outside.clock().elapsed();
    let mut found: Vec<Outcome> = Vec::new();
    loop {
        // Before their places are looked at: who has answered may end at once.
        let alive = outside.shards().alive().await.ok();
        let over = outside.clock().elapsed().saturating_sub(start) >= limit;
        let mut open = Vec::new();
        for one in given {
            let gone = alive.as_ref().is_some_and(|alive| !alive.contains(&one.index));
            let why = match outside.shards().answer(one.index, &one.ticket).await {
                Ok(Some(answer)) if fits(&answer, &one.share, plan) => {
                    found.push((one, Ok(answer)));
                    continue;
                }
                Ok(Some(_)) => "answered another question than it was asked".to_owned(),
                Ok(None) if gone => "ended without an answer".to_owned(),
                Ok(None) if over => format!("did not answer within {} s", limit.as_secs()),
                Err(fault) if over || gone => format!("gave no answer that can be read: {fault}"),
                Ok(None) | Err(_) => {
                    open.push(one);
                    continue;
                }
            };
            found.push((one, Err(why)));
        }
        given = open;
        if given.is_empty() {
            return found;
        }
        outside.clock().sleep(PAUSE).await;
    }
}

/// Whether an answer is one to these probes.
fn fits(answer: &Answer, share: &[usize], plan: &[Planned]) -> bool {
    let asked = share.iter().filter_map(|index| plan.get(*index)).map(sent);
    asked.eq(answer.tracks.iter().map(|track| track.planned.clone()))
}

/// All tracks in the plan's order, each judged by what all pods know of how a denial looks.
fn gathered(
    ground: &Ground,
    plan: Vec<Planned>,
    (own, mine): (Vec<usize>, Probing),
    theirs: Vec<Outcome>,
    now: Duration,
) -> Shared {
    let mut looks = ground.looks();
    looks.learn(mine.denial.into_iter());
    let pods = theirs.iter().filter(|(_, answer)| answer.is_ok()).count() + 1;
    let mut tracks: BTreeMap<usize, Track> = own.into_iter().zip(mine.tracks).collect();
    let mut added = 0;
    let mut lost: BTreeMap<usize, String> = BTreeMap::new();
    for (Given { index, share, .. }, answer) in theirs {
        match answer {
            Ok(answer) => {
                looks.learn(answer.denial.into_iter());
                added += answer.added;
                tracks.extend(share.into_iter().zip(answer.tracks));
            }
            Err(why) => {
                tracing::warn!(pod = index, flows = share.len(), "the pod {why}: its flows are pending");
                lost.extend(share.into_iter().map(|at| (at, format!("pod {index} of the Job {why}"))));
            }
        }
    }
    let sources = ground.by_name();
    let all = plan.into_iter().enumerate().map(|(at, planned)| {
        let mut track = match tracks.remove(&at) {
            Some(track) => track,
            None => Track::new(planned.clone(), &sources).lost(now, lost.remove(&at).unwrap_or_default()),
        };
        // What was sent lacks what only the report needs.
        track.planned = planned;
        track.look = looks.of(track.nodes());
        track
    });
    Shared { probing: Probing { tracks: all.collect(), denial: looks.nodes }, added, pods }
}
