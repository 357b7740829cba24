//! What Calico's objects are called: one name for an object, whichever group, tool or version writes it.

use crate::model::PolicyRef;

/// The group of Calico's own API.
pub const CALICO_API: &str = "projectcalico.org";
/// The group in which the same objects are stored where Calico uses the cluster's etcd.
pub const CALICO_STORE: &str = "crd.projectcalico.org";
/// The tier of policies that name none.
const DEFAULT_TIER: &str = "default";
/// How Calico's API names the policies of other kinds that it shows beside its own: those of NetworkPolicy,
/// AdminNetworkPolicy, BaselineAdminNetworkPolicy and ClusterNetworkPolicy.
const COPIES: [&str; 4] = ["knp.default.", "kanp.adminnetworkpolicy.", "kbanp.baselineadminnetworkpolicy.", "kcnp."];

/// The group whose objects a group holds: Calico's store holds those of its API.
#[must_use]
pub fn api_family(group: &str) -> &str {
    if group == CALICO_STORE { CALICO_API } else { group }
}

/// Whether Calico's API shows an object of another kind under this name, which is read as itself.
#[must_use]
pub fn is_calico_copy(name: &str) -> bool {
    COPIES.iter().any(|prefix| name.starts_with(prefix))
}

impl PolicyRef {
    /// What an object is called, given its metadata and `spec.tier`.
    ///
    /// Calico's NetworkPolicy is called by its group too, as kubectl writes it: a NetworkPolicy of Kubernetes may have
    /// the same name. Calico stores a policy's name with its tier before it, and its API takes and shows it with the
    /// tier or without, depending on the version: here it has the tier before it unless that is `default`.
    #[must_use]
    pub fn of_object(api_version: &str, kind: &str, namespace: Option<&str>, name: &str, tier: Option<&str>) -> Self {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let is_calico = api_family(group) == CALICO_API;
        let bare = is_calico && kind == "NetworkPolicy";
        let tiered = is_calico && kind.ends_with("NetworkPolicy") && kind != "StagedKubernetesNetworkPolicy";
        Self {
            kind: if bare { format!("{kind}.{CALICO_API}") } else { kind.to_owned() },
            namespace: namespace.map(str::to_owned),
            name: if tiered { in_tier(name, tier.unwrap_or_default()) } else { name.to_owned() },
        }
    }
}

fn in_tier(name: &str, tier: &str) -> String {
    if is_calico_copy(name) {
        return name.to_owned();
    }
    let tier = if tier.is_empty() { DEFAULT_TIER } else { tier };
    let bare = name.strip_prefix(tier).and_then(|rest| rest.strip_prefix('.')).filter(|bare| !bare.is_empty());
    match bare {
        Some(bare) if tier == DEFAULT_TIER => bare.to_owned(),
        None if tier != DEFAULT_TIER => format!("{tier}.{name}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calico_4_15_an_object_has_one_name_in_both_groups_and_with_the_tier_or_without() {
        let api = "projectcalico.org/v3";
        let store = "crd.projectcalico.org/v1";
        for (version, kind, name, tier, expected) in [
            ("networking.k8s.io/v1", "NetworkPolicy", "default.web", None, "NetworkPolicy/shop/default.web"),
            (api, "NetworkPolicy", "web", None, "NetworkPolicy.projectcalico.org/shop/web"),
            (api, "NetworkPolicy", "default.web", Some("default"), "NetworkPolicy.projectcalico.org/shop/web"),
            (store, "NetworkPolicy", "default.web", Some(""), "NetworkPolicy.projectcalico.org/shop/web"),
            (api, "StagedNetworkPolicy", "dns", Some("platform"), "StagedNetworkPolicy/shop/platform.dns"),
            (store, "StagedNetworkPolicy", "platform.dns", Some("platform"), "StagedNetworkPolicy/shop/platform.dns"),
            (api, "NetworkPolicy", "knp.default.web", None, "NetworkPolicy.projectcalico.org/shop/knp.default.web"),
            (api, "NetworkPolicy", "default.", None, "NetworkPolicy.projectcalico.org/shop/default."),
            (api, "NetworkSet", "default.partners", None, "NetworkSet/shop/default.partners"),
            ("cilium.io/v2", "CiliumNetworkPolicy", "default.x", None, "CiliumNetworkPolicy/shop/default.x"),
        ] {
            let id = PolicyRef::of_object(version, kind, Some("shop"), name, tier);
            assert_eq!(id.to_string(), expected, "{version} {kind} {name} {tier:?}");
        }
        let id =
            PolicyRef::of_object(api, "GlobalNetworkPolicy", None, "kanp.adminnetworkpolicy.a", Some("kube-admin"));
        assert_eq!(id.to_string(), "GlobalNetworkPolicy/kanp.adminnetworkpolicy.a");
    }
}
