//! What is wrong with policies as they are written, before they are merged.
//!
//! Whatever a run would find in them without a packet is found here by the same code: one-sided rules, rules that match
//! nothing, and namespaces without a baseline. The rest is about rules by themselves: see [`Rule`].

mod order;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::{
    allowlist::{Kind, Told},
    baseline, blame,
    touched::{self, ABSENT, Origin as From, SilentRule, Target, TouchedFlow},
    verdict,
    world::{End, World, families},
};
use crate::model::{Direction, Entry, Origin, Policy, PolicyDocument, RuleRef, Severity};

/// What a finding is about; the stable word in JSON and SARIF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A rule opens one side of flows that the other side denies.
    MissingEntry,
    /// A rule or policy matches nothing, or another rule decides before it.
    NoEffect,
    /// A namespace without an effective default-deny policy.
    Baseline,
    /// A rule that another rule of the same policy makes unnecessary.
    Shadowed,
    /// Content that the API takes and that changes nothing.
    Ignored,
    /// A rule that lets through more than anybody can mean.
    Broad,
    /// Policies of the same order that decide a flow otherwise.
    AmbiguousOrder,
    /// A policy that no rendered kustomization holds, so that Flux does not apply it.
    NotRendered,
    /// An intended flow is not open.
    AllowlistMissing,
    /// Flows are open that are not intended.
    AllowlistExcess,
    /// What the list of intended flows names is not known here.
    AllowlistUntold,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 11] = [
        Self::MissingEntry,
        Self::NoEffect,
        Self::Baseline,
        Self::Shadowed,
        Self::Ignored,
        Self::Broad,
        Self::AmbiguousOrder,
        Self::NotRendered,
        Self::AllowlistMissing,
        Self::AllowlistExcess,
        Self::AllowlistUntold,
    ];

    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::MissingEntry => "missing-entry",
            Self::NoEffect => "no-effect",
            Self::Baseline => "baseline",
            Self::Shadowed => "shadowed",
            Self::Ignored => "ignored",
            Self::Broad => "broad",
            Self::AmbiguousOrder => "ambiguous-order",
            Self::NotRendered => "not-rendered",
            Self::AllowlistMissing => "allowlist-missing",
            Self::AllowlistExcess => "allowlist-excess",
            Self::AllowlistUntold => "allowlist-untold",
        }
    }

    /// What it means, for people.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::MissingEntry => "A rule opens one side of flows that the other side denies.",
            Self::NoEffect => "A rule matches nothing, or another rule decides before it.",
            Self::Baseline => "A namespace has no default-deny policy in effect.",
            Self::Shadowed => "Another rule of the same policy makes a rule unnecessary.",
            Self::Ignored => "The API takes what is written here, and it changes nothing.",
            Self::Broad => "A rule lets through more than its policy can mean.",
            Self::AmbiguousOrder => "Policies of the same order decide a flow otherwise.",
            Self::NotRendered => "No kustomization holds a policy, so that it is not applied.",
            Self::AllowlistMissing => "A flow that the allow-list intends is not open.",
            Self::AllowlistExcess => "Flows are open that the allow-list does not intend.",
            Self::AllowlistUntold => "What the allow-list names is not known, and not looked at.",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Where it stands.
    pub origin: Option<Origin>,
    /// What it is about.
    pub rule: Rule,
    /// How much it weighs: errors are to keep a change from being merged.
    pub severity: Severity,
    /// What is wrong and what to do, in one line.
    pub message: String,
    /// What can be pasted.
    pub fix: Option<Entry>,
}

/// What is looked at.
pub struct Input<'a> {
    /// The policies over the workloads.
    pub world: &'a World,
    /// Their documents.
    pub documents: &'a [PolicyDocument],
    /// Namespaces that must hold the baseline, where that is known; else those that have policies should.
    pub product: Option<&'a BTreeSet<String>>,
    /// Policies that no kustomization holds, where there are any kustomizations.
    pub not_rendered: &'a [PolicyDocument],
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Linted {
    /// Everything that is wrong, by its place.
    pub findings: Vec<Finding>,
    /// Rules that are about pods of which the input has none: nothing can be told of what they match.
    pub untold: usize,
}

/// Looks at everything.
#[must_use]
pub fn lint(input: &Input<'_>) -> Linted {
    // Without any workload nothing says what a rule matches.
    let Linted { mut findings, untold } =
        if input.world.classes.is_empty() { Linted::default() } else { one_sided(input) };
    findings.extend(baselines(input));
    for policy in &input.world.policies {
        findings.extend(rules::of_policy(policy));
    }
    findings.extend(input.documents.iter().flat_map(rules::of_document));
    findings.extend(order::ambiguous(input.world));
    findings.extend(input.not_rendered.iter().map(not_rendered));
    findings.sort();
    findings.dedup();
    Linted { findings, untold }
}

impl Linted {
    /// Adds what is told of a list of intended flows.
    pub fn add(&mut self, told: Vec<Told>) {
        self.findings.extend(told.into_iter().map(intended));
        self.findings.sort();
    }
}

fn intended(told: Told) -> Finding {
    let Told { kind, message, origin, fix, .. } = told;
    let (rule, severity) = match kind {
        Kind::Missing => (Rule::AllowlistMissing, Severity::Error),
        Kind::Excess => (Rule::AllowlistExcess, Severity::Error),
        Kind::Untold => (Rule::AllowlistUntold, Severity::Warning),
    };
    Finding { origin, rule, severity, message, fix }
}

/// All rules, as a merge of them would be looked at.
fn one_sided(input: &Input<'_>) -> Linted {
    let world = input.world;
    let ids = world.policies.iter().map(|policy| policy.id.clone()).collect();
    let found = touched::touched(&touched::Input {
        before: None,
        declared: world,
        live: world,
        changed_rules: &world.policies.iter().flat_map(references).collect::<Vec<_>>(),
        outside: &[],
        names: &BTreeSet::new(),
        known: &[],
        git: &ids,
        probe_from: &|_| true,
        new_namespaces: &BTreeSet::new(),
        recorded: &[],
        retried_rules: &[],
        first_run: false,
        sweep: None,
    });
    let mut findings: Vec<Finding> = found.flows.iter().filter_map(|flow| missing(input, flow)).collect();
    // What denies a part of what a rule opens is a note to a run; the flows that lack an entry are told above.
    let mistakes = found.findings.iter().filter(|finding| finding.severity == Severity::Error);
    findings.extend(mistakes.map(|finding| Finding {
        origin: finding.origin.clone(),
        rule: Rule::NoEffect,
        severity: Severity::Error,
        message: finding.message.clone(),
        fix: None,
    }));
    let is_absent = |silent: &&SilentRule| silent.reason.split("; ").all(|part| part.starts_with(ABSENT));
    let (absent, silent): (Vec<_>, Vec<_>) = found.waiting.iter().partition(is_absent);
    let silent = silent.into_iter().filter(|silent| !is_about_itself(world, &silent.rule));
    findings.extend(silent.map(|silent| Finding {
        origin: origin_of(world, &silent.rule),
        rule: Rule::NoEffect,
        severity: Severity::Warning,
        message: format!("{}: {}: add what it is for to the input, or correct the rule", silent.rule, silent.reason),
        fix: None,
    }));
    Linted { findings, untold: absent.len() }
}

/// Whether a rule lets pods of a workload through to others of it: of those a set of files shows one, so that no flow
/// is asked about.
fn is_about_itself(world: &World, reference: &RuleRef) -> bool {
    let policy = world.policies.iter().find(|policy| policy.id == reference.policy);
    let rules = policy.and_then(|policy| policy.rules(reference.direction)).unwrap_or_default();
    let Some((policy, rule)) = policy.zip(rules.iter().find(|rule| rule.index == reference.index)) else {
        return false;
    };
    let subjects = world.classes.iter().filter(|class| world.applies_to(&policy.subject, class));
    let ends =
        subjects.flat_map(|class| families(class, class).into_iter().map(move |family| End::pods(class, family)));
    ends.into_iter().any(|end| !verdict::rule_reach(world, rule, reference.direction, (end, end)).at_most().is_empty())
}

fn references(policy: &Policy) -> impl Iterator<Item = RuleRef> {
    [Direction::Ingress, Direction::Egress].into_iter().flat_map(move |direction| {
        let rules = policy.rules(direction).unwrap_or_default().iter();
        rules.map(move |rule| RuleRef { policy: policy.id.clone(), direction, index: rule.index })
    })
}

fn origin_of(world: &World, reference: &RuleRef) -> Option<Origin> {
    let policy = world.policies.iter().find(|policy| policy.id == reference.policy)?;
    let rule = policy.rules(reference.direction)?.iter().find(|rule| rule.index == reference.index);
    rule.and_then(|rule| rule.origin.clone()).or_else(|| policy.origin.clone())
}

/// A flow that a rule opens on one side.
fn missing(input: &Input<'_>, flow: &TouchedFlow) -> Option<Finding> {
    let (side, rule) = (flow.missing?, flow.rules.first()?);
    let (From::Class(source), world) = (flow.source, input.world) else { return None };
    let from = End::pods(world.classes.get(source)?, flow.family);
    let to = match &flow.target {
        Target::Class(index) => End::pods(world.classes.get(*index)?, flow.family),
        Target::Outside(_) | Target::Range(_) => return None,
    };
    let ends = blame::Flow { from, to, protocol: flow.protocol, port: flow.port, side };
    let fix = blame::entries(world, input.documents, ends, Some(rule)).into_iter().next();
    let name = |end: &End<'_>| end.class.map(|class| class.workload.to_string()).unwrap_or_default();
    let todo = match &fix {
        Some(Entry { file: Some(file), line, .. }) => {
            let line = line.map(|line| format!(":{line}")).unwrap_or_default();
            format!("add the entry to {file}{line}")
        }
        Some(_) => "add the policy".to_owned(),
        None => format!("open {} there too, or take this rule back", side.word()),
    };
    let more = if flow.covers > 0 { format!(" and {} more like it", flow.covers) } else { String::new() };
    let flow_text = format!("{} → {}:{}/{}", name(&from), name(&to), flow.port, flow.protocol);
    Some(Finding {
        origin: origin_of(world, rule),
        rule: Rule::MissingEntry,
        severity: Severity::Error,
        message: format!("{rule} opens {flow_text}{more}, {} denies it: {todo}", side.word()),
        fix,
    })
}

fn baselines(input: &Input<'_>) -> Vec<Finding> {
    let with_policies: BTreeSet<String> = input.documents.iter().filter_map(|d| d.id.namespace.clone()).collect();
    let (namespaces, severity) = match input.product {
        Some(product) => (product, Severity::Error),
        None => (&with_policies, Severity::Warning),
    };
    let one = |namespace: &String| {
        let missing = baseline::missing(input.world, namespace);
        if missing.is_empty() {
            return None;
        }
        let here = |document: &&PolicyDocument| document.id.namespace.as_ref() == Some(namespace);
        let origin = input.documents.iter().find(here).and_then(|document| document.origins.document.clone());
        let words = baseline::words(&missing);
        Some(Finding {
            rule: Rule::Baseline,
            severity,
            message: format!(
                "namespace {namespace} has no default-deny policy for {words}: pods that no other policy selects are open there; add the baseline"
            ),
            fix: Some(baseline::entry(input.world, namespace, origin.as_ref().map(|origin| origin.file.clone()))),
            origin,
        })
    };
    namespaces.iter().filter_map(one).collect()
}

fn not_rendered(document: &PolicyDocument) -> Finding {
    Finding {
        origin: document.origins.document.clone(),
        rule: Rule::NotRendered,
        severity: Severity::Error,
        message: format!(
            "{} is in no kustomization: add its file to `resources`, or Flux does not apply it",
            document.id
        ),
        fix: None,
    }
}
