//! What a value must be beyond its type, checked while it is read, so that the error has the value's line and column.

use std::fmt::Display;

use serde::{Deserialize, Deserializer, de::Error};

use super::{Destination, NamespaceSet, Probe, ProductNamespaces, SCHEMA, Span};
use crate::model::KustomizationRef;

/// Reads a value and passes it through `check`.
fn checked<'de, D: Deserializer<'de>, T: Deserialize<'de>, E: Display>(
    deserializer: D,
    check: impl FnOnce(&T) -> Result<(), E>,
) -> Result<T, D::Error> {
    let value = T::deserialize(deserializer)?;
    check(&value).map_err(D::Error::custom)?;
    Ok(value)
}

pub(super) fn schema<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |schema: &String| {
        if schema == SCHEMA { Ok(()) } else { Err(format!("schema is `{schema}`, this version reads `{SCHEMA}`")) }
    })
}

pub(super) fn kustomizations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<KustomizationRef>, D::Error> {
    checked(deserializer, |all: &Vec<_>| {
        if all.is_empty() { Err("kustomizations is empty: name at least one, or leave the key out") } else { Ok(()) }
    })
}

pub(super) fn product_namespaces<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ProductNamespaces, D::Error> {
    checked(deserializer, |product: &ProductNamespaces| {
        if product.names.is_empty() && product.selector.is_none() {
            return Err("productNamespaces names none: give `names` or `selector`".to_owned());
        }
        NamespaceSet::new(product, &[]).map(drop)
    })
}

pub(super) fn globs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    checked(deserializer, |globs: &Vec<String>| NamespaceSet::new(&ProductNamespaces::default(), globs).map(drop))
}

/// One namespace, without wildcards.
pub(super) fn namespace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |name: &String| {
        if super::namespaces::is_pattern(name) && !name.contains(['*', '?']) {
            Ok(())
        } else {
            Err(format!("`{name}` is no namespace, such as calico-system"))
        }
    })
}

pub(super) fn homeserver<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |url: &String| {
        if url.starts_with("https://") || url.starts_with("http://") {
            Ok(())
        } else {
            Err(format!("matrix.homeserver `{url}` is no http(s) URL"))
        }
    })
}

pub(super) fn room<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |room: &String| {
        if room.starts_with(['!', '#']) {
            Ok(())
        } else {
            Err(format!("matrix.room `{room}` is neither a room id (`!…`) nor an alias (`#…`)"))
        }
    })
}

pub(super) fn commit_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |url: &Option<String>| {
        if url.as_ref().is_none_or(|url| url.contains("{sha}")) { Ok(()) } else { Err("commitUrl has no `{sha}`") }
    })
}

/// Below 2 s a rejection could look like silence: it reaches a connect that blocks after about a second.
pub(super) fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    let (least, most) = crate::probe::target::SECONDS.into_inner();
    checked(deserializer, |timeout: &Span| {
        if (least.into()..=most.into()).contains(&timeout.get().as_secs()) {
            Ok(())
        } else {
            Err(format!("probe.timeout {timeout} is not within {least} s and {most} s"))
        }
    })
}

pub(super) fn destinations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Destination>, D::Error> {
    checked(deserializer, |all: &Vec<Destination>| {
        if let Some(destination) = all.iter().find(|d| d.name.contains('*') && d.members.is_empty()) {
            return Err(format!("destination `{}` is a pattern: name its `members`", destination.name));
        }
        let is_host = |name: &&String| name.parse::<std::net::IpAddr>().is_ok() || super::goal::is_name(name);
        match all.iter().flat_map(Destination::names).find(|name| !is_host(name)) {
            Some(name) => Err(format!("destination `{name}` is neither a host name nor an address")),
            None => Ok(()),
        }
    })
}

/// A file of the artifact: nothing outside of it is ever read.
pub(super) fn artifact_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |path: &Option<String>| {
        let leaves =
            |path: &String| path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..");
        match path.as_ref().filter(|path| leaves(path)) {
            Some(path) => {
                Err(format!("allowlist `{path}` is no path in the artifact: write it from the artifact's root"))
            }
            None => Ok(()),
        }
    })
}

/// An image without which nothing could be added.
pub(super) fn probe<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Probe, D::Error> {
    checked(deserializer, |probe: &Probe| {
        if probe.ephemeral && probe.image.is_none() {
            return Err("probe.ephemeral needs probe.image: the image of job/probe in your registry");
        }
        Ok(())
    })
}

/// It becomes a part of an admission policy: what is no image must not get there.
pub(super) fn image<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let valid = |image: &str| {
        let known = image.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@".contains(c));
        known && !image.is_empty() && !image.ends_with(['/', ':', '@'])
    };
    checked(deserializer, |image: &Option<String>| match image.as_deref().filter(|image| !valid(image)) {
        Some(image) => Err(format!("probe.image `{image}` is no image: write it as registry.example.org/name:tag")),
        None => Ok(()),
    })
}
