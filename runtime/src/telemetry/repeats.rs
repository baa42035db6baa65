//! Lines that repeat: after the first few the rest of a minute's are only counted.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// Lines of one kind that pass in a window.
const PASS: u64 = 5;
pub const WINDOW: Duration = Duration::from_secs(60);
/// Kinds that are remembered; beyond them nothing is left out.
const KINDS: usize = 4096;

/// The same place in the code, connector, task and text are one kind.
#[derive(Default)]
pub struct Repeats(Mutex<HashMap<u64, Kind>>);

struct Kind {
    began: Instant,
    count: u64,
    connector: Option<String>,
    message: String,
}

/// What was not written.
pub struct LeftOut {
    pub connector: Option<String>,
    pub message: String,
    pub count: u64,
}

impl Repeats {
    /// Whether the line is to be written. Who asks for details gets all of them.
    pub fn may_pass(&self, event: &Event<'_>) -> bool {
        if *event.metadata().level() > Level::INFO {
            return true;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let mut hasher = DefaultHasher::new();
        (event.metadata().callsite(), &line.connector, &line.task, &line.message).hash(&mut hasher);
        self.passes(hasher.finish(), line, Instant::now())
    }

    fn passes(&self, kind: u64, line: Line, now: Instant) -> bool {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kinds.get_mut(&kind) {
            known.count += 1;
            return known.count <= PASS;
        }
        if kinds.len() < KINDS {
            kinds.insert(
                kind,
                Kind { began: now, count: 1, connector: line.connector, message: line.message },
            );
        }
        true
    }

    /// Ends the windows that are over; gives what was left out in them.
    pub fn take(&self) -> Vec<LeftOut> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Vec<LeftOut> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = kinds.extract_if(|_, kind| now.saturating_duration_since(kind.began) >= WINDOW);
        let left_out = over.filter(|(_, kind)| kind.count > PASS).map(|(_, kind)| LeftOut {
            connector: kind.connector,
            message: kind.message,
            count: kind.count - PASS,
        });
        left_out.collect()
    }
}

#[derive(Default)]
struct Line {
    connector: Option<String>,
    task: Option<String>,
    message: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "connector" => self.connector = Some(format!("{value:?}").trim_matches('"').to_owned()),
            "task" => self.task = Some(format!("{value:?}")),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            "connector" => self.connector = Some(value.to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_of_a_kind_pass_and_the_rest_of_the_minute_is_counted() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        let line = || Line { connector: Some("a".to_owned()), task: None, message: "again".to_owned() };
        let passed = (0..12).filter(|_| repeats.passes(1, line(), start)).count();
        assert_eq!(passed as u64, PASS);
        assert!(repeats.passes(2, line(), start), "another kind");
        assert!(repeats.take_at(start + WINDOW / 2).is_empty(), "the minute is not over");
        let left_out = repeats.take_at(start + WINDOW);
        assert_eq!(left_out.len(), 1);
        assert_eq!((left_out[0].count, left_out[0].message.as_str()), (7, "again"));
        assert!(repeats.passes(1, line(), start + WINDOW), "a new minute");
    }
}
