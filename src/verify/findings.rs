//! Findings that need no probe: the baseline, and what is not understood.

use std::collections::BTreeSet;

use super::compare::Material;
use crate::{
    engine::{
        baseline,
        read::{self, Unreadable},
        world::World,
    },
    model::{Finding, FindingRule, NotUnderstood, PolicyDocument, Rendering, Severity},
};

/// A finding with the usual defaults.
#[must_use]
pub fn finding(rule: FindingRule, key: &str, severity: Severity, message: String) -> Finding {
    Finding {
        key: format!("{}/{key}", rule.word()),
        rule,
        severity,
        message,
        namespace: None,
        origin: None,
        since: None,
        fix: None,
        new: true,
        accepted_until: None,
        about: None,
    }
}

/// The baseline, policies that are not understood, kinds that cannot be read, renderings that are not proven.
#[must_use]
pub fn without_probes(material: &Material<'_>, product: &BTreeSet<String>, live: &World) -> Vec<Finding> {
    let mut findings: Vec<Finding> = product
        .iter()
        .filter(|name| material.snapshot.namespaces.get(*name).is_some_and(|info| !info.terminating))
        .filter_map(|name| without_baseline(material, live, name))
        .collect();
    findings.extend(not_understood(material).iter().map(|policy| {
        let scope =
            policy.namespace.as_ref().map_or_else(|| "pods of any namespace".to_owned(), |n| format!("pods of {n}"));
        let reason = policy.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let message = format!(
            "{} is not understood{reason}: nothing is called verified about {scope}, which it may touch",
            policy.policy
        );
        Finding {
            namespace: policy.namespace.clone(),
            ..finding(FindingRule::NotUnderstood, &policy.policy.to_string(), Severity::Warning, message)
        }
    }));
    findings.extend(material.snapshot.not_readable.iter().map(|kind| {
        let message = format!("{} could not be read: {}", kind.resource, kind.reason);
        finding(FindingRule::NotReadable, &kind.resource, Severity::Warning, message)
    }));
    findings.extend(material.declared.iter().filter_map(|declared| match &declared.rendering {
        Rendering::Proven => None,
        Rendering::Unproven(reason) => {
            let id = &declared.status.id;
            let message = format!("the rendering of {id} could not be proven: {reason}");
            Some(finding(FindingRule::Rendering, &id.to_string(), Severity::Warning, message))
        }
    }));
    findings
}

/// Policies of kinds without a reader, live or only in Git.
#[must_use]
pub fn not_understood(material: &Material<'_>) -> Vec<NotUnderstood> {
    let mut all: BTreeSet<NotUnderstood> = material.snapshot.not_understood.iter().cloned().collect();
    let named: BTreeSet<_> = all.iter().map(|n| n.policy.clone()).collect();
    let git = material.declared.iter().flat_map(|d| &d.policies).filter(|d| !read::understands(d));
    let unnamed = git.filter(|d| !named.contains(&d.id)).map(|document: &PolicyDocument| NotUnderstood {
        kind: document.id.kind.clone(),
        policy: document.id.clone(),
        namespace: document.id.namespace.clone(),
        reason: None,
    });
    all.extend(unnamed.collect::<Vec<_>>());
    all.into_iter().collect()
}

/// Each product namespace must hold the baseline in effect: every pod isolated in both directions by a policy that
/// selects all of them, such as one with an empty podSelector (design §4).
fn without_baseline(material: &Material<'_>, live: &World, namespace: &str) -> Option<Finding> {
    let missing = baseline::missing(live, namespace);
    if missing.is_empty() {
        return None;
    }
    let file = material.declared.iter().flat_map(|d| &d.policies).find_map(|document| {
        let here = document.id.namespace.as_deref() == Some(namespace);
        document.origins.document.as_ref().filter(|_| here).map(|origin| origin.file.clone())
    });
    let message = format!(
        "product namespace {namespace} has no default-deny-all in effect for {}: its pods are open there; add the baseline",
        baseline::words(&missing)
    );
    Some(Finding {
        namespace: Some(namespace.to_owned()),
        fix: Some(baseline::entry(live, namespace, file)),
        ..finding(FindingRule::Baseline, namespace, Severity::Error, message)
    })
}

/// A policy whose content cannot be read.
#[must_use]
pub fn unreadable(unreadable: &Unreadable) -> Finding {
    let key = format!("{}/unreadable", unreadable.policy);
    Finding {
        namespace: unreadable.policy.namespace.clone(),
        origin: unreadable.origin.clone(),
        ..finding(FindingRule::NotUnderstood, &key, Severity::Error, unreadable.to_string())
    }
}
