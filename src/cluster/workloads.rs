//! Workloads with their templates.

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        batch::v1::CronJob,
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::model::{Workload, WorkloadInfo};

use super::pods;

/// A kind with a pod template.
pub(super) trait Templated {
    /// The API kind.
    const KIND: &'static str;
    /// `resource.group`.
    const RESOURCE: &'static str;

    /// Its metadata, the wanted number of pods where there is one, and the template.
    fn parts(self) -> (ObjectMeta, Option<i32>, PodTemplateSpec);
}

impl Templated for Deployment {
    const KIND: &'static str = "Deployment";
    const RESOURCE: &'static str = "deployments.apps";

    fn parts(self) -> (ObjectMeta, Option<i32>, PodTemplateSpec) {
        (self.metadata, Some(self.spec.replicas.unwrap_or(1)), self.spec.template)
    }
}

impl Templated for StatefulSet {
    const KIND: &'static str = "StatefulSet";
    const RESOURCE: &'static str = "statefulsets.apps";

    fn parts(self) -> (ObjectMeta, Option<i32>, PodTemplateSpec) {
        (self.metadata, Some(self.spec.replicas.unwrap_or(1)), self.spec.template)
    }
}

impl Templated for DaemonSet {
    const KIND: &'static str = "DaemonSet";
    const RESOURCE: &'static str = "daemonsets.apps";

    fn parts(self) -> (ObjectMeta, Option<i32>, PodTemplateSpec) {
        (self.metadata, None, self.spec.template)
    }
}

impl Templated for CronJob {
    const KIND: &'static str = "CronJob";
    const RESOURCE: &'static str = "cronjobs.batch";

    fn parts(self) -> (ObjectMeta, Option<i32>, PodTemplateSpec) {
        let job = self.spec.job_template.spec.unwrap_or_default();
        (self.metadata, None, job.template)
    }
}

/// Reads one; `None` for one without a name, which the API server does not give.
pub(super) fn read<K: Templated>(object: K) -> Option<WorkloadInfo> {
    let (metadata, replicas, template) = object.parts();
    let spec = template.spec.unwrap_or_default();
    Some(WorkloadInfo {
        id: Workload { kind: K::KIND.to_owned(), namespace: metadata.namespace?, name: metadata.name? },
        replicas,
        labels: template.metadata.and_then(|meta| meta.labels).unwrap_or_default(),
        ports: pods::ports(&spec),
        host_network: spec.host_network == Some(true),
        service_account: pods::account(&spec),
    })
}
