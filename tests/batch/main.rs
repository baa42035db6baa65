//! The daily batch job: raw JSON objects in S3 become cleaned tables, each key once, by one command that ends.

#[path = "../pipeline/cleaned.rs"]
mod cleaned;
mod daily;
mod failures;
mod killed;
mod replay;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::{S3, rows, sidestream};

/// A worker that needs no Kafka.
const STATE_FILE: &str = "  offset.storage.file.filename: state/offsets\n";
const TABLES: [&str; 3] = ["pin", "geo", "user"];

/// A bucket with raw objects, and a directory with the job and its tables.
struct Job {
    s3: S3,
    bucket: String,
    id: String,
    dir: tempfile::TempDir,
}

impl Job {
    fn new(s3: S3) -> Self {
        let (bucket, id) = (support::unique("raw"), support::unique("id"));
        s3.create_bucket(&bucket);
        Self { s3, bucket, id, dir: tempfile::tempdir().unwrap() }
    }

    /// Stores rows of a table as the S3 sink does: `per_object` lines an object, named by the first offset.
    fn put(&self, table: &str, first: usize, rows: &[Value], per_object: usize) {
        for (at, rows) in rows.chunks(per_object).enumerate() {
            let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
            self.put_object(table, &format!("{:010}.json", first + at * per_object), lines.as_bytes());
        }
    }

    fn put_object(&self, table: &str, end: &str, body: &[u8]) {
        let topic = format!("{}.{table}", self.id);
        self.s3.put(&self.bucket, &format!("topics/{topic}/partition=0/{topic}+0+{end}"), body);
    }

    /// The connector of a table, with more lines for the connector and for its source.
    fn connector(&self, table: &str, more: &str, source: &str) -> String {
        let Self { bucket, id, s3, .. } = self;
        let (key, url, path) = ("ind", &s3.url, self.table(table).display().to_string());
        format!(
            "  {table}s:
    transforms: [{{name: clean, type: {table}-cleaner}}]
    source:
      class: objects-source
      objects.path: s3://{bucket}/topics/{id}.{table}/partition=*/*.json*
      s3.region: us-east-1
      store.url: {url}
{source}
    sink:
      class: delta-sink
      delta.table.path: file://{path}
      delta.dedup.keys: {key}
{more}
"
        )
    }

    /// Runs connectors to their end, without Kafka.
    fn run(&self, connectors: &str, arguments: &[&str]) -> Ended {
        self.run_with(STATE_FILE, connectors, arguments)
    }

    /// The same with other keys of the worker.
    fn run_with(&self, worker: &str, connectors: &str, arguments: &[&str]) -> Ended {
        self.write(worker, connectors);
        let arguments =
            [&["run", "job.yaml", "--until", "caught-up", "--output", "json"], arguments].concat();
        Ended(sidestream(self.dir.path(), &arguments, &self.s3.credentials()))
    }

    fn write(&self, worker: &str, connectors: &str) {
        let listeners = format!("  listeners: http://127.0.0.1:{}\n", support::process::free_port());
        let job = format!("worker:\n{listeners}{worker}connectors:\n{connectors}");
        fs::write(self.dir.path().join("job.yaml"), job).unwrap();
    }

    /// Starts the same in the background.
    fn spawn(&self) -> std::process::Child {
        Command::new(env!("CARGO_BIN_EXE_sidestream"))
            .current_dir(self.dir.path())
            .envs(self.s3.credentials())
            .args(["run", "job.yaml", "--until", "caught-up"])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    }

    fn table(&self, table: &str) -> PathBuf {
        self.dir.path().join(format!("{table}_table"))
    }

    /// A table as Python's deltalake reads it, rows in the order of their keys.
    fn read(&self, table: &str) -> Seen {
        read(&self.table(table))
    }
}

/// How a run ended.
struct Ended(Output);

impl Ended {
    #[track_caller]
    fn code(&self) -> i32 {
        self.0.status.code().unwrap_or_else(|| panic!("ended by a signal: {}", self.text()))
    }

    fn text(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.0.stdout), String::from_utf8_lossy(&self.0.stderr))
    }

    /// The summary of a connector.
    #[track_caller]
    fn summary(&self, connector: &str) -> Value {
        let summary: Value =
            serde_json::from_slice(&self.0.stdout).unwrap_or_else(|_| panic!("{}", self.text()));
        let all = summary["connectors"].as_array().unwrap();
        all.iter().find(|c| c["name"] == connector).unwrap_or_else(|| panic!("{summary}")).clone()
    }
}

#[derive(Debug)]
struct Seen {
    version: u64,
    rows: Vec<Value>,
}

impl Seen {
    fn keys(&self) -> Vec<u64> {
        self.rows.iter().map(|row| row["ind"].as_u64().unwrap()).collect()
    }
}

fn read(table: &Path) -> Seen {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let work = std::env::var_os("SIDESTREAM_WORK").map_or_else(|| root.join(".work"), PathBuf::from);
    let output = Command::new(work.join("venv/bin/python"))
        .arg(root.join("tests/delta/read.py"))
        .arg(table)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Times as the cleaners' rules have them.
    let text = String::from_utf8(output.stdout).unwrap().replace(".000000+00:00", "Z");
    let seen: Value = serde_json::from_str(&text).unwrap();
    let mut rows = seen["rows"]["deltalake"].as_array().unwrap().clone();
    rows.sort_by_key(|row| row["ind"].as_u64());
    Seen { version: seen["version"].as_u64().unwrap(), rows }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}
