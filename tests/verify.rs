//! `sidestream verify` on real stores: what a run left is accounted for, and what somebody broke is found.

#[path = "plugins/libraries.rs"]
mod libraries;
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use std::{fs, io, thread};

use reqwest::Method;
use serde_json::{Value, json};
use support::process::sidestream;
use support::{Kafka, Record, S3, Services, Sidestream, python, services, unique, wait_until};

const SOON: Duration = Duration::from_secs(60);

/// A connector, and where its files are.
struct Case {
    kafka: Kafka,
    id: String,
    yaml: String,
    env: Vec<(String, String)>,
    dir: tempfile::TempDir,
}

impl Case {
    /// `keys`: of the connector, one a line, below `connector.class`; `{dir}` in them is a directory.
    fn new(what: &str, partitions: i32, keys: &str) -> Self {
        let Services { kafka, .. } = services();
        let id = unique(what);
        kafka.create_topic(&id, partitions);
        let dir = tempfile::tempdir().unwrap();
        let keys = keys.replace("{dir}", &dir.path().display().to_string());
        let keys: String = keys.lines().map(|line| format!("    {}\n", line.trim())).collect();
        let yaml = format!(
            "worker:
  bootstrap.servers: {}
connectors:
  {id}:
    topics: {id}
{keys}",
            kafka.brokers
        );
        Self { kafka, id, yaml, env: Vec::new(), dir }
    }

    /// Objects in a directory.
    fn files(what: &str, partitions: i32, keys: &str) -> Self {
        let s3 = "connector.class: s3-sink\ns3.bucket.name: bucket\nstore.url: file://{dir}\n";
        Self::new(what, partitions, &format!("{s3}{keys}"))
    }

    fn env(&self) -> Vec<(&str, &str)> {
        self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn group(&self) -> String {
        format!("connect-{}", self.id)
    }

    /// Numbered records, round robin.
    fn produce(&self, partitions: i32, numbers: std::ops::Range<i64>) {
        self.kafka.produce(numbers.map(|n| {
            let partition = i32::try_from(n % i64::from(partitions)).unwrap();
            Record::new(&self.id, json!({ "n": n }).to_string()).partition(partition)
        }));
    }

    /// Runs the connector until the group has committed `end` in each partition, and stops it, which passes over records that came to nothing.
    fn run_to(&self, partitions: i32, end: i64) {
        let mut worker = Sidestream::start(&[("a.yaml", &self.yaml)], &self.env());
        wait_until(SOON, "all is committed", || {
            let committed = self.kafka.committed(&self.group(), &self.id);
            let done = (0..partitions).all(|partition| committed.get(&partition) >= Some(&end));
            done.then_some(())
        });
        assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    }

    fn verify_with(&self, arguments: &[&str]) -> Output {
        fs::write(self.dir.path().join("verify.yaml"), &self.yaml).unwrap();
        sidestream(self.dir.path(), &[&["verify", "verify.yaml"], arguments].concat(), &self.env())
    }

    /// The exit code, and the connector's part of the answer.
    #[track_caller]
    fn verify(&self) -> (i32, Value) {
        let output = self.verify_with(&["--output", "json"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut answer: Value = serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code().unwrap(), answer["connectors"][0].take())
    }

    /// The numbers of a partition: delivered, rejected, missing, doubled.
    fn numbers(report: &Value, partition: usize) -> [i64; 4] {
        let partition = &report["partitions"][partition];
        ["delivered", "rejected", "missing", "doubled"].map(|name| partition[name].as_i64().unwrap())
    }

    fn object(&self, partition: i32, start: i64) -> PathBuf {
        let id = &self.id;
        self.dir
            .path()
            .join(format!("bucket/topics/{id}/partition={partition}/{id}+{partition}+{start:010}.json"))
    }
}

/// `start..end state` of the ranges of a partition.
fn ranges(report: &Value, partition: usize) -> Vec<String> {
    let ranges = report["partitions"][partition]["ranges"].as_array().unwrap();
    let text =
        |range: &Value| format!("{}..{} {}", range["start"], range["end"], range["state"].as_str().unwrap());
    ranges.iter().map(text).collect()
}

#[test]
fn objects_in_a_directory_are_each_there_once_or_it_is_told_which_are_not() {
    let keys = "flush.size: 10\ntasks.max: 2\nconsumer.override.session.timeout.ms: 6000";
    let case = Case::files("verify", 2, keys);
    case.produce(2, 0..110);
    case.run_to(2, 50);
    let (code, report) = case.verify();
    assert_eq!((code, report["accounted"].as_bool()), (0, Some(true)), "{report:#}");
    for partition in 0..2 {
        assert_eq!(Case::numbers(&report, partition), [50, 0, 0, 0]);
        assert_eq!(ranges(&report, partition), ["0..50 accounted"]);
        // Not enough for another object.
        assert_eq!(report["partitions"][partition]["behind"], 5);
    }

    // An object is removed.
    let kept = fs::read(case.object(1, 20)).unwrap();
    fs::remove_file(case.object(1, 20)).unwrap();
    let (code, report) = case.verify();
    assert_eq!(code, 3, "{report:#}");
    assert_eq!(Case::numbers(&report, 0), [50, 0, 0, 0]);
    assert_eq!(Case::numbers(&report, 1), [40, 0, 10, 0]);
    assert_eq!(ranges(&report, 1), ["0..10 accounted", "10..30 missing", "30..50 accounted"]);
    let text = String::from_utf8(case.verify_with(&[]).stdout).unwrap();
    assert!(
        text.contains("10..30: 10 missing; the store has ") && text.contains("NOT ACCOUNTED FOR"),
        "{text}"
    );

    // It is put back, and once more under a wrong start.
    fs::write(case.object(1, 20), &kept).unwrap();
    fs::write(case.object(1, 25), &kept).unwrap();
    let (code, report) = case.verify();
    assert_eq!(code, 3, "{report:#}");
    assert_eq!(Case::numbers(&report, 1), [60, 0, 0, 10]);
    assert_eq!(
        ranges(&report, 1),
        ["0..20 accounted", "20..25 doubled", "25..30 doubled", "30..50 accounted"]
    );
    fs::remove_file(case.object(1, 25)).unwrap();

    // It was cut off in the middle of a record.
    fs::write(case.object(1, 20), &kept[..kept.len() - 3]).unwrap();
    let (code, report) = case.verify();
    assert_eq!((code, Case::numbers(&report, 1)), (3, [49, 0, 1, 0]));
    let place = report["partitions"][1]["ranges"][1]["places"][0].as_str().unwrap();
    assert!(place.ends_with("(damaged: it ends within a record)"), "{place}");
    fs::write(case.object(1, 20), &kept).unwrap();

    // Published and not acknowledged: the group is set back. And beyond the topic.
    case.kafka.set_committed(&case.group(), &case.id, 1, 40);
    let (code, report) = case.verify();
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(
        (report["partitions"][1]["unacknowledged"].as_i64(), report["partitions"][1]["end"].as_i64()),
        (Some(10), Some(40))
    );
    fs::write(case.object(1, 700), &kept).unwrap();
    let (code, report) = case.verify();
    let problem = report["partitions"][1]["problems"][0].as_str().unwrap_or_default();
    assert!(code == 3 && problem.contains("begin behind the topic's end"), "{report:#}");
}

#[test]
fn objects_in_a_bucket_are_verified_with_the_connectors_own_credentials() {
    let Services { s3, .. } = services();
    let bucket = unique("verify-bucket");
    s3.create_bucket(&bucket);
    let keys = format!(
        "connector.class: s3-sink\ns3.bucket.name: {bucket}\ns3.region: us-east-1\nstore.url: {}\nflush.size: 100\n\
         s3.compression.type: gzip",
        s3.url
    );
    let mut case = Case::new("verify-s3", 1, &keys);
    case.env = s3.credentials().map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    case.produce(1, 0..2000);
    case.run_to(1, 2000);
    let (code, report) = case.verify();
    assert_eq!((code, Case::numbers(&report, 0)), (0, [2000, 0, 0, 0]), "{report:#}");

    let key = format!("topics/{0}/partition=0/{0}+0+{1:010}.json.gz", case.id, 700);
    delete(&s3, &bucket, &key);
    let (code, report) = case.verify();
    assert_eq!((code, Case::numbers(&report, 0)), (3, [1900, 0, 100, 0]), "{report:#}");

    // Whoever may not look finds out nothing, and says so.
    case.env.retain(|(name, _)| name != "AWS_SECRET_ACCESS_KEY");
    case.env.push(("AWS_SECRET_ACCESS_KEY".to_owned(), "wrong-secret-of-nobody".to_owned()));
    let (code, report) = case.verify();
    assert_eq!((code, report["accounted"].as_bool()), (3, Some(false)));
    let error = report["error"].as_str().unwrap();
    assert!(error.contains(&bucket) && !error.contains("wrong-secret-of-nobody"), "{error}");
}

fn delete(s3: &S3, bucket: &str, key: &str) {
    let (status, answer) = s3.request(Method::DELETE, &format!("/{bucket}/{key}"), &[], b"");
    assert!((200..300).contains(&status), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn it_may_run_beside_the_connector_and_after_a_crash() {
    let case = Case::files("verify-live", 2, "flush.size: 10\ntasks.max: 2");
    let mut worker = Sidestream::start(&[("a.yaml", &case.yaml)], &[]);
    let produced: i64 = thread::scope(|scope| {
        let producing = scope.spawn(|| {
            let batches = (0..40).map(|batch| batch * 100..(batch + 1) * 100);
            batches.map(|numbers| case.produce(2, numbers)).count() as i64 * 100
        });
        let mut seen = 0;
        while !producing.is_finished() {
            let (code, report) = case.verify();
            assert_eq!(code, 0, "{report:#}");
            seen += Case::numbers(&report, 0)[0];
        }
        assert!(seen > 0, "it was never in the middle of things");
        producing.join().unwrap()
    });
    wait_until(SOON, "all is committed", || {
        let committed = case.kafka.committed(&case.group(), &case.id);
        (0..2).all(|partition| committed.get(&partition) >= Some(&(produced / 2))).then_some(())
    });
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    // It ends between publishing and acknowledging: what it was about to do stands beside the group's offset.
    let failpoint = [("FAILPOINTS", "sink.published=1*return")];
    let mut worker = Sidestream::spawn(&[("a.yaml", &case.yaml)], &failpoint);
    case.produce(2, produced..produced + 20);
    assert!(!worker.wait_end(SOON).success());
    let (code, report) = case.verify();
    assert_eq!(code, 0, "{report:#}");
    let partitions = report["partitions"].as_array().unwrap();
    let published: Vec<&Value> = partitions.iter().filter(|p| p["unacknowledged"] == 10).collect();
    assert!(!published.is_empty(), "{report:#}");
    for partition in published {
        assert_eq!(partition["intended"].as_i64(), Some(produced / 2 + 10), "{report:#}");
        assert_eq!(partition["end"].as_i64(), Some(produced / 2), "{report:#}");
    }
}

#[test]
fn directories_keys_and_tombstones_of_a_partition_are_counted_together() {
    let keys = "flush.size: 12\npartitioner.class: field\npartition.field.name: kind\nstore.kafka.keys: true\n\
                keys.format.class: json\nbehavior.on.null.values: write\nkey.converter: StringConverter";
    let case = Case::files("verify-kinds", 1, keys);
    case.kafka.produce((0..60).map(|n| {
        let kind = ["a", "b", "c"][(n % 7 % 3) as usize];
        let value = (n % 5 != 3).then(|| json!({ "kind": kind, "n": n }).to_string().into_bytes());
        Record { value, ..Record::new(&case.id, "") }.key(format!("key {n}")).partition(0)
    }));
    case.run_to(1, 60);
    let (code, report) = case.verify();
    assert_eq!((code, Case::numbers(&report, 0)), (0, [60, 0, 0, 0]), "{report:#}");

    let topic = case.dir.path().join("bucket/topics").join(&case.id);
    let directories = files_in(&topic).unwrap();
    assert_eq!(directories.len(), 4, "three kinds and the tombstones: {directories:?}");
    for directory in directories {
        let end = if directory.ends_with("tombstone") { ".keys.json" } else { ".json" };
        let is_first = |path: &&PathBuf| {
            let name = path.to_string_lossy();
            name.ends_with(end) && (end == ".keys.json" || !name.ends_with(".keys.json"))
        };
        let files = files_in(&directory).unwrap();
        let file = files.iter().find(is_first).unwrap();
        let kept = fs::read(file).unwrap();
        let lines = kept.iter().filter(|byte| **byte == b'\n').count() as i64;
        fs::remove_file(file).unwrap();
        let (code, report) = case.verify();
        assert_eq!((code, Case::numbers(&report, 0)), (3, [60 - lines, 0, lines, 0]), "{file:?} {report:#}");
        fs::write(file, &kept).unwrap();
    }
    assert_eq!(case.verify().0, 0);
}

#[test]
fn offsets_that_hold_no_record_are_asked_of_kafka_before_anything_is_called_missing() {
    let case = Case::files("verify-gaps", 1, "flush.size: 5");
    for n in 0..10 {
        case.kafka.produce_in_transaction(&Record::new(&case.id, json!({ "n": n }).to_string()).partition(0));
    }
    // The last record is at 18, the end of its transaction at 19.
    case.run_to(1, 19);
    let (code, report) = case.verify();
    assert_eq!((code, Case::numbers(&report, 0)), (0, [10, 0, 0, 0]), "{report:#}");
    assert_eq!(report["partitions"][0]["gaps"], 9);
    fs::remove_file(case.object(0, 10)).unwrap();
    let (code, report) = case.verify();
    assert_eq!((code, Case::numbers(&report, 0)), (3, [5, 0, 5, 0]), "{report:#}");
}

#[test]
fn what_a_connector_leaves_out_on_purpose_cannot_be_told_from_a_loss_and_is_said() {
    let case = Case::files("verify-null", 1, "flush.size: 5\nbehavior.on.null.values: ignore");
    let tombstone = || Record { value: None, ..Record::new(&case.id, "") }.partition(0);
    case.kafka.produce((0..20).map(|n| match n % 4 {
        0 => tombstone(),
        _ => Record::new(&case.id, json!({ "n": n }).to_string()).partition(0),
    }));
    case.run_to(1, 20);
    let (code, report) = case.verify();
    assert_eq!((code, Case::numbers(&report, 0)), (0, [15, 0, 0, 0]), "{report:#}");
    assert_eq!(report["partitions"][0]["unexplained"], 5);
    assert!(report["notes"][0].as_str().unwrap().contains("`behavior.on.null.values: ignore`"), "{report:#}");
}

#[test]
fn a_transform_that_leaves_records_out_is_an_excuse_only_where_the_store_does_not_count() {
    let library = libraries::file(&libraries::build("plugin-harness"), "plugin_harness");
    let stores = [
        "connector.class: s3-sink\ns3.bucket.name: bucket\nstore.url: file://{dir}",
        "connector.class: delta-sink\ndelta.table.path: file://{dir}/lake",
    ];
    for (store, is_table) in stores.into_iter().zip([false, true]) {
        let keys = "flush.size: 5\nerrors.tolerance: all\nerrors.deadletterqueue.topic.replication.factor: 1\n\
                    errors.deadletterqueue.context.headers.enable: true\ntransforms: [{name: only, type: picky}]";
        let queue = unique("verify-dead");
        let case = Case::new(
            "verify-picky",
            1,
            &format!("{store}\n{keys}\nerrors.deadletterqueue.topic.name: {queue}"),
        );
        let plugins = format!("worker:\n  plugins: [{}]\n", library.display());
        let case = Case { yaml: case.yaml.replace("worker:\n", &plugins), ..case };
        case.kafka.produce((0..40).map(|n| {
            let what = ["keep", "keep", "drop", "refuse"][(n % 4) as usize];
            Record::new(&case.id, json!({ "n": n, "what": what }).to_string()).partition(0)
        }));
        // Each file has five of the records 0, 1, 4, 5, 8, …; the last of them is 37.
        case.run_to(1, 38);
        let (code, report) = case.verify();
        assert_eq!(code, 0, "{report:#}");
        assert_eq!(Case::numbers(&report, 0), [20, 10, 0, 0], "{report:#}");
        let numbers = ["filtered", "unexplained"].map(|name| report["partitions"][0][name].as_i64().unwrap());
        assert_eq!(numbers, if is_table { [10, 0] } else { [0, 10] }, "{report:#}");
        if is_table {
            continue;
        }
        assert!(report["notes"][0].as_str().unwrap().contains("the transform `only`"), "{report:#}");
        // More than there is room for is too much, whatever is left out.
        fs::copy(case.object(0, 0), case.object(0, 1)).unwrap();
        let (code, report) = case.verify();
        assert_eq!((code, Case::numbers(&report, 0)[3]), (3, 4), "{report:#}");
    }
}

#[test]
fn dead_letters_are_counted_by_their_headers_or_by_their_number() {
    for (headers, dead_letter) in [(true, 4), (false, 0)] {
        let queue = unique("verify-dead");
        let keys = format!(
            "flush.size: 5\nerrors.tolerance: all\nerrors.deadletterqueue.topic.name: {queue}\n\
             errors.deadletterqueue.topic.replication.factor: 1\n\
             errors.deadletterqueue.context.headers.enable: {headers}"
        );
        let case = Case::files("verify-dlq", 1, &keys);
        case.kafka.produce((0..24).map(|n| {
            let value = if n % 6 == 2 { "no JSON".to_owned() } else { json!({ "n": n }).to_string() };
            Record::new(&case.id, value).partition(0)
        }));
        case.run_to(1, 24);
        let (code, report) = case.verify();
        assert_eq!(code, 0, "{report:#}");
        assert_eq!(Case::numbers(&report, 0)[..2], [20, dead_letter], "{report:#}");
        assert_eq!(report["dead_letters"]["unnamed"], if headers { 0 } else { 4 });
        // A letter more explains nothing.
        fs::remove_file(case.object(0, 0)).unwrap();
        let (code, report) = case.verify();
        assert_eq!(code, 3, "{report:#}");
    }
}

#[test]
fn a_delta_tables_log_says_what_it_has_also_after_compaction() {
    let case = Case::new(
        "verify-delta",
        2,
        "connector.class: delta-sink\ndelta.table.path: file://{dir}/lake\nflush.size: 20\ndelta.partition.columns: n",
    );
    let table = case.dir.path().join("lake");
    case.kafka.produce((0..100).map(|n| {
        Record::new(&case.id, json!({ "n": "a b%".repeat(n % 2), "i": n }).to_string())
            .partition((n % 2) as i32)
    }));
    case.run_to(2, 40);
    let (code, report) = case.verify();
    assert_eq!(code, 0, "{report:#}");
    // The table's position counts; a run that stops publishes only what is due.
    for partition in 0..2 {
        assert_eq!(Case::numbers(&report, partition), [40, 0, 0, 0]);
        assert_eq!(ranges(&report, partition), ["0..40 accounted"]);
    }

    // A data file is gone.
    let files = parquet_files(&table);
    let kept = fs::read(&files[0]).unwrap();
    fs::remove_file(&files[0]).unwrap();
    let (code, report) = case.verify();
    let missing: i64 = (0..2).map(|partition| Case::numbers(&report, partition)[2]).sum();
    assert_eq!((code, missing), (3, 20), "{report:#}");
    fs::write(&files[0], &kept).unwrap();

    // Small files become large ones: the same rows.
    let script = "import sys, deltalake; print(deltalake.DeltaTable(sys.argv[1]).optimize.compact())";
    let compacted = Command::new(python()).args(["-c", script]).arg(&table).output().unwrap();
    assert!(compacted.status.success(), "{}", String::from_utf8_lossy(&compacted.stderr));
    assert_eq!(case.verify().0, 0);
    // Then the offsets of a file that is gone are not known any more.
    let newest = parquet_files(&table).into_iter().find(|file| !files.contains(file)).unwrap();
    fs::remove_file(newest).unwrap();
    let (code, report) = case.verify();
    assert_eq!(code, 3);
    assert!(report["error"].as_str().unwrap().contains("is gone, and rows with it"), "{report:#}");

    // The group is ahead of the table: somebody took the table's newest version away.
    let log = table.join("_delta_log");
    let mut versions: Vec<_> =
        files_in(&log).unwrap().into_iter().filter(|f| f.extension().is_some_and(|e| e == "json")).collect();
    versions.sort();
    for version in versions.iter().rev().take(2) {
        fs::remove_file(version).unwrap();
    }
    let (code, report) = case.verify();
    assert_eq!(code, 3);
    let missing: i64 = (0..2).map(|partition| Case::numbers(&report, partition)[2]).sum();
    assert!(missing > 0, "{report:#}");
}

fn parquet_files(table: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in files_in(table).unwrap() {
        match path.is_dir() {
            true if path.ends_with("_delta_log") => {}
            true => files.extend(parquet_files(&path)),
            false => files.extend(path.extension().is_some_and(|end| end == "parquet").then_some(path)),
        }
    }
    files.sort();
    files
}

fn files_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

#[test]
fn what_cannot_be_verified_is_said_with_an_exit_code_of_its_own() {
    let case = Case::files("verify-args", 1, "flush.size: 10");
    let others = "  lines:
    connector.class: file-sink
    topics: x
    file: /tmp/never-written
  rows:
    connector.class: datagen-source
    datagen.rows: 1
";
    let case = Case { yaml: format!("{}{others}", case.yaml), ..case };
    let says = |arguments: &[&str], code: i32, text: &str| {
        let output = case.verify_with(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(text), "{arguments:?}: {stderr}");
    };
    // Nothing was read or written yet, so nothing is missing; the others are named.
    says(&[], 0, "lines: this sink cannot say what is in its store");
    says(&[], 0, "rows: it is a source");
    says(&["--connector", "lines"], 1, "no connector of these files can be verified");
    says(&["--connector", &case.id, "--connector", "rows"], 1, "rows: it is a source");
    says(&["--connector", "nobody"], 1, "no file declares a connector `nobody`");
    let wrong = Case { yaml: case.yaml.replace("flush.size: 10", "flush.size: ten"), ..case };
    let output = wrong.verify_with(&[]);
    assert_eq!(output.status.code(), Some(1));
}
