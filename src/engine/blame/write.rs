//! The text of an entry, in the style of the file that it goes into.

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
            step: key.clamp(2, 8),
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

    fn fields(&self) -> Vec<(String, String)> {
        let mut fields = vec![("protocol".to_owned(), scalar(&self.protocol))];
        fields.extend(self.start.as_ref().map(|start| {
            let text = match start {
                PortName::Number(number) => number.to_string(),
                PortName::Name(name) => scalar(name),
            };
            ("port".to_owned(), text)
        }));
        fields.extend(self.end.map(|end| ("endPort".to_owned(), end.to_string())));
        fields
    }
}

/// Lines with their indentation.
#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    fn add(&mut self, indent: usize, text: &str) {
        self.0.push(format!("{}{text}", " ".repeat(indent)));
    }

    /// An element of a list: its lines relative to what follows the dash.
    fn element(&mut self, dash: usize, gap: usize, lines: &Self) {
        for (number, line) in lines.0.iter().enumerate() {
            let lead = if number == 0 { format!("-{}", " ".repeat(gap - 1)) } else { " ".repeat(gap) };
            self.add(dash, &format!("{lead}{line}"));
        }
    }

    fn text(&self) -> String {
        let mut text = self.0.join("\n");
        text.push('\n');
        text
    }
}

/// One rule as an element of the list.
pub(super) fn rule(style: &Style, wanted: &Wanted) -> String {
    rule_lines(style, wanted, style.dash).text()
}

/// The direction's key with the rules that are `kept` and the wanted one.
pub(super) fn direction(style: &Style, wanted: &Wanted, kept: &[Value]) -> String {
    direction_lines(style, wanted, kept).text()
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
        lines.add(0, text);
    }
    lines.add(step, &format!("name: {}", scalar(name)));
    lines.add(step, &format!("namespace: {}", scalar(namespace)));
    lines.add(0, "spec:");
    selector(&mut lines, &style, step, "podSelector", pods);
    lines.add(step, &format!("policyTypes: [{}]", type_word(wanted.side)));
    lines.0.extend(direction_lines(&style, wanted, &[]).0);
    lines.text()
}

fn direction_lines(style: &Style, wanted: &Wanted, kept: &[Value]) -> Lines {
    let mut lines = Lines::default();
    lines.add(style.key, &format!("{}:", wanted.side.word()));
    for rule in kept {
        let lead = format!("-{}", " ".repeat(style.gap - 1));
        lines.add(style.dash, &format!("{lead}{}", flow(rule)));
    }
    lines.0.extend(rule_lines(style, wanted, style.dash).0);
    lines
}

fn rule_lines(style: &Style, wanted: &Wanted, dash: usize) -> Lines {
    let mut inner = Lines::default();
    inner.add(0, &format!("{}:", wanted.side.peer_field()));
    inner.element(style.nested, style.gap, &peer_lines(style, &wanted.peer));
    inner.add(0, "ports:");
    for port in &wanted.ports {
        let mut lines = Lines::default();
        let texts: Vec<String> = port.fields().iter().map(|(key, value)| format!("{key}: {value}")).collect();
        if style.flow_ports {
            lines.add(0, &format!("{{{}}}", texts.join(", ")));
        } else {
            for text in &texts {
                lines.add(0, text);
            }
        }
        inner.element(style.nested, style.gap, &lines);
    }
    let mut lines = Lines::default();
    lines.element(dash, style.gap, &inner);
    lines
}

fn peer_lines(style: &Style, peer: &Peer) -> Lines {
    let mut lines = Lines::default();
    match peer {
        Peer::Block(cidr) if style.flow_selectors => lines.add(0, &format!("ipBlock: {{cidr: {}}}", scalar(cidr))),
        Peer::Block(cidr) => {
            lines.add(0, "ipBlock:");
            lines.add(style.step, &format!("cidr: {}", scalar(cidr)));
        }
        Peer::Pods { namespace, pods } => {
            if let Some(label) = namespace {
                selector(&mut lines, style, 0, "namespaceSelector", std::slice::from_ref(label));
            }
            selector(&mut lines, style, 0, "podSelector", pods);
        }
    }
    lines
}

fn selector(lines: &mut Lines, style: &Style, indent: usize, field: &str, labels: &[(String, String)]) {
    let texts: Vec<String> = labels.iter().map(|(key, value)| format!("{}: {}", scalar(key), scalar(value))).collect();
    if labels.is_empty() {
        lines.add(indent, &format!("{field}: {{}}  # every pod: these have no label that stays"));
    } else if style.flow_selectors {
        lines.add(indent, &format!("{field}: {{matchLabels: {{{}}}}}", texts.join(", ")));
    } else {
        lines.add(indent, &format!("{field}:"));
        lines.add(indent + style.step, "matchLabels:");
        for text in &texts {
            lines.add(indent + style.step * 2, text);
        }
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
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A string as YAML: plain where every YAML version reads it as that string, else quoted.
fn scalar(text: &str) -> String {
    let mut chars = text.chars();
    let plain = chars.next().is_some_and(|first| first.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
    let words = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let word = words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if (plain && !word) || text.parse::<Ipv4Net>().is_ok() { text.to_owned() } else { Value::from(text).to_string() }
}
