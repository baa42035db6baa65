//! `sidestream simulate FILE --connector NAME --input records.jsonl`: what converters and transforms make of records.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::run::files::Files;
use super::{FAILED, OK, Output, OutputArgs, WRONG_CONFIG, print, print_diagnostics, print_json};
use crate::config::ConnectorConfig;
use crate::kafka::client::{self, Role};
use crate::kafka::lookback::Lookback;
use crate::plugin::registry::Registry;
use crate::task::simulation::{self, Given, Outcome, Simulated};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The files of `run`.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Which connector; may be left out when there is one.
    #[arg(long, value_name = "NAME")]
    connector: Option<String>,
    /// Records, one JSON object a line: `value` (a text is its bytes, anything else is written as JSON), and if it
    /// matters `key`, `topic`, `partition`, `offset`, `timestamp`, `headers` (name to text). `-`: standard input.
    #[arg(long, value_name = "JSONL", required_unless_present = "from_topic", conflicts_with = "from_topic")]
    input: Option<PathBuf>,
    /// Take the last records of this topic, as the connector's consumers would; nothing is committed.
    #[arg(long, value_name = "TOPIC")]
    from_topic: Option<String>,
    /// How many records of the topic.
    #[arg(long, value_name = "N", default_value_t = 20)]
    count: usize,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &Args, built_in: &Registry) -> u8 {
    let deployment = match Files::new(args.files.clone(), built_in.clone()).load_whole() {
        Ok(deployment) => deployment,
        Err(diagnostics) => {
            print_diagnostics(&diagnostics);
            return WRONG_CONFIG;
        }
    };
    let connector = match chosen(&deployment.connectors, args.connector.as_deref()) {
        Ok(connector) => connector,
        Err(message) => {
            eprintln!("error: {message}");
            return WRONG_CONFIG;
        }
    };
    // One thread beside this one: what Kafka's clients ask for (tokens) has to run while they are waited for.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return FAILED;
        }
    };
    let given = match (&args.input, &args.from_topic) {
        (Some(input), _) => records(input),
        (None, Some(_)) if connector.source.is_some() => {
            Err(format!("connector `{}` reads from no topic; give its records with --input", connector.name))
        }
        (None, Some(topic)) => {
            let captured = client::settings(
                &deployment.worker,
                Role::Consumer,
                &connector.consumer_overrides,
                runtime.handle(),
            )
            .and_then(|settings| Lookback::new(settings, format!("connect-{}", connector.name)))
            .and_then(|lookback| lookback.latest(topic, args.count));
            match captured {
                Ok(all) => Ok(all.into_iter().map(|record| Given::captured(topic, record)).collect()),
                Err(error) => {
                    eprintln!("error: {error}");
                    return FAILED;
                }
            }
        }
        (None, None) => Ok(Vec::new()),
    };
    let given = match given {
        Ok(given) => given,
        Err(message) => {
            eprintln!("error: {message}");
            return WRONG_CONFIG;
        }
    };
    match runtime.block_on(simulation::simulate(connector, given)) {
        Ok(records) => {
            match args.output.output {
                Output::Json => print_json(&records),
                Output::Human => print(&text(&records)),
            }
            OK
        }
        Err(error) => {
            eprintln!("error: {error}");
            FAILED
        }
    }
}

/// The connector of this name; without one, the only one there is.
pub(super) fn chosen<'a>(
    all: &'a [ConnectorConfig],
    name: Option<&str>,
) -> Result<&'a ConnectorConfig, String> {
    let names: Vec<_> = all.iter().map(|connector| format!("`{}`", connector.name)).collect();
    match (name, all) {
        (Some(name), _) => all
            .iter()
            .find(|connector| connector.name == name)
            .ok_or_else(|| format!("there is no connector `{name}`; the files have {}", names.join(", "))),
        (None, [one]) => Ok(one),
        (None, _) => Err(format!("choose one with --connector; the files have {}", names.join(", "))),
    }
}

fn records(path: &Path) -> Result<Vec<Given>, String> {
    let place = |line: usize| format!("{}:{line}", path.display());
    let reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(|e| format!("{}: {e}", path.display()))?)
    };
    let mut records = Vec::new();
    for (at, line) in BufReader::new(reader).lines().enumerate() {
        let line = line.map_err(|e| format!("{}: {e}", place(at + 1)))?;
        if line.trim().is_empty() {
            continue;
        }
        // The parser's message says what is wrong without the value.
        records.push(serde_json::from_str(&line).map_err(|e| format!("{}: {e}", place(at + 1)))?);
    }
    Ok(records)
}

fn text(records: &[Simulated]) -> String {
    let mut out = String::new();
    for (at, record) in records.iter().enumerate() {
        out.push_str(&format!("record {}\n", at + 1));
        for stage in &record.stages {
            out.push_str(&format!("  {}\n", stage.name));
            for shown in &stage.records {
                out.push_str(&format!("    {shown}\n"));
            }
        }
        out.push_str(&match &record.outcome {
            Outcome::Delivered => "  = goes on\n".to_owned(),
            Outcome::Filtered => "  = dropped\n".to_owned(),
            Outcome::Rejected { stage, message } => format!("  = rejected at {stage}: {message}\n"),
        });
    }
    out
}
