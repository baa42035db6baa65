//! What a request asks for: its path, content type and accepted answers.

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode};

use crate::records::Format;
use crate::refusal::Refusal;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Call {
    ListTopics,
    Produce { topic: String, partition: Option<i32> },
    ListStreams,
    Stream { name: String, action: Action },
}

/// What is to be done with a stream: Kinesis' action of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Describe,
    Create,
    Delete,
    PutRecord,
    PutRecords,
}

impl Call {
    /// Reads method and path. Empty segments and anything before `topics` or `streams` (a gateway's stage) are passed
    /// over.
    pub fn of(method: &Method, path: &str) -> Result<Self, Refusal> {
        let not_found = || Refusal::http(StatusCode::NOT_FOUND, "");
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        // The longest forms come first: the last words of a path say what it is, and any of them may be a name.
        match segments.as_slice() {
            [.., "topics", topic, "partitions", partition] => {
                let partition = Some(partition.parse().map_err(|_| not_found())?);
                only(method, &Method::POST, Self::Produce { topic: decoded(topic), partition })
            }
            [.., "streams", name, verb @ ("record" | "records")] => {
                let action = if *verb == "record" { Action::PutRecord } else { Action::PutRecords };
                only(method, &Method::PUT, Self::Stream { name: decoded(name), action })
                    .map_err(Refusal::in_kinesis_words)
            }
            [.., "topics", topic] => {
                only(method, &Method::POST, Self::Produce { topic: decoded(topic), partition: None })
            }
            [.., "streams", name] => {
                let action = match *method {
                    Method::GET => Action::Describe,
                    Method::POST => Action::Create,
                    Method::DELETE => Action::Delete,
                    _ => return Err(Refusal::method("GET, POST, DELETE").in_kinesis_words()),
                };
                Ok(Self::Stream { name: decoded(name), action })
            }
            [.., "topics"] => only(method, &Method::GET, Self::ListTopics),
            [.., "streams"] => {
                only(method, &Method::GET, Self::ListStreams).map_err(Refusal::in_kinesis_words)
            }
            _ => Err(not_found()),
        }
    }

    /// Method and path with placeholders, as the metrics show it.
    pub fn route(&self) -> &'static str {
        match self {
            Self::ListTopics => "GET /topics",
            Self::Produce { partition: None, .. } => "POST /topics/{topic}",
            Self::Produce { partition: Some(_), .. } => "POST /topics/{topic}/partitions/{partition}",
            Self::ListStreams => "GET /streams",
            Self::Stream { action, .. } => match action {
                Action::Describe => "GET /streams/{name}",
                Action::Create => "POST /streams/{name}",
                Action::Delete => "DELETE /streams/{name}",
                Action::PutRecord => "PUT /streams/{name}/record",
                Action::PutRecords => "PUT /streams/{name}/records",
            },
        }
    }
}

fn only(method: &Method, allowed: &'static Method, call: Call) -> Result<Call, Refusal> {
    if method == allowed { Ok(call) } else { Err(Refusal::method(allowed.as_str())) }
}

/// The segment without percent encoding. What is not UTF-8 after it names no topic, and stays as it is.
fn decoded(segment: &str) -> String {
    if !segment.contains('%') {
        return segment.to_owned();
    }
    let hex = |digit: Option<&u8>| digit.and_then(|&d| char::from(d).to_digit(16));
    let (source, mut bytes, mut at) = (segment.as_bytes(), Vec::new(), 0);
    while let Some(&byte) = source.get(at) {
        match (byte, hex(source.get(at + 1)), hex(source.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| segment.to_owned())
}

const JSON: &str = "application/vnd.kafka.json.v2+json";
const BINARY: &str = "application/vnd.kafka.binary.v2+json";
/// Formats whose schemas live in a registry.
const REGISTRY: [&str; 3] = [
    "application/vnd.kafka.avro.v2+json",
    "application/vnd.kafka.protobuf.v2+json",
    "application/vnd.kafka.jsonschema.v2+json",
];

/// The embedded format that the content type names; its parameters (`charset`) do not matter.
pub fn format(headers: &HeaderMap) -> Result<Format, Refusal> {
    let named = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = named.split(';').next().unwrap_or_default().trim();
    let is = |name: &&str| media_type.eq_ignore_ascii_case(name);
    if is(&JSON) {
        Ok(Format::Json)
    } else if is(&BINARY) {
        Ok(Format::Binary)
    } else if REGISTRY.iter().any(is) {
        let why = format!("formats of a schema registry are not supported; send {JSON} or {BINARY}");
        Err(Refusal::http(StatusCode::UNSUPPORTED_MEDIA_TYPE, &why))
    } else {
        Err(Refusal::http(StatusCode::UNSUPPORTED_MEDIA_TYPE, ""))
    }
}

/// Checks that the body of a stream's route is JSON. No type at all is JSON, as it is for API Gateway.
pub fn json(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(named) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let media_type = named.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match media_type.to_ascii_lowercase().as_str() {
        "application/json" | "application/x-amz-json-1.1" => Ok(()),
        _ => {
            let message = "Unsupported Media Type: send application/json";
            Err(Refusal::kinesis(StatusCode::UNSUPPORTED_MEDIA_TYPE, "", message))
        }
    }
}

/// Checks that the client takes one of the types that REST Proxy v2 answers with. No `Accept` takes all.
pub fn accepts(headers: &HeaderMap) -> Result<(), Refusal> {
    const ANSWERS: [&str; 5] = [
        "*/*",
        "application/*",
        "application/vnd.kafka.v2+json",
        "application/vnd.kafka+json",
        "application/json",
    ];
    let mut ranges =
        headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let takes = |range: &str| {
        let (media_type, parameters) = range.split_once(';').unwrap_or((range, ""));
        let refused = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            name.trim().eq_ignore_ascii_case("q") && value.trim().parse() == Ok(0.0)
        });
        !refused && ANSWERS.iter().any(|answer| media_type.trim().eq_ignore_ascii_case(answer))
    };
    if !headers.contains_key(ACCEPT) || ranges.any(takes) {
        return Ok(());
    }
    Err(Refusal::http(StatusCode::NOT_ACCEPTABLE, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn produce(topic: &str, partition: Option<i32>) -> Result<Call, Refusal> {
        Ok(Call::Produce { topic: topic.to_owned(), partition })
    }

    #[test]
    fn a_path_may_have_a_stage_before_it_and_a_slash_after_it() {
        for path in ["/topics/a.pin", "/topics/a.pin/", "/prod/topics/a.pin/", "/x/y//topics/a%2Epin"] {
            assert_eq!(Call::of(&Method::POST, path), produce("a.pin", None), "{path}");
        }
        for path in ["/topics/a.pin/partitions/3", "/prod/topics/a.pin/partitions/3/"] {
            assert_eq!(Call::of(&Method::POST, path), produce("a.pin", Some(3)), "{path}");
        }
        assert_eq!(Call::of(&Method::POST, "/topics/topics"), produce("topics", None));
        assert_eq!(Call::of(&Method::GET, "/prod/topics/"), Ok(Call::ListTopics));
    }

    #[test]
    fn other_paths_are_404_and_other_methods_405() {
        for path in ["/", "/topic/a", "/topics/a/partitions/x", "/topics/a/b", "/streams/a/b"] {
            let refusal = Call::of(&Method::POST, path).unwrap_err();
            assert_eq!((refusal.status.as_u16(), refusal.code), (404, 404), "{path}");
        }
        for (method, path) in
            [(Method::GET, "/topics/a"), (Method::POST, "/topics"), (Method::PUT, "/topics/a")]
        {
            assert_eq!(Call::of(&method, path).unwrap_err().code, 405, "{method} {path}");
        }
    }

    #[test]
    fn the_six_routes_of_streams_may_have_a_stage_and_a_slash_too() {
        let stream = |name: &str, action| Ok(Call::Stream { name: name.to_owned(), action });
        for (stage, slash) in [("", ""), ("/prod", "/"), ("/v1/x", "//")] {
            let of = |method, path: &str| Call::of(&method, &format!("{stage}{path}{slash}"));
            assert_eq!(of(Method::GET, "/streams"), Ok(Call::ListStreams));
            assert_eq!(of(Method::GET, "/streams/s-1"), stream("s-1", Action::Describe));
            assert_eq!(of(Method::POST, "/streams/s-1"), stream("s-1", Action::Create));
            assert_eq!(of(Method::DELETE, "/streams/s-1"), stream("s-1", Action::Delete));
            assert_eq!(of(Method::PUT, "/streams/s%2D1/record"), stream("s-1", Action::PutRecord));
            assert_eq!(of(Method::PUT, "/streams/s-1/records"), stream("s-1", Action::PutRecords));
        }
        for (method, path) in
            [(Method::POST, "/streams"), (Method::PUT, "/streams/s"), (Method::POST, "/streams/s/record")]
        {
            let refusal = Call::of(&method, path).unwrap_err();
            assert_eq!((refusal.status.as_u16(), refusal.exception.as_deref()), (405, Some("")), "{path}");
        }
    }

    #[test]
    fn topics_and_streams_may_have_each_others_names() {
        assert_eq!(Call::of(&Method::POST, "/topics/streams"), produce("streams", None));
        assert_eq!(Call::of(&Method::POST, "/topics/streams/partitions/0"), produce("streams", Some(0)));
        let stream = |action| Ok(Call::Stream { name: "topics".to_owned(), action });
        assert_eq!(Call::of(&Method::GET, "/streams/topics"), stream(Action::Describe));
        assert_eq!(Call::of(&Method::PUT, "/streams/topics/record"), stream(Action::PutRecord));
    }

    fn headers(name: axum::http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_content_type_is_one_of_two_and_may_have_parameters() {
        let of = |value: &str| format(&headers(CONTENT_TYPE, value));
        assert_eq!(of("application/vnd.kafka.json.v2+json"), Ok(Format::Json));
        assert_eq!(of("Application/vnd.Kafka.binary.v2+json; charset=utf-8"), Ok(Format::Binary));
        for other in ["application/json", "application/vnd.kafka.v2+json", "text/plain", ""] {
            assert_eq!(of(other).unwrap_err().message, "HTTP 415 Unsupported Media Type", "{other}");
        }
        assert_eq!(format(&HeaderMap::new()).unwrap_err().code, 415);
        let avro = of("application/vnd.kafka.avro.v2+json").unwrap_err();
        assert_eq!(avro.code, 415);
        assert!(avro.message.contains("schema registry"), "{avro:?}");
    }

    #[test]
    fn an_accept_header_must_take_one_of_the_answer_types() {
        let of = |value: &str| accepts(&headers(ACCEPT, value)).is_ok();
        for taken in
            ["*/*", "text/html, application/json;q=0.5", "application/vnd.kafka.v2+json", "application/*"]
        {
            assert!(of(taken), "{taken}");
        }
        for refused in ["text/html", "application/json; q=0.0", "application/vnd.kafka.json.v2+json", ""] {
            assert!(!of(refused), "{refused}");
        }
        assert!(accepts(&HeaderMap::new()).is_ok());
    }
}
