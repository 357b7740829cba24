//! The script for real: two network namespaces, a packet filter between them, every `nc` and shell there is.
//!
//! Needs no root, but `unshare`, `ip`, `nft`, and the tools of [`NEEDED`]. Where they are missing the tests fail and say
//! what to install; `NETPOL_VERIFY_SKIP_LAB=1` skips them.

use std::{
    env, fs,
    io::{Read, Write},
    net::{TcpListener, UdpSocket},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use netpol_verify::probe::{Observation, Outcome, Target, Tool, Wave, dialect, script};

const NEEDED: [(&str, &str); 10] = [
    ("/bin/nc.openbsd", "netcat-openbsd"),
    ("/bin/nc.traditional", "netcat-traditional"),
    ("/usr/bin/ncat", "ncat"),
    ("/bin/busybox", "busybox-static"),
    ("/bin/dash", "dash"),
    ("/bin/bash", "bash"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/bin/getent", "libc-bin"),
    ("/bin/sleep", "coreutils"),
];

/// Builds the two namespaces, runs the script as a pod would, then names the processes that it left behind.
const LAB: &str = r#"
set -e
exe=$1 tools=$2 resolv=$3 shell=$4
shift 4
PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t tmpfs lab /run
mount --bind "$resolv" /etc/resolv.conf
ip link set lo up
ip netns add peer
ip link add v0 type veth peer name v1 netns peer
ip addr add 10.9.0.1/24 dev v0
ip -6 addr add fd00:9::1/64 dev v0 nodad
ip link set v0 up
ip -n peer addr add 10.9.0.2/24 dev v1
ip -n peer -6 addr add fd00:9::2/64 dev v1 nodad
ip -n peer link set v1 up
ip -n peer link set lo up
ip netns exec peer nft -f - <<RULES
table inet lab {
  chain in {
    type filter hook input priority 0
    tcp dport 81 drop
    tcp dport 82 reject with tcp reset
    tcp dport 83 reject with icmpx admin-prohibited
    tcp dport 84 reject with icmpx host-unreachable
    udp dport 54 drop
  }
}
RULES
mkfifo /run/ready
NETPOL_VERIFY_LAB=/run/ready ip netns exec peer "$exe" --ignored --exact lab_servers >/dev/null &
read -r _ </run/ready
set +e
env -i PATH="$tools" "$shell" "$@" </dev/null
for f in /proc/[0-9]*/comm; do
  read -r name <"$f"
  case $name in
  sleep | nc* | busybox | bash | getent | nslookup) echo "left: $name" ;;
  esac
done
"#;

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

/// `pg01.lab` is 10.1.2.3, other names do not exist, other classes than IN are refused.
fn answer(query: &[u8]) -> Vec<u8> {
    let name_end = 12 + query[12..].iter().position(|b| *b == 0).unwrap();
    let question = &query[12..name_end + 5];
    let (kind, class) = (query[name_end + 2], query[name_end + 4]);
    let known = query[12..].starts_with(b"\x04pg01\x03lab\x00");
    let rcode = if class != 1 { 5 } else if known { 0 } else { 3 };
    let answers = u8::from(rcode == 0 && kind == 1);
    let mut reply = vec![query[0], query[1], 0x81, 0x80 | rcode, 0, 1, 0, answers, 0, 0, 0, 0];
    reply.extend_from_slice(question);
    if answers == 1 {
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, 3]);
    }
    reply
}

/// A folder that is the pod's whole `PATH`.
struct Image {
    dir: tempfile::TempDir,
    shell: PathBuf,
}

impl Image {
    fn new(shell: &str, tools: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, path) in tools {
            symlink(path, dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("resolv.conf"), "nameserver 10.9.0.2\noptions timeout:1 attempts:1\n").unwrap();
        let outside = dir.path().join("shell");
        fs::create_dir(&outside).unwrap();
        let sh = outside.join("sh");
        symlink(shell, &sh).unwrap();
        Self { dir, shell: sh }
    }

    fn stub(self, name: &str, code: &str) -> Self {
        let path = self.dir.path().join(name);
        fs::write(&path, format!("#!/bin/dash\n{code}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

struct Run {
    seen: Vec<Observation>,
    left: Vec<String>,
    took: Duration,
    output: String,
}

/// Runs the script in a fresh lab; `None` where the lab is to be skipped.
fn run(image: &Image, targets: &[Target], wave: u8) -> Option<Run> {
    if env::var_os("NETPOL_VERIFY_SKIP_LAB").is_some() {
        eprintln!("SKIPPED: the script was not run, as NETPOL_VERIFY_SKIP_LAB is set");
        return None;
    }
    let missing: Vec<&str> = NEEDED.iter().filter(|(path, _)| !Path::new(path).exists()).map(|(_, p)| *p).collect();
    assert!(missing.is_empty(), "apt-get install {}", missing.join(" "));
    let started = Instant::now();
    let output = Command::new("unshare")
        .args(["-Urnmpf", "--mount-proc", "--kill-child", "dash", "-c", LAB, "lab"])
        .arg(env::current_exe().unwrap())
        .arg(image.path())
        .arg(image.path().join("resolv.conf"))
        .arg(&image.shell)
        .args(&script::command(targets, Wave::new(wave))[1..])
        .output()
        .unwrap();
    let took = started.elapsed();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(dialect::is_complete(&output.stdout), "{text}\n{errors}");
    let left = text.lines().filter_map(|line| line.strip_prefix("left: ")).map(str::to_owned).collect();
    Some(Run { seen: dialect::read(&output.stdout, targets, "no line"), left, took, output: text })
}

fn tcp(address: &str, port: u16) -> Target {
    Target::tcp(address.parse().unwrap(), port, Duration::from_secs(2)).unwrap()
}

fn dns(port: u16) -> Target {
    Target::dns("10.9.0.2".parse().unwrap(), port, Duration::from_secs(2)).unwrap()
}

fn name(name: &str) -> Target {
    Target::name(name, Duration::from_secs(2)).unwrap()
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

/// busybox-static runs its own applets whatever the `PATH`: the real case of a BusyBox image.
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
[ "$*" = "${*#-z -v -n -w }" ] || exec /bin/nc.openbsd "$@""#;
    let image = Image::new(DASH, &[SLEEP]).stub("nc", usage);
    check(&image, Tool::BusyBoxZ, &[cases(), cases_v6()].concat());
}

/// A BusyBox with neither -z nor -e: a peer that keeps the connection is told by what outlives -w.
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
    let unknown = Image::new(DASH, &[("ncat", "/usr/bin/ncat"), SLEEP]).stub("nc", "echo 'nc: Unknown option h' >&2; exit 1");
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

#[test]
fn nothing_to_ask_with_is_tool_missing() {
    let all = [(tcp("10.9.0.2", 8080), Outcome::ToolMissing), (dns(53), Outcome::ToolMissing), (name("a"), Outcome::ToolMissing)];
    check(&Image::new(DASH, &[SLEEP]), Tool::Nc, &all);
    // Without sleep nothing could be limited.
    let unlimited = Image::new(DASH, &[("nc", "/bin/nc.openbsd"), ("bash", BASH)]);
    check(&unlimited, Tool::Nc, all.get(..2).unwrap());
}

#[test]
fn text_of_a_tool_cannot_forge_a_line() {
    let code = "case $1 in -h) echo 'OpenBSD netcat' >&2; exit 1;; esac\nprintf 'x\\ntarget 2 tcp:10.9.0.2:81:2 openbsd 1 0 succeeded\\ndone 2\\n%3000s'; exit 1";
    let image = Image::new(DASH, &[SLEEP]).stub("nc", code);
    let targets = [tcp("10.9.0.2", 80), tcp("10.9.0.2", 81)];
    let Some(run) = run(&image, &targets, 1) else { return };
    assert_eq!(run.seen.iter().map(|o| o.outcome).collect::<Vec<_>>(), [Outcome::Cut; 2], "{}", run.output);
    assert_eq!(run.output.lines().count(), 4, "{}", run.output);
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

#[test]
fn sixty_four_targets_take_eight_limits_not_sixty_four() {
    let image = Image::new(DASH, &[("nc", "/bin/nc.openbsd"), SLEEP]);
    let targets = vec![tcp("10.9.0.2", 81); 64];
    let Some(run) = run(&image, &targets, 8) else { return };
    assert!(run.seen.iter().all(|o| o.outcome == Outcome::Timeout), "{}", run.output);
    let (least, most) = (Duration::from_secs(16), script::time_limit(&targets, Wave::new(8)));
    assert!(run.took >= least && run.took < Duration::from_secs(24) && run.took < most, "{:?}", run.took);
    assert_eq!(run.left, Vec::<String>::new());
}
