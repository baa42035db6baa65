//! Traces: what a collector gets of a pipeline that works.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::support::http_faults::{Message, Reply, listen};
use crate::support::wait_until;
use crate::{SOON, Working};

/// An attribute as text.
fn attribute(span: &Span, key: &str) -> Option<String> {
    let value = span.attributes.iter().find(|a| a.key == key)?.value.as_ref()?.value.as_ref()?;
    match value {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

#[test]
fn the_steps_of_a_batch_are_spans_under_it_with_connector_and_place() {
    let received: Arc<Mutex<Vec<ExportTraceServiceRequest>>> = Arc::default();
    let taken = received.clone();
    let url = listen("http://127.0.0.1:1", move |request, _| {
        assert!(request.first.starts_with("POST /v1/traces"), "{}", request.first);
        taken.lock().unwrap().push(ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap());
        Ok(Reply::Whole(Message::answer("200 OK", "application/x-protobuf", Vec::new())))
    });
    let Working { mut worker, source, sink, .. } =
        Working::start_with("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]);
    worker.stop(SOON);
    let spans: Vec<Span> = wait_until(SOON, "spans of all steps", || {
        let received = received.lock().unwrap();
        let of = |request: &ExportTraceServiceRequest| {
            let scopes = request.resource_spans.iter().flat_map(|r| r.scope_spans.clone());
            scopes.flat_map(|scope| scope.spans).collect::<Vec<_>>()
        };
        let spans: Vec<Span> = received.iter().flat_map(of).collect();
        let there = |name: &str| spans.iter().any(|span| span.name == name);
        ["poll", "batch", "convert", "write", "flush", "publish", "commit"]
            .into_iter()
            .all(there)
            .then_some(spans)
    });
    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (span.span_id.as_slice(), span)).collect();
    let parent = |span: &Span| by_id.get(span.parent_span_id.as_slice()).copied();
    let is_of = |span: &Span, connector: &str| attribute(span, "connector").as_deref() == Some(connector);

    let batches: Vec<_> = spans.iter().filter(|span| span.name == "batch" && is_of(span, &sink)).collect();
    let records: u64 = batches.iter().map(|b| attribute(b, "records").unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(records, 201, "every record is in one batch");
    for batch in &batches {
        assert_eq!(attribute(batch, "topic").as_deref(), Some(sink.as_str()));
        assert!(attribute(batch, "partition").is_some() && attribute(batch, "last_offset").is_some());
        assert!(batch.end_time_unix_nano > batch.start_time_unix_nano);
    }
    for step in ["convert", "write"] {
        let below = spans
            .iter()
            .filter(|s| s.name == step)
            .filter_map(parent)
            .any(|p| p.name == "batch" && is_of(p, &sink));
        assert!(below, "no {step} below a batch of the sink");
    }
    let commit = spans
        .iter()
        .filter(|s| s.name == "commit")
        .filter_map(parent)
        .any(|p| p.name == "publish" && is_of(p, &sink));
    assert!(commit, "no commit below a cycle of the sink");
    assert!(spans.iter().any(|span| span.name == "poll" && is_of(span, &source)));
    assert!(spans.iter().any(|span| span.name == "batch" && is_of(span, &source)));
    let resource = received.lock().unwrap()[0].resource_spans[0].resource.clone().unwrap();
    let named = resource.attributes.iter().any(|a| a.key == "service.name");
    assert!(named, "{resource:?}");
    // The log is as it is without.
    assert!(!worker.log().contains("\"spans\""), "{}", worker.log());
    println!("{} spans of {} records", spans.len(), records);
}
