//! Each point of the semantics is a test that is called by its number: `calico_4_…`, `admin_3_…`, `kubernetes_2_…`.

#![expect(clippy::needless_pass_by_value, reason = "a literal reads better without a borrow")]

use serde_json::{Value, json};

use super::*;
use crate::{
    engine::{
        conditions::Traffic,
        fixtures::{Cluster, calico, document, labels, port},
        matrix::Matrix,
        verdict::{FlowVerdict, Side},
        world::Family,
    },
    model::{
        Decision::{self, Allowed, Denied, Undefined},
        IpProtocol, PodInfo, PolicyRef, Protocol, ServiceInfo,
    },
};

mod admin;
mod entities;
mod kubernetes;
mod order;
mod random;
mod scope;

/// Shop has web and api, redis has redis; web is green. Outside is everything else.
fn cluster() -> Cluster {
    let cluster = Cluster::new(&[]).namespace("shop", &[("env", "prod")]).namespace("redis", &[("env", "test")]);
    cluster.app("shop/web", 1).app("shop/api", 1).app("redis/redis", 1).with("shop/web", |pod: &mut PodInfo| {
        pod.labels.insert("color".to_owned(), "green".to_owned());
        pod.service_account = "web".to_owned();
    })
}

fn address(cluster: &Cluster, name: &str) -> IpAddr {
    let pod = || cluster.snapshot.pods.iter().find(|pod| pod.workload.to_string() == name).unwrap().ips[0];
    name.parse().unwrap_or_else(|_| pod())
}

/// The documents over a cluster; a packet between two names or addresses, by both ways of asking.
#[track_caller]
fn ask(
    cluster: &Cluster,
    documents: &[PolicyDocument],
    ties: TieRule,
    ends: (&str, &str),
    traffic: &Traffic,
) -> FlowVerdict {
    let evaluation = Evaluation::of(&cluster.snapshot, documents, ties).unwrap_or_else(|errors| panic!("{errors:?}"));
    let (source, destination) = (address(cluster, ends.0), address(cluster, ends.1));
    let verdict = evaluation.decide(source, destination, traffic);
    let index = |address| evaluation.classes.get(&address).copied();
    if let (Some(from), Some(to), Some(protocol)) = (index(source), index(destination), traffic.protocol.transport())
        && traffic.source_port.is_none()
    {
        let matrix = Matrix::new(&evaluation.world);
        let decision = matrix.decision(from, to, Family::of(destination), protocol, traffic.port);
        // Undefined for one port is undefined for all there.
        let expected = if decision == Undefined { Undefined } else { verdict.decision() };
        assert_eq!(decision, expected, "two ways of asking: {ends:?} {traffic:?}");
    }
    verdict
}

#[track_caller]
fn tcp(documents: &[PolicyDocument], source: &str, destination: &str, port: u16) -> Decision {
    let traffic = Traffic::to_port(Protocol::Tcp, port);
    ask(&cluster(), documents, TieRule::default(), (source, destination), &traffic).decision()
}

/// A GlobalNetworkPolicy for ingress of `selector`.
fn global(name: &str, order: Option<f64>, selector: &str, rules: Value) -> PolicyDocument {
    calico(
        "GlobalNetworkPolicy",
        name,
        json!({"order": order, "selector": selector, "types": ["Ingress"], "ingress": rules}),
    )
}

/// A rule with an action alone.
fn all(action: &str) -> Value {
    json!([{"action": action}])
}

fn api_denied() -> PolicyDocument {
    document("shop/deny", json!({"podSelector": {"matchLabels": {"app": "api"}}}))
}

const API: &str = "app == 'api'";
