//! Whatever is sent, the answer is JSON.

mod host;

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use host::{BINARY, BUDGET, JSON, Log, Topics, serve, source};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Bytes, texts, and produce requests with a piece cut out or put in.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let request = br#"{"records": [{"key": "\u2026", "value": {"ind": 1.50, "a": [null, true]}, "partition": 0}], "key_schema": ""}"#;
    let broken = (0..request.len(), 0..request.len(), prop::collection::vec(any::<u8>(), 0..4)).prop_map(
        move |(from, to, piece)| {
            let (head, tail) = (&request[..from.min(to)], &request[from.max(to)..]);
            [head, &piece, tail].concat()
        },
    );
    let spliced = "[\\[\\]{}\":,0-9a-z \\\\-]{0,40}"
        .prop_map(|piece| format!(r#"{{"records":[{{"value":{piece}}}]}}"#).into_bytes());
    prop_oneof![prop::collection::vec(any::<u8>(), 0..200), broken, spliced]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn an_arbitrary_body_gets_a_json_answer(body in body(), binary in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (status, answer) = runtime.block_on(async {
            let source = source(json!({}));
            let log = Log::default();
            let host = tokio::spawn(serve(Arc::clone(&source), log.clone(), BUDGET));
            let request = Request::post("/topics/id.pin")
                .header("content-type", if binary { BINARY } else { JSON })
                .body(Body::from(body))
                .unwrap();
            let response = source.endpoint(Arc::new(Topics)).answer(request).await;
            host.abort();
            let status = response.status().as_u16();
            let answer = to_bytes(response.into_body(), 1 << 20).await.unwrap();
            if status == 200 && !binary {
                for record in log.written() {
                    if let Some(value) = &record.value {
                        serde_json::from_slice::<serde::de::IgnoredAny>(value).expect("written values are JSON");
                    }
                }
            }
            (status, answer)
        });
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        match status {
            200 => prop_assert!(answer["offsets"].is_array()),
            404 | 422 => prop_assert!(answer["error_code"].is_i64() && answer["message"].is_string()),
            other => prop_assert!(false, "status {}", other),
        }
    }
}
