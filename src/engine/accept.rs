//! What people accepted until a date: flows, policies, findings of a namespace, or an unproven rendering.
//!
//! An acceptance names one thing exactly. There are no patterns: a pattern would also accept what nobody has seen yet.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::model::{Drift, Finding, FindingRule, FlowReport, KustomizationRef, without_family};

/// One entry of the configuration's `accept` list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Accept {
    /// What it names.
    pub what: Accepted,
    /// Why, for people.
    pub reason: String,
    /// The last day on which it counts, in UTC: on the day after, the trouble counts again.
    pub until: Date,
}

/// What an acceptance names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// A flow by its key, such as `pulse-data/web -> 0.0.0.0/0:443/TCP`, over both address families.
    Flow(String),
    /// Every drift of the policy of this name, such as `NetworkPolicy/legacy/allow-all`.
    Policy(String),
    /// Findings of one rule that concern one namespace.
    Finding {
        /// The rule.
        rule: FindingRule,
        /// The namespace.
        namespace: String,
    },
    /// That the rendering of the Kustomization `namespace/name` is not proven.
    Rendering(String),
}

/// An entry as it is written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<FindingRule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rendering: Option<String>,
    reason: String,
    until: Date,
}

/// Why an entry of `accept` is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccept {
    /// None or several of the four.
    #[error("an accept entry names one of `flow`, `policy`, `finding`, `rendering`")]
    NotOne,
    /// A finding without its namespace, or a namespace without a finding.
    #[error("in an accept entry `finding` and `namespace` go together")]
    NamespaceAlone,
    /// A flow that no key can look like.
    #[error("`flow` in an accept entry is written `SOURCE -> DESTINATION:PORT/PROTOCOL`")]
    Flow,
    /// A policy that no name can look like.
    #[error("`policy` in an accept entry is written `KIND/NAMESPACE/NAME`, or `KIND/NAME` of a cluster-wide one")]
    Policy,
    /// A rendering that names no Kustomization.
    #[error("`rendering` in an accept entry names a Kustomization, `NAMESPACE/NAME`")]
    Rendering,
    /// Nobody could say later why.
    #[error("an accept entry needs a `reason`")]
    NoReason,
}

impl TryFrom<Written> for Accept {
    type Error = InvalidAccept;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { flow, policy, finding, namespace, rendering, reason, until } = written;
        if namespace.is_some() != finding.is_some() {
            return Err(InvalidAccept::NamespaceAlone);
        }
        if reason.trim().is_empty() {
            return Err(InvalidAccept::NoReason);
        }
        let what = match (flow, policy, finding.zip(namespace), rendering) {
            (Some(flow), None, None, None) => Accepted::Flow(flow_key(&flow)?),
            (None, Some(policy), None, None) => Accepted::Policy(parts(&policy, 2..=3, InvalidAccept::Policy)?),
            (None, None, Some((rule, namespace)), None) => Accepted::Finding { rule, namespace },
            (None, None, None, Some(name)) => Accepted::Rendering(parts(&name, 2..=2, InvalidAccept::Rendering)?),
            _ => return Err(InvalidAccept::NotOne),
        };
        Ok(Self { what, reason, until })
    }
}

impl From<Accept> for Written {
    fn from(accept: Accept) -> Self {
        let written = Self { reason: accept.reason, until: accept.until, ..Self::default() };
        match accept.what {
            Accepted::Flow(flow) => Self { flow: Some(flow), ..written },
            Accepted::Policy(policy) => Self { policy: Some(policy), ..written },
            Accepted::Finding { rule, namespace } => {
                Self { finding: Some(rule), namespace: Some(namespace), ..written }
            }
            Accepted::Rendering(name) => Self { rendering: Some(name), ..written },
        }
    }
}

/// The flow with single spaces, as [`FlowReport::key`] writes it, for both address families.
fn flow_key(flow: &str) -> Result<String, InvalidAccept> {
    let (source, destination) = flow.split_once("->").ok_or(InvalidAccept::Flow)?;
    let (source, destination) = (source.trim(), destination.trim());
    let destination = without_family(destination);
    let (address, port) = destination.rsplit_once(':').ok_or(InvalidAccept::Flow)?;
    let (number, protocol) = port.split_once('/').ok_or(InvalidAccept::Flow)?;
    let known = matches!(protocol, "TCP" | "UDP" | "SCTP") && number.parse::<u16>().is_ok();
    if source.is_empty() || address.is_empty() || !known {
        return Err(InvalidAccept::Flow);
    }
    Ok(format!("{source} -> {destination}"))
}

/// The trimmed name, if it has as many parts between its slashes, none empty.
fn parts(name: &str, count: std::ops::RangeInclusive<usize>, error: InvalidAccept) -> Result<String, InvalidAccept> {
    let name = name.trim();
    let good = count.contains(&name.split('/').count()) && name.split('/').all(|part| !part.is_empty());
    if good { Ok(name.to_owned()) } else { Err(error) }
}

/// The acceptances of a configuration, as they stand on one day (UTC).
#[derive(Debug, Clone, Copy)]
pub struct Acceptances<'a> {
    entries: &'a [Accept],
    today: Date,
}

impl<'a> Acceptances<'a> {
    /// The entries and the day on which they are asked.
    #[must_use]
    pub const fn new(entries: &'a [Accept], today: Date) -> Self {
        Self { entries, today }
    }

    /// The date until which the flow is accepted, if it is.
    #[must_use]
    pub fn flow(&self, flow: &FlowReport) -> Option<String> {
        self.flow_key(&flow.key())
    }

    /// The date until which the flow of this key is accepted, if it is.
    #[must_use]
    pub fn flow_key(&self, key: &str) -> Option<String> {
        let key = without_family(key);
        self.until(|what| matches!(what, Accepted::Flow(flow) if flow == key))
    }

    /// The date until which the drift is accepted, if it is.
    #[must_use]
    pub fn drift(&self, drift: &Drift) -> Option<String> {
        let name = drift.policy.to_string();
        self.until(|what| matches!(what, Accepted::Policy(policy) if *policy == name))
    }

    /// The date until which the finding is accepted, if it is.
    #[must_use]
    pub fn finding(&self, finding: &Finding) -> Option<String> {
        self.until(|what| match what {
            Accepted::Finding { rule, namespace } => {
                *rule == finding.rule && finding.namespace.as_deref() == Some(namespace)
            }
            Accepted::Flow(_) | Accepted::Policy(_) | Accepted::Rendering(_) => false,
        })
    }

    /// The date until which an unproven rendering of the Kustomization is accepted, if it is.
    #[must_use]
    pub fn rendering(&self, kustomization: &KustomizationRef) -> Option<String> {
        let name = kustomization.to_string();
        self.until(|what| matches!(what, Accepted::Rendering(rendering) if *rendering == name))
    }

    /// Entries that ran out: what they named counts again, and the report says so.
    pub fn expired(&self) -> impl Iterator<Item = &'a Accept> + use<'a> {
        let today = self.today;
        self.entries.iter().filter(move |entry| entry.until < today)
    }

    /// The last date among the entries that are in force and name it.
    fn until(&self, names: impl Fn(&Accepted) -> bool) -> Option<String> {
        let in_force = self.entries.iter().filter(|entry| entry.until >= self.today && names(&entry.what));
        in_force.map(|entry| entry.until).max().map(|date| date.to_string())
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::model::{DriftClass, PolicyRef, Severity};

    fn entries(yaml: &str) -> Vec<Accept> {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn drift(namespace: &str) -> Drift {
        Drift {
            class: DriftClass::Extra,
            policy: PolicyRef::network_policy(namespace, "allow-all"),
            group: String::new(),
            declared: None,
            by: None,
            flows: 3,
            summary: String::new(),
            diff: String::new(),
            severity: Severity::Error,
            since: None,
            new: true,
            accepted_until: None,
        }
    }

    fn finding(rule: FindingRule, namespace: Option<&str>) -> Finding {
        Finding {
            key: String::new(),
            rule,
            severity: Severity::Error,
            message: String::new(),
            namespace: namespace.map(str::to_owned),
            origin: None,
            since: None,
            fix: None,
            new: true,
            accepted_until: None,
            about: None,
        }
    }

    const SAMPLE: &str = r#"
- {flow: "pulse-data/web  ->  0.0.0.0/0:443/TCP", reason: "range, no host of ours", until: 2027-03-01}
- {policy: NetworkPolicy/legacy/allow-all, reason: "goes with the old shop", until: 2027-01-31}
- {finding: baseline, namespace: legacy, reason: "goes too", until: "2027-01-31"}
- {rendering: flux-system/network-policies, reason: "SOPS", until: 2027-01-31}
"#;

    #[test]
    fn each_kind_of_entry_clears_what_it_names_and_nothing_else() {
        let all = entries(SAMPLE);
        let accepted = Acceptances::new(&all, date(2026, 11, 24));
        let date = |text: &str| Some(text.to_owned());
        assert_eq!(accepted.flow_key("pulse-data/web -> 0.0.0.0/0:443/TCP"), date("2027-03-01"));
        assert_eq!(accepted.flow_key("pulse-data/web -> 0.0.0.0/0:44/TCP"), None);
        assert_eq!(accepted.flow_key("pulse-data/web -> 0.0.0.0/0:443/TCP (IPv6)"), date("2027-03-01"), "one flow");
        assert_eq!(accepted.drift(&drift("legacy")), date("2027-01-31"));
        assert_eq!(accepted.drift(&drift("shop")), None);
        assert_eq!(accepted.finding(&finding(FindingRule::Baseline, Some("legacy"))), date("2027-01-31"));
        assert_eq!(accepted.finding(&finding(FindingRule::Relabelled, Some("legacy"))), None);
        assert_eq!(accepted.finding(&finding(FindingRule::Baseline, Some("shop"))), None);
        assert_eq!(accepted.finding(&finding(FindingRule::Baseline, None)), None);
        let [ours, other] = ["network-policies", "apps"]
            .map(|name| KustomizationRef { namespace: "flux-system".to_owned(), name: name.to_owned() });
        assert_eq!(accepted.rendering(&ours), date("2027-01-31"));
        assert_eq!(accepted.rendering(&other), None);
    }

    #[test]
    fn the_last_day_still_counts_and_the_next_does_not() {
        let all = entries(SAMPLE);
        for (today, expected, expired) in [(date(2027, 1, 31), true, 0), (date(2027, 2, 1), false, 3)] {
            let accepted = Acceptances::new(&all, today);
            assert_eq!(accepted.drift(&drift("legacy")).is_some(), expected, "{today}");
            assert_eq!(accepted.expired().count(), expired, "{today}");
        }
    }

    #[test]
    fn entries_that_could_accept_more_than_meant_are_refused() {
        for (yaml, words) in [
            ("[{reason: r, until: 2027-01-31}]", "names one of"),
            ("[{flow: 'a/b -> c/d:1/TCP', policy: NetworkPolicy/a/b, reason: r, until: 2027-01-31}]", "names one of"),
            ("[{finding: baseline, reason: r, until: 2027-01-31}]", "go together"),
            ("[{policy: NetworkPolicy/a/b, namespace: a, reason: r, until: 2027-01-31}]", "go together"),
            ("[{policy: NetworkPolicy/a/b, reason: ' ', until: 2027-01-31}]", "reason"),
            ("[{policy: NetworkPolicy/a/b, until: 2027-01-31}]", "reason"),
            ("[{policy: allow-all, reason: r, until: 2027-01-31}]", "KIND/NAMESPACE/NAME"),
            ("[{flow: 'a/b -> c/d', reason: r, until: 2027-01-31}]", "SOURCE -> DESTINATION"),
            ("[{flow: 'a/b -> c/d:80/ICMP', reason: r, until: 2027-01-31}]", "SOURCE -> DESTINATION"),
            ("[{rendering: network-policies, reason: r, until: 2027-01-31}]", "NAMESPACE/NAME"),
            ("[{policy: NetworkPolicy/a/b, reason: r, until: 2027-02-31}]", "until"),
            ("[{policy: NetworkPolicy/a/b, reason: r, until: soon}]", ""),
            ("[{policies: NetworkPolicy/a/b, reason: r, until: 2027-01-31}]", "unknown field"),
            ("[{finding: basline, namespace: a, reason: r, until: 2027-01-31}]", "basline"),
        ] {
            let error = serde_saphyr::from_str::<Vec<Accept>>(yaml).expect_err(yaml).to_string();
            assert!(error.contains(words) || words == "until", "{yaml}: {error}");
        }
    }
}
