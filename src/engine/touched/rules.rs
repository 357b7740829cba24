//! Rules of a merge: each must yield a flow that is seen, and none may open one side only.

use super::{Collected, Origin, SilentRule, Target, Touched, TouchedFlow, Views, changed, effect, ports};
use crate::{
    engine::{
        verdict,
        world::{End, Family},
    },
    model::{Decision, Direction, Finding, FindingRule, Peer, Policy, Protocol, Rule, RuleRef, Severity, Unseen, Why},
};

/// Looks at the rules of this merge, at those that waited, and on a first run at all.
pub(super) fn collect(views: &Views<'_>, flows: &mut Collected, result: &mut Touched) {
    for (reference, why) in wanted(views) {
        let Some((policy, rule)) = find(views, &reference) else { continue };
        let openings = Openings::of(views, policy, rule, &reference);
        openings.conclude(views, why, flows, result);
    }
}

fn wanted(views: &Views<'_>) -> Vec<(RuleRef, Why)> {
    let input = views.input;
    let mut wanted: Vec<(RuleRef, Why)> = Vec::new();
    if !input.first_run {
        wanted.extend(input.changed_rules.iter().map(|r| (r.clone(), Why::Rule)));
        wanted.extend(
            input.retried_rules.iter().filter(|r| !input.changed_rules.contains(r)).map(|r| (r.clone(), Why::Retried)),
        );
        return wanted;
    }
    for policy in input.declared.policies.iter().filter(|p| input.git.contains(&p.id)) {
        for direction in [Direction::Ingress, Direction::Egress] {
            let rules = policy.rules(direction).unwrap_or_default();
            let named = rules.iter().map(|r| RuleRef { policy: policy.id.clone(), direction, index: r.index });
            wanted.extend(named.map(|r| (r, Why::FirstRun)));
        }
    }
    wanted
}

fn find<'a>(views: &Views<'a>, reference: &RuleRef) -> Option<(&'a Policy, &'a Rule)> {
    let policy = views.input.declared.policies.iter().find(|p| p.id == reference.policy)?;
    let rule = policy.rules(reference.direction)?.iter().find(|r| r.index == reference.index)?;
    Some((policy, rule))
}

/// A flow that a rule opens on its side.
#[derive(Clone)]
struct Opening {
    source: usize,
    target: Target,
    family: Family,
    port: (Protocol, u16),
    decision: Decision,
}

/// All flows that a rule opens on its side, and what the other side says.
struct Openings<'p> {
    reference: RuleRef,
    policy: &'p Policy,
    rule: &'p Rule,
    all: Vec<Opening>,
}

impl<'p> Openings<'p> {
    fn of(views: &Views<'_>, policy: &'p Policy, rule: &'p Rule, reference: &RuleRef) -> Self {
        let mut openings = Self { reference: reference.clone(), policy, rule, all: Vec::new() };
        let world = views.input.declared;
        let selected = |index: &usize| {
            let class = views.class(*index);
            class.is_some_and(|c| world.selects(&policy.subject.namespaces, &policy.subject.pods, c))
        };
        for subject in (0..views.classes().len()).filter(selected) {
            for peer in 0..views.classes().len() {
                openings.between(views, subject, peer);
            }
            if reference.direction == Direction::Egress {
                openings.to_outside(views, subject);
            }
        }
        openings
    }

    fn between(&mut self, views: &Views<'_>, subject: usize, peer: usize) {
        let (source, destination) = match self.reference.direction {
            Direction::Egress => (subject, peer),
            Direction::Ingress => (peer, subject),
        };
        if !views.is_pair(source, destination) {
            return;
        }
        for family in views.families(source, destination) {
            let (Some(peer_class), Some(to)) = (views.class(peer), views.class(destination)) else { continue };
            if !verdict::rule_matches_peer(views.input.declared, self.rule, &End::pods(peer_class, family)) {
                continue;
            }
            let set = verdict::rule_ports(self.rule, &End::pods(to, family));
            for port in ports::representatives(&set, Some(to)) {
                let target = Target::Class(destination);
                let decision = views.decision(&views.declared, (source, &target), family, port);
                self.all.push(Opening { source, target, family, port, decision });
            }
        }
    }

    fn to_outside(&mut self, views: &Views<'_>, source: usize) {
        for outside in views.input.outside {
            let end = End::outside(outside.address);
            if !verdict::rule_matches_peer(views.input.declared, self.rule, &end) {
                continue;
            }
            let set = verdict::rule_ports(self.rule, &end);
            for &port in outside.ports.iter().filter(|p| set.contains(Protocol::Tcp, **p)) {
                let (target, family) = (Target::Outside(outside.clone()), Family::of(outside.address));
                let decision = views.decision(&views.declared, (source, &target), family, (Protocol::Tcp, port));
                self.all.push(Opening { source, target, family, port: (Protocol::Tcp, port), decision });
            }
        }
    }

    fn conclude(&self, views: &Views<'_>, why: Why, flows: &mut Collected, result: &mut Touched) {
        let (allowed, denied): (Vec<&Opening>, Vec<&Opening>) =
            self.all.iter().partition(|o| o.decision != Decision::Denied);
        if self.all.is_empty() {
            self.nothing(views, why, flows, result);
        } else if allowed.is_empty() {
            self.one_sided(views, why, &denied, flows, result);
        } else {
            self.exercise(views, why, &allowed, flows);
            if why == Why::Rule && !denied.is_empty() && self.is_narrow() {
                result.findings.push(self.partly(denied.len(), self.all.len()));
            }
        }
    }

    /// One flow that shows the rule at work: one that is looked at anyway, else the best to probe.
    fn exercise(&self, views: &Views<'_>, why: Why, allowed: &[&Opening], flows: &mut Collected) {
        let known = |o: &&&Opening| {
            flows.iter().any(|f| {
                f.source == Origin::Class(o.source)
                    && f.target == o.target
                    && (f.protocol, f.port) == o.port
                    && f.unseen.is_none()
            })
        };
        let chosen = allowed.iter().find(known).copied().or_else(|| self.best(views, allowed));
        if let Some(opening) = chosen {
            let mut flow = self.flow(views, opening, why);
            flow.rules.push(self.reference.clone());
            flows.add(flow);
        }
    }

    fn best<'o>(&self, views: &Views<'_>, openings: &[&'o Opening]) -> Option<&'o Opening> {
        openings.iter().copied().min_by_key(|o| changed::rank(views, &self.flow(views, o, Why::Rule)))
    }

    fn flow(&self, views: &Views<'_>, opening: &Opening, why: Why) -> TouchedFlow {
        views.flow(opening.source, opening.target.clone(), opening.family, opening.port, why)
    }

    fn one_sided(&self, views: &Views<'_>, why: Why, denied: &[&Opening], flows: &mut Collected, result: &mut Touched) {
        if why == Why::FirstRun {
            result.findings.push(self.partly(denied.len(), self.all.len()));
            return;
        }
        let Some(opening) = self.best(views, denied) else { return };
        let mut flow = self.flow(views, opening, why);
        flow.rules.push(self.reference.clone());
        flow.covers = denied.len() - 1;
        if flow.before == Some(Decision::Allowed) {
            flow.why = Why::Closure;
        } else {
            flow.why = Why::OneSided;
            flow.missing = Some(self.reference.direction.opposite());
        }
        flows.add(flow);
    }

    /// A peer that names no pods, or all namespaces, opens towards everybody: that others deny is as intended.
    fn is_narrow(&self) -> bool {
        let wide = |peer: &Peer| match peer {
            Peer::Block { .. } => true,
            Peer::Pods { namespaces, .. } => {
                matches!(namespaces, crate::model::NamespaceMatch::Selected(selector) if selector.is_everything())
            }
        };
        self.rule.peers.as_ref().is_some_and(|peers| !peers.iter().any(wide))
    }

    fn partly(&self, denied: usize, all: usize) -> Finding {
        let side = self.reference.direction.opposite().word();
        Finding {
            key: format!("one-sided/{}", self.reference),
            rule: FindingRule::MissingEntry,
            severity: Severity::Info,
            message: format!("{} opens {all} flows on its side, {side} denies {denied} of them", self.reference),
            namespace: self.policy.id.namespace.clone(),
            origin: self.rule.origin.clone(),
            since: None,
            fix: None,
            new: true,
            accepted_until: None,
            about: Some(self.reference.clone()),
        }
    }

    /// The rule opens nothing towards pods or configured hosts: an address range, or a selector that matches nothing.
    fn nothing(&self, views: &Views<'_>, why: Why, flows: &mut Collected, result: &mut Touched) {
        if let Some(flow) = self.range(views, why) {
            flows.add(flow);
            return;
        }
        match effect::judge(views, self.policy, self.rule, &self.reference) {
            effect::Effect::None(mut finding) => {
                if why == Why::FirstRun {
                    finding.severity = Severity::Info;
                }
                result.findings.push(finding);
            }
            effect::Effect::Waits(reason) => {
                result.waiting.push(SilentRule { rule: self.reference.clone(), reason });
            }
        }
    }

    fn range(&self, views: &Views<'_>, why: Why) -> Option<TouchedFlow> {
        let world = views.input.declared;
        let blocks = self.rule.peers.iter().flatten().find_map(|peer| match peer {
            Peer::Block { cidr, .. } => Some(*cidr),
            Peer::Pods { .. } => None,
        });
        let any = || if self.rule.peers.is_none() { "0.0.0.0/0".parse().ok() } else { None };
        let net = blocks.or_else(any)?;
        let subject = (0..views.classes().len()).find(|i| {
            views
                .class(*i)
                .is_some_and(|c| world.selects(&self.policy.subject.namespaces, &self.policy.subject.pods, c))
        })?;
        let to = End { class: None, address: Some(net.network()) };
        match self.reference.direction {
            Direction::Egress => {
                let port = ports::best(&verdict::rule_ports(self.rule, &to), None)?;
                let mut flow = views.flow(subject, Target::Range(net), Family::of(net.network()), port, why);
                flow.rules.push(self.reference.clone());
                Some(flow)
            }
            Direction::Ingress => {
                let class = views.class(subject)?;
                let set = verdict::rule_ports(self.rule, &End::pods(class, Family::V4));
                let port = ports::best(&set, Some(class))?;
                let reason = format!("nothing to probe from lies in {net}: it is outside the cluster");
                Some(TouchedFlow {
                    source: Origin::Range(net),
                    target: Target::Class(subject),
                    unseen: Some((Unseen::Unprobeable, reason)),
                    before: None,
                    declared: Decision::Allowed,
                    live: Decision::Allowed,
                    rules: vec![self.reference.clone()],
                    ..views.flow(subject, Target::Class(subject), Family::V4, port, why)
                })
            }
        }
    }
}
