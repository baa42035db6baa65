//! `sidestream plugins`: what this worker has.

use connector_core::Kind;
use serde::Serialize;

use super::{OK, Output, print, print_json};
use crate::plugin::registry::{Entry, Registry};

#[derive(Serialize)]
struct Plugin<'a> {
    name: &'a str,
    kind: Kind,
    version: &'a str,
    aliases: &'a [String],
    summary: &'a str,
    from: String,
}

impl<'a> From<&'a Entry> for Plugin<'a> {
    fn from(entry: &'a Entry) -> Self {
        let component = &entry.component;
        Self {
            name: &component.name,
            kind: component.kind(),
            version: &component.version,
            aliases: &component.aliases,
            summary: &component.summary,
            from: entry.from.to_string(),
        }
    }
}

pub(super) fn run(output: Output, registry: &Registry) -> u8 {
    let mut plugins: Vec<Plugin<'_>> = registry.entries().iter().map(Plugin::from).collect();
    plugins.sort_by_key(|plugin| (plugin.kind, plugin.name));
    match output {
        Output::Json => print_json(&plugins),
        Output::Human => print(&table(&plugins)),
    }
    OK
}

fn table(plugins: &[Plugin<'_>]) -> String {
    let width = plugins.iter().map(|plugin| plugin.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for Plugin { name, kind, version, aliases, summary, from } in plugins {
        text.push_str(&format!(
            "{name:width$}  {kind:9}  {version:8}  {from:8}  {summary}\n",
            kind = kind.to_string()
        ));
        for alias in *aliases {
            text.push_str(&format!("{:width$}  also {alias}\n", ""));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::plugins::registry;

    #[test]
    fn plugins_are_listed_with_all_of_their_names() {
        let registry = registry();
        let plugins: Vec<_> = registry.entries().iter().map(Plugin::from).collect();
        insta::assert_snapshot!(table(&plugins), @r#"
    s3-sink         sink       0.1.0     built in  Writes objects.
                    also io.confluent.connect.s3.S3SinkConnector
    webhook-source  source     0.1.0     built in  Takes posts.
    pin-cleaner     transform  0.1.0     built in  Cleans.
    "#);
    }
}
