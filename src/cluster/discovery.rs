//! Which kinds the API server serves, as far as they bear on policies.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{
    ApiResource,
    discovery::v2::{APIGroupDiscoveryList, APIResourceDiscovery},
};

use crate::model::NotReadable;

/// Calico's own API server.
pub(super) const CALICO: &str = "projectcalico.org";
/// Where Calico keeps the same objects when it uses the cluster's etcd: the same kinds, one group further down.
const CALICO_STORE: &str = "crd.projectcalico.org";

/// A served resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Served {
    /// The group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind.
    pub kind: String,
    /// The plural, as in the URL.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Served {
    /// `resource.group`.
    pub(super) fn resource(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }

    /// For kube's dynamic API.
    pub(super) fn api(&self) -> ApiResource {
        ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version: format!("{}/{}", self.group, self.version),
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }
}

/// What discovery found: for each kind the resources that serve it, the best first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds {
    /// Policy kinds that are not understood.
    pub policies: Vec<Vec<Served>>,
    /// Calico's tiers.
    pub tiers: Vec<Served>,
    /// Calico's Felix configuration.
    pub felix: Vec<Served>,
    /// Groups that do not answer, and so may hold policies.
    pub silent: Vec<NotReadable>,
}

/// Sorts out what is served.
pub(super) fn kinds(served: APIGroupDiscoveryList) -> Kinds {
    let mut kinds = Kinds::default();
    let mut all: BTreeMap<(String, String), Vec<Served>> = BTreeMap::new();
    let mut silent: Vec<(String, String, bool)> = Vec::new();
    for group in served.items {
        let name = group.metadata.and_then(|ObjectMeta { name, .. }| name).unwrap_or_default();
        for version in group.versions {
            let number = version.version.unwrap_or_default();
            if version.freshness.as_deref() == Some("Stale") {
                silent.push((name.clone(), number.clone(), version.resources.is_empty()));
            }
            for served in version.resources.iter().filter_map(|resource| interesting(&name, &number, resource)) {
                all.entry((family(&served.group).to_owned(), served.kind.clone())).or_default().push(served);
            }
        }
    }
    kinds.silent =
        silent.iter().filter_map(|(group, version, unknown)| not_answering(group, version, *unknown, &all)).collect();
    for ((_, kind), mut sources) in all {
        // The group that shows Calico's objects whole comes first, and one that does not answer last. The sort is
        // stable: versions stay in the order in which the API server prefers them.
        sources.sort_by_key(|s| {
            (silent.iter().any(|(g, v, _)| *g == s.group && *v == s.version), s.group == CALICO_STORE)
        });
        sources.dedup_by(|a, b| a.group == b.group);
        match kind.as_str() {
            "Tier" => kinds.tiers = sources,
            "FelixConfiguration" => kinds.felix = sources,
            _ => kinds.policies.push(sources),
        }
    }
    kinds
}

/// Calico's two groups hold the same objects.
fn family(group: &str) -> &str {
    if group == CALICO_STORE { CALICO } else { group }
}

/// A resource that can be listed and bears on policies, other than NetworkPolicy v1 itself.
fn interesting(group: &str, version: &str, resource: &APIResourceDiscovery) -> Option<Served> {
    let kind = resource.response_kind.as_ref().and_then(|kind| kind.kind.clone())?;
    let calico = family(group) == CALICO;
    let policy = kind.ends_with("NetworkPolicy")
        && !(group == "networking.k8s.io" && kind == "NetworkPolicy")
        // Staged policies are never enforced (semantics.md §4.15).
        && !(calico && kind.starts_with("Staged"));
    let about_calico = calico && matches!(kind.as_str(), "Tier" | "FelixConfiguration");
    if !(policy || about_calico) || !resource.verbs.iter().any(|verb| verb == "list") {
        return None;
    }
    Some(Served {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: resource.resource.clone()?,
        namespaced: resource.scope.as_deref() == Some("Namespaced"),
        kind,
    })
}

/// A group version whose API server does not answer, unless its objects can be read elsewhere.
///
/// It may hold policies unless its last answer is known and had none. The metrics APIs are known to hold none; they
/// are the ones that are most often left behind broken.
fn not_answering(
    group: &str,
    version: &str,
    unknown: bool,
    all: &BTreeMap<(String, String), Vec<Served>>,
) -> Option<NotReadable> {
    let mut kinds = all.iter().filter(|((of, _), _)| of == family(group)).map(|(_, sources)| sources);
    let elsewhere = |sources: &[Served]| sources.iter().any(|s| s.group != group || s.version != version);
    let metrics = group == "metrics.k8s.io" || group.ends_with(".metrics.k8s.io");
    let known_elsewhere = family(group) == CALICO && kinds.clone().next().is_some() && kinds.all(|s| elsewhere(s));
    if metrics || known_elsewhere {
        return None;
    }
    let policies = unknown || all.values().flatten().any(|s| s.group == group && s.version == version);
    Some(NotReadable {
        resource: format!("*.{group}"),
        reason: format!("the API {group}/{version} does not answer: look at APIService {version}.{group}"),
        policies,
        passing: false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn version(name: &str, fresh: &str, kinds: &[&str]) -> Value {
        let resources: Vec<_> = kinds
            .iter()
            .map(|kind| {
                json!({"resource": format!("{}s", kind.to_lowercase()), "scope": "Namespaced",
                "responseKind": {"kind": kind}, "verbs": ["get", "list"]})
            })
            .collect();
        json!({"version": name, "freshness": fresh, "resources": resources})
    }

    fn found(groups: &[(&str, Vec<Value>)]) -> Kinds {
        let items: Vec<_> = groups.iter().map(|(g, v)| json!({"metadata": {"name": g}, "versions": v})).collect();
        kinds(serde_json::from_value(json!({ "items": items })).unwrap())
    }

    fn served(kinds: &Kinds) -> Vec<Vec<String>> {
        let text = |s: &Served| format!("{}/{} {}", s.group, s.version, s.kind);
        kinds.policies.iter().map(|sources| sources.iter().map(text).collect()).collect()
    }

    #[test]
    fn every_policy_kind_but_the_understood_and_the_staged_is_found_once() {
        let kinds = found(&[
            ("networking.k8s.io", vec![version("v1", "Current", &["NetworkPolicy", "Ingress"])]),
            (
                "policy.networking.k8s.io",
                vec![
                    version("v1alpha2", "Current", &["ClusterNetworkPolicy"]),
                    version("v1alpha1", "Current", &["AdminNetworkPolicy", "ClusterNetworkPolicy"]),
                ],
            ),
            ("crd.projectcalico.org", vec![version("v1", "Current", &["NetworkPolicy", "Tier", "FelixConfiguration"])]),
            ("projectcalico.org", vec![version("v3", "Current", &["NetworkPolicy", "StagedNetworkPolicy", "Tier"])]),
            ("cilium.io", vec![version("v2", "Current", &["CiliumNetworkPolicy"])]),
        ]);
        assert_eq!(
            served(&kinds),
            [
                vec!["cilium.io/v2 CiliumNetworkPolicy"],
                vec!["policy.networking.k8s.io/v1alpha1 AdminNetworkPolicy"],
                vec!["policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy"],
                vec!["projectcalico.org/v3 NetworkPolicy", "crd.projectcalico.org/v1 NetworkPolicy"],
            ]
        );
        assert_eq!(
            kinds.tiers.iter().map(|s| s.group.as_str()).collect::<Vec<_>>(),
            ["projectcalico.org", "crd.projectcalico.org"]
        );
        assert_eq!(kinds.felix.len(), 1);
        assert!(kinds.silent.is_empty());
    }

    #[test]
    fn a_group_that_does_not_answer_may_hold_policies() {
        for (group, versions, policies) in [
            ("projectcalico.org", vec![version("v3", "Stale", &[])], Some(true)),
            ("projectcalico.org", vec![version("v3", "Stale", &["NetworkPolicy"])], Some(true)),
            ("example.org", vec![version("v1", "Stale", &["Widget"])], Some(false)),
            ("example.org", vec![version("v1", "Current", &["Widget"])], None),
            ("metrics.k8s.io", vec![version("v1beta1", "Stale", &[])], None),
        ] {
            let kinds = found(&[(group, versions.clone())]);
            assert_eq!(kinds.silent.first().map(|n| n.policies), policies, "{group} {versions:?}");
        }
        // Calico's objects are in the cluster's own store too: there they can still be read, and are, first.
        let kinds = found(&[
            ("projectcalico.org", vec![version("v3", "Stale", &["NetworkPolicy"])]),
            ("crd.projectcalico.org", vec![version("v1", "Current", &["NetworkPolicy"])]),
        ]);
        assert!(kinds.silent.is_empty());
        assert_eq!(
            served(&kinds),
            [vec!["crd.projectcalico.org/v1 NetworkPolicy", "projectcalico.org/v3 NetworkPolicy"]]
        );
    }
}
