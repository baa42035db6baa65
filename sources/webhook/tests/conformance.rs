//! The conformance suite of sources.

mod host;

use connector_core::testing::{self, SourceCase};
use host::JSON;

#[tokio::test]
async fn conforms() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = free.to_string();
    let config = testing::config(&[("webhook.listen", &listen), ("webhook.topics", "id.*")]);
    let case = SourceCase::new(source_webhook::component(), config, 8)
        .topic("id.pin", 1)
        .topic("id.geo", 2)
        .feed(move || async move {
            // Five records at once are more than the suite polls at once.
            let five =
                r#"{"records":[{"value":1},{"value":2},{"key":"k","value":3},{"value":null},{"value":"5"}]}"#;
            let one = r#"{"records":[{"value":{"ind": 6}}]}"#;
            for (path, body) in [
                ("/topics/id.pin", five),
                ("/prod/topics/id.geo/", one),
                ("/topics/id.geo/partitions/1", one),
                ("/topics/id.pin/", one),
            ] {
                let answer = host::post(free, path, JSON, body).await;
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        });
    testing::source::run_both(&case).await;
}
