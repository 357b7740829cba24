//! Why there is no container to probe from, and whether a retry can help.

use std::time::Duration;

use thiserror::Error;

use super::container::MOST;
use crate::probe::{
    Outcome,
    fault::{bounded, by_policy},
};

/// Why none runs in a pod. Each begins with what it is about, so that it can stand alone in a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EphemeralFault {
    /// The configuration does not let probes start there.
    #[error(
        "no ephemeral container is added in namespace `{0}`: it is in neither productNamespaces nor probeNamespaces"
    )]
    Elsewhere(String),
    /// The kubelet's own pods take none.
    #[error("no ephemeral container can be added to {0}: it is a static pod")]
    Static(String),
    /// RBAC, PodSecurity, a policy, a webhook, or the API server's validation refused it.
    #[error("an ephemeral container in {pod} was refused: {message}")]
    Refused {
        /// The pod.
        pod: String,
        /// Their words, and what to do.
        message: String,
    },
    /// Its image cannot do it.
    #[error("ephemeral container {name} of {pod} cannot run: {reason} (probe.image needs `sh` and `sleep`)")]
    Broken {
        /// The pod.
        pod: String,
        /// The container.
        name: String,
        /// The runtime's words.
        reason: String,
    },
    /// All that a pod gets have ended.
    #[error(
        "{0} has had {MOST} ephemeral containers, which have ended and cannot be removed: replace the pod to have it probed again"
    )]
    Spent(String),
    /// The pod is gone, or about to be.
    #[error("{0} is being deleted")]
    Gone(String),
    /// It was added and does not run yet.
    #[error("ephemeral container {name} of {pod} does not start: {reason}")]
    NotStarted {
        /// The pod.
        pod: String,
        /// The container.
        name: String,
        /// The kubelet's words.
        reason: String,
    },
    /// The API server could not be asked.
    #[error("{verb} for an ephemeral container in {pod} failed: {message}")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// The pod.
        pod: String,
        /// The client's error.
        message: String,
    },
}

impl EphemeralFault {
    /// What each target is reported as: [`Outcome::ToolMissing`] where no retry helps before somebody does something.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Gone(_) => Outcome::NoSource,
            Self::NotStarted { .. } | Self::Api { .. } => Outcome::NotProbed,
            _ => Outcome::ToolMissing,
        }
    }

    /// No answer within `after`.
    pub(super) fn slow(verb: &'static str, pod: &str, after: Duration) -> Self {
        Self::Api { verb, pod: pod.to_owned(), message: format!("no answer within {} s", after.as_secs()) }
    }

    /// Of a client's error.
    pub(super) fn of(verb: &'static str, pod: &str, error: &kube::Error) -> Self {
        let pod = pod.to_owned();
        let kube::Error::Api(status) = error else {
            return Self::Api { verb, pod, message: bounded(&error.to_string()) };
        };
        let message = bounded(&status.message);
        match status.code {
            404 if message.contains("pods \"") => Self::Gone(pod),
            // What is refused now is refused until rights, policies or the pod are others.
            400 | 403 | 404 | 405 | 422 => Self::Refused { pod, message: advised(&message) },
            _ => Self::Api { verb, pod, message },
        }
    }
}

/// The server's words, with what to do where that is known.
fn advised(message: &str) -> String {
    if let Some((policy, reason)) = by_policy(message) {
        return format!("policy `{policy}`: {reason}");
    }
    if message.contains("cannot patch resource") {
        return format!("{message}; `probe.ephemeral` needs the rights of job/ephemeral");
    }
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, message: &str) -> EphemeralFault {
        let status = kube::core::Status { code, ..kube::core::Status::failure(message, "") };
        EphemeralFault::of("patch", "gw/envoy-0", &kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn refusals_wait_for_a_person_and_troubles_for_the_next_run() {
        let rows = [
            (403, "pods \"envoy-0\" is forbidden: violates PodSecurity \"restricted:latest\": x", Outcome::ToolMissing),
            (422, "Pod \"envoy-0\" is invalid: static pods do not support ephemeral containers", Outcome::ToolMissing),
            (404, "the server could not find the requested resource", Outcome::ToolMissing),
            (404, "pods \"envoy-0\" not found", Outcome::NoSource),
            (409, "the object has been modified", Outcome::NotProbed),
            (429, "too many requests", Outcome::NotProbed),
            (500, "failed calling webhook \"x\": connection refused", Outcome::NotProbed),
        ];
        for (code, message, outcome) in rows {
            let fault = of(code, message);
            assert_eq!(fault.outcome(), outcome, "{message}");
            let said = outcome == Outcome::NoSource || fault.to_string().contains(message);
            assert!(said && fault.to_string().contains("gw/envoy-0"), "{fault}");
        }
    }

    #[test]
    fn a_lacking_right_and_a_policy_say_what_to_do() {
        let rbac =
            "pods \"envoy-0\" is forbidden: User \"x\" cannot patch resource \"pods/ephemeralcontainers\" in API group";
        assert!(of(403, rbac).to_string().ends_with("needs the rights of job/ephemeral"));
        let policy =
            "pods \"envoy-0\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: not so";
        assert!(of(403, policy).to_string().ends_with("was refused: policy `p`: not so"));
    }
}
