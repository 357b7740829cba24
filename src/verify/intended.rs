//! The list of intended flows (formats.md, `allowlist.yaml`) in a run: read from the artifact, and held against what Git's
//! policies allow over the live labels. Where the list cannot be used, that is a finding, and nothing of it is cured.

use std::{collections::BTreeMap, net::IpAddr};

use super::{compare::Material, findings::finding};
use crate::{
    config::{Invalid, allowlist},
    engine::{
        allowlist::{self as engine, Allowlist, Kind, Told},
        reach::Reach,
        world::World,
    },
    model::{Declared, Finding, FindingRule, Origin, PolicyDocument, Report, Severity},
};

/// The key's end of what keeps the whole list from being used.
const LIST: &str = "the list";

/// What is told of the list; nothing where none is configured.
#[must_use]
pub fn look(material: &Material<'_>, declared: &World, documents: &[PolicyDocument]) -> Vec<Finding> {
    let Some(path) = &material.config.allowlist else { return Vec::new() };
    let list = match list(material.declared, path) {
        Ok(list) => list,
        Err(finding) => return vec![*finding],
    };
    let mut addresses: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for host in material.outside {
        addresses.entry(host.name.clone().unwrap_or_default()).or_default().push(host.address);
    }
    let names = allowlist::names(&material.config.destinations, &addresses);
    let (reach, snapshot) = (Reach::new(declared), material.snapshot);
    let input = engine::Input { list: &list, reach: &reach, snapshot, documents, names: &names };
    engine::compare(&input).into_iter().map(told).collect()
}

/// The list, or why it cannot be used.
fn list(declared: &[Declared], path: &str) -> Result<Allowlist, Box<Finding>> {
    let path = path.trim_start_matches("./");
    let unusable = |severity, message| Box::new(finding(FindingRule::AllowlistUntold, LIST, severity, message));
    let Some(text) = declared.iter().find_map(|declared| declared.allowlist.as_ref()) else {
        if let Some(remembered) = declared.iter().find(|declared| declared.remembered) {
            let message =
                format!("{path} could not be read: the artifact of {} is not to be had", remembered.status.id);
            return Err(unusable(Severity::Warning, message));
        }
        let ids: Vec<String> = declared.iter().map(|declared| declared.status.id.to_string()).collect();
        let message = format!(
            "{path} is not in the artifact of {}: no intended flow is looked at; add it, or correct `allowlist` in the configuration",
            ids.join(", ")
        );
        return Err(unusable(Severity::Error, message));
    };
    allowlist::parse(path, text).map_err(|error| {
        let origin = place(&error);
        let message = format!("{error}: no intended flow is looked at until it is corrected");
        Box::new(Finding { origin, ..*unusable(Severity::Error, message) })
    })
}

fn place(error: &Invalid) -> Option<Origin> {
    let Invalid::Content { file, place, .. } = error else { return None };
    let mut parts = place.split(':').map(|part| part.trim().parse().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(line), Some(column)) => Some(Origin::at(file, line, column)),
        _ => None,
    }
}

fn told(told: Told) -> Finding {
    let Told { kind, key, namespace, message, origin, fix } = told;
    let (rule, severity) = match kind {
        Kind::Missing => (FindingRule::AllowlistMissing, Severity::Error),
        Kind::Excess => (FindingRule::AllowlistExcess, Severity::Error),
        Kind::Untold => (FindingRule::AllowlistUntold, Severity::Warning),
    };
    Finding { namespace, origin, fix, ..finding(rule, &key, severity, message) }
}

/// Whether the list could not be used in this run, so that what stood before stays open.
#[must_use]
pub fn is_unusable(report: &Report) -> bool {
    let key = format!("{}/{LIST}", FindingRule::AllowlistUntold.word());
    report.findings.iter().any(|finding| finding.key == key)
}

/// Whether a finding's key is of what a list is held against.
#[must_use]
pub fn is_of_list(key: &str) -> bool {
    let rules = [FindingRule::AllowlistMissing, FindingRule::AllowlistExcess, FindingRule::AllowlistUntold];
    rules.iter().any(|rule| key.strip_prefix(rule.word()).is_some_and(|rest| rest.starts_with('/')))
}
