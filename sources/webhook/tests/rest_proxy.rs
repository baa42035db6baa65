//! Requests and answers, word by word, over a real connection.

mod host;

use connector_core::Form;
use host::{BINARY, Client, JSON, header, post, run};
use serde_json::json;

const PIN: &str = r#"{"records": [{"value": {"index": 41, "unique_id": "00000000-0000-4000-8000-000000000041", "title": "Ten ways to fold a map \u2013 and one that works", "description": "Folding\u2026\u00a0", "poster_name": "Ada, the \"mapper\"", "follower_count": "12k", "tag_list": "Maps,Paper \ud83d\uddfa", "is_image_or_video": "image", "image_src": "https://img.example/41.jpg", "downloaded": 1, "save_location": "Local save in /data/travel", "category": "travel"}}]}"#;
const PIN_VALUE: &str = r#"{"index":41,"unique_id":"00000000-0000-4000-8000-000000000041","title":"Ten ways to fold a map \u2013 and one that works","description":"Folding\u2026\u00a0","poster_name":"Ada, the \"mapper\"","follower_count":"12k","tag_list":"Maps,Paper \ud83d\uddfa","is_image_or_video":"image","image_src":"https://img.example/41.jpg","downloaded":1,"save_location":"Local save in /data/travel","category":"travel"}"#;
const GEO: &str = r#"{"records": [{"value": {"ind": 41, "timestamp": "2019-02-03T04:05:06", "latitude": -12.3400, "longitude": 1.5e2, "country": "Cote d'Ivoire"}}]}"#;
const GEO_VALUE: &str = r#"{"ind":41,"timestamp":"2019-02-03T04:05:06","latitude":-12.3400,"longitude":1.5e2,"country":"Cote d'Ivoire"}"#;
const USER: &str = r#"{"records": [{"value": {"ind": 41, "first_name": "Ada", "last_name": "Map", "age": 36, "date_joined": "2016-07-08 09:10:11"}}]}"#;
const USER_VALUE: &str =
    r#"{"ind":41,"first_name":"Ada","last_name":"Map","age":36,"date_joined":"2016-07-08 09:10:11"}"#;

#[tokio::test]
async fn the_emulators_posts_are_written_compact_and_answered_word_by_word() {
    let host = run(json!({})).await;
    let mut client = Client::connect(host.address).await;
    for (path, body) in [
        ("/prod/topics/id.pin/", PIN),
        ("/topics/id.geo", GEO),
        ("/topics/id.user/", USER),
        ("/topics/id.geo/", GEO),
    ] {
        let answer = client.post(path, JSON, body.as_bytes()).await;
        let offset = i64::from(host.log.written().len() == 4);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(header(&answer.head, "content-type"), Some("application/vnd.kafka.v2+json"));
        let expected = format!(
            r#"{{"offsets":[{{"partition":0,"offset":{offset},"error_code":null,"error":null}}],"key_schema_id":null,"value_schema_id":null}}"#
        );
        assert_eq!(answer.body, expected);
    }
    let written = host.log.written();
    let texts: Vec<_> = written.iter().map(|w| (w.topic.as_str(), w.text())).collect();
    let (geo, pin, user) = (("id.geo", GEO_VALUE), ("id.pin", PIN_VALUE), ("id.user", USER_VALUE));
    assert_eq!(texts, [pin, geo, user, geo]);
    assert!(written.iter().all(|w| w.form == Form::Document && w.key.is_none()));
}

#[tokio::test]
async fn bodies_that_are_wrong_in_the_wild_have_a_clear_answer() {
    let host = run(json!({})).await;
    let refused = [
        (r#"{"ind": 41, "country": "hunter2"}"#, 422, "Unrecognized field: ind"),
        (r#"{"index": {"index": 41, "title": "hunter2"}}"#, 422, "Unrecognized field: index"),
        (
            r#"{"StreamName": "s", "Data": {"ind": 41}, "PartitionKey": "p"}"#,
            422,
            "Unrecognized field: StreamName",
        ),
        (r#"{"records": [{"value": {"ind": 41, "country": "hunter2}}]}"#, 42203, "records[0]"),
        (r#"{"records": [{"value": {'ind': 41}}]}"#, 42203, "at byte 24"),
        ("{}", 422, "records"),
        ("", 422, "Data is required"),
    ];
    for (body, code, message) in refused {
        let (status, error_code, text) = post(host.address, "/topics/id.geo", JSON, body).await.error();
        assert_eq!((status, error_code), (422, code), "{body}: {text}");
        assert!(text.contains(message) && !text.contains("hunter2"), "{body}: {text}");
    }
    assert_eq!(host.log.written(), []);

    // A row that was encoded twice is a JSON string, and stays one; a pin in the user topic is a record like others.
    let string = r#"{"records": [{"value": "{\"ind\": 41}"}]}"#;
    assert_eq!(post(host.address, "/topics/id.geo", JSON, string).await.status, 200);
    assert_eq!(post(host.address, "/topics/id.user", JSON, PIN).await.status, 200);
    let written = host.log.written();
    assert_eq!(written[0].text(), r#""{\"ind\": 41}""#);
    assert_eq!((written[1].topic.as_str(), written[1].text()), ("id.user", PIN_VALUE));
}

#[tokio::test]
async fn keys_partitions_and_tombstones_reach_their_places() {
    let host = run(json!({})).await;
    let body = r#"{"records":[{"key":"a","value":1},{"key":{"id": 2},"value":null,"partition":2},{"key":"b"},
        {"value":[3],"partition":2}]}"#;
    let answer = post(host.address, "/topics/wide/partitions/1/", JSON, body).await;
    let at = |record: &serde_json::Value| {
        (record["partition"].as_i64().unwrap(), record["offset"].as_i64().unwrap())
    };
    let offsets: Vec<_> = answer.json()["offsets"].as_array().unwrap().iter().map(at).collect();
    assert_eq!(offsets, [(1, 0), (2, 0), (1, 1), (2, 1)]);
    let written: Vec<_> = host.log.written().into_iter().map(|w| (w.partition, w.key, w.value)).collect();
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(
        written,
        [
            (1, bytes(r#""a""#), bytes("1")),
            (1, bytes(r#""b""#), None),
            (2, bytes(r#"{"id":2}"#), None),
            (2, None, bytes("[3]")),
        ]
    );
}

#[tokio::test]
async fn base64_records_are_written_as_bytes() {
    let host = run(json!({})).await;
    let body = r#"{"records":[{"key":"AP8=","value":"aGVsbG8="}]}"#;
    let content_type = format!("{BINARY}; charset=utf-8");
    assert_eq!(post(host.address, "/topics/id.pin", &content_type, body).await.status, 200);
    let written = host.log.written();
    assert_eq!((written[0].form, written[0].key.as_deref()), (Form::Bytes, Some(&[0, 255][..])));
    assert_eq!(written[0].text(), "hello");

    let body = r#"{"records":[{"value":"aGVsbG8="},{"value":"hunter2?"}]}"#;
    let (status, code, text) = post(host.address, "/topics/id.pin", BINARY, body).await.error();
    assert_eq!((status, code), (422, 422));
    assert!(text.contains("records[1]") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_wrong_content_type_is_415_and_one_of_a_registry_says_so() {
    let host = run(json!({})).await;
    for content_type in ["application/json", "text/plain", "application/vnd.kafka.json.v1+json"] {
        let answer = post(host.address, "/topics/id.pin", content_type, PIN).await;
        assert_eq!(answer.status, 415);
        assert_eq!(answer.body, r#"{"error_code":415,"message":"HTTP 415 Unsupported Media Type"}"#);
        assert_eq!(header(&answer.head, "content-type"), Some("application/vnd.kafka.v2+json"));
    }
    let avro = post(host.address, "/topics/id.pin", "application/vnd.kafka.avro.v2+json", PIN).await.error();
    assert_eq!((avro.0, avro.1), (415, 415));
    assert!(avro.2.contains("schema registry"), "{avro:?}");
    assert_eq!(host.log.written(), []);
}

#[tokio::test]
async fn topics_that_are_closed_or_missing_are_refused() {
    let host = run(json!({})).await;
    let cases = [
        ("/topics/private", 403, 40301, "private"),
        ("/topics/unknown", 403, 40301, "unknown"),
        ("/topics/missing", 404, 40401, "Topic not found: missing"),
        ("/topics/wide/partitions/3", 404, 40402, "wide has 3 partitions"),
        ("/topics/wide/partitions/-1", 404, 40402, "wide has 3 partitions"),
        ("/topics/wide/partitions/x", 404, 404, "HTTP 404 Not Found"),
        ("/nothing/here", 404, 404, "HTTP 404 Not Found"),
        ("/topics", 405, 405, "HTTP 405 Method Not Allowed"),
    ];
    for (path, status, code, message) in cases {
        let error = post(host.address, path, JSON, GEO).await.error();
        assert_eq!((error.0, error.1), (status, code), "{path}: {error:?}");
        assert!(error.2.contains(message), "{path}: {error:?}");
    }
    let body = r#"{"records":[{"value":1},{"value":2,"partition":9}]}"#;
    let error = post(host.address, "/topics/wide", JSON, body).await.error();
    assert_eq!((error.0, error.1), (404, 40402));
    assert_eq!(host.log.written(), [], "a refused request writes none of its records");
}

#[tokio::test]
async fn topics_are_listed_and_accept_is_honoured() {
    let host = run(json!({})).await;
    let mut client = Client::connect(host.address).await;
    for path in ["/topics", "/prod/topics/"] {
        let answer =
            client.call(&format!("GET {path} HTTP/1.1\r\nAccept: application/vnd.kafka.v2+json"), b"").await;
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!(["id.geo", "id.pin", "id.user", "private", "wide"]))
        );
    }
    let head = format!("POST /topics/id.geo HTTP/1.1\r\nContent-Type: {JSON}\r\nAccept: text/html");
    assert_eq!(
        client.call(&head, GEO.as_bytes()).await.error(),
        (406, 406, "HTTP 406 Not Acceptable".to_owned())
    );
    let answer = client.call("DELETE /topics/id.geo HTTP/1.1", b"").await;
    assert_eq!((answer.status, header(&answer.head, "allow")), (405, Some("POST")));
}

#[tokio::test]
async fn eleven_megabytes_are_413_for_a_client_that_sends_all_before_it_reads() {
    let host = run(json!({})).await;
    let body = format!(r#"{{"records":[{{"value":"{}"}}]}}"#, "x".repeat(11_000_000));
    let (status, code, text) = post(host.address, "/topics/id.pin", JSON, &body).await.error();
    assert_eq!((status, code), (413, 413));
    assert!(text.contains("10485760"), "{text}");

    let mut client = Client::connect(host.address).await;
    let head = format!(
        "POST /topics/id.pin HTTP/1.1\r\nHost: l\r\nContent-Type: {JSON}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        body.len()
    );
    client.write(head.as_bytes()).await;
    client.write(body.as_bytes()).await;
    client.write(b"\r\n0\r\n\r\n").await;
    assert_eq!(client.receive().await.status, 413);

    let fits = format!(r#"{{"records":[{{"value":"{}"}}]}}"#, "x".repeat(9_000_000));
    assert_eq!(post(host.address, "/topics/id.pin", JSON, &fits).await.status, 200);
}
