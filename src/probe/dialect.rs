//! From a tool's words and the time it took to an [`Outcome`].
//!
//! Exit statuses lie in both directions (semantics §6): UDP that is dropped exits 0, an unknown option exits 1 like a
//! refusal. So an outcome needs words that say it, and a timeout also needs the time. What neither shows is
//! [`Outcome::Cut`]: to be tried again, never a denial.

mod words;

use std::{collections::BTreeMap, fmt, net::IpAddr};

use super::{
    Outcome,
    target::{Target, What},
};

/// The most characters of a tool's text that are kept.
const TEXT_LIMIT: usize = 400;

/// The first word of the script's first line: which format follows.
const HEADER: &str = "probe/1";

/// What asked, as the script found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tool {
    /// `nc` of OpenBSD.
    OpenBsd,
    /// The original netcat 1.10.
    Traditional,
    /// GNU netcat.
    Gnu,
    /// Nmap's `ncat`.
    Ncat,
    /// `ncat` before it had `-z`.
    NcatOld,
    /// The `nc` of `BusyBox` with `-z`.
    BusyBoxZ,
    /// The `nc` of `BusyBox` with `-e` and without `-z`.
    BusyBoxE,
    /// The `nc` of `BusyBox` with neither.
    BusyBox,
    /// bash's `/dev/tcp` and `/dev/udp`.
    Bash,
    /// `getent ahosts`.
    Getent,
    /// `nslookup`.
    Nslookup,
    /// `nc` of an unknown kind, without a shell.
    Nc,
}

impl Tool {
    const ALL: [(&'static str, Self); 12] = [
        ("openbsd", Self::OpenBsd),
        ("traditional", Self::Traditional),
        ("gnu", Self::Gnu),
        ("ncat", Self::Ncat),
        ("ncat-old", Self::NcatOld),
        ("busybox-z", Self::BusyBoxZ),
        ("busybox-e", Self::BusyBoxE),
        ("busybox", Self::BusyBox),
        ("bash", Self::Bash),
        ("getent", Self::Getent),
        ("nslookup", Self::Nslookup),
        ("nc", Self::Nc),
    ];

    /// The tool that the script names so.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, tool)| *tool)
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, tool)| tool == self).map_or("nc", |(name, _)| name))
    }
}

/// What one try showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The class of the result.
    pub outcome: Outcome,
    /// What asked; `None` where nothing did.
    pub tool: Option<Tool>,
    /// How long it took, where the pod could tell; 10 ms steps.
    pub elapsed_ms: Option<u64>,
    /// The tool's words, one line, bounded; or why there is no answer.
    pub text: String,
    /// The addresses, for [`Target::name`]; sorted, each once.
    pub addresses: Vec<IpAddr>,
}

impl Observation {
    /// An observation that no tool made.
    #[must_use]
    pub fn without_tool(outcome: Outcome, text: &str) -> Self {
        Self { outcome, tool: None, elapsed_ms: None, text: one_line(text), addresses: Vec::new() }
    }
}

/// One try's raw facts.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What asked; `None` where the pod has nothing to ask with.
    pub tool: Option<Tool>,
    /// How long it took, where that is known.
    pub elapsed_ms: Option<u64>,
    /// The exit status; 128 + signal where it was killed.
    pub status: i32,
    /// What it said.
    pub text: &'a str,
}

/// What the whole output says of each target, in their order. A target without a line is [`Outcome::Cut`], because
/// `why`.
#[must_use]
pub fn read(output: &[u8], targets: &[Target], why: &str) -> Vec<Observation> {
    let text = String::from_utf8_lossy(output);
    let mut seen: BTreeMap<usize, Observation> = BTreeMap::new();
    // Only whole lines: a cut may fall within one.
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        if let Some((index, observation)) = read_line(line, targets) {
            seen.entry(index).or_insert(observation);
        }
    }
    let cut = || Observation::without_tool(Outcome::Cut, why);
    (0..targets.len()).map(|index| seen.remove(&index).unwrap_or_else(cut)).collect()
}

/// Whether the script began (its first line is there).
#[must_use]
pub fn has_begun(output: &[u8]) -> bool {
    String::from_utf8_lossy(output).split_inclusive('\n').any(|line| line.starts_with(HEADER) && line.ends_with('\n'))
}

/// Whether the script came to its end.
#[must_use]
pub fn is_complete(output: &[u8]) -> bool {
    String::from_utf8_lossy(output).split_inclusive('\n').any(|line| line.starts_with("done ") && line.ends_with('\n'))
}

/// One line of the script, as the index of its target and what it says.
fn read_line(line: &str, targets: &[Target]) -> Option<(usize, Observation)> {
    let mut words = line.splitn(7, ' ');
    if words.next()? != "target" {
        return None;
    }
    let index = words.next()?.parse::<usize>().ok()?.checked_sub(1)?;
    let target = targets.get(index)?;
    if words.next()? != target.to_string() {
        return None;
    }
    let tool = Tool::from_name(words.next()?);
    let elapsed_ms = words.next()?.parse().ok();
    let status = words.next()?.parse().ok()?;
    Some((index, observe(target, &Facts { tool, elapsed_ms, status, text: words.next().unwrap_or_default() })))
}

/// What one try's facts mean.
#[must_use]
pub fn observe(target: &Target, facts: &Facts<'_>) -> Observation {
    let addresses = match target.what() {
        What::Name(_) => words::addresses(facts),
        _ => Vec::new(),
    };
    let outcome = match target.what() {
        _ if facts.tool.is_none() => Outcome::ToolMissing,
        What::Tcp(..) => words::tcp(facts, target.timeout()),
        What::Dns(..) => words::dns(facts, target.timeout()),
        What::Name(_) if !addresses.is_empty() => Outcome::Open,
        What::Name(_) => words::name(facts),
    };
    Observation { outcome, tool: facts.tool, elapsed_ms: facts.elapsed_ms, text: one_line(facts.text), addresses }
}

/// Text from a pod, made fit for a log and a message: one line, no control characters, bounded.
fn one_line(text: &str) -> String {
    let printable: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(4 * TEXT_LIMIT).collect();
    let joined = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.chars().take(TEXT_LIMIT).collect()
}

#[cfg(test)]
mod tests;
