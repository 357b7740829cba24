//! One flow that a person asks about, seen on the wire with its controls. Nothing is written anywhere.
//!
//! ```text
//! texts ─[engine::by_hand]─▶ ends (names are resolved in the source pod) ─▶ cases ─[plan]─▶ [probing] ─▶ what was shown
//! ```

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    assemble,
    ground::{self, Ground},
    probing::{self, Patience},
    seams::{Cluster, Fault, ProbeTarget, Prober, Wire},
    since,
    track::Track,
};
use crate::{
    engine::{
        asked::{self, Port, Unknown},
        by_hand::{self, Case, Cases, Shown, Stop},
        explain::Question,
        matrix::Matrix,
        plan::{self, Limits, Planned, Planner},
        reach::Reach,
    },
    model::{DenialLook, FlowReport, FlowResult, Outcome, PodInfo, PodRef, PolicyRef, Protocol, Snapshot, Unseen},
};

/// Flows that one question may come to: it is one that a person waits for.
const MOST_FLOWS: usize = 64;

/// Addresses of a name that are probed.
const MOST_ADDRESSES: usize = 8;

/// Why nothing was probed.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A text that means nothing here.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// The question is too wide.
    #[error("that is {0} flows, and a probe by hand takes {MOST_FLOWS} at most: name a pod or an address")]
    TooMany(usize),
    /// The API server could not be asked.
    #[error("the cluster could not be looked at again: {0}")]
    Cluster(Fault),
}

/// What a probe by hand is given.
pub struct Hand<'a, W, C> {
    /// Packets and time.
    pub wire: &'a W,
    /// The cluster.
    pub cluster: &'a C,
    /// What runs there.
    pub snapshot: &'a Snapshot,
    /// Reachability under the live policies.
    pub reach: &'a Reach<'a>,
    /// The live policies, to be asked.
    pub live: &'a Question<'a>,
    /// Other policies over the same workloads, such as Git's.
    pub declared: Option<(&'a Question<'a>, &'a Reach<'a>)>,
    /// Where controls may start.
    pub probe_from: &'a dyn Fn(&str) -> bool,
    /// What is not probed.
    pub limits: &'a Limits,
    /// How long it may take.
    pub patience: Patience,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// One for each flow that the question came to.
    pub shown: Vec<Shown>,
    /// How a denial looks, by node.
    pub denial: BTreeMap<String, DenialLook>,
}

impl Looked {
    /// The exit code: 1 where a flow is not as the policies say, else 3 where one was not told.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let codes: Vec<u8> = self.shown.iter().map(Shown::exit_code).collect();
        let has = |code: u8| codes.contains(&code);
        if has(1) {
            1
        } else if has(3) || codes.is_empty() {
            3
        } else {
            0
        }
    }
}

/// A flow to look at, between two ends.
type Wanted = (Stop, Stop, (Protocol, u16));

impl<W: Wire, C: Cluster + Sync> Hand<'_, W, C> {
    /// Probes a flow, as it stands on a command line.
    ///
    /// # Errors
    /// An end means nothing, or too much; or the cluster could not be looked at again.
    pub async fn look(&self, source: &str, destination: &str, port: &str) -> Result<Looked, Trouble> {
        let port = asked::port(port)?;
        let mut looked = Looked { shown: Vec::new(), denial: BTreeMap::new() };
        let mut wanted: Vec<Wanted> = Vec::new();
        for start in by_hand::starts(source, self.reach, self.snapshot)? {
            if by_hand::is_name(destination, self.snapshot) {
                self.named(&start, destination, &port, &mut wanted, &mut looked).await?;
            } else {
                let goals = by_hand::goals(destination, &port, self.reach, self.snapshot)?;
                wanted.extend(goals.into_iter().map(|(goal, number)| (start.clone(), goal, (port.0, number))));
            }
        }
        if wanted.len() > MOST_FLOWS {
            return Err(Trouble::TooMany(wanted.len()));
        }
        self.probe(&wanted, &mut looked).await?;
        Ok(looked)
    }

    /// The flows to the addresses that a name has in the source pod.
    async fn named(
        &self,
        start: &Stop,
        name: &str,
        port: &(Protocol, Port),
        wanted: &mut Vec<Wanted>,
        looked: &mut Looked,
    ) -> Result<(), Trouble> {
        let number = match &port.1 {
            Port::Number(number) => *number,
            Port::Name(port) => {
                let what = format!("port `{port}` of a host name is not known: give its number");
                return Err(Trouble::Unknown(Unknown::new(what)));
            }
        };
        let nowhere = |outcome, why| Shown::nowhere(start, name, (port.0, number), outcome, why);
        let addresses = match self.resolve(start, name).await {
            Ok(addresses) => addresses,
            Err((outcome, why)) => {
                looked.shown.push(nowhere(outcome, why));
                return Ok(());
            }
        };
        let numbered = (port.0, Port::Number(number));
        for address in addresses {
            let goals = by_hand::goals(&address.to_string(), &numbered, self.reach, self.snapshot)?;
            wanted.extend(
                goals.into_iter().map(|(goal, number)| {
                    (start.clone(), Stop { name: Some(name.to_owned()), ..goal }, (port.0, number))
                }),
            );
        }
        Ok(())
    }

    /// The addresses of a name as the source pod's own resolver has them, of the families that the pod has.
    async fn resolve(&self, start: &Stop, name: &str) -> Result<Vec<IpAddr>, (Outcome, (Unseen, String))> {
        let workload = &start.asked.endpoint;
        let Some(pod) = self.pod(start.pod.as_ref()).filter(|pod| pod.is_usable()) else {
            return Err((Outcome::NoSource, (Unseen::Waiting, format!("{workload} runs no pod that is Ready"))));
        };
        plan::fit(pod).map_err(|why| (Outcome::NotProbed, why))?;
        let targets = [ProbeTarget::Resolve { name: name.to_owned() }];
        let seen = self.wire.prober().probe(&ground::source(pod), &targets).await.into_iter().next();
        let Some(seen) = seen else {
            return Err((Outcome::Cut, (Unseen::Pending, "the exec broke before an answer".to_owned())));
        };
        let has = |address: &IpAddr| pod.ips.iter().any(|own| own.is_ipv4() == address.is_ipv4());
        let mut addresses: Vec<IpAddr> = seen.addresses.iter().copied().filter(has).collect();
        addresses.sort();
        addresses.dedup();
        addresses.truncate(MOST_ADDRESSES);
        if addresses.is_empty() {
            let outcome = if seen.outcome == Outcome::Open { Outcome::Dns } else { seen.outcome };
            let state = if outcome == Outcome::ToolMissing { Unseen::Unprobeable } else { Unseen::Pending };
            let words = if seen.text.is_empty() { String::new() } else { format!(": {}", seen.text) };
            return Err((outcome, (state, format!("`{name}` could not be resolved in {}{words}", pod.id))));
        }
        Ok(addresses)
    }

    fn pod(&self, id: Option<&PodRef>) -> Option<&PodInfo> {
        id.and_then(|id| self.snapshot.pods.iter().find(|pod| pod.id == *id))
    }

    async fn probe(&self, wanted: &[Wanted], looked: &mut Looked) -> Result<(), Trouble> {
        let world = Cases::world(self.reach, wanted.iter().flat_map(|(from, to, _)| [from, to]), self.snapshot);
        let matrix = Matrix::new(&world);
        let cases = Cases { live: self.live, declared: self.declared, snapshot: self.snapshot, matrix: &matrix };
        let cases: Vec<Case> = wanted.iter().flat_map(|(from, to, port)| cases.of(from, to, *port)).collect();
        let planner = Planner {
            snapshot: self.snapshot,
            live: &matrix,
            probe_from: self.probe_from,
            limits: self.limits,
            turn: 0,
            everywhere: false,
        };
        let mut probed: Vec<(Case, Planned)> = Vec::new();
        for case in cases {
            let mut plan = planner.plan(vec![case.flow.clone()]);
            // One pod is what was asked about, not one of each node.
            match (plan.probes.drain(..).next(), plan.unseen.pop()) {
                (Some(mut planned), _) => {
                    let is_asked = |service: &str| case.service.as_deref().is_none_or(|asked| asked == service);
                    planned.through.retain(|through| is_asked(&through.service));
                    probed.push((case, planned));
                }
                (None, Some((_, unseen, reason))) => looked.shown.push(unprobed(case, unseen, reason)),
                (None, None) => {}
            }
        }
        let (cases, plan): (Vec<Case>, Vec<Planned>) = probed.into_iter().unzip();
        let ground = Ground::new(self.snapshot, &plan);
        let probing = probing::probe(self.wire, &ground, plan, self.patience).await;
        let changed = self.changed(&probing.tracks).await.map_err(Trouble::Cluster)?;
        let shown = cases.into_iter().zip(&probing.tracks);
        looked.shown.extend(shown.map(|(case, track)| self.shown(case, track, &changed)));
        looked.denial = probing.denial;
        Ok(())
    }

    /// What a probe showed; nothing where its pods or policies changed meanwhile.
    fn shown(&self, case: Case, track: &Track, changed: &Changed) -> Shown {
        let mut flow = case.report();
        assemble::seen(&mut flow, track, self.snapshot);
        if flow.result == FlowResult::Verified && flow.declared != flow.live {
            flow.result = FlowResult::Drift;
        }
        if let Some(why) = changed.of(track) {
            flow =
                FlowReport { result: FlowResult::Inconclusive, state: Some(Unseen::Pending), note: Some(why), ..flow };
        }
        let Case { answer, declared, name, .. } = case;
        Shown { flow, answer: Some(answer), declared, name, tries: track.seen.len(), words: track.text.clone() }
    }

    async fn changed(&self, tracks: &[Track]) -> Result<Changed, Fault> {
        if tracks.is_empty() {
            return Ok(Changed::default());
        }
        let pods = since::pods(self.cluster, self.snapshot, tracks).await?;
        let namespaces: Vec<&String> = tracks.iter().flat_map(Track::pods).map(|pod| &pod.namespace).collect();
        let ours = |id: &PolicyRef| id.namespace.as_ref().is_none_or(|name| namespaces.contains(&name));
        Ok(Changed { pods, policies: since::policies(self.cluster, self.snapshot, ours).await? })
    }
}

/// What is not as it was when the probes were planned.
#[derive(Default)]
struct Changed {
    pods: Vec<PodRef>,
    policies: bool,
}

impl Changed {
    /// Why a probe proves nothing, if so.
    fn of(&self, track: &Track) -> Option<String> {
        let pod = track.pods().find(|pod| self.pods.contains(pod));
        pod.map(|pod| format!("{pod} was replaced, relabelled or is no longer Ready: probe again"))
            .or_else(|| self.policies.then(|| "policies changed during the probe: probe again".to_owned()))
    }
}

fn unprobed(case: Case, unseen: Unseen, reason: String) -> Shown {
    let mut flow = case.report();
    flow.observed = if unseen == Unseen::Waiting { Outcome::NoSource } else { Outcome::NotProbed };
    flow.state = Some(unseen);
    flow.note = Some(reason);
    let Case { answer, declared, name, .. } = case;
    Shown { flow, answer: Some(answer), declared, name, tries: 0, words: String::new() }
}
