//! A directory on a disk that takes no more.

use std::process::Command;

use crate::{documents, flush_range, partition, publish, sink};

/// Set in the process whose files may not grow.
const DIRECTORY: &str = "SIDESTREAM_TEST_SMALL_FILES";

/// Runs the next test where files end at 100 KiB: a write beyond is an error, as on a full disk.
#[test]
fn a_file_that_cannot_grow_is_an_error_to_try_again_and_nothing_shows() {
    let directory = tempfile::tempdir().unwrap();
    let script =
        "trap '' XFSZ; ulimit -f 100; exec \"$0\" --exact disk::in_a_process_with_small_files --ignored";
    let mut run = Command::new("bash");
    run.arg("-c").arg(script).arg(std::env::current_exe().unwrap()).env(DIRECTORY, directory.path());
    let output = run.output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn in_a_process_with_small_files() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let directory = std::path::PathBuf::from(directory);
    let url = format!("file://{}", directory.display());
    let folder = directory.join("b/topics/orders/partition=0");
    let names = || {
        let entries = std::fs::read_dir(&folder).map(|d| d.map(|e| e.unwrap().file_name()).collect());
        entries.unwrap_or_else(|_| Vec::new())
    };
    let large = format!("\"{}\"", "x".repeat(200 << 10));
    // One file is put whole, the other one in parts.
    for (start, count) in [(0, 1), (1, 30)] {
        let keys = [("flush.size", "1000"), ("store.url", url.as_str()), ("s3.part.size", "5242880")];
        let sink = sink("unused", &keys);
        sink.open(&[partition(0).into()]).await.unwrap();
        sink.write(documents(start, &vec![Some(large.as_str()); count])).await.unwrap();
        let range = [flush_range(start..start + count as i64)];
        for _ in 0..2 {
            let error = match sink.flush(&range).await {
                Ok(staged) => sink.commit(&staged).await.unwrap_err(),
                Err(error) => error,
            };
            assert!(error.is_retriable(), "{error}");
            assert!(
                error.message.contains("orders+0+000000000") && error.message.contains("File too large"),
                "{error}"
            );
            assert!(error.hint.contains("ulimit -f"), "{error}");
            let visible = names().iter().any(|name| !name.to_string_lossy().contains('#'));
            assert!(!visible, "{:?}", names());
        }
        sink.close(&[partition(0)]).await.unwrap();
        assert!(names().is_empty(), "{:?}", names());
    }
    let sink = sink("unused", &[("flush.size", "1"), ("store.url", &url)]);
    sink.open(&[partition(0).into()]).await.unwrap();
    sink.write(documents(0, &[Some("\"small\"")])).await.unwrap();
    publish(&*sink, 0..1).await;
    assert_eq!(names(), ["orders+0+0000000000.json"]);
}
