//! What can go wrong.

use std::io;
use std::path::PathBuf;

/// Why the network is not as it was asked to be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not installed.
    #[error("`{program}` is not installed: apt-get install {package}")]
    Missing {
        /// The program.
        program: String,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The own program that runs inside is not there.
    #[error("`lab-node` is not beside `{}`: cargo build -p lab, or set LAB_NODE to its path", .beside.display())]
    NoNode {
        /// The program that is running.
        beside: PathBuf,
    },
    /// The namespaces could not be made.
    #[error(
        "the lab's namespaces do not start: {said} (as an ordinary user the kernel must allow user namespaces: \
         user.max_user_namespaces > 0 and, on Ubuntu, kernel.apparmor_restrict_unprivileged_userns = 0)"
    )]
    Namespaces {
        /// What was said on standard error, or the operating system's words.
        said: String,
    },
    /// The lab's processes are gone, or a file of the lab cannot be written.
    #[error("the lab at `{}`: {cause}", .at.display())]
    Lost {
        /// A socket or a file.
        at: PathBuf,
        /// What the operating system says.
        cause: io::Error,
    },
    /// The node did not do what it was told.
    #[error("{what}: {said}")]
    Refused {
        /// What it was told, and of whom.
        what: String,
        /// What it answered.
        said: String,
    },
    /// A name or an address that is taken, or a pod that does not exist.
    #[error("pod `{pod}`: {why}")]
    Pod {
        /// Its name.
        pod: String,
        /// What is wrong with it.
        why: String,
    },
    /// A command could not be started in a pod.
    #[error("exec in pod `{pod}`: `{program}`: {said}")]
    NotStarted {
        /// The pod's name.
        pod: String,
        /// First word of the command.
        program: String,
        /// The operating system's words: "No such file or directory" where the pod's `PATH` does not have it.
        said: String,
    },
    /// The pod went away before the command had ended.
    #[error("exec in pod `{pod}` was cut: {cause}")]
    Cut {
        /// The pod's name.
        pod: String,
        /// What the operating system says.
        cause: io::Error,
    },
}
