//! The pipeline's emulator.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::{KAFKA_JSON, post, python_json};
use crate::{LONG, TABLES};

/// Sets a flag at the end of a scope, however it ends.
pub struct EndOnDrop<'a>(pub &'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// The pipeline's emulator: one post for each table and step, again until it is answered with 200.
#[derive(Default)]
pub struct Client {
    pub address: String,
    pub id: String,
    /// Table, step and offset of each answered post.
    pub answers: Mutex<Vec<(usize, usize, i64)>>,
    /// Posts that were sent once more because nobody said what became of them.
    pub repeated: AtomicUsize,
    pub give_up: AtomicBool,
}

impl Client {
    pub fn answered(&self) -> usize {
        self.answers.lock().unwrap().len()
    }

    pub fn run(&self, posted: &[Vec<Value>; 3]) {
        for step in 0..posted[0].len() {
            for (table, name) in TABLES.into_iter().enumerate() {
                // With and without a stage prefix and a trailing slash, as such clients have them.
                let (stage, slash) = (["", "/prod"][step % 2], ["", "/"][step / 2 % 2]);
                let path = format!("{stage}/topics/{}.{name}{slash}", self.id);
                let body = format!(r#"{{"records": [{{"value": {}}}]}}"#, python_json(&posted[table][step]));
                if let Some(offset) = self.post(&path, &body) {
                    self.answers.lock().unwrap().push((table, step, offset));
                }
            }
        }
    }

    fn post(&self, path: &str, body: &str) -> Option<i64> {
        let end = Instant::now() + LONG;
        while !self.give_up.load(Ordering::Relaxed) {
            match post(&self.address, path, KAFKA_JSON, body.as_bytes()) {
                Ok(answer) if answer.status == 200 => {
                    let answer = answer.json();
                    let offset =
                        answer["offsets"][0]["offset"].as_i64().unwrap_or_else(|| panic!("{answer}"));
                    let sent = json!({"partition": 0, "offset": offset, "error_code": null, "error": null});
                    assert_eq!(
                        answer,
                        json!({"offsets": [sent], "key_schema_id": null, "value_schema_id": null})
                    );
                    return Some(offset);
                }
                // Nothing was sent.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                Ok(answer) if answer.status == 503 => {}
                // It may have been written: such a client sends it again.
                Err(_) => drop(self.repeated.fetch_add(1, Ordering::Relaxed)),
                Ok(answer) if matches!(answer.status, 500 | 504) => {
                    self.repeated.fetch_add(1, Ordering::Relaxed);
                }
                Ok(answer) => panic!("{path}: {answer:?}"),
            }
            assert!(Instant::now() < end, "{path} was not answered within {LONG:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}
