//! The state's ConfigMap, against an API server in memory.

use crate::support::api;

use api::{Api, Fault};
use std::time::Duration;

use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap};
use netpol_verify::{
    model::{OutboxEntry, OutboxKind, State},
    state::{ConfigMapStore, LeaseLock, VERSION, encode},
    verify::seams::{Lock, Store},
};
use serde_json::{Value, json};

const NAMESPACE: &str = "netpol-verify";

fn store(api: &Api) -> ConfigMapStore {
    ConfigMapStore::new(api.client(), NAMESPACE, ConfigMapStore::NAME)
}

fn object(api: &Api) -> Option<Value> {
    api.get("configmaps", NAMESPACE, ConfigMapStore::NAME)
}

fn put(api: &Api, rest: &Value) {
    let mut object = json!({"metadata": {"namespace": NAMESPACE, "name": ConfigMapStore::NAME}});
    object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    api.put("configmaps", object);
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

async fn failure(result: impl Future<Output = Result<(), netpol_verify::verify::seams::Fault>>) -> String {
    result.await.unwrap_err().to_string()
}

#[tokio::test]
async fn what_one_run_saves_the_next_one_loads() {
    let api = Api::start().await;
    let first = store(&api);
    let mut state = first.load().await.unwrap();
    assert_eq!((state.version, state.id.len(), state.seq), (VERSION, 16, 0));
    assert!(object(&api).is_none(), "loading writes nothing");
    for seq in 1..=3 {
        state.seq = seq;
        first.save(&state).await.unwrap();
    }
    let second = store(&api);
    assert_eq!(second.load().await.unwrap(), state);
    state.seq = 4;
    second.save(&state).await.unwrap();
    assert_eq!(store(&api).load().await.unwrap().seq, 4);
    let summary = object(&api).unwrap()["data"]["summary"].as_str().unwrap().to_owned();
    assert!(summary.contains("seq: 4\n") && summary.contains("unsent messages: 0\n"), "{summary}");
    let other = store(&Api::start().await).load().await.unwrap();
    assert_ne!(other.id, state.id, "two installations never share an id");
}

#[tokio::test]
async fn the_empty_configmap_of_an_installation_is_filled_and_keeps_what_others_wrote() {
    let api = Api::start().await;
    put(&api, &json!({"data": {"note": "ours"}}));
    let store = store(&api);
    let state = store.load().await.unwrap();
    store.save(&state).await.unwrap();
    assert!(api.requests("POST").is_empty(), "no right to create is needed");
    let object = object(&api).unwrap();
    assert_eq!(object["data"]["note"], "ours");
    assert!(object["binaryData"]["state.json.gz"].is_string());
}

#[tokio::test]
async fn of_two_runs_the_later_writer_is_refused() {
    let api = Api::start().await;
    let (one, two) = (store(&api), store(&api));
    let mine = one.load().await.unwrap();
    let theirs = two.load().await.unwrap();
    one.save(&mine).await.unwrap();
    // Both found none: the second is not to create over it.
    let error = failure(two.save(&theirs)).await;
    assert!(error.contains("netpol-verify/netpol-verify-state was changed by somebody else"), "{error}");
    let theirs = two.load().await.unwrap();
    one.save(&State { seq: 7, ..mine.clone() }).await.unwrap();
    let error = failure(two.save(&State { seq: 8, ..theirs })).await;
    assert!(error.contains("changed by somebody else"), "{error}");
    assert_eq!(store(&api).load().await.unwrap(), State { seq: 7, ..mine });
}

#[tokio::test]
async fn a_lost_answer_is_no_conflict_with_oneself() {
    let api = Api::start().await;
    let store = store(&api);
    let state = store.load().await.unwrap();
    // kube tries again after a 504: the second try meets what the first one wrote.
    for (method, seq) in [("POST", 1), ("PUT", 2)] {
        api.fault(method, "/configmaps", Fault::DoneBut(504), 1);
        store.save(&State { seq, ..state.clone() }).await.unwrap();
    }
    // Not known at first what became of it; the next write finds it there and goes on.
    api.fault("PUT", "/configmaps", Fault::DoneBut(500), 1);
    api.fault("GET", "/configmaps", Fault::Status(500), 1);
    failure(store.save(&State { seq: 3, ..state.clone() })).await;
    store.save(&State { seq: 4, ..state.clone() }).await.unwrap();
    assert_eq!(store.load().await.unwrap().seq, 4);
    // The control: somebody else's write in the same place is one.
    api.fault("PUT", "/configmaps", Fault::DoneBut(500), 1);
    api.fault("GET", "/configmaps", Fault::Status(500), 1);
    failure(store.save(&State { seq: 5, ..state.clone() })).await;
    put(&api, &json!({"binaryData": {"state.json.gz": base64(&encode(&State { seq: 6, ..state.clone() }).unwrap())}}));
    let error = failure(store.save(&State { seq: 7, ..state })).await;
    assert!(error.contains("changed by somebody else"), "{error}");
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_never_started_afresh() {
    let newer = r#"{"version": 99, "id": "00"}"#;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packer, newer.as_bytes()).unwrap();
    let newer = packer.finish().unwrap();
    for (content, text) in [
        (json!({"binaryData": {"state.json.gz": base64(b"garbage")}}), "damaged"),
        (json!({"binaryData": {"state.json.gz": ""}}), "damaged"),
        (json!({"binaryData": {"state.json.gz": base64(&newer)}}), "layout 99"),
        (json!({"data": {"summary": "seq: 4"}}), "has a summary but no state.json.gz"),
    ] {
        let api = Api::start().await;
        put(&api, &content);
        let before = object(&api);
        let store = store(&api);
        let error = store.load().await.unwrap_err().to_string();
        assert!(error.contains(text) && error.contains("netpol-verify/netpol-verify-state"), "{error}");
        let error = failure(store.save(&State::default())).await;
        assert!(error.contains("before it was loaded"), "{error}");
        assert_eq!(object(&api), before);
    }
}

#[tokio::test]
async fn a_state_that_does_not_fit_names_what_is_large() {
    let api = Api::start().await;
    let store = store(&api);
    let state = store.load().await.unwrap();
    let mut seed = 1_u64;
    let noise: String = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{:08x}", seed >> 32)
    })
    .take(280_000)
    .collect();
    let entry = OutboxEntry {
        txn: "t".to_owned(),
        seq: 1,
        part: 0,
        kind: OutboxKind::Root,
        content: json!({ "body": noise }),
        root_txn: None,
        root_event: None,
        findings: Vec::new(),
        at: String::new(),
        tried: None,
    };
    let error = failure(store.save(&State { outbox: vec![entry], ..state.clone() })).await;
    assert!(error.contains("900 KiB are the limit") && error.contains("outbox 2188 KiB"), "{error}");
    assert!(object(&api).is_none());
    store.save(&state).await.unwrap();
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let api = Api::start().await;
    api.fault("GET", "/configmaps/", Fault::Status(403), 1);
    let error = store(&api).load().await.unwrap_err().to_string();
    assert!(
        error.contains("add get on configmaps (resourceNames: netpol-verify-state) to Role netpol-verify"),
        "{error}"
    );
}

/// `cargo test --test suite -- state_store --ignored` with KUBECONFIG; what it makes in `default` it deletes.
#[tokio::test]
#[ignore = "needs a cluster, named by KUBECONFIG"]
async fn a_real_api_server_takes_the_state_and_the_lock() {
    let client = kube::Client::try_default().await.unwrap();
    let name = format!("state-test-{}", std::process::id());
    let store = ConfigMapStore::new(client.clone(), "default", &name);
    let state = store.load().await.unwrap();
    store.save(&state).await.unwrap();
    store.save(&State { seq: 2, ..state }).await.unwrap();
    let other = ConfigMapStore::new(client.clone(), "default", &name);
    assert_eq!(other.load().await.unwrap().seq, 2);
    let lock = |holder| LeaseLock::new(client.clone(), "default", &name, holder, Some(Duration::from_secs(3))).unwrap();
    let (one, two) = (lock("one"), lock("two"));
    one.acquire(Duration::ZERO).await.unwrap();
    let busy = two.acquire(Duration::from_secs(4)).await.unwrap_err().to_string();
    assert!(busy.contains("held by `one_") && one.is_held(), "{busy}");
    one.release().await;
    two.acquire(Duration::ZERO).await.unwrap();
    two.release().await;
    let (maps, leases) = (
        kube::Api::<ConfigMap>::namespaced(client.clone(), "default"),
        kube::Api::<Lease>::namespaced(client, "default"),
    );
    maps.delete(&name, &kube::api::DeleteParams::default()).await.unwrap();
    leases.delete(&name, &kube::api::DeleteParams::default()).await.unwrap();
}
