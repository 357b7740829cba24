//! The short way from documents and a cluster to verdicts, whatever kinds of policy there are.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    conditions::Traffic,
    read::{self, PolicySet, Unreadable},
    surroundings::Surroundings,
    verdict::{self, FlowVerdict},
    world::{self, End, World},
};
use crate::model::{Labels, PodRef, Policy, PolicyDocument, Snapshot, TieRule};

/// Policies over a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// What verdicts are asked of.
    pub world: World,
    /// What was read besides the policies that are enforced.
    pub read: PolicySet,
    /// The class of the pod that has an address.
    classes: BTreeMap<IpAddr, usize>,
}

impl Evaluation {
    /// Reads documents of every kind that is understood, and lays them over a cluster. Its own policies are not asked.
    ///
    /// `ties` says how Calico orders policies of the same order; the newest rule is the default.
    ///
    /// # Errors
    /// Every document that cannot be read: a verdict from half a set of policies would be a guess.
    pub fn of(snapshot: &Snapshot, documents: &[PolicyDocument], ties: TieRule) -> Result<Self, Vec<Unreadable>> {
        let read = read::documents(documents)?;
        let surroundings = Surroundings::of(snapshot, read.sets.clone(), ties);
        let policies: Vec<&Policy> = read.policies.iter().collect();
        let classes = world::classes_among(&surroundings, snapshot, &policies);
        let namespaces: BTreeMap<String, Labels> =
            snapshot.namespaces.iter().map(|(name, info)| (name.clone(), info.labels.clone())).collect();
        let by_pod: BTreeMap<&PodRef, usize> =
            classes.iter().enumerate().flat_map(|(index, c)| c.pods.iter().map(move |pod| (pod, index))).collect();
        let pods = snapshot.pods.iter().filter_map(|pod| Some((pod, *by_pod.get(&pod.id)?)));
        let by_address = pods.flat_map(|(pod, index)| pod.ips.iter().map(move |ip| (*ip, index))).collect();
        let world = World::among(surroundings, namespaces, classes, read.policies.clone());
        Ok(Self { world, read, classes: by_address })
    }

    /// The end at an address: the pod that has it, or something outside.
    #[must_use]
    pub fn end(&self, address: IpAddr) -> End<'_> {
        let class = self.classes.get(&address).and_then(|index| self.world.classes.get(*index));
        End { class, ..End::outside(address) }
    }

    /// The verdict of a packet between two addresses, that opens a connection: what each side says, and why.
    #[must_use]
    pub fn decide(&self, source: IpAddr, destination: IpAddr, traffic: &Traffic) -> FlowVerdict {
        verdict::traffic(&self.world, self.end(source), self.end(destination), traffic)
    }
}

#[cfg(test)]
mod tests;
