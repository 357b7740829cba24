//! What can go wrong with the API server, in words that say what to do.

use std::error::Error as _;

/// The ClusterRole that `job/` ships, in which a missing right is to be added.
pub(super) const CLUSTER_ROLE: &str = "netpol-verify";

/// Trouble with the API server.
///
/// kube's own error is not kept as a source: its text repeats the API server's answer in full, and these texts go to
/// a room. The one line that matters is kept as text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// The account lacks a right.
    #[error("may not {verb} {resource}: add {verb} on {resource} to {role}")]
    Forbidden {
        /// The verb.
        verb: &'static str,
        /// `resource.group`, without the dot for the core group.
        resource: String,
        /// The role in which the right is to be added, with its kind.
        role: String,
    },
    /// The API server answered with another error, or not at all.
    #[error("could not {verb} {resource}: {reason}")]
    Api {
        /// The verb.
        verb: &'static str,
        /// `resource.group`.
        resource: String,
        /// Its words.
        reason: String,
    },
    /// There was no answer in time.
    #[error("could not {verb} {resource}: no answer within {seconds} s")]
    Silent {
        /// The verb.
        verb: &'static str,
        /// `resource.group`.
        resource: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A list expired again and again while its pages were read.
    #[error(
        "could not list {resource}: the list expired {times} times while it was read; is the API server overloaded?"
    )]
    Expired {
        /// `resource.group`.
        resource: String,
        /// How often it was begun.
        times: u32,
    },
    /// A list did not end.
    #[error("could not list {resource}: more than {pages} pages")]
    Endless {
        /// `resource.group`.
        resource: String,
        /// The limit.
        pages: u32,
    },
    /// `NETPOL_VERIFY_REVISION` is not what the watcher writes.
    #[error("NETPOL_VERIFY_REVISION: `{piece}` is not NAMESPACE/NAME@REVISION (several are separated by commas)")]
    Expected {
        /// The piece that is wrong.
        piece: String,
    },
    /// `NETPOL_VERIFY_TRIGGER` has an unknown value.
    #[error("NETPOL_VERIFY_TRIGGER: `{0}` is not merge, schedule or manual")]
    Trigger(String),
}

impl ClusterError {
    /// Whether the same request may be answered the next time, without anybody who grants a right.
    pub(super) const fn is_passing(&self) -> bool {
        !matches!(self, Self::Forbidden { .. })
    }

    /// Puts kube's error into words, for a right that belongs into the ClusterRole.
    pub(super) fn new(verb: &'static str, resource: &str, error: &kube::Error) -> Self {
        Self::in_role(verb, resource, &format!("ClusterRole {CLUSTER_ROLE}"), error)
    }

    /// Puts kube's error into words; `role` is where a missing right is to be added.
    pub(super) fn in_role(verb: &'static str, resource: &str, role: &str, error: &kube::Error) -> Self {
        let resource = resource.to_owned();
        match error {
            kube::Error::Api(status) if status.is_forbidden() => {
                Self::Forbidden { verb, resource, role: role.to_owned() }
            }
            other => Self::Api { verb, resource, reason: reason(other) },
        }
    }
}

/// One line of what kube or the API server says, bounded, with the innermost cause.
pub(crate) fn reason(error: &kube::Error) -> String {
    let text = match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => format!("HTTP {} {}", status.code, status.reason),
        other => {
            let mut texts = vec![other.to_string()];
            let mut cause = other.source();
            while let Some(inner) = cause.filter(|_| texts.len() < 8) {
                let text = inner.to_string();
                if !texts.iter().any(|known| known.contains(&text)) {
                    texts.push(text);
                }
                cause = inner.source();
            }
            texts.join(": ")
        }
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
}
