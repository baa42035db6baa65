//! What Kafka Connect, its S3 sink and the pipeline's cleaning were recorded to do, replayed here.
//!
//! `SIDESTREAM_GOLDEN` names the directory of the recordings (default: `tests/golden`, see its README), and
//! `SIDESTREAM_GOLDEN_REPORT` a file that gets one JSON line for each failing case.

mod cleaners;
mod converters;
mod dlq;
mod input;
mod json;
mod known;
#[path = "../plugins/libraries.rs"]
mod libraries;
mod recording;
mod s3;
mod smt;
#[path = "../support/mod.rs"]
mod support;
mod tally;
mod validate;

use recording::Recording;

#[test]
fn s3_sink() {
    Recording::found("s3_sink_golden.jsonl").iter().for_each(s3::replay);
}

#[test]
fn converters() {
    Recording::found("converter_golden.jsonl").iter().for_each(converters::replay);
}

#[test]
fn transforms() {
    Recording::found("smt_golden.jsonl").iter().for_each(smt::replay);
}

#[test]
fn dead_letters() {
    Recording::found("dlq_golden.jsonl").iter().for_each(dlq::replay);
}

#[test]
fn cleaners() {
    Recording::found("_pairs.jsonl").iter().for_each(cleaners::replay);
}

/// Recordings of what this version does not do at all are counted, so that nobody takes them for replayed.
#[test]
fn recordings_without_a_runner() {
    let replayed = ["s3_sink_golden.jsonl", "converter_golden.jsonl", "dlq_golden.jsonl", "smt_golden.jsonl"];
    for recording in Recording::found("_golden.jsonl") {
        if !replayed.contains(&recording.file.as_str()) {
            println!("golden: {}: not yet: {} cases", recording.file, recording.lines.len());
        }
    }
}
