//! Calico's kinds (NetworkPolicy, GlobalNetworkPolicy, NetworkSet, GlobalNetworkSet, Tier, and the staged ones), and
//! sets of documents of every kind.

use std::collections::BTreeMap;

use foldhash::{HashSet, HashSetExt};
use serde_json::Value;

use super::{
    Reader, Unreadable, admin,
    fields::{Fields, Read},
};
use crate::{
    model::{
        Action, CALICO_API, Direction, Labels, NAMESPACE_LABEL, NetworkSet, Order, Origin, Policy, PolicyDocument,
        PolicyRef, Rule, Tier, is_calico_copy,
    },
    parallel,
};

mod entity;
mod rule;
mod staged;
mod subject;

pub use staged::{Staged, StagedAction};

/// The API that people write.
const API: &str = "projectcalico.org/v3";
/// What that API stores: it may hold what the API would have completed or refused.
const STORE: &str = "crd.projectcalico.org/v1";

/// Where the store keeps what the API took as metadata.
const STORED_METADATA: &str = "projectcalico.org/metadata";

const POLICY_FIELDS: [&str; 8] =
    ["tier", "order", "ingress", "egress", "selector", "types", "serviceAccountSelector", "performanceHints"];
const GLOBAL_FIELDS: [&str; 4] = ["namespaceSelector", "doNotTrack", "preDNAT", "applyOnForward"];

/// Documents that are read one after the other: fewer are not worth a thread.
const PIECE: usize = 64;

/// Everything that documents say about packets of pods.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicySet {
    /// Policies that are enforced.
    pub policies: Vec<Policy>,
    /// Network sets.
    pub sets: Vec<NetworkSet>,
    /// Policies that are shown to people and never enforced.
    pub staged: Vec<Staged>,
    /// Policies for host endpoints alone (`doNotTrack`, `preDNAT`): they decide nothing about pods.
    pub host_only: Vec<PolicyRef>,
    /// Host endpoints: nodes, whose policies are not evaluated.
    pub host_endpoints: Vec<PolicyRef>,
    /// Policies that Calico's API shows of other kinds, which are read as themselves.
    pub copies: Vec<PolicyRef>,
}

impl PolicySet {
    /// Adds what other documents say.
    fn append(&mut self, other: Self) {
        let Self { policies, sets, staged, host_only, host_endpoints, copies } = other;
        self.policies.extend(policies);
        self.sets.extend(sets);
        self.staged.extend(staged);
        self.host_only.extend(host_only);
        self.host_endpoints.extend(host_endpoints);
        self.copies.extend(copies);
    }
}

/// What is around an entity or policy that decides how it is read.
pub(super) struct Scope<'d> {
    /// The policy's namespace; `None` for a global one.
    pub(super) namespace: Option<&'d str>,
    /// Whether the document is as stored, without the API's defaults and checks.
    pub(super) stored: bool,
}

/// Whether [`documents`] reads this kind, besides `networking.k8s.io/v1` NetworkPolicy and the network policy API.
#[must_use]
pub fn understands(document: &PolicyDocument) -> bool {
    let kinds = ["NetworkPolicy", "GlobalNetworkPolicy", "NetworkSet", "GlobalNetworkSet", "Tier", "HostEndpoint"];
    let kind = kind(document);
    [API, STORE].contains(&document.api_version.as_str()) && (kinds.contains(&kind) || staged::is_staged(kind))
}

/// The kind without the group by which Calico's NetworkPolicy is told from that of Kubernetes.
fn kind(document: &PolicyDocument) -> &str {
    let kind = document.id.kind.as_str();
    kind.strip_suffix(CALICO_API).and_then(|kind| kind.strip_suffix('.')).unwrap_or(kind)
}

/// Reads NetworkPolicies of Kubernetes, all of Calico's kinds and those of the network policy API together: tiers first,
/// since policies name them.
///
/// # Errors
/// Every document that has no reader, or whose content the API would refuse or Calico drop.
pub fn documents(documents: &[PolicyDocument]) -> Result<PolicySet, Vec<Unreadable>> {
    let (result, errors) = readable(documents);
    if errors.is_empty() { Ok(result) } else { Err(errors) }
}

/// The same for a cluster, where one document that cannot be read hides none of the others.
#[must_use]
pub fn readable(documents: &[PolicyDocument]) -> (PolicySet, Vec<Unreadable>) {
    let mut errors = Vec::new();
    let mut result = PolicySet::default();
    let mut tiers = known_tiers();
    let is_tier = |document: &&PolicyDocument| document.id.kind == "Tier" && understands(document);
    for document in documents.iter().filter(is_tier) {
        match tier(document) {
            Ok(tier) => drop(tiers.insert(tier.name.clone(), tier)),
            Err(error) => errors.push(*error),
        }
    }
    let mut seen = HashSet::new();
    let read: Vec<(&PolicyDocument, bool)> =
        documents.iter().map(|document| (document, seen.insert(identity(document)))).collect();
    let pieces: Vec<&[(&PolicyDocument, bool)]> = read.chunks(PIECE).collect();
    let in_piece = |piece: &&[(&PolicyDocument, bool)]| {
        let (mut result, mut errors) = (PolicySet::default(), Vec::new());
        for (document, is_new) in *piece {
            let reader = Reader { id: &document.id, origins: &document.origins };
            let read = if !is_new {
                Err(reader.fault("", "another document has the same kind and name".to_owned()))
            } else if is_tier(document) {
                Ok(())
            } else {
                Set { tiers: &tiers, result: &mut result }.add(document)
            };
            errors.extend(read.err().map(|error| *error));
        }
        (result, errors)
    };
    let read = if let [piece] = pieces.as_slice() { vec![in_piece(piece)] } else { parallel::each(&pieces, in_piece) };
    for (part, wrong) in read {
        result.append(part);
        errors.extend(wrong);
    }
    (result, errors)
}

/// The two groups of Calico hold the same objects.
fn identity(document: &PolicyDocument) -> (bool, &PolicyRef) {
    (document.api_version == API || document.api_version == STORE, &document.id)
}

/// The tiers that Calico makes itself, with their orders (semantics: "Calico maps tiers").
fn known_tiers() -> BTreeMap<String, Tier> {
    let passing = |order, name| Tier { default_action: Action::Pass, ..Tier::denying(order, name) };
    let tiers = [
        Tier::default_tier(),
        passing(1_000.0, "kube-admin"),
        passing(10_000_000.0, "kube-baseline"),
        passing(1_000.0, "adminnetworkpolicy"),
        passing(10_000_000.0, "baselineadminnetworkpolicy"),
    ];
    tiers.into_iter().map(|tier| (tier.name.clone(), tier)).collect()
}

fn tier(document: &PolicyDocument) -> Read<Tier> {
    let reader = Reader { id: &document.id, origins: &document.origins };
    let spec = spec(&reader, document)?.only(&["order", "defaultAction"])?;
    let name = document.id.name.as_str();
    let order = order(&spec)?;
    let known = known_tiers().remove(name);
    if let Some(known) = known.as_ref().filter(|known| known.order != order) {
        return Err(spec.fault("order", format!("the order of tier `{name}` is {}", known.order.0)));
    }
    let default_action = match spec.text("defaultAction")? {
        None => known.map_or(Action::Deny, |known| known.default_action),
        Some("Deny") => Action::Deny,
        Some("Pass") => Action::Pass,
        Some(other) => {
            return Err(spec.fault("defaultAction", format!("`{other}` is no end of a tier (Deny, Pass)")));
        }
    };
    Ok(Tier { order, name: name.to_owned(), default_action })
}

/// No order is last; a negative zero is a zero.
fn order(spec: &Fields<'_>) -> Read<Order> {
    Ok(spec.number("order")?.map_or(Order::LAST, |number| Order(number + 0.0)))
}

fn spec<'d>(reader: &'d Reader<'d>, document: &'d PolicyDocument) -> Read<Fields<'d>> {
    Fields::of(reader, document.object.get("spec"), "/spec".to_owned())
}

/// The set in the making.
struct Set<'s> {
    tiers: &'s BTreeMap<String, Tier>,
    result: &'s mut PolicySet,
}

impl Set<'_> {
    fn add(&mut self, document: &PolicyDocument) -> Read<()> {
        if super::is_kubernetes(document) {
            self.result.policies.push(super::policy(document)?);
            return Ok(());
        }
        if admin::understands(document) {
            self.result.policies.push(admin::policy(document, self.tiers)?);
            return Ok(());
        }
        let reader = Reader { id: &document.id, origins: &document.origins };
        let kind = kind(document);
        if !understands(document) {
            return Err(reader.fault("", format!("kind `{kind}` of `{}` is not understood", document.api_version)));
        }
        match kind {
            "NetworkSet" | "GlobalNetworkSet" => self.result.sets.push(network_set(&reader, document)?),
            "HostEndpoint" => self.result.host_endpoints.push(document.id.clone()),
            _ if staged::is_staged(kind) => self.result.staged.push(staged::read(&reader, document, self.tiers)?),
            _ if is_calico_copy(&document.id.name) => self.result.copies.push(document.id.clone()),
            _ => match policy(&reader, spec(&reader, document)?, document, self.tiers)? {
                Some(policy) => self.result.policies.push(policy),
                None => self.result.host_only.push(document.id.clone()),
            },
        }
        Ok(())
    }
}

fn is_global(kind: &str) -> bool {
    kind.contains("Global")
}

/// Reads a policy; `None` for one that concerns host endpoints alone.
fn policy(
    reader: &Reader<'_>,
    spec: Fields<'_>,
    document: &PolicyDocument,
    tiers: &BTreeMap<String, Tier>,
) -> Read<Option<Policy>> {
    let global = is_global(&document.id.kind);
    let known: Vec<&str> = POLICY_FIELDS.into_iter().chain(GLOBAL_FIELDS.into_iter().filter(|_| global)).collect();
    let spec = spec.only(&known)?;
    let name = spec.text("tier")?.unwrap_or("default");
    let Some(tier) = tiers.get(name) else {
        return Err(spec.fault("tier", format!("there is no tier `{name}`: add the Tier of that name")));
    };
    let namespace = (!global).then(|| document.id.namespace.clone().unwrap_or_else(|| "default".to_owned()));
    let scope = Scope { namespace: namespace.as_deref(), stored: document.api_version == STORE };
    let rules = |direction| rules(reader, &spec, &scope, direction);
    let (ingress, egress) = (rules(Direction::Ingress)?, rules(Direction::Egress)?);
    let (has_ingress, has_egress) = directions(&spec, &scope, !ingress.is_empty(), !egress.is_empty())?;
    let names_egress = !egress.is_empty() || has_egress && spec.value("types").is_some();
    let is_host_only = subject::host_only(&spec, names_egress)?;
    let policy = Policy {
        id: id(document),
        origin: document.origins.document.clone(),
        tier: tier.clone(),
        order: order(&spec)?,
        subject: subject::read(&spec, &scope)?,
        ingress: has_ingress.then_some(ingress),
        egress: has_egress.then_some(egress),
    };
    Ok((!is_host_only).then_some(policy))
}

/// The name by which verdicts tell a policy: Calico's NetworkPolicy is called by its group too, as kubectl writes it,
/// since a NetworkPolicy of Kubernetes may have the same name.
fn id(document: &PolicyDocument) -> PolicyRef {
    let PolicyRef { kind, namespace, name } = document.id.clone();
    let kind = if kind == "NetworkPolicy" { format!("{kind}.{CALICO_API}") } else { kind };
    let namespace = if is_global(&kind) { None } else { namespace.or_else(|| Some("default".to_owned())) };
    PolicyRef { kind, namespace, name }
}

/// The API completes absent types by the rules that there are; what is stored without types applies both ways
/// (semantics: "no Types means Ingress and Egress").
fn directions(spec: &Fields<'_>, scope: &Scope<'_>, ingress: bool, egress: bool) -> Read<(bool, bool)> {
    let types = spec.texts("types", |text| match text {
        "Ingress" => Ok(Direction::Ingress),
        "Egress" => Ok(Direction::Egress),
        other => Err(format!("`{other}` is no policy type (Ingress, Egress)")),
    })?;
    match types.as_slice() {
        [] if scope.stored => Ok((true, true)),
        [] => Ok((ingress || !egress, egress)),
        [a, rest @ ..] if rest.contains(a) || rest.len() > 1 => {
            Err(spec.fault("types", "a type is named twice".to_owned()))
        }
        all => Ok((all.contains(&Direction::Ingress), all.contains(&Direction::Egress))),
    }
}

fn rules(reader: &Reader<'_>, spec: &Fields<'_>, scope: &Scope<'_>, direction: Direction) -> Read<Vec<Rule>> {
    let one = |(index, fields): (usize, Fields<'_>)| {
        let origin: Option<Origin> = reader.origins.nearest(&fields.at).cloned();
        rule::read(fields, scope, direction, index, origin)
    };
    spec.objects(direction.word())?.into_iter().enumerate().map(one).collect()
}

fn network_set(reader: &Reader<'_>, document: &PolicyDocument) -> Read<NetworkSet> {
    let spec = spec(reader, document)?.only(&["nets", "allowedEgressDomains"])?;
    if spec.value("allowedEgressDomains").is_some() {
        return Err(spec.fault("allowedEgressDomains", "names of domains are not understood".to_owned()));
    }
    let metadata = Fields::of(reader, document.object.get("metadata"), "/metadata".to_owned())?;
    let mut labels = labels(&metadata)?;
    if document.api_version == STORE {
        let mut stored = stored_labels(&metadata)?;
        stored.extend(labels);
        labels = stored;
    }
    if labels.contains_key(NAMESPACE_LABEL) {
        return Err(metadata.fault("labels", format!("the label `{NAMESPACE_LABEL}` is Calico's own")));
    }
    let nets = spec.texts("nets", |text| entity::block(text).map(|net| net.trunc()))?;
    let mut id = document.id.clone();
    id.namespace = if is_global(&id.kind) { None } else { id.namespace.or_else(|| Some("default".to_owned())) };
    Ok(NetworkSet { id, origin: document.origins.document.clone(), labels, nets })
}

/// Labels that Calico's API took: it stores the object's metadata as JSON in an annotation.
fn stored_labels(metadata: &Fields<'_>) -> Read<Labels> {
    let Some(text) = metadata.object("annotations")?.text(STORED_METADATA)? else { return Ok(Labels::new()) };
    let stored: Value = serde_json::from_str(text)
        .map_err(|error| metadata.fault("annotations", format!("`{STORED_METADATA}` is no JSON: {error}")))?;
    let labels = stored.get("labels").and_then(Value::as_object);
    let pair = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    Ok(labels.into_iter().flatten().filter_map(pair).collect())
}

fn labels(metadata: &Fields<'_>) -> Read<Labels> {
    let fields = metadata.value("labels").and_then(Value::as_object);
    let one = |(key, value): (&String, &Value)| match value {
        Value::String(text) => Ok((key.clone(), text.clone())),
        _ => Err(metadata.fault("labels", format!("the label `{key}` is no text"))),
    };
    fields.into_iter().flatten().map(one).collect()
}

#[cfg(test)]
mod tests;
