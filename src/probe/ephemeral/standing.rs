//! Where a pod stands: whether one of the added containers runs in it, will, cannot, or may be added.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, EphemeralContainer, Pod};

use super::container::names;

/// One that lived no longer than this, in seconds, could not do what it is for: another of the same image could not
/// either.
const SHORT: i64 = 10;

/// Reasons of the kubelet for which it waits before it tries again, or does not try at all.
const STUCK: [&str; 10] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "PostStartHookError",
    "RegistryUnavailable",
    "RunContainerError",
    "SignatureValidationFailed",
];

/// The kubelet's reason for an image that is none: it stays so.
const NO_NAME: &str = "InvalidImageName";

/// A runtime's words for an image without `sh`. The kubelet tries that again for ever.
const NO_SHELL: [&str; 2] = ["executable file", "no such file or directory"];

/// Where a pod stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// This one runs.
    Running(String),
    /// This one is about to.
    Starting(String),
    /// This one does not start, for the kubelet's reason; it is tried again.
    Stuck(String, String),
    /// This one could not run, for this reason, and another of the same image could not either.
    Broken(String, String),
    /// None runs: the next one has this name.
    Absent(String),
    /// As many as a pod gets have ended.
    Spent,
}

/// Looks for the containers that were added to `pod`, by this run or an earlier one.
#[must_use]
pub fn standing(pod: &Pod, image: &str) -> Standing {
    let added = pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_deref()).unwrap_or_default();
    let ours: Vec<(&EphemeralContainer, Option<&ContainerState>)> = names()
        .filter_map(|name| added.iter().find(|container| container.name == name))
        .map(|container| (container, state(pod, &container.name)))
        .collect();
    // Of whatever version: it has the tools.
    if let Some((container, _)) = ours.iter().find(|(_, state)| state.is_some_and(|state| state.running.is_some())) {
        return Standing::Running(container.name.clone());
    }
    // One of another image may wait for that for ever.
    let same = ours.iter().filter(|(container, _)| container.image.as_deref() == Some(image));
    let known = same.rev().find_map(|(container, state)| told(&container.name, *state));
    known.unwrap_or_else(|| {
        let free = names().find(|name| !added.iter().any(|container| container.name == *name));
        free.map_or(Standing::Spent, Standing::Absent)
    })
}

fn state<'p>(pod: &'p Pod, name: &str) -> Option<&'p ContainerState> {
    let statuses = pod.status.as_ref()?.ephemeral_container_statuses.as_deref()?;
    statuses.iter().find(|status| status.name == name)?.state.as_ref()
}

/// What one that does not run says of itself; `None` for one that ended after it had run.
fn told(name: &str, state: Option<&ContainerState>) -> Option<Standing> {
    let name = name.to_owned();
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
        return is_short(ended).then(|| Standing::Broken(name, end(ended)));
    }
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    let message = waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or_default();
    let words = || if message.is_empty() { reason.to_owned() } else { format!("{reason}: {message}") };
    Some(match reason {
        NO_NAME => Standing::Broken(name, words()),
        "RunContainerError" | "CreateContainerError" if NO_SHELL.iter().any(|words| message.contains(words)) => {
            Standing::Broken(name, words())
        }
        _ if STUCK.contains(&reason) => Standing::Stuck(name, words()),
        _ => Standing::Starting(name),
    })
}

/// Whether it ended as soon as it began; one that never began has no times.
fn is_short(ended: &ContainerStateTerminated) -> bool {
    match (&ended.started_at, &ended.finished_at) {
        (Some(began), Some(over)) => over.0.as_second().saturating_sub(began.0.as_second()) < SHORT,
        _ => ended.reason.as_deref() == Some("StartError"),
    }
}

fn end(ended: &ContainerStateTerminated) -> String {
    let reason = ended.reason.as_deref().unwrap_or("it ended");
    match ended.message.as_deref().map(str::trim).filter(|message| !message.is_empty()) {
        Some(message) => format!("{reason}: {message}"),
        None => format!("{reason}, exit code {}", ended.exit_code),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A pod with these added containers: name, image, state.
    fn pod(added: &[(&str, &str, Value)]) -> Pod {
        let containers: Vec<Value> = added.iter().map(|(n, i, _)| json!({"name": n, "image": i})).collect();
        let statuses: Vec<Value> = added
            .iter()
            .filter(|(_, _, state)| !state.is_null())
            .map(|(n, i, state)| json!({"name": n, "image": i, "imageID": "", "ready": false, "restartCount": 0, "state": state}))
            .collect();
        serde_json::from_value(json!({
            "spec": {"containers": [], "ephemeralContainers": containers},
            "status": {"ephemeralContainerStatuses": statuses}
        }))
        .unwrap()
    }

    fn running() -> Value {
        json!({"running": {"startedAt": "2026-11-20T09:00:00Z"}})
    }

    fn ended(second: u8, code: i32) -> Value {
        json!({"terminated": {"startedAt": "2026-11-20T09:00:00Z", "exitCode": code, "reason": "Error",
            "finishedAt": format!("2026-11-20T09:00:{second:02}Z")}})
    }

    fn waiting(reason: &str) -> Value {
        json!({"waiting": {"reason": reason, "message": "why"}})
    }

    fn of(added: &[(&str, &str, Value)]) -> Standing {
        standing(&pod(added), "p:1")
    }

    const FIRST: &str = "netpol-verify-probe";
    const SECOND: &str = "netpol-verify-probe-2";

    #[test]
    fn a_running_one_is_used_whatever_its_version_and_whatever_else_ended() {
        let all = [(FIRST, "p:0", ended(50, 0)), ("debugger-x", "p:1", running()), (SECOND, "p:0", running())];
        assert_eq!(of(&all), Standing::Running(SECOND.to_owned()));
        assert_eq!(of(&[("debugger-x", "p:1", running())]), Standing::Absent(FIRST.to_owned()), "somebody else's");
    }

    #[test]
    fn one_on_its_way_is_waited_for_and_no_second_one_added() {
        for state in [Value::Null, waiting("ContainerCreating"), waiting("PodInitializing"), json!({"waiting": {}})] {
            assert_eq!(of(&[(FIRST, "p:1", state)]), Standing::Starting(FIRST.to_owned()));
        }
        for reason in STUCK {
            let text = format!("{reason}: why");
            assert_eq!(of(&[(FIRST, "p:1", waiting(reason))]), Standing::Stuck(FIRST.to_owned(), text));
        }
        let none = Standing::Broken(FIRST.to_owned(), "InvalidImageName: why".to_owned());
        assert_eq!(of(&[(FIRST, "p:1", waiting(NO_NAME))]), none);
    }

    #[test]
    fn another_image_is_another_chance() {
        assert_eq!(of(&[(FIRST, "p:0", waiting("ImagePullBackOff"))]), Standing::Absent(SECOND.to_owned()));
        assert_eq!(of(&[(FIRST, "p:0", ended(0, 127))]), Standing::Absent(SECOND.to_owned()));
    }

    #[test]
    fn what_ended_at_once_would_do_so_again() {
        let text = "Error, exit code 127".to_owned();
        assert_eq!(of(&[(FIRST, "p:1", ended(9, 127))]), Standing::Broken(FIRST.to_owned(), text));
        let again =
            json!({"waiting": {"reason": "RunContainerError", "message": "exec: \"sh\": executable file not found"}});
        assert!(matches!(of(&[(FIRST, "p:1", again)]), Standing::Broken(..)), "the kubelet never gives up");
        let never =
            json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": "exec: \"sh\": not found"}});
        let text = "StartError: exec: \"sh\": not found".to_owned();
        assert_eq!(of(&[(FIRST, "p:1", never)]), Standing::Broken(FIRST.to_owned(), text));
        // The first was broken, the image of that name mended, and the second ran its time.
        let all = [(FIRST, "p:1", ended(50, 0)), (SECOND, "p:1", ended(0, 127))];
        assert!(matches!(of(&all), Standing::Broken(name, _) if name == SECOND));
    }

    #[test]
    fn one_that_ran_its_time_gets_a_successor_until_there_were_enough() {
        let names: Vec<String> = names().collect();
        for count in 0..names.len() {
            let all: Vec<_> = names.iter().take(count).map(|n| (n.as_str(), "p:1", ended(50, 0))).collect();
            assert_eq!(of(&all), Standing::Absent(names[count].clone()));
        }
        let all: Vec<_> = names.iter().map(|n| (n.as_str(), "p:1", ended(50, 0))).collect();
        assert_eq!(of(&all), Standing::Spent);
    }
}
