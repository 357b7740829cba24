//! The report before its verdict: what was checked against what, and what could not be had.

use std::collections::BTreeMap;

use super::Run;
use crate::{
    model::{
        ComparedWith, Declared, FindingRule, KustomizationRef, KustomizationReport, KustomizationStatus, Rendering,
        RenderingState, Report, Revision, SCHEMA, Severity, Standing, State, Verdict,
    },
    verify::{findings, seams::Outside},
};

impl<O: Outside> Run<'_, O> {
    pub(super) fn report(&self, state: &State, statuses: &[KustomizationStatus], declared: &[Declared]) -> Report {
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
            converged_ms: None,
            sweep: None,
            ephemeral_containers: None,
            first_run: checked.is_none(),
            same_digest,
            standing: Standing::default(),
            cleared: Vec::new(),
            started: self.started.clone(),
            finished: self.started.clone(),
        }
    }
}

pub(super) fn note_troubles(
    report: &mut Report,
    troubles: &[(KustomizationRef, String)],
    statuses: &[KustomizationStatus],
) {
    for (id, text) in troubles {
        // The same trouble with another revision is another one: people learn of each revision.
        let revision = statuses.iter().find(|s| &s.id == id).and_then(|s| s.applied.as_ref());
        let key = revision.map_or_else(|| id.to_string(), |revision| format!("{id} at {}", revision.short()));
        report.findings.push(findings::finding(FindingRule::Flux, &key, Severity::Warning, text.clone()));
    }
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
pub(super) fn changed_revision(state: &State, report: &Report) -> Option<Revision> {
    let known = |k: &KustomizationReport| {
        let checked = state.checked.as_ref()?;
        checked.kustomizations.iter().find(|c| c.id == k.id()).map(|c| c.revision.clone())
    };
    let changed = report.kustomizations.iter().find(|k| k.applied.is_some() && known(k) != k.applied);
    changed.or_else(|| report.kustomizations.first()).and_then(|k| k.applied.clone())
}
