//! `pods/exec` over a WebSocket, as kubelet and API server answer it: standard output on channel 1, standard error on
//! 2, and the end as a `Status` on 3.

use std::{future::Future, io, pin::Pin, sync::Arc};

use futures::{SinkExt, StreamExt, future::BoxFuture};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};

use super::refusal::Refusal;
use crate::{
    faults::Exec,
    http::{Answer, Request},
};

const PROTOCOL: &str = "v5.channel.k8s.io";

/// A program that runs in a pod.
pub struct Running {
    /// Its standard output.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Its standard error.
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// Its exit code, once it has ended.
    pub end: Pin<Box<dyn Future<Output = io::Result<i32>> + Send>>,
}

/// What runs programs in pods.
pub trait Pods: Send + Sync + 'static {
    /// Starts a program in the pod `namespace/name`.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`]: the pod has no such program.
    fn exec(&self, pod: &str, command: Vec<String>) -> BoxFuture<'static, io::Result<Running>>;
}

/// Switches protocols and runs the command.
pub(super) fn answer(pods: &Arc<dyn Pods>, pod: &str, mut request: Request) -> Answer {
    let offered = request.header("sec-websocket-protocol").split(',').any(|one| one.trim() == PROTOCOL);
    let accept = derive_accept_key(request.header("sec-websocket-key").as_bytes());
    let Some(upgrade) = request.upgrade.take().filter(|_| offered) else {
        return Refusal::new(400, "unable to upgrade: expected a WebSocket that speaks v5.channel.k8s.io").answer(None);
    };
    let command: Vec<String> =
        request.query.iter().filter(|(key, _)| key == "command").map(|(_, value)| value.clone()).collect();
    let (pods, pod, fault) = (Arc::clone(pods), pod.to_owned(), request.exec.take());
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        // An error means that the client has hung up; the program in the pod goes on, as it does in a cluster.
        let _ = run(Socket(socket), pods, &pod, command, fault).await;
    });
    Answer::bytes(101, "", Vec::new().into())
        .with("connection", "Upgrade".to_owned())
        .with("upgrade", "websocket".to_owned())
        .with("sec-websocket-accept", accept)
        .with("sec-websocket-protocol", PROTOCOL.to_owned())
}

type Broken = tokio_tungstenite::tungstenite::Error;

struct Socket(WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>);

impl Socket {
    async fn send(&mut self, channel: u8, bytes: &[u8]) -> Result<(), Broken> {
        self.0.send(Message::binary([&[channel], bytes].concat())).await
    }

    async fn end(&mut self, status: &Value) -> Result<(), Broken> {
        self.send(3, status.to_string().as_bytes()).await?;
        self.0.close(None).await?;
        while self.0.next().await.is_some_and(|message| message.is_ok()) {}
        Ok(())
    }
}

async fn run(
    mut socket: Socket,
    pods: Arc<dyn Pods>,
    pod: &str,
    command: Vec<String>,
    fault: Option<Exec>,
) -> Result<(), Broken> {
    let limit = match fault {
        Some(Exec::Hangs) => std::future::pending().await,
        Some(Exec::NotFound) => return socket.end(&not_found(&command)).await,
        Some(Exec::Prints(bytes, times)) => {
            for _ in 0..times {
                socket.send(1, &bytes).await?;
            }
            return socket.end(&success()).await;
        }
        Some(Exec::CutAfter(bytes)) => Some(bytes),
        Some(Exec::NoStatus) => Some(usize::MAX),
        None => None,
    };
    match pods.exec(pod, command.clone()).await {
        Ok(running) => relay(socket, running, limit).await,
        Err(error) if error.kind() == io::ErrorKind::NotFound => socket.end(&not_found(&command)).await,
        Err(error) => socket.end(&internal(&error.to_string())).await,
    }
}

/// Hands on what the program prints; with `limit` the connection is dropped after so many bytes, or at the end.
async fn relay(mut socket: Socket, running: Running, limit: Option<usize>) -> Result<(), Broken> {
    let Running { mut stdout, mut stderr, mut end } = running;
    let (mut out, mut err) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    let (mut out_open, mut err_open, mut code, mut sent) = (true, true, None, 0);
    while out_open || err_open || code.is_none() {
        if limit.is_some_and(|limit| sent >= limit) {
            return Ok(());
        }
        tokio::select! {
            read = stdout.read(&mut out), if out_open => match read.unwrap_or(0) {
                0 => out_open = false,
                count => {
                    let count = count.min(limit.map_or(count, |limit| limit - sent));
                    socket.send(1, out.get(..count).unwrap_or_default()).await?;
                    sent += count;
                }
            },
            read = stderr.read(&mut err), if err_open => match read.unwrap_or(0) {
                0 => err_open = false,
                count => socket.send(2, err.get(..count).unwrap_or_default()).await?,
            },
            ended = &mut end, if code.is_none() => code = Some(ended),
        }
    }
    if limit.is_some() {
        return Ok(());
    }
    match code {
        Some(Ok(0)) => socket.end(&success()).await,
        Some(Ok(code)) => socket.end(&exit(code)).await,
        Some(Err(error)) => socket.end(&internal(&error.to_string())).await,
        None => Ok(()),
    }
}

fn success() -> Value {
    json!({"metadata": {}, "status": "Success"})
}

fn exit(code: i32) -> Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

fn internal(message: &str) -> Value {
    let message = format!("Internal error occurred: {message}");
    json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500, "message": message})
}

fn not_found(command: &[String]) -> Value {
    let program = command.first().map(String::as_str).unwrap_or_default();
    internal(&format!(
        "error executing command in container: failed to exec in container: OCI runtime exec failed: exec failed: \
         unable to start container process: exec: \"{program}\": executable file not found in $PATH: unknown"
    ))
}
