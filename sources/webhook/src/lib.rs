//! The webhook source: an HTTP server that speaks the produce half of Confluent REST Proxy v2.
//!
//! `POST /topics/{topic}` and `POST /topics/{topic}/partitions/{partition}` take JSON or base64 records, behind any
//! stage prefix (`/prod/topics/…`); `GET /topics` lists topic names. A request is answered only after Kafka has
//! acknowledged its records.
//!
//! The way of a request: [`Endpoint`] reads and checks it, `Intake` keeps it until the host polls, `Assembly` puts
//! waiting requests together into runs, and `Source::commit` answers each from the acknowledgements.

mod batch;
mod config;
mod endpoint;
mod intake;
mod records;
mod refusal;
mod request;
mod source;

use connector_core::Component;

pub use config::Config;
pub use endpoint::Endpoint;
pub use source::WebhookSource;

/// The plugin `webhook-source`.
pub fn component() -> Component {
    Component::source::<WebhookSource>(env!("CARGO_PKG_VERSION"))
}
