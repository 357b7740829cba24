//! Which container of a pod can probe, tried in order and remembered.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::{
    Outcome,
    dialect::Observation,
    exec::{ExecProber, SourcePod, of_fault},
    fault::ExecFault,
    target::Target,
    waves::Answers,
};
use crate::model::is_mesh_proxy;

/// A pod to probe from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbePod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its node.
    pub node: Option<String>,
    /// What its pods have in common, e.g. `Deployment/cart`: what is learned of one holds for the others.
    pub workload: String,
    /// Its running containers, in the order in which to try them.
    pub containers: Vec<Candidate>,
}

/// A container that may have a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its image: another image may have other tools.
    pub image: String,
}

/// How a container can probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// With the script.
    Script,
    /// With `nc` alone.
    Nc,
    /// Not at all.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    namespace: String,
    workload: String,
    container: String,
    image: String,
}

/// What was learned about containers, per workload, container and image.
#[derive(Debug, Default)]
pub struct ToolCache {
    known: Mutex<BTreeMap<Key, Form>>,
}

impl ToolCache {
    /// What is known of a pod's container.
    #[must_use]
    pub fn form(&self, pod: &ProbePod, container: &Candidate) -> Option<Form> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key(pod, container)).copied()
    }

    /// Remembers how a pod's container can probe.
    pub fn learn(&self, pod: &ProbePod, container: &Candidate, form: Form) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key(pod, container), form);
    }

    /// The containers worth a try: those known to have a tool first, those known to have none left out.
    #[must_use]
    pub fn order<'a>(&self, pod: &'a ProbePod) -> Vec<(&'a Candidate, Option<Form>)> {
        let usable = pod.containers.iter().filter(|container| !is_mesh_proxy(&container.name));
        let mut order: Vec<_> = usable.map(|container| (container, self.form(pod, container))).collect();
        order.retain(|(_, form)| *form != Some(Form::Nothing));
        order.sort_by_key(|(_, form)| form.is_none());
        order
    }
}

fn key(pod: &ProbePod, container: &Candidate) -> Key {
    Key {
        namespace: pod.namespace.clone(),
        workload: pod.workload.clone(),
        container: container.name.clone(),
        image: container.image.clone(),
    }
}

impl ExecProber {
    /// Tries the targets from the first container that can, with the form that it can, in as many execs as needed, one
    /// after the other; the answers are in the order of `targets`. A target that stands twice is tried twice, the second
    /// time after the first has ended. A fault is the outcome of each target that it concerns.
    pub async fn probe(&self, cache: &ToolCache, pod: &ProbePod, targets: &[Target]) -> Vec<Observation> {
        let mut answers = Answers::new(targets.len());
        for (places, chunk) in self.execs(targets) {
            answers.put(&places, self.probe_chunk(cache, pod, &chunk).await);
        }
        answers.all()
    }

    async fn probe_chunk(&self, cache: &ToolCache, pod: &ProbePod, targets: &[Target]) -> Vec<Observation> {
        let mut best: Option<Vec<Observation>> = None;
        let mut running = false;
        for (container, known) in cache.order(pod) {
            match self.try_container(pod, container, known, targets).await {
                Ok((form, seen)) => {
                    let lacking = count_lacking(&seen);
                    if form != Form::Nothing && lacking < seen.len() {
                        cache.learn(pod, container, form);
                    }
                    if lacking == 0 {
                        return seen;
                    }
                    running = true;
                    if best.as_ref().is_none_or(|best| lacking < count_lacking(best)) {
                        best = Some(seen);
                    }
                }
                Err(fault @ ExecFault::ToolMissing { .. }) => {
                    cache.learn(pod, container, Form::Nothing);
                    running = true;
                    best.get_or_insert_with(|| vec![of_fault(&fault); targets.len()]);
                }
                // Another container of the pod may still run.
                Err(fault @ ExecFault::NotRunning { .. }) if !running => {
                    best.get_or_insert_with(|| vec![of_fault(&fault); targets.len()]);
                }
                Err(ExecFault::NotRunning { .. }) => {}
                Err(fault) => return vec![of_fault(&fault); targets.len()],
            }
        }
        let none =
            || Observation::without_tool(Outcome::ToolMissing, "no container of the pod has a tool to probe with");
        best.unwrap_or_else(|| vec![none(); targets.len()])
    }

    async fn try_container(
        &self,
        pod: &ProbePod,
        container: &Candidate,
        known: Option<Form>,
        targets: &[Target],
    ) -> Result<(Form, Vec<Observation>), ExecFault> {
        let source = SourcePod {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            container: container.name.clone(),
            node: pod.node.clone(),
        };
        if known != Some(Form::Nc) {
            match self.exec(&source, targets).await {
                Err(ExecFault::ToolMissing { .. }) => {}
                other => return other.map(|seen| (Form::Script, seen)),
            }
        }
        self.exec_nc(&source, targets).await.map(|seen| (Form::Nc, seen))
    }
}

fn count_lacking(seen: &[Observation]) -> usize {
    seen.iter().filter(|observation| observation.outcome == Outcome::ToolMissing).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(containers: &[(&str, &str)]) -> ProbePod {
        let candidate = |(name, image): &(&str, &str)| Candidate { name: (*name).into(), image: (*image).into() };
        ProbePod {
            namespace: "shop".into(),
            name: "cart-0".into(),
            node: None,
            workload: "Deployment/cart".into(),
            containers: containers.iter().map(candidate).collect(),
        }
    }

    fn names(cache: &ToolCache, pod: &ProbePod) -> Vec<String> {
        cache.order(pod).iter().map(|(container, _)| container.name.clone()).collect()
    }

    #[test]
    fn what_is_known_goes_first_and_the_hopeless_are_left_out() {
        let cache = ToolCache::default();
        let pod = pod(&[("app", "go:1"), ("istio-proxy", "istio"), ("log", "busybox:1"), ("x", "x:1")]);
        assert_eq!(names(&cache, &pod), ["app", "log", "x"]);
        cache.learn(&pod, &pod.containers[0], Form::Nothing);
        cache.learn(&pod, &pod.containers[3], Form::Script);
        assert_eq!(names(&cache, &pod), ["x", "log"]);
    }

    #[test]
    fn another_image_or_workload_is_learned_anew() {
        let cache = ToolCache::default();
        let old = pod(&[("app", "go:1")]);
        cache.learn(&old, &old.containers[0], Form::Nothing);
        assert!(names(&cache, &old).is_empty());
        assert_eq!(names(&cache, &pod(&[("app", "go:2")])), ["app"]);
        let other = ProbePod { workload: "Deployment/shop".into(), ..old.clone() };
        assert_eq!(names(&cache, &other), ["app"]);
        let sibling = ProbePod { name: "cart-1".into(), ..old };
        assert!(names(&cache, &sibling).is_empty());
    }

    #[test]
    fn mesh_proxies_are_known_by_name_and_never_asked() {
        let own = ["app", "istio-proxy", "linkerd-proxy", "proxy"].map(|name| (name, "x:1"));
        assert_eq!(names(&ToolCache::default(), &pod(&own)), ["app", "proxy"]);
    }
}
