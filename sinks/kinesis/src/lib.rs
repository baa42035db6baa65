//! `kinesis-sink`: records into a Kinesis stream.
