//! What the program `lab-node` does: it is the node, or one of the pods.

mod attempt;
mod listen;
mod node;
mod pod;
mod run;

use std::env;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::wire::VERSION;

/// Addresses of the node.
pub(super) const NODE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(172, 18, 0, 2)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0x18, 0, 0, 0, 0, 0, 2))];

/// Is the node or a pod, as the arguments say; for the program `lab-node` alone.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(|cause| cause.to_string()).and_then(|runtime| match words.as_slice() {
        [_, "node", VERSION, folder] => runtime.block_on(node::run(Path::new(folder))),
        [_, "node", ..] => Err("`lab-node` is of another build: cargo build -p lab".to_owned()),
        [_, "pod"] => runtime.block_on(pod::run()),
        _ => Err("`lab-node` is started by the lab, inside its namespaces".to_owned()),
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(said) => {
            eprintln!("{said}");
            ExitCode::FAILURE
        }
    }
}

/// Feeds a program, and gives what it says on standard error where it fails.
async fn feed(program: &str, arguments: &[&str], input: &str) -> Result<(), String> {
    let wrong = |cause: io::Error| format!("`{program}`: {cause}");
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().map_err(wrong)?;
    let stdin = child.stdin.take();
    let feeding = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read to the end says why.
            drop(stdin.write_all(input.as_bytes()).await);
        }
    };
    let ((), done) = tokio::join!(feeding, child.wait_with_output());
    let done = done.map_err(wrong)?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("`{program}`: {}", String::from_utf8_lossy(&done.stderr).trim()))
}

/// Says something to the process that started this one.
fn say(message: &impl Serialize) -> Result<(), String> {
    let mut line = serde_json::to_vec(message).map_err(|cause| cause.to_string())?;
    line.push(b'\n');
    let mut output = io::stdout().lock();
    output.write_all(&line).and_then(|()| output.flush()).map_err(|cause| format!("standard output: {cause}"))
}

/// Ends this process with its standard input; as the first of its process namespace it takes all others along.
fn end_with_input(last: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        // An error is an end too.
        drop(io::stdin().lock().read_to_end(&mut Vec::new()));
        last();
        std::process::exit(0);
    });
}

/// True where the kernel has IPv6.
fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}
