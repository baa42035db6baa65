//! What a file holds: a worker, topics, connectors, or one connector alone.

use std::path::Path;

use connector_core::config::nearest;

use super::diagnostic::{Diagnostic, Report};
use super::format::Format;
use super::node::{Content, Entry, Node, Place};
use super::worker::Section;

/// A connector as a file declares it.
pub(super) struct Declared {
    pub name: String,
    pub place: Place,
    pub node: Node,
    /// Written for this program: unknown keys under a short name are errors.
    pub yaml: bool,
}

/// What all files declare together.
#[derive(Default)]
pub(super) struct Documents {
    pub workers: Vec<Section>,
    pub topics: Vec<Entry>,
    pub connectors: Vec<Declared>,
}

const SECTIONS: [&str; 3] = ["worker", "topics", "connectors"];
/// For `sidestream test`; other commands pass over it.
const TESTS: &str = "tests";

impl Documents {
    /// Adds what a file declares.
    pub fn add(&mut self, node: Node, format: Format, report: &mut Report) {
        let yaml = format == Format::Yaml;
        let block =
            |name: &str| node.get(name).filter(|e| e.node.is_map() || e.node.content == Content::Null);
        let named = node.get("config").filter(|e| e.node.is_map());
        if let (Some(config), None) = (named, node.get("connectors")) {
            self.named(&node, config, yaml, report);
        } else if is_connector(&node) {
            self.alone(node, yaml);
        } else if SECTIONS.iter().any(|name| block(name).is_some()) || (yaml && node.get(TESTS).is_some()) {
            self.sections(&node, yaml, report);
        } else if node.get("bootstrap.servers").or(node.get("bootstrap")).is_some() {
            self.workers.push(Section { place: node.place.clone(), node, lenient: !yaml });
        } else if format == Format::Properties {
            self.alone(node, yaml);
        } else {
            let message =
                "this file declares no `worker`, `topics` or `connectors`, and is no connector itself";
            let hint =
                "begin with `connectors:`, or with a connector's own keys, `connector.class` among them";
            report.add(Diagnostic::error(&node.place, message).hint(hint));
        }
    }

    /// `{"name": …, "config": {…}}`.
    fn named(&mut self, node: &Node, config: &Entry, yaml: bool, report: &mut Report) {
        let name = node.get("name").or_else(|| config.node.get("name"));
        for entry in node.entries().iter().filter(|e| !matches!(e.key.as_str(), "name" | "config")) {
            let message = format!("`{}` is no part of a connector document", entry.key);
            let hint = "it has `name` and `config`; the connector's keys go into `config`";
            report.add(Diagnostic::warning(&entry.place, message).key(&entry.key).hint(hint));
        }
        self.connectors.push(Declared {
            name: name
                .and_then(|e| e.node.scalar())
                .map_or_else(|| file_stem(&node.place), |n| n.trim().to_owned()),
            place: name.map_or(&config.place, |e| &e.place).clone(),
            node: config.node.clone(),
            yaml,
        });
    }

    /// A file of a connector's keys; without `name` it is named after the file.
    fn alone(&mut self, node: Node, yaml: bool) {
        let name = node.get("name");
        self.connectors.push(Declared {
            name: name
                .and_then(|e| e.node.scalar())
                .map_or_else(|| file_stem(&node.place), |n| n.trim().to_owned()),
            place: name.map_or(&node.place, |e| &e.place).clone(),
            node,
            yaml,
        });
    }

    fn sections(&mut self, node: &Node, yaml: bool, report: &mut Report) {
        for entry in node.entries() {
            let known = SECTIONS.contains(&entry.key.as_str());
            if known && !entry.node.is_map() && entry.node.content != Content::Null {
                let message = format!("`{}` takes a map", entry.key);
                report.add(Diagnostic::error(&entry.place, message).key(&entry.key));
                continue;
            }
            match entry.key.as_str() {
                "worker" => self.workers.push(Section {
                    node: entry.node.clone(),
                    place: entry.place.clone(),
                    lenient: !yaml,
                }),
                "topics" => self.topics.extend_from_slice(entry.node.entries()),
                "connectors" => self.connectors(entry, yaml, report),
                TESTS => {}
                // Anchors need a place to stand.
                key if key.starts_with("x-") => {}
                key => {
                    let hint = match nearest(key, SECTIONS) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => "at the top there are `worker`, `topics` and `connectors`".to_owned(),
                    };
                    let message = format!("`{key}` means nothing at the top of a file");
                    report.add(Diagnostic::error(&entry.place, message).key(key).hint(hint));
                }
            }
        }
    }

    fn connectors(&mut self, section: &Entry, yaml: bool, report: &mut Report) {
        for entry in section.node.entries() {
            if entry.node.is_map() {
                self.connectors.push(Declared {
                    name: entry.key.clone(),
                    place: entry.place.clone(),
                    node: entry.node.clone(),
                    yaml,
                });
            } else {
                let message = format!("connector `{}` takes a map of its keys", entry.key);
                let hint = "write `connector.class: …` below it, indented";
                report.add(Diagnostic::error(&entry.place, message).connector(Some(&entry.key)).hint(hint));
            }
        }
    }
}

/// Whether the keys of a connector stand at the top of a file.
fn is_connector(node: &Node) -> bool {
    let within = |block: &str| node.get(block).is_some_and(|e| e.node.get("class").is_some());
    node.get("connector.class").is_some() || within("connector") || within("source") || within("sink")
}

fn file_stem(place: &Place) -> String {
    let stem = Path::new(&*place.file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    stem.unwrap_or_default()
}
