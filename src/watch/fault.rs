//! What keeps the watcher from looking or from making a Job.

use crate::{cluster::reason, verify::seams::Fault};

/// What the API server's words hold when an admission policy refuses.
const ADMISSION: &str = "ValidatingAdmissionPolicy";

/// Trouble of the watcher, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The API server refused or did not answer.
    #[error("could not {verb} {what}: {reason}")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// `kind namespace/name`.
        what: String,
        /// The API server's words, and the right to add where it is forbidden.
        reason: String,
    },
    /// There is no CronJob to make Jobs from.
    #[error("there is no CronJob {place}: install job/, or name yours with --cron-job")]
    NoCronJob {
        /// `namespace/name`.
        place: String,
    },
    /// The CronJob's template has no container to tell what to do.
    #[error("CronJob {place} has no container in its template")]
    NoContainer {
        /// `namespace/name`.
        place: String,
    },
    /// Flux's objects or the state could not be read.
    #[error(transparent)]
    Outside(#[from] Fault),
    /// A look took too long.
    #[error("no look within {seconds} s: is the API server overloaded?")]
    Slow {
        /// The limit.
        seconds: u64,
    },
}

impl WatchError {
    /// Puts kube's error into words.
    pub(super) fn api(verb: &'static str, what: &str, error: &kube::Error) -> Self {
        let reason = match error {
            // An admission policy's refusal is no lack of a right, and has its own words.
            kube::Error::Api(status) if status.is_forbidden() && !status.message.contains(ADMISSION) => {
                format!("forbidden: add {verb} on it to what ServiceAccount netpol-verify-watch may do")
            }
            other => reason(other),
        };
        Self::Api { verb, what: what.to_owned(), reason }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_policys_refusal_is_told_apart_from_a_missing_right() {
        let told = |message: &str| {
            let status = Status { code: 403, ..Status::failure(message, "Forbidden") };
            WatchError::api("create", "Job own/x", &kube::Error::Api(Box::new(status))).to_string()
        };
        let policy = "jobs.batch \"x\" is forbidden: ValidatingAdmissionPolicy 'netpol-verify-jobs' with binding \
            'netpol-verify-jobs' denied request: a container of the watcher's Job has the image of the template";
        assert!(told(policy).contains("denied request: a container"), "{}", told(policy));
        assert!(told("jobs.batch is forbidden: User \"x\" cannot create resource").contains("add create on it"));
    }
}
