//! A command that runs in a pod.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::Error;
use super::wire::{FRAME, Frame};

/// A running command with the two ends of its output.
///
/// It waits while nobody reads its output, as it would for the kubelet. An end that is dropped is written to in vain,
/// and the command goes on.
#[derive(Debug)]
pub struct Exec {
    /// What it writes to standard output.
    pub stdout: DuplexStream,
    /// What it writes to standard error.
    pub stderr: DuplexStream,
    /// The command itself.
    pub process: Process,
}

/// The command itself: it and what it started in its process group are killed when this is dropped before it ends.
#[derive(Debug)]
pub struct Process {
    pod: String,
    receiving: JoinHandle<io::Result<i32>>,
}

/// All that a command said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Output {
    /// Its exit code; 128 and the signal's number where a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Exec {
    pub(super) fn new(pod: &str, frames: BufReader<UnixStream>) -> Self {
        let (stdout, out) = duplex(4 * FRAME);
        let (stderr, err) = duplex(4 * FRAME);
        let receiving = tokio::spawn(receive(frames, out, err));
        Self { stdout, stderr, process: Process { pod: pod.to_owned(), receiving } }
    }

    /// Waits for the end, and gives the exit code; what was not read by then is lost.
    ///
    /// # Errors
    ///
    /// [`Error::Cut`]: the pod went away first.
    pub async fn wait(self) -> Result<i32, Error> {
        let Self { stdout, stderr, process } = self;
        drop((stdout, stderr));
        process.wait().await
    }

    /// Reads everything, and waits for the end.
    ///
    /// # Errors
    ///
    /// [`Error::Cut`]: the pod went away first.
    pub async fn output(self) -> Result<Output, Error> {
        let Self { mut stdout, mut stderr, process } = self;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        // In memory, neither can fail.
        let (_, _, code) = tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err), process.wait());
        Ok(Output { code: code?, stdout: out, stderr: err })
    }
}

impl Process {
    /// Waits until the command has ended and both ends of its output are closed; gives the exit code, 128 and the
    /// signal's number where a signal ended it.
    ///
    /// # Errors
    ///
    /// [`Error::Cut`]: the pod went away first.
    pub async fn wait(mut self) -> Result<i32, Error> {
        let code = (&mut self.receiving).await.unwrap_or_else(|cause| Err(io::Error::other(cause)));
        code.map_err(|cause| Error::Cut { pod: self.pod.clone(), cause })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The connection goes with the task, and its end is what the pod waits for.
        self.receiving.abort();
    }
}

async fn receive(mut frames: BufReader<UnixStream>, mut out: DuplexStream, mut err: DuplexStream) -> io::Result<i32> {
    loop {
        match Frame::read(&mut frames).await? {
            Frame::Stdout(piece) => drop(out.write_all(&piece).await),
            Frame::Stderr(piece) => drop(err.write_all(&piece).await),
            Frame::Exit(code) => return Ok(code),
        }
    }
}
