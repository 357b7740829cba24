//! Every flow under one set of policies of all kinds: what the engine and the oracle say of it, and what is expected.

use std::net::IpAddr;

use anyhow::{Result, bail};
use e2e::objects::text;
use netpol_verify::{
    engine::{conditions::Traffic, evaluate::Evaluation},
    model::{Decision, IpProtocol},
};
use oracle::{
    Answer,
    random::{
        self, Shape,
        tiered::{Packet, shrunk},
    },
    tiers::{Verdict, World, verdicts},
};
use serde_json::{Value, json};

use crate::{documents::Worlds, expected::Expected, known, support::evaluation};

/// A port that agents may ask from: the oracle wants to know one, the engine does not.
const SOURCE_PORT: u16 = 40_000;

/// A flow on which the engine and the oracle agree.
#[derive(Clone, Copy)]
pub struct Flow {
    /// The packet that opens it.
    pub packet: Packet,
    /// The oracle's answer, and the engine's.
    pub answer: Answer,
    /// Whether packets pass: not as it is answered where the enforcer is known to do otherwise.
    pub passes: bool,
    /// The Service's address and port, where it goes there in the place of the pod's own.
    pub service: Option<(IpAddr, u16)>,
}

/// A world with its flows.
pub struct Asked {
    /// The policies as they were written, and what they look at.
    pub world: World,
    /// What is asked of it.
    pub flows: Vec<Flow>,
    /// How many flows the engine leaves open.
    pub undefined: usize,
}

impl Asked {
    /// Asks about each end to each other, and to each Service.
    ///
    /// # Errors
    /// The engine and the oracle do not agree about the policies as they were written, or as the API server has them;
    /// the error holds the documents that this needs.
    pub fn of(worlds: Worlds, shape: &Shape) -> Result<Self> {
        let Worlds { declared: world, live } = worlds;
        let packets = packets(&world, shape);
        let evaluations = [(&world, evaluated(&world)?), (&live, evaluated(&live)?)];
        let mut asked = Self { flows: Vec::new(), undefined: 0, world: world.clone() };
        let questions: Vec<_> = packets.iter().map(|packet| packet.in_world(&live)).collect();
        for ((packet, question), verdict) in packets.iter().zip(&questions).zip(verdicts(&live, &questions)) {
            let decided = evaluations.each_ref().map(|(world, evaluation)| (*world, decision(evaluation, packet)));
            let differs = |(_, decided): &&(&World, Decision)| !is_answered(*decided, verdict.answer);
            if let Some((world, _)) = decided.iter().find(differs) {
                bail!("{}", disagreement(world, packet));
            }
            if decided.iter().any(|(_, decided)| *decided == Decision::Undefined) {
                asked.undefined += 1;
                continue;
            }
            let passes = known::passes(&live, question, &verdict);
            asked.flows.push(Flow { packet: *packet, answer: verdict.answer, passes, service: None });
        }
        let through = asked.through_services();
        asked.flows.extend(through);
        Ok(asked)
    }

    /// What packets are expected to do, flow by flow.
    pub fn expected(&self) -> Vec<Expected> {
        let expected = self.flows.iter().map(|flow| {
            let Packet { src, dst, protocol, port, .. } = flow.packet;
            let (to, port) = flow.service.unwrap_or_else(|| (dst, port.unwrap_or_default()));
            Expected { from: src, to, protocol: if protocol == 17 { "UDP" } else { "TCP" }, port, allowed: flow.passes }
        });
        expected.collect()
    }

    /// Flows from pods to the address of a Service: the packet that policies see goes to one of its endpoints. Which
    /// one, nobody knows, so all of them must be answered alike.
    fn through_services(&self) -> Vec<Flow> {
        let mut found = Vec::new();
        let services: Vec<Target> =
            self.world.others.iter().filter_map(|service| target(&self.world, service)).collect();
        for source in self.world.plain.pods.iter().filter_map(address) {
            for target in &services {
                let ends: Vec<Flow> = self.flows.iter().filter(|flow| target.is(flow, source)).copied().collect();
                let alike = ends.iter().all(|flow| ends.first().is_some_and(|first| flow.passes == first.passes));
                // A pod that reaches itself through its Service does so under the node's address.
                let all = ends.len() == target.ends.len() && !target.ends.iter().any(|(address, _)| *address == source);
                if let Some(first) = ends.first().filter(|_| alike && all) {
                    found.push(Flow { service: Some((target.address, target.port)), ..*first });
                }
            }
        }
        found
    }

    /// A flow and the documents by which it is answered so.
    pub fn told(&self, flow: &Flow) -> String {
        let by = |world: &World| verdict(world, &flow.packet);
        let expected = by(&self.world);
        let small = shrunk(&self.world, |world| by(world) == expected);
        format!("{:?} (service: {:?})\n{expected:?}\n{:#}", flow.packet, flow.service, documents(&small))
    }
}

/// A Service's port, and what is behind it.
struct Target {
    address: IpAddr,
    port: u16,
    protocol: u8,
    ends: Vec<(IpAddr, u16)>,
}

impl Target {
    fn is(&self, flow: &Flow, source: IpAddr) -> bool {
        let Packet { src, dst, protocol, port, .. } = flow.packet;
        flow.service.is_none()
            && src == source
            && protocol == self.protocol
            && port.is_some_and(|port| self.ends.contains(&(dst, port)))
    }
}

/// The only port of a drawn Service.
fn target(world: &World, service: &Value) -> Option<Target> {
    if text(service, "/kind") != "Service" {
        return None;
    }
    let is_of = |slice: &&Value| {
        text(slice, "/kind") == "EndpointSlice"
            && text(slice, "/metadata/namespace") == text(service, "/metadata/namespace")
            && text(slice, "/metadata/labels/kubernetes.io~1service-name") == text(service, "/metadata/name")
    };
    let mut ends = Vec::new();
    for slice in world.others.iter().filter(is_of) {
        let Some(port) = number(slice, "/ports/0/port") else { continue };
        let endpoints = slice.pointer("/endpoints").and_then(Value::as_array).into_iter().flatten();
        let addresses = endpoints.filter_map(|endpoint| text(endpoint, "/addresses/0").parse().ok());
        ends.extend(addresses.map(|address: IpAddr| (address, port)));
    }
    let address = text(service, "/spec/clusterIP").parse().ok()?;
    let protocol = if text(service, "/spec/ports/0/protocol") == "UDP" { 17 } else { 6 };
    Some(Target { address, port: number(service, "/spec/ports/0/port")?, protocol, ends })
}

fn number(value: &Value, at: &str) -> Option<u16> {
    value.pointer(at)?.as_u64()?.try_into().ok()
}

fn address(pod: &k8s_openapi::api::core::v1::Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()
}

/// Each end to each other, over TCP and UDP.
fn packets(world: &World, shape: &Shape) -> Vec<Packet> {
    let mut flows = random::flows(&world.plain, shape);
    flows.retain(|flow| flow.src.address() != flow.dst.address());
    let packet = |flow: random::Flow<'_>| Packet {
        src: flow.src.address(),
        dst: flow.dst.address(),
        protocol: if flow.protocol == "UDP" { 17 } else { 6 },
        source_port: Some(SOURCE_PORT),
        port: Some(flow.port),
        icmp: None,
    };
    flows.into_iter().map(packet).collect()
}

fn evaluated(world: &World) -> Result<Evaluation> {
    evaluation::evaluation(world).or_else(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        bail!("the engine cannot read what the API server took:\n{}", faults.join("\n"))
    })
}

fn decision(evaluation: &Evaluation, packet: &Packet) -> Decision {
    let port = packet.port.unwrap_or_default();
    let traffic = Traffic { protocol: IpProtocol(packet.protocol), port, source_port: None, icmp: None };
    evaluation.decide(packet.src, packet.dst, &traffic).decision()
}

fn verdict(world: &World, packet: &Packet) -> Option<Verdict> {
    verdicts(world, &[packet.in_world(world)]).pop()
}

/// Whether the engine decides as the oracle answers, or leaves it open.
fn is_answered(decision: Decision, answer: Answer) -> bool {
    match decision {
        Decision::Allowed => answer == Answer::Allowed,
        Decision::Denied => answer == Answer::Denied,
        Decision::Undefined => true,
    }
}

fn disagreement(world: &World, packet: &Packet) -> String {
    let differs = |world: &World| {
        let decided = evaluation::evaluation(world).map(|evaluation| decision(&evaluation, packet));
        decided.is_ok_and(|decided| verdict(world, packet).is_some_and(|verdict| !is_answered(decided, verdict.answer)))
    };
    let small = shrunk(world, differs);
    let says = evaluated(&small).map(|evaluation| decision(&evaluation, packet));
    let oracle = verdict(&small, packet);
    format!("{packet:?}: the engine says {says:?}, the oracle {oracle:?}, of\n{:#}", documents(&small))
}

fn documents(world: &World) -> Value {
    let mut plain = json!({"namespaces": world.plain.namespaces, "pods": world.plain.pods,
        "policies": world.plain.policies, "others": world.others});
    strip(&mut plain);
    plain
}

/// Leaves out what the API server and its controllers write.
fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for noise in ["managedFields", "uid", "creationTimestamp", "resourceVersion", "conditions", "volumes"] {
                fields.remove(noise);
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}
