//! A second reading of all kinds of policy together: Kubernetes', Calico's, and the network policy API's.
//!
//! Where the first reading asks whether some rule allows a connection, here tiers are asked one after another, in each
//! tier its policies, in each policy its rules:
//!
//! ```text
//! tier (by order) -> policies that apply to the pod in that direction (by order) -> rules (as written)
//!     Allow, Deny: decided        Pass: next tier        Log: next rule
//!     no rule matches: denied at the end of the tier, if a policy applied and the tier does not pass
//! no tier decides: allowed, as the profile of the namespace says
//! ```
//!
//! NetworkPolicy of Kubernetes is a policy of order 1000 in tier `default`, without a deny rule. Documents are read as
//! they are, text by text; nothing is prepared or remembered.

mod admin;
mod calico;
mod entity;
mod expression;
pub(crate) mod json;
mod order;
mod services;
mod world;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};

pub use world::{Unreadable, World};

use crate::{Answer, Direction, End, peers_match, pod, ports_match};
use expression::Asked;
use order::{Policy, Tier};
use world::{Known, known_at};

/// What is asked: one packet that would open a connection.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who sends it.
    pub src: End<'a>,
    /// Whom it is for.
    pub dst: End<'a>,
    /// Its protocol, by number: 6 is TCP, 17 UDP, 132 SCTP, 1 ICMP, 58 ICMPv6.
    pub protocol: u8,
    /// The port that it comes from; none without ports.
    pub source_port: Option<u16>,
    /// The port that it goes to.
    pub port: Option<u16>,
    /// Type and code of an ICMP message.
    pub icmp: Option<(u8, u8)>,
}

/// Some port that clients choose when nobody tells them.
const EPHEMERAL: u16 = 40_000;

impl<'a> Question<'a> {
    /// May `src` open a connection to `port` of `dst`? `protocol` is `TCP`, `UDP` or `SCTP`.
    #[must_use]
    pub fn new(src: End<'a>, dst: End<'a>, protocol: &str, port: u16) -> Self {
        let protocol = match protocol {
            "UDP" => 17,
            "SCTP" => 132,
            _ => 6,
        };
        Self { src, dst, protocol, source_port: Some(EPHEMERAL), port: Some(port), icmp: None }
    }

    /// May `src` send an ICMP message of that type and code (8 and 0 for a ping)?
    #[must_use]
    pub fn icmp(src: End<'a>, dst: End<'a>, kind: u8, code: u8) -> Self {
        let protocol = if src.address().is_ipv4() { 1 } else { 58 };
        Self { src, dst, protocol, source_port: None, port: None, icmp: Some((kind, code)) }
    }
}

/// The answer, and what each side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Both sides together.
    pub answer: Answer,
    /// Whether the source may send, and what says so.
    pub egress: Side,
    /// Whether the destination may receive, and what says so.
    pub ingress: Side,
}

/// One side's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Whether it lets the packet through.
    pub allowed: bool,
    /// What decides.
    pub by: By,
}

/// What decides on one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The end is no pod (or nothing is said of it): policies do not concern it.
    NoPod,
    /// The packet comes from the pod's own node, or from the pod itself.
    Exempt,
    /// No policy applies, or all that apply pass.
    NoPolicy,
    /// A rule, by its place in the policy's list.
    Rule(Name, usize),
    /// Policies of this tier apply, and none of their rules matches.
    EndOfTier(String),
}

/// Which policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// `KubernetesNetworkPolicy` for `networking.k8s.io`, else the document's kind.
    pub kind: String,
    /// None for cluster-wide kinds.
    pub namespace: Option<String>,
    /// Without the prefix that Calico may store it under.
    pub name: String,
    /// The tier that it is in.
    pub tier: String,
}

/// What a rule does with a packet that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Allow,
    Deny,
    Pass,
}

/// Whether Calico's API server accepts a text as a selector of labels.
#[must_use]
pub fn selector_is_valid(text: &str) -> bool {
    expression::holds(text, &Asked { labels: &BTreeMap::new(), all: true, global: None }).is_ok()
}

/// Whether a selector in Calico's language matches labels. One that is refused matches nothing.
#[must_use]
pub fn matches_labels(selector: &str, labels: &BTreeMap<String, String>) -> bool {
    expression::holds(selector, &Asked { labels, all: true, global: None }).unwrap_or(false)
}

/// A question with everything that has the addresses of its two ends.
struct Case<'a> {
    world: &'a World,
    question: &'a Question<'a>,
    source: Vec<Known<'a>>,
    destination: Vec<Known<'a>>,
}

/// Answers a question.
#[must_use]
pub fn verdict(world: &World, question: &Question<'_>) -> Verdict {
    answer(world, &order::tiers(world), question)
}

/// Answers questions, with the tiers put in order once for all of them.
#[must_use]
pub fn verdicts(world: &World, questions: &[Question<'_>]) -> Vec<Verdict> {
    let tiers = order::tiers(world);
    questions.iter().map(|question| answer(world, &tiers, question)).collect()
}

/// Answers whether some policy of any kind applies to the pod at `end` in that direction. No policy applies to an address
/// that is no pod's.
#[must_use]
pub fn isolated(world: &World, end: End<'_>, direction: Direction) -> bool {
    let End::Pod(pod, _) = end else { return false };
    if pod::host_network(pod) || pod::finished(pod) {
        return false;
    }
    let question = Question::new(end, end, "TCP", 1);
    let case = Case { world, question: &question, source: known_at(world, end), destination: known_at(world, end) };
    let tiers = order::tiers(world);
    tiers.iter().flat_map(|tier| &tier.policies).any(|&policy| applies(&case, policy, pod, direction))
}

fn answer(world: &World, tiers: &[Tier<'_>], question: &Question<'_>) -> Verdict {
    let side = |by: By| Side { allowed: true, by };
    for end in [question.src, question.dst] {
        if let End::Pod(pod, _) = end
            && (pod::host_network(pod) || pod::finished(pod))
        {
            return Verdict { answer: Answer::Undefined, egress: side(By::NoPod), ingress: side(By::NoPod) };
        }
    }
    if let (End::Pod(from, _), End::Pod(to, _)) = (question.src, question.dst)
        && pod::same(from, to)
    {
        return Verdict { answer: Answer::Allowed, egress: side(By::Exempt), ingress: side(By::Exempt) };
    }
    let (source, destination) = (known_at(world, question.src), known_at(world, question.dst));
    let case = Case { world, question, source, destination };
    let egress = match question.src {
        End::Pod(pod, _) => walk(&case, tiers, pod, Direction::Egress),
        End::Address(_) => side(By::NoPod),
    };
    let ingress = match question.dst {
        // "the traffic source is the pod's local node".
        End::Pod(pod, _) if pod::node_addresses(pod).contains(&question.src.address()) => side(By::Exempt),
        End::Pod(pod, _) => walk(&case, tiers, pod, Direction::Ingress),
        End::Address(_) => side(By::NoPod),
    };
    let answer = if egress.allowed && ingress.allowed { Answer::Allowed } else { Answer::Denied };
    Verdict { answer, egress, ingress }
}

/// Asks tier after tier.
fn walk(case: &Case<'_>, tiers: &[Tier<'_>], pod: &Pod, direction: Direction) -> Side {
    for tier in tiers {
        match ask(case, tier, pod, direction) {
            Some((Action::Allow, by)) => return Side { allowed: true, by },
            Some((Action::Deny, by)) => return Side { allowed: false, by },
            Some((Action::Pass, _)) | None => {}
        }
    }
    // The profile of every namespace allows all, both ways.
    Side { allowed: true, by: By::NoPolicy }
}

/// Asks the policies of a tier. Nothing, if none of them applies.
fn ask(case: &Case<'_>, tier: &Tier<'_>, pod: &Pod, direction: Direction) -> Option<(Action, By)> {
    let mut applied = false;
    for &policy in &tier.policies {
        if !applies(case, policy, pod, direction) {
            continue;
        }
        applied = true;
        if let Some((rule, action)) = decide(case, policy, direction) {
            return Some((action, By::Rule(order::name(policy), rule)));
        }
    }
    let end = if tier.denies { Action::Deny } else { Action::Pass };
    applied.then(|| (end, By::EndOfTier(tier.name.clone())))
}

fn applies(case: &Case<'_>, policy: Policy<'_>, pod: &Pod, direction: Direction) -> bool {
    match policy {
        Policy::Kubernetes(policy) => crate::selects(policy, pod) && crate::has_type(policy, direction),
        Policy::Calico(policy) => calico::applies(case, policy, direction),
        Policy::Admin(policy) => admin::applies(case.world, policy, pod, direction),
    }
}

fn decide(case: &Case<'_>, policy: Policy<'_>, direction: Direction) -> Option<(usize, Action)> {
    match policy {
        Policy::Kubernetes(policy) => {
            kubernetes_rule(case.world, policy, direction, case.question).map(|rule| (rule, Action::Allow))
        }
        Policy::Calico(policy) => calico::decide(case, policy, direction),
        Policy::Admin(policy) => admin::decide(case.world, policy, direction, case.question),
    }
}

/// The first rule that matches. Which one it is makes no difference: all of them allow.
fn kubernetes_rule(
    world: &World,
    policy: &NetworkPolicy,
    direction: Direction,
    question: &Question<'_>,
) -> Option<usize> {
    let spec = crate::spec(policy);
    let protocol = protocol_name(question.protocol);
    let matches = |peers: Option<&[NetworkPolicyPeer]>, ports: Option<&[NetworkPolicyPort]>, peer: End<'_>| {
        peers_match(&world.plain, policy, peers, peer)
            && ports_match(ports, question.dst, protocol, question.port.unwrap_or_default())
    };
    match direction {
        Direction::Egress => {
            let mut rules = spec.egress.iter().flatten();
            rules.position(|rule| matches(rule.to.as_deref(), rule.ports.as_deref(), question.dst))
        }
        Direction::Ingress => {
            let mut rules = spec.ingress.iter().flatten();
            rules.position(|rule| matches(rule.from.as_deref(), rule.ports.as_deref(), question.src))
        }
    }
}

/// The name of a protocol in the kinds that know only these three.
fn protocol_name(protocol: u8) -> &'static str {
    match protocol {
        6 => "TCP",
        17 => "UDP",
        132 => "SCTP",
        _ => "other",
    }
}
