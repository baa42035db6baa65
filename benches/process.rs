//! The program as a process on real services: time to `/health`, idle memory, and Kafka to S3 and to Delta per
//! CPU-second.
//!
//! `make bench` runs it. Figures are of the worker's process alone; each line is minimum / median / maximum.
//! `SIDESTREAM_BENCH_RECORDS` changes the number of records (default 1,000,000).

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::time::{Duration, Instant};

use support::{Record, Sidestream, services, unique, wait_until};

const RUNS: usize = 3;
/// What a record of the baseline weighs, in bytes.
const RECORD_BYTES: usize = 734;

fn main() {
    // `cargo bench` and `cargo test --benches` pass flags that mean nothing here.
    if std::env::args().any(|a| a == "--test" || a == "--list") {
        return;
    }
    idle();
    let records =
        std::env::var("SIDESTREAM_BENCH_RECORDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    throughput(records);
    tables(records);
}

/// Ten connectors that have nothing to do.
fn idle() {
    let services = services();
    let mut yaml = String::from("connectors:\n");
    for n in 0..10 {
        let topic = unique("bench-idle");
        services.kafka.create_topic(&topic, 1);
        yaml.push_str(&format!(
            "  idle{n}: {{connector.class: s3-sink, topics: {topic}, store.url: \"memory://idle{n}\", s3.bucket.name: b, \
             flush.size: 1000}}\n"
        ));
    }
    let (mut starts, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let began = Instant::now();
        let mut worker = Sidestream::start(&[("idle.yaml", &yaml)], &[]);
        starts.push(began.elapsed().as_secs_f64() * 1000.0);
        let running = || (worker.tasks().iter().filter(|t| t.state == "RUNNING").count() == 10).then_some(());
        wait_until(Duration::from_secs(30), "ten tasks run", running);
        let (cpu, seconds) = (cpu_seconds(worker.pid()), 10.0);
        std::thread::sleep(Duration::from_secs_f64(seconds));
        memory.push(status_kib(worker.pid(), "VmRSS") as f64 / 1024.0);
        let busy = (cpu_seconds(worker.pid()) - cpu) / seconds * 100.0;
        println!("idle CPU of ten connectors: {busy:.1} % of a core");
        worker.stop(Duration::from_secs(30));
    }
    println!("start to /health 200, ten connectors: {} ms", spread(starts));
    println!("idle memory (RSS), ten connectors: {} MiB", spread(memory));
}

/// One partition, one task, `flush.size` 10,000.
fn throughput(count: usize) {
    let services = services();
    let topic = unique("bench-load");
    services.kafka.create_topic(&topic, 1);
    eprintln!("writing {count} records of {RECORD_BYTES} B to {topic}");
    let value = pin();
    for _ in 0..count.div_ceil(50_000) {
        services.kafka.produce((0..50_000.min(count)).map(|_| Record::new(&topic, value.clone())));
    }
    let total = services.kafka.ends(&topic).values().sum::<i64>();
    let last = total - total % 10_000;
    for (name, format, converter) in [
        ("JSON to S3", "json", "org.apache.kafka.connect.json.JsonConverter"),
        ("bytes to S3", "bytearray", "org.apache.kafka.connect.converters.ByteArrayConverter"),
    ] {
        measure(name, last, |connector| {
            let bucket = unique("bench-bucket");
            services.s3.create_bucket(&bucket);
            format!(
                "connectors:\n  {connector}:\n    connector.class: s3-sink\n    topics: {topic}\n    flush.size: 10000\n    \
                 s3: {{bucket.name: {bucket}, region: us-east-1}}\n    store.url: {}\n    format.class: {format}\n    \
                 value.converter: {converter}\n    value.converter.schemas.enable: false\n    config.unknown: warn\n",
                services.s3.url
            )
        });
    }
}

/// Pins of the generator, cleaned, into a Delta table on local disk: one partition, one task, 50,000 rows a version.
fn tables(count: usize) {
    let services = services();
    let topic = unique("bench-pins");
    services.kafka.create_topic(&topic, 1);
    let dir = tempfile::tempdir().expect("a directory");
    let into = format!("file://{}", dir.path().display());
    let made = support::sidestream(dir.path(), &["datagen", "--into", &into, "--rows", "50000"], &[]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = fs::read_to_string(dir.path().join("pinterest_data.jsonl")).expect("the rows");
    eprintln!("writing {count} pins of {} B to {topic}", text.len() / 50_000);
    for _ in 0..count.div_ceil(50_000) {
        services.kafka.produce(text.lines().map(|line| Record::new(&topic, line)));
    }
    let last = services.kafka.ends(&topic).values().sum::<i64>();
    measure("pins, cleaned, to Delta", last, |connector| {
        format!(
            "connectors:\n  {connector}:\n    connector.class: delta-sink\n    topics: {topic}\n    flush.size: 50000\n    \
             transforms: [{{name: clean, type: pin-cleaner}}]\n    delta.table.path: {into}/{connector}\n"
        )
    });
}

/// Runs a connector until it has delivered `last` records; what it took.
fn measure(name: &str, last: i64, yaml: impl Fn(&str) -> String) {
    let services = services();
    let (mut wall, mut per_cpu, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let connector = unique("load");
        let mut worker = Sidestream::start(&[("load.yaml", &yaml(&connector))], &services.s3.credentials());
        let (began, cpu) = (Instant::now(), cpu_seconds(worker.pid()));
        wait_until(Duration::from_secs(300), "all records are delivered", || {
            let labels = [("connector", connector.as_str())];
            (worker.metrics().sum("sidestream_task_records_delivered_total", &labels) >= last).then_some(())
        });
        let used = cpu_seconds(worker.pid()) - cpu;
        wall.push(last as f64 / began.elapsed().as_secs_f64() / 1e6);
        per_cpu.push(last as f64 / used / 1e6);
        memory.push(status_kib(worker.pid(), "VmHWM") as f64 / 1024.0);
        worker.stop(Duration::from_secs(30));
    }
    println!(
        "{name}: {} M records/s wall, {} M records/CPU-s, peak RSS {} MiB",
        spread(wall),
        spread(per_cpu),
        spread(memory)
    );
}

fn pin() -> Vec<u8> {
    let mut text = String::from(
        r#"{"index":7528,"unique_id":"fbe53c66-0000-4773-b19e-d3ec6f54dddf","title":"Ten ways to fold a paper boat","description":""#,
    );
    let tail = r#"","poster_name":"Paper & Water","follower_count":"124k","tag_list":"Paper,Boats,Folding,Summer,Kids","is_image_or_video":"image","image_src":"https://example.invalid/originals/b3/bc/e2/boat.jpg","downloaded":1,"save_location":"Local save in /data/diy-and-crafts","category":"diy-and-crafts"}"#;
    while text.len() + tail.len() < RECORD_BYTES {
        text.push_str("Sail it on the pond… ");
    }
    while text.len() + tail.len() > RECORD_BYTES {
        text.pop();
    }
    text.push_str(tail);
    text.into_bytes()
}

/// User and system time of a process, in seconds.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the worker runs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("ticks");
    // Linux counts in hundredths of a second for user space.
    (ticks(11) + ticks(12)) / 100.0
}

fn status_kib(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the worker runs");
    let line = status.lines().find(|l| l.starts_with(key)).expect("the key");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

fn spread(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    let last = figures.len() - 1;
    format!("{:.2}/{:.2}/{:.2}", figures[0], figures[last / 2], figures[last])
}
