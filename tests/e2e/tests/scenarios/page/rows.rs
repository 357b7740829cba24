//! The rows of the customer's operations page, and where the two sides of each stand in the tree.

/// Where a side's rule is: the namespace's file, the policy, and the rule's position.
pub type Rule = (&'static str, &'static str, usize);

/// A row of the page.
pub struct Row {
    /// Its table.
    pub table: &'static str,
    /// What the page calls it.
    pub says: &'static str,
    pub source: &'static str,
    pub destination: &'static str,
    pub port: u16,
    pub protocol: &'static str,
    pub egress: Rule,
    pub other: Other,
}

/// The side of the destination.
#[derive(Clone, Copy)]
pub enum Other {
    /// It needs this entry.
    Entry(Rule),
    /// No policy decides there.
    Host,
    /// None does by the page; the scenario adds one that isolates it, with this entry.
    Names,
    /// As a host, and the rule is there to close.
    Closed,
}

impl Row {
    /// The entry on the destination's side, in the tree as the page has it.
    pub fn ingress(&self) -> Option<Rule> {
        match self.other {
            Other::Entry(rule) => Some(rule),
            Other::Host | Other::Names | Other::Closed => None,
        }
    }

    /// Who decides on the destination's side, as the table says it.
    pub fn other_side(&self) -> String {
        match self.other {
            Other::Entry(rule) => format!("{}, {}", file(rule.0), rule.1),
            Other::Host => "a host: no policy decides there".to_owned(),
            Other::Names => format!("nobody, until {} isolates it", file(ISOLATES_NAMES.0)),
            Other::Closed => "a host: no policy decides there; closed on purpose, broken by opening it".to_owned(),
        }
    }

    pub fn is_of_names(&self) -> bool {
        matches!(self.other, Other::Names)
    }
}

/// A namespace's file in Git, and that of all namespaces.
pub fn file(namespace: &str) -> String {
    if namespace == ALL {
        return "infra/k8s/network-policies/cluster-wide.yaml".to_owned();
    }
    format!("infra/k8s/{namespace}/network-policy.yaml")
}

const fn row(
    (table, says): (&'static str, &'static str),
    (source, destination, port): (&'static str, &'static str, u16),
    egress: Rule,
    other: Other,
) -> Row {
    Row { table, says, source, destination, port, protocol: "TCP", egress, other }
}

/// A question to the cluster's DNS.
const fn names(table: &'static str, source: &'static str, protocol: &'static str) -> Row {
    let egress = (ALL, "allow-dns-and-api-server", if matches!(protocol.as_bytes(), [b'U', ..]) { 0 } else { 1 });
    let row = row((table, "kube-dns:53"), (source, "kube-system/coredns", 53), egress, Other::Names);
    Row { protocol, ..row }
}

/// The API server's own address: its Service's is translated before any policy is asked.
const fn api_server(source: &'static str) -> Row {
    row((IMPLICIT, "kube-apiserver"), (source, "192.168.77.1", 6443), API_SERVER, Other::Host)
}

/// What stands for all namespaces in a [`Rule`].
pub const ALL: &str = "all namespaces";
pub const ENVOY: &str = "envoy-gateway-system/envoy";
const CROSSPLANE: &str = "crossplane-system/crossplane";
/// The rule that lets the product namespaces ask the cluster's DNS, where that is isolated.
pub const ISOLATES_NAMES: Rule = ("kube-system", "kube-dns", 1);
const API_SERVER: Rule = (ALL, "allow-dns-and-api-server", 2);
/// The rule that closes the metadata service.
pub const METADATA: Rule = (ALL, "deny-metadata-service", 0);

const ODOO: &str = "plana-odoo-acme/odoo";
const API: &str = "pulse-account/api";
const AGENTS: &str = "ai-bos-agent/ai-agents";
const MATOMO: &str = "matomo/matomo";
const PG: &str = "pg01.planapulse.com";
const AUTH: &str = "auth.planapulse.com";
const TENANTS: &str = "acme.planapulse.app";
const MODELS: &str = "api.anthropic.com";
const IN_ODOO: &str = "plana-odoo-acme";
const IMPLICIT: &str = "Implicit";
/// The rule for several namespaces, of which not each is touched.
pub const REDIS: Rule = ("redis", "network-policy", 0);
const AT_REDIS: Other = Other::Entry(REDIS);

/// The page's tables, in their order; of the tenants and of the tools, which have the same, one each.
pub const ROWS: [Row; 30] = [
    row(("Tenant Odoo", "pg01:5432"), (ODOO, PG, 5432), (IN_ODOO, "allow-egress", 0), Other::Host),
    row(("Tenant Odoo", "pg01:6432"), (ODOO, PG, 6432), (IN_ODOO, "allow-egress", 0), Other::Host),
    row(("Tenant Odoo", "redis.redis:6379"), (ODOO, "redis/redis", 6379), (IN_ODOO, "allow-egress", 1), AT_REDIS),
    row(("Tenant Odoo", "nfs01:2049"), (ODOO, "nfs01.planapulse.com", 2049), (IN_ODOO, "allow-egress", 2), Other::Host),
    row(("Tenant Odoo", "auth:443"), (ODOO, AUTH, 443), (IN_ODOO, "allow-egress", 3), Other::Host),
    names("Tenant Odoo", ODOO, "UDP"),
    names("Tenant Odoo", ODOO, "TCP"),
    row(("Tenant Odoo", "internet:443"), (ODOO, MODELS, 443), (IN_ODOO, "allow-egress", 4), Other::Host),
    row(
        ("Tenant Odoo, ingress", "envoy-gateway-system"),
        (ENVOY, ODOO, 8069),
        ("envoy-gateway-system", "envoy", 0),
        Other::Entry((IN_ODOO, "allow-ingress", 0)),
    ),
    row(
        ("Tenant Odoo, ingress", "crossplane-system"),
        (CROSSPLANE, ODOO, 8069),
        ("crossplane-system", "crossplane", 0),
        Other::Entry((IN_ODOO, "allow-ingress", 1)),
    ),
    row(("pulse-account", "pg01:5432"), (API, PG, 5432), ("pulse-account", "allow-egress", 0), Other::Host),
    row(
        ("pulse-account", "redis.redis:6379"),
        (API, "redis/redis", 6379),
        ("pulse-account", "allow-egress", 1),
        AT_REDIS,
    ),
    row(
        ("pulse-account", "pulse-banking:3200"),
        (API, "pulse-banking/pulse-banking", 3200),
        ("pulse-account", "allow-egress", 2),
        Other::Entry(("pulse-banking", "allow-ingress", 0)),
    ),
    row(
        ("pulse-account", "ai-agents.ai-bos-agent:8000"),
        (API, AGENTS, 8000),
        ("pulse-account", "allow-egress", 3),
        Other::Entry(("ai-bos-agent", "ai-agents", 0)),
    ),
    row(
        ("pulse-account", "pulse-events:3001"),
        (API, "pulse-events/pulse-events", 3001),
        ("pulse-account", "allow-egress", 4),
        Other::Entry(("pulse-events", "allow-ingress", 0)),
    ),
    row(
        ("pulse-account", "*.planapulse.app:443"),
        (API, TENANTS, 443),
        ("pulse-account", "allow-egress", 5),
        Other::Host,
    ),
    row(
        ("ai-bos-agent", "*.planapulse.app:443"),
        (AGENTS, TENANTS, 443),
        ("ai-bos-agent", "ai-agents", 0),
        Other::Host,
    ),
    row(
        ("ai-bos-agent", "pulse-data:8000"),
        (AGENTS, "pulse-data/pulse-data", 8000),
        ("ai-bos-agent", "ai-agents", 1),
        Other::Entry(("pulse-data", "allow-ingress", 0)),
    ),
    row(
        ("ai-bos-agent", "api.anthropic.com:443"),
        (AGENTS, MODELS, 443),
        ("ai-bos-agent", "ai-agents", 2),
        Other::Host,
    ),
    row(
        ("ai-bos-agent", "openrouter.ai:443"),
        (AGENTS, "openrouter.ai", 443),
        ("ai-bos-agent", "ai-agents", 2),
        Other::Host,
    ),
    row(("Tools (Matomo)", "PostgreSQL"), (MATOMO, PG, 5432), ("matomo", "matomo", 0), Other::Host),
    row(
        ("Tools (Matomo)", "Redis"),
        (MATOMO, "redis/redis", 6379),
        ("matomo", "matomo", 1),
        Other::Entry(("redis", "network-policy", 1)),
    ),
    row(
        ("Tools (Matomo)", "Object storage"),
        (MATOMO, "sos-ch-dk-2.exo.io", 443),
        ("matomo", "matomo", 2),
        Other::Host,
    ),
    row(("Tools (Matomo)", "Authentik on 443"), (MATOMO, AUTH, 443), ("matomo", "matomo", 3), Other::Host),
    api_server(ODOO),
    api_server(API),
    api_server(AGENTS),
    row((IMPLICIT, "metadata service"), (AGENTS, "169.254.169.254", 80), METADATA, Other::Closed),
    names(IMPLICIT, API, "UDP"),
    names(IMPLICIT, AGENTS, "UDP"),
];
