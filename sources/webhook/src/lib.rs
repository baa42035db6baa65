//! The webhook source: an HTTP server that speaks the produce half of Confluent REST Proxy v2, and Kinesis as API Gateway
//! shows it.
//!
//! `POST /topics/{topic}` and `POST /topics/{topic}/partitions/{partition}` take JSON or base64 records, behind any
//! stage prefix (`/prod/topics/…`); `GET /topics` lists topic names. The six routes `/streams/…` list, describe, create
//! and delete streams and put records into them. A request is answered only after Kafka, or Kinesis, has its records.
//!
//! The way of a request: [`Endpoint`] reads and checks it, `Intake` keeps it until the host polls, `Assembly` puts
//! waiting requests together into runs, and `Source::commit` answers each from the acknowledgements. A request for a
//! stream of Kinesis is a call of the service instead, and never reaches the host.

mod answer;
mod batch;
mod config;
mod counts;
mod endpoint;
mod intake;
mod produce;
mod records;
mod refusal;
mod request;
mod source;
mod streams;

use connector_core::Component;

pub use config::{Backend, Config};
pub use endpoint::Endpoint;
pub use source::WebhookSource;

/// The plugin `webhook-source`.
pub fn component() -> Component {
    Component::source::<WebhookSource>(env!("CARGO_PKG_VERSION"))
}
