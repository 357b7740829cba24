//! The customer's tree: what the scenario adds to it, and how single rules are taken out of it.

use std::collections::BTreeMap;

use anyhow::Result;
use e2e::Scene;
use serde_json::{Value, json};

use super::rows::{ALL, METADATA, ROWS, Rule, file};

/// Envoy Gateway's data plane as it is shipped: one program, no shell and no `nc`, in a namespace that asks for
/// `restricted`.
pub const DISTROLESS_ENVOY: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: envoy-gateway-system, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: envoy, namespace: envoy-gateway-system}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: envoy}}
  template:
    metadata: {labels: {app.kubernetes.io/name: envoy}}
    spec:
      terminationGracePeriodSeconds: 0
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: envoy
        image: registry.local/distroless:test
        imagePullPolicy: Never
        args: [8080/tcp]
        ports: [{name: http, containerPort: 8080}]
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
";

/// One of the tools' namespaces.
pub const MATOMO: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: matomo, labels: {plana.io/product: 'true'}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: matomo, namespace: matomo}
spec:
  selector: {matchLabels: {app: matomo}}
  template:
    metadata: {labels: {app: matomo}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: matomo
        image: registry.local/netcat:test
        imagePullPolicy: Never
        args: [/serve 8080/tcp]
        ports: [{name: http, containerPort: 8080}]
";

const MATOMO_POLICIES: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny-all, namespace: matomo}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: matomo, namespace: matomo}
spec:
  podSelector: {matchLabels: {app: matomo}}
  policyTypes: [Egress]
  egress:
  - to: [{ipBlock: {cidr: 192.168.78.11/32}}]     # its own DB at pg01
    ports: [{port: 5432}]
  - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: redis}}}]
    ports: [{port: 6379}]
  - to: [{ipBlock: {cidr: 192.168.78.18/32}}]     # archives at SOS
    ports: [{port: 443}]
  - to: [{ipBlock: {cidr: 192.168.78.13/32}}]     # OIDC at Authentik
    ports: [{port: 443}]
";

const MATOMO_AT_REDIS: &str = "  - from:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: matomo}}
    ports:
    - {protocol: TCP, port: 6379}
";

/// What isolates the cluster's DNS: its second rule is for those whom `cluster-wide.yaml` lets ask it.
const KUBE_DNS: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: kube-dns, namespace: kube-system}
spec:
  podSelector: {matchLabels: {k8s-app: kube-dns}}
  policyTypes: [Ingress]
  ingress:
  - from:
    - namespaceSelector:
        matchExpressions:
        - {key: plana.io/product, operator: DoesNotExist}
        - {key: kubernetes.io/metadata.name, operator: NotIn, values: [crossplane-system, envoy-gateway-system]}
";

const KUBE_DNS_CLIENTS: &str = "  - from:
    - namespaceSelector: {matchExpressions: [{key: plana.io/product, operator: Exists}]}
    - namespaceSelector:
        matchExpressions:
        - {key: kubernetes.io/metadata.name, operator: In, values: [crossplane-system, envoy-gateway-system]}
    ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
";

const KUSTOMIZATION: &str = "infra/k8s/network-policies/kustomization.yaml";

/// Lists a namespace's file where Flux begins.
fn list(scene: &Scene, namespace: &str) -> Result<()> {
    let text = scene.git.read(KUSTOMIZATION)?;
    scene.git.write(KUSTOMIZATION, &format!("{text}  - ../{namespace}/network-policy.yaml\n"))
}

/// Adds the tools' policies to the tree.
pub fn add_matomo(scene: &Scene) -> Result<()> {
    list(scene, "matomo")?;
    scene.git.write(&file("matomo"), MATOMO_POLICIES)?;
    let redis = scene.git.read(&file("redis"))?;
    scene.git.write(&file("redis"), &(redis + MATOMO_AT_REDIS))
}

/// How far the cluster's DNS is isolated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum KubeDns {
    /// Nothing isolates it, as on the page.
    Open,
    /// It is, and the product namespaces were forgotten.
    Forgotten,
    /// It is, and they are let in.
    LetIn,
}

impl KubeDns {
    /// Writes its policy, or takes it out.
    pub fn write(self, scene: &Scene) -> Result<()> {
        let listed = scene.git.read(KUSTOMIZATION)?.contains("../kube-system/");
        match self {
            Self::Open if listed => scene.git.replace(KUSTOMIZATION, "  - ../kube-system/network-policy.yaml\n", ""),
            Self::Open => Ok(()),
            Self::Forgotten | Self::LetIn => {
                if !listed {
                    list(scene, "kube-system")?;
                }
                let clients = if self == Self::LetIn { KUBE_DNS_CLIENTS } else { "" };
                scene.git.write(&file("kube-system"), &format!("{KUBE_DNS}{clients}"))
            }
        }
    }
}

/// A rule that is taken out, and its direction.
pub type Cut = (Rule, &'static str);

/// The files of Git as they were, and with some rules taken out.
pub struct Tree<'s> {
    scene: &'s Scene,
    whole: BTreeMap<&'static str, String>,
}

impl<'s> Tree<'s> {
    pub fn of(scene: &'s Scene) -> Result<Self> {
        let rules = ROWS.iter().flat_map(|row| [Some(row.egress), row.ingress()]).flatten();
        let whole = rules.map(|(namespace, ..)| Ok((namespace, scene.git.read(&file(namespace))?)));
        Ok(Self { scene, whole: whole.collect::<Result<_>>()? })
    }

    /// Writes all files, without these rules. The one that closes is not taken out but opens instead: without it others
    /// would still close.
    pub fn write(&self, without: &[Cut]) -> Result<()> {
        for (namespace, text) in &self.whole {
            let mut documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
            let mut changed = false;
            for document in &mut documents {
                for direction in ["egress", "ingress"] {
                    changed |= cut(namespace, document, direction, without);
                }
            }
            let texts: Vec<String> = documents.iter().map(Value::to_string).collect();
            self.scene.git.write(&file(namespace), &if changed { texts.join("\n---\n") } else { text.clone() })?;
        }
        Ok(())
    }
}

/// Takes the named rules out of a policy.
fn cut(namespace: &str, policy: &mut Value, direction: &str, without: &[Cut]) -> bool {
    let name = policy.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_cut = |index: usize| {
        without.iter().any(|((place, policy, at), of)| {
            (*place, *policy, *at, *of) == (namespace, name.as_str(), index, direction)
        })
    };
    let Some(rules) = policy.pointer_mut(&format!("/spec/{direction}")).and_then(Value::as_array_mut) else {
        return false;
    };
    if (namespace, name.as_str()) == (ALL, METADATA.1) && is_cut(0) {
        for rule in rules {
            rule["action"] = json!("Allow");
        }
        return true;
    }
    let before = rules.len();
    let mut index = 0;
    rules.retain(|_| {
        index += 1;
        !is_cut(index - 1)
    });
    rules.len() != before
}
