//! Calico's policies, whole, and what decides with them: tiers, network sets, the version, labels of ServiceAccounts.

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api,
    api::{ListParams, PartialObjectMeta},
};
use serde_json::Value;

use crate::model::{Calico, LivePolicy, NotReadable, NotUnderstood};

use super::{ClusterError, discovery::CalicoKinds, list::Reader, things::Accounts, whole};

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
    let (mut staged, missing) = whole::all(reader, &kinds.staged, &names(&tiers), false).await;
    not_readable.extend(missing);
    let not_understood = whole::unreadable(&tiers, policies.iter().chain(&sets));
    staged.retain(|staged| match whole::content(&tiers, staged) {
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
        not_readable.push(whole::unread("serviceaccounts", &error, asked));
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
    match whole::kind(reader, &kinds.tiers, &[]).await {
        Ok(tiers) => found.tiers = tiers,
        Err((served, error)) => found.not_readable.push(whole::unread(&served, &error, true)),
    }
    let tiers = names(&found.tiers);
    let (policies, sets) =
        tokio::join!(whole::all(reader, &kinds.policies, &tiers, true), whole::all(reader, &kinds.sets, &[], true));
    found.policies = policies.0;
    found.sets = sets.0;
    found.not_readable.extend(policies.1.into_iter().chain(sets.1));
    found
}

fn names(tiers: &[LivePolicy]) -> Vec<String> {
    tiers.iter().map(|tier| tier.document.id.name.clone()).collect()
}

async fn version(reader: &Reader, kinds: &CalicoKinds) -> Result<Option<String>, NotReadable> {
    // Without it ties are broken by the newest rule, which may turn a verdict round.
    let found = whole::kind(reader, &kinds.information, &[])
        .await
        .map_err(|(served, error)| whole::unread(&served, &error, true))?;
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
