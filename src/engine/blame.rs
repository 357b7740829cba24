//! The entry to add where one side of a flow is missing: which policy, which line, and the text in that file's style.
//!
//! The entry opens what is missing and as little else as that file's style permits: it goes into the policy that
//! isolates the pod and is most about it, and it names the peer by labels that do not change with the next rollout.

use std::{net::IpAddr, sync::Arc};

use serde_json::Value;

use crate::{
    engine::normal::{is_network_policy, rules},
    model::{CALICO_API, Direction, Entry, Labels, Origin, PolicyDocument, Protocol, Selector},
};

mod flow;
mod labels;
mod place;
#[cfg(test)]
mod tests;
mod write;
#[cfg(test)]
mod yaml;

pub use flow::{Flow, beside, entries};
use labels::Keys;
use place::{Place, Site};
use write::{Style, Wanted};

/// Pods at one end of a flow.
#[derive(Debug, Clone, Copy)]
pub struct Pods<'a> {
    /// Their namespace.
    pub namespace: &'a str,
    /// The namespace's labels.
    pub namespace_labels: &'a Labels,
    /// Their labels.
    pub labels: &'a Labels,
}

/// The end that the entry has to let through.
#[derive(Debug, Clone, Copy)]
pub enum Peer<'a> {
    /// Pods.
    Pods(Pods<'a>),
    /// An address that no pod has.
    Outside(IpAddr),
}

/// The port that the entry has to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port<'a> {
    /// By number.
    Number(u16),
    /// By the name that the destination pod declares.
    Name(&'a str),
}

/// One side that denies a flow.
#[derive(Debug, Clone, Copy)]
pub struct Missing<'a> {
    /// The side that denies.
    pub side: Direction,
    /// The pods on that side: the destination for ingress, the source for egress.
    pub subject: Pods<'a>,
    /// The other end.
    pub peer: Peer<'a>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: Port<'a>,
    /// The policies that isolate the subject on that side.
    pub isolating: &'a [&'a PolicyDocument],
    /// Every declared policy of the subject's namespace: for a file to put a new one into, and for names that are taken.
    pub namespace_policies: &'a [&'a PolicyDocument],
    /// The rule that opens the other side, from its policy's object: an entry opens the same ports.
    pub other_rule: Option<&'a Value>,
}

/// What to add so that the side lets the flow through; empty where nothing isolates the subject, or policies of another
/// tier than NetworkPolicy's do, so that none can cure it.
///
/// The entry goes after [`Entry::line`]. Where it has to replace a line instead (`ingress: []`), its first line is
/// the comment `# in place of line N:`. A new policy, where only the baseline isolates, is a whole document that
/// starts with `---`. Without a line, no place is known: an overlay made the rules, or the file is not block YAML.
#[must_use]
pub fn missing_entry(missing: &Missing) -> Vec<Entry> {
    entry_in(missing, Home::of(missing.isolating, missing.side).as_ref())
}

/// The same, where the policy that the entry goes into is known.
#[must_use]
pub fn entry_in(missing: &Missing, home: Option<&Home>) -> Vec<Entry> {
    let entry = match home {
        Some(home) if home.is_baseline => new_policy(missing, Some(home.document)),
        Some(home) => into_policy(missing, home),
        None if missing.isolating.iter().any(|document| is_in_default_tier(document)) => new_policy(missing, None),
        None => return Vec::new(),
    };
    vec![entry]
}

/// The policy that an entry goes into, or into whose file, with the place and the style of its rules.
pub struct Home<'a> {
    document: &'a PolicyDocument,
    place: Place,
    style: Style,
    is_baseline: bool,
    keys: Keys,
}

/// How well an entry would stand in a policy, and where: the least one is the best.
#[derive(Debug)]
pub struct Rank {
    order: (bool, bool, bool, bool, String),
    place: Place,
}

impl Rank {
    /// Better ones first: not the baseline, with a known place, with rules of that direction, about fewer pods.
    #[must_use]
    pub fn of(document: &PolicyDocument, side: Direction) -> Self {
        let place = Site::new(document).place(side);
        let has_rules = rules(document, side).is_some_and(|rules| !rules.is_empty());
        let (is_baseline, selects_all) = (is_baseline(document), selects_all(document));
        Self { order: (is_baseline, !place.is_known(), !has_rules, selects_all, document.id.to_string()), place }
    }
}

impl<'a> Home<'a> {
    /// The best of those that isolate.
    #[must_use]
    pub fn of(isolating: &[&'a PolicyDocument], side: Direction) -> Option<Self> {
        Self::among(isolating, side, |document| Arc::new(Rank::of(document, side)))
    }

    /// The same, where ranks are kept.
    pub fn among(
        isolating: &[&'a PolicyDocument],
        side: Direction,
        rank: impl Fn(&'a PolicyDocument) -> Arc<Rank>,
    ) -> Option<Self> {
        let own = isolating.iter().copied().filter(|document| is_network_policy(document));
        let (rank, document) =
            own.map(|document| (rank(document), document)).min_by(|a, b| a.0.order.cmp(&b.0.order))?;
        Some(Self {
            document,
            place: rank.place,
            style: Style::of(&Site::new(document), side),
            is_baseline: is_baseline(document),
            keys: Keys::of(&[document]),
        })
    }
}

/// Whether a policy of Calico's stands in the tier of NetworkPolicies: what those allow is asked before it denies.
fn is_in_default_tier(document: &PolicyDocument) -> bool {
    let tier = document.object.pointer("/spec/tier").and_then(Value::as_str).unwrap_or_default();
    document.api_version.contains(CALICO_API) && matches!(tier, "" | "default")
}

/// The namespace's default-deny: every pod, and no rule in any direction.
fn is_baseline(document: &PolicyDocument) -> bool {
    let empty = |direction| rules(document, direction).is_none_or(|rules| rules.is_empty());
    selects_all(document) && empty(Direction::Ingress) && empty(Direction::Egress)
}

fn selects_all(document: &PolicyDocument) -> bool {
    selector(document).is_some_and(|selector| selector.is_everything())
}

fn selector(document: &PolicyDocument) -> Option<Selector> {
    let source = document.object.pointer("/spec/podSelector").filter(|value| !value.is_null());
    let Some(source) = source else { return Some(Selector::everything()) };
    Selector::new(&serde_json::from_value(source.clone()).ok()?).ok()
}

fn into_policy(missing: &Missing, home: &Home) -> Entry {
    let Home { document, place, style, keys, .. } = home;
    let wanted = wanted(missing, keys);
    let entry = match place {
        Place::After(_) | Place::Unknown => write::rule(style, &wanted),
        Place::NewKey(_) => write::direction(style, &wanted, &[]),
        Place::Instead(line) => {
            let kept = document.object.pointer(&format!("/spec/{}", missing.side.word())).and_then(Value::as_array);
            let kept = kept.map_or(&[] as &[Value], Vec::as_slice);
            format!("{}# in place of line {line}:\n{}", style.key_indent(), write::direction(style, &wanted, kept))
        }
    };
    Entry {
        side: missing.side,
        policy: Some(document.id.name.clone()),
        file: file(document),
        line: place.line(),
        entry,
    }
}

/// A policy of its own, in the file of another policy for the same pods if there is one, else in the baseline's; in
/// none where a cluster-wide policy isolates.
fn new_policy(missing: &Missing, baseline: Option<&PolicyDocument>) -> Entry {
    let mut neighbours: Vec<&PolicyDocument> = missing
        .namespace_policies
        .iter()
        .copied()
        .filter(|document| is_network_policy(document) && !is_baseline(document) && file(document).is_some())
        .filter(|document| selector(document).is_some_and(|selector| selector.matches(missing.subject.labels)))
        .collect();
    neighbours.sort_by_cached_key(|document| (selects_all(document), document.id.to_string()));
    let home = neighbours.first().copied().or(baseline);
    let style = home.or_else(|| missing.isolating.first().copied()).map(|d| Style::of(&Site::new(d), missing.side));
    let keys = Keys::of(missing.namespace_policies);
    let wanted = wanted(missing, &keys);
    let name = free_name(missing, &wanted);
    let pods = labels::of_pods(missing.subject.labels, &keys);
    let entry = write::manifest(&style.unwrap_or_default(), &wanted, &name, missing.subject.namespace, &pods);
    let line = home.and_then(|home| Site::new(home).end_of_document());
    Entry { side: missing.side, policy: Some(name), file: home.and_then(file), line, entry }
}

fn file(document: &PolicyDocument) -> Option<String> {
    let of = |origin: &Origin| origin.file.clone();
    document.origins.document.as_ref().or_else(|| document.origins.fields.values().next()).map(of)
}

fn wanted(missing: &Missing, keys: &Keys) -> Wanted {
    let peer = match missing.peer {
        Peer::Outside(address) => write::Peer::Block(labels::host_block(address)),
        Peer::Pods(pods) => write::Peer::Pods {
            namespace: (pods.namespace != missing.subject.namespace)
                .then(|| labels::of_namespace(pods.namespace, pods.namespace_labels, keys)),
            pods: labels::of_pods(pods.labels, keys),
        },
    };
    Wanted { side: missing.side, peer, ports: ports(missing) }
}

/// The ports of the rule on the open side, if the port is among them by the same name or number; else that port alone.
fn ports(missing: &Missing) -> Vec<write::Port> {
    let listed = missing.other_rule.and_then(|rule| rule.get("ports")).and_then(Value::as_array);
    let listed: Option<Vec<write::Port>> = listed.and_then(|ports| ports.iter().map(write::Port::read).collect());
    let needed = write::Port::needed(missing.protocol, missing.port);
    match listed {
        Some(ports) if ports.iter().any(|port| port.covers(&needed)) => ports,
        _ => vec![needed],
    }
}

/// A name that no policy of the namespace has: `allow-ingress-web`, `allow-ingress-web-2`, …
fn free_name(missing: &Missing, wanted: &Wanted) -> String {
    let pods = labels::of_pods(missing.subject.labels, &Keys::default());
    let about = pods.first().map_or("pods", |(_, value)| value.as_str());
    let word = wanted.side.word();
    let base: String = format!("allow-{word}-{about}")
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' })
        .collect();
    let is_taken = |name: &str| missing.namespace_policies.iter().any(|document| document.id.name == name);
    unused_name(base.trim_end_matches('-'), is_taken)
}

/// The name itself where nothing has it, else the first of `NAME-2`, `NAME-3`, … that nothing has.
pub(super) fn unused_name(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let others = (2_u64..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(others);
    names.find(|name| !is_taken(name)).unwrap_or_else(|| name.to_owned())
}
