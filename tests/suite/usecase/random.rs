//! Random clusters and merges: what can never be said, whatever they are.

use std::collections::{BTreeMap, BTreeSet};

use netpol_verify::model::{
    Container, ContainerPort, FlowResult, Outcome, Phase, PodInfo, PodRef, Protocol, Verdict, Why, Workload,
};
use oracle::random::{Shape, cluster, policies};

use crate::usecase::{
    fake::{Fake, FakePod},
    shop::CONFIG,
};

const CLUSTERS: u64 = 16;

fn shape() -> Shape {
    Shape { ipv6: false, pods: 6, policies: 5, sctp: false, finished: false, ..Shape::default() }
}

/// The world of a random cluster, and the policy files of its two revisions.
fn world(seed: u64) -> (Fake, [Vec<(String, String)>; 2]) {
    let shape = shape();
    let drawn = cluster(seed, &shape);
    let config = CONFIG.replace("[shop, bank, redis, \"tenant-*\"]", "[\"ns-*\"]");
    let fake = Fake::new(&config);
    for namespace in &drawn.namespaces {
        let labels = namespace.metadata.labels.clone().unwrap_or_default();
        let pairs: Vec<(&str, &str)> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        fake.namespace(namespace.metadata.name.as_deref().unwrap(), &pairs);
    }
    for pod in &drawn.pods {
        let pod = fake_pod(pod);
        fake.world().pods.push(pod);
    }
    let second = policies(seed + 1_000_000, &shape, &drawn);
    // A merge changes some of the policies.
    let mut next = drawn.policies.clone();
    for (index, policy) in second.into_iter().enumerate() {
        if (seed + u64::try_from(index).unwrap()).is_multiple_of(2) {
            next[index] = policy;
        }
    }
    let files = |policies: &[k8s_openapi::api::networking::v1::NetworkPolicy]| {
        policies.iter().enumerate().map(|(i, p)| (format!("p{i}.json"), serde_json::to_string(p).unwrap())).collect()
    };
    (fake, [files(&drawn.policies), files(&next)])
}

fn fake_pod(pod: &k8s_openapi::api::core::v1::Pod) -> FakePod {
    let (spec, status) = (pod.spec.as_ref().unwrap(), pod.status.as_ref().unwrap());
    let id = PodRef { namespace: pod.metadata.namespace.clone().unwrap(), name: pod.metadata.name.clone().unwrap() };
    let mut ports = Vec::new();
    for (init, container) in
        spec.containers.iter().map(|c| (false, c)).chain(spec.init_containers.iter().flatten().map(|c| (true, c)))
    {
        for port in container.ports.iter().flatten() {
            let protocol = match port.protocol.as_deref() {
                Some("UDP") => Protocol::Udp,
                _ => Protocol::Tcp,
            };
            let number = u16::try_from(port.container_port).unwrap();
            ports.push(ContainerPort { name: port.name.clone(), number, protocol, init });
        }
    }
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let info = PodInfo {
        workload: Workload { kind: "Pod".to_owned(), namespace: id.namespace.clone(), name: id.name.clone() },
        uid: format!("uid-{}", id.name),
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        annotations: BTreeMap::new(),
        ips: status.pod_ips.iter().flatten().map(|ip| ip.ip.parse().unwrap()).collect(),
        phase: Phase::Running,
        ready: !terminating,
        terminating,
        host_network: spec.host_network == Some(true),
        node: status.host_ip.clone(),
        service_account: "default".to_owned(),
        containers: vec![Container { name: "main".to_owned(), image: "app".to_owned(), running: true }],
        ports,
        id,
    };
    FakePod { info, listens: [8080, 8081, 8082, 9090].into(), has_nc: true, can_ask: true }
}

fn listed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(f, t)| (f.as_str(), t.as_str())).collect()
}

/// Findings that say nothing about packets here: there is no baseline in these clusters.
fn accept_baselines(fake: &Fake) {
    let names: BTreeSet<String> = fake.world().namespaces.keys().cloned().collect();
    let entries: Vec<String> = names
        .iter()
        .map(|n| format!("{{finding: baseline, namespace: {n}, reason: random, until: 2027-01-01}}"))
        .collect();
    fake.configure(&format!("accept: [{}]", entries.join(", ")));
}

#[tokio::test]
async fn a_data_plane_that_enforces_the_live_policies_is_never_blamed() {
    let (mut probed, mut verified, mut green) = (0, 0, 0);
    for seed in 0..CLUSTERS {
        let (fake, [first, second]) = world(seed);
        accept_baselines(&fake);
        for (index, files) in [first, second].iter().enumerate() {
            fake.merge(&listed(files));
            let ran = fake.run().await;
            for flow in ran.flows() {
                assert_ne!(flow.result, FlowResult::Enforcement, "seed {seed} run {index}: {flow:#?}");
            }
            probed += ran.flows().iter().filter(|f| f.observed != Outcome::NotProbed).count();
            verified += ran.flows().iter().filter(|f| f.result == FlowResult::Verified).count();
            green += usize::from(ran.verdict() == Verdict::Verified);
        }
    }
    assert!(probed > 60 && verified > 40 && green > 1, "{probed} probed, {verified} verified, {green} green");
}

#[tokio::test]
async fn a_data_plane_that_breaks_one_probed_flow_is_never_called_verified() {
    let mut broken = 0;
    for seed in 0..CLUSTERS {
        let run = async |break_it: Option<&netpol_verify::model::FlowReport>| {
            let (fake, [first, second]) = world(seed);
            accept_baselines(&fake);
            fake.merge(&listed(&first));
            fake.run().await;
            if let Some(flow) = break_it {
                fake.world().broken.push(crate::usecase::fake::Broken {
                    source: flow.source.to_string(),
                    destination: flow.destination.to_string(),
                    port: flow.port,
                    open: flow.observed != Outcome::Open,
                });
            }
            fake.merge(&listed(&second));
            fake.run().await
        };
        let good = run(None).await;
        let Some(flow) = good.flows().iter().find(|f| f.result == FlowResult::Verified && f.note.is_none()) else {
            continue;
        };
        let bad = run(Some(flow)).await;
        assert_ne!(bad.verdict(), Verdict::Verified, "seed {seed}: {flow:#?} {:#?}", bad.report);
        assert_ne!(bad.flow(&flow.key()).result, FlowResult::Verified, "seed {seed}");
        broken += 1;
    }
    assert!(broken > 5, "{broken}");
}

#[tokio::test]
async fn a_run_that_changed_rules_and_probed_nothing_is_never_called_verified() {
    let mut tried = 0;
    for seed in 0..CLUSTERS {
        let (fake, [first, second]) = world(seed);
        accept_baselines(&fake);
        fake.merge(&listed(&first));
        fake.run().await;
        fake.world().pods.iter_mut().for_each(|p| p.has_nc = false);
        fake.merge(&listed(&second));
        let ran = fake.run().await;
        if ran.flows().iter().any(|f| matches!(f.why, Why::Rule | Why::Changed | Why::Closure | Why::OneSided)) {
            assert_ne!(ran.verdict(), Verdict::Verified, "seed {seed}: {:#?}", ran.report);
            tried += 1;
        }
    }
    assert!(tried > 5, "{tried}");
}
