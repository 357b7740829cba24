//! Why an exec gave no answers at all.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use thiserror::Error;

use super::{Outcome, exec::SourcePod};

/// The most of a server's message that is kept.
const MESSAGE_LIMIT: usize = 1000;

/// Why an exec gave no answers at all. What broke on the way is no fault: its targets are [`Outcome::Cut`].
#[derive(Debug, Error)]
pub enum ExecFault {
    /// The container has no such program.
    #[error("container `{}` of pod `{}/{}` has no such program: {message}", source_pod.container, source_pod.namespace, source_pod.name)]
    ToolMissing {
        /// Where.
        source_pod: SourcePod,
        /// The runtime's words.
        message: String,
    },
    /// A ValidatingAdmissionPolicy refused; its reason is short, so that it is not cut in a message.
    #[error("exec into pod `{}/{}` was refused by policy {message}", source_pod.namespace, source_pod.name)]
    Policy {
        /// Where.
        source_pod: SourcePod,
        /// The policy's name and words.
        message: String,
    },
    /// RBAC, another admission plugin or the kubelet refused.
    #[error("exec into pod `{}/{}` was refused: {message}; the verifier needs `get` and `create` on pods/exec there, and an admission policy that lets its script through", source_pod.namespace, source_pod.name)]
    Forbidden {
        /// Where.
        source_pod: SourcePod,
        /// The API server's message.
        message: String,
    },
    /// There is no such pod any more.
    #[error("pod `{}/{}` is gone: {message}", source_pod.namespace, source_pod.name)]
    Gone {
        /// Where.
        source_pod: SourcePod,
        /// The API server's message.
        message: String,
    },
    /// The pod is there, its container is not running.
    #[error("container `{}` of pod `{}/{}` is not running: {message}", source_pod.container, source_pod.namespace, source_pod.name)]
    NotRunning {
        /// Where.
        source_pod: SourcePod,
        /// The kubelet's or runtime's message.
        message: String,
    },
    /// The runtime or the API server failed otherwise.
    #[error("exec into pod `{}/{}` failed: {message}", source_pod.namespace, source_pod.name)]
    Failed {
        /// Where.
        source_pod: SourcePod,
        /// Their message.
        message: String,
    },
    /// The API server did not answer.
    #[error("exec into pod `{}/{}` had no answer from the API server within {after:?}", source_pod.namespace, source_pod.name)]
    NoAnswer {
        /// Where.
        source_pod: SourcePod,
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection could not be made.
    #[error("exec into pod `{}/{}` could not be started", source_pod.namespace, source_pod.name)]
    Connect {
        /// Where.
        source_pod: SourcePod,
        /// The client's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// More targets than one exec takes.
    #[error("{count} targets are more than the {} of one exec", super::script::MAX_TARGETS)]
    TooMany {
        /// How many were given.
        count: usize,
    },
}

impl ExecFault {
    /// What each target of the exec is reported as.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::ToolMissing { .. } => Outcome::ToolMissing,
            Self::Policy { .. } | Self::Forbidden { .. } | Self::TooMany { .. } => Outcome::NotProbed,
            Self::Gone { .. } | Self::NotRunning { .. } => Outcome::NoSource,
            Self::Failed { .. } | Self::NoAnswer { .. } | Self::Connect { .. } => Outcome::Cut,
        }
    }

    /// The fault of a client error before the exec began.
    pub(super) fn before(pod: &SourcePod, error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if by_policy(&status.message).is_some() => Self::of_message(pod, &status.message),
            kube::Error::Api(status) if status.is_forbidden() || status.code == 401 => {
                Self::Forbidden { source_pod: pod.clone(), message: bounded(&status.message) }
            }
            kube::Error::Api(status) if status.code == 404 && !is_container(&status.message) => {
                Self::Gone { source_pod: pod.clone(), message: bounded(&status.message) }
            }
            kube::Error::Api(status) => Self::of_message(pod, &status.message),
            other => Self::Connect { source_pod: pod.clone(), source: Box::new(other) },
        }
    }

    /// The fault of a status that the runtime sent in place of an exit code.
    pub(super) fn of_status(pod: &SourcePod, status: &Status) -> Self {
        let message = status.message.as_deref().or(status.reason.as_deref()).unwrap_or("no reason given");
        if status.code == Some(403) || status.reason.as_deref() == Some("Forbidden") {
            return Self::Forbidden { source_pod: pod.clone(), message: bounded(message) };
        }
        Self::of_message(pod, message)
    }

    fn of_message(pod: &SourcePod, message: &str) -> Self {
        if let Some((policy, reason)) = by_policy(message) {
            let message = bounded(&format!("`{policy}`: {reason}"));
            return Self::Policy { source_pod: pod.clone(), message };
        }
        let lower = message.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let (source_pod, message) = (pod.clone(), bounded(message));
        if says(&["executable file", "no such file or directory", "error finding executable"]) {
            Self::ToolMissing { source_pod, message }
        } else if says(&["pod does not exist", "pod not found"]) || lower.contains("pods \"") && says(&["not found"]) {
            Self::Gone { source_pod, message }
        } else if is_container(&lower) || says(&["not running", "completed pod", "is in created state", "has stopped"])
        {
            Self::NotRunning { source_pod, message }
        } else if says(&["forbidden", "unauthorized"]) {
            Self::Forbidden { source_pod, message }
        } else {
            Self::Failed { source_pod, message }
        }
    }
}

/// The policy and its reason in `… ValidatingAdmissionPolicy 'NAME' with binding 'NAME' denied request: REASON`.
pub(super) fn by_policy(message: &str) -> Option<(&str, &str)> {
    let (_, rest) = message.split_once("ValidatingAdmissionPolicy '")?;
    let (policy, rest) = rest.split_once('\'')?;
    Some((policy, rest.split_once(" denied request: ")?.1))
}

/// Whether a "not found" is about the container, not the pod.
fn is_container(message: &str) -> bool {
    let lower = message.to_lowercase();
    lower.contains("container")
        && ["not found", "not valid for pod", "not created", "no running task"].iter().any(|w| lower.contains(w))
}

pub(super) fn bounded(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> SourcePod {
        SourcePod { namespace: "shop".into(), name: "cart-0".into(), container: "app".into(), node: None }
    }

    #[test]
    fn a_policys_reason_comes_before_a_message_would_be_cut() {
        let said = "pods \"cart-0\" is forbidden: ValidatingAdmissionPolicy 'bounds' with binding 'bounds' denied request: \
            this namespace is not found in the set";
        let status = kube::core::Status { code: 403, ..kube::core::Status::failure(said, "Forbidden") };
        let fault = ExecFault::before(&pod(), kube::Error::Api(Box::new(status)));
        assert_eq!(fault.outcome(), Outcome::NotProbed);
        let text = "exec into pod `shop/cart-0` was refused by policy `bounds`: this namespace is not found in the set";
        assert_eq!(fault.to_string(), text);
    }

    #[test]
    fn messages_of_runtimes_and_kubelets() {
        let oci = "error executing command in container: failed to exec in container: failed to start exec \"1f\": OCI runtime exec failed: exec failed: unable to start container process: exec: \"sh\": executable file not found in $PATH";
        let rows = [
            (oci, Outcome::ToolMissing),
            (
                "executable file `sh` not found in $PATH: No such file or directory: OCI runtime attempted to invoke a command that was not found",
                Outcome::ToolMissing,
            ),
            ("exec /bin/sh: no such file or directory", Outcome::ToolMissing),
            ("error finding executable \"sh\" in PATH [/bin]", Outcome::ToolMissing),
            ("unable to upgrade connection: container not found (\"app\")", Outcome::NoSource),
            ("container app is not valid for pod cart-0", Outcome::NoSource),
            ("cannot exec into a container in a completed pod; current phase is Succeeded", Outcome::NoSource),
            ("failed to exec in container: container is in CONTAINER_EXITED state: not running", Outcome::NoSource),
            ("unable to upgrade connection: pod does not exist", Outcome::NoSource),
            ("pods \"cart-0\" not found", Outcome::NoSource),
            (
                "unable to upgrade connection: Forbidden (user=kube-apiserver, verb=create, resource=nodes)",
                Outcome::NotProbed,
            ),
            ("error dialing backend: dial tcp 10.0.0.1:10250: i/o timeout", Outcome::Cut),
        ];
        for (message, outcome) in rows {
            let fault = ExecFault::of_message(&pod(), message);
            assert_eq!(fault.outcome(), outcome, "{fault:?}");
            assert!(fault.to_string().contains(message), "{fault}");
        }
    }
}
