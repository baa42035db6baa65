//! Addresses that two servers of one worker cannot share.

use serde_json::Value;

use super::connector::{ConnectorConfig, PluginUse};
use super::diagnostic::{Diagnostic, Report};
use super::worker::WorkerConfig;

/// The key by which a plugin says where it listens.
const KEY: &str = "webhook.listen";

/// Reports connectors that listen where another one, or the worker, does.
pub(super) fn check(worker: Option<&WorkerConfig>, connectors: &[ConnectorConfig], report: &mut Report) {
    let mut taken: Vec<(String, String)> = Vec::new();
    for listener in worker.iter().flat_map(|w| &w.listeners) {
        let address = listener.split_once("://").map_or(listener.as_str(), |(_, address)| address);
        taken.push((address.trim_end_matches('/').to_owned(), "the worker (`listeners`)".to_owned()));
    }
    for connector in connectors {
        for address in connector.source.iter().chain(&connector.sink).filter_map(address) {
            if let Some((_, by)) = taken.iter().find(|(other, _)| clash(other, &address)) {
                let shown = connector.secrets.redact(&address);
                report.add(
                    Diagnostic::error(
                        &connector.place,
                        format!("`{KEY}`: {by} listens on `{shown}` already"),
                    )
                    .key(KEY)
                    .connector(Some(&connector.name))
                    .hint("give each its own port"),
                );
            }
            taken.push((address, format!("connector `{}` ({})", connector.name, connector.place)));
        }
    }
}

/// The address of a plugin, also when it is the default.
fn address(plugin: &PluginUse) -> Option<String> {
    let schema = &plugin.component.schema;
    let default = || schema.get("properties")?.get(KEY)?.get("default");
    let address = plugin.config.get(KEY).or_else(default).and_then(Value::as_str)?;
    Some(address.trim().to_owned())
}

fn clash(one: &str, other: &str) -> bool {
    let (Some((host, port)), Some((other_host, other_port))) = (one.rsplit_once(':'), other.rsplit_once(':'))
    else {
        return one == other;
    };
    let host_name = |host: &str| if host == "localhost" { "127.0.0.1".to_owned() } else { host.to_owned() };
    let any = |host: &str| matches!(host, "" | "0.0.0.0" | "[::]" | "*");
    // Port 0 is any free one.
    port == other_port
        && port != "0"
        && (any(host) || any(other_host) || host_name(host) == host_name(other_host))
}
