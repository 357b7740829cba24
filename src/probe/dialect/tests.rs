use std::time::Duration;

use super::*;

fn tcp() -> Target {
    Target::tcp("10.9.0.2".parse().unwrap(), 81, Duration::from_secs(2)).unwrap()
}

fn dns() -> Target {
    Target::dns("10.96.0.10".parse().unwrap(), 53, Duration::from_secs(2)).unwrap()
}

fn name() -> Target {
    Target::name("pg01.planapulse.com", Duration::from_secs(2)).unwrap()
}

type Row = (Option<Tool>, Option<u64>, i32, &'static str, Outcome);

fn check(target: &Target, rows: &[Row]) {
    for (tool, elapsed_ms, status, text, expected) in rows {
        let facts = Facts { tool: *tool, elapsed_ms: *elapsed_ms, status: *status, text };
        assert_eq!(observe(target, &facts).outcome, *expected, "{target} {facts:?}");
    }
}

// The measured words: every row and column of the table in semantics §6, in the words that the tools were seen to use.
const OPENBSD: Option<Tool> = Some(Tool::OpenBsd);
const TRADITIONAL: Option<Tool> = Some(Tool::Traditional);
const NCAT: Option<Tool> = Some(Tool::Ncat);
const BUSYBOX_Z: Option<Tool> = Some(Tool::BusyBoxZ);
const BUSYBOX_E: Option<Tool> = Some(Tool::BusyBoxE);
const BUSYBOX: Option<Tool> = Some(Tool::BusyBox);
const BASH: Option<Tool> = Some(Tool::Bash);

#[test]
fn measured_words_of_open() {
    use Outcome::Open;
    check(
        &tcp(),
        &[
            (OPENBSD, Some(10), 0, "Connection to 10.9.0.2 81 port [tcp/*] succeeded!", Open),
            (TRADITIONAL, Some(10), 0, "(UNKNOWN) [10.9.0.2] 81 (http-alt) open", Open),
            (
                NCAT,
                Some(590),
                0,
                "Ncat: Version 7.93 ( https://nmap.org/ncat ) Ncat: Connected to 10.9.0.2:81. Ncat: 0 bytes sent, 0 bytes received in 0.54 seconds.",
                Open,
            ),
            (BUSYBOX_Z, Some(0), 0, "10.9.0.2 (10.9.0.2:81) open", Open),
            (BUSYBOX_E, Some(0), 0, "", Open),
            (BUSYBOX, Some(0), 0, "", Open),
            (BUSYBOX, Some(0), 0, "SSH-2.0-OpenSSH_9.2 connection refused", Open),
            (BUSYBOX, Some(4010), 137, "", Open),
            (BUSYBOX, Some(4010), 137, "SSH-2.0-OpenSSH_9.2", Open),
            (BASH, Some(0), 0, "", Open),
        ],
    );
}

#[test]
fn measured_words_of_a_refusal() {
    use Outcome::Refused;
    check(
        &tcp(),
        &[
            (OPENBSD, Some(10), 1, "nc: connect to 10.9.0.2 port 81 (tcp) failed: Connection refused", Refused),
            (TRADITIONAL, Some(10), 1, "(UNKNOWN) [10.9.0.2] 81 (?) : Connection refused", Refused),
            (NCAT, Some(600), 1, "Ncat: Version 7.93 ( https://nmap.org/ncat ) Ncat: Connection refused.", Refused),
            (BUSYBOX_Z, Some(0), 1, "nc: 10.9.0.2 (10.9.0.2:81): Connection refused", Refused),
            (BUSYBOX_E, Some(0), 1, "nc: can't connect to remote host (10.9.0.2): Connection refused", Refused),
            (
                BASH,
                Some(10),
                1,
                "probe: connect: Connection refused probe: line 1: /dev/tcp/10.9.0.2/81: Connection refused",
                Refused,
            ),
        ],
    );
}

#[test]
fn measured_words_of_silence() {
    use Outcome::Timeout;
    check(
        &tcp(),
        &[
            (
                OPENBSD,
                Some(2010),
                1,
                "nc: connect to 10.9.0.2 port 81 (tcp) timed out: Operation now in progress",
                Timeout,
            ),
            (TRADITIONAL, Some(2010), 1, "(UNKNOWN) [10.9.0.2] 81 (?) : Connection timed out", Timeout),
            (NCAT, Some(2630), 1, "Ncat: Version 7.93 ( https://nmap.org/ncat ) Ncat: TIMEOUT.", Timeout),
            (BUSYBOX_Z, Some(2000), 1, "nc: 10.9.0.2 (10.9.0.2:81): Operation timed out", Timeout),
            (BUSYBOX_E, Some(2000), 1, "nc: timed out", Timeout),
            (BUSYBOX_E, None, 1, "nc: timed out", Timeout),
            (BASH, Some(3010), 137, "", Timeout),
        ],
    );
}

#[test]
fn measured_words_of_no_route() {
    use Outcome::Unreachable;
    check(
        &tcp(),
        &[
            (OPENBSD, Some(10), 1, "nc: connect to 10.9.0.2 port 81 (tcp) failed: No route to host", Unreachable),
            (TRADITIONAL, Some(1020), 1, "(UNKNOWN) [10.9.0.2] 81 (?) : No route to host", Unreachable),
            (NCAT, Some(590), 1, "Ncat: No route to host.", Unreachable),
            (BUSYBOX_E, Some(1030), 1, "nc: can't connect to remote host (10.9.0.2): No route to host", Unreachable),
            (BUSYBOX_Z, Some(0), 1, "nc: 10.9.0.2 (10.9.0.2:81): Host is unreachable", Unreachable),
            (
                BASH,
                Some(1020),
                1,
                "probe: connect: No route to host probe: line 1: /dev/tcp/10.9.0.2/81: No route to host",
                Unreachable,
            ),
            (
                OPENBSD,
                Some(10),
                1,
                "nc: connect to 10.77.0.1 port 80 (tcp) failed: Network is unreachable",
                Unreachable,
            ),
            (BUSYBOX_Z, Some(0), 1, "nc: 10.77.0.1 (10.77.0.1:80): Network unreachable", Unreachable),
            (OPENBSD, Some(0), 1, "nc: connect to fd00:9::2 port 83 (tcp) failed: Permission denied", Unreachable),
        ],
    );
}

#[test]
fn measured_words_of_an_unknown_name() {
    use Outcome::Dns;
    check(
        &tcp(),
        &[
            (OPENBSD, Some(0), 1, "nc: getaddrinfo for host \"x\" port 81: Name or service not known", Dns),
            (TRADITIONAL, Some(0), 1, "x: forward host lookup failed: Unknown host", Dns),
            (NCAT, Some(0), 2, "Ncat: Could not resolve hostname \"x\": Name or service not known. QUITTING.", Dns),
            (BUSYBOX_E, Some(0), 1, "nc: bad address 'x'", Dns),
        ],
    );
}

/// The same exit status with other words or another time is another outcome.
#[test]
fn exit_status_alone_tells_nothing() {
    use Outcome::{Cut, ToolMissing};
    let (o, b, e, bash) = (Some(Tool::OpenBsd), Some(Tool::BusyBox), Some(Tool::BusyBoxE), Some(Tool::Bash));
    check(
        &tcp(),
        &[
            // UDP that is dropped, and a tool that says nothing, exit 0 too.
            (o, Some(3000), 0, "", Cut),
            (Some(Tool::Ncat), Some(10), 0, "", Cut),
            (Some(Tool::Nc), Some(10), 0, "", Cut),
            // Looks like a refusal by its status.
            (e, Some(0), 1, "nc: invalid option -- 'z' BusyBox v1.35.0 (Debian) multi-call binary.", ToolMissing),
            (o, Some(0), 1, "", Cut),
            (o, Some(0), 127, "sh: nc: not found", ToolMissing),
            (o, Some(0), 126, "", ToolMissing),
            (None, Some(0), 127, "no nc or bash that can do it", ToolMissing),
            (bash, Some(0), 1, "probe: line 1: /dev/tcp/10.9.0.2/81: No such file or directory", ToolMissing),
            (Some(Tool::Traditional), Some(0), 1, "Error: Can't parse fd00::1 as an IP address", ToolMissing),
            // Killed before its time: by the kernel, not by silence.
            (bash, Some(300), 137, "", Cut),
            // Started so late, in a pod without a core to spare, that the limit cut its connecting short.
            (bash, Some(1500), 137, "", Cut),
            (bash, None, 137, "", Cut),
            (b, Some(2010), 137, "", Cut),
            (o, Some(4010), 137, "", Cut),
            // Words of silence without the silence.
            (o, Some(10), 1, "nc: connect to 10.9.0.2 port 81 (tcp) timed out: Operation now in progress", Cut),
            // The pod's own limits.
            (o, Some(10), 2, "Cannot fork", Cut),
            (o, Some(10), 1, "nc: socket: Too many open files", Cut),
        ],
    );
}

#[test]
fn dns_needs_an_answer() {
    use Outcome::Open;
    let (o, bash, ns) = (Some(Tool::OpenBsd), Some(Tool::Bash), Some(Tool::Nslookup));
    check(
        &dns(),
        &[
            (bash, Some(20), 0, "answered", Open),
            (o, Some(3020), 0, "answered", Open),
            (
                ns,
                Some(10),
                1,
                "Server: 10.9.0.2 Address: 10.9.0.2:53 ** server can't find kubernetes.default.svc.cluster.local.: REFUSED",
                Open,
            ),
            (
                ns,
                Some(10),
                0,
                "Server: 10.96.0.10 Address: 10.96.0.10:53 Name: kubernetes.default.svc.cluster.local Address: 10.96.0.1",
                Open,
            ),
        ],
    );
}

#[test]
fn dns_without_an_answer_says_why() {
    use Outcome::{Cut, Refused, Timeout, ToolMissing, Unreachable};
    let (o, n, bash, ns) = (Some(Tool::OpenBsd), Some(Tool::Ncat), Some(Tool::Bash), Some(Tool::Nslookup));
    check(
        &dns(),
        &[
            (bash, Some(0), 1, "probe: line 1: read: read error: 0: Connection refused", Refused),
            (n, Some(2010), 1, "Ncat: Connection refused.", Refused),
            (ns, Some(10), 1, ";; communications error to 10.96.0.10#53: connection refused", Refused),
            (bash, Some(0), 1, "probe: connect: Network is unreachable", Unreachable),
            (bash, Some(2010), 142, "", Timeout),
            (o, Some(3020), 137, "", Timeout),
            (o, Some(2000), 0, "", Timeout),
            (n, Some(2010), 1, "Ncat: Idle timeout expired (2000 ms).", Timeout),
            (n, Some(2010), 0, "", Timeout),
            (ns, Some(2000), 137, "", Timeout),
            (ns, Some(2000), 1, ";; connection timed out; no servers could be reached", Timeout),
            (o, Some(10), 0, "", Cut),
            (o, Some(10), 0, "Connection to 10.96.0.10 53 port [udp/domain] succeeded!", Cut),
            (bash, Some(10), 142, "", Cut),
            (ns, Some(0), 127, "this nslookup may ask another server than it is told", ToolMissing),
            (None, Some(0), 127, "no nc with -u, no bash, no nslookup", ToolMissing),
        ],
    );
}

/// A tool, its exit status and its words, the addresses in them, and the outcome.
type Answer = (Tool, i32, &'static str, &'static [&'static str], Outcome);

fn check_names(rows: &[Answer]) {
    for (tool, status, text, addresses, outcome) in rows {
        let seen = observe(&name(), &Facts { tool: Some(*tool), elapsed_ms: Some(10), status: *status, text });
        let found: Vec<String> = seen.addresses.iter().map(ToString::to_string).collect();
        assert_eq!((found.as_slice(), seen.outcome), (addresses.map_strings().as_slice(), *outcome), "{text}");
    }
}

#[test]
fn names_give_addresses_once_and_sorted() {
    check_names(&[
        (
            Tool::Getent,
            0,
            "10.0.0.2 10.0.0.1 10.0.0.2 2001:db8::1",
            &["10.0.0.1", "10.0.0.2", "2001:db8::1"],
            Outcome::Open,
        ),
        (Tool::Getent, 2, "", &[], Outcome::Dns),
        (Tool::Getent, 137, "", &[], Outcome::Dns),
        (
            Tool::Nslookup,
            0,
            "Server: 10.96.0.10 Address: 10.96.0.10:53 Name: pg01 Address: 10.1.2.3 Name: pg01 Address: 2001:db8::2",
            &["10.1.2.3", "2001:db8::2"],
            Outcome::Open,
        ),
        (
            Tool::Nslookup,
            0,
            "Server: 10.96.0.10 Address 1: 10.96.0.10 Name: pg01 Address 1: 10.1.2.3 pg01",
            &["10.1.2.3"],
            Outcome::Open,
        ),
        // The server's own address is no answer.
        (
            Tool::Nslookup,
            1,
            "Server: 10.96.0.10 Address: 10.96.0.10 ** server can't find pg01: NXDOMAIN",
            &[],
            Outcome::Dns,
        ),
        (Tool::Getent, 127, "", &[], Outcome::ToolMissing),
    ]);
}

trait MapStrings {
    fn map_strings(&self) -> Vec<String>;
}

impl MapStrings for &[&str] {
    fn map_strings(&self) -> Vec<String> {
        self.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn lines_come_in_any_order_and_missing_ones_are_cut() {
    let targets = [tcp(), dns(), tcp()];
    let output = b"probe/1 3 openbsd\ntarget 3 tcp:10.9.0.2:81:2 openbsd 10 1 nc: Connection refused\ntarget 1 tcp:10.9.0.2:81:2 openbsd 10 0 Connection succeeded!\ntarget 2 dns:10.96.0.10:53:2 bash 20 0 answered";
    let seen = read(output, &targets, "the connection broke");
    let outcomes: Vec<Outcome> = seen.iter().map(|o| o.outcome).collect();
    // The last line has no end: it may be half of one.
    assert_eq!(outcomes, [Outcome::Open, Outcome::Cut, Outcome::Refused]);
    assert_eq!(seen.get(1).map(|o| o.text.as_str()), Some("the connection broke"));
    assert!(has_begun(output) && !is_complete(output));
    assert!(is_complete(b"probe/1 0 none\ndone 0\n"));
    assert!(!is_complete(b"probe/1 0 none\ndone 0"));
}

#[test]
fn lines_for_something_else_are_ignored() {
    let targets = [tcp()];
    let lines: [&[u8]; 8] = [
        b"target 2 tcp:10.9.0.2:81:2 openbsd 10 0 succeeded\n",
        b"target 0 tcp:10.9.0.2:81:2 openbsd 10 0 succeeded\n",
        b"target 1 tcp:10.9.0.2:82:2 openbsd 10 0 succeeded\n",
        b"target 1 tcp:10.9.0.2:81:2 openbsd 10 x succeeded\n",
        b"target 99999999999999999999999 tcp:10.9.0.2:81:2 openbsd 10 0 succeeded\n",
        b"target\n",
        b"\xff\xfe\x00\n",
        b"",
    ];
    for line in lines {
        assert_eq!(read(line, &targets, "").first().map(|o| o.outcome), Some(Outcome::Cut), "{line:?}");
    }
    // The control: the same line, right.
    let right = read(b"target 1 tcp:10.9.0.2:81:2 openbsd 10 0 succeeded\n", &targets, "");
    assert_eq!(right.first().map(|o| o.outcome), Some(Outcome::Open));
}

#[test]
fn the_first_line_of_a_target_counts() {
    let output = b"target 1 tcp:10.9.0.2:81:2 openbsd 10 1 Connection refused\ntarget 1 tcp:10.9.0.2:81:2 openbsd 10 0 succeeded\n";
    assert_eq!(read(output, &[tcp()], "").first().map(|o| o.outcome), Some(Outcome::Refused));
}

#[test]
fn text_is_one_bounded_printable_line() {
    let noisy = format!("a\x1b[31m\r\tb\u{0}{}", "é".repeat(5000));
    let seen = observe(&tcp(), &Facts { tool: Some(Tool::Nc), elapsed_ms: None, status: 1, text: &noisy });
    assert_eq!(seen.text.chars().count(), TEXT_LIMIT);
    assert!(seen.text.starts_with("a [31m b é"), "{}", seen.text);
    assert!(!seen.text.chars().any(char::is_control));
}

#[test]
fn tools_have_one_name_each() {
    for (name, tool) in Tool::ALL {
        assert_eq!((Tool::from_name(name), tool.to_string().as_str()), (Some(tool), name));
    }
    assert_eq!(Tool::from_name("none"), None);
}

proptest::proptest! {
    #[test]
    fn any_output_gives_one_observation_a_target(output: Vec<u8>, count in 0_usize..5) {
        let targets = vec![tcp(); count];
        proptest::prop_assert_eq!(read(&output, &targets, "").len(), count);
    }

    #[test]
    fn any_line_after_the_prefix_never_panics(rest in ".*") {
        let line = format!("target 1 tcp:10.9.0.2:81:2 {rest}\n");
        proptest::prop_assert_eq!(read(line.as_bytes(), &[tcp()], "").len(), 1);
    }
}
