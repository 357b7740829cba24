//! That nothing is left, however the end comes; and how long the beginning takes.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use lab::net::{Net, PodSpec};

use super::{pod, run};

/// What there is of a lab, seen from outside. Its namespaces have no name and no mount: they last as long as a process
/// that is in them.
#[derive(Debug)]
struct Traces {
    /// With the time of their start: ids are used again.
    processes: BTreeMap<u32, String>,
    networks: BTreeSet<String>,
    folder: String,
}

impl Traces {
    fn of(ancestor: u32) -> Self {
        let mut processes = BTreeSet::from([ancestor]);
        // Parents may have higher numbers than their children.
        loop {
            let more: BTreeSet<u32> =
                all().filter(|id| parent(*id).is_some_and(|id| processes.contains(&id))).collect();
            if more.is_subset(&processes) {
                break;
            }
            processes.extend(more);
        }
        let processes: BTreeMap<u32, String> = processes.into_iter().filter_map(|id| Some((id, start(id)?))).collect();
        let networks = processes.keys().filter_map(|id| network(*id)).collect::<BTreeSet<_>>();
        let command = fs::read_to_string(format!("/proc/{ancestor}/cmdline")).unwrap();
        let folder = command.split('\0').rfind(|word| !word.is_empty()).unwrap().to_owned();
        assert!(fs::exists(&folder).unwrap(), "{folder}");
        let own = network(std::process::id()).unwrap();
        Self { processes, networks: networks.into_iter().filter(|network| *network != own).collect(), folder }
    }

    fn left(&self) -> Vec<String> {
        let lives = |(id, begun): &(&u32, &String)| {
            start(**id).as_ref() == Some(*begun) && state(**id).is_some_and(|state| state != "Z")
        };
        let mut left: Vec<String> =
            self.processes.iter().filter(lives).map(|(id, _)| format!("process {id}")).collect();
        left.extend(fs::exists(&self.folder).unwrap().then(|| self.folder.clone()));
        left
    }

    /// Waits for the kernel to have ended all.
    fn wait_for_the_end(&self) {
        let end = Instant::now() + Duration::from_secs(5);
        while !self.left().is_empty() {
            assert!(Instant::now() < end, "left: {:?}", self.left());
            std::thread::yield_now();
        }
    }
}

fn all() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The words after the command of `/proc/ID/stat`: state, parent, ..
fn stat(id: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(ToOwned::to_owned).collect())
}

fn state(id: u32) -> Option<String> {
    Some(stat(id)?[0].clone())
}

fn start(id: u32) -> Option<String> {
    Some(stat(id)?[19].clone())
}

fn parent(id: u32) -> Option<u32> {
    stat(id)?[1].parse().ok()
}

fn network(id: u32) -> Option<String> {
    Some(fs::read_link(format!("/proc/{id}/ns/net")).ok()?.to_str()?.to_owned())
}

async fn three() -> Net {
    let net = Net::start().await.unwrap();
    for name in ["a", "b", "c"] {
        net.add_pod(&pod(name, &[])).await.unwrap();
    }
    net
}

#[tokio::test]
async fn nothing_is_left_when_it_is_dropped() {
    let net = three().await;
    let escaped = ["sh", "-c", "sleep 300 & sleep 300"].map(ToOwned::to_owned);
    let running = net.exec("a", &escaped).await.unwrap();
    let traces = Traces::of(net.process());
    assert!(traces.networks.len() == 4, "the node's and three pods': {traces:?}");
    assert!(!traces.left().is_empty());
    drop(net);
    assert_eq!(traces.left(), Vec::<String>::new(), "at once");
    assert!(running.output().await.is_err());
}

#[tokio::test]
async fn nothing_is_left_of_a_pod_that_is_removed() {
    let net = three().await;
    let all = Traces::of(net.process());
    net.remove_pod("b").await.unwrap();
    let rest = Traces::of(net.process());
    assert_eq!((all.networks.len(), rest.networks.len()), (4, 3));
    assert!(rest.processes.iter().all(|process| all.processes.get(process.0) == Some(process.1)));
}

/// Does nothing unless a test below starts it.
#[tokio::test]
#[ignore = "started by the tests of this file"]
async fn held() {
    if env::var_os("LAB_HELD").is_none() {
        return;
    }
    let net = three().await;
    assert_eq!(run(&net, "a", &["sh", "-c", "exit 5"]).await.code, 5);
    println!("\nprocess {}", net.process());
    std::future::pending::<()>().await;
}

/// Starts [`held`], and gives it with the process that its lab descends from.
fn hold(command: &mut Command) -> (std::process::Child, u32) {
    command.args(["--exact", "lifetime::held", "--ignored", "--nocapture"]).env("LAB_HELD", "1");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("process ").map(ToOwned::to_owned));
    let process = line.unwrap_or_else(|| panic!("the lab did not start: {:?}", child.wait()));
    (child, process.parse().unwrap())
}

#[test]
fn nothing_is_left_when_its_process_is_killed() {
    let (mut child, process) = hold(&mut Command::new(env::current_exe().unwrap()));
    let traces = Traces::of(process);
    assert_eq!(traces.networks.len(), 4, "{traces:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    traces.wait_for_the_end();
}

#[test]
fn an_ordinary_user_may_have_one() {
    if !rustix::process::geteuid().is_root() {
        // Then every test here shows it.
        return;
    }
    let binary = env::current_exe().unwrap();
    let nobody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).current_dir("/");
        command
    };
    let mut readable = nobody();
    if !readable.args(["test", "-x"]).arg(&binary).status().unwrap().success() {
        eprintln!("SKIPPED: {} is in a folder that only root may enter", binary.display());
        return;
    }
    let (mut child, process) = hold(nobody().arg(&binary).process_group(0));
    let traces = Traces::of(process);
    assert_eq!(traces.networks.len(), 4, "{traces:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    traces.wait_for_the_end();
}

/// As in a container whose root may make namespaces, but not those of users.
#[test]
fn root_needs_no_user_namespace() {
    let without = |then: &str| {
        let script = format!("echo 0 >/proc/sys/user/max_user_namespaces; exec {then} \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", &script, "sh"]).arg(env::current_exe().unwrap());
        command
    };
    let (mut child, process) = hold(&mut without(""));
    let traces = Traces::of(process);
    child.kill().unwrap();
    child.wait().unwrap();
    traces.wait_for_the_end();

    let mut powerless = without("setpriv --bounding-set=-all --inh-caps=-all");
    let done = powerless.args(["--exact", "lifetime::held", "--ignored"]).env("LAB_HELD", "1").output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(said.contains("Operation not permitted"), "{said}");
}

/// The times are printed: `cargo test -p lab --test net -- --nocapture thirty`.
#[tokio::test]
async fn thirty_pods_start_and_end() {
    let begun = Instant::now();
    let net = Net::start().await.unwrap();
    let started = begun.elapsed();
    let specs: Vec<PodSpec> = (0..30).map(|number| pod(&format!("pod-{number}"), &[])).collect();
    let pods = try_join_all(specs.iter().map(|spec| net.add_pod(spec))).await.unwrap();
    let ready = begun.elapsed();
    let addresses: BTreeSet<_> = pods.iter().flat_map(|pod| &pod.addresses).collect();
    assert_eq!(addresses.len(), 30, "each its own");
    let dropping = Instant::now();
    drop(net);
    eprintln!("started {started:?}, 30 pods ready {ready:?}, all gone in {:?}", dropping.elapsed());
}
