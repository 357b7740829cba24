//! Git, live and before, side by side: what differs, and which flows have to be seen.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    findings,
    recall::{self, Recall},
    relabelled,
};
use crate::{
    config::{Config, NamespaceSet},
    engine::{
        accept::Acceptances,
        drift::{self, DriftContext, DriftOutcome},
        matrix::{Difference, Matrix},
        normal, read,
        touched::{self, Outside, Touched},
        world::{self, World},
    },
    model::{
        Declared, Drift, DriftClass, Finding, KustomizationRef, ObjectRef, Policy, PolicyDocument, PolicyRef,
        RecordedFlow, RuleRef, Severity, Snapshot, State, Trigger,
    },
};

/// More drifted policies than this are not each held against all flows.
const COUNTED_DRIFTS: usize = 50;

/// What a comparison is made of.
pub struct Material<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Its namespaces.
    pub namespaces: &'a NamespaceSet,
    /// What Git declares, by Kustomization. One that is not applied stands with the policies of the state.
    pub declared: &'a [Declared],
    /// The live cluster.
    pub snapshot: &'a Snapshot,
    /// The memory.
    pub state: &'a State,
    /// Inventories of all Kustomizations; `None` where they could not be read.
    pub inventories: Option<&'a BTreeMap<KustomizationRef, Vec<ObjectRef>>>,
    /// Configured hosts, resolved.
    pub outside: &'a [Outside],
    /// Why the run runs.
    pub trigger: Trigger,
    /// What is accepted today.
    pub accepted: Acceptances<'a>,
}

/// What it shows.
pub struct Comparison {
    /// Git's policies over the live labels.
    pub declared: World,
    /// The live policies over the live labels.
    pub live: World,
    /// The documents behind `declared`.
    pub documents: Vec<PolicyDocument>,
    /// Live policies of others that count as declared.
    pub others: Vec<PolicyDocument>,
    /// Product namespaces.
    pub product: BTreeSet<String>,
    /// Policies that differ.
    pub drift: Vec<Drift>,
    /// Findings that need no probe.
    pub findings: Vec<Finding>,
    /// Flows to be seen.
    pub touched: Touched,
    /// What the state wants looked at again.
    pub recall: Recall,
    /// Content of the rules of `documents`, for the state.
    pub rule_keys: BTreeMap<RuleRef, String>,
    /// Flows that changed labels flipped, by the finding's key.
    pub flips: BTreeMap<String, Vec<RecordedFlow>>,
}

/// Compares.
#[must_use]
pub fn compare(material: &Material<'_>) -> Comparison {
    let product = material.namespaces.product(material.snapshot, &material.state.product_namespaces);
    let git: Vec<PolicyDocument> = material.declared.iter().flat_map(|d| d.policies.iter().cloned()).collect();
    // What has no reader is not listed live either: it is named as not understood, and is no drift.
    let understood: Vec<PolicyDocument> = git.iter().filter(|d| read::understands(d)).cloned().collect();
    let outcome = drift::drift(&understood, &material.snapshot.policies, &context(material, &product));
    let documents: Vec<PolicyDocument> = git.iter().chain(&outcome.others).cloned().collect();
    let accepted = Accepted::of(&outcome, material);
    let mut findings = Vec::new();
    let declared_policies = read_all(&accepted.apply(&documents), &mut findings);
    let live_documents: Vec<&PolicyDocument> = material.snapshot.policies.iter().map(|p| &p.document).collect();
    let live_policies = read_all(live_documents.iter().copied(), &mut findings);
    let old = old_policies(material.state);
    let worlds = Worlds::new(material, declared_policies, live_policies, old);
    let drift = counted(outcome.clone(), &documents, &worlds);
    findings.extend(findings::without_probes(material, &product, &worlds.live));
    let ids: BTreeSet<PolicyRef> = git.iter().map(|d| d.id.clone()).collect();
    let relabelled = worlds.relabelled(material, &product, &ids);
    findings.extend(relabelled.iter().map(|(finding, _)| finding.clone()));
    let rule_keys = rule_keys(&documents);
    let recall = recall::recall(material, &rule_keys);
    let changed: Vec<RuleRef> =
        changed_rules(material, &git).into_iter().filter(|r| !accepted.policies.contains(&r.policy)).collect();
    let mut touched = touch(material, &worlds, &product, &changed, &recall, &ids);
    findings.append(&mut touched.findings);
    Comparison {
        declared: worlds.declared,
        live: worlds.live,
        documents,
        others: accepted.beside(outcome.others),
        product,
        drift,
        findings,
        touched,
        recall,
        rule_keys,
        flips: relabelled.into_iter().map(|(finding, flows)| (finding.key, flows)).collect(),
    }
}

/// Drift that is accepted: for flows, what is live counts as declared.
struct Accepted {
    swaps: Vec<drift::Swap>,
    policies: BTreeSet<PolicyRef>,
}

impl Accepted {
    fn of(outcome: &DriftOutcome, material: &Material<'_>) -> Self {
        let both = outcome.drift.iter().zip(&outcome.swaps);
        let accepted: Vec<_> = both.filter(|(drift, _)| material.accepted.drift(drift).is_some()).collect();
        Self {
            policies: accepted.iter().map(|(drift, _)| drift.policy.clone()).collect(),
            swaps: accepted.into_iter().map(|(_, swap)| swap.clone()).collect(),
        }
    }

    fn apply(&self, documents: &[PolicyDocument]) -> Vec<PolicyDocument> {
        self.swaps.iter().fold(documents.to_vec(), |documents, swap| swap.apply(&documents))
    }

    /// With the accepted ones as they are live, so that the next run does not take them for changed.
    fn beside(&self, others: Vec<PolicyDocument>) -> Vec<PolicyDocument> {
        others.into_iter().chain(self.swaps.iter().filter_map(|swap| swap.live.clone())).collect()
    }
}

/// The three policy sets over the same classes.
struct Worlds {
    declared: World,
    live: World,
    /// The policies of the last check over the labels of now.
    old_over_now: Option<World>,
    /// The policies of the last check over the labels of then.
    before: Option<World>,
}

impl Worlds {
    fn new(material: &Material<'_>, declared: Vec<Policy>, live: Vec<Policy>, old: Option<Vec<Policy>>) -> Self {
        let all: Vec<&Policy> = declared.iter().chain(&live).chain(old.iter().flatten()).collect();
        let classes = world::classes(material.snapshot, &all);
        let namespaces: BTreeMap<_, _> =
            material.snapshot.namespaces.iter().map(|(name, info)| (name.clone(), info.labels.clone())).collect();
        let live = World::new(namespaces, classes, live);
        let declared = live.with_policies(declared);
        let old_over_now = old.map(|old| live.with_policies(old));
        let before = material.state.checked.as_ref().zip(old_over_now.as_ref());
        let before = before.map(|(checked, world)| world.with_labels_of(&checked.namespaces, &checked.classes));
        Self { declared, live, old_over_now, before }
    }

    fn relabelled(
        &self,
        material: &Material<'_>,
        product: &BTreeSet<String>,
        git: &BTreeSet<PolicyRef>,
    ) -> Vec<(Finding, Vec<RecordedFlow>)> {
        let (Some(then), Some(now)) = (&self.before, &self.old_over_now) else { return Vec::new() };
        relabelled::find(material, (then, now), &|name| is_watched(material, product, git, name))
    }
}

fn old_policies(state: &State) -> Option<Vec<Policy>> {
    let checked = state.checked.as_ref()?;
    let documents = checked.kustomizations.iter().flat_map(|k| &k.policies).chain(&checked.others);
    // The live form of an accepted drift stands in for Git's.
    let documents: BTreeMap<_, _> = documents.map(|d| ((&d.api_version, &d.id), d)).collect();
    // They were read when they were written; what an older version read and this one does not is left out of before,
    // so that its flows count as changed.
    Some(documents.into_values().filter_map(|d| read::policy(d).ok()).collect())
}

fn context(material: &Material<'_>, product: &BTreeSet<String>) -> DriftContext {
    let watched: BTreeMap<_, _> =
        material.declared.iter().map(|d| (d.status.id.clone(), d.status.inventory.clone())).collect();
    let others = material.inventories.into_iter().flatten().filter(|(id, _)| !watched.contains_key(*id));
    DriftContext {
        product_namespaces: product.clone(),
        others: others.map(|(id, inventory)| (id.clone(), inventory.clone())).collect(),
        others_complete: material.inventories.is_some(),
        watched,
    }
}

/// Reads documents that a reader understands; a broken one is a finding, since nothing is skipped in silence.
fn read_all<'d>(documents: impl IntoIterator<Item = &'d PolicyDocument>, findings: &mut Vec<Finding>) -> Vec<Policy> {
    let mut policies = Vec::new();
    for document in documents.into_iter().filter(|d| read::understands(d)) {
        match read::policy(document) {
            Ok(policy) => policies.push(policy),
            Err(unreadable) => findings.push(findings::unreadable(&unreadable)),
        }
    }
    policies
}

/// Fills in how many workload pairs each drift changes; an extra policy that changes none is info.
fn counted(outcome: DriftOutcome, documents: &[PolicyDocument], worlds: &Worlds) -> Vec<Drift> {
    let read = |document: &PolicyDocument| read::policy(document).ok().filter(|_| read::understands(document));
    let policies: Vec<_> = documents.iter().filter_map(|d| Some((d, read(d)?))).collect();
    let world = |policies: Vec<Policy>| worlds.declared.with_policies(policies);
    let declared = world(policies.iter().map(|(_, policy)| policy.clone()).collect());
    let base = Matrix::new(&declared);
    let mut result = outcome.drift;
    for (drift, swap) in result.iter_mut().zip(&outcome.swaps).take(COUNTED_DRIFTS) {
        let rest = policies.iter().filter(|(document, _)| !swap.replaces(document)).map(|(_, policy)| policy.clone());
        let other = world(rest.chain(swap.live.as_ref().and_then(read)).collect());
        drift.flows = differing_pairs(&base, &Matrix::new(&other));
        if drift.class == DriftClass::Extra && drift.flows == 0 && is_understood(swap) {
            drift.severity = Severity::Info;
        }
    }
    result
}

fn is_understood(swap: &drift::Swap) -> bool {
    swap.live.as_ref().is_none_or(read::understands)
}

/// Pairs that the two decide otherwise over some address family; those that no changed policy touches are not asked.
fn differing_pairs(a: &Matrix<'_>, b: &Matrix<'_>) -> usize {
    let difference = Difference::new(a, b);
    let differs = |source: usize, destination: usize| {
        let ends = a.class(source).zip(a.class(destination));
        let mut families = ends.map(|(from, to)| world::families(from, to)).unwrap_or_default().into_iter();
        families.any(|family| a.between(source, destination, family) != b.between(source, destination, family))
    };
    let count = a.world.classes.len();
    let pairs = (0..count).flat_map(|source| (0..count).map(move |destination| (source, destination)));
    pairs.filter(|(s, d)| s != d && difference.may_be_between(*s, *d) && differs(*s, *d)).count()
}

fn rule_keys(documents: &[PolicyDocument]) -> BTreeMap<RuleRef, String> {
    let mut keys = BTreeMap::new();
    for document in documents.iter().filter(|d| read::understands(d)) {
        for direction in [crate::model::Direction::Ingress, crate::model::Direction::Egress] {
            for (index, rule) in normal::rules(document, direction).unwrap_or_default().iter().enumerate() {
                keys.insert(RuleRef { policy: document.id.clone(), direction, index }, normal::rule_key(rule));
            }
        }
    }
    keys
}

/// Rules that the merge added or changed: Git's alone, since nobody merged those of others.
fn changed_rules(material: &Material<'_>, git: &[PolicyDocument]) -> Vec<RuleRef> {
    let Some(checked) = &material.state.checked else { return Vec::new() };
    let old: BTreeMap<_, &PolicyDocument> =
        checked.kustomizations.iter().flat_map(|k| &k.policies).map(|d| ((&d.api_version, &d.id), d)).collect();
    let understood = git.iter().filter(|d| read::understands(d));
    understood.flat_map(|new| normal::changed_rules(old.get(&(&new.api_version, &new.id)).copied(), new)).collect()
}

fn touch(
    material: &Material<'_>,
    worlds: &Worlds,
    product: &BTreeSet<String>,
    changed_rules: &[RuleRef],
    recall: &Recall,
    ids: &BTreeSet<PolicyRef>,
) -> Touched {
    let known: BTreeSet<&String> = material.state.product_namespaces.iter().collect();
    let first_run = material.state.checked.is_none();
    let new = product.iter().filter(|n| !first_run && !known.contains(n)).cloned().collect();
    let may_probe = |name: &str| product.contains(name) || material.namespaces.may_probe(name);
    let mut touched = touched::touched(&touched::Input {
        before: worlds.before.as_ref(),
        declared: &worlds.declared,
        live: &worlds.live,
        changed_rules,
        outside: material.outside,
        git: ids,
        probe_from: &may_probe,
        new_namespaces: &new,
        recorded: &recall.flows,
        retried_rules: &recall.rules,
        first_run,
    });
    recall.mark_missing(&worlds.live, &mut touched.flows);
    touched
}

/// Whether a namespace is this verifier's concern: what happens between others is other people's.
#[must_use]
pub fn is_watched(
    material: &Material<'_>,
    product: &BTreeSet<String>,
    git: &BTreeSet<PolicyRef>,
    namespace: &str,
) -> bool {
    product.contains(namespace)
        || material.namespaces.may_probe(namespace)
        || git.iter().any(|p| p.namespace.as_deref() == Some(namespace))
}
