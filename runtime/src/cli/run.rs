//! `sidestream run FILE…`: until SIGTERM or SIGINT, then drain.

use std::io::IsTerminal;
use std::sync::Arc;

use connector_core::Result;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{FAILED, OK, Output, RunArgs, WRONG_CONFIG, environment, print_diagnostics, print_json};
use crate::config::{self, Deployment};
use crate::http;
use crate::plugin::registry::Registry;
use crate::task::status::State;
use crate::task::worker::Worker;

pub(super) fn run(args: &RunArgs, registry: &Registry) -> u8 {
    init_logging(args.output.output);
    let deployment = match config::load(&args.files, registry, &environment) {
        Ok(deployment) => deployment,
        Err(diagnostics) => {
            match args.output.output {
                Output::Human => print_diagnostics(&diagnostics),
                Output::Json => print_json(&diagnostics),
            }
            return WRONG_CONFIG;
        }
    };
    if deployment.worker.bootstrap_servers.is_none() {
        tracing::error!(
            "no file says where Kafka is; add one with `worker: {{bootstrap.servers: host:9092}}`"
        );
        return WRONG_CONFIG;
    }
    for diagnostic in deployment.diagnostics.iter().filter(|d| d.severity != config::Severity::Note) {
        tracing::warn!("{}", diagnostic.to_string().replace('\n', " "));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("no asynchronous runtime: {error}");
            return FAILED;
        }
    };
    let outcome = runtime.block_on(serve(deployment));
    // Threads that hang in a plugin must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match outcome {
        Ok(()) => OK,
        Err(error) => {
            tracing::error!("{error}");
            FAILED
        }
    }
}

/// Ends with an error when a drain did not succeed; a task that failed before has said so and is no reason.
async fn serve(deployment: Deployment) -> Result<()> {
    let listeners = http::bind(&deployment.worker.listeners).await?;
    let worker = Worker::new(deployment)?;
    http::serve(&worker, listeners);
    let addresses = worker.deployment().worker.listeners.join(",");
    let connectors = worker.deployment().connectors.len();
    tracing::info!(connectors, listeners = addresses, "worker started");
    let stopper = worker.clone();
    tokio::spawn(async move {
        stop_signal().await;
        tracing::info!("stopping: publishing what is due");
        stopper.stop();
    });
    worker.clone().run().await;
    report(&worker);
    Ok(())
}

fn report(worker: &Arc<Worker>) {
    let failed: Vec<String> = worker
        .board
        .tasks()
        .iter()
        .filter(|task| task.condition().state == State::Failed)
        .map(|task| format!("{}-{}", task.connector, task.task))
        .collect();
    if failed.is_empty() {
        tracing::info!("worker stopped");
    } else {
        tracing::warn!(failed = failed.join(","), "worker stopped; these tasks had failed");
    }
}

async fn stop_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// People on a terminal get lines, everybody else JSON. `RUST_LOG` chooses what is logged.
fn init_logging(output: Output) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = if output == Output::Human && std::io::stderr().is_terminal() {
        logs.with_target(false).try_init()
    } else {
        logs.json().flatten_event(true).try_init()
    };
    if let Err(error) = set {
        eprintln!("warning: logging was set up already: {error}");
    }
}
