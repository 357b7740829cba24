//! One run, from the lock to the exit code (design §3).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{
    applied,
    assemble::Assembler,
    compare::{self, Comparison, Material},
    conclude::Conclusion,
    deliver, expect, findings, probing, recall, remember,
    seams::{Clock, Cluster, Fault, Lock, Outside, OwnJob, Resolver, Source, Store},
    tell,
    track::Track,
    trigger,
};
use crate::{
    config::{Config, NamespaceSet},
    engine::{
        accept::Acceptances,
        matrix::Matrix,
        plan::{Plan, Planner},
        touched::{Outside as OutsideHost, TouchedFlow},
    },
    model::{
        ComparedWith, Declared, DenialLook, FindingRule, FlowReport, FlowResult, KustomizationRef, KustomizationReport,
        KustomizationStatus, ObjectRef, Outcome, PodRef, PolicyRef, Rendering, RenderingState, Report, Revision,
        SCHEMA, Severity, Snapshot, Standing, State, Trigger, Unseen, Verdict, Why,
    },
};

/// A run starts over at most so often when Git, policies or pods move under it.
const ATTEMPTS: usize = 3;

/// What a run is given.
pub struct Settings {
    /// The configuration.
    pub config: Config,
    /// Its namespaces.
    pub namespaces: NamespaceSet,
    /// What the own Job says.
    pub job: OwnJob,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Its report; `None` where another run had answered already.
    pub report: Option<Report>,
    /// The process exit code.
    pub exit: u8,
    /// A sentence for the log.
    pub note: String,
}

/// Runs once.
///
/// # Errors
/// The lock or the state cannot be had: nothing was checked and nothing was written.
pub async fn run<O: Outside>(outside: &O, settings: &Settings) -> Result<Ended, Fault> {
    outside.lock().acquire(settings.config.probe.deadline.get() + settings.config.flux.wait.get()).await?;
    let ended = locked(outside, settings).await;
    outside.lock().release().await;
    ended
}

async fn locked<O: Outside>(outside: &O, settings: &Settings) -> Result<Ended, Fault> {
    let mut state = outside.store().load().await?;
    // What earlier runs owe goes first, whatever this run is about.
    let owed = deliver::deliver(outside, &mut state).await?;
    if let Some(done) = trigger::done_meanwhile(&state, &settings.job) {
        let exit = with_outbox(done.verdict, &state);
        return Ok(Ended {
            report: None,
            exit,
            note: format!("run {} answered meanwhile: {}", done.seq, done.verdict.word()),
        });
    }
    let started = outside.clock().now();
    let statuses = applied::settled(outside, &settings.config).await?;
    let why = trigger::trigger(&state, &statuses, &settings.job);
    if let Some(verdict) = trigger::already_told(&state, &statuses, why) {
        let exit = with_outbox(verdict, &state);
        return Ok(Ended { report: None, exit, note: format!("already checked: {}", verdict.word()) });
    }
    tracing::info!(trigger = ?why, sent = owed.sent, "run began");
    let run = Run { outside, settings, started, trigger: why, probing: AtomicU64::new(0) };
    run.verify(state, statuses).await
}

/// A message that is still owed makes any verdict but `nothing` exit 3 (design §2).
fn with_outbox(verdict: Verdict, state: &State) -> u8 {
    if state.outbox.is_empty() || verdict == Verdict::Nothing {
        verdict.exit_code()
    } else {
        Verdict::Inconclusive.exit_code()
    }
}

struct Run<'a, O: Outside> {
    outside: &'a O,
    settings: &'a Settings,
    started: String,
    trigger: Trigger,
    /// Milliseconds that all probing of this run has taken so far: its looks share one deadline.
    probing: AtomicU64,
}

/// What one attempt yields.
struct Attempt {
    report: Report,
    declared: Vec<Declared>,
    comparison: Option<Comparison>,
    /// Whether every applied Kustomization was looked at as it is: what could not be had is not checked.
    whole: bool,
}

impl<O: Outside> Run<'_, O> {
    async fn verify(&self, state: State, mut statuses: Vec<KustomizationStatus>) -> Result<Ended, Fault> {
        for attempt in 1..=ATTEMPTS {
            let done = self.attempt(&state, &statuses).await?;
            let after = applied::now(self.outside, &self.settings.config).await?;
            if !applied::moved(&statuses, &after) {
                let whole = done.whole;
                return self.finish(&state, &statuses, done, whole).await;
            }
            tracing::info!(attempt, "a newer revision was applied meanwhile");
            if attempt == ATTEMPTS {
                let mut done = done;
                done.report.verdict = Verdict::Inconclusive;
                return self.finish(&state, &statuses, done, false).await;
            }
            statuses = applied::settled(self.outside, &self.settings.config).await?;
        }
        Err("no attempt was made".into())
    }

    async fn attempt(&self, state: &State, statuses: &[KustomizationStatus]) -> Result<Attempt, Fault> {
        if statuses.iter().all(|s| s.not_applied.is_some()) {
            let mut report = self.report(state, statuses, &[]);
            report.verdict = Verdict::NotApplied;
            self.conclude(state, None, &mut report);
            return Ok(Attempt { report, declared: Vec::new(), comparison: None, whole: false });
        }
        let mut troubles = Vec::new();
        let declared = self.declared(state, statuses, &mut troubles).await;
        if declared.is_empty() {
            let mut report = self.report(state, statuses, &declared);
            report.verdict = Verdict::Inconclusive;
            note_troubles(&mut report, &troubles, statuses);
            self.conclude(state, None, &mut report);
            return Ok(Attempt { report, declared, comparison: None, whole: false });
        }
        self.look(state, statuses, declared, troubles).await
    }

    /// Compares, probes, and looks again where pods or policies moved meanwhile.
    async fn look(
        &self,
        state: &State,
        statuses: &[KustomizationStatus],
        declared: Vec<Declared>,
        troubles: Vec<(KustomizationRef, String)>,
    ) -> Result<Attempt, Fault> {
        let inventories = self.inventories().await;
        let hosts = self.hosts().await;
        for round in 1.. {
            let snapshot = self.outside.cluster().snapshot().await?;
            let material = self.material(state, &declared, &snapshot, inventories.as_ref(), &hosts);
            let comparison = compare::compare(&material);
            let seen = self.see(&material, &comparison).await?;
            if seen.moved && round < ATTEMPTS {
                tracing::info!(round, "pods or policies changed during the probes");
                continue;
            }
            let mut report = self.report(state, statuses, &declared);
            report.drift.clone_from(&comparison.drift);
            report.findings.clone_from(&comparison.findings);
            if self.trigger != Trigger::Merge || !comparison.touched.flows.is_empty() {
                report.findings.extend(expect::look(self.outside, &self.settings.config, &snapshot, &comparison).await);
            }
            report.flows = seen.flows;
            report.denial = seen.denial;
            if statuses.iter().any(|s| s.not_applied.is_some()) {
                report.verdict = Verdict::NotApplied;
            }
            note_troubles(&mut report, &troubles, statuses);
            self.conclude(state, Some(&comparison), &mut report);
            return Ok(Attempt { report, declared, comparison: Some(comparison), whole: troubles.is_empty() });
        }
        Err("no look was taken".into())
    }

    fn material<'m>(
        &'m self,
        state: &'m State,
        declared: &'m [Declared],
        snapshot: &'m Snapshot,
        inventories: Option<&'m BTreeMap<KustomizationRef, Vec<ObjectRef>>>,
        outside: &'m [OutsideHost],
    ) -> Material<'m> {
        Material {
            config: &self.settings.config,
            namespaces: &self.settings.namespaces,
            declared,
            snapshot,
            state,
            inventories,
            outside,
            trigger: self.trigger,
            accepted: self.acceptances(),
        }
    }

    /// What each Kustomization declares; one that is not applied stands with the policies of the state.
    async fn declared(
        &self,
        state: &State,
        statuses: &[KustomizationStatus],
        troubles: &mut Vec<(KustomizationRef, String)>,
    ) -> Vec<Declared> {
        let mut declared = Vec::new();
        for status in statuses {
            if status.not_applied.is_none() {
                match self.outside.source().declared(status).await {
                    Ok(found) => {
                        declared.push(found);
                        continue;
                    }
                    Err(fault) => troubles.push((status.id.clone(), format!("{}: {fault}", status.id))),
                }
            }
            declared.extend(remembered(state, status));
        }
        declared
    }

    async fn inventories(&self) -> Option<BTreeMap<KustomizationRef, Vec<ObjectRef>>> {
        match self.outside.source().inventories().await {
            Ok(inventories) => Some(inventories),
            Err(fault) => {
                tracing::warn!(error = %fault, "inventories of other Kustomizations could not be read");
                None
            }
        }
    }

    /// Configured hosts by their addresses of now.
    async fn hosts(&self) -> Vec<OutsideHost> {
        let mut hosts = Vec::new();
        for destination in &self.settings.config.destinations {
            let names = if destination.members.is_empty() {
                vec![destination.name.clone()]
            } else {
                destination.members.clone()
            };
            for name in names {
                match self.outside.resolver().resolve(&name).await {
                    Ok(addresses) => hosts.extend(addresses.into_iter().map(|address| OutsideHost {
                        name: Some(name.clone()),
                        address,
                        ports: destination.ports.clone(),
                    })),
                    Err(fault) => tracing::warn!(name, error = %fault, "destination could not be resolved"),
                }
            }
        }
        hosts
    }

    async fn see(&self, material: &Material<'_>, comparison: &Comparison) -> Result<SeenFlows, Fault> {
        let assembler = Assembler { comparison, material, accepted: self.acceptances() };
        let (drifted, rest): (Vec<TouchedFlow>, Vec<TouchedFlow>) =
            comparison.touched.flows.iter().cloned().partition(Assembler::is_drifted);
        let plan = self.plan(material, comparison, rest);
        let began = self.outside.clock().elapsed();
        let probing = probing::probe(self.outside, material.snapshot, plan.probes, self.patience()).await;
        let took = self.outside.clock().elapsed().saturating_sub(began).as_millis();
        self.probing.fetch_add(u64::try_from(took).unwrap_or(u64::MAX), Ordering::Relaxed);
        let moved = self.moved(material, comparison, &probing.tracks).await?;
        // One that waits until Git and live agree is said once and then counted.
        let told = drifted.iter().filter(|f| f.why != Why::Retried);
        let mut flows: Vec<FlowReport> = told.filter_map(|f| assembler.drifted(f)).collect();
        flows.extend(probing.tracks.iter().filter_map(|t| {
            let gone = moved.pods.contains(&t.planned.source)
                || t.planned.target_pod.as_ref().is_some_and(|p| moved.pods.contains(p));
            assembler.probed(t).map(|flow| if gone { unseen(flow) } else { flow })
        }));
        flows.extend(plan.unseen.iter().filter_map(|(f, unseen, reason)| assembler.unseen(f, *unseen, reason)));
        flows.sort_by_key(FlowReport::key);
        Ok(SeenFlows { flows, denial: probing.denial, moved: moved.replan })
    }

    fn plan(&self, material: &Material<'_>, comparison: &Comparison, flows: Vec<TouchedFlow>) -> Plan {
        let matrix = Matrix::new(&comparison.live);
        let may = |name: &str| comparison.product.contains(name) || self.settings.namespaces.may_probe(name);
        let limits = self.settings.config.limits();
        let (known, flows) = flows.into_iter().partition(|f| self.is_known_unprobeable(material.state, comparison, f));
        let planner = Planner { snapshot: material.snapshot, live: &matrix, probe_from: &may, limits: &limits };
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
        let known = key.and_then(|k| state.flows.get(&k)).is_some_and(|r| r.state == Unseen::Unprobeable);
        known && flow.why == Why::Retried && self.trigger != Trigger::Manual
    }

    fn patience(&self) -> probing::Patience {
        let probe = &self.settings.config.probe;
        let spent = Duration::from_millis(self.probing.load(Ordering::Relaxed));
        probing::Patience { settle: probe.settle.get(), deadline: probe.deadline.get().saturating_sub(spent) }
    }

    /// Pods and policies that are not what they were when the probes were planned.
    async fn moved(&self, material: &Material<'_>, comparison: &Comparison, tracks: &[Track]) -> Result<Moved, Fault> {
        let snapshot = material.snapshot;
        let mut ids: Vec<PodRef> = tracks
            .iter()
            .flat_map(|t| [Some(t.planned.source.clone()), t.planned.target_pod.clone()])
            .flatten()
            .collect();
        ids.sort();
        ids.dedup();
        let now = self.outside.cluster().pods(&ids).await?;
        let then = |id: &PodRef| snapshot.pods.iter().find(|p| &p.id == id);
        let same = |id: &PodRef| match (then(id), now.get(id)) {
            (Some(then), Some(now)) => {
                then.uid == now.uid && then.ips == now.ips && now.is_usable() && then.labels == now.labels
            }
            _ => false,
        };
        let pods: Vec<PodRef> = ids.into_iter().filter(|id| !same(id)).collect();
        // Policies between other people's namespaces change all the time on a busy cluster.
        let git: BTreeSet<_> = material.declared.iter().flat_map(|d| &d.policies).map(|p| p.id.clone()).collect();
        let ours = |id: &PolicyRef| {
            id.namespace.as_ref().is_none_or(|n| compare::is_watched(material, &comparison.product, &git, n))
        };
        let mut versions = self.outside.cluster().policy_versions().await?;
        versions.retain(|id, _| ours(id));
        let planned = snapshot.policies.iter().map(|p| (p.document.id.clone(), p.resource_version.clone()));
        let planned: BTreeMap<_, _> = planned.filter(|(id, _)| ours(id)).collect();
        let policies_moved = versions != planned;
        Ok(Moved { replan: !pods.is_empty() || policies_moved, pods })
    }

    fn acceptances(&self) -> Acceptances<'_> {
        let today = self.started.parse::<jiff::Timestamp>().unwrap_or_default();
        Acceptances::new(&self.settings.config.accept, today.to_zoned(jiff::tz::TimeZone::UTC).date())
    }

    fn conclude(&self, state: &State, comparison: Option<&Comparison>, report: &mut Report) {
        report.finished = self.outside.clock().now();
        let conclusion = Conclusion {
            state,
            comparison,
            accepted: self.acceptances(),
            revision: changed_revision(state, report),
            now: &report.finished.clone(),
        };
        conclusion.conclude(report);
    }

    fn report(&self, state: &State, statuses: &[KustomizationStatus], declared: &[Declared]) -> Report {
        let checked = state.checked.as_ref();
        let same_digest = checked.is_some_and(|c| {
            statuses.iter().all(|s| {
                s.not_applied.is_none()
                    && s.digest.is_some()
                    && c.kustomizations.iter().any(|k| k.id == s.id && k.digest == s.digest)
            })
        });
        Report {
            schema: SCHEMA.to_owned(),
            cluster: self.settings.config.cluster.clone(),
            seq: state.seq + 1,
            trigger: self.trigger,
            verdict: Verdict::Verified,
            kustomizations: statuses.iter().map(|s| kustomization(s, declared)).collect(),
            compared_with: checked.map(|c| ComparedWith {
                seq: c.seq,
                kustomizations: c.kustomizations.iter().map(|k| (k.id.clone(), k.revision.clone())).collect(),
            }),
            drift: Vec::new(),
            flows: Vec::new(),
            findings: Vec::new(),
            not_probed: Vec::new(),
            denial: BTreeMap::new(),
            first_run: checked.is_none(),
            same_digest,
            standing: Standing::default(),
            cleared: Vec::new(),
            started: self.started.clone(),
            finished: self.started.clone(),
        }
    }

    /// State with the messages first, then the room.
    async fn finish(
        &self,
        before: &State,
        statuses: &[KustomizationStatus],
        done: Attempt,
        counts: bool,
    ) -> Result<Ended, Fault> {
        let report = done.report;
        let ended = remember::Ended {
            report: &report,
            statuses,
            declared: &done.declared,
            comparison: done.comparison.as_ref(),
            config: &self.settings.config,
            job: self.settings.job.name.clone(),
            counts,
        };
        let mut next = remember::remember(before, &ended);
        let new_revision = !trigger::is_checked(before, statuses) && report.verdict != Verdict::NotApplied;
        let telling = tell::Telling {
            config: &self.settings.config,
            before,
            report: &report,
            statuses,
            // What could not be looked at is told with its reason, which is new only once.
            new_revision: new_revision && done.whole,
        };
        telling.tell(&mut next);
        if !self.outside.lock().is_held() {
            return Err("the Lease was lost during the run: nothing was written, another run will look again".into());
        }
        deliver::mark_tried(self.outside, &mut next);
        self.outside.store().save(&next).await?;
        let delivered = deliver::deliver(self.outside, &mut next).await?;
        let exit = with_outbox(report.verdict, &next);
        let note = delivered.trouble.unwrap_or_else(|| report.verdict.word().to_owned());
        let event = format!("run {}: {}", report.seq, report.verdict.word());
        if let Err(fault) = self.outside.cluster().event("Verified", &event, report.verdict != Verdict::Verified).await
        {
            tracing::warn!(error = %fault, "event not written");
        }
        Ok(Ended { report: Some(report), exit, note })
    }
}

struct SeenFlows {
    flows: Vec<FlowReport>,
    denial: BTreeMap<String, DenialLook>,
    moved: bool,
}

struct Moved {
    pods: Vec<PodRef>,
    replan: bool,
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

fn note_troubles(report: &mut Report, troubles: &[(KustomizationRef, String)], statuses: &[KustomizationStatus]) {
    for (id, text) in troubles {
        // The same trouble with another revision is another one: people learn of each revision.
        let revision = statuses.iter().find(|s| &s.id == id).and_then(|s| s.applied.as_ref());
        let key = revision.map_or_else(|| id.to_string(), |revision| format!("{id} at {}", revision.short()));
        report.findings.push(findings::finding(FindingRule::Flux, &key, Severity::Warning, text.clone()));
    }
}

/// The policies that the state remembers of a Kustomization.
fn remembered(state: &State, status: &KustomizationStatus) -> Option<Declared> {
    let checked = state.checked.as_ref()?;
    let known = checked.kustomizations.iter().find(|k| k.id == status.id)?;
    Some(Declared {
        status: status.clone(),
        rendering: Rendering::Proven,
        policies: known.policies.clone(),
        namespaces: Vec::new(),
        allowlist: None,
    })
}

fn kustomization(status: &KustomizationStatus, declared: &[Declared]) -> KustomizationReport {
    let rendering =
        declared.iter().find(|d| d.status.id == status.id && status.not_applied.is_none()).map(|d| &d.rendering);
    let (state, why) = match (rendering, &status.not_applied) {
        (Some(Rendering::Proven), None) => (RenderingState::Proven, None),
        (Some(Rendering::Unproven(reason)), _) => (RenderingState::Unproven, Some(reason.clone())),
        (_, Some(not_applied)) => (RenderingState::Unproven, Some(not_applied.message.clone())),
        (None, None) => (RenderingState::Unproven, Some("the artifact could not be had".to_owned())),
    };
    let attempted = status.not_applied.as_ref().and_then(|n| n.attempted.clone()).or_else(|| status.attempted.clone());
    KustomizationReport {
        namespace: status.id.namespace.clone(),
        name: status.id.name.clone(),
        attempted,
        applied: status.applied.clone(),
        digest: status.digest.clone(),
        rendering: state,
        reason: why,
    }
}

/// The revision that brought what is new: of the first Kustomization that is not at its checked revision.
fn changed_revision(state: &State, report: &Report) -> Option<Revision> {
    let known = |k: &KustomizationReport| {
        let checked = state.checked.as_ref()?;
        checked.kustomizations.iter().find(|c| c.id == k.id()).map(|c| c.revision.clone())
    };
    let changed = report.kustomizations.iter().find(|k| k.applied.is_some() && known(k) != k.applied);
    changed.or_else(|| report.kustomizations.first()).and_then(|k| k.applied.clone())
}
