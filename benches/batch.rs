//! The daily batch job on local disk: objects → clean → Delta, as one set of files and as one object a row.
//!
//! `make bench` runs it. Each line is minimum / median / maximum of the runs of the whole process, start and end included.
//! `SIDESTREAM_BENCH_ROWS` changes the number of rows (default 100,000).

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::sidestream;

const RUNS: usize = 3;

fn main() {
    // `cargo bench` and `cargo test --benches` pass flags that mean nothing here.
    if std::env::args().any(|a| a == "--test" || a == "--list") {
        return;
    }
    let count = std::env::var("SIDESTREAM_BENCH_ROWS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let made = tempfile::tempdir().expect("a directory");
    let into = format!("file://{}", made.path().display());
    let output = sidestream(made.path(), &["datagen", "--into", &into, "--rows", &count.to_string()], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(made.path().join("pinterest_data.jsonl")).expect("the rows");
    let lines: Vec<&str> = text.lines().collect();
    println!("{} pins, {} bytes each", lines.len(), text.len() / lines.len());
    for (name, per_object) in [("objects of 1,000 rows", 1000), ("objects of one row", 1)] {
        let raw = tempfile::tempdir().expect("a directory");
        for (at, rows) in lines.chunks(per_object).enumerate() {
            let folder = raw.path().join(format!("partition={}", at / 10_000));
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join(format!("{at:010}.json")), rows.join("\n")).expect("an object");
        }
        for (kind, keys) in [("append", ""), ("append, each key once", "      delta.dedup.keys: ind\n")] {
            let figures: Vec<_> = (0..RUNS).map(|_| run(raw.path(), keys)).collect();
            let of = |figure: fn(&Figures) -> f64| spread(figures.iter().map(figure).collect());
            println!(
                "{name}, {kind}: {} k rows/s wall, {} k rows/CPU-s, {} s, peak RSS {} MiB",
                spread(figures.iter().map(|f| lines.len() as f64 / f.wall / 1000.0).collect()),
                spread(figures.iter().map(|f| lines.len() as f64 / f.cpu / 1000.0).collect()),
                of(|f| f.wall),
                of(|f| f.peak_mib),
            );
        }
    }
}

struct Figures {
    wall: f64,
    cpu: f64,
    peak_mib: f64,
}

/// One run of the program to its end, into a table of its own.
fn run(raw: &Path, keys: &str) -> Figures {
    let dir = tempfile::tempdir().expect("a directory");
    let (port, raw, out) = (support::process::free_port(), raw.display(), dir.path().display());
    let yaml = format!(
        "worker:
  listeners: http://127.0.0.1:{port}
  offset.storage.file.filename: state/offsets
connectors:
  pins:
    transforms: [{{name: clean, type: pin-cleaner}}]
    source: {{class: objects-source, objects.path: \"{raw}/partition=*/*.json\"}}
    sink:
      class: delta-sink
      delta.table.path: file://{out}/pins
{keys}"
    );
    fs::write(dir.path().join("job.yaml"), yaml).expect("the job");
    let began = Instant::now();
    let mut process = Command::new(env!("CARGO_BIN_EXE_sidestream"))
        .current_dir(dir.path())
        .args(["run", "job.yaml", "--until", "caught-up"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let (mut cpu, mut peak_mib) = (0.0, 0.0);
    let status = loop {
        // The last figures before the end are those of the end, but for two milliseconds.
        if let Some((used, peak)) = usage(process.id()) {
            (cpu, peak_mib) = (used, peak);
        }
        if let Some(status) = process.try_wait().expect("its state") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(status.success(), "the job ended with {status}");
    Figures { wall: began.elapsed().as_secs_f64(), cpu, peak_mib }
}

/// User and system time of a process in seconds, and its largest memory so far in MiB.
fn usage(pid: u32) -> Option<(f64, f64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    // Linux counts in hundredths of a second for user space.
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM"))?.split_whitespace().nth(1)?;
    Some(((ticks(11)? + ticks(12)?) / 100.0, peak.parse::<f64>().ok()? / 1024.0))
}

fn spread(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    let last = figures.len() - 1;
    format!("{:.2}/{:.2}/{:.2}", figures[0], figures[last / 2], figures[last])
}
