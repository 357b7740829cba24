//! Objects of kinds that have a reader, whole.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use kube::{
    Api,
    api::{DynamicObject, ListParams},
};

use crate::{
    engine::read,
    model::{LivePolicy, NotReadable, NotUnderstood, PolicyDocument, api_family, is_calico_copy},
};

use super::{
    ClusterError,
    discovery::{CALICO, Served},
    fault::CLUSTER_ROLE,
    list::Reader,
    policies,
};

/// Kinds listed at one time.
const KINDS_AT_ONCE: usize = 4;

/// The objects of several kinds, and the kinds that could not be read.
pub(super) async fn all(
    reader: &Reader,
    kinds: &[Vec<Served>],
    tiers: &[String],
    decides: bool,
) -> (Vec<LivePolicy>, Vec<NotReadable>) {
    let lists = stream::iter(kinds.to_vec()).map(|sources| async move { kind(reader, &sources, tiers).await });
    let lists: Vec<_> = lists.buffered(KINDS_AT_ONCE).collect().await;
    let (mut objects, mut not_readable) = (Vec::new(), Vec::new());
    for list in lists {
        match list {
            Ok(found) => objects.extend(found),
            Err((served, error)) => not_readable.push(unread(&served, &error, decides)),
        }
    }
    objects.sort_by(|a, b| a.document.id.cmp(&b.document.id));
    (objects, not_readable)
}

/// The objects of a kind, from the first of its resources that can be read, or the trouble with the first.
///
/// Without naming a tier, Calico's API leaves out the policies of those tiers that the account may not see, in silence
/// (semantics.md §4.16); with it, the list is refused.
pub(super) async fn kind(
    reader: &Reader,
    sources: &[Served],
    tiers: &[String],
) -> Result<Vec<LivePolicy>, (String, ClusterError)> {
    let mut trouble = None;
    for served in sources {
        let listed = if served.group == CALICO && served.is_tiered() && !tiers.is_empty() {
            by_tier(reader, served, tiers).await
        } else {
            list(reader, served, &ListParams::default()).await
        };
        match listed {
            Ok(objects) => return Ok(objects),
            Err(error) => trouble = trouble.or_else(|| Some((served.resource(), error))),
        }
    }
    trouble.map_or_else(|| Ok(Vec::new()), Err)
}

async fn by_tier(reader: &Reader, served: &Served, tiers: &[String]) -> Result<Vec<LivePolicy>, ClusterError> {
    let mut all = BTreeMap::new();
    for tier in tiers {
        let params = ListParams::default().fields(&format!("spec.tier={tier}"));
        let objects = list(reader, served, &params).await.map_err(|error| in_tier(error, served, tier))?;
        all.extend(objects.into_iter().map(|object| ((object.document.id.clone(), object.uid.clone()), object)));
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

/// Objects of other kinds that Calico shows among its own are left out: they are listed as themselves.
async fn list(reader: &Reader, served: &Served, params: &ListParams) -> Result<Vec<LivePolicy>, ClusterError> {
    let api: Api<DynamicObject> = Api::all_with(reader.client.clone(), &served.api());
    let api = &api;
    let fetch = |params: ListParams| async move { api.list(&params).await };
    let read = |object: DynamicObject| {
        let is_calico = api_family(&served.group) == CALICO;
        let is_copy = is_calico && object.metadata.name.as_deref().is_some_and(is_calico_copy);
        policies::live(object, &served.api_version(), &served.kind).filter(|_| !is_copy)
    };
    reader.list(&served.resource(), params, fetch, read).await
}

/// Tiers and other objects that decide and whose content no reader takes.
pub(super) fn unreadable<'l>(
    tiers: &'l [LivePolicy],
    objects: impl Iterator<Item = &'l LivePolicy>,
) -> Vec<NotUnderstood> {
    let mut seen = BTreeSet::new();
    let one = |object: &LivePolicy| {
        let id = &object.document.id;
        let twice = (!seen.insert(id.clone())).then(|| "another object has the same name".to_owned());
        let reason = twice.or_else(|| content(tiers, object))?;
        let decides_elsewhere = id.kind == "NetworkSet";
        let group = object.document.api_version.split('/').next().unwrap_or_default();
        Some(NotUnderstood {
            kind: format!("{group}/{}", id.kind.split('.').next().unwrap_or_default()),
            namespace: id.namespace.clone().filter(|_| !decides_elsewhere),
            policy: id.clone(),
            reason: Some(reason),
        })
    };
    tiers.iter().chain(objects).filter_map(one).collect()
}

/// What of an object's content is not understood.
pub(super) fn content(tiers: &[LivePolicy], object: &LivePolicy) -> Option<String> {
    let document = &object.document;
    let tiers = tiers.iter().map(|tier| &tier.document).filter(|tier| *tier != document);
    let together: Vec<PolicyDocument> = tiers.chain([document]).cloned().collect();
    let errors = read::documents(&together).err()?;
    // A tier's own trouble is told with the tier, and with the policies that lack it.
    errors.into_iter().find(|error| error.policy == document.id).map(|error| error.message)
}

pub(super) fn unread(resource: &str, error: &ClusterError, decides: bool) -> NotReadable {
    tracing::warn!(resource, reason = %error, "list could not be read");
    let (resource, passing) = (resource.to_owned(), error.is_passing());
    NotReadable { resource, reason: error.to_string(), policies: decides, passing }
}
