//! `sidestream demo`: the pipeline on this machine alone, from generated and posted rows to cleaned JSON files and a Delta
//! table.

mod http;
mod process;
mod table;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches, Command};

use process::{Child, free_address};
use watch::Progress;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const CONFIGURATION: &str = include_str!("../../examples/demo.yaml");
const BATCH: &str = include_str!("../../examples/demo-batch.yaml");
const LIMIT: Duration = Duration::from_secs(180);

pub fn command() -> Command {
    Command::new("demo")
        .about("Try the pipeline on this machine alone: embedded broker, generated rows, local files")
        .arg(
            Arg::new("dir")
                .long("dir")
                .value_name("DIRECTORY")
                .default_value("demo")
                .help("Where files go; what an earlier demo left there is removed"),
        )
        .arg(
            Arg::new("output")
                .long("output")
                .value_name("FORM")
                .value_parser(["human", "json"])
                .default_value("human")
                .help("How the result is printed"),
        )
}

pub fn run(arguments: &ArgMatches) -> ExitCode {
    let text = |name: &str| arguments.get_one::<String>(name).cloned().unwrap_or_default();
    let json = text("output") == "json";
    match demo(Path::new(&text("dir")), json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}

fn demo(dir: &Path, json: bool) -> Result<()> {
    let started = Instant::now();
    let say = |text: &str| {
        if !json {
            println!("demo: {text}");
        }
    };
    let dir = prepare(dir)?;
    let configuration = dir.join("demo.yaml");
    std::fs::write(&configuration, CONFIGURATION)?;
    let (broker, http, webhook) = (free_address()?, free_address()?, free_address()?);

    say(&format!("starting the embedded broker on {broker}"));
    let data = dir.join("broker.db");
    let broker_log = dir.join("broker.log");
    let data = data.to_string_lossy();
    let mut embedded = Child::start(&["broker", "--listen", &broker, "--data", &data], &[], &broker_log)?;
    embedded.wait_for_port(&broker, Duration::from_secs(30))?;

    say(&format!("running {} (health and metrics on http://{http})", configuration.display()));
    let files = dir.to_string_lossy();
    let environment = [
        ("DEMO_DIR", &*files),
        ("DEMO_BROKER", &*broker),
        ("DEMO_HTTP", &*http),
        ("DEMO_WEBHOOK", &*webhook),
    ];
    let configuration = configuration.to_string_lossy();
    let mut worker = Child::start(&["run", &configuration], &environment, &dir.join("worker.log"))?;
    worker.wait_for_port(&webhook, Duration::from_secs(60))?;

    say(&format!("posting three records to http://{webhook}/topics/demo.*"));
    for (topic, answer) in http::post_rows(&webhook)? {
        say(&format!("  POST /topics/{topic} -> {answer}"));
    }

    Progress::new(json).watch(&http, &mut worker, started + LIMIT)?;
    say("stopping: what is left is published");
    worker.stop(Duration::from_secs(60))?;
    embedded.stop(Duration::from_secs(20))?;

    let batch = dir.join("demo-batch.yaml");
    std::fs::write(&batch, BATCH)?;
    say("the daily batch job: raw JSON, cleaned, into a Delta table with each pin once");
    let batch = batch.to_string_lossy();
    let job = ["run", "--until", "caught-up", &*batch];
    Child::start(&job, &environment, &dir.join("batch.log"))?.wait(LIMIT)?;
    watch::report(&dir, started.elapsed(), json)
}

/// An empty directory; only one that an earlier demo made is emptied.
fn prepare(dir: &Path) -> Result<PathBuf> {
    let marker = dir.join("demo.yaml");
    if dir.exists() && dir.read_dir()?.next().is_some() {
        if !marker.exists() {
            return Err(format!(
                "{} holds files that no demo made; name another directory with --dir",
                dir.display()
            )
            .into());
        }
        std::fs::remove_dir_all(dir)?;
    }
    std::fs::create_dir_all(dir)?;
    Ok(dir.canonicalize()?)
}
