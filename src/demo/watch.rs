//! Progress of the demo, from the worker's own metrics, and what it left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::process::Child;
use super::{Result, http, table};

/// Rows of each table from the generator, and one posted.
const ROWS: u64 = 2001;
/// Tables and their posted or generated pins in the wrong topic make at least this many records in Kafka.
const AT_LEAST: u64 = 3 * ROWS;

pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub fn new(hidden: bool) -> Self {
        let bar = ProgressBar::new(AT_LEAST);
        if hidden {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) =
            ProgressStyle::with_template("demo: {bar:40} {pos}/{len} records read into files  {elapsed}")
        {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Waits until every record that went into Kafka has been read by the raw sink and by the cleaners.
    pub fn watch(&self, address: &str, worker: &mut Child, deadline: Instant) -> Result<()> {
        loop {
            worker.check()?;
            let read = by_connector(&http::get(address, "/metrics")?, "sidestream_task_records_read_total");
            let delivered =
                by_connector(&http::get(address, "/metrics")?, "sidestream_task_records_delivered_total");
            let of = |map: &BTreeMap<String, u64>, names: &[&str]| -> u64 {
                names.iter().filter_map(|name| map.get(*name)).sum()
            };
            let produced = of(&delivered, &["rows", "gateway"]);
            let raw = of(&read, &["raw"]);
            self.bar.set_length(produced.max(AT_LEAST));
            self.bar.set_position(raw);
            let cleaned = of(&read, &["pins-clean", "geo-clean", "users-clean"]);
            if produced >= AT_LEAST && raw >= produced && cleaned >= produced {
                self.bar.finish();
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "not all records came through in time: {produced} into Kafka, {raw} into raw files, {cleaned} \
                     through the cleaners; see worker.log"
                )
                .into());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Sums of a metric over the tasks of each connector.
fn by_connector(metrics: &str, name: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix(name)) {
        let connector = line.split("connector=\"").nth(1).and_then(|rest| rest.split('"').next());
        let value = line.rsplit(' ').next().and_then(|text| text.parse::<u64>().ok());
        if let (Some(connector), Some(value)) = (connector, value) {
            *sums.entry(connector.to_owned()).or_insert(0) += value;
        }
    }
    sums
}

/// Objects and lines below a directory.
fn count(dir: &Path) -> Result<(u64, u64)> {
    let (mut objects, mut lines) = (0, 0);
    for entry in dir.read_dir()? {
        let path = entry?.path();
        if path.is_dir() {
            let (o, l) = count(&path)?;
            objects += o;
            lines += l;
        } else {
            objects += 1;
            lines += std::fs::read(&path)?.iter().filter(|&&b| b == b'\n').count() as u64;
        }
    }
    Ok((objects, lines))
}

/// The numbers of the pins in the files below a directory.
fn numbers(dir: &Path, found: &mut BTreeSet<i64>) -> Result<()> {
    for entry in dir.read_dir()? {
        let path = entry?.path();
        if path.is_dir() {
            numbers(&path, found)?;
            continue;
        }
        for line in std::fs::read_to_string(&path)?.lines() {
            let pin: serde_json::Value = serde_json::from_str(line)?;
            found.extend(pin["index"].as_i64());
        }
    }
    Ok(())
}

/// Says what there is now and where.
pub fn report(dir: &Path, took: Duration, json: bool) -> Result<()> {
    let mut rows = Vec::new();
    for store in ["raw", "clean"] {
        for table in ["pin", "geo", "user"] {
            let path = dir.join(store).join("topics").join(format!("demo.{table}"));
            let (objects, lines) = count(&path)?;
            rows.push((store, table, objects, lines, path));
        }
    }
    let pins = dir.join("tables/pin");
    let (files, table_rows) = table::count(&pins)?;
    rows.push(("delta", "pin", files, table_rows, pins));
    let seconds = took.as_secs_f64();
    if json {
        let stores: Vec<_> = rows
            .iter()
            .map(|(store, table, objects, records, path)| {
                json!({"store": store, "table": table, "objects": objects, "records": records, "path": path})
            })
            .collect();
        println!("{}", json!({"seconds": seconds, "files": stores}));
    } else {
        println!("\ndemo: done in {seconds:.1} s");
        println!("  {:<6} {:<5} {:>8} {:>8}  where", "store", "table", "objects", "records");
        for (store, table, objects, lines, path) in &rows {
            println!("  {store:<6} {table:<5} {objects:>8} {lines:>8}  {}", path.display());
        }
        println!(
            "  (pins that were sent to the users' topic by mistake are in raw/user and not in clean/user)"
        );
        println!("  (the Delta table has each pin once; raw/pin has those twice that a client sent again)");
        println!("  configuration: {}/demo.yaml and demo-batch.yaml, logs beside them", dir.display());
    }
    let records = |store: &str, table: &str| {
        rows.iter().find(|row| row.0 == store && row.1 == table).map_or(0, |row| row.3)
    };
    for table in ["pin", "geo"] {
        if records("raw", table) != records("clean", table) {
            return Err(
                format!("raw and cleaned files of `{table}` do not hold the same number of records").into()
            );
        }
    }
    let mut pins = BTreeSet::new();
    numbers(&dir.join("raw/topics/demo.pin"), &mut pins)?;
    if table_rows != pins.len() as u64 {
        return Err(
            format!("{} different pins, and the Delta table has {table_rows} rows", pins.len()).into()
        );
    }
    if records("clean", "user") < ROWS {
        return Err("cleaned users are missing".into());
    }
    Ok(())
}
