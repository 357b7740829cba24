//! What a look compares: Git as declared or remembered, and what lies outside the cluster.

use std::collections::BTreeMap;

use super::Run;
use crate::{
    engine::touched::Outside as OutsideHost,
    model::{Declared, KustomizationRef, KustomizationStatus, ObjectRef, Rendering, Snapshot, State},
    verify::{
        compare::Material,
        seams::{Outside, Resolver, Source},
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

    /// Configured hosts by their addresses of now.
    pub(super) async fn hosts(&self) -> Vec<OutsideHost> {
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
