//! Two network namespaces with a packet filter between them, and a pod's `PATH` made to measure.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use netpol_verify::probe::{Observation, Target, Wave, dialect, script};

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

/// Builds the two namespaces, runs the script as a pod would, then names the processes that it left behind; a zombie
/// counts too, as nothing reaps here, and often nothing does in a container.
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
# Until the kernel has seen that the cable is in, it drops what is sent; on a busy machine that takes a while.
tries=0
until case "$(ip link show v0)$(ip -n peer link show v1)" in *"state UP"*"state UP"*) true ;; *) false ;; esac; do
  tries=$((tries + 1))
  [ "$tries" -lt 200 ]
  sleep 0.05
done
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
NETPOL_VERIFY_LAB=/run/ready ip netns exec peer "$exe" --ignored --exact probe_script::lab_servers >/dev/null &
read -r _ </run/ready
set +e
if [ -n "$HANG_UP" ]; then
  env -i PATH="$tools" "$shell" "$@" </dev/null | read -r _
else
  env -i PATH="$tools" "$shell" "$@" </dev/null
fi
echo "left:"
for f in /proc/[0-9]*/comm; do
  read -r name <"$f"
  case $name in
  sleep | nc* | busybox | bash | getent | nslookup) echo "left: $name" ;;
  esac
done
"#;

/// A folder that is the pod's whole `PATH`.
pub struct Image {
    dir: tempfile::TempDir,
    shell: PathBuf,
}

impl Image {
    pub fn new(shell: &str, tools: &[(&str, &str)]) -> Self {
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

    pub fn stub(self, name: &str, code: &str) -> Self {
        let path = self.dir.path().join(name);
        fs::write(&path, format!("#!/bin/dash\n{code}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

pub struct Run {
    pub seen: Vec<Observation>,
    pub left: Vec<String>,
    pub took: Duration,
    pub output: String,
}

/// Runs the script in a fresh lab; `None` where the lab is to be skipped.
pub fn run(image: &Image, targets: &[Target], wave: u8) -> Option<Run> {
    let run = run_lab(image, targets, wave, "")?;
    assert!(dialect::is_complete(run.output.as_bytes()), "{}", run.output);
    Some(run)
}

/// The same; a `hang_up` that is not empty stops listening after the first line.
pub fn run_lab(image: &Image, targets: &[Target], wave: u8, hang_up: &str) -> Option<Run> {
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
        .env("HANG_UP", hang_up)
        .output()
        .unwrap();
    let took = started.elapsed();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("left:\n"), "the lab broke: {text}\n{errors}");
    let left = text.lines().filter_map(|line| line.strip_prefix("left: ")).map(str::to_owned).collect();
    Some(Run { seen: dialect::read(&output.stdout, targets, "no line"), left, took, output: text })
}

/// `pg01.lab` is 10.1.2.3, other names do not exist, other classes than IN are refused.
pub fn answer(query: &[u8]) -> Vec<u8> {
    let name_end = 12 + query[12..].iter().position(|b| *b == 0).unwrap();
    let question = &query[12..name_end + 5];
    let (kind, class) = (query[name_end + 2], query[name_end + 4]);
    let known = query[12..].starts_with(b"\x04pg01\x03lab\x00");
    let rcode = if class != 1 {
        5
    } else if known {
        0
    } else {
        3
    };
    let answers = u8::from(rcode == 0 && kind == 1);
    let mut reply = vec![query[0], query[1], 0x81, 0x80 | rcode, 0, 1, 0, answers, 0, 0, 0, 0];
    reply.extend_from_slice(question);
    if answers == 1 {
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, 3]);
    }
    reply
}
