//! The peers of a rule, and what selects pods in them and in subjects.

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::super::fields::{Fields, Read};
use crate::model::{Action, Direction, NamespaceMatch, Peer, Selector};

/// What a rule says of the far end.
pub(super) struct Peers {
    /// Those that are understood.
    pub(super) known: Vec<Peer>,
    /// Whether there is one of a kind that is not.
    pub(super) fail_closed: bool,
    /// Whether one of them is no selector of pods.
    pub(super) beyond_pods: bool,
}

/// The peers of a rule.
pub(super) fn all(rule: &Fields<'_>, direction: Direction, action: Action) -> Read<Peers> {
    let field = direction.peer_field();
    let mut peers = Peers { known: Vec::new(), fail_closed: false, beyond_pods: false };
    let written = rule.objects(field)?;
    if written.is_empty() {
        return Err(rule.fault(field, format!("the rule has no `{field}`: it would match nothing")));
    }
    for fields in written {
        let one = selected(&fields)?;
        if let Some((namespaces, pods)) = one {
            peers.known.push(Peer::Pods { namespaces: NamespaceMatch::Selected(namespaces), pods });
        } else if let Some(others) = beyond_pods(&fields, direction, action)? {
            peers.beyond_pods = true;
            peers.known.extend(others);
        } else {
            peers.fail_closed = true;
        }
    }
    Ok(peers)
}

/// Namespaces and labels of pods by `namespaces` or `pods`; `None` where neither stands there.
pub(super) fn selected(fields: &Fields<'_>) -> Read<Option<(Selector, Selector)>> {
    match (fields.value("namespaces"), fields.value("pods")) {
        (Some(_), Some(_)) => Err(fields.fault("pods", "`pods` stands beside `namespaces`".to_owned())),
        (Some(_), None) => Ok(Some((selector(fields, "namespaces")?, Selector::everything()))),
        (None, Some(_)) => {
            let pods = fields.object("pods")?.only(&["namespaceSelector", "podSelector"])?;
            Ok(Some((selector(&pods, "namespaceSelector")?, selector(&pods, "podSelector")?)))
        }
        (None, None) => Ok(None),
    }
}

/// Networks, nodes and names of domains: peers of egress alone. `None` where it is none of them.
fn beyond_pods(fields: &Fields<'_>, direction: Direction, action: Action) -> Read<Option<Vec<Peer>>> {
    if direction == Direction::Ingress {
        return Ok(None);
    }
    if fields.value("networks").is_some() {
        let net = |text: &str| text.parse::<IpNet>().map_err(|_| format!("`{text}` is no CIDR, such as 10.0.0.0/8"));
        let nets = fields.texts("networks", net)?;
        // "cluster-internal traffic will be checked against the rule as well": they are as good as an ipBlock.
        return Ok(Some(nets.into_iter().map(|net| Peer::Block { cidr: net.trunc(), except: Vec::new() }).collect()));
    }
    if fields.value("nodes").is_some() {
        return Ok(Some(vec![Peer::Nodes(selector(fields, "nodes")?)]));
    }
    if fields.value("domainNames").is_some() {
        if action != Action::Allow {
            return Err(fields.fault("domainNames", "only a rule that allows can have `domainNames`".to_owned()));
        }
        fields.texts("domainNames", |name| Ok::<_, String>(name.to_owned()))?;
        // Which addresses a name has is not known here: it opens none of them.
        return Ok(Some(Vec::new()));
    }
    Ok(None)
}

/// A selector of labels; the API wants it to stand there, if only empty.
fn selector(parent: &Fields<'_>, key: &str) -> Read<Selector> {
    let Some(value) = parent.value(key) else {
        return Err(parent.fault("", format!("`{key}` is missing: write `{{}}` if all are meant")));
    };
    let _ = parent.object(key)?.only(&["matchLabels", "matchExpressions"])?;
    let fault = |message: String| parent.fault(key, format!("`{key}` is no selector of labels: {message}"));
    let source: LabelSelector = serde_json::from_value(value.clone()).map_err(|error| fault(error.to_string()))?;
    Selector::new(&source).map_err(|error| fault(error.to_string()))
}
