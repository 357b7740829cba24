//! How Calico's Felix is configured to deny.

use kube::{
    Api,
    api::{DynamicObject, ListParams},
};
use serde_json::Value;

use super::{ClusterError, discovery::Served, list::Reader};

/// What Felix does where nothing is configured.
const DROP: &str = "Drop";

/// The configured action for denied packets; `None` without Calico, and where it is not the same everywhere.
///
/// # Errors
/// The configuration is served, but cannot be read.
pub(super) async fn deny_action(reader: &Reader, sources: &[Served]) -> Result<Option<String>, ClusterError> {
    let mut trouble = None;
    for served in sources {
        let api: Api<DynamicObject> = Api::all_with(reader.client.clone(), &served.api());
        let api = &api;
        let fetch = |params: ListParams| async move { api.list(&params).await };
        let read = |object: DynamicObject| Some((object.metadata.name?, object.data));
        match reader.list(&served.resource(), &ListParams::default(), fetch, read).await {
            Ok(configurations) => return Ok(action(&configurations)),
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    trouble.map_or(Ok(None), Err)
}

/// `default` holds for all nodes, `node.NAME` for one, field by field.
fn action(configurations: &[(String, Value)]) -> Option<String> {
    let default = configurations.iter().find(|(name, _)| name == "default").map(|(_, object)| object);
    let nodes = configurations.iter().filter(|(name, _)| name.starts_with("node."));
    let cluster = action_of(default, None);
    nodes.map(|(_, node)| action_of(default, Some(node))).all(|node| node == cluster).then_some(cluster)?
}

/// The action of the tables that are in use; `None` where that is left to Felix and the two differ.
fn action_of(default: Option<&Value>, node: Option<&Value>) -> Option<String> {
    let field = |name: &str| {
        let of = |object: &Value| object.get("spec")?.get(name)?.as_str().map(str::to_owned);
        node.and_then(of).or_else(|| default.and_then(of))
    };
    let iptables = field("iptablesFilterDenyAction").unwrap_or_else(|| DROP.to_owned());
    let nftables = field("nftablesFilterDenyAction").unwrap_or_else(|| DROP.to_owned());
    match field("nftablesMode").as_deref() {
        _ if iptables == nftables => Some(iptables),
        Some("Enabled") => Some(nftables),
        Some("Disabled") | None => Some(iptables),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_action_is_known_only_where_it_is_the_same_everywhere() {
        let reject = json!({"iptablesFilterDenyAction": "Reject"});
        let nft = json!({"iptablesFilterDenyAction": "Reject", "nftablesMode": "Enabled"});
        let auto = json!({"iptablesFilterDenyAction": "Reject", "nftablesMode": "Auto"});
        for (specs, expected) in [
            (vec![], Some("Drop")),
            (vec![("default", json!({}))], Some("Drop")),
            (vec![("default", reject.clone())], Some("Reject")),
            (vec![("default", nft)], Some("Drop")),
            (vec![("default", auto)], None),
            (vec![("node.a", reject.clone())], None),
            (vec![("default", reject), ("node.a", json!({}))], Some("Reject")),
        ] {
            let objects: Vec<_> = specs.iter().map(|(n, s)| ((*n).to_owned(), json!({ "spec": s }))).collect();
            assert_eq!(action(&objects).as_deref(), expected, "{specs:?}");
        }
    }
}
