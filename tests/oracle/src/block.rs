//! `IPBlock`: address blocks, bit by bit.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::IPBlock;

/// Answers whether the block matches a packet's address.
pub(crate) fn matches(block: &IPBlock, address: IpAddr) -> bool {
    if !contains(&block.cidr, address) {
        return false;
    }
    // "The except entry describes CIDRs that should not be included within this rule."
    for except in block.except.iter().flatten() {
        if contains(except, address) {
            return false;
        }
    }
    true
}

/// Answers whether `cidr` (`192.168.1.0/24`, `2001:db8::/64`) contains an address. Never across families.
pub(crate) fn contains(cidr: &str, address: IpAddr) -> bool {
    let Some((network, length)) = cidr.split_once('/') else {
        return false;
    };
    let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<usize>()) else {
        return false;
    };
    let (network, address) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => (bits(&network.octets()), bits(&address.octets())),
        (IpAddr::V6(network), IpAddr::V6(address)) => (bits(&network.octets()), bits(&address.octets())),
        _ => return false,
    };
    length <= network.len() && network.iter().zip(&address).take(length).all(|(one, other)| one == other)
}

fn bits(octets: &[u8]) -> Vec<bool> {
    octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1 == 1)).collect()
}
