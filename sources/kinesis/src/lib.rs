//! `kinesis-source`: records of a Kinesis stream.
