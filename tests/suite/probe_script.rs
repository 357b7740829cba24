//! The script for real: two network namespaces, a packet filter between them, every `nc` and shell there is.
//!
//! Needs no root, but `unshare`, `ip`, `nft`, and the tools of `probe_lab::NEEDED`. Where they are missing the tests fail and say
//! what to install; `NETPOL_VERIFY_SKIP_LAB=1` skips them.

use std::{
    env, fs,
    io::{Read, Write},
    net::{TcpListener, UdpSocket},
    thread,
    time::Duration,
};

use netpol_verify::probe::{Outcome, Target, Tool, Wave, dialect, script};
use probe_lab::{Image, answer, run, run_lab};

use crate::probe_lab;

/// The servers of the lab; does nothing unless the lab starts it.
#[test]
#[ignore = "run by the lab in its own namespace"]
fn lab_servers() {
    let Ok(ready) = env::var("NETPOL_VERIFY_LAB") else { return };
    for address in ["10.9.0.2:8080", "[fd00:9::2]:8080"] {
        let listener = TcpListener::bind(address).unwrap();
        // Keeps every connection open and says nothing, as a database does.
        thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    }
    let banner = TcpListener::bind("10.9.0.2:22").unwrap();
    thread::spawn(move || {
        for stream in banner.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(b"SSH-2.0-lab connection refused\r\n");
            let _ = stream.read(&mut [0; 100]);
        }
    });
    let dns = UdpSocket::bind("10.9.0.2:53").unwrap();
    fs::write(ready, "\n").unwrap();
    let mut query = [0; 1500];
    loop {
        let (length, from) = dns.recv_from(&mut query).unwrap();
        dns.send_to(&answer(&query[..length]), from).unwrap();
    }
}

fn tcp(address: &str, port: u16) -> Target {
    Target::tcp(address.parse().unwrap(), port, Duration::from_secs(2)).unwrap()
}

fn dns(port: u16) -> Target {
    Target::dns("10.9.0.2".parse().unwrap(), port, Duration::from_secs(2)).unwrap()
}

/// Looked up within what a machine under load takes.
fn name(name: &str) -> Target {
    Target::name(name, Duration::from_secs(8)).unwrap()
}

/// Every case of semantics §6 for TCP over IPv4.
fn cases() -> Vec<(Target, Outcome)> {
    vec![
        (tcp("10.9.0.2", 8080), Outcome::Open),
        (tcp("10.9.0.2", 22), Outcome::Open),
        (tcp("10.9.0.2", 80), Outcome::Refused),
        (tcp("10.9.0.2", 81), Outcome::Timeout),
        (tcp("10.9.0.2", 82), Outcome::Refused),
        (tcp("10.9.0.2", 83), Outcome::Unreachable),
        (tcp("10.9.0.2", 84), Outcome::Unreachable),
        (tcp("10.77.0.1", 80), Outcome::Unreachable),
    ]
}

fn cases_v6() -> Vec<(Target, Outcome)> {
    vec![
        (tcp("fd00:9::2", 8080), Outcome::Open),
        (tcp("fd00:9::2", 80), Outcome::Refused),
        (tcp("fd00:9::2", 81), Outcome::Timeout),
        (tcp("fd00:9::2", 82), Outcome::Refused),
        (tcp("fd00:9::2", 83), Outcome::Unreachable),
        (tcp("fd00:77::1", 80), Outcome::Unreachable),
    ]
}

fn check(image: &Image, tool: Tool, cases: &[(Target, Outcome)]) {
    let targets: Vec<Target> = cases.iter().map(|(target, _)| target.clone()).collect();
    let Some(run) = run(image, &targets, 8) else { return };
    for ((target, expected), seen) in cases.iter().zip(&run.seen) {
        assert_eq!(seen.outcome, *expected, "{target} {seen:?}\n{}", run.output);
        if target.to_string().starts_with("tcp:") && *expected != Outcome::ToolMissing {
            assert_eq!(seen.tool, Some(tool), "{}", run.output);
        }
    }
    assert_eq!(run.left, Vec::<String>::new(), "left behind\n{}", run.output);
    assert!(run.took < script::time_limit(&targets, Wave::new(8)), "{:?}", run.took);
}

const DASH: &str = "/bin/dash";
const BASH: &str = "/bin/bash";
const BUSYBOX: &str = "/bin/busybox";
const SLEEP: (&str, &str) = ("sleep", "/bin/sleep");
const GETENT: (&str, &str) = ("getent", "/usr/bin/getent");

fn names() -> Vec<(Target, Outcome)> {
    vec![(name("pg01.lab"), Outcome::Open), (name("nope.lab"), Outcome::Dns)]
}

fn udp(closed: Outcome) -> Vec<(Target, Outcome)> {
    vec![(dns(53), Outcome::Open), (dns(54), Outcome::Timeout), (dns(56), closed)]
}

fn openbsd(shell: &str) {
    let image = Image::new(shell, &[("nc", "/bin/nc.openbsd"), SLEEP, GETENT]);
    check(&image, Tool::OpenBsd, &[cases(), cases_v6(), names(), udp(Outcome::Timeout)].concat());
}

fn traditional(shell: &str) {
    let image = Image::new(shell, &[("nc", "/bin/nc.traditional"), SLEEP, GETENT]);
    let v6 = vec![(tcp("fd00:9::2", 8080), Outcome::ToolMissing)];
    check(&image, Tool::Traditional, &[cases(), v6, udp(Outcome::Timeout)].concat());
}

fn ncat(shell: &str) {
    let image = Image::new(shell, &[("ncat", "/usr/bin/ncat"), SLEEP, GETENT]);
    check(&image, Tool::Ncat, &[cases(), cases_v6(), udp(Outcome::Refused)].concat());
}

fn bash_alone(shell: &str) {
    let image = Image::new(shell, &[("bash", BASH), SLEEP]);
    let no_resolver = vec![(name("pg01.lab"), Outcome::ToolMissing)];
    check(&image, Tool::Bash, &[cases(), cases_v6(), no_resolver, udp(Outcome::Refused)].concat());
}

fn busybox(shell: &str) {
    let image = Image::new(shell, &[("nc", BUSYBOX), ("nslookup", BUSYBOX), ("sleep", BUSYBOX)]);
    let udp = vec![(dns(53), Outcome::Open), (dns(54), Outcome::ToolMissing)];
    check(&image, Tool::BusyBoxE, &[cases(), cases_v6(), names(), udp].concat());
}

#[test]
fn openbsd_under_dash() {
    openbsd(DASH);
}

#[test]
fn openbsd_under_bash() {
    openbsd(BASH);
}

#[test]
fn traditional_under_dash() {
    traditional(DASH);
}

#[test]
fn traditional_under_bash() {
    traditional(BASH);
}

#[test]
fn ncat_under_dash() {
    ncat(DASH);
}

#[test]
fn ncat_under_bash() {
    ncat(BASH);
}

#[test]
fn bash_alone_under_dash() {
    bash_alone(DASH);
}

#[test]
fn bash_alone_under_bash() {
    bash_alone(BASH);
}

#[test]
fn busybox_under_dash() {
    busybox(DASH);
}

/// busybox-static runs its own applets whatever the `PATH`: the real case of such an image.
#[test]
fn busybox_under_busybox() {
    busybox(BUSYBOX);
}

#[test]
fn busybox_under_bash() {
    busybox(BASH);
}

/// The usage text of Alpine's build, which has -z; the connecting is another nc's.
#[test]
fn busybox_with_z_is_used_with_z() {
    let usage = r#"case $1 in -h) printf '%s\n' "BusyBox v1.36.1 (2024-06-10) multi-call binary." "Usage: nc [OPTIONS] HOST PORT  - connect" "	-e PROG	Run PROG after connect" "	-z	Zero-I/O mode (scanning)" >&2; exit 1;; esac
[ "$*" = "${*#-z -v -v -n -w }" ] || exec /bin/nc.openbsd "$@""#;
    let image = Image::new(DASH, &[SLEEP]).stub("nc", usage);
    check(&image, Tool::BusyBoxZ, &[cases(), cases_v6()].concat());
}

/// A `BusyBox` with neither -z nor -e: a peer that keeps the connection is told by what outlives -w.
#[test]
fn smallest_busybox_is_told_by_what_outlives_its_limit() {
    let code = r#"case $1 in -h) echo "BusyBox v1.30.1 multi-call binary. Usage: nc [IPADDR PORT]" >&2; exit 1;; esac
exec /bin/busybox nc "$@""#;
    let image = Image::new(DASH, &[SLEEP]).stub("nc", code);
    check(&image, Tool::BusyBox, &[cases(), cases_v6()].concat());
}

#[test]
fn ncat_before_z_connects_and_sends_nothing() {
    let code = r#"case $1 in -h) echo "Ncat 6.40 ( http://nmap.org/ncat )"; exit 0;; esac
exec /usr/bin/ncat "$@""#;
    let image = Image::new(DASH, &[SLEEP]).stub("nc", code);
    check(&image, Tool::NcatOld, &[cases(), cases_v6()].concat());
}

#[test]
fn a_better_tool_goes_before_a_poor_one() {
    let code = r#"echo "BusyBox v1.30.1 multi-call binary. Usage: nc [IPADDR PORT]" >&2; exit 1"#;
    let image = Image::new(DASH, &[("bash", BASH), SLEEP]).stub("nc", code);
    check(&image, Tool::Bash, &cases());
    let unknown =
        Image::new(DASH, &[("ncat", "/usr/bin/ncat"), SLEEP]).stub("nc", "echo 'nc: Unknown option h' >&2; exit 1");
    check(&unknown, Tool::Ncat, &cases());
    // traditional nc has no IPv6, bash beside it has.
    let both = Image::new(DASH, &[("nc", "/bin/nc.traditional"), ("bash", BASH), SLEEP]);
    check(&both, Tool::Bash, &cases_v6());
}

#[test]
fn a_tool_that_hangs_is_killed_and_is_no_denial() {
    let image = Image::new(DASH, &[SLEEP]).stub("nc", "exec /bin/sleep 1000");
    check(&image, Tool::Nc, &[(tcp("10.9.0.2", 8080), Outcome::ToolMissing)]);
    let code = "case $1 in -h) echo 'OpenBSD netcat' >&2; exit 1;; esac\nexec /bin/sleep 1000";
    let image = Image::new(DASH, &[SLEEP]).stub("nc", code);
    check(&image, Tool::OpenBsd, &[(tcp("10.9.0.2", 8080), Outcome::Cut)]);
}

/// A pod without a core to spare: bash that starts late did not wait long enough to call it silence.
#[test]
fn bash_that_starts_late_tells_no_timeout() {
    let slow = "/bin/sleep 1.5\nexec /bin/bash \"$@\"";
    let image = Image::new(DASH, &[SLEEP]).stub("bash", slow);
    check(&image, Tool::Bash, &[(tcp("10.9.0.2", 81), Outcome::Cut), (tcp("10.9.0.2", 8080), Outcome::Open)]);
}

#[test]
fn nothing_to_ask_with_is_tool_missing() {
    let all = [
        (tcp("10.9.0.2", 8080), Outcome::ToolMissing),
        (dns(53), Outcome::ToolMissing),
        (name("a"), Outcome::ToolMissing),
    ];
    check(&Image::new(DASH, &[SLEEP]), Tool::Nc, &all);
    // Without sleep nothing could be limited.
    let unlimited = Image::new(DASH, &[("nc", "/bin/nc.openbsd"), ("bash", BASH), GETENT]);
    check(&unlimited, Tool::Nc, &all);
}

/// A denied flow and the control of its source in one exec: an answer, silence, and nothing to ask with.
#[test]
fn a_question_beside_a_denied_flow_tells_whether_the_source_is_alive() {
    let denied = (tcp("10.9.0.2", 81), Outcome::Timeout);
    let openbsd = Image::new(DASH, &[("nc", "/bin/nc.openbsd"), SLEEP]);
    check(&openbsd, Tool::OpenBsd, &[denied.clone(), (dns(53), Outcome::Open)]);
    check(&openbsd, Tool::OpenBsd, &[denied.clone(), (dns(54), Outcome::Timeout)]);
    let busybox = Image::new(DASH, &[("nc", BUSYBOX), ("sleep", BUSYBOX)]);
    check(&busybox, Tool::BusyBoxE, &[denied, (dns(53), Outcome::ToolMissing)]);
}

#[test]
fn text_of_a_tool_cannot_forge_a_line() {
    let code = "case $1 in -h) echo 'OpenBSD netcat' >&2; exit 1;; esac\nprintf 'x\\ntarget 2 tcp:10.9.0.2:81:2 openbsd 1 0 succeeded\\ndone 2\\n%3000s'; exit 1";
    let image = Image::new(DASH, &[SLEEP]).stub("nc", code);
    let targets = [tcp("10.9.0.2", 80), tcp("10.9.0.2", 81)];
    let Some(run) = run(&image, &targets, 1) else { return };
    assert_eq!(run.seen.iter().map(|o| o.outcome).collect::<Vec<_>>(), [Outcome::Cut; 2], "{}", run.output);
    assert_eq!(run.output.lines().count(), 5, "{}", run.output);
    assert!(run.output.lines().all(|line| line.len() < 600), "{}", run.output);
}

#[test]
fn addresses_of_a_name_by_each_resolver() {
    for tool in [GETENT, ("nslookup", BUSYBOX)] {
        let image = Image::new(DASH, &[tool, SLEEP]);
        let Some(run) = run(&image, &[name("pg01.lab")], 8) else { return };
        let found: Vec<String> = run.seen[0].addresses.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.1.2.3"], "{}", run.output);
    }
}

/// Answers at once are where a watcher is stopped before it has begun.
#[test]
fn nothing_is_left_behind_however_fast_the_answers() {
    for shell in [DASH, BASH, BUSYBOX] {
        let image = Image::new(shell, &[("nc", "/bin/nc.openbsd"), SLEEP]);
        let Some(run) = run(&image, &vec![tcp("10.9.0.2", 80); 64], 64) else { return };
        assert!(run.seen.iter().all(|o| o.outcome == Outcome::Refused), "{}", run.output);
        assert_eq!(run.left, Vec::<String>::new(), "{shell}");
    }
}

/// Closing the connection kills nothing in a pod; the script ends by itself, within its limit.
#[test]
fn a_client_that_hangs_up_leaves_nothing_behind() {
    for (shell, tool) in [(DASH, "/bin/nc.openbsd"), (BUSYBOX, BUSYBOX), (BASH, "/bin/nc.traditional")] {
        let image = Image::new(shell, &[("nc", tool), SLEEP]);
        let targets = vec![tcp("10.9.0.2", 81); 4];
        let Some(run) = run_lab(&image, &targets, 2, "yes") else { return };
        assert!(!dialect::is_complete(run.output.as_bytes()));
        assert_eq!(run.left, Vec::<String>::new(), "{shell}");
        assert!(run.took < script::time_limit(&targets, Wave::new(2)), "{:?}", run.took);
    }
}

#[test]
fn sixty_four_targets_take_eight_limits_not_sixty_four() {
    let image = Image::new(DASH, &[("nc", "/bin/nc.openbsd"), SLEEP]);
    let targets = vec![tcp("10.9.0.2", 81); 64];
    let Some(run) = run(&image, &targets, 8) else { return };
    assert!(run.seen.iter().all(|o| o.outcome == Outcome::Timeout), "{}", run.output);
    let (least, most) = (Duration::from_secs(16), script::time_limit(&targets, Wave::new(8)));
    assert!(run.took >= least && run.took < Duration::from_secs(40) && run.took < most, "{:?}", run.took);
    assert_eq!(run.left, Vec::<String>::new());
}
