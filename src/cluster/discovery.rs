//! Which kinds the API server serves, as far as they bear on policies.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{
    ApiResource,
    discovery::v2::{APIGroupDiscoveryList, APIResourceDiscovery},
};

use crate::model::{CALICO_STORE, NotReadable, api_family};

/// Calico's own API server.
pub(super) use crate::model::CALICO_API as CALICO;

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

    /// `group/version`.
    pub(super) fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }

    /// Whether it is a kind of Calico, in a form that has a reader.
    fn is_calico(&self) -> bool {
        [(CALICO, "v3"), (CALICO_STORE, "v1")].contains(&(self.group.as_str(), self.version.as_str()))
    }

    /// Whether it is a kind of the network policy API, in a version that has a reader.
    fn is_admin(&self) -> bool {
        let known = match self.version.as_str() {
            "v1alpha1" => ["AdminNetworkPolicy", "BaselineAdminNetworkPolicy"].contains(&self.kind.as_str()),
            "v1alpha2" => self.kind == "ClusterNetworkPolicy",
            _ => false,
        };
        known && self.group == "policy.networking.k8s.io"
    }

    /// Whether its objects are policies in a tier, by which Calico's API lists them.
    pub(super) fn is_tiered(&self) -> bool {
        self.kind.ends_with("NetworkPolicy") && self.kind != "StagedKubernetesNetworkPolicy"
    }

    /// For kube's dynamic API.
    pub(super) fn api(&self) -> ApiResource {
        ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version: self.api_version(),
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
    /// Kinds of the network policy API that are understood.
    pub admin: Vec<Vec<Served>>,
    /// Calico's kinds that are understood.
    pub calico: CalicoKinds,
    /// Calico's Felix configuration.
    pub felix: Vec<Served>,
    /// Groups that do not answer, and so may hold policies.
    pub silent: Vec<NotReadable>,
}

/// Calico's kinds, each with the resources that serve it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CalicoKinds {
    /// NetworkPolicy and GlobalNetworkPolicy.
    pub policies: Vec<Vec<Served>>,
    /// NetworkSet and GlobalNetworkSet.
    pub sets: Vec<Vec<Served>>,
    /// Staged policies.
    pub staged: Vec<Vec<Served>>,
    /// Tiers.
    pub tiers: Vec<Served>,
    /// ClusterInformation, which has the version.
    pub information: Vec<Served>,
}

impl Kinds {
    /// Puts a kind where it belongs.
    fn add(&mut self, kind: &str, sources: Vec<Served>) {
        let mut calico = sources.clone();
        calico.retain(Served::is_calico);
        match kind {
            "FelixConfiguration" => self.felix = sources,
            "ClusterInformation" => self.calico.information = calico,
            _ if sources.first().is_some_and(Served::is_admin) => self.admin.push(sources),
            _ if calico.is_empty() => self.policies.push(sources),
            "Tier" => self.calico.tiers = calico,
            "NetworkSet" | "GlobalNetworkSet" => self.calico.sets.push(calico),
            _ if kind.starts_with("Staged") => self.calico.staged.push(calico),
            _ => self.calico.policies.push(calico),
        }
    }
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
                all.entry((api_family(&served.group).to_owned(), served.kind.clone())).or_default().push(served);
            }
        }
    }
    kinds.silent =
        silent.iter().filter_map(|(group, version, unknown)| not_answering(group, version, *unknown, &all)).collect();
    for ((_, kind), mut sources) in all {
        // The group that shows Calico's objects whole comes first, and one that does not answer last. The sort is
        // stable: versions stay in the order in which the API server prefers them, after those that have a reader.
        sources.sort_by_key(|s| {
            let is_silent = silent.iter().any(|(g, v, _)| *g == s.group && *v == s.version);
            (is_silent, s.group == CALICO_STORE, !s.is_calico() && !s.is_admin())
        });
        sources.dedup_by(|a, b| a.group == b.group);
        kinds.add(&kind, sources);
    }
    kinds
}

/// A resource that can be listed and bears on policies, other than NetworkPolicy v1 itself.
fn interesting(group: &str, version: &str, resource: &APIResourceDiscovery) -> Option<Served> {
    let kind = resource.response_kind.as_ref().and_then(|kind| kind.kind.clone())?;
    let policy = kind.ends_with("NetworkPolicy") && !(group == "networking.k8s.io" && kind == "NetworkPolicy");
    let beside = ["Tier", "NetworkSet", "GlobalNetworkSet", "ClusterInformation", "FelixConfiguration"];
    let about_calico = api_family(group) == CALICO && beside.contains(&kind.as_str());
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
    let mut kinds = all.iter().filter(|((of, _), _)| of == api_family(group)).map(|(_, sources)| sources);
    let elsewhere = |sources: &[Served]| sources.iter().any(|s| s.group != group || s.version != version);
    let metrics = group == "metrics.k8s.io" || group.ends_with(".metrics.k8s.io");
    let known_elsewhere = api_family(group) == CALICO && kinds.clone().next().is_some() && kinds.all(|s| elsewhere(s));
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

    fn served(kinds: &[Vec<Served>]) -> Vec<Vec<String>> {
        let text = |s: &Served| format!("{}/{} {}", s.group, s.version, s.kind);
        kinds.iter().map(|sources| sources.iter().map(text).collect()).collect()
    }

    fn groups(sources: &[Served]) -> Vec<&str> {
        sources.iter().map(|s| s.group.as_str()).collect()
    }

    #[test]
    fn every_policy_kind_but_the_understood_is_found_once() {
        let kinds = found(&[
            ("networking.k8s.io", vec![version("v1", "Current", &["NetworkPolicy", "Ingress"])]),
            (
                "policy.networking.k8s.io",
                vec![
                    version("v1", "Current", &["ClusterNetworkPolicy", "NodeNetworkPolicy"]),
                    version("v1alpha2", "Current", &["ClusterNetworkPolicy", "AdminNetworkPolicy"]),
                    version("v1alpha1", "Current", &["AdminNetworkPolicy", "ClusterNetworkPolicy"]),
                ],
            ),
            ("crd.projectcalico.org", vec![version("v1", "Current", &["NetworkPolicy", "Tier", "FelixConfiguration"])]),
            (
                "projectcalico.org",
                vec![
                    version("v4", "Current", &["NetworkPolicy", "StrangeNetworkPolicy"]),
                    version(
                        "v3",
                        "Current",
                        &["NetworkPolicy", "StagedNetworkPolicy", "NetworkSet", "Tier", "Profile"],
                    ),
                ],
            ),
            ("cilium.io", vec![version("v2", "Current", &["CiliumNetworkPolicy"])]),
        ]);
        assert_eq!(
            served(&kinds.policies),
            [
                vec!["cilium.io/v2 CiliumNetworkPolicy"],
                vec!["policy.networking.k8s.io/v1 NodeNetworkPolicy"],
                vec!["projectcalico.org/v4 StrangeNetworkPolicy"],
            ]
        );
        assert_eq!(
            served(&kinds.admin),
            [
                vec!["policy.networking.k8s.io/v1alpha1 AdminNetworkPolicy"],
                vec!["policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy"],
            ],
            "in the version that has a reader"
        );
        let calico = &kinds.calico;
        assert_eq!(
            served(&calico.policies),
            [vec!["projectcalico.org/v3 NetworkPolicy", "crd.projectcalico.org/v1 NetworkPolicy"]]
        );
        assert_eq!(served(&calico.staged), [vec!["projectcalico.org/v3 StagedNetworkPolicy"]]);
        assert_eq!(served(&calico.sets), [vec!["projectcalico.org/v3 NetworkSet"]]);
        assert_eq!(groups(&calico.tiers), ["projectcalico.org", "crd.projectcalico.org"]);
        assert_eq!((kinds.felix.len(), calico.information.len()), (1, 0));
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
            served(&kinds.calico.policies),
            [vec!["crd.projectcalico.org/v1 NetworkPolicy", "projectcalico.org/v3 NetworkPolicy"]]
        );
    }
}
