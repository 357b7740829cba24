//! How long it takes to find the flows that a merge touches, against asking one policy set about every pair once.
//!
//! `cargo bench --bench touched [NAMESPACES]` (10 without); the ratio says how the search grows, whatever the machine.
#![expect(clippy::unwrap_used, reason = "a benchmark stops where it is broken")]

use std::{
    collections::BTreeSet,
    hint::black_box,
    time::{Duration, Instant},
};

use netpol_verify::{
    engine::{
        matrix::Matrix,
        read,
        touched::{Input, touched},
        world::{self, Family, World},
    },
    model::{
        ContainerPort, Direction, Labels, NamespaceInfo, Origins, Phase, PodInfo, PodRef, Policy, PolicyDocument,
        PolicyRef, Protocol, RuleRef, Snapshot, Workload,
    },
};
use serde_json::{Value, json};

/// Workloads in a namespace; each talks to one of the next namespace.
const WORKLOADS: usize = 6;

/// The best of so many is taken.
const ROUNDS: usize = 5;

fn main() {
    // `cargo bench` and `cargo test` hand over options of their own.
    let namespaces = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(10);
    let (snapshot, policies) = cluster(namespaces);
    let base = world(&snapshot, policies.clone());
    let empty = base.with_policies(Vec::new());
    let one_more = policy("ns0", "one-more", "app0", ("Egress", "egress", "to"), (&name(2 % namespaces), "app0"));
    let more = base.with_policies(policies.iter().cloned().chain([one_more]).collect());
    let unit = best(|| all_pairs(&base).len());
    println!("{} workloads, {} policies", base.classes.len(), policies.len());
    println!("every pair once    {unit:>10.1?}  1.00");
    for (what, before, after) in [
        ("nothing new", Some(&base), &base),
        ("one policy more", Some(&base), &more),
        ("all policies new", Some(&empty), &base),
        ("first run", None, &base),
    ] {
        let took = best(|| merge(before, after));
        println!("{what:<18} {took:>10.1?}  {:.2}", took.as_secs_f64() / unit.as_secs_f64());
    }
}

fn best(run: impl Fn() -> usize) -> Duration {
    let timed = || {
        let start = Instant::now();
        black_box(run());
        start.elapsed()
    };
    std::iter::repeat_with(timed).take(ROUNDS).min().unwrap()
}

/// The ports that are open between all pairs.
fn all_pairs(world: &World) -> Vec<usize> {
    let matrix = Matrix::new(world);
    let count = world.classes.len();
    let pairs = (0..count).flat_map(|source| (0..count).map(move |destination| (source, destination)));
    let open =
        |(source, destination)| matrix.between(source, destination, Family::V4).map(|ports| ports.iter().count());
    pairs.filter_map(open).collect()
}

fn merge(before: Option<&World>, after: &World) -> usize {
    let git: BTreeSet<PolicyRef> = after.policies.iter().map(|p| p.id.clone()).collect();
    let known = |policy: &Policy| before.is_some_and(|world| world.policies.contains(policy));
    let new = after.policies.iter().filter(|policy| before.is_some() && !known(policy));
    let rules: Vec<RuleRef> = new.flat_map(rules_of).collect();
    let found = touched(&Input {
        before,
        declared: after,
        live: after,
        changed_rules: &rules,
        outside: &[],
        names: &BTreeSet::new(),
        known: &[],
        git: &git,
        probe_from: &|_| true,
        new_namespaces: &BTreeSet::new(),
        recorded: &[],
        retried_rules: &[],
        first_run: before.is_none(),
        sweep: None,
    });
    found.flows.len()
}

fn rules_of(policy: &Policy) -> Vec<RuleRef> {
    let of = |direction| {
        let rules = policy.rules(direction).unwrap_or_default().iter();
        rules.map(move |rule| RuleRef { policy: policy.id.clone(), direction, index: rule.index })
    };
    [Direction::Ingress, Direction::Egress].into_iter().flat_map(of).collect()
}

fn name(namespace: usize) -> String {
    format!("ns{namespace}")
}

fn cluster(namespaces: usize) -> (Snapshot, Vec<Policy>) {
    let (mut snapshot, mut policies) = (Snapshot::default(), Vec::new());
    for namespace in 0..namespaces {
        let (own, next) = (name(namespace), name((namespace + 1) % namespaces));
        let labels = Labels::from([("kubernetes.io/metadata.name".to_owned(), own.clone())]);
        snapshot.namespaces.insert(own.clone(), NamespaceInfo { labels, terminating: false });
        policies.push(read(&own, "deny", &json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})));
        for app in (0..WORKLOADS).map(|workload| format!("app{workload}")) {
            let number = snapshot.pods.len() + 1;
            snapshot.pods.push(pod(&own, &app, number));
            policies.push(policy(&own, &format!("{app}-out"), &app, ("Egress", "egress", "to"), (&next, &app)));
            policies.push(policy(&next, &format!("{app}-in"), &app, ("Ingress", "ingress", "from"), (&own, &app)));
        }
    }
    (snapshot, policies)
}

fn world(snapshot: &Snapshot, policies: Vec<Policy>) -> World {
    let classes = world::classes(snapshot, &policies.iter().collect::<Vec<_>>());
    let namespaces = snapshot.namespaces.iter().map(|(name, info)| (name.clone(), info.labels.clone()));
    World::new(namespaces.collect(), classes, policies)
}

fn pod(namespace: &str, app: &str, number: usize) -> PodInfo {
    PodInfo {
        id: PodRef { namespace: namespace.to_owned(), name: format!("{app}-0") },
        uid: format!("uid-{number}"),
        labels: Labels::from([("app".to_owned(), app.to_owned())]),
        annotations: Labels::new(),
        ips: vec![format!("10.0.{}.{}", number / 250, number % 250 + 1).parse().unwrap()],
        phase: Phase::Running,
        ready: true,
        terminating: false,
        host_network: false,
        node: Some("n1".to_owned()),
        service_account: "default".to_owned(),
        workload: Workload { kind: "Deployment".to_owned(), namespace: namespace.to_owned(), name: app.to_owned() },
        ports: vec![ContainerPort { name: None, number: 8080, protocol: Protocol::Tcp, init: false }],
        containers: Vec::new(),
    }
}

/// Opens TCP 8080 of an app in one direction for one app elsewhere.
fn policy(namespace: &str, name: &str, app: &str, words: (&str, &str, &str), peer: (&str, &str)) -> Policy {
    let (kind, section, field) = words;
    let peers = json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": peer.0}},
        "podSelector": {"matchLabels": {"app": peer.1}}}]);
    let spec = json!({"podSelector": {"matchLabels": {"app": app}}, "policyTypes": [kind],
        section: [{field: peers, "ports": [{"port": 8080}]}]});
    read(namespace, name, &spec)
}

fn read(namespace: &str, name: &str, spec: &Value) -> Policy {
    let document = PolicyDocument {
        id: PolicyRef::network_policy(namespace, name),
        api_version: "networking.k8s.io/v1".to_owned(),
        object: json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec}),
        origins: Origins::default(),
        kustomization: None,
    };
    read::policy(&document).unwrap()
}
