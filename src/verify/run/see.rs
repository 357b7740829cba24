//! One look at the flows: the plan, its probes, and whether pods or policies changed meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
    time::Duration,
};

use super::{Run, blind};
use crate::{
    config::Evidence,
    engine::{
        matrix::Matrix,
        plan::{Plan, Planner},
        touched::{SILENT, TouchedFlow},
    },
    model::{
        DenialLook, Finding, FlowRecord, FlowReport, FlowResult, Outcome, PodRef, PolicyRef, State, Sweep, Trigger,
        Unseen, Why,
    },
    verify::{
        assemble::Assembler,
        compare::{self, Comparison, Material},
        evidence,
        ground::Ground,
        names::{self, Book},
        nodes, probing, recall,
        seams::{Clock, Fault, Outside, Shards},
        shards, since,
        track::Track,
    },
};

/// Whether a flow's pod went away while it was probed.
pub(super) fn is_lost(flow: &FlowReport) -> bool {
    flow.observed == Outcome::TargetDown
}

/// The flows of the last look, and those of earlier ones whose workload went away meanwhile: this merge touched them,
/// so they are owed until they are seen or are known to be gone.
pub(super) fn with_lost(mut flows: Vec<FlowReport>, lost: &[FlowReport]) -> Vec<FlowReport> {
    for flow in lost {
        if !flows.iter().any(|f| f.key() == flow.key()) {
            flows.push(flow.clone());
        }
    }
    flows.sort_by_key(FlowReport::key);
    flows
}

/// What one look showed.
pub(super) struct SeenFlows {
    pub(super) flows: Vec<FlowReport>,
    pub(super) sweep: Option<Sweep>,
    pub(super) denial: BTreeMap<String, DenialLook>,
    /// Logs of the enforcer that could not be read.
    pub(super) unread: Option<Finding>,
    pub(super) changed: bool,
}

struct Changed {
    pods: Vec<PodRef>,
    replan: bool,
}

impl<O: Outside> Run<'_, O> {
    pub(super) async fn see(
        &self,
        material: &Material<'_>,
        comparison: &Comparison,
        book: &Book,
    ) -> Result<SeenFlows, Fault> {
        let assembler = Assembler { comparison, material, accepted: self.acceptances() };
        let (drifted, rest): (Vec<TouchedFlow>, Vec<TouchedFlow>) =
            comparison.touched.flows.iter().cloned().partition(Assembler::is_drifted);
        let live = Matrix::new(&comparison.live);
        let (blind, rest) = blind::parted(&live, book, rest);
        let plan = self.plan(material, (comparison, &live), rest);
        let from: BTreeSet<&PodRef> = plan.probes.iter().map(|planned| &planned.source).collect();
        tracing::info!(probes = plan.probes.len(), pods = from.len(), not_probed = plan.unseen.len(), "probing");
        let (began, since) = (self.outside.clock().elapsed(), self.outside.clock().now());
        let ground = Ground::new(material.snapshot, &plan.probes);
        let shared = shards::probe(self.outside, &ground, plan.probes, self.patience()).await;
        self.added.fetch_add(shared.added, Ordering::Relaxed);
        let (probing, pods) = (shared.probing, shared.pods);
        let took = self.outside.clock().elapsed().saturating_sub(began).as_millis();
        tracing::info!(milliseconds = took, "probing is over");
        self.probing.fetch_add(u64::try_from(took).unwrap_or(u64::MAX), Ordering::Relaxed);
        let changed = self.changed(material, comparison, &probing.tracks).await?;
        // One that waits until Git and live agree is said once and then counted.
        let told = drifted.iter().filter(|f| f.why != Why::Retried);
        let mut flows: Vec<FlowReport> = told.filter_map(|f| assembler.drifted(f)).collect();
        let mut probed = probed(&assembler, &probing.tracks, &changed);
        let unread = self.evidence(material, &since, &mut probed).await;
        flows.extend(probed.into_iter().map(|(_, flow)| flow));
        flows.extend(plan.unseen.iter().filter_map(|(f, unseen, reason)| assembler.unseen(f, *unseen, reason)));
        let unnamed = blind.iter().filter_map(|(f, unseen, reason)| assembler.unseen(f, *unseen, reason));
        flows.extend(unnamed.map(|flow| FlowReport { observed: Outcome::Dns, ..flow }));
        let left = comparison.touched.left + plan.left;
        let sweep = material.sweep.map(|_| nodes::swept(&flows, probing.tracks.len(), pods, left));
        let flows = nodes::joined(flows);
        Ok(SeenFlows { flows, sweep, denial: probing.denial, unread, changed: changed.replan })
    }

    /// Puts the enforcer's log lines beside what they are about; gives what could not be read.
    async fn evidence(
        &self,
        material: &Material<'_>,
        since: &str,
        probed: &mut [(&Track, FlowReport)],
    ) -> Option<Finding> {
        let enforcers = self.settings.config.evidence.as_ref().map(Evidence::enforcers)?;
        evidence::attach(self.outside, &enforcers, material.snapshot, since, probed).await
    }

    fn plan(
        &self,
        material: &Material<'_>,
        (comparison, live): (&Comparison, &Matrix<'_>),
        flows: Vec<TouchedFlow>,
    ) -> Plan {
        let may = |name: &str| comparison.product.contains(name) || self.settings.namespaces.may_probe(name);
        // probe.maxProbes is what one pod may do.
        let mut limits = self.settings.config.limits();
        limits.max_probes = limits.max_probes.saturating_mul(self.outside.shards().count());
        let (known, flows) = flows.into_iter().partition(|f| self.is_known_unprobeable(material.state, comparison, f));
        let planner = Planner {
            snapshot: material.snapshot,
            live,
            probe_from: &may,
            limits: &limits,
            turn: material.state.seq,
            everywhere: self.sweep,
        };
        let mut plan = planner.plan(flows);
        for flow in known {
            let reason = recall::key(&comparison.live, &flow)
                .and_then(|k| material.state.flows.get(&k))
                .map(|r| r.reason.clone());
            plan.unseen.push((flow, Unseen::Unprobeable, reason.unwrap_or_default()));
        }
        plan
    }

    /// What no retry can tell is not tried again by merges and schedules: it is counted.
    fn is_known_unprobeable(&self, state: &State, comparison: &Comparison, flow: &TouchedFlow) -> bool {
        let key = recall::key(&comparison.live, flow);
        // What an earlier version could not show, this one may.
        let is_shown_now =
            |reason: &str| reason.starts_with(names::DENIED) || reason.ends_with(SILENT) && flow.unseen.is_none();
        let unprobeable = |r: &FlowRecord| r.state == Unseen::Unprobeable && !is_shown_now(&r.reason);
        let known = key.and_then(|k| state.flows.get(&k)).is_some_and(unprobeable);
        known && flow.why == Why::Retried && self.trigger != Trigger::Manual
    }

    fn patience(&self) -> probing::Patience {
        let probe = &self.settings.config.probe;
        let spent = Duration::from_millis(self.probing.load(Ordering::Relaxed));
        probing::Patience { settle: probe.settle.get(), deadline: probe.deadline.get().saturating_sub(spent) }
    }

    /// Pods and policies that are not what they were when the probes were planned.
    async fn changed(
        &self,
        material: &Material<'_>,
        comparison: &Comparison,
        tracks: &[Track],
    ) -> Result<Changed, Fault> {
        let pods = since::pods(self.outside.cluster(), material.snapshot, tracks).await?;
        // Policies between other people's namespaces change all the time on a busy cluster.
        let git: BTreeSet<_> = material.declared.iter().flat_map(|d| &d.policies).map(|p| p.id.clone()).collect();
        let ours = |id: &PolicyRef| {
            id.namespace.as_ref().is_none_or(|n| compare::is_watched(material, &comparison.product, &git, n))
        };
        let policies_changed = since::policies(self.outside.cluster(), material.snapshot, ours).await?;
        let owed = tracks.iter().filter(|t| t.planned.flow.why != Why::Sweep).flat_map(Track::pods);
        let owed_changed = owed.into_iter().any(|id| pods.contains(id));
        Ok(Changed { replan: owed_changed || policies_changed, pods })
    }
}

/// What each probe amounts to. One whose pods changed was not seen; a sweep owes nothing then, the next one looks again.
fn probed<'t>(assembler: &Assembler<'_>, tracks: &'t [Track], changed: &Changed) -> Vec<(&'t Track, FlowReport)> {
    let probed = tracks.iter().filter_map(|t| {
        let gone = t.pods().any(|id| changed.pods.contains(id));
        let flow = assembler.probed(t).filter(|_| !gone || t.planned.flow.why != Why::Sweep)?;
        Some((t, if gone { unseen(flow) } else { flow }))
    });
    probed.collect()
}

/// A flow whose source or target is another pod now was not seen, whatever the packets said.
fn unseen(flow: FlowReport) -> FlowReport {
    FlowReport {
        result: FlowResult::Inconclusive,
        state: Some(Unseen::Pending),
        note: Some("the pod was replaced during the probe, tried again next run".to_owned()),
        observed: Outcome::TargetDown,
        ..flow
    }
}
