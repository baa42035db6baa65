//! What the process tells of itself: its log, and metrics for CloudWatch. `/metrics` is in `http`.

pub mod emf;
pub mod log;
mod repeats;
pub mod traces;
