//! The random material of all kinds: that it is valid, balanced, and that every feature decides.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::features::{Feature, all, answers, of_kubernetes};
use crate::random::tiered::{Admin, Mix, Packet, documents, packets, with_services};
use crate::tiers::{By, World, selector_is_valid, verdict};
use crate::{Answer, random};

/// Answers that have to hang on each feature.
const ENOUGH: usize = 10;
/// Clusters that are drawn for it, at most.
const CLUSTERS: u64 = 1_500;

#[test]
fn every_feature_decides() {
    every_one_decides(&all(), Mix::of_seed);
}

#[test]
fn every_feature_of_kubernetes_decides() {
    let shape = random::Shape { pods: 6, policies: 5, ..random::Shape::default() };
    every_one_decides(&of_kubernetes(), |_| Mix::kubernetes(shape.clone(), Admin::Nothing));
}

fn every_one_decides(features: &[Feature], mix: impl Fn(u64) -> Mix) {
    let mut counts = vec![0; features.len()];
    for seed in 0..CLUSTERS {
        if counts.iter().all(|count| *count >= ENOUGH) {
            break;
        }
        let mix = mix(seed);
        let world = World::read(documents(seed, &mix)).unwrap();
        let packets = packets(seed, &mix, &world, 16);
        let with = answers(&world, &packets);
        for (feature, count) in features.iter().zip(&mut counts).filter(|(_, count)| **count < ENOUGH) {
            let Some(without) = feature.taken_from(&world) else { continue };
            let without = answers(&without, &packets);
            *count += with.iter().zip(&without).filter(|(with, without)| with != without).count();
        }
    }
    let rare: Vec<_> = features.iter().zip(&counts).filter(|(_, count)| **count < ENOUGH).collect();
    assert!(rare.is_empty(), "too rare: {rare:?}");
}

#[test]
fn allowed_and_denied_are_balanced() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..300 {
        let mix = Mix::of_seed(seed);
        let world = World::read(documents(seed, &mix)).unwrap();
        for packet in packets(seed, &mix, &world, 12) {
            *counts.entry(format!("{:?}", verdict(&world, &packet.in_world(&world)).answer)).or_default() += 1;
        }
    }
    let of = |answer: Answer| counts.get(&format!("{answer:?}")).copied().unwrap_or_default();
    let (open, closed) = (of(Answer::Allowed), of(Answer::Denied));
    let percent = 100 * open / (open + closed);
    assert!((25..=75).contains(&percent), "{percent} % are allowed: {counts:?}");
}

#[test]
fn a_seed_is_a_cluster() {
    let mix = Mix::of_seed(7);
    assert_eq!(documents(7, &mix), documents(7, &mix));
    assert_ne!(documents(7, &mix), documents(8, &mix));
}

/// Every object that a test may see, with its seed.
fn drawn() -> impl Iterator<Item = (u64, Value)> {
    (0..400).flat_map(|seed| documents(seed, &Mix::of_seed(seed)).into_iter().map(move |one| (seed, one)))
}

/// All values under a key, at any depth.
fn under<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                if name == key {
                    found.push(inner);
                }
                under(inner, key, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|inner| under(inner, key, found)),
        _ => {}
    }
}

fn is_calico(document: &Value) -> bool {
    document["apiVersion"] == "projectcalico.org/v3"
}

#[test]
fn a_case_is_made_small() {
    let by_rule = |world: &World, packet: &Packet| {
        let ingress = verdict(world, &packet.in_world(world)).ingress;
        !ingress.allowed && matches!(ingress.by, By::Rule(..))
    };
    let (world, packet) = (0..200)
        .find_map(|seed| {
            let mix = Mix::of_seed(seed);
            let world = World::read(documents(seed, &mix)).unwrap();
            let packet = packets(seed, &mix, &world, 12).into_iter().find(|packet| by_rule(&world, packet))?;
            Some((world, packet))
        })
        .unwrap();
    let small = random::tiered::shrunk(&world, |world| by_rule(world, &packet));
    assert!(by_rule(&small, &packet));
    // The policy that denies, and what its selectors need.
    assert!(small.others.len() <= 3 && small.plain.policies.is_empty() && small.plain.pods.len() <= 2, "{small:?}");
}

#[test]
fn selectors_are_valid() {
    for (seed, document) in drawn().filter(|(_, document)| is_calico(document)) {
        for key in ["selector", "notSelector", "namespaceSelector", "serviceAccountSelector"] {
            let mut found = Vec::new();
            under(&document, key, &mut found);
            for text in found.into_iter().filter_map(Value::as_str) {
                assert!(selector_is_valid(text) || text == "global()", "seed {seed}: {text}");
            }
        }
    }
}

fn rules(document: &Value) -> Vec<&Value> {
    ["ingress", "egress"].iter().flat_map(|key| document["spec"][key].as_array().into_iter().flatten()).collect()
}

#[test]
fn rules_are_what_calico_accepts() {
    for (seed, document) in drawn().filter(|(_, document)| is_calico(document)) {
        for rule in rules(&document) {
            let ports = ["source", "destination"]
                .iter()
                .any(|end| ["ports", "notPorts"].iter().any(|key| !rule[end][key].is_null()));
            let protocol = &rule["protocol"];
            let has_ports = ["TCP", "UDP", "SCTP"].iter().any(|name| protocol == name) || protocol.is_number();
            assert!(!ports || has_ports, "seed {seed}: {rule}");
            let icmp = protocol == "ICMP" || protocol == "ICMPv6";
            assert!(icmp || (rule["icmp"].is_null() && rule["notICMP"].is_null()), "seed {seed}: {rule}");
            let mut nets = Vec::new();
            under(rule, "nets", &mut nets);
            under(rule, "notNets", &mut nets);
            let nets: Vec<&str> =
                nets.iter().flat_map(|nets| nets.as_array().unwrap()).filter_map(Value::as_str).collect();
            let sixes = nets.iter().filter(|net| net.contains(':')).count();
            assert!(sixes == 0 || sixes == nets.len(), "seed {seed}: two families in {rule}");
            let version = rule["ipVersion"].as_u64();
            let families = nets.iter().all(|net| version.is_none_or(|version| net.contains(':') == (version == 6)));
            assert!(families, "seed {seed}: {rule}");
            services_are_accepted(&document, rule);
        }
    }
}

fn services_are_accepted(document: &Value, rule: &Value) {
    for end in ["source", "destination"] {
        let entity = &rule[end];
        if entity["services"].is_null() {
            continue;
        }
        let beside = entity.as_object().unwrap().keys().filter(|key| key.as_str() != "services").count();
        assert_eq!(beside, 0, "{entity}");
        let side = if end == "source" { "ingress" } else { "egress" };
        assert!(document["spec"][side].as_array().unwrap().contains(rule), "services are the peer's: {rule}");
    }
}

#[test]
fn policies_are_what_calico_accepts() {
    for (seed, document) in drawn().filter(|(_, document)| is_calico(document)) {
        let spec = &document["spec"];
        if spec["preDNAT"] == true {
            assert!(spec["egress"].is_null() && spec["types"] == serde_json::json!(["Ingress"]), "seed {seed}");
        }
        let for_hosts = spec["preDNAT"] == true || spec["doNotTrack"] == true;
        assert!(!for_hosts || spec["applyOnForward"] == true, "seed {seed}: {spec}");
        let tier = spec["tier"].as_str().unwrap_or("default");
        let name = document["metadata"]["name"].as_str().unwrap();
        assert!(tier == "default" || name.starts_with(&format!("{tier}.")), "seed {seed}: {name} in {tier}");
    }
}

#[test]
fn admin_policies_are_what_their_api_accepts() {
    let mut of_cluster: BTreeMap<(u64, String), Vec<u64>> = BTreeMap::new();
    for (seed, document) in drawn() {
        let version = document["apiVersion"].as_str().unwrap();
        if !version.starts_with("policy.networking.k8s.io/") {
            continue;
        }
        let (kind, spec) = (document["kind"].as_str().unwrap(), &document["spec"]);
        let tier = spec["tier"].as_str().unwrap_or(kind).to_owned();
        of_cluster.entry((seed, tier)).or_default().push(spec["priority"].as_u64().unwrap_or_default());
        for rule in rules(&document) {
            let allow = if kind == "ClusterNetworkPolicy" { "Accept" } else { "Allow" };
            assert!(rule["action"] == allow || rule["action"] == "Deny" || rule["action"] == "Pass", "{rule}");
            assert!(kind != "BaselineAdminNetworkPolicy" || rule["action"] != "Pass", "{rule}");
            let text = rule.to_string();
            let beyond = ["networks", "nodes", "domainNames"].iter().any(|peer| text.contains(peer));
            assert!(!beyond || !text.to_lowercase().contains("namedport"), "{rule}");
            assert!(!text.contains("domainNames") || rule["action"] == allow, "{rule}");
        }
    }
    for (place, mut priorities) in of_cluster {
        let count = priorities.len();
        priorities.sort_unstable();
        priorities.dedup();
        assert_eq!(priorities.len(), count, "equal priorities are undefined: {place:?}");
    }
}

#[test]
fn the_standard_channel_has_no_experimental_fields() {
    for admin in [Admin::V1alpha1, Admin::V1alpha2] {
        let mix = Mix::kubernetes(random::Shape::default(), admin);
        let drawn: Vec<Value> = (0..60).flat_map(|seed| documents(seed, &mix)).collect();
        let text = serde_json::to_string(&drawn).unwrap();
        for absent in ["\"nodes\"", "domainNames", "\"namedPort\"", "projectcalico"] {
            assert!(!text.contains(absent), "{admin:?}: {absent}");
        }
        assert!(text.contains("networks") && text.contains("policy.networking"), "{admin:?}");
        assert_eq!(text.contains("destinationNamedPort"), admin == Admin::V1alpha2);
    }
}

#[test]
fn a_real_cluster_gives_the_addresses_and_gets_what_3_28_knows() {
    let shape = random::Shape { ipv6: false, addressed: false, outside: vec![], ..random::Shape::default() };
    let mix = Mix::calico_3_28(shape);
    let mut standing = random::tiered::standing(3, &mix);
    for (number, pod) in standing.pods.iter_mut().enumerate() {
        pod.status.get_or_insert_default().pod_ip = Some(format!("172.20.0.{}", number + 1));
    }
    let policies: Vec<Value> = (0..40).flat_map(|seed| random::tiered::policies(seed, &mix, &standing)).collect();
    let text = serde_json::to_string(&policies).unwrap();
    assert!(text.contains("\"172.20.0."), "blocks are made of the pods' addresses");
    assert!(policies.iter().all(|policy| policy["spec"]["tier"].is_null()));
    for absent in ["\"Tier\"", "Staged", "policy.networking", "::"] {
        assert!(!text.contains(absent), "{absent}");
    }
    assert_eq!(mix.admin, Admin::Nothing);
    let services = with_services(3, &mix, &mut standing);
    let selects = |service: &Value| service["spec"]["selector"].as_object().unwrap().keys().next().unwrap().clone();
    let has =
        |label: &String| standing.pods.iter().any(|pod| pod.metadata.labels.as_ref().unwrap().contains_key(label));
    assert!(services.iter().map(selects).any(|label| has(&label)), "pods stand behind services");
    // Names of namespaces stand in double quotes everywhere, so that a test can put its own in their place.
    assert!(!text.contains("'ns-"));
}
