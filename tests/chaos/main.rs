//! The program is killed, at each named step of its work and at random moments, while numbered records flow; afterwards
//! each number is looked for where it should have arrived. Also: workers that are taken over from,
//! workers that come and go, and services that fail for a while.
//!
//! The short form is part of `make test`; `make chaos N=1000` is the long one.

mod account;
mod faults;
mod killing;
#[path = "../plugins/libraries.rs"]
mod libraries;
mod long;
mod pipelines;
mod rebalance;
mod short;
#[allow(dead_code)]
#[path = "../../sinks/kinesis/tests/it/stream.rs"]
mod stream;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod takeover;
