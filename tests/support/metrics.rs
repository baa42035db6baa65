//! Prometheus' text format, read strictly.

use std::collections::{BTreeMap, BTreeSet};

/// One sample: its labels and its value.
#[derive(Clone, Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub samples: Vec<Sample>,
    /// Name and type of each family.
    pub types: BTreeMap<String, String>,
}

impl Metrics {
    /// Panics at the first line that Prometheus would not take.
    pub fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let (mut metrics, mut seen, mut helped) = (Self::default(), BTreeSet::new(), BTreeSet::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
                assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
                assert!(["counter", "gauge", "untyped", "histogram", "summary"].contains(&kind), "{line}");
                assert!(metrics.types.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
            } else {
                let sample = sample(line).unwrap_or_else(|| panic!("not a sample: {line}"));
                assert!(metrics.types.contains_key(&sample.name), "no type before: {line}");
                // All samples of a family stand together.
                assert_eq!(metrics.types.len(), helped.len(), "{line}");
                assert!(seen.insert((sample.name.clone(), sample.labels.clone())), "twice: {line}");
                metrics.samples.push(sample);
            }
        }
        metrics
    }

    /// Sum of the samples of `name` whose labels are these.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> i64 {
        let found = self.samples.iter().filter(|s| {
            s.name == name && labels.iter().all(|(k, v)| s.labels.get(*k).is_some_and(|value| value == v))
        });
        found.map(|sample| sample.value as i64).sum()
    }

    /// Read, delivered, filtered and rejected records of a connector.
    pub fn records(&self, connector: &str) -> [i64; 4] {
        ["read", "delivered", "filtered", "rejected"].map(|what| {
            self.sum(&format!("sidestream_task_records_{what}_total"), &[("connector", connector)])
        })
    }
}

fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(after) = rest.strip_prefix('{') {
        rest = after;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let label_ok = !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let (value, after) = quoted(after)?;
            if !label_ok || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            if let Some(after) = after.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = after.strip_prefix(',')?;
        }
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then(|| Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// A label's value up to its closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}
