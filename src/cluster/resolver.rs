//! Names of hosts outside the cluster, as the verifier's own pod resolves them: by the cluster's DNS.

use std::net::IpAddr;

use crate::verify::seams::{Fault, Resolver};

/// The pod's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Fault> {
        // The port only satisfies the call: addresses are what is asked for.
        let found = tokio::net::lookup_host((name, 0)).await;
        let mut addresses: Vec<IpAddr> =
            found.map_err(|error| format!("`{name}` could not be resolved: {error}"))?.map(|a| a.ip()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Ok(addresses)
    }
}
