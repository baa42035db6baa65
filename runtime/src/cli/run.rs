//! `sidestream run FILE…`: until SIGTERM or SIGINT, then drain; or until everything is done.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use connector_core::Result;
use tokio::signal::unix::{SignalKind, signal};

use self::files::Files;
use self::summary::Summary;
use super::progress::{self, AboveLines};
use super::{FAILED, FileArgs, OK, Output, WRONG_CONFIG, print_diagnostics, print_json};
use crate::config::{self, Deployment};
use crate::http;
use crate::plugin::registry::Registry;
use crate::task::host::Host;
use crate::telemetry::{emf, log, traces};

pub(super) mod files;
mod limits;
mod reload;
mod summary;

/// The files, and when to end.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub files: FileArgs,
    /// Read the files again whenever one of them has changed. SIGHUP does so at any time.
    #[arg(long, conflicts_with = "until")]
    pub watch: bool,
    /// End once all is done that there was in the beginning: sources at their end, sinks at the ends that their topics
    /// had (or have when the sources of the same run are done). A task that fails makes the exit code 1.
    #[arg(long, value_enum, value_name = "WHEN")]
    pub until: Option<Until>,
    /// Give up a bounded run after this time, such as 90s, 30m or 2h; then the exit code is 3.
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "until")]
    pub timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Until {
    CaughtUp,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("write a number and s, m or h, such as 30m".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write a number and s, m or h, such as 30m".to_owned())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "that is too long".to_owned())
}

/// `built_in`: without the plugins of the files.
pub(super) fn run(args: &Args, built_in: Registry) -> u8 {
    let output = args.files.output.output;
    init_logging(output, LOGGED);
    let refuse = |diagnostics: &[config::Diagnostic]| {
        match output {
            Output::Human => print_diagnostics(diagnostics),
            Output::Json => print_json(&diagnostics),
        }
        WRONG_CONFIG
    };
    let files = Files::new(args.files.files.clone(), built_in);
    // A run that comes to an end does not wait for secrets that may come.
    let loaded = if args.until.is_some() { files.load_whole() } else { files.load() };
    let mut deployment = match loaded {
        Ok(deployment) => deployment,
        Err(diagnostics) => return refuse(&diagnostics),
    };
    if (args.until.is_some() || deployment.is_bounded()) && !deployment.unavailable.is_empty() {
        return refuse(&deployment.diagnostics);
    }
    if args.until.is_some() && deployment.connectors.is_empty() {
        tracing::error!("no file declares a connector, so there is nothing to run to its end");
        return WRONG_CONFIG;
    }
    if args.until.is_some() {
        let endless: Vec<_> = deployment.connectors.iter_mut().filter_map(|c| c.bound()).collect();
        if !endless.is_empty() {
            return refuse(&endless);
        }
    }
    let worker = &deployment.worker;
    if worker.bootstrap_servers.is_none()
        && !deployment.waits
        && (worker.offset_storage_file.is_none() || !deployment.connectors.iter().all(|c| c.is_direct()))
    {
        tracing::error!(
            "no file says where Kafka is; add one with `worker: {{bootstrap.servers: host:9092}}`"
        );
        return WRONG_CONFIG;
    }
    for diagnostic in deployment.diagnostics.iter().filter(|d| d.severity == config::Severity::Warning) {
        tracing::warn!("{}", diagnostic.to_string().replace('\n', " "));
    }
    limits::check(&deployment);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("no asynchronous runtime: {error}");
            return FAILED;
        }
    };
    let outcome = runtime.block_on(serve(deployment, files, args));
    // Threads that hang in a plugin must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome.unwrap_or_else(|error| {
        tracing::error!("{error}");
        FAILED
    })
}

/// The exit code. Of an endless run a failed task is no reason for one: it has said so, and the others went on.
async fn serve(deployment: Deployment, files: Files, args: &Args) -> Result<u8> {
    let bounded = deployment.is_bounded();
    let began = Instant::now();
    let listeners = http::bind(&deployment.worker.listeners).await?;
    let host = Host::new(deployment)?;
    http::serve(&host, listeners);
    let worker = host.worker();
    let addresses = worker.deployment().worker.listeners.join(",");
    let connectors = worker.deployment().connectors.len();
    tracing::info!(connectors, listeners = addresses, "worker started");
    tokio::spawn(log::tell_repeats());
    let ended = tokio_util::sync::CancellationToken::new();
    let exporting =
        traces::are_wanted().then(|| tokio::spawn(traces::export(ended.clone().cancelled_owned())));
    let keys = &worker.deployment().worker;
    if let Some(namespace) = keys.metrics_emf_namespace.clone() {
        let every = std::time::Duration::from_millis(keys.metrics_emf_interval_ms);
        tokio::spawn(emf::print(host.clone(), namespace, every));
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    let (stopper, flag, timeout) = (host.clone(), interrupted.clone(), args.timeout);
    tokio::spawn(async move {
        let time_is_up = async {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop_signal() => tracing::info!("stopping: publishing what is due"),
            () = time_is_up => tracing::error!("the run did not end in the time of --timeout: stopping"),
        }
        flag.store(true, Ordering::Release);
        stopper.stop();
        stop_signal().await;
        // What was not published is read again: nothing is acknowledged before it is.
        tracing::warn!("a second signal: ending at once; what is not published will be read again");
        std::process::exit(i32::from(FAILED));
    });
    if bounded {
        tokio::spawn(reload::refuse());
    } else {
        tokio::spawn(reload::follow(host.clone(), files, args.watch));
    }
    let shown = bounded.then(|| tokio::spawn(progress::show(worker.clone())));
    host.run().await;
    ended.cancel();
    if let Some(exporting) = exporting {
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), exporting).await;
    }
    let worker = host.worker();
    if let Some(shown) = shown {
        shown.abort();
    }
    let failed = summary::report(&worker);
    if !bounded {
        return Ok(OK);
    }
    let code = match (interrupted.load(Ordering::Acquire), failed) {
        (_, true) => WRONG_CONFIG,
        (true, false) => FAILED,
        (false, false) => OK,
    };
    let summary = Summary::of(&worker, began.elapsed(), code == OK);
    match args.files.output.output {
        Output::Human => summary.log(),
        Output::Json => print_json(&summary),
    }
    Ok(code)
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

/// What is logged unless `RUST_LOG` says. Delta's kernel tells each step, and calls a table that is not there yet an error;
/// what matters of it comes back to its caller.
const LOGGED: &str = "info,buoyant_kernel=off,buoyant_kernel_engine=off,deltalake_core=warn,aws_config=warn";

/// People on a terminal get lines, everybody else JSON. `RUST_LOG` chooses what is logged.
pub(super) fn init_logging(output: Output, logged: &str) {
    log::init(logged, output == Output::Human && std::io::stderr().is_terminal(), AboveLines);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_a_unit() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "m", "1d", "-1s", "1.5h", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
