//! A small customer: three product namespaces with the baseline, and one open flow.

use std::collections::BTreeMap;

use netpol_verify::model::{Entry, Revision};

use crate::usecase::fake::Fake;

pub const CONFIG: &str = r#"schema: netpol-verify/config/v1
productNamespaces: {names: [shop, bank, redis, "tenant-*"]}
matrix: {homeserver: "https://matrix.example.org", room: "!abc:example.org", mention: ["@oncall:example.org"]}
"#;

/// `default-deny-all`, and the right to ask the cluster's DNS.
pub fn baseline(namespace: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: default-deny-all, namespace: {namespace}}}
spec:
  podSelector: {{}}
  policyTypes: [Ingress, Egress]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: allow-dns, namespace: {namespace}}}
spec:
  podSelector: {{}}
  policyTypes: [Egress]
  egress:
  - to:
    - namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: kube-system}}}}
    ports:
    - {{protocol: TCP, port: 53}}
"
    )
}

/// A policy that opens one port of `app` in a namespace, in one direction, for one app elsewhere.
pub fn opens(
    direction: &str,
    (namespace, app): (&str, &str),
    (peer_namespace, peer): (&str, &str),
    port: u16,
) -> String {
    let (word, kind) = if direction == "egress" { ("to", "Egress") } else { ("from", "Ingress") };
    format!(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {app}-{direction}-{peer}
  namespace: {namespace}
spec:
  podSelector:
    matchLabels: {{app: {app}}}
  policyTypes: [{kind}]
  {direction}:
  - {word}:
    - namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {peer_namespace}}}}}
      podSelector: {{matchLabels: {{app: {peer}}}}}
    ports:
    - {{protocol: TCP, port: {port}}}
"
    )
}

/// Files of Git.
#[derive(Clone)]
pub struct Files(pub BTreeMap<String, String>);

impl Files {
    /// The baselines, and shop/web → redis/redis:6379.
    pub fn base() -> Self {
        let mut files = BTreeMap::new();
        for namespace in ["shop", "bank", "redis"] {
            files.insert(format!("infra/{namespace}/baseline.yaml"), baseline(namespace));
        }
        let mut files = Self(files);
        files.put("infra/shop/redis.yaml", &opens("egress", ("shop", "web"), ("redis", "redis"), 6379));
        files.put("infra/redis/web.yaml", &opens("ingress", ("redis", "redis"), ("shop", "web"), 6379));
        files
    }

    /// shop/web → bank/api:8080.
    pub fn bank_egress(&mut self) -> &mut Self {
        self.put("infra/shop/bank.yaml", &opens("egress", ("shop", "web"), ("bank", "api"), 8080))
    }

    pub fn bank_ingress(&mut self) -> &mut Self {
        self.put("infra/bank/web.yaml", &opens("ingress", ("bank", "api"), ("shop", "web"), 8080))
    }

    pub fn put(&mut self, file: &str, text: &str) -> &mut Self {
        self.0.insert(file.to_owned(), text.to_owned());
        self
    }

    pub fn remove(&mut self, file: &str) -> &mut Self {
        self.0.remove(file).unwrap();
        self
    }

    pub fn list(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(f, t)| (f.as_str(), t.as_str())).collect()
    }

    /// What a person does with an entry of a message.
    pub fn paste(&mut self, entry: &Entry) {
        let file = entry.file.as_ref().unwrap();
        let text = self.0.get_mut(file).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        let (first, rest) = entry.entry.split_once('\n').unwrap();
        let mut at = entry.line.map_or(lines.len(), |line| usize::try_from(line).unwrap());
        let mut pasted: Vec<&str> = entry.entry.lines().collect();
        if first.trim_start().starts_with("# in place of line") {
            at -= 1;
            lines.remove(at);
            pasted = rest.lines().collect();
        }
        lines.splice(at..at, pasted);
        *text = format!("{}\n", lines.join("\n"));
    }
}

/// The customer's cluster before any run.
pub fn cluster() -> Fake {
    let fake = Fake::new(CONFIG);
    for namespace in ["shop", "bank", "redis", "kube-system"] {
        fake.namespace(namespace, &[]);
    }
    fake.app("shop", "web", &[80]);
    fake.app("shop", "cart", &[80]);
    fake.app("bank", "api", &[8080]);
    fake.app("redis", "redis", &[6379]);
    fake.app_with("kube-system", "kube-dns", &[("k8s-app", "kube-dns")], &[53]);
    fake
}

impl Fake {
    pub fn push(&self, files: &Files) -> Revision {
        self.merge(&files.list())
    }
}

/// The same with the base files merged and checked once.
pub async fn checked() -> (Fake, Files) {
    let (fake, files) = (cluster(), Files::base());
    fake.push(&files);
    let ran = fake.run().await;
    assert_eq!(ran.exit, 0, "{ran:#?}");
    (fake, files)
}

pub const BANK: &str = "shop/web -> bank/api:8080/TCP";
pub const REDIS: &str = "shop/web -> redis/redis:6379/TCP";
