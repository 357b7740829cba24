//! Git, live and before, side by side: what differs, and which flows have to be seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    findings, intended,
    recall::{self, Recall},
    relabelled,
};
use crate::{
    config::{Config, Destination, Goal, Host, NamespaceSet},
    engine::{
        accept::Acceptances,
        drift::{self, DriftContext, DriftOutcome},
        matrix::{Difference, Matrix},
        normal,
        read::{self, PolicySet},
        surroundings::Surroundings,
        touched::{self, Outside, Touched},
        world::{self, Then, World},
    },
    model::{
        Checked, Declared, Drift, DriftClass, Finding, KustomizationRef, LivePolicy, NameRecord, ObjectRef, Policy,
        PolicyDocument, PolicyRef, Protocol, RecordedFlow, RuleRef, Severity, Snapshot, State, TieRule, Trigger,
        api_family,
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
    /// Set where it looks at everything: its number.
    pub sweep: Option<u64>,
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
    /// The version of Calico that runs.
    pub calico: Option<String>,
    /// What the state keeps of names.
    pub names: Vec<NameRecord>,
}

/// Compares.
#[must_use]
pub fn compare(material: &Material<'_>) -> Comparison {
    let product = material.namespaces.product(material.snapshot, &material.state.product_namespaces);
    let git: Vec<PolicyDocument> = material.declared.iter().flat_map(|d| d.policies.iter().cloned()).collect();
    // What has no reader is not listed live either: it is named as not understood, and is no drift.
    let understood: Vec<PolicyDocument> = git.iter().filter(|d| read::understands(d)).cloned().collect();
    let live: Vec<LivePolicy> = material.snapshot.objects().cloned().collect();
    let outcome = drift::drift(&understood, &live, &context(material, &product));
    let documents: Vec<PolicyDocument> = git.iter().chain(&outcome.others).cloned().collect();
    let accepted = Accepted::of(&outcome, material);
    let mut findings = Vec::new();
    let tiers = tiers(material);
    let declared_set = read_all(accepted.apply(&documents).iter(), &tiers, &mut findings);
    let live_set = read_all(material.snapshot.documents(), &tiers, &mut findings);
    let old = old_set(material.state, &tiers);
    let worlds = Worlds::new(material, declared_set, live_set, old);
    let drift = counted(outcome.clone(), &documents, (&worlds, &tiers));
    findings.extend(findings::without_probes(material, &product, &worlds.live));
    findings.extend(intended::look(material, &worlds.declared, &documents));
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
        calico: material.snapshot.calico.version.clone(),
        names: material.state.names.clone(),
    }
}

impl Comparison {
    /// Whether a policy of Git's or a live one looks at ServiceAccounts.
    #[must_use]
    pub fn looks_at_accounts(&self) -> bool {
        self.declared.looks_at_accounts() || self.live.looks_at_accounts()
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
    fn new(material: &Material<'_>, declared: PolicySet, live: PolicySet, old: Option<PolicySet>) -> Self {
        let all: Vec<&PolicySet> = [&declared, &live].into_iter().chain(&old).collect();
        let policies: Vec<&Policy> = all.iter().flat_map(|set| &set.policies).collect();
        let sets = all.iter().flat_map(|set| set.sets.iter().cloned()).collect();
        let ties = material.snapshot.calico.ties();
        let every = Surroundings::of(material.snapshot, sets, ties);
        let classes = world::classes_among(&every, material.snapshot, &policies);
        let namespaces: BTreeMap<_, _> =
            material.snapshot.namespaces.iter().map(|(name, info)| (name.clone(), info.labels.clone())).collect();
        let base = World::among(every, namespaces, classes, Vec::new());
        let checked = material.state.checked.as_ref();
        // An upgrade of Calico may turn policies of the same order round.
        let ties_then = checked.map_or(ties, |checked| checked.calico.as_deref().map_or(ties, TieRule::of_version));
        let old_over_now = old.map(|old| base.with_set(old, ties_then));
        let before = checked.zip(old_over_now.as_ref()).map(|(checked, world)| {
            let Checked { namespaces, classes, accounts, .. } = checked;
            world.with_labels_of(&Then { namespaces, classes, accounts })
        });
        let (live, declared) = (base.with_set(live, ties), base.with_set(declared, ties));
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

/// What the last check took for declared.
fn old_set(state: &State, tiers: &[PolicyDocument]) -> Option<PolicySet> {
    let checked = state.checked.as_ref()?;
    let documents = checked.kustomizations.iter().flat_map(|k| &k.policies).chain(&checked.others);
    // The live form of an accepted drift stands in for Git's.
    let documents: BTreeMap<_, _> = documents.map(|d| ((&d.api_version, &d.id), d)).collect();
    // They were read when they were written; what an older version read and this one does not is left out of before,
    // so that its flows count as changed.
    Some(read_all(documents.into_values(), tiers, &mut Vec::new()))
}

/// The live tiers: policies of Git may name one that Git does not have.
fn tiers(material: &Material<'_>) -> Vec<PolicyDocument> {
    material.snapshot.calico.tiers.iter().map(|tier| tier.document.clone()).collect()
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
fn read_all<'d>(
    documents: impl IntoIterator<Item = &'d PolicyDocument>,
    tiers: &[PolicyDocument],
    findings: &mut Vec<Finding>,
) -> PolicySet {
    let mut known = BTreeSet::new();
    let mut is_new = |document: &PolicyDocument| known.insert((group(document).to_owned(), document.id.clone()));
    let understood = documents.into_iter().filter(|d| read::understands(d)).cloned();
    // Two Kustomizations may declare one policy: both are read, as both are applied.
    let (mut all, again): (Vec<_>, Vec<_>) = understood.partition(|document| is_new(document));
    all.extend(tiers.iter().filter(|tier| is_new(tier)).cloned());
    let (mut set, unreadable) = read::readable(&all);
    findings.extend(unreadable.iter().map(findings::unreadable));
    if !again.is_empty() {
        set.policies.extend(read_all(&again, tiers, findings).policies);
    }
    set
}

/// The API group, one for both of Calico's.
fn group(document: &PolicyDocument) -> &str {
    api_family(document.api_version.split_once('/').map_or("", |(group, _)| group))
}

/// Fills in how many workload pairs each drift changes; an extra policy that changes none is info.
fn counted(
    outcome: DriftOutcome,
    documents: &[PolicyDocument],
    (worlds, tiers): (&Worlds, &[PolicyDocument]),
) -> Vec<Drift> {
    let ties = worlds.declared.surroundings.ties;
    let world =
        |documents: &[PolicyDocument]| worlds.declared.with_set(read_all(documents, tiers, &mut Vec::new()), ties);
    let declared = world(documents);
    let base = Matrix::new(&declared);
    let mut result = outcome.drift;
    for (drift, swap) in result.iter_mut().zip(&outcome.swaps).take(COUNTED_DRIFTS) {
        drift.flows = differing_pairs(&base, &Matrix::new(&world(&swap.apply(documents))));
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
                keys.insert(RuleRef { policy: document.id.clone(), direction, index }, normal::key_of(document, rule));
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
        names: &material.config.destinations.iter().flat_map(Destination::names).cloned().collect(),
        known: &known_addresses(material.config),
        git: ids,
        probe_from: &may_probe,
        new_namespaces: &new,
        recorded: &recall.flows,
        retried_rules: &recall.rules,
        first_run,
        sweep: material.sweep,
    });
    recall.mark_missing(&worlds.live, &mut touched.flows);
    touched
}

/// Addresses that expectations name, with their ports.
fn known_addresses(config: &Config) -> Vec<(IpAddr, u16)> {
    let known = |goal: &Goal| match goal.host {
        Host::Address(address) if goal.protocol == Protocol::Tcp => Some((address, goal.port)),
        Host::Address(_) | Host::Name(_) => None,
    };
    config.expectations.iter().filter_map(|expectation| known(&expectation.to)).collect()
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
