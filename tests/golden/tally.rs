//! What became of each case: the table that is printed, and the report for programs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, Write};

use serde_json::{Value, json};

use super::known::Known;

/// The cases of one file and how they went.
pub struct Tally {
    file: String,
    known: Known,
    cases: Vec<Case>,
}

struct Case {
    id: String,
    class: String,
    outcome: Outcome,
}

enum Outcome {
    Passed,
    /// Passes although a line of the known differences is about it.
    Surprise,
    Failed(String),
    /// Differs, and that is known.
    Listed(String),
}

impl Tally {
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), known: Known::of(file), cases: Vec::new() }
    }

    /// Why this case is known to differ.
    pub fn known(&self, id: &str, case: &Value) -> Option<&str> {
        self.known.reason(id, case)
    }

    /// Counts a case; `class` is what the table groups by.
    pub fn add(&mut self, id: &str, class: &str, case: &Value, result: Result<(), String>) {
        let outcome = match (result, self.known.reason(id, case)) {
            (Ok(()), _) if self.known.is_single(id) => Outcome::Surprise,
            (Ok(()), _) => Outcome::Passed,
            (Err(message), None) => Outcome::Failed(message),
            (Err(_), Some(reason)) => Outcome::Listed(reason.to_owned()),
        };
        self.cases.push(Case { id: id.to_owned(), class: class.to_owned(), outcome });
    }

    /// Counts a case that was not tried because what it needs is known to be missing.
    pub fn list(&mut self, id: &str, class: &str, reason: &str) {
        let outcome = Outcome::Listed(reason.to_owned());
        self.cases.push(Case { id: id.to_owned(), class: class.to_owned(), outcome });
    }

    /// Prints the table, writes the report, and fails the test if a case failed.
    pub fn finish(self) {
        let mut table = BTreeMap::<&str, [usize; 3]>::new();
        for case in &self.cases {
            let [passed, failed, listed] = table.entry(&case.class).or_default();
            match case.outcome {
                Outcome::Passed | Outcome::Surprise => *passed += 1,
                Outcome::Failed(_) => *failed += 1,
                Outcome::Listed(_) => *listed += 1,
            }
        }
        println!("golden: {}", self.file);
        let row = |class: &str, [passed, failed, listed]: [usize; 3]| {
            println!("  {class:<28} {passed:>5} passed {failed:>5} failed {listed:>5} listed");
        };
        table.iter().for_each(|(class, counts)| row(class, *counts));
        let all = table.values().fold([0; 3], |sum, next| std::array::from_fn(|i| sum[i] + next[i]));
        row("all", all);
        let mut reasons = BTreeMap::<&str, Vec<&str>>::new();
        for case in &self.cases {
            match &case.outcome {
                Outcome::Listed(reason) => reasons.entry(reason).or_default().push(&case.id),
                Outcome::Failed(message) => println!("  FAILED {} ({}): {message}", case.id, case.class),
                Outcome::Surprise => {
                    println!("  {} passes although it is listed as a known difference", case.id)
                }
                Outcome::Passed => {}
            }
        }
        for (reason, ids) in reasons {
            println!("  listed: {reason}: {}", ids.join(" "));
        }
        self.report();
        assert_eq!(all[1], 0, "{} of {} cases of {} differ", all[1], self.cases.len(), self.file);
    }

    /// Replaces this file's lines in the report. Tests of other files write to it at the same time.
    fn report(&self) {
        let Some(path) = std::env::var_os("SIDESTREAM_GOLDEN_REPORT").filter(|path| !path.is_empty()) else {
            return;
        };
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut report = open.unwrap_or_else(|e| panic!("SIDESTREAM_GOLDEN_REPORT: {}: {e}", path.display()));
        report.lock().unwrap();
        let mut earlier = String::new();
        report.read_to_string(&mut earlier).unwrap();
        let of_this =
            |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["file"] == self.file);
        let mut lines: Vec<String> =
            earlier.lines().filter(|line| !of_this(line)).map(|line| format!("{line}\n")).collect();
        for case in &self.cases {
            if let Outcome::Failed(message) = &case.outcome {
                let line = json!({"file": self.file, "id": case.id, "area": case.class, "message": message});
                lines.push(format!("{line}\n"));
            }
        }
        report.set_len(0).unwrap();
        report.rewind().unwrap();
        report.write_all(lines.concat().as_bytes()).unwrap();
    }
}
