//! A small HTTP/1.1 server for all endpoints of the lab: it logs each request, and does to it what [`Faults`] say.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Response,
    body::{Frame, Incoming},
    header::{CONTENT_LENGTH, HeaderMap},
    server::conn::http1,
    service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::faults::{Exec, Fault, Faults};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What is asked.
pub struct Request {
    /// `GET`, …
    pub method: String,
    /// The path, percent-encoded as it came.
    pub path: String,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The connection, if the client wants another protocol on it.
    pub upgrade: Option<OnUpgrade>,
    /// What is to happen to this exec.
    pub exec: Option<Exec>,
}

impl Request {
    /// The first value of a query parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A header's text, or "".
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The bearer token, or "".
    #[must_use]
    pub fn token(&self) -> &str {
        self.header("authorization").strip_prefix("Bearer ").unwrap_or_default()
    }

    /// The body as JSON; `null` where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The parts of the path, decoded.
    #[must_use]
    pub fn parts(&self) -> Vec<String> {
        self.path.split('/').filter(|part| !part.is_empty()).map(decoded).collect()
    }
}

/// What is answered.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Headers beside the usual ones.
    pub headers: Vec<(&'static str, String)>,
    body: Body,
}

impl Answer {
    /// JSON.
    #[must_use]
    pub fn json(status: u16, value: &Value) -> Self {
        Self::bytes(status, "application/json", value.to_string().into())
    }

    /// Bytes of a type.
    #[must_use]
    pub fn bytes(status: u16, kind: &str, bytes: Bytes) -> Self {
        let headers = vec![("content-type", kind.to_owned())];
        Self { status, headers, body: Full::new(bytes).boxed_unsync() }
    }

    /// JSON values, a line each, as they come.
    pub fn stream(values: impl Stream<Item = Value> + Send + 'static) -> Self {
        let frames = values.map(|value| Ok(Frame::data(Bytes::from(format!("{value}\n")))));
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status: 200, headers, body: StreamBody::new(frames).boxed_unsync() }
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    async fn into_bytes(self) -> Bytes {
        match self.body.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(never) => match never {},
        }
    }
}

/// One endpoint.
pub trait Endpoint: Send + Sync + 'static {
    /// Answers a request.
    fn answer(&self, request: Request) -> impl Future<Output = Answer> + Send;

    /// An error with this code, as this endpoint words it; 429 with a time to wait.
    fn refusal(&self, code: u16, wait: Option<std::time::Duration>) -> Answer;
}

/// A server; gone when this is dropped, with all its connections.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    /// Starts one on a free port of this machine.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(endpoint: Arc<impl Endpoint>, faults: Faults) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, Arc::clone(&endpoint), faults.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, accepting })
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn connection(stream: TcpStream, endpoint: Arc<impl Endpoint>, faults: Faults) {
    let service = service_fn(move |request| {
        let (endpoint, faults) = (Arc::clone(&endpoint), faults.clone());
        async move { one(&*endpoint, &faults, request).await }
    });
    // An error is a connection that one of the two ends has closed.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

/// The connection is closed without an answer.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cut on purpose")
    }
}

impl std::error::Error for Cut {}

async fn one(
    endpoint: &impl Endpoint,
    faults: &Faults,
    request: hyper::Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let line = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let method = request.method().as_str().to_owned();
    let mut request = read(request).await.ok_or(Cut)?;
    let Some(fault) = faults.next(&method, &line) else { return Ok(response(endpoint.answer(request).await)) };
    match fault {
        Fault::Status(code) => Ok(response(endpoint.refusal(code, None))),
        Fault::Gone410 => Ok(response(endpoint.refusal(410, None))),
        Fault::Limited(wait) => Ok(response(endpoint.refusal(429, Some(wait)))),
        Fault::Reset => Err(Cut),
        Fault::Silent => std::future::pending().await,
        Fault::Slow(time) => {
            tokio::time::sleep(time).await;
            Ok(response(endpoint.answer(request).await))
        }
        Fault::DoneButCut => {
            endpoint.answer(request).await;
            Err(Cut)
        }
        Fault::DoneBut(code) => {
            endpoint.answer(request).await;
            Ok(response(endpoint.refusal(code, None)))
        }
        Fault::Shortened(count) => Ok(response(shortened(endpoint.answer(request).await, count).await)),
        Fault::CutAfter(bytes) => Ok(cut_after(endpoint.answer(request).await, bytes).await),
        Fault::Body(bytes) => Ok(response(Answer::bytes(200, "application/octet-stream", bytes.into()))),
        Fault::Before(action) => {
            action().await;
            Err(Cut)
        }
        Fault::After(action) => {
            endpoint.answer(request).await;
            action().await;
            Err(Cut)
        }
        Fault::Meanwhile(action) => {
            action().await;
            Ok(response(endpoint.answer(request).await))
        }
        Fault::Exec(exec) => {
            request.exec = Some(exec);
            Ok(response(endpoint.answer(request).await))
        }
    }
}

async fn read(mut request: hyper::Request<Incoming>) -> Option<Request> {
    let wants_upgrade = request.headers().contains_key("upgrade");
    let upgrade = wants_upgrade.then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    Some(Request {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: pairs(head.uri.query().unwrap_or_default()),
        headers: head.headers,
        body,
        upgrade,
        exec: None,
    })
}

fn response(answer: Answer) -> Response<Body> {
    let mut builder = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        builder = builder.header(name, value);
    }
    // Headers are this crate's own: they are well formed.
    builder.body(answer.body).unwrap_or_default()
}

/// The answer without the last `count` of its items, as if there were no such objects.
async fn shortened(answer: Answer, count: usize) -> Answer {
    let status = answer.status;
    let mut value: Value = serde_json::from_slice(&answer.into_bytes().await).unwrap_or_default();
    if let Some(items) = value.get_mut("items").and_then(Value::as_array_mut) {
        items.truncate(items.len().saturating_sub(count));
    }
    Answer::json(status, &value)
}

/// Promises all of the answer, gives the first bytes, and ends: the server closes the connection on such a body.
async fn cut_after(answer: Answer, bytes: usize) -> Response<Body> {
    let status = answer.status;
    let whole = answer.into_bytes().await;
    let part = whole.slice(..bytes.min(whole.len()));
    let frames = futures::stream::iter([Ok(Frame::data(part))]);
    let body = StreamBody::new(frames).boxed_unsync();
    Response::builder().status(status).header(CONTENT_LENGTH, whole.len()).body(body).unwrap_or_default()
}

/// The pairs of a query.
fn pairs(query: &str) -> Vec<(String, String)> {
    let pieces = query.split('&').filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| {
            let (key, value) = piece.split_once('=').unwrap_or((piece, ""));
            (decoded(&key.replace('+', " ")), decoded(&value.replace('+', " ")))
        })
        .collect()
}

/// Without percent-encoding.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let pair = (byte == b'%').then(|| Some((digit(ahead.next()?)?, digit(ahead.next()?)?))).flatten();
        if let Some((high, low)) = pair {
            bytes.push(high * 16 + low);
            rest = ahead;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let found = pairs("command=sh&command=-c&command=a%20%26+b%zz&x");
        let expected = [("command", "sh"), ("command", "-c"), ("command", "a & b%zz"), ("x", "")];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
