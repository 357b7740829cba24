//! Whatever can be constructed is an argument that the admission policy lets through.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::{Command, Stdio},
    time::Duration,
};

use netpol_verify::probe::{
    Target, Wave, script,
    target::{NC_ADDRESS_PATTERN, NC_FLAGS_PATTERN, NC_PORT_PATTERN, TARGET_PATTERN, WAVE_PATTERN},
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

/// The lines that do not match, by a matcher that shares nothing with the program.
fn not_matching(pattern: &str, lines: &[String]) -> Vec<String> {
    let mut grep = Command::new("grep")
        .args(["-vxE", pattern])
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("grep");
    let mut stdin = grep.stdin.take().unwrap();
    let text = lines.join("\n") + "\n";
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = grep.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits))),
        // Zeros are what the text of an address shortens.
        any::<[bool; 8]>().prop_map(|b| IpAddr::V6(Ipv6Addr::from(b.map(|b| u16::from(b) * 0xffff)))),
        any::<u32>().prop_map(|bits| IpAddr::V6(Ipv4Addr::from(bits).to_ipv6_mapped())),
        any::<u32>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from(u128::from(bits)))),
    ]
}

fn target() -> impl Strategy<Value = Target> {
    let timeout = (0_u64..40_000).prop_map(Duration::from_millis);
    let names = prop_oneof![r"\PC{0,20}", r"[A-Za-z0-9_.\-]{1,30}", r"([a-z0-9_-]{1,63}\.){0,6}[a-z0-9]{1,5}\.?"];
    prop_oneof![
        (address(), any::<u16>(), timeout.clone()).prop_map(|(a, p, t)| Target::tcp(a, p, t)),
        (address(), any::<u16>(), timeout.clone()).prop_map(|(a, p, t)| Target::dns(a, p, t)),
        (names, timeout).prop_map(|(n, t)| Target::name(&n, t)),
    ]
    .prop_filter_map("not constructible", Result::ok)
}

#[test]
fn whatever_can_be_constructed_matches_the_pattern() {
    let mut runner = TestRunner::deterministic();
    let strategy = target();
    let targets: Vec<Target> = (0..20_000).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    let texts: Vec<String> = targets.iter().map(Target::to_string).collect();
    assert_eq!(not_matching(TARGET_PATTERN, &texts), Vec::<String>::new());

    let direct: Vec<Vec<String>> = targets.iter().filter_map(script::nc_command).collect();
    assert!(direct.len() > 5_000 && direct.iter().all(|command| command.len() == 4 && command[0] == "nc"));
    for (index, pattern) in [(1, NC_FLAGS_PATTERN), (2, NC_ADDRESS_PATTERN), (3, NC_PORT_PATTERN)] {
        let words: Vec<String> = direct.iter().map(|command| command[index].clone()).collect();
        assert_eq!(not_matching(pattern, &words), Vec::<String>::new(), "{pattern}");
    }
    let waves: Vec<String> = (0..=255).map(|n| Wave::new(n).to_string()).collect();
    assert_eq!(not_matching(WAVE_PATTERN, &waves), Vec::<String>::new());
}

#[test]
fn what_is_no_argument_does_not_match() {
    let wrong = [
        "",
        "tcp:10.0.0.1:80",
        "tcp:10.0.0.1:80:",
        "tcp:10.0.0.1:80:1",
        "tcp:10.0.0.1:80:31",
        "tcp:10.0.0.1:0:2",
        "tcp:10.0.0.1:65536:2",
        "tcp:10.0.0.256:80:2",
        "tcp:10.0.0.1:080:2",
        "tcp:2001:db8::1:80:2",
        "udp:10.0.0.1:80:2",
        "tcp:[fe80::1%eth0]:80:2",
        "tcp:[$(id)]:80:2",
        "name:-n:2",
        "name:a;b:2",
        "name:a b:2",
        "name::2",
        "name:a..b:2",
        "name:A:2",
        "name:a/b:2",
        "wave:8",
        "tcp:10.0.0.1:80:2 tcp:10.0.0.1:80:2",
        "-e",
        "tcp:10.0.0.1-9:80:2",
    ]
    .map(str::to_owned);
    assert_eq!(not_matching(TARGET_PATTERN, &wrong), wrong);
    let wrong = ["wave:0", "wave:65", "wave:", "wave:08", "8"].map(str::to_owned);
    assert_eq!(not_matching(WAVE_PATTERN, &wrong), wrong);
    let wrong = ["-zvnw1", "-zvnw", "-zvne", "-zvnw2e", "-lvnw2", "-zvnw 2"].map(str::to_owned);
    assert_eq!(not_matching(NC_FLAGS_PATTERN, &wrong), wrong);
}
