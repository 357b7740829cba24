//! The words that every output uses for the same thing.

use jiff::Timestamp;

use super::clean;
use crate::model::{Decision, Endpoint, FlowReport, Outcome, Protocol, Unseen, without_family};

/// The longest name that is shown: Kubernetes' own limit is 253, and the JSON report has it in full.
pub const NAME: usize = 100;
/// The longest sentence of another program that is shown.
pub const SENTENCE: usize = 600;

/// `1 flow`, `2 flows`, `0 policies`, `1 entry`.
pub fn count(n: usize, noun: &str) -> String {
    format!("{n} {}", plural(n, noun))
}

/// The noun for that many.
pub fn plural(n: usize, noun: &str) -> String {
    if n == 1 {
        return noun.to_owned();
    }
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{noun}s"),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// An endpoint as people name it: `redis` for `redis/redis`.
pub fn endpoint(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Workload(workload) if workload.namespace == workload.name => clean::line(&workload.name, NAME),
        Endpoint::External { name: None, cidrs } if cidrs.len() > 2 => {
            let shown: Vec<String> = cidrs.iter().take(2).map(ToString::to_string).collect();
            format!("{} and {}", shown.join(", "), count(cidrs.len() - 2, "more range"))
        }
        other => clean::line(&other.to_string(), 2 * NAME),
    }
}

/// `3001`, or `53/UDP`.
pub fn port(port: u16, protocol: Protocol) -> String {
    match protocol {
        Protocol::Tcp => port.to_string(),
        other => format!("{port}/{other}"),
    }
}

/// `pulse-account/api → pulse-events/web:3001`.
pub fn flow(flow: &FlowReport) -> String {
    let family = if flow.ipv6 { " (IPv6)" } else { "" };
    let port = port(flow.port, flow.protocol);
    format!("{} → {}:{port}{family}", endpoint(&flow.source), endpoint(&flow.destination))
}

/// A finding's key as people read it: arrows for flows, spaces for the rest.
pub fn key(key: &str) -> String {
    if let Some(namespace) = key.strip_prefix("relabelled/").and_then(|rest| rest.split_once('/')) {
        return format!("relabelled: {}", namespace.1);
    }
    if let Some((class, policy)) = key.strip_prefix("drift/").and_then(|rest| rest.split_once('/')) {
        return format!("{class}: {policy}");
    }
    let plain = without_family(key);
    let family = key.strip_prefix(plain).unwrap_or_default();
    format!("{}{family}", plain.trim_start_matches("waiting/").replace(" -> ", " → ").trim_end_matches("/TCP"))
}

/// What a connection does, as a verb: `times out`.
pub const fn does(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Open => "is open",
        Outcome::Refused => "is refused",
        Outcome::Timeout => "times out",
        Outcome::Unreachable => "is unreachable",
        Outcome::Dns => "has a name that does not resolve",
        Outcome::ToolMissing => "has no nc to probe with",
        Outcome::TargetDown => "has no target that is up",
        Outcome::Cut => "was cut off while it was probed",
        Outcome::NoSource => "has no running pod to probe from",
        Outcome::NotProbed => "was not probed",
    }
}

/// `open` or `closed`: the state that a decision asks for.
pub const fn state(decision: Decision) -> &'static str {
    match decision {
        Decision::Allowed => "open",
        Decision::Denied => "closed",
        Decision::Undefined => "undefined",
    }
}

/// What becomes of a flow that could not be told, or what to do about it.
pub const fn next(state: Option<Unseen>, observed: Outcome) -> &'static str {
    match (state, observed) {
        (Some(Unseen::Unprobeable), Outcome::ToolMissing) => {
            "Give its image nc or bash to cover it, or accept it in config.yaml."
        }
        (Some(Unseen::Unprobeable), _) => "No retry can help: look by hand, and accept it in config.yaml.",
        (Some(Unseen::Waiting), Outcome::Open | Outcome::Refused) => {
            "Correct the Service or the rule; looked at again in each run."
        }
        (Some(Unseen::Waiting), _) => "Looked at as soon as a pod runs; nothing to do.",
        // Out of time, or refused: the reason, which stands before this, says whether there is something to do.
        (Some(Unseen::Pending) | None, Outcome::NotProbed) => "Tried again next run.",
        (Some(Unseen::Pending) | None, _) => "Tried again next run; nothing to do yet.",
    }
}

/// `2026-11-20 09:12:00 UTC`; text that is no time stays as it is.
pub fn time(rfc3339: &str) -> String {
    match rfc3339.parse::<Timestamp>() {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => clean::line(rfc3339, NAME),
    }
}

/// `1.2 s`, `45 s`, `2 min 5 s`.
pub fn duration(milliseconds: u64) -> String {
    match milliseconds {
        0..10_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        10_000..120_000 => format!("{} s", milliseconds / 1000),
        _ => format!("{} min {} s", milliseconds / 60_000, milliseconds % 60_000 / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_agree_with_their_nouns() {
        for (n, noun, text) in [
            (1, "flow", "1 flow"),
            (0, "flow", "0 flows"),
            (2, "policy", "2 policies"),
            (1, "policy", "1 policy"),
            (2, "day", "2 days"),
            (3, "entry", "3 entries"),
        ] {
            assert_eq!(count(n, noun), text);
        }
        let parts = ["a", "b", "c"].map(ToOwned::to_owned);
        assert_eq!(
            (list(&parts[..1]), list(&parts[..2]), list(&parts)),
            ("a".into(), "a and b".into(), "a, b and c".into())
        );
    }

    #[test]
    fn keys_are_read_as_flows_over_either_family() {
        assert_eq!(key("shop/web -> redis/redis:6379/TCP"), "shop/web → redis/redis:6379");
        assert_eq!(key("shop/web -> redis/redis:6379/TCP (IPv6)"), "shop/web → redis/redis:6379 (IPv6)");
        assert_eq!(key("shop/web -> redis/redis:53/UDP (IPv6)"), "shop/web → redis/redis:53/UDP (IPv6)");
        assert_eq!(key("drift/extra/NetworkPolicy/shop/temp"), "extra: NetworkPolicy/shop/temp");
    }

    #[test]
    fn times_say_their_zone() {
        assert_eq!(time("2026-11-20T10:12:00+01:00"), "2026-11-20 09:12:00 UTC");
        assert_eq!(time("yesterday"), "yesterday");
        assert_eq!(
            (duration(1290), duration(45_000), duration(125_000)),
            ("1.2 s".into(), "45 s".into(), "2 min 5 s".into())
        );
    }
}
