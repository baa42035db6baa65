//! Java's names for our errors: what readers of Connect's dead letters and logs look for.
//!
//! The table is in docs/dead-letters.md.

use std::error::Error;

use connector_core::{ConnectError, Domain, Stage};

const CONNECT: &str = "org.apache.kafka.connect.errors.ConnectException";
const DATA: &str = "org.apache.kafka.connect.errors.DataException";
const RETRIABLE: &str = "org.apache.kafka.connect.errors.RetriableException";
const SERIALIZATION: &str = "org.apache.kafka.common.errors.SerializationException";
const CAST: &str = "java.lang.ClassCastException";
const KAFKA: &str = "org.apache.kafka.common.KafkaException";

/// Codes of converters' errors, whose message is Connect's sentence and, after its colon, the cause's own words.
const CONVERTERS: [&str; 2] = ["json.syntax", "converter.data"];

/// An error as Java would have thrown it.
#[derive(Debug, PartialEq, Eq)]
pub struct Exception {
    pub class: &'static str,
    pub message: String,
    /// One line each: class, where one is known, and message.
    pub causes: Vec<String>,
}

impl Exception {
    pub fn of(error: &ConnectError) -> Self {
        let colon = error.message.find(": ").map(|at| at + 2);
        let (message, rest) = match colon.filter(|_| CONVERTERS.contains(&error.code.as_str())) {
            Some(at) => error.message.split_at(at),
            None => (error.message.as_str(), ""),
        };
        let of_rest = if rest.starts_with("class ") { CAST } else { SERIALIZATION };
        let mut causes: Vec<String> = Some(rest)
            .filter(|rest| !rest.is_empty())
            .map(|rest| format!("{of_rest}: {rest}"))
            .into_iter()
            .collect();
        let mut cause = error.source.as_deref().map(|e| e as &dyn Error);
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        Self { class: class(error), message: message.to_owned(), causes }
    }

    /// The first line of a stack trace, and its `Caused by:` lines. Rust has no frames to show in between.
    pub fn trace(&self) -> String {
        let first = format!("{}: {}\n", self.class, self.message);
        self.causes.iter().fold(first, |text, cause| format!("{text}Caused by: {cause}\n"))
    }
}

fn class(error: &ConnectError) -> &'static str {
    match error.code.as_str() {
        "kafka.MessageSizeTooLarge" => "org.apache.kafka.common.errors.RecordTooLargeException",
        "kafka.UnknownTopicOrPartition" | "kafka.UnknownTopic" => {
            "org.apache.kafka.common.errors.UnknownTopicOrPartitionException"
        }
        "kafka.TopicAuthorizationFailed" => "org.apache.kafka.common.errors.TopicAuthorizationException",
        code if code.starts_with("kafka.") => KAFKA,
        _ if error.is_retriable() => RETRIABLE,
        _ if error.domain == Domain::User => DATA,
        _ => CONNECT,
    }
}

/// Connect's name of a stage.
pub fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::KeyConverter => "KEY_CONVERTER",
        Stage::ValueConverter => "VALUE_CONVERTER",
        Stage::HeaderConverter => "HEADER_CONVERTER",
        Stage::Transformation => "TRANSFORMATION",
        Stage::TaskPut => "TASK_PUT",
        Stage::KafkaProduce => "KAFKA_PRODUCE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_converters_error_is_connects_with_its_details_as_the_cause_e_04() {
        let lead = "Converting byte[] to Kafka Connect data failed due to serialization error: ";
        let error = ConnectError::user("json.syntax", format!("{lead}malformed UTF-8 at byte 0"));
        let exception = Exception::of(&error);
        assert_eq!((exception.class, exception.message.as_str()), (DATA, lead));
        assert_eq!(
            exception.trace(),
            format!("{DATA}: {lead}\nCaused by: {SERIALIZATION}: malformed UTF-8 at byte 0\n")
        );
    }

    #[test]
    fn other_errors_have_the_class_of_their_kind_and_their_causes() {
        let cause = std::io::Error::other("inner cause");
        let error = ConnectError::user("x", "record refused").caused_by(cause);
        assert_eq!(
            Exception::of(&error).trace(),
            format!("{DATA}: record refused\nCaused by: inner cause\n")
        );
        assert_eq!(Exception::of(&ConnectError::external("x", "m")).class, RETRIABLE);
        assert_eq!(Exception::of(&ConnectError::external("x", "m").no_retry()).class, CONNECT);
        assert_eq!(Exception::of(&ConnectError::external("kafka.Fail", "m")).class, KAFKA);
    }
}
