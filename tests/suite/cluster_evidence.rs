//! The end of an enforcer's log, from an API server that plays its part.

use std::time::Duration;

use kube::{Client, Config};
use netpol_verify::{cluster::LiveCluster, model::PodRef, verify::seams::Cluster};
use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

const LOG: &str = "/api/v1/namespaces/calico-system/pods/calico-node-x/log";
const SINCE: &str = "2026-11-20T09:00:00Z";

async fn asked(answer: ResponseTemplate) -> (Result<String, String>, String) {
    let server = MockServer::start().await;
    Mock::given(path(LOG)).respond_with(answer).mount(&server).await;
    let client = Client::try_from(Config::new(server.uri().parse().unwrap())).unwrap();
    let cluster = LiveCluster::new(client, "netpol-verify").with_patience(Duration::from_secs(3));
    let pod = PodRef { namespace: "calico-system".to_owned(), name: "calico-node-x".to_owned() };
    let log = cluster.log(&pod, "calico-node", SINCE).await.map_err(|fault| fault.to_string());
    let requests = server.received_requests().await.unwrap();
    (log, requests.first().unwrap().url.query().unwrap().to_owned())
}

#[tokio::test]
async fn a_log_is_asked_for_since_a_moment_and_within_bounds() {
    let (log, query) = asked(ResponseTemplate::new(200).set_body_string("one\ntwo\n")).await;
    assert_eq!(log.unwrap(), "one\ntwo\n");
    let pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    for pair in ["container=calico-node", "limitBytes=1048576", "tailLines=4000"] {
        assert!(pairs.contains(&pair), "{query}");
    }
    assert!(query.contains("sinceTime=2026-11-20T09%3A00%3A00"), "{query}");
    assert!(!query.contains("follow") && !query.contains("previous"), "{query}");
}

#[tokio::test]
async fn a_log_of_any_bytes_and_any_length_is_text_within_its_bound() {
    let (log, _) = asked(ResponseTemplate::new(200).set_body_bytes(b"DROP \xff\xfe half \xc3".to_vec())).await;
    assert_eq!(log.unwrap(), "DROP \u{fffd}\u{fffd} half \u{fffd}");
    let (log, _) = asked(ResponseTemplate::new(200).set_body_bytes(vec![b'x'; 3 << 20])).await;
    assert_eq!(log.unwrap().len(), 1 << 20, "whatever the kubelet makes of the limit");
}

#[tokio::test]
async fn what_cannot_be_read_says_why_and_what_to_add() {
    let refused = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden",
        "message": "pods \"calico-node-x\" is forbidden"});
    let (log, _) = asked(ResponseTemplate::new(403).set_body_json(refused)).await;
    let expected =
        "may not get pods/log: add get on pods/log to Role netpol-verify-evidence in calico-system (job/evidence)";
    assert_eq!(log.unwrap_err(), expected);
    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound",
        "message": "pods \"calico-node-x\" not found"});
    let (log, _) = asked(ResponseTemplate::new(404).set_body_json(gone)).await;
    assert_eq!(log.unwrap_err(), "could not get pods/log: pods \"calico-node-x\" not found");
    let (log, _) = asked(ResponseTemplate::new(200).set_delay(Duration::from_secs(20))).await;
    assert_eq!(log.unwrap_err(), "could not get pods/log: no answer within 3 s");
}
