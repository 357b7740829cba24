//! A server that speaks the API server's exec WebSocket.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
    },
};

/// What the server does with one request.
#[derive(Clone)]
pub enum Reply {
    /// Refuses the upgrade.
    Http(u16, Value),
    /// Upgrades, then takes these steps.
    Frames(Vec<Step>),
    /// Takes the request and is silent.
    Silent,
}

#[derive(Clone)]
pub enum Step {
    Out(Vec<u8>),
    Err(Vec<u8>),
    Status(Value),
    /// Closes as a WebSocket does.
    Close,
    /// Drops the connection.
    Drop,
    /// Stays open for ever.
    Stay,
    Wait(Duration),
}

#[derive(Clone, Default)]
pub struct Seen {
    pub uris: Arc<Mutex<Vec<String>>>,
    now: Arc<AtomicUsize>,
    pub most: Arc<AtomicUsize>,
}

pub async fn server(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> (kube::Client, Seen) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let (reply, shared) = (Arc::new(reply), seen.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (reply, seen) = (Arc::clone(&reply), shared.clone());
            tokio::spawn(async move {
                let busy = seen.now.fetch_add(1, Ordering::SeqCst) + 1;
                seen.most.fetch_max(busy, Ordering::SeqCst);
                serve(stream, &*reply, &seen).await;
                seen.now.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (kube::Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap(), seen)
}

async fn serve(mut stream: TcpStream, reply: &(dyn Fn(&str) -> Reply + Send + Sync), seen: &Seen) {
    let mut head = vec![0; 64 * 1024];
    let uri = loop {
        let n = stream.peek(&mut head).await.unwrap();
        let text = String::from_utf8_lossy(&head[..n]);
        if text.contains("\r\n\r\n") {
            break text.split(' ').nth(1).unwrap().to_owned();
        }
        tokio::task::yield_now().await;
    };
    seen.uris.lock().unwrap().push(uri.clone());
    match reply(&uri) {
        Reply::Http(code, body) => {
            let body = body.to_string();
            let _ = stream.read(&mut head).await;
            let head = format!(
                "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
        Reply::Silent => std::future::pending().await,
        Reply::Frames(steps) => {
            let stream = tokio_tungstenite::accept_hdr_async(stream, protocol).await.unwrap();
            play(stream, steps).await;
        }
    }
}

#[expect(clippy::result_large_err, clippy::unnecessary_wraps, reason = "the callback's type is the library's")]
fn protocol(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    response.headers_mut().insert("Sec-WebSocket-Protocol", "v5.channel.k8s.io".parse().unwrap());
    Ok(response)
}

async fn play(mut stream: WebSocketStream<TcpStream>, steps: Vec<Step>) {
    for step in steps {
        let (channel, bytes) = match step {
            Step::Out(bytes) => (1, bytes),
            Step::Err(bytes) => (2, bytes),
            Step::Status(status) => (3, status.to_string().into_bytes()),
            Step::Close => {
                let _ = stream.close(None).await;
                while stream.next().await.is_some_and(|message| message.is_ok()) {}
                return;
            }
            Step::Drop => return,
            Step::Stay => std::future::pending().await,
            Step::Wait(time) => {
                tokio::time::sleep(time).await;
                continue;
            }
        };
        for chunk in bytes.chunks(32 * 1024) {
            let frame = [&[channel], chunk].concat();
            if stream.send(Message::binary(frame)).await.is_err() {
                return;
            }
        }
    }
    let _ = stream.close(None).await;
}

pub fn success() -> Step {
    Step::Status(json!({"metadata": {}, "status": "Success"}))
}

pub fn exit(code: u8) -> Step {
    Step::Status(json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}
    }))
}

pub fn no_executable() -> Step {
    Step::Status(json!({
        "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
        "message": "Internal error occurred: error executing command in container: failed to exec in container: OCI runtime exec failed: exec failed: unable to start container process: exec: \"sh\": executable file not found in $PATH: unknown"
    }))
}

pub fn status(code: u16, reason: &str, message: &str) -> Reply {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message});
    Reply::Http(code, body)
}
