//! A Job from the CronJob's template, as `kubectl create job --from=cronjob/…` makes it, with what the run is told.

use serde_json::{Value, json};

use super::decide::{Order, Reason};

/// What the container of the template is called; without it the first one is told.
const CONTAINER: &str = "netpol-verify";

/// The Job of an order; `None` where the template has no container.
///
/// As kubectl's `createJobFromCronJob`: the template's labels, annotations and specification, the annotation that
/// says it was made by hand, and the CronJob as its controller (without `blockOwnerDeletion`, which would ask for a
/// right on its finalizers). Fields that this program does not know are kept.
#[must_use]
pub fn from_template(cron_job: &Value, order: &Order) -> Option<Value> {
    let at = |pointer: &str| cron_job.pointer(pointer).cloned().unwrap_or_default();
    let mut annotations = json!({"cronjob.kubernetes.io/instantiate": "manual"});
    if let (Value::Object(all), Value::Object(more)) = (&mut annotations, at("/spec/jobTemplate/metadata/annotations"))
    {
        all.extend(more);
    }
    let mut spec = at("/spec/jobTemplate/spec");
    tell(&mut spec, order)?;
    let owner = json!({"apiVersion": "batch/v1", "kind": "CronJob", "controller": true,
        "name": at("/metadata/name"), "uid": at("/metadata/uid")});
    let mut metadata = json!({"name": order.name, "namespace": at("/metadata/namespace"), "annotations": annotations,
        "ownerReferences": [owner]});
    if let (Value::Object(metadata), labels @ Value::Object(_)) =
        (&mut metadata, at("/spec/jobTemplate/metadata/labels"))
    {
        metadata.insert("labels".to_owned(), labels);
    }
    Some(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}))
}

/// Puts into the container's environment which revision is meant, and why the run runs: one for a pod that flows wait for
/// is as one of the schedule, since a merge's run has nothing to do where its revision is checked.
fn tell(spec: &mut Value, order: &Order) -> Option<()> {
    let containers = spec.pointer_mut("/template/spec/containers")?.as_array_mut()?;
    let named = containers.iter().position(|c| c.get("name").is_some_and(|name| name == CONTAINER)).unwrap_or(0);
    let container = containers.get_mut(named)?.as_object_mut()?;
    let env = container.entry("env").or_insert_with(|| json!([]));
    if env.is_null() {
        *env = json!([]);
    }
    let env = env.as_array_mut()?;
    let revisions: Vec<String> = order.expected.iter().map(|(id, revision)| format!("{id}@{revision}")).collect();
    let trigger = if order.reason == Reason::Arrived { "schedule" } else { "merge" };
    for (name, value) in [("NETPOL_VERIFY_REVISION", revisions.join(",").as_str()), ("NETPOL_VERIFY_TRIGGER", trigger)]
    {
        env.retain(|variable| variable.get("name").is_none_or(|known| known != name));
        env.push(json!({"name": name, "value": value}));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::parse_expected,
        model::{KustomizationRef, Revision},
    };

    fn order() -> Order {
        let id = |name: &str| KustomizationRef { namespace: "flux-system".to_owned(), name: name.to_owned() };
        let expected = vec![
            (id("apps"), Revision("main@sha1:1".to_owned())),
            (id("network-policies"), Revision("feat/a@b@sha1:2".to_owned())),
        ];
        Order { name: "netpol-verify-0123456789ab-7".to_owned(), expected, reason: Reason::Merge }
    }

    fn cron_job() -> Value {
        json!({
            "apiVersion": "batch/v1", "kind": "CronJob",
            "metadata": {"name": "netpol-verify", "namespace": "here", "uid": "u1", "labels": {"of": "the CronJob"}},
            "spec": {"suspend": true, "jobTemplate": {
                "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}, "creationTimestamp": null},
                "spec": {"backoffLimit": 0, "aFieldOfTomorrow": {"x": 1}, "template": {"spec": {
                    "containers": [{"name": "proxy"}, {"name": "netpol-verify", "env": [
                        {"name": "NETPOL_VERIFY_TRIGGER", "value": "schedule"}, {"name": "KEEP", "value": "1"}]}]}}}}},
        })
    }

    #[test]
    fn it_is_what_kubectl_makes_and_says_what_is_meant() {
        let job = from_template(&cron_job(), &order()).unwrap();
        assert_eq!(
            job["metadata"],
            json!({"name": "netpol-verify-0123456789ab-7", "namespace": "here", "labels": {"a": "b"},
                "annotations": {"c": "d", "cronjob.kubernetes.io/instantiate": "manual"},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "CronJob", "name": "netpol-verify", "uid": "u1",
                    "controller": true}]})
        );
        let mut spec = cron_job()["spec"]["jobTemplate"]["spec"].clone();
        let revisions = "flux-system/apps@main@sha1:1,flux-system/network-policies@feat/a@b@sha1:2";
        spec["template"]["spec"]["containers"][1]["env"] = json!([{"name": "KEEP", "value": "1"},
            {"name": "NETPOL_VERIFY_REVISION", "value": revisions}, {"name": "NETPOL_VERIFY_TRIGGER", "value": "merge"}]);
        assert_eq!(job["spec"], spec);
        assert_eq!(parse_expected(revisions).unwrap(), order().expected, "the run reads what the watcher writes");
    }

    #[test]
    fn a_template_without_containers_is_refused_and_one_without_an_environment_gets_one() {
        let mut bare = cron_job();
        bare["spec"]["jobTemplate"] = json!({"spec": {"template": {"spec": {"containers": [{"name": "run"}]}}}});
        let job = from_template(&bare, &order()).unwrap();
        assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().len(), 2);
        assert!(job["metadata"].get("labels").is_none());
        bare["spec"]["jobTemplate"] = json!({"spec": {"template": {"spec": {"containers": []}}}});
        assert_eq!(from_template(&bare, &order()), None);
        assert_eq!(from_template(&json!({}), &order()), None);
    }
}
