//! Random policies: what must hold whatever they say.

use proptest::{prelude::*, test_runner::Config};

use super::*;

const SELECTORS: [&str; 9] = [
    "all()",
    "app == 'api'",
    "app != 'web'",
    "has(color)",
    "!has(color)",
    "team == 'ops'",
    "projectcalico.org/serviceaccount == 'web'",
    "projectcalico.org/namespace == 'redis' || color == 'red'",
    "role starts with 'p'",
];
const NAMESPACES: [&str; 5] = ["all()", "global()", "env == 'prod'", "env != 'prod'", "has(nothing)"];
const NETS: [&str; 5] = ["10.0.0.0/30", "10.0.0.2/31", "192.0.2.0/25", "0.0.0.0/0", "203.0.113.0/24"];
const PORTS: [&str; 5] = ["80", "http", "8000:8100", "1:100", "dns"];

fn pick(list: &'static [&'static str]) -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![3 => Just(None), 2 => prop::sample::select(list).prop_map(Some)]
}

/// Sets the fields that were drawn.
fn filled(fields: &[(&str, Option<Value>)]) -> Value {
    let drawn = fields.iter().filter_map(|(key, value)| Some(((*key).to_owned(), value.clone()?)));
    Value::Object(drawn.collect())
}

fn arb_entity(with_ports: bool) -> impl Strategy<Value = Value> {
    let ports = move || pick(&PORTS).prop_map(move |port| port.filter(|_| with_ports).map(|port| json!([port])));
    let fields = (pick(&SELECTORS), pick(&SELECTORS), pick(&NAMESPACES), pick(&NETS), pick(&NETS), ports(), ports());
    let accounts = prop::option::weighted(0.2, Just(json!({"names": ["web"]})));
    (fields, accounts).prop_map(|((selector, not, namespaces, nets, not_nets, ports, not_ports), accounts)| {
        let text = |text: Option<&str>| text.map(Value::from);
        let list = |text: Option<&str>| text.map(|text| json!([text]));
        filled(&[
            ("selector", text(selector)),
            ("notSelector", text(not)),
            ("namespaceSelector", text(namespaces)),
            ("nets", list(nets)),
            ("notNets", list(not_nets)),
            ("ports", ports),
            ("notPorts", not_ports),
            ("serviceAccounts", accounts),
        ])
    })
}

fn arb_rule() -> impl Strategy<Value = Value> {
    let protocol = prop::sample::select(vec![None, Some("TCP"), Some("TCP"), Some("UDP"), Some("ICMP")]);
    let action = prop::sample::select(vec!["Allow", "Allow", "Deny", "Pass", "Log"]);
    (action, protocol).prop_flat_map(|(action, protocol)| {
        let ports = matches!(protocol, Some("TCP" | "UDP"));
        (arb_entity(false), arb_entity(ports)).prop_map(move |(source, destination)| {
            let mut rule = json!({"action": action, "source": source, "destination": destination});
            if let Some(protocol) = protocol {
                rule["protocol"] = json!(protocol);
            }
            rule
        })
    })
}

fn arb_policy() -> impl Strategy<Value = (bool, Value)> {
    let rules = || prop::collection::vec(arb_rule(), 0..3);
    let order = prop::sample::select(vec![json!(null), json!(1), json!(2), json!(1000)]);
    let tier = prop::sample::select(vec!["default", "default", "late"]);
    (any::<bool>(), tier, order, pick(&SELECTORS), rules(), rules()).prop_map(
        |(global, tier, order, selector, ingress, egress)| {
            let spec =
                json!({"tier": tier, "order": order, "selector": selector, "ingress": ingress, "egress": egress});
            (global, spec)
        },
    )
}

/// Late passes at its end where `passes`; the policies of namespaces are in shop.
fn documents(policies: Vec<(bool, Value)>, passes: bool) -> Vec<PolicyDocument> {
    let set = |kind: &str, name: &str, label: (&str, &str), nets: &[&str]| {
        let mut made = calico(kind, name, json!({"nets": nets}));
        made.object["metadata"]["labels"] = json!(labels(&[label]));
        made
    };
    let fixed = [
        calico("Tier", "late", json!({"order": 2_000_000, "defaultAction": if passes { "Pass" } else { "Deny" }})),
        set("GlobalNetworkSet", "ops", ("team", "ops"), &["192.0.2.0/24", "10.0.0.3"]),
        set("NetworkSet", "shop/partner", ("role", "partner"), &["203.0.113.0/24"]),
        api_denied(),
    ];
    let made = policies.into_iter().enumerate().map(|(number, (global, spec))| {
        let prefix = if spec["tier"] == "late" { "late" } else { "default" };
        if global {
            calico("GlobalNetworkPolicy", &format!("{prefix}.{number}"), spec)
        } else {
            calico("NetworkPolicy", &format!("shop/{prefix}.{number}"), spec)
        }
    });
    fixed.into_iter().chain(made).collect()
}

/// Two pods of each workload that differ in what selectors and rules look at.
fn mixed() -> Cluster {
    let mut cluster = cluster().app("shop/web", 1).app("shop/api", 1).app("redis/redis", 1);
    for (number, pod) in cluster.snapshot.pods.iter_mut().enumerate().skip(3) {
        pod.labels.insert("color".to_owned(), "red".to_owned());
        pod.ports.push(port("dns", 53, Protocol::Udp));
        pod.service_account = if number % 2 == 0 { "web" } else { "other" }.to_owned();
    }
    cluster.snapshot.workloads.dedup_by(|a, b| a.id == b.id);
    cluster
}

const ENDS: [&str; 3] = ["192.0.2.7", "203.0.113.7", "198.51.100.7"];

fn asked() -> Vec<Traffic> {
    let tcp = |port| Traffic::to_port(Protocol::Tcp, port);
    vec![tcp(80), tcp(8080), Traffic::to_port(Protocol::Udp, 53), Traffic::icmp(IpProtocol::ICMP, 8, 0)]
}

proptest! {
    #![proptest_config(Config { cases: 150, failure_persistence: None, ..Config::default() })]

    /// Pods that share a class are decided as each by itself, and reachability says what verdicts say.
    #[test]
    fn classes_and_reachability_change_no_verdict(
        policies in prop::collection::vec(arb_policy(), 1..5),
        passes in any::<bool>(),
    ) {
        let (cluster, documents) = (mixed(), documents(policies, passes));
        let mut apart = cluster.snapshot.clone();
        apart.pods.iter_mut().for_each(|pod| pod.workload.name.clone_from(&pod.id.name));
        let together = Evaluation::of(&cluster.snapshot, &documents, TieRule::default()).unwrap();
        let apart = Evaluation::of(&apart, &documents, TieRule::default()).unwrap();
        let matrix = Matrix::new(&together.world);
        let pods: Vec<IpAddr> = cluster.snapshot.pods.iter().map(|pod| pod.ips[0]).collect();
        let ends: Vec<IpAddr> = pods.iter().copied().chain(ENDS.map(|end| end.parse().unwrap())).collect();
        for (source, destination) in ends.iter().flat_map(|a| ends.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b) {
            for traffic in asked() {
                let verdict = together.decide(source, destination, &traffic);
                prop_assert_eq!(&verdict, &apart.decide(source, destination, &traffic), "{} {}", source, destination);
                let classes = together.classes.get(&source).zip(together.classes.get(&destination));
                if let (Some((from, to)), Some(protocol)) = (classes, traffic.protocol.transport()) {
                    let decision = matrix.decision(*from, *to, Family::V4, protocol, traffic.port);
                    prop_assert_eq!(decision, verdict.decision(), "{} {} {:?}", source, destination, traffic);
                }
            }
        }
    }
}
