//! Which addresses blocks hold, also where the address of a pod is not known yet.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{End, Family, World};

impl World {
    /// Whether a block holds the address of an end.
    pub(in crate::engine) fn holds(&self, cidr: IpNet, except: &[IpNet], end: &End<'_>) -> bool {
        match end.address {
            Some(address) => in_block(address, cidr, except),
            None => self.planned && holds_every_pod(end.family, cidr, except),
        }
    }

    /// Whether a block may hold the address of an end.
    pub(in crate::engine) fn may_hold(&self, cidr: IpNet, end: &End<'_>) -> bool {
        match end.address {
            Some(address) => cidr.contains(&address),
            None => self.planned && Family::of(cidr.addr()) == end.family && !holds_no_pod(&cidr),
        }
    }
}

/// Addresses that no pod has: this host and network, link-local ones, groups, and what is reserved.
const OF_NO_POD: [&str; 7] =
    ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8"];

/// Whether a pod has an address in the block, whichever of the family it gets.
fn holds_every_pod(family: Family, cidr: IpNet, except: &[IpNet]) -> bool {
    cidr.prefix_len() == 0 && Family::of(cidr.addr()) == family && except.iter().all(holds_no_pod)
}

fn holds_no_pod(net: &IpNet) -> bool {
    OF_NO_POD.iter().filter_map(|text| text.parse().ok()).any(|of: IpNet| of.contains(net))
}

pub(super) fn in_block(address: IpAddr, cidr: IpNet, except: &[IpNet]) -> bool {
    cidr.contains(&address) && !except.iter().any(|net| net.contains(&address))
}
