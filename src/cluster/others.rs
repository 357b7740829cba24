//! Policies of kinds that are served but not understood.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use kube::{
    Api,
    api::{ListParams, ObjectMeta},
};

use crate::model::{NotReadable, NotUnderstood, PolicyRef};

use super::{ClusterError, discovery::Served, list::Reader};

/// Kinds listed at one time.
const KINDS_AT_ONCE: usize = 8;
/// What was found of the other kinds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Others {
    /// One policy for each kind and namespace that has any.
    pub not_understood: Vec<NotUnderstood>,
    /// Kinds that could not be listed.
    pub not_readable: Vec<NotReadable>,
}

/// Lists each kind, from the first of its resources that can be read.
pub(super) async fn read(reader: &Reader, kinds: Vec<Vec<Served>>) -> Others {
    let lists = stream::iter(kinds).map(|sources| async move {
        let names = names(reader, &sources).await;
        (sources, names)
    });
    let lists: Vec<_> = lists.buffered(KINDS_AT_ONCE).collect().await;
    let mut others = Others::default();
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
async fn names(reader: &Reader, sources: &[Served]) -> Result<Vec<ObjectMeta>, NotReadable> {
    let mut trouble = None;
    for served in sources {
        match list(reader, served, &ListParams::default()).await {
            Ok(metas) => return Ok(metas),
            Err(error) => trouble = trouble.or_else(|| Some(not_readable(served, &error))),
        }
    }
    trouble.map_or_else(|| Ok(Vec::new()), Err)
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
    let mut found: Vec<NotUnderstood> = names
        .into_iter()
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

fn not_readable(served: &Served, error: &ClusterError) -> NotReadable {
    let passing = error.is_passing();
    NotReadable { resource: served.resource(), reason: error.to_string(), policies: true, passing }
}
