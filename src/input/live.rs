//! The live cluster in place of files.

use super::{InputSet, Options, policies};
use crate::{
    engine::read,
    model::{NotReadable, NotUnderstood, PolicyDocument, Snapshot, TieRule},
};

/// A cluster of which not all could be read or is understood that may decide a flow: no answer could be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Unusable(pub Vec<String>);

impl InputSet {
    /// The set that a cluster is: its policies, with nobody's origins, over what runs in it.
    ///
    /// # Errors
    /// A list could not be read, with the right to add, or a policy is not understood.
    pub fn of_cluster(snapshot: Snapshot, options: Options) -> Result<Self, Unusable> {
        let (unread, odd): (Vec<&NotReadable>, Vec<_>) = snapshot.not_readable.iter().partition(|kind| decides(kind));
        let mut faults: Vec<String> = unread.into_iter().map(|kind| kind.reason.clone()).collect();
        faults.extend(snapshot.not_understood.iter().map(not_understood));
        if !faults.is_empty() {
            return Err(Unusable(faults));
        }
        let warnings: Vec<String> = odd.into_iter().map(|kind| kind.reason.clone()).collect();
        let documents: Vec<PolicyDocument> = snapshot.documents().cloned().collect();
        let read = read::documents(&documents).map_err(|errors| {
            Unusable(errors.iter().map(|error| format!("{}: {}", error.policy, error.message)).collect())
        })?;
        let ties = options.ties.or_else(|| snapshot.calico.version.as_deref().map(TieRule::of_version));
        let mut set = Self { snapshot, documents, read, ties, warnings, lacks_calico: false };
        set.warnings.extend(policies::notes(&set.read, &set.documents, &set.snapshot, &policies::Places::default()));
        Ok(set)
    }
}

/// Whether a flow may hang on the kind: all but what is done with denied packets, policies that are not enforced, and the
/// endpoints of Services without a selector, which are then said to be not known.
fn decides(kind: &NotReadable) -> bool {
    let beside = ["felixconfigurations.", "endpointslices."].iter().any(|name| kind.resource.starts_with(name))
        || kind.resource.to_ascii_lowercase().contains("staged");
    kind.policies || !beside
}

fn not_understood(one: &NotUnderstood) -> String {
    let reason = one.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("{} of the live cluster is not understood{reason}: no answer can be trusted while it is there", one.policy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PolicyRef;

    fn unread(resource: &str, policies: bool) -> Snapshot {
        let reason = format!("may not list {resource}: add list on {resource} to ClusterRole netpol-verify");
        let one = NotReadable { resource: resource.to_owned(), reason, policies, passing: false };
        Snapshot { not_readable: vec![one], ..Snapshot::default() }
    }

    #[test]
    fn what_may_decide_a_flow_and_could_not_be_read_is_refused_with_the_right_to_add() {
        for (resource, policies, is_refused) in [
            ("services", false, true),
            ("nodes", false, true),
            ("deployments.apps", false, true),
            ("globalnetworkpolicies.projectcalico.org", true, true),
            ("felixconfigurations.projectcalico.org", false, false),
            ("stagednetworkpolicies.projectcalico.org", false, false),
            ("endpointslices.discovery.k8s.io", false, false),
        ] {
            let set = InputSet::of_cluster(unread(resource, policies), Options::default());
            match set {
                Err(refused) => {
                    assert!(
                        is_refused && refused.to_string().contains(&format!("add list on {resource}")),
                        "{refused}"
                    );
                }
                Ok(set) => assert!(!is_refused && set.warnings.len() == 1, "{resource}: {:?}", set.warnings),
            }
        }
    }

    #[test]
    fn a_policy_that_is_not_understood_is_refused_by_its_name() {
        let policy = PolicyRef {
            kind: "CiliumNetworkPolicy".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        };
        let one =
            NotUnderstood { kind: "cilium.io/CiliumNetworkPolicy".to_owned(), policy, namespace: None, reason: None };
        let snapshot = Snapshot { not_understood: vec![one], ..Snapshot::default() };
        let refused = InputSet::of_cluster(snapshot, Options::default()).unwrap_err().to_string();
        assert!(refused.starts_with("CiliumNetworkPolicy/shop/web of the live cluster is not understood"), "{refused}");
    }
}
