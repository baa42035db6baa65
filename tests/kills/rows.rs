//! Users: row `n` as it comes in, and as the cleaner leaves it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use source_datagen::User;

const SEED: u64 = 20;

pub fn raw(n: usize) -> Value {
    let User { ind, first_name, last_name, age, date_joined } = User::at(SEED, n as u64);
    let joined = joined(date_joined).format("%Y-%m-%d %H:%M:%S").to_string();
    json!({"ind": ind, "first_name": first_name, "last_name": last_name, "age": age, "date_joined": joined})
}

/// As readers of the table give it.
pub fn cleaned(n: usize) -> Value {
    let User { ind, first_name, last_name, age, date_joined } = User::at(SEED, n as u64);
    let joined = joined(date_joined).format("%Y-%m-%dT%H:%M:%S.000000+00:00").to_string();
    json!({"ind": ind, "user_name": format!("{first_name} {last_name}"), "age": age, "date_joined": joined})
}

fn joined(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}
