//! Errors as clients see them: `application/problem+json` (RFC 9457). Never with what is inside.

use crate::service::{ServiceError, ViewError};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// What a client that is turned away may wait before it asks again: about what a full queue takes to drain.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// nginx's number for a client that closed the connection: nobody reads it, but the counters of answers do.
const CLIENT_CLOSED_REQUEST: u16 = 499;

#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    members: Map<String, Value>,
    retry_after: Duration,
    is_overload: bool,
}

/// As it is sent.
#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into(), members: Map::new(), retry_after: RETRY_AFTER, is_overload: status == StatusCode::GATEWAY_TIMEOUT }
    }

    /// Says how long to wait, where that is known; else it is about as long as a full queue takes.
    pub fn after(mut self, wait: Duration) -> Problem {
        self.retry_after = wait;
        self
    }

    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// Adds a member for programs, beside the sentence for people.
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Problem {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// Whether a server with more time would have answered.
    pub fn is_overload(&self) -> bool {
        self.is_overload
    }

    /// The thread that should have answered is gone.
    pub fn lost() -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed to answer; its log says why")
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Problem {
        let is_overload = matches!(error, ServiceError::Overloaded { .. } | ServiceError::DeadlinePassed);
        let status = match &error {
            ServiceError::Filter(error) => return error.clone().into(),
            ServiceError::Invalid(_) => StatusCode::BAD_REQUEST,
            ServiceError::Overloaded { .. } | ServiceError::Stopping | ServiceError::Away | ServiceError::Damaged => StatusCode::SERVICE_UNAVAILABLE,
            ServiceError::DeadlinePassed => StatusCode::GATEWAY_TIMEOUT,
            ServiceError::Cancelled => StatusCode::from_u16(CLIENT_CLOSED_REQUEST).expect("499 is a status"),
            ServiceError::Internal(what) => {
                tracing::error!("{what}");
                return Problem::lost();
            }
        };
        Problem { is_overload, ..Problem::new(status, error.to_string()) }
    }
}

impl From<ViewError> for Problem {
    fn from(error: ViewError) -> Problem {
        Problem::bad_request(error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Client closed request"),
            status: self.status.as_u16(),
            detail: &self.detail,
            members: &self.members,
        };
        let body = serde_json::to_vec(&document).expect("texts and numbers can be written");
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        let mut response = (self.status, headers, body).into_response();
        let come_again = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        if come_again.contains(&self.status) {
            // Whole seconds, and never too early.
            let seconds = self.retry_after.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
