//! Kafka: one place that knows librdkafka.

pub mod admin;
pub mod auth;
pub mod batch;
pub mod client;
pub mod consumer;
pub mod dead_letters;
pub mod group;
pub mod lookback;
pub mod offsets;
mod poller;
pub mod producer;
mod standings;
pub mod transaction;

use connector_core::{ConnectError, Domain, Retry};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// An error of librdkafka, with what to do about it.
pub fn kafka_error(doing: &str, error: &KafkaError) -> ConnectError {
    let code = match error {
        KafkaError::AdminOp(code) => Some(*code),
        _ => error.rdkafka_error_code(),
    };
    let (domain, retry, hint) = match code {
        Some(
            RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::UnsupportedSASLMechanism,
        ) => (Domain::User, Retry::WithBackoff, "check sasl.mechanism and the credentials"),
        Some(RDKafkaErrorCode::SSL) => {
            (Domain::User, Retry::WithBackoff, "check security.protocol, the port and ssl.ca.location")
        }
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed,
        ) => (
            Domain::User,
            Retry::NoRetry,
            "grant this principal the operation in the cluster's ACLs or IAM policy",
        ),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::MessageTimedOut,
        ) => (
            Domain::External,
            Retry::WithBackoff,
            "check bootstrap.servers, that the brokers run, and security.protocol",
        ),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            (Domain::User, Retry::WithBackoff, "create the topic, or declare it under `topics:`")
        }
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => (
            Domain::User,
            Retry::NoRetry,
            "raise max.message.bytes of the topic and producer.override.max.request.size, or send smaller records",
        ),
        Some(RDKafkaErrorCode::PolicyViolation | RDKafkaErrorCode::InvalidReplicationFactor) => {
            (Domain::User, Retry::NoRetry, "use a replication factor and settings that the brokers allow")
        }
        _ => (Domain::External, Retry::WithBackoff, ""),
    };
    let text = code.map_or_else(|| error.to_string(), |code| code.to_string());
    let name = code.map_or_else(|| "kafka".to_owned(), |code| format!("kafka.{code:?}"));
    ConnectError::new(domain, retry, name, format!("{doing}: {text}")).hint(hint)
}
