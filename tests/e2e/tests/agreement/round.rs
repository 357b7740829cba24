//! One set of policies, and every flow that can be asked about under it.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use e2e::DataPlane;
use k8s_openapi::{api::networking::v1::NetworkPolicy, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use netpol_verify::model::Decision;
use oracle::{
    Answer, Cluster, End,
    random::{self, Flow, Shape},
};
use serde_json::{Value, json};

use crate::{
    engine::Engine,
    expected::{self, Expected, LIMIT, Otherwise},
    packets::Packets,
};

/// How many disagreements are told in full.
const TOLD: usize = 3;

/// A flow on which all agree: its protocol, and whether it is allowed.
pub type Agreed = (&'static str, bool);

/// A cluster with its policies.
pub struct Round<'a> {
    /// What enforces them.
    pub data_plane: DataPlane,
    /// What the policies were drawn with.
    pub seed: u64,
    /// Everything as the API server has it.
    pub cluster: Cluster,
    /// What is asked.
    pub shape: &'a Shape,
}

impl Round<'_> {
    /// Demands that the engine answers as the oracle does, given the policies as Git would have them and as the API
    /// server has them.
    ///
    /// # Errors
    /// It does not.
    pub fn hold_against_engine(&self, drawn: &[NetworkPolicy]) -> Result<()> {
        let declared = Engine::new(&Cluster { policies: drawn.to_vec(), ..self.cluster.clone() });
        let live = Engine::new(&self.cluster);
        for flow in self.flows() {
            let expected = if self.allows(&flow) { Decision::Allowed } else { Decision::Denied };
            for (engine, policies) in [(&declared, "declared"), (&live, "live")] {
                let verdict = engine.verdict(&flow)?;
                if verdict.decision() != expected {
                    bail!(
                        "seed {}: the oracle says {expected}, the engine, of the {policies} policies, {verdict:?}\n{}",
                        self.seed,
                        self.told(&flow)
                    );
                }
            }
        }
        Ok(())
    }

    /// Demands that packets go where the oracle says, once the data plane has followed: all of them in one pass.
    ///
    /// # Errors
    /// Some still do not after [`LIMIT`].
    pub async fn hold_against_packets(&self, packets: &mut Packets) -> Result<Vec<Agreed>> {
        let flows = self.flows();
        let expected: Vec<Expected> = flows.iter().map(|flow| self.expected(flow)).collect();
        let otherwise = expected::hold(packets, self.data_plane, &expected, LIMIT).await?;
        if !otherwise.is_empty() {
            bail!("{}", self.disagreement(&flows, &otherwise));
        }
        Ok(expected.iter().map(|flow| (flow.protocol, flow.allowed)).collect())
    }

    /// Every flow between two different ends.
    fn flows(&self) -> Vec<Flow<'_>> {
        let mut flows = random::flows(&self.cluster, self.shape);
        flows.retain(|flow| flow.src.address() != flow.dst.address());
        flows
    }

    fn allows(&self, flow: &Flow<'_>) -> bool {
        oracle::allowed(&self.cluster, flow.src, flow.dst, flow.protocol, flow.port) == Answer::Allowed
    }

    fn expected(&self, flow: &Flow<'_>) -> Expected {
        let (from, to) = (flow.src.address(), flow.dst.address());
        Expected { from, to, protocol: flow.protocol, port: flow.port, allowed: self.allows(flow) }
    }

    fn disagreement(&self, flows: &[Flow<'_>], wrong: &[Otherwise]) -> String {
        let told = wrong.iter().take(TOLD).filter_map(|(place, seen)| Some((flows.get(*place)?, seen)));
        let told = told.map(|(flow, seen)| {
            let expected = if self.allows(flow) { "allowed" } else { "denied" };
            format!("the oracle says {expected}, packets say `{seen}`\n{}", self.told(flow))
        });
        format!(
            "{:?}, seed {}: {} of {} flows disagree after {} s, among them:\n{}",
            self.data_plane,
            self.seed,
            wrong.len(),
            flows.len(),
            LIMIT.as_secs(),
            told.collect::<Vec<_>>().join("\n")
        )
    }

    /// A flow, its ends with their labels and ports, and the policies of their namespaces.
    fn told(&self, flow: &Flow<'_>) -> String {
        let namespaces: BTreeSet<Option<&String>> = [flow.src, flow.dst].into_iter().map(namespace).collect();
        let of_these = |metadata: &&ObjectMeta| namespaces.contains(&metadata.namespace.as_ref());
        let policies = self.cluster.policies.iter().filter(|policy| of_these(&&policy.metadata));
        let policies = policies.map(
            |policy| json!({"name": policy.metadata.name, "namespace": policy.metadata.namespace, "spec": policy.spec}),
        );
        let labels =
            self.cluster.namespaces.iter().map(|one| json!({"name": one.metadata.name, "labels": one.metadata.labels}));
        let told = json!({
            "from": described(flow.src), "to": described(flow.dst), "protocol": flow.protocol, "port": flow.port,
            "namespaces": labels.collect::<Vec<_>>(), "policies": policies.collect::<Vec<_>>(),
        });
        format!("{told:#}")
    }
}

fn namespace(end: End<'_>) -> Option<&String> {
    match end {
        End::Pod(pod, _) => pod.metadata.namespace.as_ref(),
        End::Address(_) => None,
    }
}

fn described(end: End<'_>) -> Value {
    let End::Pod(pod, address) = end else { return json!(end.address()) };
    let spec = pod.spec.iter();
    let containers = spec.flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let ports: Vec<_> = containers.flat_map(|container| container.ports.iter().flatten()).collect();
    json!({"pod": pod.metadata.name, "namespace": pod.metadata.namespace, "address": address,
        "labels": pod.metadata.labels, "ports": ports})
}
