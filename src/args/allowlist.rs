//! The list of intended flows on the command line.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use super::Failure;
use crate::{
    cluster::SystemResolver,
    config::{Config, Destination, Invalid, allowlist},
    engine::{
        allowlist::{self as engine, Allowlist, Intent, Names, Told},
        reach::Reach,
        world::World,
    },
    input::InputSet,
    verify::seams::Resolver as _,
};

/// How long a name may take to resolve.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the list that is given, else the one that the configuration names, if it does.
pub(super) fn load(given: Option<PathBuf>, config: Option<&Config>) -> Result<Option<Allowlist>, Failure> {
    let configured = config.and_then(|config| config.allowlist.as_ref()).map(PathBuf::from);
    let is_configured = given.is_none();
    let Some(path) = given.or(configured) else { return Ok(None) };
    let file = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|source| {
        let error = anyhow::Error::from(Invalid::Read { file: file.clone(), source });
        let hint = "the configuration names it from the root of the repository: go there, or give --allowlist FILE";
        Failure::usage(if is_configured { error.context(hint) } else { error })
    })?;
    allowlist::parse(&file, &text).map(Some).map_err(Failure::usage)
}

/// The addresses of now of those `destinations` that the list names, by this machine's DNS.
pub(super) async fn names(list: &Allowlist, config: Option<&Config>) -> Names {
    let tables = list.tables.iter();
    let intents: Vec<&Intent> = tables.flat_map(|t| t.egress.iter().chain(&t.ingress).flatten()).collect();
    let is_wanted = |name: &String| intents.iter().any(|intent| intent.peer == *name && intent.addresses.is_empty());
    let all = config.map(|config| config.destinations.as_slice()).unwrap_or_default();
    let wanted: Vec<Destination> =
        all.iter().filter(|one| is_wanted(&one.name) || one.members.iter().any(is_wanted)).cloned().collect();
    let mut addresses: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for destination in &wanted {
        let own = std::slice::from_ref(&destination.name);
        for name in if destination.members.is_empty() { own } else { &destination.members } {
            match tokio::time::timeout(PATIENCE, SystemResolver.resolve(name)).await {
                Ok(Ok(found)) => drop(addresses.insert(name.clone(), found)),
                Ok(Err(error)) => tracing::warn!(name, %error, "destination could not be resolved"),
                Err(_) => tracing::warn!(name, "destination could not be resolved in time"),
            }
        }
    }
    allowlist::names(&wanted, &addresses)
}

/// What is told of the list over a set.
pub(super) fn compare(list: &Allowlist, world: &World, set: &InputSet, names: &Names) -> Vec<Told> {
    let (reach, snapshot, documents) = (Reach::new(world), &set.snapshot, set.documents.as_slice());
    engine::compare(&engine::Input { list, reach: &reach, snapshot, documents, names })
}
