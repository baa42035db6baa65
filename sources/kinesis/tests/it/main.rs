//! The source on a real Kinesis interface (kinesalite; moto where named): `tests/services` starts both.

mod conformance;
#[path = "../../../../tests/support/kinesis_faults.rs"]
mod kinesis_faults;
mod reader;
mod reading;
mod resharding;
mod stream;
mod trouble;
