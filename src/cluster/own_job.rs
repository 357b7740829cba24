//! What the run's own Job says of why it runs.

use k8s_openapi::api::batch::v1::Job;
use kube::{Api, Client};

use crate::{
    model::{KustomizationRef, Revision, Trigger},
    verify::seams::OwnJob,
};

use super::ClusterError;

/// The CronJob controller's annotation; `kubectl create job --from` does not set it.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// Reads the own Job and what the environment says beside it.
///
/// `name` is the Job's (its pods carry it as the label `batch.kubernetes.io/job-name`), `expected` is
/// `NETPOL_VERIFY_REVISION`, `trigger` is `NETPOL_VERIFY_TRIGGER`; empty ones count as absent. A Job that is gone is
/// as good as one that is unknown.
///
/// # Errors
/// The Job could not be read, or a variable does not hold what it should.
pub async fn own_job(
    client: &Client,
    namespace: &str,
    name: Option<&str>,
    expected: Option<&str>,
    trigger: Option<&str>,
) -> Result<OwnJob, ClusterError> {
    let expected = parse_expected(expected.unwrap_or_default())?;
    let trigger = trigger.filter(|text| !text.is_empty()).map(parse_trigger).transpose()?;
    let mut own = OwnJob { expected, trigger, ..OwnJob::default() };
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(own) };
    own.name = Some(name.to_owned());
    let role = format!("Role netpol-verify in {namespace}");
    let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
    let job = jobs.get_opt(name).await.map_err(|e| ClusterError::in_role("get", "jobs.batch", &role, &e))?;
    let Some(job) = job else {
        tracing::warn!(job = name, namespace, "own Job was not found");
        return Ok(own);
    };
    own.created = job.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string());
    own.indexed = indexed(&job);
    own.scheduled = job.metadata.annotations.is_some_and(|annotations| annotations.contains_key(SCHEDULED));
    Ok(own)
}

/// The UID and the number of pods of an Indexed Job.
fn indexed(job: &Job) -> Option<(String, usize)> {
    let spec = job.spec.as_ref().filter(|spec| spec.completion_mode.as_deref() == Some("Indexed"))?;
    // Pods that wait for others to end are given nothing.
    let at_once = spec.completions?.min(spec.parallelism.unwrap_or(1));
    let count = usize::try_from(at_once).ok().filter(|count| *count > 1)?;
    Some((job.metadata.uid.clone()?, count))
}

/// Reads `NAMESPACE/NAME@REVISION,…`; nothing between commas is nothing.
///
/// # Errors
/// A piece is not of that form.
pub fn parse_expected(text: &str) -> Result<Vec<(KustomizationRef, Revision)>, ClusterError> {
    text.split(',').map(str::trim).filter(|piece| !piece.is_empty()).map(parse_one).collect()
}

/// One piece. Names of objects have no `@`, so the first one begins the revision, which may have more of them.
fn parse_one(piece: &str) -> Result<(KustomizationRef, Revision), ClusterError> {
    let wrong = || ClusterError::Expected { piece: piece.to_owned() };
    let (name, revision) = piece.split_once('@').ok_or_else(wrong)?;
    let (namespace, name) = name.split_once('/').ok_or_else(wrong)?;
    if !is_name(namespace) || !is_name(name) || revision.is_empty() {
        return Err(wrong());
    }
    let id = KustomizationRef { namespace: namespace.to_owned(), name: name.to_owned() };
    Ok((id, Revision(revision.to_owned())))
}

/// Whether it can be the name of an object (a DNS subdomain).
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
}

/// Reads `merge`, `schedule` or `manual`.
///
/// # Errors
/// It is another word.
pub fn parse_trigger(text: &str) -> Result<Trigger, ClusterError> {
    match text {
        "merge" => Ok(Trigger::Merge),
        "schedule" => Ok(Trigger::Schedule),
        "manual" => Ok(Trigger::Manual),
        other => Err(ClusterError::Trigger(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchers_revisions_are_read() {
        let text = "flux-system/network-policies@main@sha1:4f2c9ab,apps/x.y@refs/heads/a@b@sha1:0, ";
        let read: Vec<_> = parse_expected(text).unwrap().iter().map(|(id, r)| format!("{id} {r}")).collect();
        assert_eq!(read, ["flux-system/network-policies main@sha1:4f2c9ab", "apps/x.y refs/heads/a@b@sha1:0"]);
        assert_eq!(parse_expected("").unwrap(), []);
    }

    #[test]
    fn what_the_watcher_would_not_write_is_refused_by_name() {
        for piece in ["main@sha1:4f2c9ab", "flux-system/network-policies", "a/b@", "/b@r", "a/@r", "a/B@r", "a/b/c@r"] {
            let error = parse_expected(&format!("a/b@r,{piece}")).unwrap_err();
            assert_eq!(error, ClusterError::Expected { piece: piece.to_owned() });
        }
        assert_eq!(parse_trigger("schedule").unwrap(), Trigger::Schedule);
        assert!(parse_trigger("Merge").unwrap_err().to_string().contains("`Merge`"));
    }
}
