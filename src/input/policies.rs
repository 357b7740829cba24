//! Policies, and what stands beside them, among the documents of a set.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde_json::Value;

use super::{Fault, Source, cursor::Cursor, schema};
use crate::{
    engine::read::{self, PolicySet, StagedAction, Unreadable},
    flux::{
        manifests::{Content, Document, ManifestError, Place},
        own_origins,
    },
    model::{Origins, Peer, PolicyDocument, PolicyRef, Snapshot},
};

/// Calico's groups: the API that people write, and what it stores.
pub(super) const CALICO: [&str; 2] = ["projectcalico.org", "crd.projectcalico.org"];
/// The group of AdminNetworkPolicy, BaselineAdminNetworkPolicy and ClusterNetworkPolicy.
const ADMIN: &str = "policy.networking.k8s.io";

/// Whether a kind decides about packets, or stands beside Calico's kinds that do.
pub(super) fn concerns(group: &str, kind: &str) -> bool {
    let beside = ["NetworkSet", "GlobalNetworkSet", "Tier", "HostEndpoint"];
    kind.ends_with("NetworkPolicy") || CALICO.contains(&group) && beside.contains(&kind)
}

/// Whether objects of a kind are in no namespace; one that is written there does not count.
fn is_cluster_wide(group: &str, kind: &str) -> bool {
    let of_calico = kind.contains("Global") || matches!(kind, "Tier" | "HostEndpoint");
    group == ADMIN || CALICO.contains(&group) && of_calico
}

/// What the document calls itself.
fn reference(document: &Document, (version, group): (&str, &str)) -> PolicyRef {
    let kind = document.kind();
    let namespace = (!is_cluster_wide(group, kind)).then(|| document.namespace().unwrap_or("default"));
    let tier = document.root.get("spec").and_then(|spec| spec.get("tier")?.text());
    PolicyRef::of_object(version, kind, namespace, document.name(), tier)
}

/// Takes a document with the places of its fields, if its kind is understood and the API would take it.
pub(super) fn document(
    (source, document, rendered): (&Source, &Document, Option<&Origins>),
    (version, group): (&str, &str),
    lenient: bool,
    warnings: &mut Vec<ManifestError>,
) -> Result<PolicyDocument, Vec<Fault>> {
    let cursor = Cursor { file: &source.shown, node: &document.root, name: "" };
    cursor.names().map_err(|fault| vec![Fault::from(fault)])?;
    if document.name().is_empty() {
        return Err(vec![cursor.fault(format!("a {} without `metadata.name`", document.kind())).into()]);
    }
    let id = reference(document, (version, group));
    let object = document.root.to_value();
    let policy = PolicyDocument {
        origins: rendered.cloned().unwrap_or_else(|| own_origins(&source.name, document)),
        id,
        api_version: version.to_owned(),
        object,
        kustomization: None,
    };
    if !read::understands(&policy) {
        let place = place(&source.shown, document.root.place);
        return Err(vec![Fault::NotUnderstood { place, version: version.to_owned(), policy: policy.id.to_string() }]);
    }
    let mut faults = Vec::new();
    if read::is_kubernetes(&policy) {
        schema::check(cursor, lenient, &mut faults, warnings);
        blocks(cursor, &mut faults);
    } else if group == ADMIN {
        unknown_peers(cursor, if lenient { warnings } else { &mut faults });
    }
    if faults.is_empty() { Ok(policy) } else { Err(faults.into_iter().map(Fault::from).collect()) }
}

fn place(file: &str, Place { line, column }: Place) -> String {
    format!("{file}:{line}:{column}")
}

/// "Except values will be rejected if they are outside the cidr range" (IPBlock.except).
fn blocks(policy: Cursor<'_>, faults: &mut Vec<ManifestError>) {
    for block in peers(policy).into_iter().filter_map(|peer| peer.get("ipBlock").ok().flatten()) {
        faults.extend(outside(block));
    }
}

/// The peers of all rules, of whatever they are.
fn peers(policy: Cursor<'_>) -> Vec<Cursor<'_>> {
    let mut all = Vec::new();
    for (direction, field) in [("ingress", "from"), ("egress", "to")] {
        let rules = policy.get("spec").ok().flatten().and_then(|spec| spec.items(direction).ok());
        all.extend(rules.into_iter().flatten().filter_map(|rule| rule.items(field).ok()).flatten());
    }
    all
}

fn outside(block: Cursor<'_>) -> Vec<ManifestError> {
    // What is no address at all is a fault of its own.
    let Some(cidr) = block.get("cidr").ok().flatten().and_then(|c| c.text().ok()?.parse::<IpNet>().ok()) else {
        return Vec::new();
    };
    let items = block.items("except").unwrap_or_default().into_iter();
    let is_inside = |net: IpNet| cidr.contains(&net) && net.prefix_len() > cidr.prefix_len();
    let wrong = items.filter_map(|item| {
        let net = item.text().ok()?.parse::<IpNet>().ok()?;
        (!is_inside(net)).then(|| item.fault(format!("`except` {net} is not inside {cidr}")))
    });
    wrong.collect()
}

/// Peers of the network policy API that this program does not know: to the API of its version they are mistakes, and a
/// dataplane that does not know a peer lets its rule fail closed.
fn unknown_peers(policy: Cursor<'_>, faults: &mut Vec<ManifestError>) {
    for peer in peers(policy) {
        let is_ingress = peer.name == "from";
        let known: &[&str] = if is_ingress {
            &["namespaces", "pods"]
        } else {
            &["namespaces", "pods", "networks", "nodes", "domainNames"]
        };
        let Content::Mapping(fields) = &peer.node.content else { continue };
        let told = |what: &str| format!("{what} (it is one of {}): the rule fails closed", known.join(", "));
        if fields.is_empty() {
            faults.push(peer.fault(told(&format!("a peer of `{}` names nothing", peer.name))));
        }
        for (key, (place, _)) in fields.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
            let message = told(&format!("unknown peer `{key}` in `{}`", peer.name));
            faults.push(ManifestError { file: peer.file.to_owned(), place: Some(*place), message });
        }
    }
}

/// Where documents stand in the texts: the origin of a rendering is in another file than its text.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<PolicyRef, (String, Place, bool)>);

impl Places {
    pub(super) fn add(&mut self, id: &PolicyRef, source: &Source, document: &Document, is_rendered: bool) {
        self.0.insert(id.clone(), (source.shown.clone(), document.root.place, is_rendered));
    }

    /// The place with what follows it in a message; nothing for a live object.
    fn of(&self, id: &PolicyRef) -> String {
        self.0.get(id).map(|(file, at, _)| format!("{}: ", place(file, *at))).unwrap_or_default()
    }

    fn fault(&self, error: Unreadable) -> Fault {
        let message = format!("{}: {}", error.policy, error.message);
        let (file, root, is_rendered) = match self.0.get(&error.policy) {
            Some((file, root, is_rendered)) => (file.clone(), Some(*root), *is_rendered),
            None => (String::new(), None, true),
        };
        let own = error.origin.filter(|_| !is_rendered);
        let own = own.and_then(|origin| Some(Place { line: origin.line?, column: origin.column? }));
        ManifestError { file, place: own.or(root), message }.into()
    }
}

/// Reads the documents of a set together.
pub(super) fn read(documents: &[PolicyDocument], places: &Places) -> Result<PolicySet, Vec<Fault>> {
    read::documents(documents).map_err(|errors| errors.into_iter().map(|error| places.fault(error)).collect())
}

/// What of a set is not enforced, or enforced otherwise than it may seem.
pub(super) fn notes(
    set: &PolicySet,
    documents: &[PolicyDocument],
    snapshot: &Snapshot,
    places: &Places,
) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |id: &PolicyRef, what: &str| notes.push(format!("{}{id} {what}", places.of(id)));
    for staged in &set.staged {
        let what = match staged.action {
            StagedAction::Set => "is staged: it is not enforced, and decides nothing here",
            StagedAction::Delete => "is staged to delete the policy of its name, which is enforced until then",
            StagedAction::Learn => "is staged (learnt from flows): it is not enforced, and decides nothing here",
            StagedAction::Ignore => "is staged and set aside: it decides nothing",
        };
        note(&staged.id, what);
    }
    for id in &set.host_only {
        note(id, "is for host endpoints alone (doNotTrack, preDNAT): it decides nothing about pods");
    }
    for id in &set.host_endpoints {
        note(id, "is a node's: what policies say about nodes is not evaluated");
    }
    for id in &set.copies {
        note(id, "is what Calico's API shows of another policy: that one counts, where it is in the input too");
    }
    for document in documents.iter().filter(|document| names_domains(&document.object)) {
        note(&document.id, "names domains: their addresses are not known here, so that such a peer opens none");
    }
    let asks_nodes = |peer: &Peer| matches!(peer, Peer::Nodes(selector) if !selector.is_everything());
    for policy in set.policies.iter().filter(|_| snapshot.node_labels.is_empty()) {
        if policy.all_rules().flat_map(|rule| rule.peers.iter().flatten()).any(asks_nodes) {
            note(&policy.id, "selects nodes by labels, and no Node is in the input: it matches none");
        }
    }
    notes
}

fn names_domains(object: &Value) -> bool {
    let rules = object.pointer("/spec/egress").and_then(Value::as_array).into_iter().flatten();
    let peers = rules.filter_map(|rule| rule.get("to")?.as_array()).flatten();
    peers.into_iter().any(|peer| peer.get("domainNames").is_some())
}
