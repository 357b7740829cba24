//! Calico's policies, whole, and what decides with them: tiers, network sets, the version, labels of ServiceAccounts.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api,
    api::{DynamicObject, ListParams, PartialObjectMeta},
};
use serde_json::Value;

use crate::{
    engine::read,
    model::{Calico, LivePolicy, NotReadable, NotUnderstood, PolicyDocument, is_calico_copy},
};

use super::{
    ClusterError,
    discovery::{CALICO, CalicoKinds, Served},
    fault::CLUSTER_ROLE,
    list::Reader,
    policies,
    things::Accounts,
};

/// Kinds listed at one time.
const KINDS_AT_ONCE: usize = 4;
/// The one ClusterInformation that there is.
const INFORMATION: &str = "default";

/// What was found of Calico.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Policies, also those whose content is not understood.
    pub policies: Vec<LivePolicy>,
    /// What stands beside them.
    pub calico: Calico,
    /// Labels of ServiceAccounts.
    pub accounts: Accounts,
    /// Policies, sets and tiers whose content no reader takes.
    pub not_understood: Vec<NotUnderstood>,
    /// Kinds that could not be listed.
    pub not_readable: Vec<NotReadable>,
}

/// Objects that decide about packets.
#[derive(Debug, Default)]
struct Deciding {
    tiers: Vec<LivePolicy>,
    policies: Vec<LivePolicy>,
    sets: Vec<LivePolicy>,
    not_readable: Vec<NotReadable>,
}

/// Reads everything; nothing where the cluster serves nothing of Calico.
pub(super) async fn read(reader: &Reader, kinds: &CalicoKinds) -> Found {
    if *kinds == CalicoKinds::default() {
        return Found::default();
    }
    let (version, accounts, deciding) = tokio::join!(version(reader, kinds), accounts(reader), deciding(reader, kinds));
    let Deciding { tiers, policies, sets, mut not_readable } = deciding;
    let (mut staged, missing) = all(reader, &kinds.staged, &names(&tiers), false).await;
    not_readable.extend(missing);
    let not_understood = unreadable(&tiers, policies.iter().chain(&sets));
    staged.retain(|staged| match content(&tiers, staged) {
        None => true,
        Some(reason) => {
            // It decides nothing, so that no verdict is in doubt; but it is said.
            let resource = staged.document.id.to_string();
            not_readable.push(NotReadable { resource, reason, policies: false, passing: false });
            false
        }
    });
    let version = version.unwrap_or_else(|missing| {
        not_readable.push(missing);
        None
    });
    let accounts = accounts.unwrap_or_else(|error| {
        let asked = policies.iter().any(|policy| asks_for_accounts(&policy.document.object));
        not_readable.push(unread("serviceaccounts", &error, asked));
        Accounts::new()
    });
    Found { policies, calico: Calico { sets, tiers, staged, version }, accounts, not_understood, not_readable }
}

/// The objects that decide about packets, for their versions; what cannot be read is left out.
pub(super) async fn versions(reader: &Reader, kinds: &CalicoKinds) -> Vec<LivePolicy> {
    let Deciding { tiers, policies, sets, .. } = deciding(reader, kinds).await;
    tiers.into_iter().chain(policies).chain(sets).collect()
}

async fn deciding(reader: &Reader, kinds: &CalicoKinds) -> Deciding {
    let mut found = Deciding::default();
    match whole(reader, &kinds.tiers, &[]).await {
        Ok(tiers) => found.tiers = tiers,
        Err((served, error)) => found.not_readable.push(unread(&served, &error, true)),
    }
    let tiers = names(&found.tiers);
    let (policies, sets) =
        tokio::join!(all(reader, &kinds.policies, &tiers, true), all(reader, &kinds.sets, &[], true));
    found.policies = policies.0;
    found.sets = sets.0;
    found.not_readable.extend(policies.1.into_iter().chain(sets.1));
    found
}

fn names(tiers: &[LivePolicy]) -> Vec<String> {
    tiers.iter().map(|tier| tier.document.id.name.clone()).collect()
}

/// The objects of several kinds, and the kinds that could not be read.
async fn all(
    reader: &Reader,
    kinds: &[Vec<Served>],
    tiers: &[String],
    decides: bool,
) -> (Vec<LivePolicy>, Vec<NotReadable>) {
    let lists = stream::iter(kinds.to_vec()).map(|sources| async move { whole(reader, &sources, tiers).await });
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
async fn whole(
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
        let is_copy = object.metadata.name.as_deref().is_some_and(is_calico_copy);
        policies::live(object, &served.api_version(), &served.kind).filter(|_| !is_copy)
    };
    reader.list(&served.resource(), params, fetch, read).await
}

async fn version(reader: &Reader, kinds: &CalicoKinds) -> Result<Option<String>, NotReadable> {
    // Without it ties are broken by the newest rule, which may turn a verdict round.
    let found =
        whole(reader, &kinds.information, &[]).await.map_err(|(served, error)| unread(&served, &error, true))?;
    let one = found.into_iter().find(|information| information.document.id.name == INFORMATION);
    let version = |one: LivePolicy| Some(one.document.object.pointer("/spec/calicoVersion")?.as_str()?.to_owned());
    Ok(one.and_then(version).filter(|version| !version.is_empty()))
}

async fn accounts(reader: &Reader) -> Result<Accounts, ClusterError> {
    let api: Api<ServiceAccount> = Api::all(reader.client.clone());
    let api = &api;
    let fetch = |params: ListParams| async move { api.list_metadata(&params).await };
    let read = |account: PartialObjectMeta<ServiceAccount>| {
        let metadata = account.metadata;
        Some(((metadata.namespace?, metadata.name?), metadata.labels.unwrap_or_default()))
    };
    let accounts = reader.list("serviceaccounts", &ListParams::default(), fetch, read).await?;
    Ok(accounts.into_iter().collect())
}

/// Whether a policy looks at labels of ServiceAccounts, so that there is no verdict without them.
fn asks_for_accounts(object: &Value) -> bool {
    let has = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    match object {
        Value::String(text) => text.contains("pcsa."),
        Value::Array(items) => items.iter().any(asks_for_accounts),
        Value::Object(fields) => fields.iter().any(|(key, value)| {
            key == "serviceAccountSelector" && has(value)
                || key == "serviceAccounts" && value.get("selector").is_some_and(has)
                || asks_for_accounts(value)
        }),
        _ => false,
    }
}

/// Tiers and other objects that decide and whose content no reader takes.
fn unreadable<'l>(tiers: &'l [LivePolicy], objects: impl Iterator<Item = &'l LivePolicy>) -> Vec<NotUnderstood> {
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
fn content(tiers: &[LivePolicy], object: &LivePolicy) -> Option<String> {
    let document = &object.document;
    let tiers = tiers.iter().map(|tier| &tier.document).filter(|tier| *tier != document);
    let together: Vec<PolicyDocument> = tiers.chain([document]).cloned().collect();
    let errors = read::documents(&together).err()?;
    // A tier's own trouble is told with the tier, and with the policies that lack it.
    errors.into_iter().find(|error| error.policy == document.id).map(|error| error.message)
}

fn unread(resource: &str, error: &ClusterError, decides: bool) -> NotReadable {
    tracing::warn!(resource, reason = %error, "list could not be read");
    let (resource, passing) = (resource.to_owned(), error.is_passing());
    NotReadable { resource, reason: error.to_string(), policies: decides, passing }
}
