//! Which tier is before which, and which policy of a tier.

use std::cmp::Ordering;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::Value;

use super::json::{number, text};
use super::world::World;
use super::{Name, admin, calico};
use crate::pod;

/// A policy of any kind that is enforced.
#[derive(Clone, Copy)]
pub(super) enum Policy<'a> {
    Kubernetes(&'a NetworkPolicy),
    Calico(&'a Value),
    Admin(&'a Value),
}

/// A tier with its policies, first to last.
pub(super) struct Tier<'a> {
    pub(super) name: String,
    /// What becomes of a packet that policies apply to and no rule matches: denied, or passed on.
    pub(super) denies: bool,
    pub(super) policies: Vec<Policy<'a>>,
}

/// The tiers that exist without a Tier object: their order, and whether they deny at their end.
const BUILT_IN: [(&str, f64, bool); 5] = [
    ("adminnetworkpolicy", 1_000.0, false),
    ("kube-admin", 1_000.0, false),
    ("default", 1_000_000.0, true),
    ("kube-baseline", 10_000_000.0, false),
    ("baselineadminnetworkpolicy", 10_000_000.0, false),
];

/// All tiers, first to last.
pub(super) fn tiers(world: &World) -> Vec<Tier<'_>> {
    let policies = policies(world);
    let mut names: Vec<String> = policies.iter().map(|policy| tier_of(*policy).to_owned()).collect();
    names.sort();
    names.dedup();
    names.sort_by(|one, other| compare_tiers(world, one, other));
    names.into_iter().map(|name| tier(world, name, &policies)).collect()
}

fn tier<'a>(world: &'a World, name: String, all: &[Policy<'a>]) -> Tier<'a> {
    let mut policies: Vec<Policy<'a>> = all.iter().copied().filter(|policy| tier_of(*policy) == name).collect();
    let rule = tie_rule(world);
    // By name first; sorting by order then leaves those of one order as they are.
    policies.sort_by_cached_key(|policy| rule.key(*policy));
    // "Order nil = +Inf."
    policies.sort_by(|one, other| order_of(*one).total_cmp(&order_of(*other)));
    let built_in = BUILT_IN.iter().find(|(built_in, _, _)| *built_in == name);
    let denies = match world.of_calico("Tier").find(|tier| text(tier, "/metadata/name") == name) {
        // "DefaultAction specifies the action applied to workloads selected by a policy in the tier, but not rule
        // matched the workload's traffic. [Default: Deny]"
        Some(tier) if !text(tier, "/spec/defaultAction").is_empty() => text(tier, "/spec/defaultAction") == "Deny",
        _ => built_in.is_none_or(|(_, _, denies)| *denies),
    };
    Tier { name, denies, policies }
}

/// Smallest order first, nil last, then by name; a tier that does not exist comes after all.
fn compare_tiers(world: &World, one: &str, other: &str) -> Ordering {
    let place = |name: &str| {
        let built_in = BUILT_IN.iter().find(|(built_in, _, _)| *built_in == name).map(|(_, order, _)| *order);
        let object = world.of_calico("Tier").find(|tier| text(tier, "/metadata/name") == name);
        let order = match object {
            Some(tier) => number(tier, "/spec/order").or(built_in),
            None => built_in,
        };
        (object.is_none() && built_in.is_none(), order.unwrap_or(f64::INFINITY))
    };
    let (one_missing, one_order) = place(one);
    let (other_missing, other_order) = place(other);
    let by_order = one_order.partial_cmp(&other_order).unwrap_or(Ordering::Equal);
    one_missing.cmp(&other_missing).then(by_order).then_with(|| one.cmp(other))
}

/// Staged kinds are not among them: they never enforce.
fn policies(world: &World) -> Vec<Policy<'_>> {
    let mut found: Vec<Policy<'_>> = world.plain.policies.iter().map(Policy::Kubernetes).collect();
    for kind in ["NetworkPolicy", "GlobalNetworkPolicy"] {
        found.extend(world.of_calico(kind).map(Policy::Calico));
    }
    for kind in ["AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy"] {
        found.extend(world.of_kind("policy.networking.k8s.io", kind).map(Policy::Admin));
    }
    found
}

fn tier_of(policy: Policy<'_>) -> &str {
    match policy {
        Policy::Kubernetes(_) => "default",
        Policy::Calico(policy) => calico::tier(policy),
        Policy::Admin(policy) => admin::tier(policy),
    }
}

fn order_of(policy: Policy<'_>) -> f64 {
    match policy {
        Policy::Kubernetes(_) => 1_000.0,
        Policy::Calico(policy) => number(policy, "/spec/order").unwrap_or(f64::INFINITY),
        Policy::Admin(policy) => number(policy, "/spec/priority").unwrap_or(f64::INFINITY),
    }
}

/// How policies of the same order are told apart; it depends on Calico's version.
#[derive(Clone, Copy)]
enum TieRule {
    /// Up to 3.31: the names as they are stored, with the tier as prefix, after the namespace.
    StoredName,
    /// From 3.32: `name/namespace/kind`.
    NameFirst,
}

/// "Take the version from ClusterInformation": absent, the newest rule.
fn tie_rule(world: &World) -> TieRule {
    let version = world.of_calico("ClusterInformation").next().map(|one| text(one, "/spec/calicoVersion"));
    let mut numbers = version.unwrap_or_default().trim_start_matches('v').split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(3)), Some(Ok(minor))) if minor <= 31 => TieRule::StoredName,
        (Some(Ok(major)), _) if major < 3 => TieRule::StoredName,
        _ => TieRule::NameFirst,
    }
}

impl TieRule {
    fn key(self, policy: Policy<'_>) -> String {
        let name = name(policy);
        let namespace = name.namespace.unwrap_or_default();
        match self {
            Self::NameFirst => format!("{}/{namespace}/{}", name.name, name.kind),
            Self::StoredName => {
                let stored = match policy {
                    Policy::Kubernetes(_) => format!("knp.default.{}", name.name),
                    Policy::Calico(_) | Policy::Admin(_) => format!("{}.{}", name.tier, name.name),
                };
                if namespace.is_empty() { stored } else { format!("{namespace}/{stored}") }
            }
        }
    }
}

/// What a policy is called, without the prefix that it may be stored under.
pub(super) fn name(policy: Policy<'_>) -> Name {
    let tier = tier_of(policy).to_owned();
    match policy {
        Policy::Kubernetes(policy) => Name {
            kind: "KubernetesNetworkPolicy".to_owned(),
            namespace: Some(pod::namespace(&policy.metadata).to_owned()),
            name: policy.metadata.name.clone().unwrap_or_default(),
            tier,
        },
        Policy::Calico(policy) => {
            let written = text(policy, "/metadata/name");
            let bare = written.strip_prefix(&format!("{tier}.")).unwrap_or(written).to_owned();
            let namespace = calico::namespace(policy).map(ToOwned::to_owned);
            Name { kind: text(policy, "/kind").to_owned(), namespace, name: bare, tier }
        }
        Policy::Admin(policy) => Name {
            kind: text(policy, "/kind").to_owned(),
            namespace: None,
            name: text(policy, "/metadata/name").to_owned(),
            tier,
        },
    }
}
