//! What a pod, a host and a service are made of.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;

/// A transport protocol.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Protocol {
    /// TCP; a listener accepts, reads what comes, says nothing and stays until the other side ends, as a database does.
    Tcp,
    /// UDP; a listener sends back what comes.
    Udp,
}

/// How a packet that no rule allows is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Denial {
    /// Not at all: the connection times out.
    Drop,
    /// With a TCP reset, else ICMP "port unreachable": the connection is refused.
    Reject,
    /// With ICMP "administratively prohibited": the host is unreachable. TCP often sees that only at the second try, a
    /// second later: the kernel only notes such an answer while it is still at work on the connection's first packet.
    Prohibit,
}

/// A pod, or a host outside the cluster.
#[derive(Clone, Debug, Default)]
pub struct PodSpec {
    /// What it is called in this lab (`shop/web-0`); any text.
    pub name: String,
    /// Its addresses, at most one of each family where it is a pod; without any, an IPv4 address is picked.
    pub addresses: Vec<IpAddr>,
    /// Where it listens, on each of its addresses.
    pub ports: Vec<(Protocol, u16)>,
    /// Its addresses exist, but nothing answers there and nothing comes from there: its node is gone.
    pub dead: bool,
    /// Its port 53, UDP and TCP, answers with the names given to [`Net::set_names`](super::Net::set_names).
    pub dns: bool,
    /// What its `PATH` has.
    pub tools: Tools,
    /// Its `/etc/resolv.conf`; [`resolv_conf`] writes one as the kubelet does.
    pub resolv_conf: String,
    /// Lines of its `/etc/hosts` beside its own and that of localhost.
    pub hosts: Vec<(IpAddr, String)>,
}

/// A pod that exists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PodNet {
    /// As in its [`PodSpec`].
    pub name: String,
    /// As in its [`PodSpec`], or as picked.
    pub addresses: Vec<IpAddr>,
}

/// Where a connection is to go.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Target {
    /// The protocol.
    pub protocol: Protocol,
    /// The address and port.
    pub to: SocketAddr,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Seen {
    /// It opened; for UDP, an answer came.
    Open,
    /// A reset, or ICMP "port unreachable".
    Refused,
    /// Nothing came in time.
    Timeout,
    /// Another ICMP refusal, or no route.
    Unreachable,
    /// It could not be tried.
    Unknown,
}

/// One port of a Service, as `kube-proxy` would have it: connections go to one of its endpoints at random, and are
/// refused where it has none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service {
    /// The cluster IP.
    pub address: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The port of the Service.
    pub port: u16,
    /// Addresses, of the same family, and target ports.
    pub endpoints: Vec<(IpAddr, u16)>,
}

/// Which shell a pod calls `sh`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shell {
    /// Debian's.
    Dash,
    /// `bash` under the name `sh`; the name `bash` is not on the `PATH`.
    Bash,
    /// `BusyBox`, as in Alpine.
    BusyBox,
}

/// The programs on a pod's `PATH`, by name. Nothing else is found there, as in a small image.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    programs: BTreeMap<String, Program>,
}

#[derive(Clone, Debug)]
enum Program {
    Installed { at: &'static [&'static str], package: &'static str },
    Script(String),
}

const BUSYBOX: (&[&str], &str) = (&["/bin/busybox", "/usr/bin/busybox"], "busybox-static");

impl Tools {
    /// An image without shell or tools.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// OpenBSD's `nc`, as Debian's images have it.
    #[must_use]
    pub fn openbsd(shell: Shell) -> Self {
        let nc = &["/bin/nc.openbsd", "/usr/bin/nc.openbsd"];
        Self::none().installed("nc", nc, "netcat-openbsd").with_shell(shell).with_basics()
    }

    /// The traditional `nc`.
    #[must_use]
    pub fn traditional(shell: Shell) -> Self {
        let nc = &["/bin/nc.traditional", "/usr/bin/nc.traditional"];
        Self::none().installed("nc", nc, "netcat-traditional").with_shell(shell).with_basics()
    }

    /// Nmap's `ncat`, under that name.
    #[must_use]
    pub fn ncat(shell: Shell) -> Self {
        Self::none().installed("ncat", &["/usr/bin/ncat"], "ncat").with_shell(shell).with_basics()
    }

    /// `BusyBox` for everything, as in Alpine.
    #[must_use]
    pub fn busybox() -> Self {
        let (at, package) = BUSYBOX;
        let names = ["nc", "nslookup", "sleep"];
        names
            .into_iter()
            .fold(Self::none(), |tools, name| tools.installed(name, at, package))
            .with_shell(Shell::BusyBox)
    }

    /// `bash` and no `nc`.
    #[must_use]
    pub fn bash() -> Self {
        let bash = &["/bin/bash", "/usr/bin/bash"];
        Self::none().installed("bash", bash, "bash").with_shell(Shell::Bash).with_basics()
    }

    /// A shell and nothing to connect with.
    #[must_use]
    pub fn shell() -> Self {
        Self::none().with_shell(Shell::Dash).with_basics()
    }

    /// OpenBSD's `nc` and nothing else: an image without a shell.
    #[must_use]
    pub fn nc_alone() -> Self {
        Self::none().installed("nc", &["/bin/nc.openbsd", "/usr/bin/nc.openbsd"], "netcat-openbsd")
    }

    /// With a script of this text (for `/bin/sh`) under a name, in place of what had the name.
    #[must_use]
    pub fn with_script(mut self, name: &str, text: &str) -> Self {
        self.programs.insert(name.to_owned(), Program::Script(format!("#!/bin/sh\n{text}\n")));
        self
    }

    /// Without a program.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.programs.remove(name);
        self
    }

    fn with_shell(self, shell: Shell) -> Self {
        match shell {
            Shell::Dash => self.installed("sh", &["/bin/dash", "/usr/bin/dash"], "dash"),
            Shell::Bash => self.installed("sh", &["/bin/bash", "/usr/bin/bash"], "bash"),
            Shell::BusyBox => self.installed("sh", BUSYBOX.0, BUSYBOX.1),
        }
    }

    fn with_basics(self) -> Self {
        self.installed("sleep", &["/bin/sleep", "/usr/bin/sleep"], "coreutils").installed(
            "getent",
            &["/usr/bin/getent", "/bin/getent"],
            "libc-bin",
        )
    }

    fn installed(mut self, name: &str, at: &'static [&'static str], package: &'static str) -> Self {
        self.programs.insert(name.to_owned(), Program::Installed { at, package });
        self
    }

    /// Fills a folder that is to be the `PATH`.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Error> {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let lost = |at: &Path| {
            let at = at.to_owned();
            move |cause| Error::Lost { at, cause }
        };
        std::fs::create_dir_all(folder).map_err(lost(folder))?;
        for (name, program) in &self.programs {
            let path = folder.join(name);
            match program {
                Program::Installed { at, package } => {
                    let found = at.iter().map(PathBuf::from).find(|at| at.exists());
                    let found = found.ok_or_else(|| Error::Missing { program: name.clone(), package })?;
                    symlink(found, &path).map_err(lost(&path))?;
                }
                Program::Script(text) => {
                    std::fs::write(&path, text).map_err(lost(&path))?;
                    let executable = std::fs::Permissions::from_mode(0o755);
                    std::fs::set_permissions(&path, executable).map_err(lost(&path))?;
                }
            }
        }
        Ok(())
    }
}

/// The `/etc/resolv.conf` that the kubelet gives a pod (`dnsPolicy: ClusterFirst`), with short time limits.
#[must_use]
pub fn resolv_conf(nameserver: IpAddr, namespace: &str) -> String {
    format!(
        "search {namespace}.svc.cluster.local svc.cluster.local cluster.local\nnameserver {nameserver}\n\
         options ndots:5 timeout:1 attempts:1\n"
    )
}
