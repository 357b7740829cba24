//! Lines of an enforcer's log that speak of a blocked flow.
//!
//! A line counts where it says that a packet was dropped (`DROP`, or `calico-packet`, the prefix that Felix gives to what a
//! `Log` rule makes the kernel write) and names both ends of the flow. The kernel writes
//! `IN=… OUT=… SRC=10.0.0.1 DST=10.0.0.2 … PROTO=TCP SPT=… DPT=8080`, IPv6 addresses in full (`nf_log_syslog`); there both
//! addresses, the protocol and the port must be the flow's. Other lines must name each end by its address or its pod.
//!
//! What is in a log was written by others: nothing of it decides a result.

use std::net::IpAddr;

use crate::model::{Phase, PodInfo, PodRef, Protocol, Selector, Snapshot};

/// The most lines of one flow.
pub const MOST_LINES: usize = 3;

/// The most characters of a line that is shown.
pub const LONGEST: usize = 200;

/// The most characters of a line that are looked at.
const LOOKED_AT: usize = 2000;

/// Fields of the kernel's line by which two packets of one flow through one place are the same.
const PLACE: [&str; 6] = ["IN=", "OUT=", "SRC=", "DST=", "PROTO=", "DPT="];

/// Fields of the kernel's line that a reader can do without, where the line is too long.
const NOISE: [&str; 12] =
    ["MAC=", "LEN=", "TOS=", "PREC=", "TTL=", "ID=", "WINDOW=", "RES=", "URGP=", "TC=", "HOPLIMIT=", "FLOWLBL="];

/// Whose logs are looked at: pods of one namespace by their labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enforcers {
    /// The namespace.
    pub namespace: String,
    /// The labels.
    pub selector: Selector,
}

impl Enforcers {
    /// Those that run on a node; one that is not Ready has most to say.
    pub fn on<'s>(&self, snapshot: &'s Snapshot, node: &str) -> impl Iterator<Item = &'s PodInfo> {
        snapshot.pods.iter().filter(move |pod| {
            pod.id.namespace == self.namespace
                && pod.node.as_deref() == Some(node)
                && pod.phase == Phase::Running
                && self.selector.matches(&pod.labels)
        })
    }
}

/// One end of a flow, as a log may name it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its pod, where it is one.
    pub pod: Option<PodRef>,
}

/// The flow that lines are looked for of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where it comes from.
    pub source: Named,
    /// Where it goes.
    pub target: Named,
    /// Its protocol.
    pub protocol: Protocol,
    /// The port it goes to.
    pub port: u16,
}

/// The lines of one log that say that something was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drops(Vec<Line>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    text: String,
    /// Source and destination, where it is the kernel's line.
    packet: Option<(IpAddr, IpAddr)>,
    protocol: Option<String>,
    port: Option<u16>,
    /// What may be an address or a pod's name.
    words: Vec<String>,
}

impl Drops {
    /// Finds them in a log, oldest first.
    #[must_use]
    pub fn read(log: &str) -> Self {
        let lines = log.lines().map(|line| line.chars().take(LOOKED_AT).collect::<String>());
        Self(lines.filter(|line| says_drop(line)).map(|line| Line::read(&line)).collect())
    }

    /// The newest lines about a flow, oldest first, each once: a packet that is sent again says nothing new.
    #[must_use]
    pub fn about(&self, wanted: &Wanted) -> Vec<String> {
        let mut found: Vec<&Line> = Vec::new();
        for line in self.0.iter().rev().filter(|line| line.is_about(wanted)) {
            if found.iter().all(|known| known.place() != line.place()) {
                found.push(line);
            }
            if found.len() == MOST_LINES {
                break;
            }
        }
        found.into_iter().rev().map(|line| shown(&line.text)).collect()
    }
}

/// `DROP` at the beginning of a word, or Felix's prefix.
fn says_drop(line: &str) -> bool {
    let begins = |at: usize| !line.get(..at).is_some_and(|before| before.ends_with(char::is_alphanumeric));
    line.contains("calico-packet") || line.match_indices("DROP").any(|(at, _)| begins(at))
}

impl Line {
    fn read(line: &str) -> Self {
        let printable: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let text = printable.split_whitespace().collect::<Vec<_>>().join(" ");
        // Where a line quotes another packet, that comes later, in brackets.
        let field = |key: &str| text.split(' ').find_map(|word| word.strip_prefix(key));
        let address = |key: &str| field(key).and_then(|value| value.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical());
        let separates = |c: char| !c.is_alphanumeric() && !".:/-_".contains(c);
        Self {
            packet: address("SRC=").zip(address("DST=")),
            protocol: field("PROTO=").map(str::to_owned),
            port: field("DPT=").and_then(|value| value.parse().ok()),
            words: text.split(separates).filter(|word| !word.is_empty()).map(str::to_owned).collect(),
            text,
        }
    }

    fn is_about(&self, wanted: &Wanted) -> bool {
        let other_port = self.port.is_some_and(|port| port != wanted.port);
        let protocol = wanted.protocol.to_string();
        let other_protocol = self.protocol.as_ref().is_some_and(|own| !own.eq_ignore_ascii_case(&protocol));
        if other_port || other_protocol {
            return false;
        }
        let Wanted { source, target, .. } = wanted;
        match self.packet {
            Some((from, to)) => source.has(from) && target.has(to),
            None => self.names(source, target) && self.names(target, source),
        }
    }

    /// Whether it names an end, which is not `other`.
    fn names(&self, end: &Named, other: &Named) -> bool {
        let addressed = |word: &String| address(word).is_some_and(|ip| end.has(ip));
        let Some(pod) = &end.pod else { return self.words.iter().any(addressed) };
        // Pods of two namespaces may have one name, which alone then tells neither.
        let unique = other.pod.as_ref().is_none_or(|other| other.name != pod.name);
        self.words.iter().any(|word| addressed(word) || names(word, pod, unique))
    }

    /// What two lines about the same thing have in common.
    fn place(&self) -> Vec<&str> {
        if self.packet.is_none() {
            return vec![&self.text];
        }
        self.text.split(' ').filter(|word| PLACE.iter().any(|key| word.starts_with(key))).collect()
    }
}

impl Named {
    fn has(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.to_canonical() == ip)
    }
}

/// The address that a word is, with a port, a prefix length or punctuation or without.
fn address(word: &str) -> Option<IpAddr> {
    let host = word.split('/').next()?;
    let trimmed = host.trim_matches(['.', ':', '-']);
    let with_port = || trimmed.parse::<std::net::SocketAddrV4>().ok().map(|socket| IpAddr::V4(*socket.ip()));
    let ip = host.parse().or_else(|_| trimmed.parse()).ok().or_else(with_port)?;
    Some(ip.to_canonical())
}

/// Whether a word is a pod: `namespace/name` anywhere in it, or its name alone.
fn names(word: &str, pod: &PodRef, unique: bool) -> bool {
    // No name ends in punctuation: what does is an arrow, or the end of a sentence.
    let parts: Vec<&str> = word.trim_matches(['.', ':', '-', '/', '_']).split(['/', ':']).collect();
    let full = parts.windows(2).any(|pair| pair == [pod.namespace.as_str(), pod.name.as_str()]);
    full || (unique && parts == [pod.name.as_str()])
}

/// A line of at most [`LONGEST`] characters; of the kernel's, what matters comes last and is kept longest.
fn shown(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let is_noise = |word: &&str| NOISE.iter().any(|key| word.starts_with(key));
    let kept = text.split(' ').filter(|word| !is_noise(word)).collect::<Vec<_>>().join(" ");
    if kept.chars().count() <= LONGEST {
        return kept;
    }
    kept.chars().take(LONGEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
