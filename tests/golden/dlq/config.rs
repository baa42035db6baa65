//! The `CFG-` cases: whether a configuration is refused, and in which words where the keys are the runtime's own.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::tally::Tally;
use crate::validate;

#[derive(Deserialize)]
struct Case {
    id: String,
    connector_config: Map<String, Value>,
    errors: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    name: String,
    errors: Vec<String>,
}

pub fn replay(worker: &str, lines: &[Value], tally: &mut Tally) {
    let cases: Vec<Case> = lines.iter().map(|line| Case::deserialize(line).unwrap()).collect();
    let configs: Vec<String> = cases
        .iter()
        .map(|case| {
            let mut config = case.connector_config.clone();
            config.remove("name");
            json!({"name": case.id, "config": config}).to_string()
        })
        .collect();
    let found = validate::errors(&format!("{worker}  bootstrap.servers: localhost:9092\n"), &configs);
    for (index, (case, whole)) in cases.iter().zip(lines).enumerate() {
        let found = found.get(&index).map(Vec::as_slice).unwrap_or_default();
        match tally.known(&case.id, whole).map(str::to_owned) {
            // It may be refused because what it uses is not there.
            Some(reason) if !found.is_empty() => tally.list(&case.id, "validate", &reason),
            _ => tally.add(&case.id, "validate", whole, case.compare(found)),
        }
    }
}

impl Case {
    fn compare(&self, found: &[(String, String)]) -> Result<(), String> {
        if self.errors.is_empty() != found.is_empty() {
            return Err(format!("{found:?}; Connect has {} errors", self.errors.len()));
        }
        // The words of transforms and converters are their own.
        let ours = |key: &str| key.starts_with("errors.") || key.starts_with("topics");
        let recorded: Vec<(&str, &str)> = self
            .errors
            .iter()
            .flat_map(|recorded| recorded.errors.iter().map(|text| (recorded.name.as_str(), text.as_str())))
            .filter(|(key, _)| ours(key))
            .collect();
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(key, text)| (key.as_str(), text.as_str()))
            .filter(|(key, _)| ours(key))
            .collect();
        if found == recorded { Ok(()) } else { Err(format!("{found:?}, Connect's are {recorded:?}")) }
    }
}
