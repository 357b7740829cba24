//! That pairs which are looked at as one are one: in clusters of everything that tells pods apart, each pair is held
//! against what it is found to be by itself.

use proptest::{prelude::*, test_runner::Config};
use serde_json::{Value, json};

use super::*;
use crate::engine::{
    evaluate::Evaluation,
    fixtures::{calico, document, port},
    touched::{
        changed,
        openings::{Opening, Openings},
        pairs::{Cell, Looks},
        rules,
    },
};
use crate::model::{PodInfo, PolicyDocument, ServiceInfo};

const APPS: [&str; 12] = [
    "a/web",
    "a/api",
    "a/two",
    "a/none",
    "a/host",
    "b/web",
    "b/api",
    "b/off",
    "b/dual",
    "c/web",
    "c/dns",
    "elsewhere/web",
];

/// Namespaces `a` to `c` and one in which no probe may start. Apps of one kind, and for each thing that is asked of a
/// class one that differs by it: its number of pods, ports, network, readiness, families and labels.
fn cluster() -> Cluster {
    let team = |name: &str| [("team", if name == "c" { "ops" } else { "dev" })];
    let mut cluster = Cluster::default();
    for name in ["a", "b", "c", "elsewhere"] {
        cluster = cluster.namespace(name, &team(name));
    }
    for name in APPS {
        let pods = match name.split_once('/').unwrap().1 {
            "two" | "dual" => 2,
            "off" => 0,
            _ => 1,
        };
        cluster = cluster.app(name, pods);
    }
    let six = |pod: &mut PodInfo| {
        let address = pod.ips[0].to_string().replace("10.0.0.", "fd00::");
        pod.ips.push(address.parse().unwrap());
    };
    let label = |key: &'static str, value: &'static str| {
        move |pod: &mut PodInfo| drop(pod.labels.insert(key.into(), value.into()))
    };
    cluster
        .with("b/dual", six)
        .with("a/api", six)
        .with("a/api", |pod| pod.ports = vec![port("http", 80, Protocol::Tcp), port("dns", 5353, Protocol::Udp)])
        .with("a/none", |pod| pod.ports.clear())
        .with("a/host", |pod| pod.host_network = true)
        .with("b/api", |pod| pod.ready = false)
        .with("c/dns", |pod| pod.ports = vec![port("any", 5300, Protocol::Udp)])
        .with("c/dns", label("k8s-app", "kube-dns"))
        .with("b/web", label("color", "red"))
        .with("c/web", label("color", "red"))
        .with("a/two", |pod| pod.service_account = "builder".to_owned())
}

fn pick<T: Clone + std::fmt::Debug + 'static>(all: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(all.to_vec())
}

/// Drawn mostly as nothing.
fn maybe(all: &[Value]) -> impl Strategy<Value = Option<Value>> + use<> {
    prop_oneof![2 => Just(None), 3 => pick(all).prop_map(Some)]
}

fn filled<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let drawn = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(drawn.collect())
}

fn selectors() -> Vec<Value> {
    vec![
        json!({}),
        json!({"matchLabels": {"app": "web"}}),
        json!({"matchLabels": {"color": "red"}}),
        json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["api"]}]}),
        json!({"matchLabels": {"app": "nobody"}}),
    ]
}

fn arb_peer() -> impl Strategy<Value = Value> {
    let namespaces = [
        json!({}),
        json!({"matchLabels": {"team": "dev"}}),
        json!({"matchLabels": {"kubernetes.io/metadata.name": "b"}}),
    ];
    let blocks = ["0.0.0.0/0", "10.0.0.0/29", "10.0.0.2/31", "fd00::/64", "fd00::2/128", "192.0.2.0/24"];
    let pods = (maybe(&namespaces), pick(&selectors()))
        .prop_map(|(namespaces, pods)| filled([("namespaceSelector", namespaces), ("podSelector", Some(pods))]));
    let block = pick(&blocks).prop_map(|cidr| json!({"ipBlock": {"cidr": cidr}}));
    prop_oneof![3 => pods, 1 => block]
}

fn arb_rule(field: &'static str) -> impl Strategy<Value = Value> {
    let ports = [
        json!({"port": 80}),
        json!({"port": "http"}),
        json!({"port": 8000, "endPort": 8100}),
        json!({"protocol": "UDP"}),
        json!({"port": "dns", "protocol": "UDP"}),
    ];
    let list = prop::option::weighted(0.7, prop::collection::vec(pick(&ports), 1..3));
    (prop::option::weighted(0.8, prop::collection::vec(arb_peer(), 1..3)), list)
        .prop_map(move |(peers, ports)| filled([(field, peers.map(Value::from)), ("ports", ports.map(Value::from))]))
}

fn arb_kubernetes() -> impl Strategy<Value = (String, Value)> {
    let rules = |field| prop::option::weighted(0.7, prop::collection::vec(arb_rule(field), 0..3));
    (pick(&["a", "b", "c"]), pick(&selectors()), rules("from"), rules("to")).prop_map(
        |(namespace, pods, ingress, egress)| {
            let types: Vec<&str> = [ingress.is_some().then_some("Ingress"), egress.is_some().then_some("Egress")]
                .into_iter()
                .flatten()
                .collect();
            let spec = filled([
                ("podSelector", Some(pods)),
                ("policyTypes", (!types.is_empty()).then(|| json!(types))),
                ("ingress", ingress.map(Value::from)),
                ("egress", egress.map(Value::from)),
            ]);
            (namespace.to_owned(), spec)
        },
    )
}

fn arb_entity() -> impl Strategy<Value = Value> {
    let selectors = ["app == 'web'", "color == 'red'", "!has(color)", "projectcalico.org/serviceaccount == 'builder'"]
        .map(Value::from);
    let namespaces = ["team == 'dev'", "global()"].map(Value::from);
    let nets = [json!(["10.0.0.0/29", "10.0.0.4/30"]), json!(["10.0.0.0/24"]), json!(["fd00::/64", "10.0.0.2/31"])];
    let ports = [json!([80]), json!(["http"]), json!(["8000:8100", "dns"])];
    let service = [json!({"name": "ends", "namespace": "a"})];
    let entity = (maybe(&selectors), maybe(&namespaces), maybe(&nets), maybe(&ports)).prop_map(
        |(selector, namespaces, nets, ports)| {
            filled([("selector", selector), ("namespaceSelector", namespaces), ("nets", nets), ("ports", ports)])
        },
    );
    prop_oneof![6 => entity, 1 => pick(&service).prop_map(|service| json!({"services": service}))]
}

fn arb_calico() -> impl Strategy<Value = Value> {
    let rule = || {
        (pick(&["Allow", "Allow", "Deny", "Pass"]), arb_entity(), arb_entity()).prop_map(
            |(action, source, destination)| {
                let has_ports = source.get("ports").or_else(|| destination.get("ports")).is_some();
                let protocol = has_ports.then(|| json!("TCP"));
                filled([
                    ("action", Some(json!(action))),
                    ("protocol", protocol),
                    ("source", Some(source)),
                    ("destination", Some(destination)),
                ])
            },
        )
    };
    let rules = || prop::collection::vec(rule(), 0..3);
    let selector = pick(&["all()", "app == 'web'", "color == 'red'"]);
    (selector, pick(&[1, 2]), rules(), rules()).prop_map(|(selector, order, ingress, egress)| {
        json!({"selector": selector, "order": order, "ingress": ingress, "egress": egress})
    })
}

fn arb_documents() -> impl Strategy<Value = Vec<PolicyDocument>> {
    let kubernetes = prop::collection::vec(arb_kubernetes(), 1..5);
    let global = prop_oneof![1 => Just(Vec::new()), 1 => prop::collection::vec(arb_calico(), 1..3)];
    (kubernetes, global).prop_map(|(kubernetes, global)| {
        let own =
            |(number, (namespace, spec)): (usize, (String, Value))| document(&format!("{namespace}/p{number}"), spec);
        let own = kubernetes.into_iter().enumerate().map(own);
        let global = global.into_iter().enumerate();
        own.chain(global.map(|(number, spec)| calico("GlobalNetworkPolicy", &format!("g{number}"), spec))).collect()
    })
}

/// What a run looks at.
struct Case {
    declared: World,
    before: Option<World>,
    outside: Vec<Outside>,
    rules: Vec<RuleRef>,
}

impl Case {
    /// The documents, of which those in `old` were there before, when `changed` declared other ports.
    fn new(documents: &[PolicyDocument], old: Option<&[bool]>, changed: usize) -> Option<Self> {
        let mut snapshot = cluster().snapshot;
        snapshot.services = vec![ServiceInfo {
            namespace: "a".to_owned(),
            name: "ends".to_owned(),
            selector: Some(crate::engine::fixtures::labels(&[("app", "web")])),
            cluster_ips: Vec::new(),
            headless: false,
            ports: vec![(80, Protocol::Tcp, "http".to_owned())],
            port_names: Vec::new(),
            ends: Vec::new(),
        }];
        let declared = Evaluation::of(&snapshot, documents, TieRule::default()).ok()?.world;
        let before = old.map(|old| {
            let was =
                |policy: &Policy| documents.iter().zip(old).any(|(document, old)| *old && document.id == policy.id);
            let mut before = declared.with_policies(declared.policies.iter().filter(|p| was(p)).cloned().collect());
            let changed = changed % before.classes.len();
            before.classes[changed].ports = vec![port("http", 80, Protocol::Tcp)];
            before
        });
        let host = |name: &str, address: &str| Outside {
            name: Some(name.to_owned()),
            address: address.parse().unwrap(),
            ports: vec![80, 5432],
            seen_by: None,
        };
        let rules = declared.policies.iter().flat_map(|policy| {
            let of = |direction| {
                let rules = policy.rules(direction).unwrap_or_default().iter();
                rules.map(move |rule| RuleRef { policy: policy.id.clone(), direction, index: rule.index })
            };
            of(Direction::Ingress).chain(of(Direction::Egress)).collect::<Vec<_>>()
        });
        let rules = rules.collect();
        let outside = vec![host("pg01", "192.0.2.7"), host("pg01", "fd00::ffff"), host("nfs01", "198.51.100.7")];
        Some(Self { declared, before, outside, rules })
    }

    /// Gives `look` what a merge of all rules looks at, or a first run.
    fn with<T>(&self, retried: &[Retried], look: impl FnOnce(&Input<'_>) -> T) -> T {
        look(&Input {
            before: self.before.as_ref(),
            declared: &self.declared,
            live: &self.declared,
            changed_rules: if retried.is_empty() { &self.rules } else { &[] },
            outside: &self.outside,
            names: &BTreeSet::new(),
            known: &[],
            git: &self.declared.policies.iter().map(|p| p.id.clone()).collect(),
            probe_from: &|name| name != "elsewhere",
            new_namespaces: &BTreeSet::new(),
            recorded: &[],
            retried_rules: retried,
            first_run: self.before.is_none() && retried.is_empty(),
            sweep: None,
        })
    }
}

/// The flows of one pair, asked of it alone.
fn alone(views: &Views<'_>, openings: &Openings<'_>, pair: (usize, usize)) -> Vec<Opening> {
    let applies = |class: &Class| views.input.declared.applies_to(&openings.policy.subject, class);
    let is_asked = views.class(pair.0).is_some_and(applies) && views.is_pair(pair.0, pair.1);
    if is_asked { openings.between(views, &Cell { first: pair, count: 1 }) } else { Vec::new() }
}

/// All that is said of a rule's pairs, held against each of them by itself.
fn hold(views: &Views<'_>, openings: &Openings<'_>, known: &Collected) -> Result<(), TestCaseError> {
    let count = views.classes().len();
    let pairs: Vec<(usize, usize)> =
        (0..count).flat_map(|subject| (0..count).map(move |peer| (subject, peer))).collect();
    let mut cells: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    let mut first = None;
    for pair in pairs {
        let cell = openings.pairs.cell(pair.0, pair.1).filter(|_| views.is_pair(pair.0, pair.1));
        let expected = alone(views, openings, pair);
        let of_cell = cell.map(|cell| &openings.all[openings.of_cell[cell].clone()]).unwrap_or_default();
        prop_assert_eq!(of_cell.len(), expected.len(), "{} {:?}", openings.reference, pair);
        for (like, own) in of_cell.iter().zip(&expected) {
            let named = Opening { source: own.source, target: own.target.clone(), count: 1, ..like.clone() };
            prop_assert!(named == *own, "{} {:?}: {:?} is {:?}", openings.reference, pair, named, own);
            let rank = |o: &Opening| {
                let is_unseen = views.unseen(o.source, &o.target, o.port, o.decision).is_some();
                changed::rank_of(views, Origin::Class(o.source), &o.target, o.port, is_unseen)
            };
            prop_assert_eq!(rank(like), rank(own), "{} {:?}", openings.reference, pair);
            let then =
                |o: &Opening| views.before.as_ref().map(|m| decision(m, (o.source, &o.target), o.family, o.port));
            prop_assert_eq!(then(like), then(own), "{} {:?}", openings.reference, pair);
        }
        let is_known = |o: &&Opening| known.iter().any(|f| is_of(f, o) && f.unseen.is_none());
        let mut wanted = expected.iter().filter(|o| !o.is_twin && o.decision != Decision::Denied);
        first = first.or_else(|| wanted.find(is_known).map(|o| (o.source, o.target.clone(), o.port)));
        cells.entry(cell.unwrap_or(usize::MAX)).or_default().push(pair);
    }
    for (number, cell) in openings.pairs.cells.iter().enumerate() {
        prop_assert_eq!((cells[&number][0], cells[&number].len()), (cell.first, cell.count));
    }
    let among = |o: &Opening| matches!(o.target, Target::Class(_)) && o.decision != Decision::Denied;
    let found = openings.known(views, known, &among).map(|(o, (source, target))| (source, target, o.port));
    prop_assert_eq!(found, first, "what is looked at anyway of {}", openings.reference);
    Ok(())
}

fn is_of(flow: &TouchedFlow, opening: &Opening) -> bool {
    (flow.source, &flow.target) == (Origin::Class(opening.source), &opening.target)
        && (flow.protocol, flow.port, flow.family) == (opening.port.0, opening.port.1, opening.family)
}

fn arb_old() -> impl Strategy<Value = Option<Vec<bool>>> {
    prop::option::weighted(0.6, prop::collection::vec(any::<bool>(), 8))
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn pairs_that_are_looked_at_as_one_are_one(documents in arb_documents(), old in arb_old(), changed in 0..APPS.len()) {
        let case = Case::new(&documents, old.as_deref(), changed);
        prop_assume!(case.is_some());
        let case = case.unwrap();
        case.with(&[], |input| {
            let mut known = Collected::default();
            found(input, Look::Apart).flows.into_iter().for_each(|flow| known.add(flow));
            let views = Views::new(input);
            let mut looks = Looks::new(&views, Look::Together);
            for reference in &case.rules {
                hold(&views, &rules::openings(&mut looks, reference).unwrap(), &known)?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    }

    #[test]
    fn what_a_run_looks_at_is_the_same_where_each_pair_is_looked_at_by_itself(documents in arb_documents(), old in arb_old(), changed in 0..APPS.len()) {
        let case = Case::new(&documents, old.as_deref(), changed);
        prop_assume!(case.is_some());
        let case = case.unwrap();
        let both = |input: &Input<'_>| [Look::Together, Look::Apart].map(|look| found(input, look));
        let [together, apart] = case.with(&[], both);
        prop_assert_eq!(&together, &apart);
        let retried = |silent: &SilentRule| Retried { rule: silent.rule.clone(), parts: silent.parts.clone() };
        let retried: Vec<Retried> = together.waiting.iter().map(retried).collect();
        if !retried.is_empty() {
            let [together, apart] = case.with(&retried, both);
            prop_assert_eq!(together, apart);
        }
    }
}
