//! Delta tables that the sink wrote, read by programs that are not ours: Python's `deltalake`, Polars, DuckDB and Spark.

mod append;
mod dedup;
mod lake;
mod maintenance;
mod readers;
mod s3;
mod spark;
#[path = "../support/mod.rs"]
mod support;
mod upsert;

use serde_json::Value;

/// Rows in the order of their texts: a table has no order.
fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_cached_key(Value::to_string);
    rows
}
