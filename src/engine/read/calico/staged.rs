//! Staged policies: Calico shows what they would do, and never enforces them.

use std::collections::BTreeMap;

use super::{
    super::{
        Reader,
        fields::{Fields, Read},
    },
    policy, spec,
};
use crate::model::{Policy, PolicyDocument, PolicyRef, Tier};

/// What a staged policy is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StagedAction {
    /// It is to become a policy.
    Set,
    /// It says that the policy of its name is to go.
    Delete,
    /// Calico's tools wrote it from flows.
    Learn,
    /// It is set aside.
    Ignore,
}

/// A staged policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Its name.
    pub id: PolicyRef,
    /// What it is there for.
    pub action: StagedAction,
    /// What it would enforce; `None` where it is to delete one, or concerns host endpoints alone.
    pub policy: Option<Policy>,
}

pub(super) fn is_staged(kind: &str) -> bool {
    ["StagedNetworkPolicy", "StagedGlobalNetworkPolicy", "StagedKubernetesNetworkPolicy"].contains(&kind)
}

pub(super) fn read(reader: &Reader<'_>, document: &PolicyDocument, tiers: &BTreeMap<String, Tier>) -> Read<Staged> {
    let fields = spec(reader, document)?;
    let action = action(&fields)?;
    let mut inner = document.object.get("spec").cloned().unwrap_or_default();
    if let Some(inner) = inner.as_object_mut() {
        inner.remove("stagedAction");
    }
    let policy = if action == StagedAction::Delete {
        None
    } else if document.id.kind == "StagedKubernetesNetworkPolicy" {
        let object = serde_json::json!({"spec": inner});
        let object = serde_json::from_value(object).map_err(|error| reader.fault("", error.to_string()))?;
        Some(reader.network_policy(&object)?)
    } else {
        policy(reader, Fields::of(reader, Some(&inner), "/spec".to_owned())?, document, tiers)?
    };
    Ok(Staged { id: document.id.clone(), action, policy })
}

fn action(spec: &Fields<'_>) -> Read<StagedAction> {
    match spec.text("stagedAction")? {
        None | Some("Set") => Ok(StagedAction::Set),
        Some("Delete") => Ok(StagedAction::Delete),
        Some("Learn") => Ok(StagedAction::Learn),
        Some("Ignore") => Ok(StagedAction::Ignore),
        Some(other) => Err(spec.fault("stagedAction", format!("`{other}` is no action (Set, Delete, Learn, Ignore)"))),
    }
}
