//! What the API server does not take of a policy, in its words.

use std::net::IpAddr;

use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::Value;

use super::{kinds::Kind, object::text, refusal::Refusal};

/// Refuses a NetworkPolicy as
/// <https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/> has it; other kinds pass.
///
/// # Errors
/// 422, with the first field that is wrong; 400, where it is no such object at all.
pub(crate) fn check(kind: &Kind, object: &Value) -> Result<(), Refusal> {
    if kind.kind != "NetworkPolicy" || kind.group != "networking.k8s.io" {
        return Ok(());
    }
    let policy: NetworkPolicy = serde_json::from_value(object.clone())
        .map_err(|error| Refusal::new(400, format!("NetworkPolicy in version \"v1\" cannot be handled: {error}")))?;
    let Some(spec) = policy.spec else { return Ok(()) };
    let ingress = spec.ingress.iter().flatten().map(|rule| ("ingress", "from", &rule.ports, &rule.from));
    let egress = spec.egress.iter().flatten().map(|rule| ("egress", "to", &rule.ports, &rule.to));
    for (rules, mut number) in [(ingress.collect::<Vec<_>>(), 0_usize), (egress.collect(), 0)] {
        for (direction, side, ports, peers) in rules {
            let rule = format!("spec.{direction}[{number}]");
            let port = ports.iter().flatten().enumerate().find_map(|(at, port)| wrong_port(port, &rule, at));
            let peer = peers.iter().flatten().enumerate();
            let wrong = port.or_else(|| peer.into_iter().find_map(|(at, peer)| wrong_peer(peer, side, &rule, at)));
            if let Some(wrong) = wrong {
                let name = text(object, "/metadata/name");
                return Err(Refusal::new(422, format!("{}.{} \"{name}\" is invalid: {wrong}", kind.kind, kind.group)));
            }
            number += 1;
        }
    }
    Ok(())
}

fn wrong_port(port: &NetworkPolicyPort, rule: &str, at: usize) -> Option<String> {
    let at = format!("{rule}.ports[{at}]");
    if let Some(protocol) = port.protocol.as_deref().filter(|one| !["TCP", "UDP", "SCTP"].contains(one)) {
        let allowed = r#"supported values: "SCTP", "TCP", "UDP""#;
        return Some(format!("{at}.protocol: Unsupported value: \"{protocol}\": {allowed}"));
    }
    let number = match &port.port {
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let fits =
                name.len() <= 15 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            let wrong = || format!("{at}.port: Invalid value: \"{name}\": must be a valid port name");
            return (!fits || name.is_empty()).then(wrong);
        }
        None => {
            return port
                .end_port
                .map(|_| format!("{at}.endPort: Forbidden: may not be specified when `port` is not specified"));
        }
    };
    if !(1..=65535).contains(&number) {
        return Some(format!("{at}.port: Invalid value: {number}: must be between 1 and 65535, inclusive"));
    }
    let end = port.end_port.filter(|end| *end < number || *end > 65535)?;
    Some(format!("{at}.endPort: Invalid value: {end}: must be greater than or equal to `port`"))
}

fn wrong_peer(peer: &NetworkPolicyPeer, side: &str, rule: &str, at: usize) -> Option<String> {
    let cidr = &peer.ip_block.as_ref()?.cidr;
    let (address, length) = cidr.split_once('/').unwrap_or((cidr, ""));
    let most = address.parse::<IpAddr>().ok().map(|address| if address.is_ipv4() { 32 } else { 128 });
    let fits = most.zip(length.parse::<u8>().ok()).is_some_and(|(most, length)| length <= most);
    let wrong = || format!("{rule}.{side}[{at}].ipBlock.cidr: Invalid value: \"{cidr}\": must be a valid CIDR value");
    (!fits).then(wrong)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_is_refused_with_the_field_that_is_wrong() {
        let kind = Kind::new("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies");
        let with = |rule: Value| json!({"metadata": {"name": "p"}, "spec": {"podSelector": {}, "ingress": [{}, rule]}});
        for (rule, field) in [
            (json!({"ports": [{"port": 70000}]}), Some("spec.ingress[1].ports[0].port: Invalid value: 70000")),
            (json!({"ports": [{"port": 80, "endPort": 79}]}), Some("spec.ingress[1].ports[0].endPort")),
            (json!({"ports": [{"port": 80, "protocol": "ICMP"}]}), Some("protocol: Unsupported value")),
            (json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}), Some("spec.ingress[1].from[0].ipBlock.cidr")),
            (json!({"ports": [{"port": 65535}, {"port": "http"}], "from": [{"ipBlock": {"cidr": "::/0"}}]}), None),
        ] {
            let refused = check(&kind, &with(rule.clone())).err().map(|refusal| refusal.message);
            match (refused, field) {
                (None, None) => {}
                (Some(said), Some(field)) => {
                    assert!(said.contains(field) && said.contains("is invalid"), "{said}");
                }
                other => panic!("{rule}: {other:?}"),
            }
        }
    }
}
