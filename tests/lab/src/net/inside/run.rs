//! Commands in a pod.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::net::wire::{self, Answer, BIN, FRAME, Frame, Place};

/// Added to the signal's number, as container runtimes do.
const BY_SIGNAL: i32 = 128;

/// Runs it to its end, or to that of the connection.
pub(super) async fn command(mut stream: BufReader<UnixStream>, argv: &[String], place: &Place) -> io::Result<()> {
    let mut child = match spawn(argv, place) {
        Ok(child) => child,
        Err(cause) => return wire::say(&mut stream, &Answer::Err(said(&cause))).await,
    };
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let ended = attend(&mut child, stream).await;
    if ended.is_err() {
        if let Some(group) = group {
            // It may have ended by itself just now.
            let _ = kill_process_group(group, Signal::KILL);
        }
        child.wait().await?;
    }
    ended
}

fn spawn(argv: &[String], place: &Place) -> io::Result<Child> {
    let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let own = place.name.rsplit('/').next().unwrap_or_default();
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", place.folder.join(BIN)).env("HOSTNAME", own);
    command.current_dir("/").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// The operating system's words, without its number.
fn said(cause: &io::Error) -> String {
    let text = cause.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Passes the output on and waits for the end; an error where the other side goes first.
async fn attend(child: &mut Child, mut stream: BufReader<UnixStream>) -> io::Result<()> {
    wire::say(&mut stream, &Answer::Ok(())).await?;
    let (mut read, write) = stream.into_inner().into_split();
    let write = Rc::new(Mutex::new(write));
    let send = async |frame: Frame| write.lock().await.write_all(&frame.encode()).await;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let output = async {
        // A command has ended, for the kubelet, when its output has: a child of it may still write.
        tokio::try_join!(pass(out, Frame::Stdout, &send), pass(err, Frame::Stderr, &send))?;
        send(Frame::Exit(code(child.wait().await?))).await
    };
    tokio::select! {
        ended = output => ended,
        _ = read.read_u8() => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

async fn pass(
    from: Option<impl AsyncRead + Unpin>,
    frame: impl Fn(Vec<u8>) -> Frame,
    send: &impl AsyncFn(Frame) -> io::Result<()>,
) -> io::Result<()> {
    let Some(mut from) = from else { return Ok(()) };
    let mut buffer = vec![0; FRAME];
    loop {
        let length = from.read(&mut buffer).await?;
        match buffer.get(..length) {
            Some([]) | None => return Ok(()),
            Some(piece) => send(frame(piece.to_vec())).await?,
        }
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| BY_SIGNAL + status.signal().unwrap_or_default())
}
