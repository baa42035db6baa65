//! `sidestream verify FILE…`: what the store of a sink has, compared with what the sink has acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_core::ConnectError;
use serde::Serialize;

use super::run::files::read_secrets;
use super::{FAILED, FileArgs, OK, Output, WRONG_CONFIG, environment, print, print_diagnostics, print_json};
use crate::config::{self, ConnectorConfig, Deployment, SecretCache};
use crate::plugin::registry::Registry;

mod account;
mod evidence;
mod offsets;
mod report;

use report::ConnectorReport;

/// The files, and which connectors.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub files: FileArgs,
    /// Only this connector; may be given several times. Default: every sink that can be verified.
    #[arg(long, value_name = "NAME")]
    pub connector: Vec<String>,
}

/// What is logged unless `RUST_LOG` says: the answer is the report.
const LOGGED: &str =
    "warn,buoyant_kernel=off,buoyant_kernel_engine=off,deltalake_core=error,aws_config=error";

#[derive(Serialize)]
struct Answer {
    accounted: bool,
    connectors: Vec<ConnectorReport>,
    /// Connectors that cannot be verified, and why.
    skipped: BTreeMap<String, String>,
}

pub(super) fn run(args: &Args, registry: &Registry) -> u8 {
    let output = args.files.output.output;
    super::run::init_logging(output, LOGGED);
    let secrets = SecretCache::default();
    let loaded = read_secrets(&secrets, || config::load(&args.files.files, registry, &environment, &secrets));
    let whole = |deployment: Deployment| match deployment.unavailable.is_empty() {
        true => Ok(deployment),
        false => Err(deployment.diagnostics),
    };
    let deployment = match loaded.and_then(whole) {
        Ok(deployment) => deployment,
        Err(diagnostics) => {
            match output {
                Output::Human => print_diagnostics(&diagnostics),
                Output::Json => print_json(&diagnostics),
            }
            return WRONG_CONFIG;
        }
    };
    let wrong = |text: String| {
        eprintln!("error: {text}");
        WRONG_CONFIG
    };
    let known = |name: &&String| deployment.connectors.iter().any(|c| c.name == **name);
    if let Some(unknown) = args.connector.iter().find(|name| !known(name)) {
        let names: Vec<_> = deployment.connectors.iter().map(|c| c.name.as_str()).collect();
        return wrong(format!("no file declares a connector `{unknown}`; there are: {}", names.join(", ")));
    }
    if deployment.worker.bootstrap_servers.is_none() {
        return wrong(
            "no file says where Kafka is; add one with `worker: {bootstrap.servers: host:9092}`".to_owned(),
        );
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no asynchronous runtime: {error}");
            return FAILED;
        }
    };
    let outcome = runtime.block_on(verify(deployment, &args.connector));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    let answer = match outcome {
        Ok(answer) => answer,
        Err(error) => {
            eprintln!("error: {error}");
            return FAILED;
        }
    };
    if answer.connectors.is_empty() {
        for (name, reason) in &answer.skipped {
            eprintln!("{name}: {reason}");
        }
        return wrong("no connector of these files can be verified".to_owned());
    }
    // Asked for by name, it is no small matter.
    if let Some((name, reason)) = args.connector.iter().find_map(|name| answer.skipped.get_key_value(name)) {
        return wrong(format!("{name}: {reason}"));
    }
    match output {
        Output::Json => print_json(&answer),
        Output::Human => {
            for (name, reason) in &answer.skipped {
                eprintln!("{name}: {reason}");
            }
            print(&report::text(&answer.connectors));
        }
    }
    if answer.accounted { OK } else { FAILED }
}

async fn verify(deployment: Deployment, only: &[String]) -> Result<Answer, ConnectError> {
    let deployment = Arc::new(deployment);
    let cluster = evidence::Cluster::new(Arc::clone(&deployment)).await?;
    let chosen = |c: &&ConnectorConfig| only.is_empty() || only.contains(&c.name);
    let (mut connectors, mut skipped) = (Vec::new(), BTreeMap::new());
    for connector in deployment.connectors.iter().filter(chosen) {
        let Some(sink) = connector.sink.as_ref().filter(|_| !connector.is_direct()) else {
            let reason = match connector.sink {
                Some(_) => "its records do not come through Kafka, so there are no offsets to compare with",
                None => "it is a source",
            };
            skipped.insert(connector.name.clone(), reason.to_owned());
            continue;
        };
        match cluster.verify(connector, sink).await {
            Ok(report) => connectors.push(report),
            Err(error) if error.code == "sink.no_inventory" => {
                skipped.insert(connector.name.clone(), error.to_string());
            }
            Err(error) => {
                let error = connector.secrets.redact(&error.to_string());
                connectors.push(ConnectorReport::failed(connector, &sink.component.name, error));
            }
        }
    }
    let accounted = connectors.iter().all(|report| report.accounted);
    Ok(Answer { accounted, connectors, skipped })
}
