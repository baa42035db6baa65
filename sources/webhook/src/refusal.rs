//! Answers to requests that are not accepted: as REST Proxy words them, `{"error_code":N,"message":"…"}`, and on the
//! routes of streams as Kinesis does, `{"__type":"…Exception","message":"…"}`.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

/// The type of REST Proxy's answers.
pub const ANSWER_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.kafka.v2+json");

/// The type of API Gateway's answers.
pub const JSON_TYPE: HeaderValue = HeaderValue::from_static("application/json");

/// REST Proxy's codes, where they differ from the HTTP status.
pub mod code {
    pub const NOT_AUTHENTICATED: i32 = 40101;
    pub const NOT_AUTHORIZED: i32 = 40301;
    pub const TOPIC_NOT_FOUND: i32 = 40401;
    pub const PARTITION_NOT_FOUND: i32 = 40402;
    pub const JSON_CONVERSION: i32 = 42203;
    pub const KAFKA: i32 = 50002;
    pub const KAFKA_RETRIABLE: i32 = 50003;
}

/// Why a request is not accepted. The message never holds a key or a value of a record.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub code: i32,
    /// Kinesis' name for it, on the routes of streams; empty when API Gateway would refuse by itself.
    pub exception: Option<Cow<'static, str>>,
    pub message: Cow<'static, str>,
    /// Name (in small letters) and value.
    header: Option<(&'static str, &'static str)>,
}

impl Refusal {
    pub fn new(status: StatusCode, code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, exception: None, message: message.into(), header: None }
    }

    /// As Kinesis refuses: `exception` is such as `ValidationException`.
    pub fn kinesis(
        status: StatusCode,
        exception: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let refusal = Self::new(status, status.as_u16().into(), message);
        Self { exception: Some(exception.into()), ..refusal }
    }

    /// The same on a route of streams.
    pub fn in_kinesis_words(self) -> Self {
        let exception = self.exception.unwrap_or(Cow::Borrowed(match self.status {
            StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
            status if status.is_server_error() => "InternalFailure",
            _ => "",
        }));
        Self { exception: Some(exception), ..self }
    }

    /// The HTTP status alone: `HTTP 415 Unsupported Media Type`, and after it `why`, if there is more to say.
    pub fn http(status: StatusCode, why: &str) -> Self {
        let (number, separator) = (status.as_u16(), if why.is_empty() { "" } else { ": " });
        let reason = status.canonical_reason().unwrap_or_default();
        Self::new(status, number.into(), format!("HTTP {number} {reason}{separator}{why}"))
    }

    pub fn method(allowed: &'static str) -> Self {
        let refusal = Self::http(StatusCode::METHOD_NOT_ALLOWED, "");
        Self { header: Some(("allow", allowed)), ..refusal }
    }

    /// The request may be right, but now is not the time.
    pub fn later(why: &str) -> Self {
        let refusal = Self::http(StatusCode::SERVICE_UNAVAILABLE, why);
        Self { header: Some(("retry-after", "1")), ..refusal }
    }

    /// The body is a JSON object, but not a produce request.
    pub fn unprocessable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, 422, message)
    }

    /// The body, or a part of it, is not the JSON that it has to be.
    pub fn conversion(what: impl std::fmt::Display, byte: usize) -> Self {
        let message = format!("Conversion of JSON to Object failed: {what} at byte {byte} of the body");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code::JSON_CONVERSION, message)
    }

    pub fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct ErrorMessage<'a> {
            error_code: i32,
            message: &'a str,
        }
        #[derive(Serialize)]
        struct Exception<'a> {
            #[serde(rename = "__type", skip_serializing_if = "str::is_empty")]
            exception: &'a str,
            message: &'a str,
        }
        let (status, message) = (self.status, &*self.message);
        let mut response = match self.exception.as_deref() {
            Some(exception) => json_response(status, JSON_TYPE, &Exception { exception, message }),
            None => json_response(status, ANSWER_TYPE, &ErrorMessage { error_code: self.code, message }),
        };
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response
    }
}

/// A response with a JSON body.
pub fn json_response(status: StatusCode, content_type: HeaderValue, body: &impl Serialize) -> Response {
    // Plain structs and strings always serialize.
    let mut response = Response::new(Body::from(serde_json::to_vec(body).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
