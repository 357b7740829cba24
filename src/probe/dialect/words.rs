//! The words of each tool, measured (semantics §6) and, for musl, as its `strerror` has them.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use super::{Facts, Tool};
use crate::probe::Outcome;

/// 128 + SIGKILL: the script's own limit, or the kernel's for memory; the time tells which.
const KILLED: i32 = 137;
/// 128 + SIGALRM: how bash ends a `read -t` that ran out.
const ALARMED: i32 = 142;

/// Clocks in pods count in 10 ms, and a limit may fire a little early.
const EARLY_MS: u64 = 150;

const REFUSED: [&str; 1] = ["connection refused"];

const UNREACHABLE: [&str; 11] = [
    "no route to host",
    "host is unreachable",
    "network is unreachable",
    "network unreachable",
    // ICMPv6 "administratively prohibited" and local `prohibit` routes.
    "permission denied",
    "operation not permitted",
    "cannot assign requested address",
    "can't assign requested address",
    "address not available",
    "address family not supported",
    "protocol not available",
];

const DNS: [&str; 8] = [
    "getaddrinfo",
    "forward host lookup failed",
    "could not resolve",
    "couldn't resolve",
    "bad address",
    "name or service not known",
    "name does not resolve",
    "temporary failure in name resolution",
];

const WRONG_TOOL: [&str; 6] =
    ["invalid option", "unrecognized option", "unknown option", "illegal option", "applet not found", "can't parse"];

const TIMED_OUT: [&str; 2] = ["timed out", "timeout"];

fn says(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

/// Whether it ran at least until `limit`; a time that is not known does not contradict.
fn lasted(facts: &Facts<'_>, limit: Duration) -> bool {
    let needed = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).saturating_sub(EARLY_MS);
    facts.elapsed_ms.is_none_or(|ms| ms >= needed)
}

/// A TCP connect.
pub(super) fn tcp(facts: &Facts<'_>, limit: Duration) -> Outcome {
    let text = facts.text.to_lowercase();
    if facts.status == 0 {
        return succeeded(facts, &text);
    }
    if facts.status == KILLED {
        return killed(facts, limit);
    }
    if matches!(facts.status, 126 | 127) || says(&text, &WRONG_TOOL) {
        return Outcome::ToolMissing;
    }
    if is_without_dev_tcp(facts, &text) {
        return Outcome::ToolMissing;
    }
    if says(&text, &REFUSED) {
        return Outcome::Refused;
    }
    if says(&text, &TIMED_OUT) {
        // Half of the limit: the kernel gives up before it where few SYN retries are set.
        return if lasted(facts, limit / 2) { Outcome::Timeout } else { Outcome::Cut };
    }
    if says(&text, &UNREACHABLE) {
        return Outcome::Unreachable;
    }
    if says(&text, &DNS) {
        return Outcome::Dns;
    }
    killed(facts, limit)
}

/// Exit status 0 is open only where the tool says so, or is known to succeed in silence.
fn succeeded(facts: &Facts<'_>, text: &str) -> Outcome {
    let silent = matches!(facts.tool, Some(Tool::Bash | Tool::BusyBox | Tool::BusyBoxE | Tool::NcatOld));
    // BusyBox without -z prints what the peer sends, so that its text proves nothing against it.
    if silent || says(text, &["succeeded", "connected to", ") open", "] open"]) || text.ends_with(" open") {
        Outcome::Open
    } else {
        Outcome::Cut
    }
}

/// bash built without network redirections looks for a file.
fn is_without_dev_tcp(facts: &Facts<'_>, text: &str) -> bool {
    facts.tool == Some(Tool::Bash) && text.contains("no such file or directory")
}

/// Nothing was said before the script killed it.
fn killed(facts: &Facts<'_>, limit: Duration) -> Outcome {
    let known = facts.elapsed_ms.is_some();
    match (facts.status, facts.tool) {
        (KILLED, Some(Tool::Bash)) if known && lasted(facts, limit) => Outcome::Timeout,
        // Its -w limits connecting alone: what still runs 2 s after it holds a connection.
        (KILLED, Some(Tool::BusyBox)) if known && lasted(facts, limit + Duration::from_secs(2)) => Outcome::Open,
        _ => Outcome::Cut,
    }
}

/// A question to a DNS server. [`Outcome::Timeout`] is silence, which over UDP proves nothing.
pub(super) fn dns(facts: &Facts<'_>, limit: Duration) -> Outcome {
    let text = facts.text.to_lowercase();
    let answered = text == "answered"
        || facts.tool == Some(Tool::Nslookup)
            && says(&text, &["can't find", "nxdomain", "name:", "servfail", "server failed", "no answer"]);
    if facts.status == 127 || is_without_dev_tcp(facts, &text) || says(&text, &WRONG_TOOL) {
        Outcome::ToolMissing
    } else if answered {
        Outcome::Open
    } else if says(&text, &REFUSED) {
        Outcome::Refused
    } else if says(&text, &UNREACHABLE) {
        Outcome::Unreachable
    } else if says(&text, &["timed out", "idle timeout", "no servers could be reached"]) || is_silence(facts, limit) {
        Outcome::Timeout
    } else {
        Outcome::Cut
    }
}

/// Nothing came until the limit, however the tool ends then.
fn is_silence(facts: &Facts<'_>, limit: Duration) -> bool {
    matches!(facts.status, 0 | 1 | KILLED | ALARMED) && lasted(facts, limit)
}

/// A name without an address.
pub(super) fn name(facts: &Facts<'_>) -> Outcome {
    match facts.status {
        126 | 127 => Outcome::ToolMissing,
        _ => Outcome::Dns,
    }
}

/// The addresses in what a resolver said. `nslookup` first names the server that it asked.
pub(super) fn addresses(facts: &Facts<'_>) -> Vec<IpAddr> {
    let text = match facts.tool {
        Some(Tool::Nslookup) => facts.text.split_once("Name:").map_or("", |(_, answers)| answers),
        _ => facts.text,
    };
    let found: BTreeSet<IpAddr> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    found.into_iter().collect()
}
