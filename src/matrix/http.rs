//! Requests to the homeserver: with the token, bounded in size and time, repeated where that can help.

use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable as _};
use reqwest::{
    Client, Method, Response, Url,
    header::{CONTENT_TYPE, LOCATION, RETRY_AFTER},
    redirect::Policy,
};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::{fault::MatrixFault, token::TokenSource};

/// The most of an answer that is read; a page of 100 events of full size is larger, and then asked for in less.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;

/// A homeserver and the way to speak with it.
#[derive(Debug)]
pub struct Http {
    client: Client,
    base: Url,
    pub(super) token: TokenSource,
    patience: Duration,
}

/// An answer that is neither a success of transport nor worth a repetition.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
}

impl Reply {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A string of the body.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.body.get(key).and_then(Value::as_str)
    }

    /// `M_FORBIDDEN: You are not invited`, one line, bounded.
    pub fn words(&self) -> String {
        let code = self.text("errcode").unwrap_or("no errcode");
        let words = format!("{code}: {}", self.text("error").unwrap_or("no text"));
        one_line(&words)
    }
}

/// What a request carries.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    Nothing,
    Json(&'a Value),
    Text(&'a str),
}

/// A failed try.
struct Trouble {
    fault: MatrixFault,
    again: bool,
    after: Duration,
}

impl Trouble {
    fn last(fault: MatrixFault) -> Self {
        Self { fault, again: false, after: Duration::ZERO }
    }

    fn passing(fault: MatrixFault) -> Self {
        Self { fault, again: true, after: Duration::ZERO }
    }
}

impl Http {
    /// Speaks with `homeserver`; one request takes at most `timeout`, all repetitions of it about `patience`.
    pub fn new(
        homeserver: &str,
        token: TokenSource,
        timeout: Duration,
        patience: Duration,
    ) -> Result<Self, MatrixFault> {
        let base = base(homeserver)?;
        // The first one wins; whoever set one before chose the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout.min(Duration::from_secs(5)))
            .redirect(Policy::none())
            .user_agent(concat!("netpol-verify/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(MatrixFault::Client)?;
        Ok(Self { client, base, token, patience })
    }

    /// One request below `/_matrix`, repeated on 429, 5xx and broken connections while patience lasts.
    pub async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Body<'_>,
    ) -> Result<Reply, MatrixFault> {
        let url = self.url(path, query);
        let began = Instant::now();
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(500))
            .with_max_delay(Duration::from_secs(10))
            .with_jitter()
            .without_max_times();
        (|| self.attempt(method.clone(), url.clone(), body))
            .retry(backoff)
            .when(|trouble: &Trouble| trouble.again)
            .notify(|trouble, wait| tracing::info!(error = %trouble.fault, ?wait, "matrix request is repeated"))
            .adjust(|trouble, delay| {
                let wait = delay?.max(trouble.after);
                (began.elapsed() + wait <= self.patience).then_some(wait)
            })
            .await
            .map_err(|trouble| trouble.fault)
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("_matrix").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    async fn attempt(&self, method: Method, url: Url, body: Body<'_>) -> Result<Reply, Trouble> {
        let token = self.token.read().map_err(Trouble::last)?;
        let request = self.client.request(method, url).bearer_auth(token.expose_secret());
        let request = match body {
            Body::Nothing => request,
            Body::Json(value) => request.json(value),
            Body::Text(text) => request.header(CONTENT_TYPE, "text/plain; charset=utf-8").body(text.to_owned()),
        };
        let unreachable = |source: reqwest::Error| {
            Trouble::passing(MatrixFault::Unreachable { base: self.base.to_string(), source: source.without_url() })
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let header_wait = retry_after(&response);
        let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).map(one_line);
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if bytes.len() + chunk.len() > LARGEST_ANSWER {
                return Err(Trouble::last(MatrixFault::Answer { what: "a request", lacks: "end" }));
            }
            bytes.extend_from_slice(&chunk);
        }
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        self.judge(Reply { status, body }, header_wait, to)
    }

    fn judge(&self, reply: Reply, header_wait: Duration, to: Option<String>) -> Result<Reply, Trouble> {
        match reply.status {
            429 => {
                let body_wait = reply.body.get("retry_after_ms").and_then(Value::as_u64).unwrap_or(0);
                let after = header_wait.max(Duration::from_millis(body_wait));
                let seconds = after.as_secs_f64().ceil();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a saturating cast is meant"
                )]
                let fault = MatrixFault::Busy { seconds: seconds as u64 };
                Err(Trouble { fault, again: true, after })
            }
            status @ 500.. => {
                let fault = MatrixFault::Server { status, text: reply.words() };
                Err(Trouble { fault, again: true, after: header_wait })
            }
            300..=399 => Err(Trouble::last(MatrixFault::Redirected {
                base: self.base.to_string(),
                to: to.unwrap_or_else(|| "nowhere".to_owned()),
            })),
            401 => Err(Trouble::last(MatrixFault::TokenRejected { text: reply.words() })),
            _ => Ok(reply),
        }
    }
}

fn retry_after(response: &Response) -> Duration {
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

fn base(homeserver: &str) -> Result<Url, MatrixFault> {
    let wrong = |reason: &str| MatrixFault::Homeserver { url: one_line(homeserver), reason: reason.to_owned() };
    let url = Url::parse(homeserver).map_err(|error| wrong(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        // Not shown: what stands there may be a secret.
        return Err(MatrixFault::Homeserver {
            url: url.host_str().unwrap_or_default().to_owned(),
            reason: "it holds a user or password".to_owned(),
        });
    }
    match url.scheme() {
        "http" | "https" if url.query().is_none() && url.fragment().is_none() => Ok(url),
        "http" | "https" => Err(wrong("it has a query or a fragment")),
        _ => Err(wrong("it is neither http nor https")),
    }
}

/// A server's words on one line, without control characters, bounded.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_base_url_is_taken_and_a_password_is_not_shown() {
        assert!(base("https://matrix.test").is_ok() && base("http://127.0.0.1:8008/").is_ok());
        for bad in ["matrix.test", "ftp://matrix.test", "https://matrix.test/?x=1", ""] {
            assert!(base(bad).is_err(), "{bad}");
        }
        let fault = base("https://bot:hunter2@matrix.test").unwrap_err();
        assert!(!fault.to_string().contains("hunter2") && !format!("{fault:?}").contains("hunter2"));
    }
}
