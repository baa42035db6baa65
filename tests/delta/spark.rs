//! Spark as reader and as the other writer; `make test-spark` runs these.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use connector_core::arrow::array::{Int64Array, StringArray};
use connector_core::envelope::EnvelopeBuilder;
use connector_core::{Batch, FlushRange, Form, TaskInfo, TopicPartition, testing};
use serde_json::{Value, json};

use crate::lake::Lake;
use crate::readers::{read, script, work};
use crate::sorted;

/// A session of its own; it ends with the value.
struct Spark {
    process: Child,
    /// Closing it ends Spark.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Spark {
    fn start() -> Self {
        let spark = work().join("spark");
        let mut process = Command::new(spark.join("venv/bin/python"))
            .arg(script("spark.py"))
            .arg(spark.join("jars"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`make test-spark` installs Spark");
        let (requests, answers) = (process.stdin.take(), process.stdout.take().unwrap());
        Self { process, requests, answers: BufReader::new(answers) }
    }

    fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.requests.as_mut().unwrap(), "{request}").unwrap();
        let mut answer = String::new();
        assert!(self.answers.read_line(&mut answer).unwrap() > 0, "Spark has ended at {request}");
        serde_json::from_str(&answer).unwrap()
    }

    /// Rows, or the error.
    fn try_sql(&mut self, statement: &str) -> Result<Vec<Value>, String> {
        let answer = self.ask(&json!({"sql": statement}));
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["rows"].as_array().unwrap().clone()),
        }
    }

    #[track_caller]
    fn sql(&mut self, statement: &str) -> Vec<Value> {
        self.try_sql(statement).unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    /// The operations of the log, oldest first.
    #[track_caller]
    fn history(&mut self, table: &str) -> Vec<String> {
        let mut entries = self.sql(&format!("describe history {table}"));
        entries.reverse();
        entries.iter().map(|entry| entry["operation"].as_str().unwrap().to_owned()).collect()
    }

    /// Names and types.
    fn columns(&mut self, table: &str) -> Value {
        self.ask(&json!({"sql": format!("select * from {table} limit 0")}))["columns"].clone()
    }
}

impl Drop for Spark {
    fn drop(&mut self) {
        drop(self.requests.take());
        let _ = self.process.wait();
    }
}

fn delta(path: &Path) -> String {
    format!("delta.`{}`", path.display())
}

#[tokio::test]
#[ignore = "needs Spark: make test-spark"]
async fn spark_reads_rows_types_partitions_and_history() {
    let lake = Lake::new();
    let schema = "ind long, country string, coordinates array<double>, timestamp timestamp, age integer, day date, \
                  price decimal(10,2), inner struct<x: integer, y: string>, m map<string, long>";
    let keys = [("delta.schema", schema), ("delta.partition.columns", "country")];
    let mut task = lake.open("geo", "geo", &keys).await;
    let row = |ind: i64, country: Value| {
        json!({
            "ind": ind, "country": country, "coordinates": [0.5, -1.25], "timestamp": "2020-08-28T03:52:47.123456Z",
            "age": 30, "day": "2020-02-29", "price": 12.25, "inner": {"x": 1, "y": "é"}, "m": {"k": 7},
        })
    };
    let rows =
        [row(1, json!("São Paulo / 100 %")), row(2, json!(null)), row(3, json!("a=b")), row(4, json!("x"))];
    for row in &rows {
        assert!(task.write(std::slice::from_ref(row)).await.is_empty());
        task.publish().await;
    }
    task.write(&[json!({"ind": 5, "country": "x", "later": true})]).await;
    task.publish().await;

    let mut spark = Spark::start();
    let table = delta(&lake.path("geo"));
    let expected = json!([
        ["ind", "bigint"],
        ["country", "string"],
        ["coordinates", "array<double>"],
        ["timestamp", "timestamp"],
        ["age", "int"],
        ["day", "date"],
        ["price", "decimal(10,2)"],
        ["inner", "struct<x:int,y:string>"],
        ["m", "map<string,bigint>"],
        ["later", "boolean"],
    ]);
    assert_eq!(spark.columns(&table), expected);
    let found = spark.sql(&format!("select * from {table} where ind < 5 order by ind"));
    let mut expected = rows.to_vec();
    for row in &mut expected {
        row["timestamp"] = json!("2020-08-28T03:52:47.123456");
        row["price"] = json!("12.25");
        row["later"] = Value::Null;
    }
    assert_eq!(found, expected);
    let pruned = spark.sql(&format!("select ind from {table} where country = 'São Paulo / 100 %'"));
    assert_eq!(pruned, [json!({"ind": 1})]);
    assert_eq!(spark.sql(&format!("select ind from {table} where ind > 4")), [json!({"ind": 5})]);
    let detail = spark.sql(&format!("describe detail {table}")).remove(0);
    assert_eq!((&detail["partitionColumns"], &detail["numFiles"]), (&json!(["country"]), &json!(5)));
    let history = spark.history(&table);
    assert_eq!(history[0], "CREATE TABLE");
    assert!(history[1..].iter().all(|operation| operation == "WRITE"), "{history:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Spark: make test-spark"]
async fn spark_reads_what_upserts_deletes_deduplication_and_compaction_leave() {
    let lake = Lake::new();
    let upsert = [("delta.mode", "upsert"), ("delta.key.columns", "id"), ("delta.schema", "id long, v long")];
    let mut task = lake.open("up", "up", &upsert).await;
    for v in 0..12 {
        let rows: Vec<_> =
            (v * 5..v * 5 + 10).map(|id| (Some(json!(id)), Some(json!({"id": id, "v": v})))).collect();
        task.write_keyed(&rows).await;
        task.publish().await;
    }
    task.write_keyed(&(0..10).map(|id| (Some(json!(id)), None)).collect::<Vec<_>>()).await;
    task.publish().await;
    let mut dedup =
        lake.open("dd", "dd", &[("delta.dedup.keys", "id"), ("delta.schema", "id long, v long")]).await;
    for v in 0..4 {
        dedup.write(&(0..10 + v).map(|id| json!({"id": id, "v": v})).collect::<Vec<_>>()).await;
        dedup.publish().await;
    }
    dedup.close().await;
    let keys = [("delta.optimize.interval.ms", "50")];
    let compacting = lake.open("dd", "dd", &keys).await;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while read(&lake.path("dd")).files.len() > 1 {
        assert!(std::time::Instant::now() < end, "no compaction within a minute");
    }
    compacting.close().await;

    let mut spark = Spark::start();
    let up = delta(&lake.path("up"));
    // The last to write id is the commit in which it is one of the first five rows, but for the last commit's rows.
    let expected: Vec<_> = (10..65).map(|id| json!({"id": id, "v": (id / 5).min(11)})).collect();
    assert_eq!(spark.sql(&format!("select id, v from {up} order by id")), expected);
    assert_eq!(spark.history(&up).iter().filter(|&operation| operation == "MERGE").count(), 13);
    let dd = delta(&lake.path("dd"));
    let expected: Vec<_> = (0..13).map(|id| json!({"id": id, "v": (id - 9).max(0)})).collect();
    assert_eq!(spark.sql(&format!("select id, v from {dd} order by id")), expected);
    assert!(spark.history(&dd).contains(&"OPTIMIZE".to_owned()));
    let older = spark.sql(&format!("select count(*) n from {dd} version as of 2"));
    assert_eq!(older, [json!({"n": 11})]);
}

/// Spark's own statements, each until it gets through: it may lose a race, as any writer.
fn insist(spark: &mut Spark, statement: &str) -> usize {
    for conflicts in 0..20 {
        match spark.try_sql(statement) {
            Ok(_) => return conflicts,
            Err(error) => assert!(error.contains("Concurrent"), "{statement}: {error}"),
        }
    }
    panic!("{statement}: never gets through")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Spark: make test-spark"]
async fn our_appends_and_sparks_merge_optimize_and_delete_go_on_side_by_side() {
    let lake = Lake::new();
    // Spark's merges are of one partition, as its isolation of reads wants it beside a writer that never pauses.
    let keys = [("delta.schema", "side string, id long, v long"), ("delta.partition.columns", "side")];
    let mut task = lake.open("app", "t", &keys).await;
    let row = |side: &str, id: i64| json!({"side": side, "id": id, "v": 0});
    task.write(&(0..20).map(|id| row("theirs", id)).collect::<Vec<_>>()).await;
    task.publish().await;

    let mut spark = Spark::start();
    let table = delta(&lake.path("t"));
    spark.sql(&format!("select count(*) from {table}"));
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let appending = tokio::spawn(async move {
        let mut next = 100;
        while !stopped.load(Ordering::Relaxed) {
            task.write(&(next..next + 5).map(|id| row("ours", id)).collect::<Vec<_>>()).await;
            task.publish().await;
            next += 5;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        next
    });
    let work = tokio::task::spawn_blocking(move || {
        let mut conflicts = 0;
        for round in 1..=3 {
            let source = format!("(select explode(sequence({round}, {round} + 4)) as id)");
            let merge = format!(
                "merge into {table} t using {source} s on t.side = 'theirs' and t.id = s.id \
                 when matched then update set v = t.v + 1"
            );
            let delete = format!("delete from {table} where side = 'theirs' and id = {}", 20 - round);
            for statement in [format!("optimize {table}"), merge, delete] {
                conflicts += insist(&mut spark, &statement);
            }
        }
        (spark.history(&table), conflicts)
    });
    let (history, conflicts) = work.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let end = appending.await.unwrap();

    let seen = read(&lake.path("t"));
    let expected: Vec<_> = (0..17).chain(100..end).collect();
    assert_eq!(seen.numbers("id"), expected, "lost or doubled ({conflicts} conflicts at Spark's side)");
    // Round n adds one to n..=n+4.
    let merged = |id: i64| (1..=3).filter(|round| (*round..=round + 4).contains(&id)).count();
    for row in seen.rows() {
        assert_eq!(row["v"], json!(merged(row["id"].as_i64().unwrap())), "{row}");
    }
    let count = |name: &str| history.iter().filter(|&operation| operation == name).count();
    assert_eq!((count("MERGE"), count("OPTIMIZE"), count("DELETE")), (3, 3, 3), "{history:?}");
    assert!(count("WRITE") > 5, "our appends came in between: {history:?}");
}

#[tokio::test]
#[ignore = "needs Spark: make test-spark"]
async fn spark_infers_the_schema_of_the_s3_sinks_objects_as_the_pipelines_notebook_does() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let keys = testing::config(&[("s3.bucket.name", "bucket"), ("store.url", &url), ("flush.size", "2")]);
    let component = sink_s3::component();
    let sink = component.create_sink(&component.check(&keys).unwrap(), &TaskInfo::default()).unwrap();
    let partition = TopicPartition::new("12e371d757c1.geo", 0);
    sink.open(&[partition.clone().into()]).await.unwrap();
    let countries = ["Cote d'Ivoire", "Åland", "a\nb"];
    let rows: Vec<_> = (0..6)
        .map(|ind| {
            json!({
                "ind": ind, "timestamp": format!("2020-08-2{ind}T03:52:47"), "latitude": 1.5 * ind as f64,
                "longitude": -71.25, "country": countries[ind as usize % 3],
            })
        })
        .collect();
    let values: StringArray = rows.iter().map(|row| Some(row.to_string())).collect();
    let records = EnvelopeBuilder::new()
        .offsets(Int64Array::from_iter_values(0..6))
        .value(Form::Document, Arc::new(values))
        .build()
        .unwrap();
    sink.write(Batch::new(partition.clone(), records)).await.unwrap();
    let staged = sink.flush(&[FlushRange::new(partition, 0..6)]).await.unwrap();
    sink.commit(&staged).await.unwrap();

    let mut spark = Spark::start();
    let glob = format!("{}/bucket/topics/12e371d757c1.geo/partition=0/*.json", directory.path().display());
    let answer = spark.ask(&json!({"json": glob}));
    let types = json!([
        ["country", "string"],
        ["ind", "bigint"],
        ["latitude", "double"],
        ["longitude", "double"],
        ["timestamp", "string"],
    ]);
    assert_eq!(answer["columns"], types);
    assert_eq!(
        sorted(answer["rows"].as_array().unwrap().clone()),
        sorted(rows.iter().map(by_name).collect())
    );
}

/// With its keys in alphabetical order, as Spark gives them.
fn by_name(row: &Value) -> Value {
    let fields: std::collections::BTreeMap<_, _> = row.as_object().unwrap().clone().into_iter().collect();
    Value::Object(fields.into_iter().collect())
}
