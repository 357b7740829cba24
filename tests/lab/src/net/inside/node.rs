//! The node: it routes between the pods, filters, and starts and ends them.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::BufReader;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Mutex;
use tokio::task::LocalSet;

use super::{NODE, end_with_input, feed, has_ipv6, say};
use crate::net::wire::{self, Answer, NODE_SOCKET, Place, READY, ToNode};

/// Both ends of a cable have the same hardware address, and neither asks for the other's: no neighbour discovery, which
/// would lose the first packets.
const HARDWARE: &str = "02:00:00:00:00:01";

/// How long a cable may take to come up.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Node {
    pods: Mutex<BTreeMap<u32, Pod>>,
}

struct Pod {
    process: Child,
    /// Its end is the pod's end.
    _input: ChildStdin,
}

pub(super) async fn run(folder: &Path) -> Result<(), String> {
    let gone = folder.to_owned();
    end_with_input(move || drop(fs::remove_dir_all(gone)));
    prepare().await?;
    let socket = folder.join(NODE_SOCKET);
    let listener = UnixListener::bind(&socket).map_err(|cause| format!("{}: {cause}", socket.display()))?;
    say(&READY)?;
    let node = Rc::new(Node::default());
    let serving = async {
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                let node = Rc::clone(&node);
                tokio::task::spawn_local(async move { node.serve(stream).await });
            }
        }
    };
    LocalSet::new().run_until(serving).await
}

/// Makes this network namespace a router, with a place where packets to nobody are lost.
async fn prepare() -> Result<(), String> {
    set("/proc/sys/net/ipv4/ip_forward", "1")?;
    // Refusals are not to be mistaken for losses.
    drop(set("/proc/sys/net/ipv4/icmp_ratelimit", "0"));
    drop(set("/proc/sys/net/ipv4/icmp_msgs_per_sec", "1000000"));
    let mut links = vec![
        "link set lo up".to_owned(),
        "link add nowhere arp off type veth peer name abyss".to_owned(),
        "link set nowhere up".to_owned(),
        "link set abyss up".to_owned(),
        "route add 0.0.0.0/0 dev nowhere".to_owned(),
    ];
    if has_ipv6() {
        set("/proc/sys/net/ipv6/conf/all/forwarding", "1")?;
        drop(set("/proc/sys/net/ipv6/icmp/ratelimit", "0"));
        let no_own = ["link set nowhere addrgenmode none", "link set abyss addrgenmode none"].map(ToOwned::to_owned);
        links.splice(2..2, no_own);
        links.push("route add ::/0 dev nowhere".to_owned());
    }
    for address in NODE.iter().filter(|address| address.is_ipv4() || has_ipv6()) {
        links.push(format!("addr add {} dev lo", with_length(*address)));
    }
    feed("ip", &["-batch", "-"], &links.join("\n")).await
}

fn set(path: &str, value: &str) -> Result<(), String> {
    fs::write(path, value).map_err(|cause| format!("{path}: {cause}"))
}

/// An address as a network of its own.
pub(super) fn with_length(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}/32"),
        // Nobody else can have it, so nobody need be asked.
        IpAddr::V6(address) => format!("{address}/128 nodad"),
    }
}

impl Node {
    async fn serve(&self, stream: UnixStream) {
        let mut stream = BufReader::new(stream);
        let answer = match wire::hear(&mut stream).await {
            Ok(message) => self.obey(message).await,
            Err(cause) => Err(cause.to_string()),
        };
        // Who has gone need not be answered.
        drop(wire::say(&mut stream, &answer).await);
    }

    async fn obey(&self, message: ToNode) -> Answer {
        match message {
            ToNode::Filter(table) => feed("nft", &["-f", "-"], &table).await,
            ToNode::Add(place) => {
                let number = place.number;
                let pod = add(&place).await?;
                self.pods.lock().await.insert(number, pod);
                Ok(())
            }
            ToNode::Remove(number) => match self.pods.lock().await.remove(&number) {
                Some(pod) => remove(number, pod).await,
                None => Err("it does not run".to_owned()),
            },
        }
    }
}

async fn add(place: &Place) -> Result<Pod, String> {
    let wrong = |cause: io::Error| format!("the pod's process: {cause}");
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(env::current_exe().map_err(wrong)?).arg("pod");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().map_err(wrong)?;
    let (Some(mut input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
        return Err("the pod's process has no input or output".to_owned());
    };
    let mut output = BufReader::new(output);
    // It is in its namespaces once it speaks.
    let _: String = wire::hear(&mut output).await.map_err(wrong)?;
    let holder = process.id().ok_or_else(|| "the pod's process ended at once".to_owned())?;
    feed("ip", &["-batch", "-"], &cable(place, holder)).await?;
    wire::say(&mut input, place).await.map_err(wrong)?;
    let ready: Answer = wire::hear(&mut output).await.map_err(wrong)?;
    ready?;
    carries(&link(place.number)).await?;
    Ok(Pod { process, _input: input })
}

fn cable(place: &Place, holder: u32) -> String {
    let name = link(place.number);
    let mut lines = vec![format!(
        "link add {name} address {HARDWARE} arp off type veth peer name eth0 address {HARDWARE} arp off netns {holder}"
    )];
    if has_ipv6() {
        lines.push(format!("link set {name} addrgenmode none"));
    }
    lines.push(format!("link set {name} up"));
    for address in &place.addresses {
        lines.push(format!("route add {address} dev {name}"));
    }
    lines.join("\n")
}

fn link(number: u32) -> String {
    format!("pod{number}")
}

/// Waits for this end of a cable to pass packets on. The other end came up later, and the kernel takes notice of that
/// in its own time: until then it drops what is to leave here.
async fn carries(link: &str) -> Answer {
    let end = Instant::now() + PATIENCE;
    loop {
        let shown = Command::new("ip").args(["-oneline", "link", "show", "dev", link]).output().await;
        let shown = shown.map_err(|cause| format!("`ip`: {cause}"))?;
        let text = String::from_utf8_lossy(&shown.stdout);
        if text.contains(" state UP ") {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("the pod's cable does not come up: {}", text.trim()));
        }
    }
}

async fn remove(number: u32, mut pod: Pod) -> Answer {
    // The kernel ends a network namespace some time after its last process: the address is to be free before.
    let cut = feed("ip", &["link", "del", &link(number)], "").await;
    let ended = pod.process.kill().await.map_err(|cause| cause.to_string());
    cut.and(ended)
}
