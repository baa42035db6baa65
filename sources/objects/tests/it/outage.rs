//! A service that goes away while it is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use connector_core::PollBudget;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::service::services;
use crate::{Read, Task, lines, rows};

/// Forwards to a service, or cuts off everything.
struct Line {
    url: String,
    open: Arc<AtomicBool>,
    accepting: AbortHandle,
}

impl Line {
    async fn to(service: &str) -> Self {
        let target = service.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let open = Arc::new(AtomicBool::new(true));
        let is_open = Arc::clone(&open);
        let accept = async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                tokio::spawn(forward(client, target.clone(), Arc::clone(&is_open)));
            }
        };
        Self { url, open, accepting: tokio::spawn(accept).abort_handle() }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Slowly, so that an answer is under way when the line is cut.
async fn forward(mut client: TcpStream, target: String, open: Arc<AtomicBool>) {
    let Ok(mut service) = TcpStream::connect(target).await else { return };
    let (mut up, mut down) = ([0; 4096], [0; 16 << 10]);
    while open.load(Ordering::Relaxed) {
        let sent = tokio::select! {
            read = client.read(&mut up) => match read {
                Ok(count @ 1..) => service.write_all(&up[..count]).await,
                _ => return,
            },
            read = service.read(&mut down) => match read {
                Ok(count @ 1..) => client.write_all(&down[..count]).await,
                _ => return,
            },
            () = tokio::time::sleep(std::time::Duration::from_millis(20)) => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn after_an_outage_in_the_middle_of_an_object_each_row_has_come_once() {
    let Some(service) = services().into_iter().next() else { return };
    let (bucket, store) = service.bucket("outage").await;
    let count = 800_000;
    for (key, numbers) in [("a.json", 0..10), ("b.json", 10..count), ("c.json", count..count + 10)] {
        object_store::ObjectStoreExt::put(&*store, &key.into(), lines(numbers).into()).await.unwrap();
    }
    let line = Line::to(&service.url).await;
    let keys = service.keys(&format!("s3://{bucket}/*.json"), &[("store.url", &*line.url)]);
    let mut task = Task::open(&keys, Vec::new()).await;
    let mut read = Read::default();
    read.add(task.poll(1000).await.unwrap().unwrap());
    line.open.store(false, Ordering::Relaxed);
    // What was received before still comes; then the client tries for a while, and gives up.
    let budget = PollBudget { max_records: 10_000, max_bytes: 1 << 20 };
    let error = loop {
        match task.source.poll(budget).await {
            Ok(batch) => read.add(batch.unwrap()),
            Err(error) => break error,
        }
    };
    assert!(error.is_retriable() && error.message.contains("b.json"), "{error}");
    assert!(read.rows.len() < count, "the object was read before the line was cut");
    line.open.store(true, Ordering::Relaxed);
    while let Some(batch) = task.poll(10_000).await.unwrap() {
        read.add(batch);
    }
    assert!(read.rows == rows(0..count + 10), "{} rows", read.rows.len());
}
