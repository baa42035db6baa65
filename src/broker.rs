//! `sidestream broker`: a Kafka-compatible broker in this binary, to try the product without a cluster.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};

pub fn command() -> Command {
    Command::new("broker")
        .about("Run the embedded broker: for a first try, never for production")
        .long_about(
            "Run the embedded broker (tansu, on one SQLite file): for a first try, never for production. It has no \
             transactions, keeps no commit metadata and does not create topics by itself; delivery through it is at \
             least once.",
        )
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("HOST:PORT")
                .default_value("127.0.0.1:9092")
                .help("Address to listen on"),
        )
        .arg(
            Arg::new("data")
                .long("data")
                .value_name("FILE")
                .default_value("sidestream-broker.db")
                .help("SQLite file that holds the topics; made if it does not exist"),
        )
}

#[cfg(not(feature = "embedded-broker"))]
pub fn run(_: &ArgMatches) -> ExitCode {
    eprintln!(
        "error: this binary was built without the feature `embedded-broker`; point bootstrap.servers at a cluster"
    );
    ExitCode::from(2)
}

#[cfg(feature = "embedded-broker")]
pub fn run(arguments: &ArgMatches) -> ExitCode {
    let text = |name: &str| arguments.get_one::<String>(name).cloned().unwrap_or_default();
    match tokio::runtime::Runtime::new()
        .map_err(Into::into)
        .and_then(|rt| rt.block_on(serve(&text("listen"), &text("data"))))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: the embedded broker ended: {error}");
            ExitCode::from(3)
        }
    }
}

#[cfg(feature = "embedded-broker")]
async fn serve(listen: &str, data: &str) -> Result<(), Box<dyn std::error::Error>> {
    use tansu_broker::broker::Broker;
    use tansu_broker::coordinator::group::administrator::Controller;
    use tansu_storage::StorageContainer;
    use url::Url;

    let listener = Url::parse(&format!("tcp://{listen}"))
        .map_err(|e| format!("--listen: `{listen}` is not host:port ({e})"))?;
    let file = std::path::absolute(data)?;
    let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(format!("--data: `{data}` is not a file").into());
    };
    std::fs::create_dir_all(directory)?;
    // The storage takes its path from the working directory, whatever its URL says.
    std::env::set_current_dir(directory)?;
    let storage = Url::parse(&format!("sqlite:///{}", name.to_string_lossy()))?;
    let mut broker = Broker::<Controller<StorageContainer>, StorageContainer>::builder()
        .node_id(1)
        .cluster_id("sidestream-embedded")
        .incarnation_id(uuid::Uuid::new_v4())
        .advertised_listener(listener.clone())
        .listener(listener)
        .storage(storage)
        .silent(true)
        .build()
        .await?;
    println!("embedded broker on {listen}, topics in {data}; for trying only; Ctrl-C ends it");
    tokio::select! {
        served = broker.serve(tokio::time::Instant::now()) => Ok(served?),
        () = stop_signal() => Ok(()),
    }
}

#[cfg(feature = "embedded-broker")]
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
