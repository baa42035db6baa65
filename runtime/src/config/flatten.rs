//! From nested maps and lists to Connect's flat map: dotted keys, comma lists.

use std::collections::BTreeMap;

use super::diagnostic::{Diagnostic, Report};
use super::node::{Content, Entry, Node, Place};

/// One key of the flat map: its text as written, and where the key and the value (or each item of a list) are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub text: String,
    pub place: Place,
    pub values: Vec<Place>,
    /// It has no value that could be used, which has been reported.
    pub broken: bool,
}

pub type Flat = BTreeMap<String, Setting>;

/// Flattens a map. Two spellings of one key, missing values and lists that no comma list can hold are reported.
pub fn flatten(entries: &[Entry], report: &mut Report) -> Flat {
    let mut flat = Flat::new();
    for entry in entries {
        match &entry.node.content {
            Content::List(items) if entry.key == "transforms" && items.iter().any(Node::is_map) => {
                transforms(entry, items, &mut flat, report);
            }
            _ => add(&entry.key, &entry.place, &entry.node, &mut flat, report),
        }
    }
    flat
}

fn add(key: &str, place: &Place, node: &Node, flat: &mut Flat, report: &mut Report) {
    let (text, values) = match &node.content {
        Content::Map(entries) => {
            for entry in entries {
                add(&format!("{key}.{}", entry.key), &entry.place, &entry.node, flat, report);
            }
            return;
        }
        Content::Null => {
            broken(key, place, flat);
            report.add(
                Diagnostic::error(place, format!("`{key}` has no value"))
                    .key(key)
                    .hint("write a value, \"\" for an empty text, or leave the key out"),
            );
            return;
        }
        Content::Scalar(text) => (text.clone(), vec![node.place.clone()]),
        Content::List(items) => match comma_list(key, items, report) {
            Some(list) => list,
            None => return broken(key, place, flat),
        },
    };
    insert(key, Setting { text, place: place.clone(), values, broken: false }, flat, report);
}

fn comma_list(key: &str, items: &[Node], report: &mut Report) -> Option<(String, Vec<Place>)> {
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        match item.scalar() {
            Some(text) if !text.contains(',') => texts.push(text),
            Some(_) => {
                let message = format!("an item of the list `{key}` holds a comma");
                report.add(
                    Diagnostic::error(&item.place, message)
                        .key(key)
                        .hint("lists become comma lists, as Connect has them; make it two items"),
                );
                return None;
            }
            None => {
                let message = format!("an item of the list `{key}` is not a plain value");
                report.add(
                    Diagnostic::error(&item.place, message)
                        .key(key)
                        .hint("only `transforms` may be a list of maps; write plain values here"),
                );
                return None;
            }
        }
    }
    Some((texts.join(","), items.iter().map(|item| item.place.clone()).collect()))
}

/// Keeps the key, so that it does not count as missing too.
fn broken(key: &str, place: &Place, flat: &mut Flat) {
    let setting = Setting { text: String::new(), place: place.clone(), values: Vec::new(), broken: true };
    flat.entry(key.to_owned()).or_insert(setting);
}

fn insert(key: &str, setting: Setting, flat: &mut Flat, report: &mut Report) {
    match flat.get(key) {
        None => {
            flat.insert(key.to_owned(), setting);
        }
        Some(first) => report.add(
            Diagnostic::error(&setting.place, format!("`{key}` is written twice, in two spellings"))
                .key(key)
                .hint(format!("the first one is at {}; keep one of them", first.place)),
        ),
    }
}

/// `[{name: a, type: t, k: v}]` becomes `transforms: a`, `transforms.a.type: t`, `transforms.a.k: v`.
fn transforms(list: &Entry, items: &[Node], flat: &mut Flat, report: &mut Report) {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for item in items {
        let Some((entry, name)) = item.get("name").and_then(|e| Some((e, e.node.scalar()?))) else {
            report.add(
                Diagnostic::error(&item.place, "an item of `transforms` has no `name`")
                    .key("transforms")
                    .hint("write {name: clean, type: pin-cleaner}; the name is yours to choose"),
            );
            continue;
        };
        if name.is_empty() || name.contains([',', '.']) {
            report.add(
                Diagnostic::error(&entry.place, "the name of a transform is empty or holds a comma or a dot")
                    .key("transforms")
                    .hint("use letters, digits, `-` and `_`"),
            );
            continue;
        }
        names.push(name);
        values.push(entry.node.place.clone());
        for other in item.entries().iter().filter(|e| e.key != "name") {
            add(&format!("transforms.{name}.{}", other.key), &other.place, &other.node, flat, report);
        }
    }
    insert(
        "transforms",
        Setting { text: names.join(","), place: list.place.clone(), values, broken: false },
        flat,
        report,
    );
}
