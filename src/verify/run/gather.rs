//! What a look compares: Git as declared or remembered, and what lies outside the cluster.

use std::collections::BTreeMap;

use super::Run;
use crate::{
    engine::touched::Outside as OutsideHost,
    model::{
        Declared, Endpoint, FindingRule, FlowReport, KustomizationRef, KustomizationStatus, ObjectRef, Rendering,
        Report, Severity, Snapshot, State, Unseen, Verdict, Why,
    },
    verify::{
        assemble::is_of_merge,
        compare::Material,
        findings,
        seams::{Outside, Source},
        trigger::is_checked,
    },
};

impl<O: Outside> Run<'_, O> {
    pub(super) fn material<'m>(
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
            sweep: self.sweep.then_some(state.seq + 1),
            accepted: self.acceptances(),
        }
    }

    /// What each Kustomization declares; one that is not applied stands with the policies of the state. Nothing where
    /// one was applied at another revision than the state's and cannot be had: what Git said then is no measure of what
    /// is live now.
    pub(super) async fn declared(
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
                if !is_checked(state, std::slice::from_ref(status)) {
                    return Vec::new();
                }
            }
            declared.extend(remembered(state, status));
        }
        declared
    }

    pub(super) async fn inventories(&self) -> Option<BTreeMap<KustomizationRef, Vec<ObjectRef>>> {
        match self.outside.source().inventories().await {
            Ok(inventories) => Some(inventories),
            Err(fault) => {
                tracing::warn!(error = %fault, "inventories of other Kustomizations could not be read");
                None
            }
        }
    }
}

/// Says where names without an address keep flows of this merge from being probed, in their place: they are not
/// unprobeable, a later run has to look at them. Gives whether there is no such flow.
pub(super) fn note_unresolved(report: &mut Report, unresolved: &[String]) -> bool {
    let of_range = |flow: &FlowReport| {
        let no_host = matches!(&flow.destination, Endpoint::External { name: None, .. });
        let new = is_of_merge(flow.why) && flow.why != Why::FirstRun;
        no_host && new && flow.state == Some(Unseen::Unprobeable)
    };
    let before = report.flows.len();
    if !unresolved.is_empty() {
        report.flows.retain(|flow| !of_range(flow));
    }
    let count = before - report.flows.len();
    if count > 0 {
        let names = unresolved.join("`, `");
        let text = format!(
            "{count} flows to address ranges were not probed, as `{names}` could not be resolved: look at the cluster's \
             DNS, or correct `destinations`"
        );
        report.findings.push(findings::finding(FindingRule::NotReadable, "destinations", Severity::Warning, text));
        report.verdict = Verdict::Inconclusive;
    }
    count == 0
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
        remembered: true,
    })
}
