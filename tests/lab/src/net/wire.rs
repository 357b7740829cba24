//! What is said between this process, the node and the pods: a line of JSON each way, and for a command its output
//! in frames after that.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::{Names, Protocol, Target};

/// Changes with anything in this file: the two ends are two programs, and may be of two builds.
pub(super) const VERSION: &str = "1";
/// The node's first line, once it answers.
pub(super) const READY: &str = "ready";
/// The node's socket, in the folder of the lab.
pub(super) const NODE_SOCKET: &str = "node.sock";
/// A pod's socket, in its folder.
pub(super) const POD_SOCKET: &str = "pod.sock";
/// A pod's `PATH`, in its folder.
pub(super) const BIN: &str = "bin";
/// A pod's `/etc/resolv.conf`, in its folder.
pub(super) const RESOLV_CONF: &str = "resolv.conf";
/// A pod's `/etc/hosts`, in its folder.
pub(super) const HOSTS: &str = "hosts";

/// To the node.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum ToNode {
    /// Start a pod.
    Add(Place),
    /// End the pod of this number.
    Remove(u32),
    /// Load this into the packet filter, all or nothing.
    Filter(String),
}

/// A pod as the node and the pod itself need to know it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Place {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ports: Vec<(Protocol, u16)>,
    pub(super) dns: bool,
    pub(super) folder: PathBuf,
}

/// To a pod.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum ToPod {
    /// Run a command; after the answer its frames come.
    Exec(Vec<String>),
    /// Answer with these names from now on.
    Names(Names),
    /// Try these connections, each for so many milliseconds; after the answer a list of what was seen comes.
    Try(Vec<Target>, u64),
}

/// To either; the error is a text for people.
pub(super) type Answer = Result<(), String>;

/// A piece of a command's output, or its end.
#[derive(Debug)]
pub(super) enum Frame {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Exit(i32),
}

/// The most that one frame carries, in bytes.
pub(super) const FRAME: usize = 16 * 1024;

impl Frame {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (kind, payload) = match self {
            Self::Stdout(payload) => (1, payload.as_slice()),
            Self::Stderr(payload) => (2, payload.as_slice()),
            Self::Exit(code) => (3, &code.to_be_bytes()[..]),
        };
        let length = u32::try_from(payload.len()).unwrap_or_default();
        [&[kind], &length.to_be_bytes()[..], payload].concat()
    }

    pub(super) async fn read(from: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Self> {
        let kind = from.read_u8().await?;
        let length = usize::try_from(from.read_u32().await?).unwrap_or(usize::MAX);
        if length > FRAME {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut payload = vec![0; length];
        from.read_exact(&mut payload).await?;
        match kind {
            1 => Ok(Self::Stdout(payload)),
            2 => Ok(Self::Stderr(payload)),
            3 => payload.try_into().map(|code| Self::Exit(i32::from_be_bytes(code))).map_err(|_| invalid("exit code")),
            _ => Err(invalid("kind of frame")),
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Asks, and gives the answer with the connection that it came on.
pub(super) async fn ask(socket: &Path, question: &impl Serialize) -> io::Result<(BufReader<UnixStream>, Answer)> {
    let mut stream = BufReader::new(UnixStream::connect(socket).await?);
    say(&mut stream, question).await?;
    let answer = hear(&mut stream).await?;
    Ok((stream, answer))
}

/// Writes one message.
pub(super) async fn say(to: &mut (impl AsyncWriteExt + Unpin), message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line).await?;
    to.flush().await
}

/// Reads one message.
pub(super) async fn hear<T: DeserializeOwned>(from: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<T> {
    let mut line = String::new();
    if from.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}
