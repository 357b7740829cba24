//! The verifier's engine, asked about pods and addresses of the oracle's cluster.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use netpol_verify::{
    engine::{
        verdict::{self, FlowVerdict},
        world::{self, Class, End, Family, World},
    },
    model::PodRef,
};
use oracle::{Cluster, random::Flow};

use crate::support::convert;

/// The engine's view of a cluster.
pub struct Engine {
    world: World,
    class_of: BTreeMap<PodRef, usize>,
}

impl Engine {
    /// Reads the cluster as the verifier would.
    pub fn new(cluster: &Cluster) -> Self {
        let policies = convert::policies(cluster);
        let snapshot = convert::snapshot(cluster);
        let classes = world::classes(&snapshot, &policies.iter().collect::<Vec<_>>());
        let namespaces = snapshot.namespaces.iter().map(|(name, info)| (name.clone(), info.labels.clone()));
        let world = World::new(namespaces.collect(), classes, policies);
        let numbered = world.classes.iter().enumerate();
        let class_of = numbered.flat_map(|(number, class)| class.pods.iter().map(move |pod| (pod.clone(), number)));
        Self { class_of: class_of.collect(), world }
    }

    /// The verdict on one flow.
    pub fn verdict(&self, flow: &Flow<'_>) -> Result<FlowVerdict> {
        let protocol = flow.protocol.parse().ok().context("the engine does not know the protocol")?;
        Ok(verdict::flow(&self.world, self.end(flow.src)?, self.end(flow.dst)?, protocol, flow.port))
    }

    fn end(&self, end: oracle::End<'_>) -> Result<End<'_>> {
        match end {
            oracle::End::Pod(pod, address) => Ok(End::pods(self.class(&convert::id(pod))?, Family::of(address))),
            oracle::End::Address(address) => Ok(End::outside(address)),
        }
    }

    fn class(&self, pod: &PodRef) -> Result<&Class> {
        let number = self.class_of.get(pod).with_context(|| format!("{pod} is in no class"))?;
        self.world.classes.get(*number).with_context(|| format!("no class of {pod}"))
    }
}
