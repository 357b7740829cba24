//! Which kinds are served, under which paths.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A served kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// The group, "" for the core.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind.
    pub kind: String,
    /// The plural, as in the path.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

/// What the lab serves from its beginning: `group/version kind plural`, with `*` where there are no namespaces.
const BUILT_IN: &[(&str, &str, &str)] = &[
    ("v1", "Namespace", "*namespaces"),
    ("v1", "Node", "*nodes"),
    ("v1", "Pod", "pods"),
    ("v1", "Service", "services"),
    ("v1", "ServiceAccount", "serviceaccounts"),
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "Secret", "secrets"),
    ("apps/v1", "Deployment", "deployments"),
    ("apps/v1", "StatefulSet", "statefulsets"),
    ("apps/v1", "DaemonSet", "daemonsets"),
    ("apps/v1", "ReplicaSet", "replicasets"),
    ("batch/v1", "Job", "jobs"),
    ("batch/v1", "CronJob", "cronjobs"),
    ("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    ("coordination.k8s.io/v1", "Lease", "leases"),
    ("events.k8s.io/v1", "Event", "events"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "*customresourcedefinitions"),
    ("apiregistration.k8s.io/v1", "APIService", "*apiservices"),
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "kustomizations"),
    ("source.toolkit.fluxcd.io/v1", "GitRepository", "gitrepositories"),
    ("source.toolkit.fluxcd.io/v1", "OCIRepository", "ocirepositories"),
    ("source.toolkit.fluxcd.io/v1", "Bucket", "buckets"),
    ("source.toolkit.fluxcd.io/v1", "ExternalArtifact", "externalartifacts"),
];

impl Kind {
    /// A kind by its `apiVersion`; a plural that begins with `*` has no namespaces.
    #[must_use]
    pub fn new(api_version: &str, kind: &str, plural: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.trim_start_matches('*').to_owned(),
            namespaced: !plural.starts_with('*'),
        }
    }

    /// `resource.group`, without the dot for the core.
    #[must_use]
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `group/version`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// The kinds that are served from the beginning.
#[must_use]
pub fn built_in() -> Vec<Kind> {
    BUILT_IN.iter().map(|(api_version, kind, plural)| Kind::new(api_version, kind, plural)).collect()
}

/// Aggregated discovery: the answer to `GET /apis`, or to `GET /api` for the core.
#[must_use]
pub fn discovery(kinds: &[Kind], core: bool) -> Value {
    let mut groups: BTreeMap<&str, BTreeMap<&str, Vec<Value>>> = BTreeMap::new();
    for kind in kinds.iter().filter(|kind| kind.group.is_empty() == core) {
        let resource = json!({
            "resource": kind.plural, "singularResource": kind.kind.to_lowercase(),
            "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
            "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        });
        groups.entry(&kind.group).or_default().entry(&kind.version).or_default().push(resource);
    }
    let version = |(name, resources): (&&str, &Vec<Value>)| json!({"version": name, "freshness": "Current", "resources": resources});
    let items = groups.iter().map(|(name, versions)| {
        json!({"metadata": {"name": name}, "versions": versions.iter().map(version).collect::<Vec<_>>()})
    });
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": items.collect::<Vec<_>>(),
    })
}
