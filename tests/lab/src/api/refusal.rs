//! Errors in the API server's words.

use std::time::Duration;

use serde_json::json;

use crate::http::Answer;

/// A `Status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP code.
    pub code: u16,
    /// A sentence.
    pub message: String,
}

impl Refusal {
    /// With a sentence.
    #[must_use]
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// There is no such object.
    #[must_use]
    pub fn not_found(resource: &str, name: &str) -> Self {
        Self::new(404, format!("{resource} \"{name}\" not found"))
    }

    fn reason(&self) -> &'static str {
        match self.code {
            400 => "BadRequest",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            405 => "MethodNotAllowed",
            409 if self.message.ends_with("already exists") => "AlreadyExists",
            409 => "Conflict",
            410 => "Expired",
            413 => "RequestEntityTooLarge",
            422 => "Invalid",
            429 => "TooManyRequests",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "InternalError",
        }
    }

    /// The `Status` object.
    #[must_use]
    pub fn status(&self) -> serde_json::Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "code": self.code, "reason": self.reason(), "message": self.message,
        })
    }

    /// The answer; `wait` is what a client is asked to wait.
    #[must_use]
    pub fn answer(&self, wait: Option<Duration>) -> Answer {
        let answer = Answer::json(self.code, &self.status());
        match wait {
            Some(wait) => answer.with("retry-after", wait.as_secs().max(1).to_string()),
            None => answer,
        }
    }
}
