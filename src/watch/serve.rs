//! `/metrics`, `/healthz` and `/readyz` over HTTP.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};

use super::Board;

/// Connections at a time: a scraper and the kubelet need two.
const CONNECTIONS: usize = 16;
/// How long one connection may last, and how long its request may take to come.
const LIMIT: Duration = Duration::from_secs(60);
const HEAD: Duration = Duration::from_secs(5);

/// Answers until it is dropped.
pub async fn serve(listener: TcpListener, board: Arc<Board>) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let board = Arc::clone(&board);
                tokio::spawn(async move {
                    let answer =
                        service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, &board))));
                    let mut server = http1::Builder::new();
                    server.timer(TokioTimer::new()).header_read_timeout(HEAD);
                    // Who asks may hang up at any time; that is no trouble of the watcher's.
                    let _ = tokio::time::timeout(LIMIT, server.serve_connection(TokioIo::new(stream), answer)).await;
                    drop(permit);
                });
            }
            Err(error) => pause(&error).await,
        }
    }
}

/// No more files, or a connection that ended before it was taken: neither lasts.
async fn pause(error: &io::Error) {
    tracing::debug!(%error, "connection was not taken");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn answer(request: &Request<Incoming>, board: &Board) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return response(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    let probe = |good: bool, bad: &str| {
        if good {
            return response(StatusCode::OK, "ok\n".to_owned());
        }
        response(StatusCode::SERVICE_UNAVAILABLE, format!("{bad}; the log says why\n"))
    };
    match request.uri().path() {
        "/metrics" => response(StatusCode::OK, board.now().text()),
        "/healthz" => probe(board.is_alive(), "the watcher stands still"),
        "/readyz" => probe(board.is_ready(), "nothing could be looked at lately"),
        _ => response(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n".to_owned()),
    }
}

fn response(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
