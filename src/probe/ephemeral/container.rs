//! The one form of the container that is added, from which the admission policy is made too.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Capabilities, EphemeralContainer, SeccompProfile, SecurityContext};

/// The first one's name in a pod; later ones end in `-2`, `-3`, …
pub const NAME: &str = "netpol-verify-probe";

/// The most that a pod gets in its life: one that has ended can be neither started again nor removed.
pub const MOST: usize = 5;

/// One ends by itself after so long, so that nothing that was added runs for ever.
pub const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Its user and group: `restricted` wants a number, and the image has files that any user may read.
pub const USER: i64 = 65532;

/// What it does: sleep, for the script is run in it as in any other container. It ends at once when its pod does
/// (a first process without a handler is sent no signal but the last one, which would hold up the pod's end).
#[must_use]
pub fn command() -> [String; 3] {
    let sleep = format!("trap 'exit 0' TERM INT; sleep {} & wait", LIFETIME.as_secs());
    ["sh".to_owned(), "-c".to_owned(), sleep]
}

/// The names that one may have, in the order in which they are used.
pub fn names() -> impl Iterator<Item = String> {
    (1..=MOST).map(|number| if number == 1 { NAME.to_owned() } else { format!("{NAME}-{number}") })
}

/// The container, as `restricted` (Pod Security Standards) lets it through.
#[must_use]
pub fn container(name: &str, image: &str) -> EphemeralContainer {
    EphemeralContainer {
        name: name.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(command().to_vec()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
            read_only_root_filesystem: Some(true),
            run_as_group: Some(USER),
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..SecurityContext::default()
        }),
        ..EphemeralContainer::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_as_many_as_a_pod_gets() {
        let names: Vec<String> = names().collect();
        assert_eq!(names.first().map(String::as_str), Some("netpol-verify-probe"));
        assert_eq!(names.last().map(String::as_str), Some("netpol-verify-probe-5"));
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), MOST);
    }

    #[test]
    fn it_asks_for_nothing_that_restricted_forbids_and_for_no_more_than_it_needs() {
        let container = serde_json::to_value(container(NAME, "probe:1")).unwrap();
        let keys: Vec<&str> = container.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["command", "image", "imagePullPolicy", "name", "securityContext"]);
        assert_eq!(
            container["securityContext"],
            serde_json::json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": true, "runAsGroup": 65532, "runAsNonRoot": true, "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"}})
        );
    }
}
