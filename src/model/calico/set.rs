//! What stands beside Calico's policies: network sets, and how ties are broken.

use ipnet::IpNet;

use crate::model::{Labels, Origin, Policy, PolicyRef};

/// A NetworkSet or GlobalNetworkSet: addresses that selectors match by its labels, as they match endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSet {
    /// Its name; without a namespace for a GlobalNetworkSet.
    pub id: PolicyRef,
    /// Where its document begins.
    pub origin: Option<Origin>,
    /// Its own labels.
    pub labels: Labels,
    /// Its addresses.
    pub nets: Vec<IpNet>,
}

/// How Calico orders policies of the same tier and order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TieRule {
    /// Up to Calico 3.31: by the stored name, with the tier before it and the namespace before both. So a global
    /// policy comes after a namespaced one only if the namespace sorts before the tier.
    StoredName,
    /// From Calico 3.32: by name, namespace, kind.
    #[default]
    Name,
}

/// The first version that orders by name alone.
const BY_NAME_SINCE: (u32, u32) = (3, 32);

impl TieRule {
    /// The rule of a version as ClusterInformation writes it (`v3.28.5`); the newest one for a text that is no version.
    #[must_use]
    pub fn of_version(version: &str) -> Self {
        let mut numbers = version.trim_start_matches('v').split(['.', '-']).map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < BY_NAME_SINCE => Self::StoredName,
            _ => Self::Name,
        }
    }

    /// What policies of the same tier and order are sorted by.
    #[must_use]
    pub fn key(self, policy: &Policy) -> String {
        let PolicyRef { kind, namespace, name } = &policy.id;
        let tier = &policy.tier.name;
        // Names may carry the tier before them or not; Calico stores them with it.
        let bare = name.strip_prefix(tier).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name);
        let is_kubernetes = policy.is_network_policy();
        match self {
            Self::StoredName => {
                let stored = if is_kubernetes { format!("knp.default.{name}") } else { format!("{tier}.{bare}") };
                namespace.as_ref().map_or_else(|| stored.clone(), |namespace| format!("{namespace}/{stored}"))
            }
            Self::Name => {
                let (kind, name) =
                    if is_kubernetes { ("KubernetesNetworkPolicy", name.as_str()) } else { (kind.as_str(), bare) };
                let kind = kind.split('.').next().unwrap_or_default();
                format!("{name}/{}/{kind}", namespace.as_deref().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calico_4_2_the_rule_for_ties_depends_on_the_version() {
        for (version, rule) in [
            ("v3.28.5", TieRule::StoredName),
            ("v3.31.0", TieRule::StoredName),
            ("3.9.1", TieRule::StoredName),
            ("v3.32.0-0.dev-1", TieRule::Name),
            ("v3.33.1", TieRule::Name),
            ("v4.0.0", TieRule::Name),
            ("", TieRule::Name),
            ("master", TieRule::Name),
        ] {
            assert_eq!(TieRule::of_version(version), rule, "{version}");
        }
    }
}
