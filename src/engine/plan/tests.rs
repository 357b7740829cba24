use std::collections::BTreeSet;

use super::*;
use crate::{
    engine::{
        fixtures::{Cluster, app, block, deny_all, egress, index, ingress, policy},
        touched::Outside,
        world::World,
    },
    model::{Container, ContainerPort, Policy, Why},
};

/// `shop/web` may reach `redis/redis`, as may `shop/api`; `system/kube-dns` is open to all.
fn cluster() -> Cluster {
    let dns = |p: &mut PodInfo| {
        p.labels.insert("k8s-app".to_owned(), "kube-dns".to_owned());
    };
    Cluster::new(&["shop", "redis", "system"])
        .app("shop/web", 1)
        .app("shop/api", 1)
        .app("redis/redis", 1)
        .app("system/kube-dns", 1)
        .with("system/kube-dns", dns)
}

fn policies() -> Vec<Policy> {
    vec![
        ingress("redis/redis", serde_json::json!([app("shop/web")[0], app("shop/api")[0]]), &[8080]),
        deny_all("redis"),
    ]
}

fn limits() -> Limits {
    Limits { max_probes: 10, probe_denied_outside: false, never: Vec::new() }
}

fn outside() -> Outside {
    Outside { name: Some("pg01".to_owned()), address: "203.0.113.7".parse().unwrap(), ports: vec![5432], seen_by: None }
}

fn flow(world: &World, source: &str, target: Target, port: u16) -> TouchedFlow {
    let source = index(world, source);
    let to_pods = |class: usize| Matrix::new(world).decision(source, class, Family::V4, Protocol::Tcp, port);
    let live = match &target {
        Target::Class(class) => to_pods(*class),
        Target::Outside(_) | Target::Range(_) => Decision::Allowed,
    };
    TouchedFlow {
        source: Origin::Class(source),
        target,
        family: Family::V4,
        ipv6: false,
        protocol: Protocol::Tcp,
        port,
        why: Why::Changed,
        before: None,
        declared: live,
        live,
        missing: None,
        rules: Vec::new(),
        covers: 0,
        unseen: None,
        note: None,
    }
}

/// Plans flows towards `redis/redis` on 8080 from these sources.
fn plan(cluster: &Cluster, sources: &[&str], limits: &Limits) -> Plan {
    let world = cluster.world(policies());
    let target = Target::Class(index(&world, "redis/redis"));
    plan_of(cluster, &world, sources.iter().map(|s| flow(&world, s, target.clone(), 8080)).collect(), limits)
}

fn plan_of(cluster: &Cluster, world: &World, flows: Vec<TouchedFlow>, limits: &Limits) -> Plan {
    let live = Matrix::new(world);
    Planner {
        snapshot: &cluster.snapshot,
        live: &live,
        probe_from: &|name| name != "system",
        limits,
        turn: 0,
        everywhere: false,
    }
    .plan(flows)
}

fn controls(probe: &Planned) -> Vec<String> {
    probe.target_controls.iter().map(|c| format!("{}{}", c.from.name, if c.itself { " itself" } else { "" })).collect()
}

fn reasons(plan: &Plan) -> Vec<(Unseen, &str)> {
    plan.unseen.iter().map(|(_, unseen, reason)| (*unseen, reason.as_str())).collect()
}

#[test]
fn a_probe_has_its_address_and_its_controls() {
    let plan = plan(&cluster(), &["shop/web"], &limits());
    assert_eq!(plan.unseen, []);
    let probe = &plan.probes[0];
    assert_eq!((probe.source.name.as_str(), probe.target_pod.as_ref().unwrap().name.as_str()), ("web-1", "redis-3"));
    assert_eq!(probe.address, Address { ip: "10.0.0.4".parse().unwrap(), port: 8080, protocol: Protocol::Tcp });
    assert_eq!(family(&probe.address), Family::V4);
    assert_eq!(controls(probe), ["api-2", "redis-3 itself"], "another allowed source first, the target itself last");
    let sources: Vec<&str> = probe.source_controls.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(sources, ["system/kube-dns:8080", "shop/api:8080"], "DNS first, never the probed address");
}

#[test]
fn a_source_that_is_denied_or_may_not_be_used_is_no_control() {
    let base = || cluster().app("shop/batch", 1);
    assert_eq!(controls(&plan(&base(), &["shop/web"], &limits()).probes[0]), ["api-2", "redis-3 itself"]);
    for (name, change) in [
        ("not Ready", (|p| p.ready = false) as fn(&mut PodInfo)),
        ("opted out", |p| drop(p.annotations.insert(OPT_OUT.0.to_owned(), OPT_OUT.1.to_owned()))),
        ("on its node's network", |p| p.host_network = true),
    ] {
        let plan = plan(&base().with("shop/api", change), &["shop/web"], &limits());
        assert_eq!(controls(&plan.probes[0]), ["redis-3 itself"], "{name}");
    }
}

#[test]
fn a_source_control_goes_only_where_the_policies_and_the_configuration_let_it() {
    let names = |cluster: &Cluster, policies: Vec<Policy>, limits: &Limits| -> Vec<String> {
        let world = cluster.world(policies);
        let target = Target::Class(index(&world, "redis/redis"));
        let plan = plan_of(cluster, &world, vec![flow(&world, "shop/web", target, 8080)], limits);
        plan.probes[0].source_controls.iter().map(|(_, name)| name.clone()).collect()
    };
    let to_dns_alone = vec![egress("shop/web", app("system/kube-dns"), &[8080])];
    assert_eq!(names(&cluster(), to_dns_alone, &limits()), ["system/kube-dns:8080"], "what policies allow");
    let never = Limits {
        never: vec![NeverProbe { cidr: Some("10.0.0.5/32".parse().unwrap()), name: None, port: None }],
        ..limits()
    };
    assert_eq!(names(&cluster(), Vec::new(), &never), ["shop/api:8080"], "neverProbe");
    let opted_out = cluster().with("system/kube-dns", opt_out);
    assert_eq!(names(&opted_out, Vec::new(), &limits()), ["shop/api:8080"], "opted out");
    let silent = cluster().with("system/kube-dns", |p| p.ports.clear());
    assert_eq!(names(&silent, Vec::new(), &limits()), ["shop/api:8080"], "no declared port");
}

#[test]
fn dns_over_udp_is_a_source_control_where_policies_leave_nothing_else() {
    let serves = |p: &mut PodInfo| {
        let port =
            |name: &str, number, protocol| ContainerPort { name: Some(name.to_owned()), number, protocol, init: false };
        p.ports =
            vec![port("dns", 53, Protocol::Udp), port("dns-tcp", 53, Protocol::Tcp), port("x", 9999, Protocol::Udp)];
    };
    let cluster = cluster().with("system/kube-dns", serves).with("shop/api", serves);
    let names = |ports: serde_json::Value, cluster: &Cluster| -> Vec<(Protocol, String)> {
        let spec = serde_json::json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"],
            "egress": [{"ports": ports}]});
        let world = cluster.world(vec![policy("shop/web", spec)]);
        let target = Target::Class(index(&world, "redis/redis"));
        let plan = plan_of(cluster, &world, vec![flow(&world, "shop/web", target, 8080)], &limits());
        plan.probes[0].source_controls.iter().map(|(a, name)| (a.protocol, name.clone())).collect()
    };
    let udp = serde_json::json!([{"protocol": "UDP", "port": 53}]);
    let by_udp = [(Protocol::Udp, "system/kube-dns:53/UDP".to_owned())];
    assert_eq!(names(udp.clone(), &cluster), by_udp, "other servers' answers over UDP are not known");
    let not_ready = cluster.clone().with("system/kube-dns", |p| p.ready = false);
    assert_eq!(names(udp, &not_ready), []);
    let other = serde_json::json!([{"protocol": "UDP", "port": 9999}]);
    assert_eq!(names(other, &cluster), [], "what is no name server's port is not asked");
    let both = serde_json::json!([{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]);
    assert_eq!(names(both, &cluster)[0], (Protocol::Tcp, "system/kube-dns:53".to_owned()), "TCP where it is open");
}

fn opt_out(pod: &mut PodInfo) {
    pod.annotations.insert(OPT_OUT.0.to_owned(), OPT_OUT.1.to_owned());
}

/// Whether and why a flow was not probed.
type Reason = Option<(Unseen, String)>;

/// Clusters, and why shop/web cannot be seen there.
fn unseen_in() -> [(&'static str, Cluster, Reason); 8] {
    let mesh = |p: &mut PodInfo| {
        p.containers.push(Container { name: "istio-proxy".to_owned(), image: "p:1".to_owned(), running: true });
    };
    let other_value = |p: &mut PodInfo| drop(p.annotations.insert(OPT_OUT.0.to_owned(), "enabled".to_owned()));
    let never = |text: String| Some((Unseen::Unprobeable, text));
    let opted_out = |pod: &str| never(format!("{pod} has opted out (netpol-verify/probe: disabled)"));
    let proxied = |pod: &str| never(format!("istio-proxy answers for {pod}: it accepts every connection"));
    let pending = |text: &str| Some((Unseen::Pending, text.to_owned()));
    let not_ready = |p: &mut PodInfo| p.ready = false;
    let going = |p: &mut PodInfo| p.terminating = true;
    let (web, redis) = ("shop/web", "redis/redis");
    [
        ("the control", cluster(), None),
        ("another value of the annotation", cluster().with(web, other_value), None),
        ("source opted out", cluster().with(web, opt_out), opted_out("shop/web-1")),
        ("target opted out", cluster().with(redis, opt_out), opted_out("redis/redis-3")),
        ("a mesh proxy at the target", cluster().with(redis, mesh), proxied("redis/redis-3")),
        ("a mesh proxy at the source", cluster().with(web, mesh), proxied("shop/web-1")),
        ("target not Ready", cluster().with(redis, not_ready), pending("no pod of redis/redis is Ready")),
        ("source going away", cluster().with(web, going), pending("no pod of shop/web is Ready")),
    ]
}

#[test]
fn what_cannot_be_probed_says_why() {
    for (name, cluster, expected) in unseen_in() {
        let plan = plan(&cluster, &["shop/web"], &limits());
        let got = plan.unseen.first().map(|(_, unseen, reason)| (*unseen, reason.clone()));
        assert_eq!((got, plan.probes.len()), (expected.clone(), usize::from(expected.is_none())), "{name}");
    }
}

#[test]
fn a_class_is_probed_from_the_pod_that_can() {
    let two = cluster().app("shop/pair", 2).with("shop/pair", |p| p.ready = p.id.name == "pair-6");
    let world = two.world(policies());
    let (target, api) = (index(&world, "redis/redis"), index(&world, "shop/pair"));
    let plan = plan_of(&two, &world, vec![flow(&world, "shop/pair", Target::Class(target), 8080)], &limits());
    assert_eq!(plan.probes[0].source.name, "pair-6");
    let inside = plan_of(&two, &world, vec![flow(&world, "shop/pair", Target::Class(api), 8080)], &limits());
    assert_eq!(reasons(&inside), [(Unseen::Pending, "no pod of shop/pair is Ready")], "never a pod and itself");
    let ready = two.with("shop/pair", |p| p.ready = true);
    let inside = plan_of(&ready, &world, vec![flow(&world, "shop/pair", Target::Class(api), 8080)], &limits());
    let probe = &inside.probes[0];
    assert_eq!((probe.source.name.as_str(), probe.target_pod.as_ref().unwrap().name.as_str()), ("pair-6", "pair-5"));
}

#[test]
fn never_probe_is_by_address_name_and_port_together() {
    let never = |cidr: Option<&str>, name: Option<&str>, port| NeverProbe {
        cidr: cidr.map(|c| c.parse().unwrap()),
        name: name.map(str::to_owned),
        port,
    };
    let rows = [
        ("another port", never(None, None, Some(22)), [true, true]),
        ("the pods' port", never(None, None, Some(8080)), [false, true]),
        ("the pods' range", never(Some("10.0.0.0/8"), None, None), [false, true]),
        ("the range with another port", never(Some("10.0.0.0/8"), None, Some(22)), [true, true]),
        ("a name", never(None, Some("pg01"), None), [true, false]),
        ("another name", never(None, Some("pg02"), None), [true, true]),
    ];
    let cluster = cluster();
    let world = cluster.world(policies());
    for (name, never, expected) in rows {
        let limits = Limits { never: vec![never], ..limits() };
        let target = Target::Class(index(&world, "redis/redis"));
        let flows =
            [flow(&world, "shop/web", target, 8080), flow(&world, "shop/web", Target::Outside(outside()), 5432)];
        let probed = flows.map(|flow| !plan_of(&cluster, &world, vec![flow], &limits).probes.is_empty());
        assert_eq!(probed, expected, "{name}");
    }
}

#[test]
fn a_denied_host_outside_is_probed_only_where_it_is_asked_for() {
    let cluster = cluster();
    let world = cluster.world(vec![egress("shop/web", block("198.51.100.0/24"), &[443])]);
    let denied = TouchedFlow {
        live: Decision::Denied,
        declared: Decision::Denied,
        ..flow(&world, "shop/web", Target::Outside(outside()), 5432)
    };
    let allowed = flow(&world, "shop/web", Target::Outside(outside()), 5432);
    let shut = plan_of(&cluster, &world, vec![denied.clone(), allowed], &limits());
    let text = "denied flows to outside hosts are not probed (probe.probeDenied: false)";
    assert_eq!(reasons(&shut), [(Unseen::Unprobeable, text)]);
    assert_eq!(shut.probes.len(), 1, "the control: the allowed one is");
    let open = plan_of(&cluster, &world, vec![denied], &Limits { probe_denied_outside: true, ..limits() });
    assert_eq!(open.probes.len(), 1);
    let range = flow(&world, "shop/web", Target::Range("198.51.100.0/24".parse().unwrap()), 443);
    let plan = plan_of(&cluster, &world, vec![range], &limits());
    assert_eq!(reasons(&plan), [(Unseen::Unprobeable, "no configured destination lies in 198.51.100.0/24")]);
}

#[test]
fn what_is_over_the_limit_is_counted_and_pending() {
    let limits = Limits { max_probes: 1, ..limits() };
    let plan = plan(&cluster(), &["shop/web", "shop/api"], &limits);
    assert_eq!(plan.probes.len(), 1);
    assert_eq!(reasons(&plan), [(Unseen::Pending, "over probe.maxProbes")]);
    let with_unprobeable = self::plan(&cluster().with("shop/web", opt_out), &["shop/web", "shop/api"], &limits);
    assert_eq!(with_unprobeable.probes.len(), 1, "what cannot be probed takes no place");
}

#[test]
fn a_workload_without_pods_waits() {
    let cluster = Cluster::new(&["shop", "redis"]).app("shop/web", 1).app("redis/redis", 0);
    let plan = plan(&cluster, &["shop/web"], &limits());
    assert_eq!(reasons(&plan), [(Unseen::Waiting, "redis/redis runs no pod")]);
}

#[test]
fn a_target_without_an_address_of_the_family_is_said() {
    let cluster = cluster();
    let world = cluster.world(policies());
    let target = Target::Class(index(&world, "redis/redis"));
    let six = TouchedFlow { family: Family::V6, ..flow(&world, "shop/web", target, 8080) };
    let plan = plan_of(&cluster, &world, vec![six], &limits());
    assert_eq!(reasons(&plan), [(Unseen::Unprobeable, "redis/redis-3 has no address of that family")]);
}

/// `shop/web` on three nodes, `redis/redis` on two.
fn on_nodes() -> Cluster {
    let mut cluster = Cluster::new(&["shop", "redis"]).app("shop/web", 3).app("redis/redis", 2);
    for (number, pod) in cluster.snapshot.pods.iter_mut().enumerate() {
        pod.node = Some(format!("node-{}", number % 3));
    }
    cluster
}

fn planned_as(why: Why, limits: &Limits, turn: u64) -> Plan {
    let cluster = on_nodes();
    let world = cluster.world(vec![ingress("redis/redis", app("shop/web"), &[8080]), deny_all("redis")]);
    let target = Target::Class(index(&world, "redis/redis"));
    let flow = TouchedFlow { why, ..flow(&world, "shop/web", target, 8080) };
    let live = Matrix::new(&world);
    Planner { snapshot: &cluster.snapshot, live: &live, probe_from: &|_| true, limits, turn, everywhere: false }
        .plan(vec![flow])
}

#[test]
fn what_is_one_nodes_alone_is_looked_at_on_every_node() {
    let nodes = |plan: &Plan| -> (BTreeSet<String>, BTreeSet<String>) {
        let sources = plan.probes.iter().map(|p| p.source.name.clone()).collect();
        (sources, plan.probes.iter().filter_map(|p| Some(p.target_pod.as_ref()?.name.clone())).collect())
    };
    for why in [Why::Sweep, Why::OpenFinding, Why::Retried, Why::Manual] {
        let (sources, targets) = nodes(&planned_as(why, &limits(), 0));
        assert_eq!((sources.len(), targets.len()), (3, 2), "{why:?}");
    }
    assert_eq!(planned_as(Why::Changed, &limits(), 0).probes.len(), 1, "a pod stands for its workload");
    let first = |turn| planned_as(Why::Sweep, &limits(), turn).probes[0].source.name.clone();
    assert_ne!(first(0), first(1), "pods take turns");
}

#[test]
fn what_a_sweep_cannot_look_at_is_left_and_owed_to_nobody() {
    let two = Limits { max_probes: 2, ..limits() };
    let swept = planned_as(Why::Sweep, &two, 0);
    assert_eq!((swept.probes.len(), swept.left, swept.unseen.len()), (2, 1, 0));
    let retried = planned_as(Why::Retried, &two, 0);
    assert_eq!((retried.probes.len(), retried.left), (0, 0));
    assert_eq!(reasons(&retried), [(Unseen::Pending, "over probe.maxProbes")], "in whole: one node is not another");
}
