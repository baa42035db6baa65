//! Ten thousand open files.

use connector_core::Sink;

use crate::{all, documents, partition, publish, sink};

const FILES: usize = 10_000;

/// Memory of this process that is in use, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

async fn fill(sink: &dyn Sink) {
    for start in (0..FILES).step_by(500) {
        let values: Vec<String> =
            (start..start + 500).map(|n| format!("{{\"id\":{n},\"pad\":\"{}\"}}", "x".repeat(300))).collect();
        let values: Vec<_> = values.iter().map(|value| Some(value.as_str())).collect();
        let written = sink.write(documents(start as i64, &values)).await.unwrap();
        assert_eq!((written.cut, written.rejected.len()), (None, 0));
    }
}

/// Connect needs 25 MiB a file.
#[tokio::test]
async fn ten_thousand_open_files_take_some_kilobytes_each() {
    for compression in ["none", "gzip"] {
        let name = format!("many-{compression}");
        let keys = [
            ("flush.size", "1000000"),
            ("partitioner.class", "field"),
            ("partition.field.name", "id"),
            ("s3.compression.type", compression),
        ];
        let sink = sink(&name, &keys);
        sink.open(&[partition(0).into()]).await.unwrap();
        let before = resident();
        fill(&*sink).await;
        let each = resident().saturating_sub(before) / FILES;
        assert!(each < 8 << 10, "{compression}: {each} bytes a file");
        publish(&*sink, 0..FILES as i64).await;
        assert_eq!(all(&*sink_s3::memory_store(&name, "b")).await.len(), FILES);
    }
}
