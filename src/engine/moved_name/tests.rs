use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    engine::fixtures::{Cluster, deny_all, index, policy},
    model::Policy,
};

const PORTS: [u16; 2] = [5432, 6432];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn addresses(all: &[&str]) -> Vec<IpAddr> {
    all.iter().map(|text| address(text)).collect()
}

/// `shop/web` may reach each block on these ports.
fn world(blocks: &[(&str, &[u16])]) -> World {
    let rule = |(cidr, ports): &(&str, &[u16])| {
        let ports: Vec<_> = ports.iter().map(|port| json!({"port": port})).collect();
        json!({"to": [{"ipBlock": {"cidr": cidr}}], "ports": ports})
    };
    let egress: Vec<_> = blocks.iter().map(rule).collect();
    let out = policy("shop/out", json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": egress}));
    let policies: Vec<Policy> = vec![deny_all("shop"), out];
    Cluster::new(&["shop"]).app("shop/web", 1).world_of(policies, &[])
}

fn ask(world: &World, before: &[&str], now: &[&str]) -> Standing {
    let (before, now) = (addresses(before), addresses(now));
    let asked = Use { class: index(world, "shop/web"), ports: &PORTS, before: &before, now: &now };
    standing(&Matrix::new(world), asked)
}

#[test]
fn a_name_is_held_against_what_its_rule_still_allows() {
    let world = world(&[("10.0.5.4/32", &PORTS)]);
    assert_eq!(ask(&world, &[], &["10.0.5.4"]), Standing::Open);
    assert_eq!(ask(&world, &["10.0.5.4"], &["10.0.5.4"]), Standing::Open, "nothing moved");
    assert_eq!(ask(&world, &[], &["10.0.7.9"]), Standing::Closed, "nobody ever wrote a rule for it");
    let Standing::Moved(lack) = ask(&world, &["10.0.5.4"], &["10.0.7.9"]) else { panic!("it moved") };
    assert_eq!(lack.closed, [(address("10.0.7.9"), PORTS.to_vec())]);
    assert_eq!(lack.open, (address("10.0.5.4"), 5432));
}

#[test]
fn a_rule_that_is_gone_asks_nothing_and_one_that_followed_is_fine() {
    let gone = world(&[("192.0.2.0/24", &[443])]);
    assert_eq!(ask(&gone, &["10.0.5.4"], &["10.0.7.9"]), Standing::Closed);
    let followed = world(&[("10.0.7.9/32", &PORTS)]);
    assert_eq!(ask(&followed, &["10.0.5.4"], &["10.0.7.9"]), Standing::Open);
    let both = world(&[("10.0.0.0/16", &PORTS)]);
    assert_eq!(ask(&both, &["10.0.5.4"], &["10.0.7.9"]), Standing::Open, "a wide block holds both");
}

#[test]
fn of_several_addresses_every_one_counts() {
    let world = world(&[("10.0.5.4/32", &PORTS), ("10.0.5.5/32", &[5432])]);
    let Standing::Partly(lack) = ask(&world, &[], &["10.0.5.4", "10.0.7.9"]) else { panic!("one of two") };
    assert_eq!(lack.closed, [(address("10.0.7.9"), PORTS.to_vec())]);
    let Standing::Partly(lack) = ask(&world, &["10.0.5.4"], &["10.0.5.5"]) else { panic!("one of two ports") };
    assert_eq!(lack.closed, [(address("10.0.5.5"), vec![6432])]);
    assert_eq!(ask(&world, &[], &["10.0.5.5"]), Standing::Open, "a port that no rule ever opened is not missed");
}

#[test]
fn the_rule_is_named_with_its_narrowest_block() {
    let world = world(&[("10.0.0.0/8", &[80]), ("10.0.5.0/24", &PORTS)]);
    let (rule, origin, block) = opening(&world, index(&world, "shop/web"), (address("10.0.5.4"), 5432)).unwrap();
    assert_eq!((rule.to_string().as_str(), block), ("NetworkPolicy/shop/out egress[1]", "10.0.5.0/24".parse().ok()));
    assert!(origin.is_some());
    assert_eq!(opening(&world, index(&world, "shop/web"), (address("192.0.2.1"), 5432)), None);
}

proptest! {
    /// Whatever the addresses are: it is open exactly where each of now has all that any has, and what was not let
    /// through before brings nothing.
    #[test]
    fn only_what_is_let_through_somewhere_is_missed_elsewhere(
        before in prop::collection::vec(0_u8..6, 0..4),
        now in prop::collection::vec(0_u8..6, 1..4),
        allowed in prop::collection::btree_set(0_u8..6, 0..6),
    ) {
        let host = |last: &u8| format!("10.0.0.{last}");
        let blocks: Vec<String> = allowed.iter().map(|last| format!("10.0.0.{last}/32")).collect();
        let rules: Vec<(&str, &[u16])> = blocks.iter().map(|block| (block.as_str(), PORTS.as_slice())).collect();
        let (before, now): (Vec<String>, Vec<String>) = (before.iter().map(host).collect(), now.iter().map(host).collect());
        let texts = |all: &[String]| all.iter().map(|text| address(text)).collect::<Vec<_>>();
        let world = world(&rules);
        let (then, here) = (texts(&before), texts(&now));
        let asked = Use { class: index(&world, "shop/web"), ports: &PORTS, before: &then, now: &here };
        let is_open = |a: &String| blocks.contains(&format!("{a}/32"));
        let (open, ever) = (now.iter().filter(|a| is_open(a)).count(), before.iter().any(is_open));
        let expected = match standing(&Matrix::new(&world), asked) {
            Standing::Open => open == now.len(),
            Standing::Closed => open == 0 && !ever,
            Standing::Moved(lack) => open == 0 && ever && lack.closed.len() == now.len(),
            Standing::Partly(lack) => open > 0 && lack.closed.len() == now.len() - open,
        };
        prop_assert!(expected);
    }
}
