//! The daily batch job under Airflow; `make test-airflow` runs what is ignored here.

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::sidestream;
use tempfile::TempDir;

/// Of one `airflow dags test`: the first try and its three retries.
const TRIES: usize = 4;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The tests' folder for downloads.
fn work() -> PathBuf {
    std::env::var_os("SIDESTREAM_WORK").map_or_else(|| root().join(".work"), PathBuf::from)
}

/// An Airflow of its own that knows the DAG of `deploy/airflow`, and the folders of a job.
struct Airflow {
    dir: TempDir,
}

impl Airflow {
    fn new() -> Self {
        let airflow = Self { dir: tempfile::tempdir().unwrap() };
        let migrated =
            airflow.command(&["db", "migrate"]).output().expect("`make test-airflow` installs Airflow");
        assert!(migrated.status.success(), "{}", text(&migrated));
        airflow
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(work().join("airflow/venv/bin/airflow"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("AIRFLOW_HOME", self.path("airflow"))
            .env("AIRFLOW__CORE__DAGS_FOLDER", root().join("deploy/airflow/dags"))
            .env("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
            .env("SIDESTREAM", env!("CARGO_BIN_EXE_sidestream"))
            .env("SIDESTREAM_JOB", self.path("job.yaml"))
            .env("SIDESTREAM_TIMEOUT", "2m")
            .env("SIDESTREAM_RETRY_SECONDS", "1");
        command
    }

    /// A run of the DAG for one day, to its end.
    fn run(&self, day: &str) -> Output {
        self.command(&["dags", "test", "sidestream_batch", day]).output().unwrap()
    }

    /// The job, with its objects in `raw` and its table in `table`.
    fn write_job(&self) {
        let dir = self.dir.path().display();
        let job = format!(
            "worker:
  listeners: http://127.0.0.1:0
  offset.storage.file.filename: {dir}/positions

connectors:
  pins:
    source: {{class: objects-source, objects.path: \"file://{dir}/raw/topics/*.pin/partition=0/*.json\"}}
    transforms: [{{name: clean, type: pin-cleaner}}]
    sink: {{class: delta-sink, delta.table.path: \"file://{dir}/table\", delta.dedup.keys: ind}}
"
        );
        fs::write(self.path("job.yaml"), job).unwrap();
    }

    /// One object of the raw connector, as it names them.
    fn write_object(&self, offset: usize, rows: &[Value]) -> PathBuf {
        let folder = self.path("raw/topics/x.pin/partition=0");
        fs::create_dir_all(&folder).unwrap();
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let object = folder.join(format!("x.pin+0+{offset:010}.json"));
        fs::write(&object, lines).unwrap();
        object
    }

    /// The rows of the table, by `ind`.
    fn table(&self) -> Vec<Value> {
        let script = "import json, sys, deltalake\n\
                      table = deltalake.DeltaTable(sys.argv[1]).to_pyarrow_table().sort_by('ind')\n\
                      print(json.dumps(table.to_pylist()))";
        let python = work().join("venv/bin/python");
        let read = Command::new(python).args(["-c", script]).arg(self.path("table")).output().unwrap();
        assert!(read.status.success(), "{}", text(&read));
        serde_json::from_slice(&read.stdout).unwrap()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

/// Rows of pins with `index` from 0 on.
fn pins(count: usize) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let (into, count) = (format!("file://{}", dir.path().display()), count.to_string());
    let made = sidestream(dir.path(), &["datagen", "--into", &into, "--rows", &count, "--seed", "5"], &[]);
    assert!(made.status.success(), "{}", text(&made));
    let lines = fs::read_to_string(dir.path().join("pinterest_data.jsonl")).unwrap();
    let rows = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.zip(0..)
        .map(|(mut row, index): (Value, i64)| {
            row["index"] = index.into();
            row
        })
        .collect()
}

/// The same pins once more, told apart by their title.
fn again(rows: &[Value]) -> Vec<Value> {
    let again = |row: &Value| {
        let mut row = row.clone();
        row["title"] = "again".into();
        row
    };
    rows.iter().map(again).collect()
}

/// What the cleaner makes of these pins, as far as it says whose row it is and in which types.
fn expected(rows: &[Value]) -> Vec<(Value, Value, Value)> {
    let row = |row: &Value| (row["index"].clone(), row["unique_id"].clone(), row["category"].clone());
    rows.iter().map(row).collect()
}

fn found(table: &[Value]) -> Vec<(Value, Value, Value)> {
    table.iter().map(|row| (row["ind"].clone(), row["unique_id"].clone(), row["category"].clone())).collect()
}

#[test]
#[ignore = "needs Airflow: make test-airflow"]
fn each_days_run_adds_the_new_rows_once_and_the_first_of_a_key_stays() {
    let airflow = Airflow::new();
    airflow.write_job();
    let rows = pins(340);
    airflow.write_object(0, &rows[..200]);
    airflow.write_object(200, &[&again(&rows[150..200]), &rows[200..300]].concat());

    let first = airflow.run("2026-01-01");
    assert!(first.status.success(), "{}", text(&first));
    assert!(text(&first).contains("state=success"), "{}", text(&first));
    let table = airflow.table();
    assert_eq!(found(&table), expected(&rows[..300]));
    assert!(table.iter().all(|row| row["title"] != "again"), "a repetition has replaced the first row");
    let columns: Vec<_> = table[0].as_object().unwrap().keys().map(String::as_str).collect();
    let documented = [
        "ind",
        "unique_id",
        "title",
        "description",
        "follower_count",
        "poster_name",
        "tag_list",
        "is_image_or_video",
        "image_src",
        "save_location",
        "category",
    ];
    assert_eq!(columns[..documented.len()], documented);

    let nothing_new = airflow.run("2026-01-02");
    assert!(nothing_new.status.success(), "{}", text(&nothing_new));
    assert_eq!(airflow.table(), table, "a day without new objects changes nothing");

    airflow.write_object(350, &[&again(&rows[..20]), &rows[300..]].concat());
    let third = airflow.run("2026-01-03");
    assert!(third.status.success(), "{}", text(&third));
    let table = airflow.table();
    assert_eq!(found(&table), expected(&rows));
    assert!(table.iter().all(|row| row["title"] != "again"), "a repetition has replaced the first row");
}

#[test]
#[ignore = "needs Airflow: make test-airflow"]
fn a_job_that_fails_is_tried_again_and_then_is_a_failed_run_whose_log_names_the_object_and_the_line() {
    let airflow = Airflow::new();
    airflow.write_job();
    let rows = pins(20);
    airflow.write_object(0, &rows[..10]);
    let broken = airflow.write_object(10, &rows[10..15]);
    let half = fs::read_to_string(&broken).unwrap();
    fs::write(&broken, &half[..half.len() - 20]).unwrap();

    let failed = airflow.run("2026-01-01");
    let log = text(&failed);
    assert_eq!(failed.status.code(), Some(1), "{log}");
    assert!(log.contains("state=failed"), "{log}");
    assert_eq!(log.matches("Command exited with return code 1").count(), TRIES, "{log}");
    assert!(log.contains("task failed: ") && log.contains("x.pin+0+0000000010.json line 5"), "{log}");
    let title = rows[14]["title"].as_str().unwrap();
    assert!(!log.contains(title), "the log shows a row: {log}");

    fs::remove_file(broken).unwrap();
    airflow.write_object(11, &rows[10..]);
    let next = airflow.run("2026-01-02");
    assert!(next.status.success(), "{}", text(&next));
    assert_eq!(found(&airflow.table()), expected(&rows));
}

#[test]
fn the_job_of_the_dag_is_valid() {
    let job = root().join("deploy/airflow/batch.yaml");
    let env = [("USER_ID", "12e371d757c1"), ("BUCKET", "b"), ("POSITIONS", "/tmp/positions")];
    let valid = sidestream(Path::new("/"), &["validate", job.to_str().unwrap()], &env);
    assert!(valid.status.success(), "{}", text(&valid));
}
