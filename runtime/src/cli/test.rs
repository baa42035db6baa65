//! `sidestream test FILE`: the `tests:` of a file, records with what a connector's converters and transforms are to make of
//! them.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use super::run::files::Files;
use super::simulate::chosen;
use super::{FAILED, OK, Output, OutputArgs, WRONG_CONFIG, print, print_diagnostics, print_json};
use crate::config::ConnectorConfig;
use crate::plugin::registry::Registry;
use crate::task::simulation::{self, Given, Outcome, Simulated};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The files of `run`, and files with nothing but `tests:`.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// What of a file is for this command.
#[derive(Deserialize)]
struct Tested {
    #[serde(default)]
    tests: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    name: Option<String>,
    /// May be left out when there is one connector.
    connector: Option<String>,
    input: Given,
    /// A record, of which only the named parts are compared (`topic`, `key`, `value`, `headers`); a list of records;
    /// `dropped`; `{rejected: part of the message}`.
    expect: Value,
}

pub(super) fn run(args: &Args, built_in: &Registry) -> u8 {
    let deployment = match Files::new(args.files.clone(), built_in.clone()).load_whole() {
        Ok(deployment) => deployment,
        Err(diagnostics) => {
            print_diagnostics(&diagnostics);
            return WRONG_CONFIG;
        }
    };
    let done = tests(&args.files).and_then(|tests| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| e.to_string())?;
        runtime.block_on(all(tests, &deployment.connectors))
    });
    let results = match done {
        Ok(results) => results,
        Err(message) => {
            eprintln!("error: {message}");
            return WRONG_CONFIG;
        }
    };
    let failed = results.iter().filter(|result| result.differs()).count();
    match args.output.output {
        Output::Json => print_json(&results.iter().map(Tried::json).collect::<Vec<_>>()),
        Output::Human => {
            let lines: String = results.iter().map(Tried::text).collect();
            print(&format!("{lines}{} tests, {failed} failed", results.len()));
        }
    }
    if failed == 0 { OK } else { FAILED }
}

fn tests(files: &[PathBuf]) -> Result<Vec<(String, Test)>, String> {
    let mut all = Vec::new();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "yaml" || e == "yml")) {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let text = std::fs::read_to_string(file).map_err(|e| told(&e))?;
        let Tested { tests } = serde_yaml::from_str(&text).map_err(|e| told(&e))?;
        for (at, test) in tests.into_iter().enumerate() {
            let name = test.name.clone().unwrap_or_else(|| format!("{} test {}", file.display(), at + 1));
            all.push((name, test));
        }
    }
    if all.is_empty() {
        return Err(
            "the files have no `tests:`; write `tests: [{input: {value: …}, expect: {value: …}}]`".to_owned()
        );
    }
    Ok(all)
}

/// A test, and what came of it.
struct Tried {
    name: String,
    expected: Value,
    found: Value,
}

async fn all(tests: Vec<(String, Test)>, connectors: &[ConnectorConfig]) -> Result<Vec<Tried>, String> {
    let mut results = Vec::new();
    for (name, Test { connector, input, expect, .. }) in tests {
        let connector = chosen(connectors, connector.as_deref()).map_err(|e| format!("{name}: {e}"))?;
        let simulated = simulation::simulate(connector, vec![input]).await;
        let simulated = simulated.map_err(|e| format!("{name}: {e}"))?;
        let found = simulated.first().map_or(Value::Null, |simulated| seen(simulated, &expect));
        results.push(Tried { name, expected: expect, found });
    }
    Ok(results)
}

/// The outcome in the form that is expected.
fn seen(Simulated { stages, outcome }: &Simulated, expected: &Value) -> Value {
    match outcome {
        Outcome::Filtered => "dropped".into(),
        Outcome::Rejected { message, .. } => match expected.get("rejected").and_then(Value::as_str) {
            Some(part) if message.contains(part) => expected.clone(),
            _ => json!({ "rejected": message }),
        },
        Outcome::Delivered => {
            let records = stages.last().map_or(&[][..], |stage| &stage.records);
            match expected {
                Value::Array(expected) => {
                    let pair = |(at, record)| named(record, expected.get(at));
                    records.iter().enumerate().map(pair).collect()
                }
                expected => match records {
                    [record] => named(record, Some(expected)),
                    records => records.to_vec().into(),
                },
            }
        }
    }
}

/// The parts of a record that are named in what is expected.
fn named(record: &Value, expected: Option<&Value>) -> Value {
    match (record, expected) {
        (Value::Object(record), Some(Value::Object(expected))) => {
            let part = |(key, expected): (&String, &Value)| {
                let found = record.get(key).cloned().unwrap_or_default();
                // Where a source's records end they are the bytes of Kafka.
                let read = found.as_str().filter(|_| !expected.is_string()).map(serde_json::from_str);
                (key.clone(), read.and_then(Result::ok).unwrap_or(found))
            };
            Value::Object(expected.iter().map(part).collect())
        }
        _ => record.clone(),
    }
}

impl Tried {
    fn differs(&self) -> bool {
        self.expected != self.found
    }

    fn text(&self) -> String {
        let Self { name, expected, found } = self;
        match self.differs() {
            false => format!("ok    {name}\n"),
            true => format!("FAIL  {name}\n      expected {expected}\n      found    {found}\n"),
        }
    }

    fn json(&self) -> Value {
        json!({ "name": self.name, "passed": !self.differs(), "expected": self.expected, "found": self.found })
    }
}
