//! `sidestream validate FILE…`: all errors of all files, without network.

use connector_core::Kind;
use serde::Serialize;

use super::{FileArgs, OK, Output, WRONG_CONFIG, environment, print, print_diagnostics, print_json};
use crate::config::{self, ConnectorConfig, Diagnostic, PluginUse, SecretCache, Severity};
use crate::plugin::registry::Registry;

#[derive(Serialize)]
struct Answer<'a> {
    valid: bool,
    connectors: Vec<Connector<'a>>,
    diagnostics: &'a [Diagnostic],
}

#[derive(Serialize)]
struct Connector<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: Kind,
    class: &'a str,
    /// The other end of a direct pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    sink: Option<&'a str>,
    tasks_max: usize,
}

impl<'a> Connector<'a> {
    fn new(connector: &'a ConnectorConfig) -> Option<Self> {
        let name = |end: &'a Option<PluginUse>| end.as_ref().map(|plugin| plugin.component.name.as_str());
        let (kind, class, sink) = match (name(&connector.source), name(&connector.sink)) {
            (Some(source), sink) => (Kind::Source, source, sink),
            (None, sink) => (Kind::Sink, sink?, None),
        };
        Some(Self { name: &connector.name, kind, class, sink, tasks_max: connector.tasks_max })
    }
}

pub(super) fn run(args: &FileArgs, registry: &Registry) -> u8 {
    let loaded = config::load(&args.files, registry, &environment, &SecretCache::default());
    let (connectors, diagnostics) = match &loaded {
        Ok(deployment) => (deployment.connectors.as_slice(), &deployment.diagnostics),
        Err(diagnostics) => (&[][..], diagnostics),
    };
    let valid = loaded.is_ok();
    let connectors: Vec<_> = connectors.iter().filter_map(Connector::new).collect();
    match args.output.output {
        Output::Json => print_json(&Answer { valid, connectors, diagnostics }),
        Output::Human => {
            print_diagnostics(diagnostics);
            for Connector { name, kind, class, sink, tasks_max } in &connectors {
                let what =
                    sink.map_or_else(|| format!("{kind} {class}"), |sink| format!("{class} to {sink}"));
                print(&format!("{name}: {what}, at most {}", count(*tasks_max, "task")));
            }
            let of = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
            let warnings = count(of(Severity::Warning), "warning");
            match valid {
                true => print(&format!("valid: {}, {warnings}", count(connectors.len(), "connector"))),
                false => eprintln!("not valid: {}, {warnings}", count(of(Severity::Error), "error")),
            }
        }
    }
    if valid { OK } else { WRONG_CONFIG }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
