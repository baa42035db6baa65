//! Requests by route and status.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;
use connector_core::Metric;

#[derive(Debug, Default)]
pub struct Counts(Mutex<BTreeMap<(&'static str, u16), u64>>);

impl Counts {
    pub fn add(&self, route: &'static str, status: StatusCode) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((route, status.as_u16())).or_default() += 1;
    }

    pub fn metrics(&self) -> Vec<Metric> {
        let metric = |(&(route, status), &count): (&(&'static str, u16), &u64)| {
            let help = "Requests that were answered.";
            Metric::counter("sidestream_webhook_requests_total", help, count as f64)
                .label("route", route)
                .label("status", status.to_string())
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(metric).collect()
    }
}
