use super::*;
use crate::engine::fixtures;

const KERNEL: &str = "calico-packet: IN=cali0ef24b1 OUT=cali12d4a09 MAC=ee:ee:ee:ee:ee:ee:8e:0d:5c:00:00:01:08:00 SRC=10.0.0.1 \
    DST=10.0.0.2 LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=4711 DF PROTO=TCP SPT=41234 DPT=8080 WINDOW=64240 RES=0x00 SYN URGP=0";
const KERNEL_V6: &str = "calico-packet: IN=cali0ef24b1 OUT=cali12d4a09 SRC=fd00:0010:0000:0000:0000:0000:0000:0001 \
    DST=fd00:0010:0000:0000:0000:0000:0000:0002 LEN=80 TC=0 HOPLIMIT=63 FLOWLBL=1 PROTO=TCP SPT=41234 DPT=8080 SYN URGP=0";

fn named(address: &str, pod: &str) -> Named {
    let pod = pod.split_once('/').map(|(namespace, name)| PodRef { namespace: namespace.into(), name: name.into() });
    Named { addresses: vec![address.parse().unwrap()], pod }
}

fn flow(source: Named, target: Named) -> Wanted {
    Wanted { source, target, protocol: Protocol::Tcp, port: 8080 }
}

fn v4() -> Wanted {
    flow(named("10.0.0.1", "shop/web-7d9-x"), named("10.0.0.2", "bank/api-0"))
}

fn v6() -> Wanted {
    flow(named("fd00:10::1", "shop/web-7d9-x"), named("fd00:10::2", "bank/api-0"))
}

fn about(log: &str, wanted: &Wanted) -> Vec<String> {
    Drops::read(log).about(wanted)
}

#[test]
fn a_dropped_packet_of_the_flow_is_found_and_another_one_is_not() {
    for (line, wanted, found) in [
        (KERNEL.to_owned(), v4(), true),
        (KERNEL.replace("calico-packet: ", "kernel: [123.4] DROP "), v4(), true),
        (KERNEL.replace("calico-packet: ", "kernel: [123.4] ACCEPT "), v4(), false),
        (KERNEL.replace("calico-packet: ", "kernel: [123.4] AIRDROP "), v4(), false),
        (KERNEL.replace("SRC=10.0.0.1 ", "SRC=10.0.0.11 "), v4(), false),
        (KERNEL.replace("DST=10.0.0.2 ", "DST=10.0.0.20 "), v4(), false),
        (KERNEL.replace("SRC=10.0.0.1 ", "SRC=110.0.0.1 "), v4(), false),
        (KERNEL.replace("SRC=10.0.0.1 ", "SRC=::ffff:10.0.0.1 "), v4(), true),
        (KERNEL.replace("DPT=8080", "DPT=808"), v4(), false),
        (KERNEL.replace("DPT=8080", "DPT=80801"), v4(), true), // no port: nothing is said of one
        (KERNEL.replace("PROTO=TCP", "PROTO=UDP"), v4(), false),
        (KERNEL.replace("PROTO=TCP", "PROTO=tcp"), v4(), true),
        // The other way round is another flow, whatever names stand beside it.
        (
            KERNEL.replace("SRC=10.0.0.1 DST=10.0.0.2", "SRC=10.0.0.2 DST=10.0.0.1 shop/web-7d9-x bank/api-0"),
            v4(),
            false,
        ),
        (KERNEL_V6.to_owned(), v6(), true),
        (KERNEL_V6.replace("0001 DST", "0011 DST"), v6(), false),
        (KERNEL_V6.to_owned(), v4(), false),
        (KERNEL.to_owned(), v6(), false),
        // An error that quotes the packet is a packet of its own, from the target.
        (format!("calico-packet: SRC=10.0.0.9 DST=10.0.0.1 PROTO=ICMP TYPE=3 [{KERNEL}]"), v4(), false),
    ] {
        assert_eq!(about(&line, &wanted).len(), usize::from(found), "{line}");
    }
}

#[test]
fn other_lines_must_name_both_ends_as_whole_words() {
    for (line, found) in [
        ("2026-11-27 17:40 [WARN] DROP from shop/web-7d9-x to bank/api-0", true),
        ("DROP src=web-7d9-x dst=api-0 dport=8080", true),
        ("DROPPED shop/web-7d9-x->10.0.0.2:8080", true),
        ("DROP {\"src\":\"10.0.0.1:41234\",\"dst\":\"10.0.0.2:8080\"}", true),
        ("DROP 10.0.0.1 -> 10.0.0.2, 3 packets", true),
        ("policy=DROP 10.0.0.1/32 10.0.0.2/32.", true),
        ("ACCEPT shop/web-7d9-x bank/api-0", false),
        ("DROP shop/web-7d9-x", false),
        ("DROP 10.0.0.1 10.0.0.20", false),
        ("DROP 10.0.0.1 10.0.0.2.7", false),
        ("DROP web-7d9-xy api-0", false),
        ("DROP web-7d9-x api-01", false),
        ("DROP pay/web-7d9-x bank/api-0", false),
        ("DROP web-7d9-x DPT=81 api-0", false),
        ("-A cali-fw-cali0ef24b1 -m comment --comment \"Drop if no policies passed packet\" -j DROP", false),
    ] {
        assert_eq!(about(line, &v4()).len(), usize::from(found), "{line}");
    }
    let line = "DROP [fd00:10::1]:41234 -> [fd00:10::2]:8080";
    assert_eq!(about(line, &v6()), [line]);
    assert!(about("DROP [fd00:10::1]:41234 -> [fd00:10::22]:8080", &v6()).is_empty());
}

#[test]
fn pods_of_one_name_in_two_namespaces_are_told_apart() {
    let twins = flow(named("10.0.0.1", "shop/web-0"), named("10.0.0.2", "bank/web-0"));
    assert!(about("DROP web-0 to api-0", &twins).is_empty());
    assert!(about("DROP shop/web-0 to shop/web-0", &twins).is_empty());
    assert_eq!(about("DROP shop/web-0 to bank/web-0", &twins).len(), 1);
}

#[test]
fn an_end_outside_the_cluster_is_named_by_its_address() {
    let outside =
        flow(named("10.0.0.1", "shop/web-7d9-x"), Named { addresses: vec!["192.0.2.7".parse().unwrap()], pod: None });
    assert_eq!(about(&KERNEL.replace("DST=10.0.0.2", "DST=192.0.2.7"), &outside).len(), 1);
    assert_eq!(about("DROP shop/web-7d9-x -> 192.0.2.7:8080", &outside).len(), 1);
    assert!(about("DROP shop/web-7d9-x -> 192.0.2.77:8080", &outside).is_empty());
}

#[test]
fn the_newest_lines_are_kept_and_a_packet_sent_again_is_not_another_one() {
    let log: Vec<String> = (0..9).map(|n| KERNEL.replace("SPT=41234", &format!("SPT={n}"))).collect();
    let found = about(&log.join("\n"), &v4());
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("SPT=8 "), "{found:?}");
    let log: Vec<String> = (0..9).map(|n| KERNEL.replace("OUT=cali12d4a09", &format!("OUT=cali{n}"))).collect();
    let outs: Vec<bool> = about(&log.join("\n"), &v4())
        .iter()
        .zip(["OUT=cali6", "OUT=cali7", "OUT=cali8"])
        .map(|(line, out)| line.contains(out))
        .collect();
    assert_eq!(outs, [true; MOST_LINES], "oldest first");
    let log: Vec<String> = (0..9).map(|n| format!("{n} DROP shop/web-7d9-x bank/api-0")).collect();
    assert_eq!(about(&log.join("\n"), &v4()), log[6..]);
}

#[test]
fn a_long_line_keeps_what_matters() {
    let found = about(KERNEL, &v4()).remove(0);
    assert!(found.chars().count() <= LONGEST, "{found}");
    for kept in
        ["calico-packet:", "IN=cali0ef24b1", "OUT=cali12d4a09", "SRC=10.0.0.1", "DST=10.0.0.2", "PROTO=TCP", "DPT=8080"]
    {
        assert!(found.split(' ').any(|word| word == kept), "{found} has {kept}");
    }
    let found = about(KERNEL_V6, &v6()).remove(0);
    assert!(found.ends_with("SPT=41234 DPT=8080 SYN"), "{found}");
    assert_eq!(about("DROP 10.0.0.1 10.0.0.2", &v4()), ["DROP 10.0.0.1 10.0.0.2"], "a short one is shown as it is");
}

/// Pods write into their log what they are sent.
#[test]
fn hostile_lines_are_bounded_and_harmless() {
    let huge = format!("DROP 10.0.0.1 10.0.0.2 {}", "ü".repeat(1 << 20));
    let found = about(&huge, &v4());
    assert_eq!((found.len(), found[0].chars().count()), (1, LONGEST));
    assert!(found[0].ends_with('…'));
    let late = format!("{} DROP 10.0.0.1 10.0.0.2", "x".repeat(1 << 20));
    assert!(about(&late, &v4()).is_empty(), "nobody looks so far");
    let controls = "DROP \u{1b}[2J 10.0.0.1\r\t10.0.0.2 \u{7}<b>&\u{85}x\u{1b}[0m";
    assert_eq!(about(controls, &v4()), ["DROP [2J 10.0.0.1 10.0.0.2 <b>& x [0m"]);
    let many = format!("{KERNEL}\n").repeat(5_000) + "\u{fffd}\n\n=\nSRC= DST= DPT= DROP calico-packet\n";
    assert_eq!(about(&many, &v4()).len(), 1);
}

#[test]
fn the_pods_to_read_are_those_of_the_node_by_namespace_and_labels() {
    let pod = |name: &str, node: &str, label: &str| {
        let labels = fixtures::labels(&[("k8s-app", label)]);
        PodInfo { labels, node: Some(node.to_owned()), ..fixtures::pod(name, 1) }
    };
    let mut snapshot = Snapshot {
        pods: vec![
            pod("calico-system/node", "a", "calico-node"),
            pod("calico-system/node", "b", "calico-node"),
            pod("calico-system/typha", "a", "calico-typha"),
            pod("other/node", "a", "calico-node"),
        ],
        ..Snapshot::default()
    };
    let selector = Selector::label("k8s-app", "calico-node");
    let enforcers = Enforcers { namespace: "calico-system".to_owned(), selector };
    let on = |snapshot: &Snapshot, node: &str| {
        enforcers.on(snapshot, node).map(|pod| pod.id.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(on(&snapshot, "a"), ["node-1"]);
    assert_eq!(on(&snapshot, "c"), Vec::<String>::new());
    snapshot.pods[0].ready = false;
    assert_eq!(on(&snapshot, "a"), ["node-1"], "one that is not Ready has most to say");
    snapshot.pods[0].phase = Phase::Finished;
    assert_eq!(on(&snapshot, "a"), Vec::<String>::new());
}
