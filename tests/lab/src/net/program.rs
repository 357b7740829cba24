//! The process that holds the namespaces.

use std::env;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Error, wire};

const NODE: &str = "lab-node";
/// Where an ordinary user's `PATH` does not look.
const SBIN: &str = "/usr/sbin:/sbin:/usr/bin:/bin";
const NEEDED: [(&str, &str); 3] = [("unshare", "util-linux"), ("ip", "iproute2"), ("nft", "nftables")];
/// How long the end of everything inside may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Ends, with everything inside, when it is dropped.
#[derive(Debug)]
pub(super) struct Holder(Child);

impl Holder {
    /// Starts it, and waits until the node answers. Blocks.
    pub(super) fn start(folder: &Path) -> Result<Self, Error> {
        for (program, package) in NEEDED {
            if !SBIN.split(':').any(|at| Path::new(at).join(program).exists()) {
                return Err(Error::Missing { program: program.to_owned(), package });
            }
        }
        let node = find()?;
        match Self::start_with(&["--user", "--map-root-user"], &node, folder) {
            // Root may have what user namespaces would give, where the kernel or a container refuses those.
            Err(_) if rustix::process::geteuid().is_root() => Self::start_with(&[], &node, folder),
            started => started,
        }
    }

    fn start_with(user: &[&str], node: &Path, folder: &Path) -> Result<Self, Error> {
        let mut command = Command::new("unshare");
        command.env("PATH", SBIN).args(user);
        command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.arg(node).args(["node", wire::VERSION]).arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let namespaces = |said: String| Error::Namespaces { said };
        let mut holder = Self(command.spawn().map_err(|cause| namespaces(cause.to_string()))?);
        let mut said = String::new();
        if let Some(output) = holder.0.stdout.take() {
            BufReader::new(output).read_line(&mut said).map_err(|cause| namespaces(cause.to_string()))?;
        }
        if serde_json::from_str::<String>(&said).is_ok_and(|line| line == wire::READY) {
            return Ok(holder);
        }
        if let Some(mut errors) = holder.0.stderr.take() {
            // What cannot be read does not make the error another one.
            drop(errors.read_to_string(&mut said));
        }
        Err(namespaces(said.trim().to_owned()))
    }

    /// The process that everything inside descends from.
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if matches!(self.0.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn find() -> Result<PathBuf, Error> {
    if let Some(given) = env::var_os("LAB_NODE") {
        return Ok(given.into());
    }
    let own = env::current_exe().unwrap_or_default();
    // A test is in `deps`, below the programs; the demonstration is beside them.
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join(NODE)).find(|path| path.is_file());
    beside.ok_or(Error::NoNode { beside: own })
}
