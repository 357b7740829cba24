//! Containers that are added to pods without a tool, against a server that plays the API server and the pod.

use std::sync::{Arc, Mutex};

use netpol_verify::{
    config::{NamespaceSet, ProductNamespaces},
    model::{Container, PodRef, Protocol},
    probe::{Ephemeral, ExecProber, Limits, Outcome, PodProber},
    verify::seams::{ProbeSource, ProbeTarget, Prober, Seen},
};
use probe_server::{Reply, Step, no_executable, server, status, success};
use serde_json::{Value, json};

use crate::probe_server;

const IMAGE: &str = "registry.example.org/probe:1";
const FIRST: &str = "netpol-verify-probe";

/// The pod as the server shows it.
#[derive(Default)]
struct World {
    /// Containers that were added, each with its state.
    added: Vec<(String, Value)>,
    /// What the next one that is added does.
    next: Value,
    /// The answer to an addition, where it is a refusal.
    refusal: Option<(u16, &'static str)>,
    /// Requests: `exec CONTAINER`, `get`, `patch`, `list`.
    asked: Vec<String>,
    mirror: bool,
}

type Shared = Arc<Mutex<World>>;

fn running() -> Value {
    json!({"running": {"startedAt": "2026-11-20T09:00:00Z"}})
}

fn ended() -> Value {
    json!({"terminated": {"startedAt": "2026-11-13T09:00:00Z", "finishedAt": "2026-11-20T09:00:00Z", "exitCode": 0}})
}

fn pod(world: &World) -> Reply {
    let containers: Vec<Value> = world.added.iter().map(|(name, _)| json!({"name": name, "image": IMAGE})).collect();
    let statuses: Vec<Value> = world
        .added
        .iter()
        .map(|(name, state)| {
            json!({"name": name, "image": IMAGE, "imageID": "", "ready": false, "restartCount": 0, "state": state})
        })
        .collect();
    let annotations = if world.mirror { json!({"kubernetes.io/config.mirror": "x"}) } else { json!({}) };
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "gw", "name": "envoy-0", "annotations": annotations},
        "spec": {"containers": [{"name": "envoy"}], "ephemeralContainers": containers},
        "status": {"ephemeralContainerStatuses": statuses}});
    Reply::Http(200, pod)
}

fn reply(world: &Shared, uri: &str) -> Reply {
    let mut world = world.lock().unwrap();
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    if path.ends_with("/exec") {
        let container = query.split('&').find_map(|p| p.strip_prefix("container=")).unwrap_or_default().to_owned();
        world.asked.push(format!("exec {container}"));
        let state = world.added.iter().find(|(name, _)| *name == container).map(|(_, state)| state.clone());
        return match state {
            None => Reply::Frames(vec![no_executable()]),
            Some(state) if state.get("running").is_some() => Reply::Frames(vec![
                Step::Out(
                    b"probe/1 1 openbsd\ntarget 1 tcp:10.0.3.7:80:2 openbsd 9 0 Connection to 10.0.3.7 80 port [tcp/*] succeeded!\ndone 1\n"
                        .to_vec(),
                ),
                success(),
            ]),
            Some(_) => status(500, "InternalError", "unable to upgrade connection: container not found (\"x\")"),
        };
    }
    if path.ends_with("/ephemeralcontainers") {
        world.asked.push("patch".to_owned());
        if let Some((code, message)) = world.refusal {
            return status(code, "Forbidden", message);
        }
        let name = if world.added.is_empty() { FIRST.to_owned() } else { format!("{FIRST}-{}", world.added.len() + 1) };
        let state = world.next.clone();
        world.added.push((name, state));
        return pod(&world);
    }
    if path.ends_with("/namespaces") {
        world.asked.push("list".to_owned());
        let gw = json!({"metadata": {"name": "gw", "labels": {"team": "a"}}});
        return Reply::Http(200, json!({"apiVersion": "v1", "kind": "NamespaceList", "metadata": {}, "items": [gw]}));
    }
    world.asked.push("get".to_owned());
    pod(&world)
}

async fn prober(world: &Shared, product: ProductNamespaces, probe: &[&str]) -> PodProber {
    let shared = Arc::clone(world);
    let (client, _) = server(move |uri| reply(&shared, uri)).await;
    let probe: Vec<String> = probe.iter().map(|name| (*name).to_owned()).collect();
    let namespaces = NamespaceSet::new(&product, &probe).unwrap();
    let exec = ExecProber::new(client.clone(), Limits::default());
    PodProber::new(exec, std::time::Duration::from_secs(2))
        .with_ephemeral(Some(Ephemeral::new(client, IMAGE, namespaces)))
}

fn world(next: Value) -> Shared {
    Arc::new(Mutex::new(World { next, ..World::default() }))
}

fn asked(world: &Shared) -> Vec<String> {
    std::mem::take(&mut world.lock().unwrap().asked)
}

/// Probes from the pod of the gateway, which has one container without a tool.
async fn probe(prober: &PodProber) -> Seen {
    let source = ProbeSource {
        pod: PodRef { namespace: "gw".to_owned(), name: "envoy-0".to_owned() },
        workload: "Deployment/envoy".to_owned(),
        containers: vec![Container { name: "envoy".to_owned(), image: "envoy:distroless".to_owned(), running: true }],
        node: None,
    };
    let target = ProbeTarget::Connect { protocol: Protocol::Tcp, address: "10.0.3.7".parse().unwrap(), port: 80 };
    let seen = tokio::time::timeout(std::time::Duration::from_secs(15), prober.probe(&source, &[target])).await;
    seen.expect("it hung").pop().unwrap()
}

fn said(seen: &Seen) -> (Outcome, bool) {
    (seen.outcome, seen.ephemeral)
}

#[tokio::test]
async fn a_pod_without_a_tool_gets_one_container_however_many_ask_and_it_is_used_again() {
    let world = world(running());
    let prober = prober(&world, ProductNamespaces::default(), &["gw"]).await;
    let all = futures::future::join_all((0..5).map(|_| probe(&prober))).await;
    assert!(all.iter().all(|seen| said(seen) == (Outcome::Open, true)), "{all:#?}");
    assert_eq!(asked(&world).iter().filter(|request| *request == "patch").count(), 1);
    assert_eq!(prober.added(), 1);
    assert_eq!(said(&probe(&prober).await), (Outcome::Open, true));
    assert_eq!(asked(&world), [format!("exec {FIRST}")], "neither the others nor the pod are asked again");
}

#[tokio::test]
async fn one_that_an_earlier_run_added_is_used_and_nothing_is_added() {
    let world = world(running());
    world.lock().unwrap().added.push((FIRST.to_owned(), running()));
    let prober = prober(&world, ProductNamespaces::default(), &["gw"]).await;
    assert_eq!(said(&probe(&prober).await), (Outcome::Open, true));
    assert_eq!(prober.added(), 0);
    assert!(!asked(&world).contains(&"patch".to_owned()));
}

#[tokio::test]
async fn one_that_ends_during_a_run_gets_a_successor() {
    let world = world(running());
    let prober = prober(&world, ProductNamespaces::default(), &["gw"]).await;
    probe(&prober).await;
    world.lock().unwrap().added[0].1 = ended();
    assert_eq!(said(&probe(&prober).await), (Outcome::Open, true));
    assert_eq!(world.lock().unwrap().added.len(), 2);
    assert_eq!(prober.added(), 2);
}

#[tokio::test]
async fn nothing_is_added_where_no_probe_may_start() {
    let selected = |selector: &str| ProductNamespaces { selector: Some(selector.to_owned()), ..Default::default() };
    for (product, expected) in [
        (ProductNamespaces::default(), Outcome::ToolMissing),
        (selected("team=b"), Outcome::ToolMissing),
        (selected("team=a"), Outcome::Open),
    ] {
        let world = world(running());
        let prober = prober(&world, product.clone(), &["elsewhere"]).await;
        let seen = probe(&prober).await;
        assert_eq!(seen.outcome, expected, "{product:?}: {seen:?}");
        assert_eq!(prober.added(), usize::from(expected == Outcome::Open));
        assert_eq!(asked(&world).contains(&"patch".to_owned()), expected == Outcome::Open);
        assert!(expected == Outcome::Open || seen.text.contains("namespace `gw`"), "{}", seen.text);
    }
}

#[tokio::test]
async fn what_does_not_start_is_told_at_once_with_the_kubelets_words_and_not_added_twice() {
    let world = world(json!({"waiting": {"reason": "ErrImagePull", "message": "no such host"}}));
    let prober = prober(&world, ProductNamespaces::default(), &["gw"]).await;
    for _ in 0..3 {
        let seen = probe(&prober).await;
        assert_eq!(said(&seen), (Outcome::NotProbed, false), "it may yet be pulled");
        assert!(seen.text.contains("ErrImagePull: no such host"), "{}", seen.text);
    }
    assert_eq!(prober.added(), 1);
    world.lock().unwrap().added[0].1 = running();
    assert_eq!(said(&probe(&prober).await), (Outcome::Open, true), "and then it is used");
}

#[tokio::test]
async fn what_cannot_run_and_what_is_refused_is_asked_once_and_no_retry_is_promised() {
    let broken = json!({"terminated": {"reason": "StartError", "message": "no sh", "exitCode": 128}});
    let refused = "pods \"envoy-0\" is forbidden: violates PodSecurity \"restricted:latest\": x";
    for (next, refusal, words) in [(broken, None, "no sh"), (running(), Some((403, refused)), "PodSecurity")] {
        let world = world(next);
        world.lock().unwrap().refusal = refusal;
        let prober = prober(&world, ProductNamespaces::default(), &["gw"]).await;
        for _ in 0..3 {
            let seen = probe(&prober).await;
            assert_eq!(said(&seen), (Outcome::ToolMissing, false), "{seen:?}");
            assert!(seen.text.contains(words), "{}", seen.text);
        }
        assert_eq!(asked(&world).iter().filter(|request| *request == "patch").count(), 1);
    }
}

#[tokio::test]
async fn a_static_pod_is_left_alone() {
    let world = world(running());
    world.lock().unwrap().mirror = true;
    let prober = prober(&world, ProductNamespaces::default(), &["gw"]).await;
    let seen = probe(&prober).await;
    assert_eq!(seen.outcome, Outcome::ToolMissing);
    assert!(seen.text.contains("static pod"), "{}", seen.text);
    assert!(!asked(&world).contains(&"patch".to_owned()));
}

#[tokio::test]
async fn without_the_opt_in_nothing_is_asked_of_the_pod() {
    let world = world(running());
    let shared = Arc::clone(&world);
    let (client, _) = server(move |uri| reply(&shared, uri)).await;
    let prober = PodProber::new(ExecProber::new(client, Limits::default()), std::time::Duration::from_secs(2));
    assert_eq!(said(&probe(&prober).await), (Outcome::ToolMissing, false));
    let asked = asked(&world);
    assert!(asked.iter().all(|request| request == "exec envoy"), "{asked:?}");
}
