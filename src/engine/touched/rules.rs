//! Rules of a merge: each of their peers and ports must yield a flow that is seen, and none may open one side only.

use super::{
    Collected, Origin, SilentRule, Touched, TouchedFlow, Views, changed, effect,
    openings::{Opening, Openings, Unit, Units},
    pairs::{Look, Looks},
    parts::{self, Parts},
    pieces::{PeerPart, Pieces},
};
use crate::{
    engine::world::Family,
    model::{Action, Decision, Direction, Finding, FindingRule, RuleRef, Severity, Why},
};

/// Looks at the rules of this merge, at those that waited, and on a first run at all.
pub(super) fn collect(views: &Views<'_>, look: Look, flows: &mut Collected, result: &mut Touched) {
    let input = views.input;
    let retried = || input.retried_rules.iter().filter(|r| !input.changed_rules.contains(&r.rule));
    if !input.first_run && input.changed_rules.is_empty() && retried().next().is_none() {
        return;
    }
    let mut looks = Looks::new(views, look);
    if input.first_run {
        for reference in declared(views) {
            if let Some(openings) = openings(&mut looks, &reference) {
                openings.first_run(views, flows, result);
            }
        }
        return;
    }
    for reference in input.changed_rules {
        let Some(openings) = openings(&mut looks, reference) else { continue };
        let parts = Parts::since_before(views, openings.policy, openings.rule, reference.direction);
        openings.conclude(views, (Why::Rule, &parts), flows, result);
    }
    for retried in retried() {
        let Some(openings) = openings(&mut looks, &retried.rule) else { continue };
        let named = || Parts::named(&openings.pieces, &retried.parts);
        let parts = if retried.parts.is_empty() { Parts::all(&openings.pieces) } else { named() };
        openings.conclude(views, (Why::Retried, &parts), flows, result);
    }
}

/// All rules of Git.
pub(super) fn declared(views: &Views<'_>) -> Vec<RuleRef> {
    let policies = views.input.declared.policies.iter().filter(|p| views.input.git.contains(&p.id));
    let rules = policies.flat_map(|policy| {
        [Direction::Ingress, Direction::Egress].into_iter().flat_map(move |direction| {
            let rules = policy.rules(direction).unwrap_or_default().iter();
            rules.map(move |rule| RuleRef { policy: policy.id.clone(), direction, index: rule.index })
        })
    });
    rules.collect()
}

/// What a rule of Git opens.
pub(super) fn openings<'a>(looks: &mut Looks<'_, 'a>, reference: &RuleRef) -> Option<Openings<'a>> {
    let place = looks.policy(&reference.policy)?;
    let policy = looks.views.input.declared.policies.get(place)?;
    let rules = policy.rules(reference.direction)?;
    let (at, rule) = rules.iter().enumerate().find(|(_, rule)| rule.index == reference.index)?;
    Some(Openings::of(looks, (policy, rule), reference, (place, at)))
}

/// A part of a rule that waits for something to match.
struct Silent {
    /// The positions of its peer or of its port.
    peer: Option<usize>,
    port: Option<usize>,
    key: String,
    reason: String,
}

impl Silent {
    /// Whether it is among these parts.
    fn is_of(&self, pieces: &Pieces<'_>, parts: &Parts) -> bool {
        let among = |wanted: Option<usize>, count: usize| wanted.map_or(0..count, |at| at..at + 1);
        let mut peers = among(self.peer, pieces.peer_count());
        peers.any(|peer| among(self.port, pieces.port_count()).any(|port| parts.is_new(peer, port)))
    }
}

impl Openings<'_> {
    /// No rule is of this merge: one flow shows that it works, and what it lacks is a note.
    fn first_run(&self, views: &Views<'_>, flows: &mut Collected, result: &mut Touched) {
        if self.rule.action != Action::Allow {
            self.decided(views, Why::FirstRun, flows, result);
            return;
        }
        if self.exercise(views, Why::FirstRun, &|o| o.decision != Decision::Denied, flows).is_none() {
            let one_sided = self.count(Opening::is_one_sided);
            if one_sided > 0 {
                result.findings.push(self.partly(one_sided));
            } else if let Some(finding) = self.overruled(views, Why::FirstRun) {
                result.findings.push(finding);
            } else {
                self.nothing(views, Why::FirstRun, flows, result);
                return;
            }
        }
        let (mistakes, _) = self.silent(views);
        result.findings.extend(self.mistake(&mistakes, Why::FirstRun));
    }

    /// A flow for each peer and port that this merge brought, and a missing entry for each that the other side denies.
    fn conclude(&self, views: &Views<'_>, (why, parts): (Why, &Parts), flows: &mut Collected, result: &mut Touched) {
        if self.subject().is_none() {
            self.nothing(views, why, flows, result);
            return;
        }
        if self.rule.action != Action::Allow {
            self.decided(views, why, flows, result);
            return;
        }
        if let Some(finding) = self.overruled(views, why) {
            result.findings.push(finding);
            return;
        }
        self.opened(views, (why, parts), flows, result);
    }

    /// The same for a rule that lets something through.
    fn opened(&self, views: &Views<'_>, (why, parts): (Why, &Parts), flows: &mut Collected, result: &mut Touched) {
        let units = self.units();
        let missing = self.missing(&units, parts);
        for unit in &missing {
            self.one_sided(views, why, &self.denied(|o| shows(self, o, unit)), flows);
        }
        let mut yields = self.show(views, why, parts, flows) || !missing.is_empty();
        for flow in self.unprobeable(views, why, &units, parts) {
            flows.add(flow);
            yields = true;
        }
        let (mistakes, mut waiting) = self.silent(views);
        // A rule that this merge changed is looked at in full: what waited under its content of before is not recorded
        // under that of now.
        waiting.retain(|silent| why == Why::Rule || silent.is_of(&self.pieces, parts));
        yields |= !mistakes.is_empty() || !waiting.is_empty() && !self.all.is_empty();
        if !yields {
            // Nothing of it is new, or nothing at all matches: the rule as a whole.
            self.whole(views, why, flows, result);
            return;
        }
        result.findings.extend(self.mistake(&mistakes, why));
        if !waiting.is_empty() {
            let reasons: Vec<&str> = waiting.iter().map(|silent| silent.reason.as_str()).collect();
            let (rule, reason) = (self.reference.clone(), reasons.join("; "));
            let parts = waiting.iter().map(|silent| silent.key.clone()).collect();
            result.waiting.push(SilentRule { rule, reason, parts });
        }
        let untold = self.denied(|o| !missing.iter().any(|unit| shows(self, o, unit)));
        if !untold.is_empty() {
            self.note(why, self.count(Opening::is_one_sided), result);
        }
    }

    /// Peers with ports of this merge that the other side denies, where it denies the peer whatever the port, or the
    /// port whatever the peer: an entry was forgotten there. A rule for several peers and ports of which each has its
    /// own is no mistake.
    fn missing(&self, units: &Units, parts: &Parts) -> Vec<Unit> {
        let allowed = |family: Family| units.allowed.iter().filter(move |(f, _, _)| *f == family);
        let peer_works = |family: Family, peer: usize| allowed(family).any(|(_, p, _)| *p == peer);
        let port_works =
            |family: Family, port: usize| allowed(family).any(|(_, p, e)| *e == port && self.pieces.is_narrow(*p));
        let forgotten = |(family, peer, port): &Unit| {
            let is_new = parts.is_new(*peer, *port) && self.pieces.is_narrow(*peer);
            let forgotten = is_new && (!peer_works(*family, *peer) || !port_works(*family, *port));
            forgotten && self.iter().any(|o| shows(self, o, &(*family, *peer, *port)))
        };
        units.denied.iter().copied().filter(forgotten).collect()
    }

    /// What the other side denies.
    fn denied(&self, wanted: impl Fn(&Opening) -> bool) -> Vec<&Opening> {
        self.iter().filter(|o| o.is_one_sided() && wanted(o)).collect()
    }

    /// One flow for each peer and each port of this merge that is let through.
    fn show(&self, views: &Views<'_>, why: Why, parts: &Parts, flows: &mut Collected) -> bool {
        let of_peer = |o: &Opening, peer: usize| self.shows(o, peer) && parts.is_new(peer, o.entry);
        let of_port = |o: &Opening, port: usize| o.entry == port && o.peers.iter().any(|p| of_peer(o, *p));
        let mut shown: Vec<&Opening> = Vec::new();
        let mut look = |wanted: &dyn Fn(&Opening) -> bool| {
            if !shown.iter().any(|o| wanted(o)) {
                shown.extend(self.exercise(views, why, &|o| o.decision != Decision::Denied && wanted(o), flows));
            }
        };
        for peer in 0..self.pieces.peer_count() {
            look(&|o| of_peer(o, peer));
        }
        for port in 0..self.pieces.port_count() {
            look(&|o| of_port(o, port));
        }
        !shown.is_empty()
    }

    /// One flow of the `wanted` ones that shows the rule at work: one that is looked at anyway, else the best to probe.
    pub(super) fn exercise(
        &self,
        views: &Views<'_>,
        why: Why,
        wanted: &dyn Fn(&Opening) -> bool,
        flows: &mut Collected,
    ) -> Option<&Opening> {
        let best = || {
            let fitting: Vec<&Opening> = self.iter().filter(|o| wanted(o)).collect();
            best(views, &fitting).map(|opening| (opening, (opening.source, opening.target.clone())))
        };
        let (opening, (source, target)) = self.known(views, flows, wanted).or_else(best)?;
        let mut flow = views.flow(source, target, opening.family, opening.port, why);
        flow.rules.push(self.reference.clone());
        flows.add(flow);
        Some(opening)
    }

    /// What no probe can see: ranges that no configured host shows, and pods in their node's network.
    fn unprobeable(&self, views: &Views<'_>, why: Why, units: &Units, parts: &Parts) -> Vec<TouchedFlow> {
        let mut found = Vec::new();
        for peer in 0..self.pieces.peer_count() {
            let works = |port: usize| units.allowed.iter().any(|(_, p, e)| (*p, *e) == (peer, port));
            let is_open = |port: &usize| parts.is_new(peer, *port) && !works(*port);
            let unseen: Vec<usize> = (0..self.pieces.port_count()).filter(is_open).collect();
            match self.pieces.peer(peer) {
                PeerPart::Pods { .. } | PeerPart::Selected { .. } if self.is_silent(peer) => {
                    let of_set = || self.range(views, why, peer, &unseen);
                    found.extend(self.host(views, why, peer).or_else(of_set));
                }
                // Whatever pods answer, nothing names the world outside.
                PeerPart::Anyone if unseen.len() < self.pieces.port_count() => {}
                PeerPart::Block { .. } | PeerPart::Anyone if !unseen.is_empty() => {
                    found.extend(self.range(views, why, peer, &unseen));
                }
                _ => {}
            }
        }
        found
    }

    fn is_silent(&self, peer: usize) -> bool {
        !self.all.iter().any(|o| o.peers.contains(&peer))
    }

    /// Selectors that match nothing: mistakes in words, and those that wait. A port that no pod declares waits too.
    fn silent(&self, views: &Views<'_>) -> (Vec<String>, Vec<Silent>) {
        let (mut mistakes, mut waiting) = (Vec::new(), Vec::new());
        for peer in (0..self.pieces.peer_count()).filter(|peer| self.is_silent(*peer)) {
            let part = self.pieces.peer(peer);
            if self.host(views, Why::Rule, peer).is_some() || self.pieces.sets(views.input.declared).next().is_some() {
                continue;
            }
            let silence = match part {
                PeerPart::Pods { namespaces, pods } => effect::peer(views, namespaces, pods),
                PeerPart::Selected { text, .. } => effect::Silence::Waits(format!("nothing matches {text}")),
                PeerPart::Anyone | PeerPart::Block { .. } => continue,
            };
            match silence {
                effect::Silence::Mistake(text) => mistakes.push(text),
                effect::Silence::Waits(reason) => {
                    let key = parts::peer_key(part).unwrap_or_default();
                    waiting.push(Silent { peer: Some(peer), port: None, key, reason });
                }
            }
        }
        let undeclared = |entry: &usize| !self.all.is_empty() && !self.all.iter().any(|o| o.entry == *entry);
        for entry in (0..self.pieces.port_count()).filter(undeclared) {
            if let (Some(name), Some(key)) = (self.pieces.port_name(entry), self.pieces.port_key(entry)) {
                let reason = format!("no pod declares port `{name}`");
                waiting.push(Silent { peer: None, port: Some(entry), key, reason });
            }
        }
        (mistakes, waiting)
    }

    /// The other side denies what the rule opens: one flow that says so.
    fn one_sided(&self, views: &Views<'_>, why: Why, denied: &[&Opening], flows: &mut Collected) {
        let ask = |opening: &Opening| flow(views, opening, why);
        let never: Vec<&Opening> =
            denied.iter().copied().filter(|o| ask(o).before != Some(Decision::Allowed)).collect();
        // What was open and lost a side is a closure; beside it an entry may lack all the same.
        let Some(opening) = best(views, if never.is_empty() { denied } else { &never }) else { return };
        let mut flow = ask(opening);
        flow.rules.push(self.reference.clone());
        let count: usize = denied.iter().map(|opening| opening.count).sum();
        flow.covers = count.saturating_sub(1);
        if flow.before == Some(Decision::Allowed) {
            flow.why = Why::Closure;
        } else {
            flow.why = Why::OneSided;
            flow.missing = Some(self.reference.direction.opposite());
        }
        flows.add(flow);
    }

    /// The rule as a whole, of which nothing is new, or nothing works.
    fn whole(&self, views: &Views<'_>, why: Why, flows: &mut Collected, result: &mut Touched) {
        let denied = self.denied(|_| true);
        if self.exercise(views, why, &|o| o.decision != Decision::Denied, flows).is_some() {
            self.note(why, self.count(Opening::is_one_sided), result);
        } else if !denied.is_empty() {
            self.one_sided(views, why, &denied, flows);
        } else {
            self.nothing(views, why, flows, result);
        }
    }

    /// The rule opens nothing towards pods or configured hosts: an address range, or a selector that matches nothing.
    pub(super) fn nothing(&self, views: &Views<'_>, why: Why, flows: &mut Collected, result: &mut Touched) {
        let peers = || 0..self.pieces.peer_count();
        let ports: Vec<usize> = (0..self.pieces.port_count()).collect();
        let range = || peers().find_map(|peer| self.range(views, why, peer, &ports));
        if let Some(flow) = range().or_else(|| peers().find_map(|peer| self.host(views, why, peer))) {
            flows.add(flow);
            return;
        }
        let (mistakes, reasons): (Vec<String>, Vec<String>) = if self.subject().is_some() {
            let (mistakes, waiting) = self.silent(views);
            (mistakes, waiting.into_iter().map(|silent| silent.reason).collect())
        } else {
            match effect::subject(views, &self.policy.subject) {
                effect::Silence::Mistake(text) => (vec![text], Vec::new()),
                effect::Silence::Waits(reason) => (Vec::new(), vec![reason]),
            }
        };
        if !mistakes.is_empty() {
            result.findings.extend(self.mistake(&mistakes, why));
            return;
        }
        let reason = if reasons.is_empty() { "no pod declares its ports".to_owned() } else { reasons.join("; ") };
        result.waiting.push(SilentRule { rule: self.reference.clone(), reason, parts: Vec::new() });
    }

    /// On a first run no rule is of this merge: its mistakes are notes.
    fn mistake(&self, texts: &[String], why: Why) -> Option<Finding> {
        let severity = if why == Why::FirstRun { Severity::Info } else { Severity::Error };
        let finding = || effect::no_effect(self.policy, self.rule, &self.reference, &texts.join("; "));
        (!texts.is_empty()).then(|| Finding { severity, ..finding() })
    }

    /// What the other side denies of a rule that works for others is worth a note, where pods are named.
    fn note(&self, why: Why, denied: usize, result: &mut Touched) {
        let is_narrow = (0..self.pieces.peer_count()).all(|peer| self.pieces.is_narrow(peer));
        if why == Why::Rule && denied > 0 && is_narrow {
            result.findings.push(self.partly(denied));
        }
    }

    fn partly(&self, denied: usize) -> Finding {
        let (side, all) = (self.reference.direction.opposite().word(), self.count(|_| true));
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
}

fn shows(openings: &Openings<'_>, opening: &Opening, (family, peer, port): &Unit) -> bool {
    opening.family == *family && opening.entry == *port && openings.shows(opening, *peer)
}

fn best<'o>(views: &Views<'_>, openings: &[&'o Opening]) -> Option<&'o Opening> {
    openings.iter().copied().min_by_key(|o| {
        let is_unseen = views.unseen(o.source, &o.target, o.port, o.decision).is_some();
        changed::rank_of(views, Origin::Class(o.source), &o.target, o.port, is_unseen)
    })
}

pub(super) fn flow(views: &Views<'_>, opening: &Opening, why: Why) -> TouchedFlow {
    views.flow(opening.source, opening.target.clone(), opening.family, opening.port, why)
}
