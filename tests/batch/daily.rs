//! What the job leaves in the tables, day after day.

use serde_json::Value;

use crate::cleaned::check_cleaned;
use crate::support::services;
use crate::{Job, TABLES, gzip, rows};

/// The same row sent again, and changed meanwhile.
fn again(row: &Value) -> Value {
    let mut row = row.clone();
    for key in ["title", "country", "first_name"] {
        if row.get(key).is_some() {
            row[key] = "sent again".into();
        }
    }
    row
}

fn key(table: &str) -> &'static str {
    if table == "pin" { "index" } else { "ind" }
}

#[test]
fn three_tables_have_each_key_once_the_first_row_stays_and_the_next_day_adds_what_is_new() {
    let job = Job::new(services().moto);
    let days = rows(400, 11);
    for (table, rows) in TABLES.iter().zip(&days) {
        // As `flush.size: 1` leaves them, with what a restarted client sends twice, and a compressed object.
        job.put(table, 0, &rows[..60], 1);
        let repeated: Vec<_> = rows[..30].iter().map(again).chain(rows[60..200].iter().cloned()).collect();
        job.put(table, 60, &repeated, 50);
        let lines: String = rows[200..300].iter().map(|row| format!("{row}\n")).collect();
        job.put_object(table, "0000000230.json.gz", &gzip(lines.as_bytes()));
    }
    // Wrong rows happen: pins were posted to the topic of users.
    let pins: Vec<_> = days[0][300..304].to_vec();
    job.put("user", 330, &pins, 4);

    let connectors: String =
        TABLES.map(|table| job.connector(table, "    errors.tolerance: all", "")).concat();
    let first = job.run(&connectors, &[]);
    assert_eq!(first.code(), 0, "{}", first.text());
    for (table, rows) in TABLES.iter().zip(&days) {
        let summary = first.summary(&format!("{table}s"));
        let read = 60 + 30 + 140 + 100 + if *table == "user" { 4 } else { 0 };
        assert_eq!(
            (&summary["read"], &summary["rejected"]),
            (&read.into(), &(read - 330).into()),
            "{summary}"
        );
        check(&job, table, &rows[..300]);
    }

    let versions = TABLES.map(|table| job.read(table).version);
    let second = job.run(&connectors, &[]);
    assert_eq!(second.code(), 0, "{}", second.text());
    assert_eq!(second.summary("pins")["read"], 0);
    assert_eq!(TABLES.map(|table| job.read(table).version), versions, "a second run adds nothing");

    for (table, rows) in TABLES.iter().zip(&days) {
        let next: Vec<_> = rows[..300].iter().map(again).chain(rows[300..].iter().cloned()).collect();
        job.put(table, 400, &next, 100);
    }
    let third = job.run(&connectors, &[]);
    assert_eq!(third.code(), 0, "{}", third.text());
    for (table, rows) in TABLES.iter().zip(&days) {
        assert_eq!(third.summary(&format!("{table}s"))["read"], 400);
        check(&job, table, rows);
    }
}

/// The table has the cleaned form of exactly these rows.
fn check(job: &Job, table: &str, rows: &[Value]) {
    let seen = job.read(table);
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by_key(|row| row[key(table)].as_u64());
    assert_eq!(seen.keys(), rows.iter().map(|row| row[key(table)].as_u64().unwrap()).collect::<Vec<_>>());
    for (raw, cleaned) in rows.iter().zip(&seen.rows) {
        check_cleaned(table, raw, cleaned);
    }
}

#[test]
fn tasks_share_the_objects_of_a_day() {
    let job = Job::new(services().s3);
    let [pins, ..] = rows(300, 12);
    job.put("pin", 0, &pins, 10);
    let run = job.run(&job.connector("pin", "    tasks.max: 3", ""), &[]);
    assert_eq!(run.code(), 0, "{}", run.text());
    check(&job, "pin", &pins);
    // Another number of tasks knows what is finished.
    let run = job.run(&job.connector("pin", "    tasks.max: 2", ""), &[]);
    assert_eq!((run.code(), &run.summary("pins")["read"]), (0, &0.into()), "{}", run.text());
}
