//! Where the pods of an Indexed Job meet, against an API server in memory.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::batch::v1::Job;
use netpol_verify::{
    cluster::own_job,
    model::DenialLook,
    state::{JobDesk, Places},
    verify::{
        ground::Ground,
        probing::Patience,
        seams::{Desk, Shards, Ticket},
        shards::{Answer, Task},
    },
};
use serde_json::{Value, json};

use crate::support::api::{Api, Fault};

const NAMESPACE: &str = "netpol-verify";
const NAME: &str = "netpol-verify-shard-1";

fn task(seconds: u64) -> Task {
    let time = Duration::from_secs(seconds);
    Task { ground: Ground::default(), probes: Vec::new(), patience: Patience { settle: time, deadline: time } }
}

fn answer(added: usize) -> Answer {
    let denial = BTreeMap::from([("node-1".to_owned(), DenialLook::Drop)]);
    Answer { tracks: Vec::new(), denial, added }
}

fn job(api: &Api, uid: &str, status: &Value) {
    let spec = json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3, "template": {"spec": {"containers": []}}});
    let metadata = json!({"namespace": NAMESPACE, "name": "sweep", "uid": uid});
    api.put("jobs.batch", json!({"metadata": metadata, "spec": spec, "status": status}));
}

/// The pods of a Job that was installed with its places.
async fn installed() -> (Api, Places, JobDesk) {
    let api = Api::start().await;
    api.put("configmaps", json!({"metadata": {"namespace": NAMESPACE, "name": NAME}}));
    job(&api, "u-1", &json!({}));
    let places = of(&api, "u-1");
    (api, places.clone(), places.desk(1))
}

fn of(api: &Api, uid: &str) -> Places {
    Places::new(api.client(), NAMESPACE, "sweep", uid, 3)
}

#[tokio::test]
async fn a_task_is_given_done_and_answered_once() {
    let (_api, places, desk) = installed().await;
    assert!(desk.task().await.unwrap().is_none(), "an empty place holds nothing");
    let ticket = places.give(1, &task(5)).await.unwrap();
    assert_eq!(places.answer(1, &ticket).await.unwrap(), None);
    assert_eq!(desk.task().await.unwrap(), Some((ticket.clone(), task(5))));
    assert_eq!(desk.ticket().await.unwrap(), Some(ticket.clone()));
    desk.answer(&ticket, &answer(2)).await.unwrap();
    assert_eq!(places.answer(1, &ticket).await.unwrap(), Some(answer(2)));
    assert!(desk.task().await.unwrap().is_none() && desk.ticket().await.unwrap().is_none(), "it is done");
    let next = places.give(1, &task(6)).await.unwrap();
    assert_ne!(ticket, next);
    assert_eq!(places.answer(1, &next).await.unwrap(), None, "the answer to the one before is gone");
    assert_eq!(desk.task().await.unwrap(), Some((next, task(6))));
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_not_taken_for_one_to_the_next_task() {
    let (_api, places, desk) = installed().await;
    let first = places.give(1, &task(5)).await.unwrap();
    let second = places.give(1, &task(5)).await.unwrap();
    desk.answer(&first, &answer(1)).await.unwrap();
    assert_eq!(places.answer(1, &second).await.unwrap(), None, "the same question at another time");
    let error = places.answer(1, &first).await.unwrap_err().to_string();
    assert!(error.contains("ConfigMap netpol-verify/netpol-verify-shard-1 holds another task now"), "{error}");
}

#[tokio::test]
async fn what_another_job_left_there_is_nothing() {
    let (api, places, _) = installed().await;
    let ticket = places.give(1, &task(5)).await.unwrap();
    let later = of(&api, "u-2");
    assert!(later.clone().desk(1).task().await.unwrap().is_none());
    assert!(later.answer(1, &ticket).await.is_err());
}

#[tokio::test]
async fn the_pods_that_can_answer_are_those_that_the_job_does_not_call_ended() {
    let (api, places, desk) = installed().await;
    assert_eq!((places.count(), places.alive().await.unwrap(), desk.is_over().await.unwrap()), (3, vec![1, 2], false));
    job(&api, "u-1", &json!({"failedIndexes": "1"}));
    assert_eq!((places.alive().await.unwrap(), desk.is_over().await.unwrap()), (vec![2], false));
    job(&api, "u-1", &json!({"completedIndexes": "0"}));
    assert!(desk.is_over().await.unwrap(), "the run has ended");
    job(&api, "u-2", &json!({}));
    assert!(desk.is_over().await.unwrap() && places.alive().await.unwrap().is_empty(), "it is another Job");
    api.remove("jobs.batch", NAMESPACE, "sweep");
    assert!(desk.is_over().await.unwrap() && places.alive().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_write_that_meets_another_one_is_tried_again_and_a_refused_one_is_not() {
    let (api, places, _) = installed().await;
    api.fault("PUT", "/configmaps", Fault::Status(409), 1);
    places.give(1, &task(5)).await.unwrap();
    api.fault("PUT", "/configmaps", Fault::Status(403), 1);
    let error = places.give(1, &task(5)).await.unwrap_err().to_string();
    assert!(error.contains("forbidden: an Indexed Job needs the component job/sharded"), "{error}");
    let error = places.give(2, &task(5)).await.unwrap_err().to_string();
    assert!(error.contains("ConfigMap netpol-verify/netpol-verify-shard-2 is not there"), "{error}");
}

#[tokio::test]
async fn what_is_no_task_or_answer_is_an_error_with_its_place() {
    let (api, places, desk) = installed().await;
    let Ticket(ticket) = places.give(1, &task(5)).await.unwrap();
    let mut object = api.get("configmaps", NAMESPACE, NAME).unwrap();
    object["binaryData"] = json!({"task.json.gz": "AAAA"});
    api.put("configmaps", object.clone());
    let error = desk.task().await.unwrap_err().to_string();
    assert!(error.contains("ConfigMap netpol-verify/netpol-verify-shard-1, key task.json.gz"), "{error}");
    object["binaryData"] = json!({"answer.json.gz": "AAAA"});
    api.put("configmaps", object);
    let error = places.answer(1, &Ticket(ticket)).await.unwrap_err().to_string();
    assert!(error.contains("key answer.json.gz"), "{error}");
}

#[tokio::test]
async fn only_an_indexed_job_of_several_pods_at_the_same_time_is_shared() {
    let api = Api::start().await;
    let seen = async |spec: Value| {
        let metadata = json!({"namespace": NAMESPACE, "name": "sweep", "uid": "u-1"});
        let job: Job = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
        api.put("jobs.batch", serde_json::to_value(job).unwrap());
        own_job(&api.client(), NAMESPACE, Some("sweep"), None, None).await.unwrap().indexed
    };
    let spec = |mode: &str, completions: i32, parallelism: i32| json!({"completionMode": mode, "completions": completions, "parallelism": parallelism, "template": {}});
    assert_eq!(seen(spec("Indexed", 4, 4)).await, Some(("u-1".to_owned(), 4)));
    assert_eq!(
        seen(spec("Indexed", 4, 2)).await,
        Some(("u-1".to_owned(), 2)),
        "the others begin when these have ended"
    );
    assert_eq!(seen(spec("Indexed", 1, 1)).await, None);
    assert_eq!(seen(spec("Indexed", 4, 1)).await, None);
    assert_eq!(seen(spec("NonIndexed", 4, 4)).await, None);
    assert_eq!(seen(json!({"template": {}})).await, None);
}
