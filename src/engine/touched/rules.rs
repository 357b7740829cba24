//! Rules of a merge: each must yield a flow that is seen, and none may open one side only.

use ipnet::IpNet;

use super::{Collected, Origin, SilentRule, Target, Touched, TouchedFlow, Views, changed, effect, ports};
use crate::{
    engine::{
        verdict,
        world::{Class, End, Family},
    },
    model::{
        Decision, Direction, Finding, FindingRule, Peer, Policy, Protocol, Rule, RuleRef, Severity, Subject, Unseen,
        Why,
    },
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
    /// Whether a selector names the peer, and not only a range of addresses that it happens to lie in.
    by_selector: bool,
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
                openings.outside(views, subject);
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
            let (world, end) = (views.input.declared, End::pods(peer_class, family));
            if !verdict::rule_matches_peer(world, self.rule, &end) {
                continue;
            }
            let named = |peer: &Peer| matches!(peer, Peer::Pods { .. }) && world.peer_matches(peer, &end);
            let by_selector = self.rule.peers.iter().flatten().any(named);
            let set = verdict::rule_ports(self.rule, &End::pods(to, family));
            let passed = views.declared.between(source, destination, family);
            for port in ports::representatives(&set, Some(to)) {
                let target = Target::Class(destination);
                let decision = match &passed {
                    None => Decision::Undefined,
                    Some(ports) if ports.contains(port.0, port.1) => Decision::Allowed,
                    Some(_) => Decision::Denied,
                };
                self.all.push(Opening { source, target, family, port, decision, by_selector });
            }
        }
    }

    fn outside(&mut self, views: &Views<'_>, source: usize) {
        for outside in views.input.outside {
            let end = End::outside(outside.address);
            if !verdict::rule_matches_peer(views.input.declared, self.rule, &end) {
                continue;
            }
            let set = verdict::rule_ports(self.rule, &end);
            for &port in outside.ports.iter().filter(|p| set.contains(Protocol::Tcp, **p)) {
                let (target, family) = (Target::Outside(outside.clone()), Family::of(outside.address));
                let decision = super::decision(&views.declared, (source, &target), family, (Protocol::Tcp, port));
                let port = (Protocol::Tcp, port);
                self.all.push(Opening { source, target, family, port, decision, by_selector: false });
            }
        }
    }

    fn conclude(&self, views: &Views<'_>, why: Why, flows: &mut Collected, result: &mut Touched) {
        let (allowed, denied): (Vec<&Opening>, Vec<&Opening>) =
            self.all.iter().partition(|o| o.decision != Decision::Denied);
        // Only a selector says that these very pods are meant: that pods inside an open range are closed is as intended.
        let one_sided: Vec<&Opening> = denied.iter().copied().filter(|o| o.by_selector).collect();
        if allowed.is_empty() && one_sided.is_empty() {
            self.nothing(views, why, flows, result);
            return;
        }
        if allowed.is_empty() {
            self.one_sided(views, why, &one_sided, flows, result);
        } else {
            self.exercise(views, why, &allowed, flows);
            if why == Why::Rule && !denied.is_empty() && self.is_narrow() {
                result.findings.push(self.partly(denied.len(), self.all.len()));
            }
        }
        // A mistake in one peer must not hide behind another that works.
        let mistake = effect::mistaken_peer(views, self.policy, self.rule, &self.reference);
        result.findings.extend(mistake.map(|finding| softened(finding, why)));
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
        let chosen = allowed.iter().find(known).copied().or_else(|| Self::best(views, allowed));
        if let Some(opening) = chosen {
            let mut flow = flow(views, opening, why);
            flow.rules.push(self.reference.clone());
            flows.add(flow);
        }
    }

    fn best<'o>(views: &Views<'_>, openings: &[&'o Opening]) -> Option<&'o Opening> {
        openings.iter().copied().min_by_key(|o| {
            let is_unseen = views.unseen(o.source, &o.target, o.port.0, o.decision).is_some();
            changed::rank_of(views, Origin::Class(o.source), &o.target, o.port, is_unseen)
        })
    }

    fn one_sided(&self, views: &Views<'_>, why: Why, denied: &[&Opening], flows: &mut Collected, result: &mut Touched) {
        if why == Why::FirstRun {
            result.findings.push(self.partly(denied.len(), self.all.len()));
            return;
        }
        let Some(opening) = Self::best(views, denied) else { return };
        let mut flow = flow(views, opening, why);
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
        if let Some(flow) = self.range(views, why).or_else(|| self.host(views, why)) {
            flows.add(flow);
            return;
        }
        match effect::judge(views, self.policy, self.rule, &self.reference) {
            effect::Effect::None(finding) => result.findings.push(softened(*finding, why)),
            effect::Effect::Waits(reason) => {
                result.waiting.push(SilentRule { rule: self.reference.clone(), reason });
            }
        }
    }

    /// The peers are pods in their node's network, which no selector matches: a flow that nobody can verify.
    fn host(&self, views: &Views<'_>, why: Why) -> Option<TouchedFlow> {
        let subject = self.subject(views)?;
        let named = |class: &Class| {
            self.rule.peers.iter().flatten().any(|peer| match peer {
                Peer::Pods { namespaces, pods } => views.input.declared.names(namespaces, pods, class),
                Peer::Block { .. } => false,
            })
        };
        let peer = views.classes().iter().position(|c| c.host_network && named(c))?;
        let (source, destination) = match self.reference.direction {
            Direction::Egress => (subject, peer),
            Direction::Ingress => (peer, subject),
        };
        let to = views.class(destination)?;
        let family = views.families(source, destination).first().copied()?;
        let port = ports::best(&verdict::rule_ports(self.rule, &End::pods(to, family)), Some(to))?;
        let mut flow = views.flow(source, Target::Class(destination), family, port, why);
        flow.rules.push(self.reference.clone());
        Some(flow)
    }

    /// The first class that the policy applies to.
    fn subject(&self, views: &Views<'_>) -> Option<usize> {
        let Subject { namespaces, pods } = &self.policy.subject;
        views.classes().iter().position(|c| views.input.declared.selects(namespaces, pods, c))
    }

    fn range(&self, views: &Views<'_>, why: Why) -> Option<TouchedFlow> {
        let blocks = self.rule.peers.iter().flatten().find_map(|peer| match peer {
            Peer::Block { cidr, except } => representative(*cidr, except),
            Peer::Pods { .. } => None,
        });
        let any = || if self.rule.peers.is_none() { "0.0.0.0/0".parse().ok() } else { None };
        let net = blocks.or_else(any)?;
        let subject = self.subject(views)?;
        let (to, family) = (End::outside(net.network()), Family::of(net.network()));
        match self.reference.direction {
            Direction::Egress => {
                let port = ports::best(&verdict::rule_ports(self.rule, &to), None)?;
                let mut flow = views.flow(subject, Target::Range(net), family, port, why);
                flow.rules.push(self.reference.clone());
                Some(flow)
            }
            Direction::Ingress => {
                let class = views.class(subject)?;
                let set = verdict::rule_ports(self.rule, &End::pods(class, family));
                let flow = from_range(net, subject, ports::best(&set, Some(class))?, why);
                Some(TouchedFlow { rules: vec![self.reference.clone()], ..flow })
            }
        }
    }
}

fn flow(views: &Views<'_>, opening: &Opening, why: Why) -> TouchedFlow {
    views.flow(opening.source, opening.target.clone(), opening.family, opening.port, why)
}

/// A flow that is allowed from outside the cluster, where nothing can be probed from.
pub(super) fn from_range(net: IpNet, destination: usize, port: (Protocol, u16), why: Why) -> TouchedFlow {
    let reason = format!("nothing to probe from lies in {net}: it is outside the cluster");
    TouchedFlow {
        source: Origin::Range(net),
        target: Target::Class(destination),
        family: Family::of(net.network()),
        protocol: port.0,
        port: port.1,
        why,
        before: None,
        declared: Decision::Allowed,
        live: Decision::Allowed,
        missing: None,
        rules: Vec::new(),
        covers: 0,
        unseen: Some((Unseen::Unprobeable, reason)),
        note: None,
    }
}

/// The block, or where its first address is an exception the first part of it without any: verdicts about a range are
/// asked of its first address.
fn representative(cidr: IpNet, except: &[IpNet]) -> Option<IpNet> {
    if !except.iter().any(|net| net.contains(&cidr.network())) {
        return Some(cidr);
    }
    if except.iter().any(|net| net.contains(&cidr)) {
        return None;
    }
    let halves = cidr.subnets(cidr.prefix_len().saturating_add(1)).ok()?;
    halves.into_iter().find_map(|half| representative(half, except))
}

/// On a first run no rule is of this merge: its mistakes are notes.
fn softened(finding: Finding, why: Why) -> Finding {
    let severity = if why == Why::FirstRun { Severity::Info } else { finding.severity };
    Finding { severity, ..finding }
}
