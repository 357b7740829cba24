//! Policies of kinds that are served but not understood.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use kube::{
    Api,
    api::{ListParams, ObjectMeta},
};

use crate::model::{NotReadable, NotUnderstood, PolicyRef};

use super::{
    ClusterError,
    discovery::{CALICO, Served},
    fault::CLUSTER_ROLE,
    list::Reader,
};

/// Kinds listed at one time.
const KINDS_AT_ONCE: usize = 8;
/// Policies that Calico's API shows of kinds of another API, where they are listed as themselves: NetworkPolicy,
/// AdminNetworkPolicy, BaselineAdminNetworkPolicy and ClusterNetworkPolicy.
const CALICO_COPIES: [&str; 4] =
    ["knp.default.", "kanp.adminnetworkpolicy.", "kbanp.baselineadminnetworkpolicy.", "kcnp."];

/// What was found of the other kinds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Others {
    /// One policy for each kind and namespace that has any.
    pub not_understood: Vec<NotUnderstood>,
    /// Kinds that could not be listed.
    pub not_readable: Vec<NotReadable>,
}

/// Lists each kind, from the first of its resources that can be read.
pub(super) async fn read(reader: &Reader, kinds: Vec<Vec<Served>>, tiers: &[Served]) -> Others {
    let mut others = Others::default();
    let tiers = match names(reader, tiers, None).await {
        Ok(metas) => metas.into_iter().filter_map(|meta| meta.name).collect(),
        Err(missing) => {
            others.not_readable.push(missing);
            Vec::new()
        }
    };
    let tiers: &[String] = &tiers;
    let lists = stream::iter(kinds).map(|sources| async move {
        let names = names(reader, &sources, Some(tiers)).await;
        (sources, names)
    });
    let lists: Vec<_> = lists.buffered(KINDS_AT_ONCE).collect().await;
    for (sources, list) in lists {
        match (list, sources.first()) {
            (Ok(metas), Some(served)) => others.not_understood.extend(named(served, metas)),
            (Err(missing), _) => others.not_readable.push(missing),
            (Ok(_), None) => {}
        }
    }
    others.not_understood.sort();
    others.not_readable.sort();
    others
}

/// The objects of a kind, or the trouble with the first of its resources.
async fn names(reader: &Reader, sources: &[Served], tiers: Option<&[String]>) -> Result<Vec<ObjectMeta>, NotReadable> {
    let mut trouble = None;
    for served in sources {
        let listed = match tiers.filter(|tiers| served.group == CALICO && !tiers.is_empty()) {
            Some(tiers) => by_tier(reader, served, tiers).await,
            None => list(reader, served, &ListParams::default()).await,
        };
        match listed {
            Ok(metas) => return Ok(metas),
            Err(error) => trouble = trouble.or_else(|| Some(not_readable(served, &error))),
        }
    }
    trouble.map_or_else(|| Ok(Vec::new()), Err)
}

/// A kind tier by tier: without naming a tier, Calico's API leaves out what the account may not see, in silence
/// (semantics.md §4.16).
async fn by_tier(reader: &Reader, served: &Served, tiers: &[String]) -> Result<Vec<ObjectMeta>, ClusterError> {
    let mut all = BTreeMap::new();
    for tier in tiers {
        let params = ListParams::default().fields(&format!("spec.tier={tier}"));
        let metas = list(reader, served, &params).await.map_err(|error| in_tier(error, served, tier))?;
        all.extend(metas.into_iter().map(|meta| ((meta.namespace.clone(), meta.name.clone()), meta)));
    }
    Ok(all.into_values().collect())
}

/// The rights that Calico asks for a tier's policies.
fn in_tier(error: ClusterError, served: &Served, tier: &str) -> ClusterError {
    match error {
        ClusterError::Forbidden { verb, resource, .. } => ClusterError::Forbidden {
            verb,
            role: format!(
                "ClusterRole {CLUSTER_ROLE}, with get on tiers.{CALICO} and list on tier.{} (tier {tier})",
                served.resource()
            ),
            resource,
        },
        other => other,
    }
}

async fn list(reader: &Reader, served: &Served, params: &ListParams) -> Result<Vec<ObjectMeta>, ClusterError> {
    let api: Api<kube::api::DynamicObject> = Api::all_with(reader.client.clone(), &served.api());
    let api = &api;
    let fetch = |params: ListParams| async move { api.list_metadata(&params).await };
    reader.list(&served.resource(), params, fetch, |object| Some(object.metadata)).await
}

/// One policy for each namespace, the first by name.
fn named(served: &Served, metas: Vec<ObjectMeta>) -> Vec<NotUnderstood> {
    let names: BTreeSet<_> = metas.into_iter().filter_map(|meta| Some((meta.namespace, meta.name?))).collect();
    let own = names.into_iter().filter(|(_, name)| !is_copy(served, name));
    let mut found: Vec<NotUnderstood> = own
        .map(|(namespace, name)| NotUnderstood {
            kind: format!("{}/{}", served.group, served.kind),
            policy: PolicyRef { kind: served.kind.clone(), namespace: namespace.clone(), name },
            namespace: if served.namespaced { namespace } else { None },
            reason: None,
        })
        .collect();
    found.dedup_by(|later, first| later.namespace == first.namespace);
    found
}

fn is_copy(served: &Served, name: &str) -> bool {
    served.group == CALICO && CALICO_COPIES.iter().any(|prefix| name.starts_with(prefix))
}

fn not_readable(served: &Served, error: &ClusterError) -> NotReadable {
    let passing = error.is_passing();
    NotReadable { resource: served.resource(), reason: error.to_string(), policies: true, passing }
}
