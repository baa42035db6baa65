//! What became of a request's records, and how REST Proxy says it.

use axum::http::StatusCode;
use axum::response::Response;
use connector_core::Ack;
use serde::Serialize;

use crate::refusal::{ANSWER_TYPE, code, json_response};

/// What became of one record: an entry of `offsets`.
#[derive(Debug, Serialize)]
pub struct RecordAnswer {
    pub partition: Option<i64>,
    pub offset: Option<i64>,
    pub error_code: Option<i32>,
    pub error: Option<String>,
}

impl RecordAnswer {
    pub fn of(ack: &Ack) -> Self {
        match &ack.error {
            None => Self {
                partition: ack.partition.parse().ok(),
                offset: ack.offset.parse().ok(),
                error_code: None,
                error: None,
            },
            Some(error) => Self {
                partition: None,
                offset: None,
                error_code: Some(error_code(error.code, error.retriable)),
                error: Some(error.message.clone()),
            },
        }
    }
}

/// REST Proxy's code for a record that was not written: `number` is one already, or Kafka's, or librdkafka's.
fn error_code(number: i32, retriable: bool) -> i32 {
    match number {
        10_000.. => number,
        // Topic, group, cluster and transactional id authorization.
        29 | 30 | 31 | 53 => code::NOT_AUTHORIZED,
        // SASL_AUTHENTICATION_FAILED, and librdkafka's _AUTHENTICATION.
        58 | -169 => code::NOT_AUTHENTICATED,
        _ if retriable => code::KAFKA_RETRIABLE,
        _ => code::KAFKA,
    }
}

/// The answer to a produce request whose records were acknowledged.
pub fn produced(offsets: &[RecordAnswer]) -> Response {
    #[derive(Serialize)]
    struct Produced<'a> {
        offsets: &'a [RecordAnswer],
        key_schema_id: Option<i32>,
        value_schema_id: Option<i32>,
    }
    let status = offsets.iter().find_map(|record| match record.error_code? {
        code::NOT_AUTHENTICATED => Some(StatusCode::UNAUTHORIZED),
        code::NOT_AUTHORIZED => Some(StatusCode::FORBIDDEN),
        _ => None,
    });
    let body = Produced { offsets, key_schema_id: None, value_schema_id: None };
    json_response(status.unwrap_or(StatusCode::OK), ANSWER_TYPE, &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use connector_core::source::AckError;

    fn ack(partition: i32, offset: i64) -> Ack {
        Ack {
            destination: "t".into(),
            partition: partition.to_string(),
            offset: offset.to_string(),
            error: None,
        }
    }

    fn failed(code: i32, retriable: bool) -> Ack {
        let error = AckError { code, message: "Broker: no".to_owned(), retriable };
        Ack { destination: "t".into(), partition: String::new(), offset: String::new(), error: Some(error) }
    }

    async fn body(acks: &[Ack]) -> (u16, String) {
        let answer = produced(&acks.iter().map(RecordAnswer::of).collect::<Vec<_>>());
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn success_is_worded_as_by_the_rest_proxy() {
        let expected = r#"{"offsets":[{"partition":0,"offset":565,"error_code":null,"error":null}],"key_schema_id":null,"value_schema_id":null}"#;
        assert_eq!(body(&[ack(0, 565)]).await, (200, expected.to_owned()));
    }

    #[tokio::test]
    async fn failed_records_answer_200_with_their_codes() {
        let (status, text) = body(&[ack(1, 7), failed(-192, true), failed(10, false)]).await;
        assert_eq!(status, 200);
        assert!(text.contains(r#"{"partition":1,"offset":7,"error_code":null,"error":null}"#), "{text}");
        let retriable = r#"{"partition":null,"offset":null,"error_code":50003,"error":"Broker: no"}"#;
        assert!(text.contains(retriable) && text.contains(r#""error_code":50002"#), "{text}");
    }

    #[tokio::test]
    async fn a_record_that_may_not_be_written_makes_the_status_401_or_403() {
        assert_eq!(body(&[ack(0, 1), failed(29, false)]).await.0, 403);
        assert_eq!(body(&[failed(40301, false)]).await.0, 403);
        assert_eq!(body(&[failed(58, true), failed(29, false)]).await.0, 401);
    }
}
