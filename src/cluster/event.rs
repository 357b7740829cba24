//! Events on the own Job or CronJob.

use k8s_openapi::{
    api::{
        batch::v1::{CronJob, Job},
        core::v1::ObjectReference,
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use super::ClusterError;

/// Who reports.
const CONTROLLER: &str = "netpol-verify";
/// The API's bound of a note, in bytes.
const NOTE: usize = 1024;
/// The API's bound of a reason, in bytes.
const REASON: usize = 128;

/// Writes one Event about the Job, or about the CronJob where there is no Job.
pub(super) async fn write(
    client: &Client,
    namespace: &str,
    job: Option<&str>,
    cron_job: &str,
    (reason, message, warning): (&str, &str, bool),
) -> Result<(), ClusterError> {
    let regarding = regarding(client, namespace, job, cron_job).await;
    let event = Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{CONTROLLER}-")),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(jiff::Timestamp::now())),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(shortened(regarding.name.as_deref().unwrap_or(CONTROLLER), REASON)),
        action: Some("Verify".to_owned()),
        reason: Some(shortened(reason, REASON)),
        note: Some(shortened(message, NOTE)),
        type_: Some(if warning { "Warning" } else { "Normal" }.to_owned()),
        regarding: Some(regarding),
        ..Event::default()
    };
    let role = format!("Role netpol-verify in {namespace}");
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let created = events.create(&PostParams::default(), &event).await;
    created.map(|_| ()).map_err(|e| ClusterError::in_role("create", "events.events.k8s.io", &role, &e))
}

/// The object that the Event is about. Without its UID, which may not be readable, kubectl still finds it by name.
async fn regarding(client: &Client, namespace: &str, job: Option<&str>, cron_job: &str) -> ObjectReference {
    let (kind, name, uid) = if let Some(job) = job {
        let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
        ("Job", job, jobs.get_opt(job).await.ok().flatten().and_then(|job| job.metadata.uid))
    } else {
        let jobs: Api<CronJob> = Api::namespaced(client.clone(), namespace);
        ("CronJob", cron_job, jobs.get_opt(cron_job).await.ok().flatten().and_then(|job| job.metadata.uid))
    };
    ObjectReference {
        api_version: Some("batch/v1".to_owned()),
        kind: Some(kind.to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid,
        ..ObjectReference::default()
    }
}

/// At most `limit` bytes, cut between characters, with a sign that it was cut.
fn shortened(text: &str, limit: usize) -> String {
    const CUT: char = '…';
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut kept = String::new();
    for character in text.chars() {
        if kept.len() + character.len_utf8() + CUT.len_utf8() > limit {
            break;
        }
        kept.push(character);
    }
    kept.push(CUT);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_between_characters_within_the_bound() {
        let long = "ü❌".repeat(400);
        let cut = shortened(&long, NOTE);
        assert!(cut.len() <= NOTE && cut.len() > NOTE - 8 && cut.ends_with('…'), "{}", cut.len());
        assert_eq!(shortened("fine", NOTE), "fine");
    }
}
