//! Where the live policies differ from Git (design §3.6).
//!
//! Every live policy ends up in exactly one place: as Git declares it, as a [`Drift`], among the others that count
//! as declared, or both of the last two. What is counted as declared is never reported as a flow that Git denies, so
//! each way into `others` is a way to a false green; [`ownership`](self) says what each of them asks for.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    engine::normal::{CalicoKind, Equality, calico_kind, is_network_policy, rules, spec_equal},
    model::{
        Direction, Drift, DriftClass, KustomizationRef, LivePolicy, ObjectRef, Origin, PolicyDocument, PolicyRef,
        Severity, api_family,
    },
};

mod calico;
mod difference;
mod ownership;
#[cfg(test)]
mod tests;

use difference::{Difference, difference, text_diff};
use ownership::{Claim, claim};

/// What Flux writes with; changes by anyone else are somebody's.
const FLUX_MANAGERS: [&str; 2] = ["kustomize-controller", "flux"];

/// What is needed to tell whose a live policy is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DriftContext {
    /// Namespaces in which a policy that nobody owns is reported.
    pub product_namespaces: BTreeSet<String>,
    /// Inventories of the watched Kustomizations. One that is not applied now belongs here as well.
    pub watched: BTreeMap<KustomizationRef, Vec<ObjectRef>>,
    /// Inventories of other Kustomizations, as far as they could be read.
    pub others: BTreeMap<KustomizationRef, Vec<ObjectRef>>,
    /// Whether `others` holds every Kustomization of the cluster: then a name that is not in it belongs to none.
    pub others_complete: bool,
}

/// The policy on both sides of one drift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// As Git has it; `None` where Git has none.
    pub declared: Option<PolicyDocument>,
    /// As it is live; `None` where it is not.
    pub live: Option<PolicyDocument>,
}

impl Swap {
    /// The declared set with this one policy as it is live: the flows that this set and `declared` decide
    /// differently are the ones that the drift changes.
    #[must_use]
    pub fn apply(&self, declared: &[PolicyDocument]) -> Vec<PolicyDocument> {
        let rest = declared.iter().filter(|document| !self.replaces(document));
        rest.chain(&self.live).cloned().collect()
    }

    /// Whether the document is one of the two sides.
    #[must_use]
    pub fn replaces(&self, document: &PolicyDocument) -> bool {
        [&self.declared, &self.live].into_iter().flatten().any(|side| identity(side) == identity(document))
    }
}

/// What the comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DriftOutcome {
    /// The differences, by policy and class. `flows` is 0: the caller counts them with [`Swap::apply`].
    pub drift: Vec<Drift>,
    /// For each of `drift`, in the same order, the two sides.
    pub swaps: Vec<Swap>,
    /// Live policies that are not in Git and count as declared, sorted.
    pub others: Vec<PolicyDocument>,
}

/// A policy's name with its API group; Calico's two groups hold the same objects.
type Identity<'a> = (&'a str, &'a PolicyRef);

/// Compares the declared with the live policies, and with them the tiers and network sets that decide with Calico's.
///
/// What is staged decides nothing: it is never more than info. Tiers that are not in Git are nothing but a place for
/// policies, which are told themselves: info, and nothing at all where Calico makes them.
///
/// An *extra* is an error where it has a rule that allows something (other kinds than NetworkPolicy are taken to), and
/// info where it only isolates: then it counts as declared (design §3.6). The caller may refine the first by the
/// flows that it really opens. A live policy of a watched Kustomization that Git no longer has is an error
/// wherever it is and whatever it does: Flux should have removed it.
#[must_use]
pub fn drift<'l>(
    declared: &[PolicyDocument],
    live: impl IntoIterator<Item = &'l LivePolicy>,
    ctx: &DriftContext,
) -> DriftOutcome {
    let live: Vec<&LivePolicy> = live.into_iter().collect();
    let by_identity: BTreeMap<Identity, &LivePolicy> =
        live.iter().map(|policy| (identity(&policy.document), *policy)).collect();
    let in_git: BTreeSet<Identity> = declared.iter().map(identity).collect();
    let mut found: BTreeMap<(PolicyRef, DriftClass, String), (Drift, Swap)> = BTreeMap::new();
    let mut others = Vec::new();
    let mut add = |drift: Drift, swap: Swap| {
        let group = swap.declared.as_ref().or(swap.live.as_ref()).map_or("", group).to_owned();
        // The name of Calico's NetworkPolicy has its group already.
        let is_plain = group == "networking.k8s.io" || drift.policy.kind.contains('.');
        let shown = if is_plain { String::new() } else { group.clone() };
        let drift = Drift { group: shown, ..drift };
        found.entry((drift.policy.clone(), drift.class, group)).or_insert((drift, swap));
    };
    for document in declared {
        match by_identity.get(&identity(document)) {
            None => add(missing(document), Swap { declared: Some(document.clone()), live: None }),
            Some(policy) => {
                if let Some(drift) = compare(document, policy) {
                    let live = Some(policy.document.clone());
                    add(drift, Swap { declared: Some(document.clone()), live });
                }
            }
        }
    }
    for policy in live.iter().filter(|policy| !in_git.contains(&identity(&policy.document))) {
        let judged = judge_extra(policy, ctx);
        if judged.counts_as_declared {
            others.push(policy.document.clone());
        }
        if let Some(drift) = judged.drift {
            add(drift, Swap { declared: None, live: Some(policy.document.clone()) });
        }
    }
    others.sort_by(|a, b| identity(a).cmp(&identity(b)));
    let (drift, swaps) = found.into_values().unzip();
    DriftOutcome { drift, swaps, others }
}

fn group(document: &PolicyDocument) -> &str {
    document.api_version.split_once('/').map_or("", |(group, _)| api_family(group))
}

/// The weight of a difference: what is staged is never enforced.
fn weight(document: &PolicyDocument) -> Severity {
    let staged = calico_kind(document).is_some_and(CalicoKind::is_staged);
    if staged { Severity::Info } else { Severity::Error }
}

fn identity(document: &PolicyDocument) -> Identity<'_> {
    (group(document), &document.id)
}

fn missing(document: &PolicyDocument) -> Drift {
    let summary = match ownership::frozen_in_git(document) {
        Some(mark) => format!("in Git, not live; Git itself tells Flux to leave it alone ({mark})"),
        None => "in Git, not live".to_owned(),
    };
    Drift {
        declared: document.origins.document.clone(),
        diff: text_diff(Some(document), None),
        ..blank(DriftClass::Missing, &document.id, summary, weight(document))
    }
}

/// The drift of a policy that is on both sides, if there is any worth a line.
fn compare(document: &PolicyDocument, live: &LivePolicy) -> Option<Drift> {
    let equality = spec_equal(document, &live.document);
    let found = match equality {
        Equality::Same => None,
        Equality::OrderOnly => Some(Difference::order_only()),
        Equality::Different => Some(difference(document, &live.document)),
    };
    let differs = equality == Equality::Different;
    if let Some(mark) = ownership::frozen(document, &live.document) {
        let found_text = found.as_ref().map_or("same as Git now", |found| found.summary.as_str());
        let summary = format!("Flux leaves it alone ({mark}): {found_text}");
        let severity = if differs { weight(document) } else { Severity::Warning };
        return Some(both(DriftClass::Frozen, document, live, found.as_ref(), summary, severity));
    }
    if let Some(found) = found {
        let severity = if differs { weight(document) } else { Severity::Info };
        let summary = found.summary.clone();
        return Some(both(DriftClass::Changed, document, live, Some(&found), summary, severity));
    }
    let foreign: Vec<&str> = live
        .managers
        .iter()
        .filter(|manager| !is_flux(&manager.name) && manager.fields.iter().any(|field| field.starts_with("/spec")))
        .map(|manager| manager.name.as_str())
        .collect();
    if foreign.is_empty() {
        return None;
    }
    let summary = format!("fields of {} without another meaning", foreign.join(", "));
    Some(both(DriftClass::ForeignFields, document, live, None, summary, Severity::Info))
}

fn both(
    class: DriftClass,
    document: &PolicyDocument,
    live: &LivePolicy,
    found: Option<&Difference>,
    summary: String,
    severity: Severity,
) -> Drift {
    let pointer = found.map_or("/spec", |found| found.pointer.as_str());
    let origin: Option<&Origin> = match found {
        Some(_) => document.origins.nearest(pointer),
        None => document.origins.document.as_ref(),
    };
    Drift {
        declared: origin.cloned(),
        by: changed_by(live, pointer),
        diff: found.map(|_| text_diff(Some(document), Some(&live.document))).unwrap_or_default(),
        ..blank(class, &document.id, summary, severity)
    }
}

/// The newest manager besides Flux: of those that own the differing field, else any field of the spec, else any (who
/// removes a whole field owns nothing of it afterwards).
fn changed_by(live: &LivePolicy, pointer: &str) -> Option<String> {
    let field: String = pointer.split('/').take(3).collect::<Vec<_>>().join("/");
    let foreign = || live.managers.iter().filter(|manager| !is_flux(&manager.name));
    let owning = |prefix: &str| foreign().find(|manager| manager.fields.iter().any(|owned| owned.starts_with(prefix)));
    let manager = owning(&field).or_else(|| owning("/spec")).or_else(|| foreign().next())?;
    Some(signed(&manager.name, manager.time.as_deref()))
}

fn signed(name: &str, time: Option<&str>) -> String {
    time.map_or_else(|| name.to_owned(), |time| format!("{name} {time}"))
}

fn is_flux(manager: &str) -> bool {
    FLUX_MANAGERS.contains(&manager)
}

struct Judged {
    drift: Option<Drift>,
    counts_as_declared: bool,
}

/// What becomes of a live policy that Git does not have.
fn judge_extra(policy: &LivePolicy, ctx: &DriftContext) -> Judged {
    let id = &policy.document.id;
    let in_scope = id.namespace.as_ref().is_none_or(|namespace| ctx.product_namespaces.contains(namespace));
    if calico::is_made_by_calico(&policy.document) {
        return Judged { drift: None, counts_as_declared: true };
    }
    let (severity, summary) = match claim(policy, ctx) {
        Claim::Orphan(summary) => (weight(&policy.document), summary),
        // Elsewhere a policy of somebody else is how things are, and nobody asked about it.
        _ if !in_scope => return Judged { drift: None, counts_as_declared: true },
        Claim::Owned(summary) => (Severity::Info, summary),
        Claim::Unproven(summary) => (Severity::Warning, summary),
        Claim::Unowned(summary) => match opens_nothing(&policy.document) {
            None => (Severity::Error, summary),
            Some(why) => (Severity::Info, format!("{summary}; {why}")),
        },
    };
    let oldest = policy.managers.last();
    let time = oldest.and_then(|manager| manager.time.as_deref()).or(policy.created.as_deref());
    let drift = Drift {
        by: oldest.map(|manager| signed(&manager.name, time)),
        diff: text_diff(None, Some(&policy.document)),
        ..blank(DriftClass::Extra, id, summary, severity)
    };
    Judged { drift: Some(drift), counts_as_declared: severity < Severity::Error }
}

/// Why the object opens no flow; `None` where it may, as any of a kind that is not known here is taken to.
fn opens_nothing(document: &PolicyDocument) -> Option<&'static str> {
    if let Some(kind) = calico_kind(document) {
        return calico::opens_nothing(document, kind);
    }
    let any = |direction| rules(document, direction).is_some_and(|rules| !rules.is_empty());
    let opens = !is_network_policy(document) || any(Direction::Ingress) || any(Direction::Egress);
    (!opens).then_some("it only isolates")
}

fn blank(class: DriftClass, policy: &PolicyRef, summary: String, severity: Severity) -> Drift {
    Drift {
        class,
        policy: policy.clone(),
        group: String::new(),
        declared: None,
        by: None,
        flows: 0,
        summary,
        diff: String::new(),
        severity,
        since: None,
        new: false,
        accepted_until: None,
    }
}
