//! Services of a real cluster, whose controller finds the pods behind them.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{Dice, Mix};
use crate::Cluster;
use crate::random::pods::namespace_name;

/// What rules may name, in each namespace.
pub(super) const SERVICES: [&str; 2] = ["web", "db"];
/// The port of every service; pods listen on another one.
const PORT: u16 = 80;

/// Draws the services `web` and `db` of each namespace, and gives the pods that are to be behind one the label for it.
/// Their target ports are numbers, or names that some pods do not declare.
#[must_use]
pub fn with_services(seed: u64, mix: &Mix, standing: &mut Cluster) -> Vec<Value> {
    let mut dice = Dice::new(seed ^ 0x7376_6373);
    for pod in &mut standing.pods {
        for service in SERVICES {
            if dice.chance(40) {
                stand_behind(pod, service);
            }
        }
    }
    let mut found = Vec::new();
    for namespace in (0..mix.shape.namespaces.max(1)).map(namespace_name) {
        for service in SERVICES {
            let mut target = json!(*dice.pick(&mix.shape.ports));
            if dice.chance(30) && !mix.shape.port_names.is_empty() {
                target = json!(dice.pick(&mix.shape.port_names));
            }
            let protocol = *dice.pick(&["TCP", "TCP", "UDP"]);
            let ports = json!([{"port": PORT, "targetPort": target, "protocol": protocol}]);
            let spec = json!({"selector": {(label_of(service)): "yes"}, "ports": ports});
            let metadata = json!({"name": service, "namespace": namespace});
            found.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}));
        }
    }
    found
}

fn stand_behind(pod: &mut Pod, service: &str) {
    pod.metadata.labels.get_or_insert_default().insert(label_of(service), "yes".to_owned());
}

fn label_of(service: &str) -> String {
    format!("behind-{service}")
}
