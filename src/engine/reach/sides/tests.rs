//! What sides work out for all ends that no rule tells apart, against a question about each single pair.

use serde_json::{Value, json};

use super::{super::open::Opening, *};
use crate::{
    engine::{
        evaluate::Evaluation,
        fixtures::{Cluster, calico, document, index, labels, port},
    },
    model::{PodInfo, PolicyDocument, Protocol, ServiceInfo, TieRule},
    report::flows::open_text,
};

/// What sides tell, by the names of both ends.
struct Told<'w> {
    world: &'w World,
    questions: Questions,
    matrix: Matrix<'w>,
    openings: Openings,
    sides: Sides<'w>,
}

impl<'w> Told<'w> {
    /// Every pair is held against a question about it alone.
    #[track_caller]
    fn new(world: &'w World, direction: Direction, family: Family) -> Self {
        let (matrix, questions) = (Matrix::new(world), Questions::of(&[world]));
        let (openings, sides) = (Openings::new(&questions), Sides::new(&matrix, direction, family));
        let told = Self { world, questions, matrix, openings, sides };
        let matrix = &told.matrix;
        let classes = 0..world.classes.len();
        for subject in classes.clone() {
            let only = told.only(subject);
            for peer in classes.clone() {
                let ends = ends(matrix, (direction, family), subject, peer).unwrap();
                let single = told.questions.opening(matrix, direction, subject, ends);
                let place = [subject, peer].map(|class| world.classes[class].workload.to_string());
                let number = told.sides.opening(told.asking(), subject, peer);
                assert_eq!(told.openings.get(number).as_deref(), Some(&single), "{direction:?} {family:?} {place:?}");
                let is_among = only.is_none_or(|only| only.contains(&u32::try_from(peer).unwrap()));
                assert!(is_among || number == Openings::NOTHING, "{direction:?} {family:?} {place:?} is left out");
            }
        }
        told.hold_outside(matrix, direction, family);
        told
    }

    const fn asking(&self) -> Asking<'_, 'w> {
        Asking { matrix: &self.matrix, questions: &self.questions, openings: &self.openings }
    }

    fn only(&self, subject: usize) -> Option<&[u32]> {
        self.sides.only(self.asking(), subject)
    }

    /// Classes of one number have the same flows with addresses outside.
    #[track_caller]
    fn hold_outside(&self, matrix: &Matrix<'_>, direction: Direction, family: Family) {
        let address = if family == Family::V4 { "192.0.2.1" } else { "2001:db8::1" };
        let mut known = HashMap::new();
        for (class, own) in self.world.classes.iter().enumerate() {
            let (own, outside) = (End::pods(own, family), End::outside(address.parse().unwrap()));
            let ends = if direction == Direction::Egress { (own, outside) } else { (outside, own) };
            let single = self.questions.opening(matrix, direction, class, ends);
            let first = known.entry(self.sides.group_number(class)).or_insert_with(|| single.clone());
            assert_eq!(*first, single, "{direction:?} {}", self.world.classes[class].workload);
        }
    }

    /// What passes one side, for people.
    fn open(&self, subject: &str, peer: &str) -> String {
        let number = self.sides.opening(self.asking(), index(self.world, subject), index(self.world, peer));
        open_text(&self.questions.one(Opening::clone(&self.openings.get(number).unwrap())))
    }

    /// The same with several peers.
    fn opens<const N: usize>(&self, subject: &str, peers: [&str; N]) -> [String; N] {
        peers.map(|peer| self.open(subject, peer))
    }
}

fn egress(world: &World) -> Told<'_> {
    Told::new(world, Direction::Egress, Family::V4)
}

fn ingress(world: &World) -> Told<'_> {
    Told::new(world, Direction::Ingress, Family::V4)
}

fn world(cluster: &Cluster, documents: &[PolicyDocument]) -> World {
    Evaluation::of(&cluster.snapshot, documents, TieRule::default()).unwrap_or_else(|errors| panic!("{errors:?}")).world
}

/// Of the namespace `shop`: `web`, `api`, `db` whose port `http` is 8080, `cache` where it is 6379, `none` without ports.
fn cluster() -> Cluster {
    let apps = ["shop/api", "shop/cache", "shop/db", "shop/none", "shop/web"];
    let cluster = apps.iter().fold(Cluster::new(&["shop"]), |cluster, app| cluster.app(app, 1));
    let cluster = cluster.with("shop/cache", |pod| pod.ports = vec![port("http", 6379, Protocol::Tcp)]);
    cluster.with("shop/none", |pod| pod.ports.clear())
}

/// A NetworkPolicy of all pods of `shop`, with these rules in one direction.
fn all(name: &str, kind: &str, rules: &Value) -> PolicyDocument {
    let section = kind.to_lowercase();
    document(&format!("shop/{name}"), json!({"podSelector": {}, "policyTypes": [kind], section: rules}))
}

fn global(name: &str, spec: Value) -> PolicyDocument {
    calico("GlobalNetworkPolicy", name, spec)
}

fn pods(app: &str) -> Value {
    json!({"podSelector": {"matchLabels": {"app": app}}})
}

const NONE: &str = "no port";
const ALL: &str = "all ports";

#[test]
fn a_named_port_of_ingress_is_the_one_that_each_destination_declares() {
    let rules = json!([{"from": [pods("web")], "ports": [{"port": "http"}]}]);
    let world = world(&cluster(), &[all("p", "Ingress", &rules)]);
    let told = ingress(&world);
    let from_web = ["shop/db", "shop/cache", "shop/none", "shop/web"].map(|subject| told.open(subject, "shop/web"));
    assert_eq!(from_web, ["8080/TCP", "6379/TCP", NONE, "8080/TCP"]);
    assert_eq!(told.open("shop/cache", "shop/api"), NONE);
    let group = |app| told.sides.group_number(index(&world, app));
    assert_eq!(group("shop/db"), group("shop/api"), "they declare the same");
    assert_ne!(group("shop/db"), group("shop/cache"));
    assert_eq!(told.only(index(&world, "shop/db")).unwrap().len(), 1, "nobody else is asked about");
}

#[test]
fn a_named_port_of_egress_is_the_one_that_each_peer_declares() {
    let peers = ["api", "cache", "none"].map(pods);
    let rules = json!([{"to": peers, "ports": [{"port": "http"}]}]);
    let world = world(&cluster(), &[all("p", "Egress", &rules)]);
    let told = egress(&world);
    let peers = ["shop/api", "shop/cache", "shop/none", "shop/db"];
    assert_eq!(told.opens("shop/web", peers), ["8080/TCP", "6379/TCP", NONE, NONE]);
    assert_eq!(told.opens("shop/cache", peers), ["8080/TCP", "6379/TCP", NONE, NONE], "a source's own ports are none");
}

#[test]
fn a_named_port_to_anyone_tells_apart_peers_that_no_rule_names() {
    let world = world(&cluster(), &[all("p", "Egress", &json!([{"ports": [{"port": "http"}]}]))]);
    let told = egress(&world);
    assert_eq!(told.opens("shop/web", ["shop/db", "shop/cache", "shop/none"]), ["8080/TCP", "6379/TCP", NONE]);
    assert!(told.only(index(&world, "shop/web")).is_none(), "all have to be asked about");
}

#[test]
fn declared_ports_count_only_for_peers_of_the_rule_that_names_them() {
    let rules = json!([{"to": [pods("none")], "ports": [{"port": "http"}]}, {"ports": [{"port": 443}]}]);
    let world = world(&cluster(), &[all("p", "Egress", &rules)]);
    let told = egress(&world);
    assert_eq!(told.opens("shop/web", ["shop/db", "shop/cache", "shop/none"]), ["443/TCP", "443/TCP", "443/TCP"]);
}

#[test]
fn peers_are_told_apart_by_all_rules_that_name_them() {
    let rules = json!([
        {"to": [pods("db"), pods("cache")], "ports": [{"port": 1}]},
        {"to": [pods("cache"), pods("api")], "ports": [{"port": 2}]},
        {"to": [pods("db"), pods("cache")], "ports": [{"port": 3}]},
    ]);
    let only_web = json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"],
        "egress": [{"to": [pods("db")], "ports": [{"port": 4}]}]});
    let world = world(&cluster(), &[all("p", "Egress", &rules), document("shop/only-web", only_web)]);
    let told = egress(&world);
    let peers = ["shop/api", "shop/cache", "shop/db", "shop/none"];
    assert_eq!(told.opens("shop/web", peers), ["2/TCP", "1-3/TCP", "1,3-4/TCP", NONE]);
    assert_eq!(
        told.opens("shop/none", peers),
        ["2/TCP", "1-3/TCP", "1,3/TCP", NONE],
        "another policy's rules are not its"
    );
    let named = ["shop/api", "shop/cache", "shop/db"].map(|app| u32::try_from(index(&world, app)).unwrap());
    assert_eq!(told.only(index(&world, "shop/none")), Some(named.as_slice()));
}

#[test]
fn peers_are_told_apart_by_the_blocks_that_hold_them_in_each_family() {
    let with_v6 = |pod: &mut PodInfo| pod.ips.push("fd00::7".parse().unwrap());
    let cluster = cluster().with("shop/db", with_v6).with("shop/web", |pod| {
        pod.ips.push("fd00::8".parse().unwrap());
    });
    let address = |app: &str| cluster.snapshot.pods.iter().find(|pod| pod.id.name.starts_with(app)).unwrap().ips[0];
    let block = json!({"cidr": "10.0.0.0/24", "except": [format!("{}/32", address("api"))]});
    let rules = json!([
        {"to": [{"ipBlock": block}], "ports": [{"port": 1}]},
        {"to": [{"ipBlock": {"cidr": "fd00::7/128"}}], "ports": [{"port": 2}]},
    ]);
    let world = world(&cluster, &[all("p", "Egress", &rules)]);
    assert_eq!(egress(&world).opens("shop/web", ["shop/db", "shop/api"]), ["1/TCP", NONE]);
    let v6 = Told::new(&world, Direction::Egress, Family::V6);
    assert_eq!(v6.opens("shop/web", ["shop/db", "shop/web"]), ["2/TCP", NONE]);
}

#[test]
fn each_direction_has_rules_of_its_own() {
    let both = json!({"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [pods("web")], "ports": [{"port": 1}]}],
        "egress": [{"to": [pods("cache")], "ports": [{"port": 2}]}]});
    let world = world(&cluster(), &[document("shop/db", both)]);
    let peers = ["shop/web", "shop/cache"];
    assert_eq!(ingress(&world).opens("shop/db", peers), ["1/TCP", NONE]);
    assert_eq!(egress(&world).opens("shop/db", peers), [NONE, "2/TCP"]);
    assert_eq!(egress(&world).opens("shop/api", peers), [ALL, ALL], "no policy isolates it");
}

#[test]
fn an_earlier_tier_decides_before_a_later_one() {
    let tier = calico("Tier", "platform", json!({"order": 100}));
    let rules = json!([
        {"action": "Deny", "protocol": "TCP", "destination": {"selector": "app == 'db'", "ports": [5432]}},
        {"action": "Pass"},
    ]);
    let spec = json!({"tier": "platform", "selector": "app in {'web', 'api'}", "types": ["Egress"], "egress": rules});
    let ports = json!([{"port": 5432}, {"port": 6379}]);
    let later = all("p", "Egress", &json!([{"to": [pods("db"), pods("cache")], "ports": ports}]));
    let world = world(&cluster(), &[tier, global("platform.first", spec), later]);
    let told = egress(&world);
    let peers = ["shop/db", "shop/cache", "shop/api"];
    assert_eq!(told.opens("shop/web", peers), ["6379/TCP", "5432,6379/TCP", NONE]);
    assert_eq!(told.opens("shop/none", peers), ["5432,6379/TCP", "5432,6379/TCP", NONE], "the tier is not its");
}

#[test]
fn what_rules_say_of_the_policys_own_end_tells_its_pods_apart() {
    let rule = |own: &str, far: &str, port: u16| {
        json!({"action": "Allow", "protocol": "TCP", "source": {"selector": format!("app == '{own}'")},
            "destination": {"selector": format!("app == '{far}'"), "ports": [port]}})
    };
    let rules = json!([rule("web", "db", 1), rule("api", "db", 2), rule("web", "cache", 3)]);
    let out = global("out", json!({"selector": "all()", "types": ["Egress"], "egress": rules}));
    let into = global("into", json!({"selector": "all()", "types": ["Ingress"], "ingress": rules}));
    let world = world(&cluster(), &[out, into]);
    let told = egress(&world);
    let peers = ["shop/db", "shop/cache"];
    assert_eq!(told.opens("shop/web", peers), ["1/TCP", "3/TCP"]);
    assert_eq!(told.opens("shop/api", peers), ["2/TCP", NONE]);
    assert_eq!(told.opens("shop/none", peers), [NONE, NONE]);
    let told = ingress(&world);
    assert_eq!(told.opens("shop/db", ["shop/web", "shop/api"]), ["1/TCP", "2/TCP"]);
    assert_eq!(told.opens("shop/cache", ["shop/web", "shop/api"]), ["3/TCP", NONE]);
}

#[test]
fn named_ports_of_calico_count_only_where_the_pod_itself_matches() {
    let mut set = calico("GlobalNetworkSet", "db", json!({"nets": ["10.0.0.2/32"]}));
    set.object["metadata"]["labels"] = json!({"tier": "data"});
    let labelled = |pod: &mut PodInfo| drop(pod.labels.insert("tier".to_owned(), "data".to_owned()));
    let cluster = cluster().with("shop/db", labelled);
    let address = |app: &str| cluster.snapshot.pods.iter().find(|pod| pod.id.name.starts_with(app)).unwrap().ips[0];
    assert_eq!(address("api").to_string(), "10.0.0.2", "it is in the set too");
    let to = json!({"selector": "tier == 'data'", "ports": ["http", 443]});
    let rule = json!([{"action": "Allow", "protocol": "TCP", "destination": to}]);
    let world =
        world(&cluster, &[set, global("p", json!({"selector": "app == 'web'", "types": ["Egress"], "egress": rule}))]);
    let told = egress(&world);
    let peers = ["shop/db", "shop/api", "shop/cache"];
    assert_eq!(told.opens("shop/web", peers), ["443,8080/TCP", "443/TCP", NONE]);
}

#[test]
fn a_named_port_of_calico_for_ingress_is_the_destinations_own() {
    let rule = json!([{"action": "Allow", "protocol": "TCP", "destination": {"ports": ["http"]}}]);
    let world = world(&cluster(), &[global("p", json!({"selector": "all()", "types": ["Ingress"], "ingress": rule}))]);
    let told = ingress(&world);
    let from_web = ["shop/db", "shop/cache", "shop/none"].map(|subject| told.open(subject, "shop/web"));
    assert_eq!(from_web, ["8080/TCP", "6379/TCP", NONE]);
}

#[test]
fn a_source_whose_own_port_a_rule_names_is_like_no_other() {
    // Linux may open a connection from this port.
    let cluster = cluster().with("shop/cache", |pod| pod.ports = vec![port("http", 40_000, Protocol::Tcp)]);
    let rule = json!([{"action": "Allow", "protocol": "TCP", "source": {"ports": ["http"]}}]);
    let world =
        world(&cluster, &[global("p", json!({"selector": "app == 'web'", "types": ["Ingress"], "ingress": rule}))]);
    assert_eq!(ingress(&world).opens("shop/web", ["shop/cache", "shop/db"]), ["all/TCP", NONE]);
}

#[test]
fn pods_behind_a_service_have_the_ports_that_it_leads_to() {
    let mut cluster = cluster().with("shop/api", |pod| drop(pod.labels.insert("role".to_owned(), "end".to_owned())));
    cluster = cluster.with("shop/cache", |pod| drop(pod.labels.insert("role".to_owned(), "end".to_owned())));
    cluster.snapshot.services = vec![ServiceInfo {
        namespace: "shop".to_owned(),
        name: "ends".to_owned(),
        selector: Some(labels(&[("role", "end")])),
        cluster_ips: Vec::new(),
        headless: false,
        ports: vec![(80, Protocol::Tcp, "http".to_owned())],
        port_names: Vec::new(),
        ends: Vec::new(),
    }];
    let rule = json!([{"action": "Allow", "destination": {"services": {"name": "ends", "namespace": "shop"}}}]);
    let policy = calico("NetworkPolicy", "shop/p", json!({"types": ["Egress"], "egress": rule}));
    let world = world(&cluster, &[policy]);
    assert_eq!(egress(&world).opens("shop/web", ["shop/api", "shop/cache", "shop/db"]), ["8080/TCP", "6379/TCP", NONE]);
}

#[test]
fn packets_without_ports_are_told_apart_too() {
    let rules = json!([
        {"action": "Allow", "protocol": "ICMP", "icmp": {"type": 8}, "destination": {"selector": "app == 'db'"}},
        {"action": "Allow", "protocol": "TCP", "destination": {"selector": "app == 'cache'", "ports": [1]}},
    ]);
    let policy = global("p", json!({"selector": "app == 'web'", "types": ["Egress"], "egress": rules}));
    let world = world(&cluster(), &[policy]);
    assert_eq!(egress(&world).opens("shop/web", ["shop/db", "shop/cache"]), ["ICMP type 8", "1/TCP"]);
}

#[test]
fn each_of_many_peers_has_its_own_kind() {
    let named = [0, 3, 63, 64, 127, 130];
    let list = named.iter().zip(1..).map(|(class, kind)| (*class, kind)).collect();
    let peers = Peers::new(131, list);
    for class in 0..140 {
        let place = named.iter().position(|named| *named == class);
        let expected = place.map_or(0, |place| u32::try_from(place + 1).unwrap());
        assert_eq!(peers.kind(class), expected, "class {class}");
    }
}

#[test]
fn a_named_port_means_nothing_at_a_pod_in_its_nodes_network() {
    let rules = json!([{"ports": [{"port": "http"}]}]);
    let cluster = cluster().with("shop/db", |pod| pod.host_network = true);
    let world = world(&cluster, &[all("p", "Egress", &rules)]);
    // Both declare the same.
    assert_eq!(egress(&world).opens("shop/web", ["shop/db", "shop/api"]), [NONE, "8080/TCP"]);
}
