//! The text of an entry, in the style of the file that it goes into.

use std::borrow::Cow;

use ipnet::Ipv4Net;
use serde_json::Value;

use super::{Port as NeededPort, place::Site};
use crate::{
    engine::normal::type_word,
    model::{Direction, Protocol},
};

/// How a file writes its rules; widths in columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    /// Spaces before the keys of `spec`.
    key: usize,
    /// Spaces before the dashes of the rules.
    dash: usize,
    /// From a dash to what follows it.
    gap: usize,
    /// From a rule's keys to the dashes of its lists.
    nested: usize,
    /// One level of mapping.
    step: usize,
    /// Selectors as `{matchLabels: {app: web}}`.
    flow_selectors: bool,
    /// Ports as `{protocol: TCP, port: 80}`.
    flow_ports: bool,
}

impl Default for Style {
    /// That of the product's own examples.
    fn default() -> Self {
        Self { key: 2, dash: 2, gap: 2, nested: 2, step: 2, flow_selectors: true, flow_ports: true }
    }
}

impl Style {
    /// The style of the rules of that direction, else of the other one, else of message.md's example.
    pub(super) fn of(site: &Site, side: Direction) -> Self {
        // Columns inside braces indent nothing.
        if site.is_flow("/spec") {
            return Self::default();
        }
        let key_column = site.at("/spec").map_or(3, |(_, column)| column.max(2));
        let key = width(key_column - 1);
        let sides = [side, side.opposite()];
        let dash_column = sides.iter().find_map(|side| site.dash_column(&format!("/spec/{}", side.word()), key_column));
        let dash = dash_column.map_or(key, |column| width(column - 1));
        let rules: Vec<String> = sides.iter().flat_map(|side| rule_pointers(site, *side)).collect();
        let rule_column = rules.iter().find_map(|rule| site.at(rule)).map(|(_, column)| column);
        let gap = rule_column.map_or(2, |column| width(column - 1).saturating_sub(dash)).clamp(2, 8);
        let lists: Vec<(String, u32)> = rules.iter().flat_map(|rule| list_pointers(site, rule)).collect();
        let nested = lists.iter().find_map(|(list, rule)| Some(site.dash_column(list, *rule)?.saturating_sub(*rule)));
        let elements = || lists.iter().flat_map(|(list, _)| elements(site, list));
        Self {
            key,
            dash,
            gap: if dash_column.is_some() { gap } else { 2 },
            nested: nested.map_or_else(|| dash.saturating_sub(key), width),
            step: key.saturating_sub(site.indent()).clamp(2, 8),
            flow_selectors: elements().find_map(|peer| flow_selector(site, &peer)).unwrap_or(true),
            flow_ports: elements().find_map(|port| flow_port(site, &port)).unwrap_or(true),
        }
    }

    pub(super) fn key_indent(&self) -> String {
        " ".repeat(self.key)
    }
}

fn rule_pointers(site: &Site, side: Direction) -> Vec<String> {
    let list = format!("/spec/{}", side.word());
    elements(site, &list)
}

/// The lists of a rule, with the column of the rule's keys.
fn list_pointers(site: &Site, rule: &str) -> Vec<(String, u32)> {
    let Some((_, column)) = site.at(rule) else { return Vec::new() };
    ["from", "to", "ports"].iter().map(|field| (format!("{rule}/{field}"), column)).collect()
}

fn elements(site: &Site, list: &str) -> Vec<String> {
    let count = site.value(list).and_then(Value::as_array).map_or(0, Vec::len);
    (0..count).map(|index| format!("{list}/{index}")).collect()
}

/// Whether the peer's selectors are in flow style, if it has one that tells.
fn flow_selector(site: &Site, peer: &str) -> Option<bool> {
    ["namespaceSelector", "podSelector"].iter().find_map(|field| {
        let selector = format!("{peer}/{field}");
        let labels = format!("{selector}/matchLabels");
        Some(site.at(&selector)?.0 == site.at(&labels)?.0 && site.is_flow(&selector))
    })
}

/// Whether the port is in flow style; `None` where the element is no port.
fn flow_port(site: &Site, port: &str) -> Option<bool> {
    site.value(port)?.get("port")?;
    site.at(port)?;
    Some(site.is_flow(port))
}

fn width(columns: u32) -> usize {
    usize::try_from(columns).unwrap_or(usize::MAX)
}

/// What an entry has to let through.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) side: Direction,
    pub(super) peer: Peer,
    pub(super) ports: Vec<Port>,
}

/// The peer of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Peer {
    Pods { namespace: Option<(String, String)>, pods: Vec<(String, String)> },
    Block(String),
}

/// A port of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    protocol: String,
    start: Option<PortName>,
    end: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PortName {
    Number(u64),
    Name(String),
}

impl Port {
    pub(super) fn needed(protocol: Protocol, port: NeededPort) -> Self {
        let start = match port {
            NeededPort::Number(number) => PortName::Number(number.into()),
            NeededPort::Name(name) => PortName::Name(name.to_owned()),
        };
        Self { protocol: protocol.to_string(), start: Some(start), end: None }
    }

    /// A port as a rule has it; `None` where it is not understood.
    pub(super) fn read(value: &Value) -> Option<Self> {
        // An AdminNetworkPolicy says it in other words: what is not read here would count as every port.
        if !value.as_object()?.keys().all(|key| ["protocol", "port", "endPort"].contains(&key.as_str())) {
            return None;
        }
        let protocol = value.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_owned();
        let start = match value.get("port") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(PortName::Name(name.clone())),
            Some(number) => Some(PortName::Number(number.as_u64()?)),
        };
        Some(Self { protocol, start, end: value.get("endPort").and_then(Value::as_u64) })
    }

    pub(super) fn covers(&self, needed: &Self) -> bool {
        self.protocol == needed.protocol
            && match (&self.start, &needed.start) {
                (None, _) => true,
                (Some(PortName::Number(from)), Some(PortName::Number(port))) => {
                    (*from..=self.end.unwrap_or(*from)).contains(port)
                }
                (a, b) => a == b,
            }
    }

    fn fields(&self) -> Vec<(&'static str, Cow<'_, str>)> {
        let mut fields = vec![("protocol", scalar(&self.protocol))];
        fields.extend(self.start.as_ref().map(|start| {
            let text = match start {
                PortName::Number(number) => number.to_string().into(),
                PortName::Name(name) => scalar(name),
            };
            ("port", text)
        }));
        fields.extend(self.end.map(|end| ("endPort", end.to_string().into())));
        fields
    }
}

/// Bytes that most rules have less of.
const USUAL: usize = 512;

/// Lines with their indentation.
#[derive(Default)]
struct Lines {
    text: String,
    /// Columns that are before every line.
    indent: usize,
    /// The columns among them where the next line has a dash.
    dashes: Vec<usize>,
}

impl Lines {
    fn add(&mut self, indent: usize, parts: &[&str]) {
        self.line(indent, |text| text.extend(parts.iter().copied()));
    }

    fn line(&mut self, indent: usize, write: impl FnOnce(&mut String)) {
        let indent = self.indent + indent;
        let begin = self.text.len();
        for dash in self.dashes.drain(..) {
            self.text.extend(std::iter::repeat_n(' ', (begin + dash).saturating_sub(self.text.len())));
            self.text.push('-');
        }
        self.text.extend(std::iter::repeat_n(' ', (begin + indent).saturating_sub(self.text.len())));
        write(&mut self.text);
        self.text.push('\n');
    }

    /// An element of a list, whose lines begin after the dash.
    fn element(&mut self, dash: usize, gap: usize, lines: impl FnOnce(&mut Self)) {
        let before = self.indent;
        self.dashes.push(before + dash);
        self.indent = before + dash + gap;
        lines(self);
        self.indent = before;
    }
}

/// One rule as an element of the list.
pub(super) fn rule(style: &Style, wanted: &Wanted) -> String {
    let mut lines = Lines { text: String::with_capacity(USUAL), ..Lines::default() };
    add_rule(&mut lines, style, wanted);
    lines.text
}

/// The direction's key with the rules that are `kept` and the wanted one.
pub(super) fn direction(style: &Style, wanted: &Wanted, kept: &[Value]) -> String {
    let mut lines = Lines::default();
    add_direction(&mut lines, style, wanted, kept);
    lines.text
}

/// A whole policy, to be appended to a file.
pub(super) fn manifest(
    style: &Style,
    wanted: &Wanted,
    name: &str,
    namespace: &str,
    pods: &[(String, String)],
) -> String {
    let step = style.step;
    let offset = style.dash.saturating_sub(style.key);
    let style = Style { key: step, dash: step + offset, ..*style };
    let mut lines = Lines::default();
    for text in ["---", "apiVersion: networking.k8s.io/v1", "kind: NetworkPolicy", "metadata:"] {
        lines.add(0, &[text]);
    }
    lines.add(step, &["name: ", &scalar(name)]);
    lines.add(step, &["namespace: ", &scalar(namespace)]);
    lines.add(0, &["spec:"]);
    add_selector(&mut lines, &style, step, "podSelector", pods);
    lines.add(step, &["policyTypes: [", type_word(wanted.side), "]"]);
    add_direction(&mut lines, &style, wanted, &[]);
    lines.text
}

fn add_direction(lines: &mut Lines, style: &Style, wanted: &Wanted, kept: &[Value]) {
    lines.add(style.key, &[wanted.side.word(), ":"]);
    for rule in kept {
        lines.element(style.dash, style.gap, |lines| lines.add(0, &[&flow(rule)]));
    }
    add_rule(lines, style, wanted);
}

fn add_rule(lines: &mut Lines, style: &Style, wanted: &Wanted) {
    lines.element(style.dash, style.gap, |lines| {
        lines.add(0, &[wanted.side.peer_field(), ":"]);
        lines.element(style.nested, style.gap, |lines| add_peer(lines, style, &wanted.peer));
        lines.add(0, &["ports:"]);
        for port in &wanted.ports {
            lines.element(style.nested, style.gap, |lines| add_port(lines, style, port));
        }
    });
}

fn add_port(lines: &mut Lines, style: &Style, port: &Port) {
    let fields = port.fields();
    if style.flow_ports {
        lines.line(0, |text| {
            text.push('{');
            add_pairs(text, fields.into_iter().map(|(key, value)| (key.into(), value)));
            text.push('}');
        });
    } else {
        for (key, value) in &fields {
            lines.add(0, &[key, ": ", value]);
        }
    }
}

fn add_peer(lines: &mut Lines, style: &Style, peer: &Peer) {
    match peer {
        Peer::Block(cidr) if style.flow_selectors => lines.add(0, &["ipBlock: {cidr: ", &scalar(cidr), "}"]),
        Peer::Block(cidr) => {
            lines.add(0, &["ipBlock:"]);
            lines.add(style.step, &["cidr: ", &scalar(cidr)]);
        }
        Peer::Pods { namespace, pods } => {
            if let Some(label) = namespace {
                add_selector(lines, style, 0, "namespaceSelector", std::slice::from_ref(label));
            }
            add_selector(lines, style, 0, "podSelector", pods);
        }
    }
}

fn add_selector(lines: &mut Lines, style: &Style, indent: usize, field: &str, labels: &[(String, String)]) {
    if labels.is_empty() {
        lines.add(indent, &[field, ": {}  # every pod: these have no label that stays"]);
    } else if style.flow_selectors {
        lines.line(indent, |text| {
            text.extend([field, ": {matchLabels: {"]);
            add_pairs(text, labels.iter().map(|(key, value)| (scalar(key), scalar(value))));
            text.push_str("}}");
        });
    } else {
        lines.add(indent, &[field, ":"]);
        lines.add(indent + style.step, &["matchLabels:"]);
        for (key, value) in labels {
            lines.add(indent + style.step * 2, &[&scalar(key), ": ", &scalar(value)]);
        }
    }
}

/// Fields in flow style, without their braces.
fn add_pairs<'t>(text: &mut String, pairs: impl Iterator<Item = (Cow<'t, str>, Cow<'t, str>)>) {
    for (number, (key, value)) in pairs.enumerate() {
        text.extend([if number == 0 { "" } else { ", " }, &key, ": ", &value]);
    }
}

/// A value in flow style.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let fields: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", scalar(key), flow(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) => scalar(text).into_owned(),
        other => other.to_string(),
    }
}

/// A string as YAML: plain where every YAML version reads it as that string, else quoted.
fn scalar(text: &str) -> Cow<'_, str> {
    let mut chars = text.chars();
    let plain = chars.next().is_some_and(|first| first.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
    let words = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let word = words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if (plain && !word) || text.parse::<Ipv4Net>().is_ok() { text.into() } else { Value::from(text).to_string().into() }
}
