//! The small shop's files, and the rules that merges add to them.

/// The policies of the source namespace.
pub const SHOP: &str = "infra/k8s/shop/network-policy.yaml";
/// The policies of the destination namespace.
pub const STORE: &str = "infra/k8s/store/network-policy.yaml";

/// The egress side of a flow to another port of the database.
#[must_use]
pub fn egress(port: u16) -> String {
    format!(
        "  - to:
    - namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: xx-store}}}}
      podSelector: {{matchLabels: {{app: db}}}}
    ports:
    - {{protocol: TCP, port: {port}}}
"
    )
}

/// The ingress side of it, from one app of the shop.
#[must_use]
pub fn ingress(app: &str, port: u16) -> String {
    format!(
        "    - from:
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: xx-shop
          podSelector:
            matchLabels:
              app: {app}
      ports:
        - protocol: TCP
          port: {port}
"
    )
}

/// The ingress side of the sessions flow, as the fixture has it.
pub const SESSIONS_INGRESS: &str = "    # sessions of all that the shop's team runs
    - from:
        - namespaceSelector:
            matchLabels:
              team: xx-shop
      ports:
        - protocol: TCP
          port: 6379
";

/// The egress side of the sessions flow, as the fixture has it.
#[must_use]
pub fn sessions_egress() -> String {
    format!("  # sessions\n{}", egress(6379))
}
