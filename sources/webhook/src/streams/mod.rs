//! The routes `/streams/…`: Kinesis as API Gateway's service proxy shows it, in front of Kinesis or of Kafka.

mod body;
mod kafka;
mod kinesis;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;

use crate::config::Patterns;
use crate::intake::Room;
use crate::refusal::{JSON_TYPE, Refusal};
use crate::request::Action;

pub use kafka::Topics;
pub use kinesis::Kinesis;

/// The streams that requests may name, and what they are.
pub struct Streams {
    pub allowed: Patterns,
    pub backend: Backend,
}

pub enum Backend {
    Kinesis(Box<Kinesis>),
    Kafka(Topics),
}

impl Streams {
    pub async fn list(&self) -> Result<Response, Refusal> {
        match &self.backend {
            Backend::Kinesis(kinesis) => kinesis.list(&self.allowed).await,
            Backend::Kafka(topics) => Ok(topics.list(&self.allowed)),
        }
    }

    /// Refuses what would be refused whatever the body says.
    pub fn admit(&self, name: &str) -> Result<(), Refusal> {
        if self.allowed.allow(name) {
            return Ok(());
        }
        let message = format!("Not authorized to use stream {name}: webhook.streams does not name it");
        Err(Refusal::kinesis(StatusCode::BAD_REQUEST, "AccessDeniedException", message))
    }

    /// Does what a request asks for with the stream `name`.
    pub async fn act(
        &self,
        name: String,
        action: Action,
        body: Bytes,
        room: Room,
    ) -> Result<Response, Refusal> {
        match &self.backend {
            Backend::Kinesis(kinesis) => kinesis.act(name, action, body).await,
            Backend::Kafka(topics) => topics.act(&name, action, body, room).await,
        }
    }
}

/// Kinesis' answer in API Gateway's envelope.
fn answer(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON_TYPE);
    response
}
