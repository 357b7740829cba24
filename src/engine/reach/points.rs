//! The endpoints that flows are told of: workloads, single pods where those of a workload differ, and nodes.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{super::world::Class, Open, Reach};
use crate::model::{Direction, Endpoint, PodRef, Workload};

/// An endpoint of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// As it is told.
    pub endpoint: Endpoint,
    /// The workload that it is or belongs to.
    pub workload: Workload,
    /// Its pods; none for a workload that has only a template.
    pub pods: Vec<PodRef>,
    /// The class that stands for it.
    pub class: usize,
}

impl Point {
    /// Whether no flow between the two is told: pods of one workload, and nodes.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        let is_host = |point: &Self| matches!(point.endpoint, Endpoint::Host { .. });
        self.workload == other.workload || is_host(self) && is_host(other)
    }

    /// Whether it is a node: those come last.
    pub(super) const fn is_node(&self) -> bool {
        matches!(self.endpoint, Endpoint::Host { .. })
    }

    /// Whether it is all of a workload or node, and not one pod of several.
    pub(super) fn is_whole(&self) -> bool {
        match &self.endpoint {
            Endpoint::Workload(workload) => *workload == self.workload,
            _ => true,
        }
    }

    /// The workload or node that it belongs to, in the order in which they are told.
    pub(super) fn place(&self) -> Place {
        if let Endpoint::Host { name } = &self.endpoint {
            return Place { is_node: true, names: [name.clone(), String::new(), String::new()] };
        }
        let Workload { kind, namespace, name } = self.workload.clone();
        Place { is_node: false, names: [namespace, name, kind] }
    }

    fn pod(&self) -> Option<&PodRef> {
        self.pods.first().filter(|_| !self.is_whole())
    }
}

/// The order of endpoints: by namespace and name; nodes come after workloads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    is_node: bool,
    names: [String; 3],
}

/// The endpoints of a world, sorted.
pub(super) fn points(reach: &Reach<'_>) -> Vec<Point> {
    let mut by_workload: BTreeMap<&Workload, Vec<(usize, &Class)>> = BTreeMap::new();
    let mut hosts: BTreeMap<String, Point> = BTreeMap::new();
    for (index, class) in reach.matrix.world.classes.iter().enumerate() {
        if class.host_network {
            let point = host(index, class);
            hosts
                .entry(point.endpoint.to_string())
                .and_modify(|known| known.pods.extend(point.pods.clone()))
                .or_insert(point);
        } else {
            by_workload.entry(&class.workload).or_default().push((index, class));
        }
    }
    let mut points: Vec<Point> = by_workload.values().flat_map(|classes| of_workload(reach, classes)).collect();
    points.extend(hosts.into_values());
    points.sort_by_cached_key(|point| (point.place(), point.pod().cloned()));
    points
}

/// Pods in their node's network are the node; without a known node they have the workload's name.
fn host(index: usize, class: &Class) -> Point {
    let name = class.node.clone().unwrap_or_else(|| class.workload.to_string());
    Point {
        endpoint: Endpoint::Host { name },
        workload: class.workload.clone(),
        pods: class.pods.clone(),
        class: index,
    }
}

/// "Pods of one workload whose labels lead to different verdicts are reported apart."
fn of_workload(reach: &Reach<'_>, classes: &[(usize, &Class)]) -> Vec<Point> {
    let Some((first, class)) = classes.first() else { return Vec::new() };
    let mut profiles = BTreeSet::new();
    let is_one = classes.len() == 1 || {
        profiles.extend(classes.iter().map(|(index, _)| profile(reach, *index)));
        profiles.len() == 1
    };
    if is_one {
        return vec![Point {
            endpoint: Endpoint::Workload(class.workload.clone()),
            workload: class.workload.clone(),
            pods: classes.iter().flat_map(|(_, class)| class.pods.iter().cloned()).collect(),
            class: *first,
        }];
    }
    pods(classes)
}

/// Each pod as an endpoint of its own.
pub(super) fn pods(classes: &[(usize, &Class)]) -> Vec<Point> {
    let of = |(index, class): &(usize, &Class)| -> Vec<Point> {
        let point = |pod: &PodRef| Point {
            endpoint: Endpoint::Workload(Workload {
                kind: "Pod".to_owned(),
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
            }),
            workload: class.workload.clone(),
            pods: vec![pod.clone()],
            class: *index,
        };
        class.pods.iter().map(point).collect()
    };
    classes.iter().flat_map(of).collect()
}

/// All that a class may reach and be reached from, as text: equal for classes that no verdict tells apart.
fn profile(reach: &Reach<'_>, class: usize) -> String {
    let world = reach.matrix.world;
    let workload = world.classes.get(class).map(|c| &c.workload);
    let others = world.classes.iter().enumerate().filter(|(_, other)| Some(&other.workload) != workload);
    let mut parts: Vec<String> = Vec::new();
    for (other, _) in others {
        let open = |from, to| -> Vec<_> {
            reach.by_family(from, to).into_iter().filter(|(_, open)| !open.is_empty()).collect()
        };
        let flows = (open(class, other), open(other, class));
        if !(flows.0.is_empty() && flows.1.is_empty()) {
            parts.push(format!("{other} {flows:?}"));
        }
    }
    for direction in [Direction::Ingress, Direction::Egress] {
        let point = Point {
            endpoint: Endpoint::Host { name: String::new() },
            workload: Workload { kind: String::new(), namespace: String::new(), name: String::new() },
            pods: Vec::new(),
            class,
        };
        let sets: Vec<(Vec<IpNet>, Open)> = reach.outside(direction, &point);
        parts.push(format!("{sets:?}"));
    }
    parts.join("\n")
}
