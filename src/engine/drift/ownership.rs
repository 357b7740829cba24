//! Whose a live policy is.
//!
//! Labels, annotations, manager names and owner references are written by whoever writes the policy, so that none of
//! them proves anything about a policy made in bad faith. What each claim asks for, and why:
//!
//! * **Another Kustomization** (its two labels): the policy must stand in that Kustomization's inventory, which only
//!   Flux writes. Where every Kustomization was read, a name that is not among them is no owner. Where they
//!   could not all be read, the claim counts, but as a warning that says so: this is the one place where forged labels
//!   pass, and the right to list Kustomizations closes it.
//! * **A Helm release** (managed-by label and both release annotations): there is no inventory to hold it against
//!   (the release is a Secret, which this program must not read). So the fields of the spec must be Helm's alone: a
//!   policy of a release that somebody edited by hand is nobody's. A deliberate forgery that also sets the field
//!   manager's name passes; it takes the right to write policies in that namespace with a chosen manager.
//! * **An owner reference**: counts where the owner itself stands in an inventory. Any other owner proves
//!   nothing (anybody may point at any object of the namespace), so that the policy is unowned, and the message
//!   names the owner.
//! * The spec of a policy in another Kustomization's inventory must be Flux's too: an edit by hand stands
//!   until that Kustomization's next reconciliation, and no Git that is known here declares it.

use serde_json::Value;

use super::{DriftContext, group, is_flux};
use crate::{
    engine::normal::is_called,
    model::{KustomizationRef, LivePolicy, ObjectRef, PolicyDocument, api_family},
};

const TOOLKIT: &str = "kustomize.toolkit.fluxcd.io/";

/// Whose a policy that Git does not have is, with the words for it.
pub(super) enum Claim {
    /// Somebody's who is known to declare it.
    Owned(String),
    /// Somebody's, as far as can be seen.
    Unproven(String),
    /// A watched Kustomization's, which no longer declares it.
    Orphan(String),
    /// Nobody's.
    Unowned(String),
}

pub(super) fn claim(policy: &LivePolicy, ctx: &DriftContext) -> Claim {
    let holds = |inventory: &[ObjectRef]| inventory.iter().any(|object| is_of(object, &policy.document));
    if let Some((name, _)) = ctx.watched.iter().find(|(_, inventory)| holds(inventory)) {
        return Claim::Orphan(format!("not in Git; still in the inventory of Kustomization {name}"));
    }
    if let Some(name) = labelled(&policy.document).filter(|name| ctx.watched.contains_key(name)) {
        return Claim::Orphan(format!("not in Git; labelled as Kustomization {name}'s, which did not remove it"));
    }
    if let Some((name, _)) = ctx.others.iter().find(|(_, inventory)| holds(inventory)) {
        return match foreign(policy, is_flux) {
            None => Claim::Owned(format!("of Kustomization {name}")),
            Some(who) => Claim::Unowned(format!("of Kustomization {name}, but {who} wrote its spec")),
        };
    }
    if let Some(name) = labelled(&policy.document) {
        return if ctx.others.contains_key(&name) {
            Claim::Unowned(format!("not in Git; labelled as Kustomization {name}'s, but not in its inventory"))
        } else if ctx.others_complete {
            Claim::Unowned(format!("not in Git; labelled as Kustomization {name}'s, which does not exist"))
        } else {
            let why = "whose inventory could not be read (grant list of kustomizations)";
            Claim::Unproven(format!("labelled as Kustomization {name}'s, {why}"))
        };
    }
    helm(policy).or_else(|| owner(policy, ctx)).unwrap_or_else(|| Claim::Unowned("not in Git".to_owned()))
}

fn helm(policy: &LivePolicy) -> Option<Claim> {
    let document = &policy.document;
    let managed = meta(document, "labels", "app.kubernetes.io/managed-by") == Some("Helm");
    let release = meta(document, "annotations", "meta.helm.sh/release-name").filter(|_| managed)?;
    let namespace = meta(document, "annotations", "meta.helm.sh/release-namespace")?;
    let name = format!("Helm release {namespace}/{release}");
    let is_helm = |manager: &str| manager.to_ascii_lowercase().contains("helm");
    let by_helm = policy.managers.iter().any(|manager| is_helm(&manager.name));
    Some(match foreign(policy, is_helm) {
        None if by_helm => Claim::Owned(format!("of {name}")),
        None => Claim::Unowned(format!("not in Git; marked as {name}'s, but Helm never wrote it")),
        Some(who) => Claim::Unowned(format!("not in Git; of {name}, but {who} wrote its spec")),
    })
}

fn owner(policy: &LivePolicy, ctx: &DriftContext) -> Option<Claim> {
    let first = policy.owners.first()?;
    let inventories = || ctx.watched.iter().chain(&ctx.others);
    let known = inventories().find(|(_, inventory)| policy.owners.iter().any(|owner| inventory.contains(owner)));
    Some(match known {
        Some((name, _)) => Claim::Owned(format!("made by {} of Kustomization {name}", owner_name(first))),
        None => Claim::Unowned(format!("not in Git; made by {}", owner_name(first))),
    })
}

fn owner_name(owner: &ObjectRef) -> String {
    match &owner.namespace {
        Some(namespace) => format!("{}/{namespace}/{}", owner.kind, owner.name),
        None => format!("{}/{}", owner.kind, owner.name),
    }
}

/// The newest manager that owns fields of the spec and is not the rightful one.
fn foreign(policy: &LivePolicy, rightful: impl Fn(&str) -> bool) -> Option<&str> {
    let owns = |fields: &[String]| fields.iter().any(|field| field.starts_with("/spec"));
    let found = policy.managers.iter().find(|manager| !rightful(&manager.name) && owns(&manager.fields));
    found.map(|manager| manager.name.as_str())
}

/// Whether an inventory's entry is a policy. Git may write the name of one of Calico's with its tier or without, and in
/// either of the two groups.
fn is_of(entry: &ObjectRef, document: &PolicyDocument) -> bool {
    api_family(&entry.group) == api_family(group(document))
        && entry.namespace == document.id.namespace
        && is_called(document, &entry.kind, &entry.name)
}

/// The Kustomization that the policy's labels name.
fn labelled(document: &PolicyDocument) -> Option<KustomizationRef> {
    let name = meta(document, "labels", "kustomize.toolkit.fluxcd.io/name")?;
    let namespace = meta(document, "labels", "kustomize.toolkit.fluxcd.io/namespace")?;
    Some(KustomizationRef { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// The mark by which Flux leaves the live policy alone (flux.md §4: read from labels and annotations of either side,
/// values in any case; `IfNotPresent` from Git alone).
pub(super) fn frozen(declared: &PolicyDocument, live: &PolicyDocument) -> Option<String> {
    let live_mark = mark(live, &[("reconcile", "disabled"), ("ssa", "Ignore")]);
    live_mark.or_else(|| frozen_in_git(declared).map(|mark| format!("{mark} in Git")))
}

/// The mark in Git by which Flux does not apply the policy, or does not apply it again.
pub(super) fn frozen_in_git(declared: &PolicyDocument) -> Option<String> {
    mark(declared, &[("reconcile", "disabled"), ("ssa", "Ignore"), ("ssa", "IfNotPresent")])
}

fn mark(document: &PolicyDocument, marks: &[(&str, &str)]) -> Option<String> {
    marks.iter().find_map(|(key, wanted)| {
        let key = format!("{TOOLKIT}{key}");
        let set = |place| meta(document, place, &key).is_some_and(|value| value.eq_ignore_ascii_case(wanted));
        (set("annotations") || set("labels")).then(|| format!("{key}: {wanted}"))
    })
}

fn meta<'a>(document: &'a PolicyDocument, place: &str, key: &str) -> Option<&'a str> {
    document.object.get("metadata")?.get(place)?.get(key).and_then(Value::as_str)
}
