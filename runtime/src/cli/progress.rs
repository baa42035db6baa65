//! How far a bounded run is, for people: a line a connector on a terminal, a log line now and then elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use crate::task::worker::Worker;

/// How often lines are drawn.
const DRAW: Duration = Duration::from_millis(200);
/// How often the log says something.
const SAY: Duration = Duration::from_secs(30);

/// The lines of this process's terminal; log lines go above them.
static LINES: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Writes log lines without breaking the drawn ones.
#[derive(Clone, Copy)]
pub struct AboveLines;

impl Write for AboveLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.suspend(|| io::stderr().write_all(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for AboveLines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

/// What a command is doing now, on a terminal; silent elsewhere. Gone when it is dropped.
pub struct Line {
    bar: Option<ProgressBar>,
    drawn: std::cell::Cell<Option<std::time::Instant>>,
}

impl Line {
    pub fn new(prefix: &str) -> Self {
        let bar = io::stderr().is_terminal().then(|| spinner(prefix));
        Self { bar, drawn: std::cell::Cell::default() }
    }

    pub fn say(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
            bar.tick();
        }
    }

    /// For what changes much faster than anybody reads.
    pub fn say_now_and_then(&self, text: impl FnOnce() -> String) {
        let due = self.drawn.get().is_none_or(|drawn| drawn.elapsed() >= DRAW);
        if self.bar.is_some() && due {
            self.drawn.set(Some(std::time::Instant::now()));
            self.say(&text());
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn spinner(prefix: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix}: {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    LINES.add(ProgressBar::new_spinner().with_style(style).with_prefix(prefix.to_owned()))
}

/// What one connector has done.
pub struct Done {
    pub read: u64,
    pub delivered: u64,
    pub filtered: u64,
    pub rejected: u64,
}

/// Sums of a connector's tasks.
pub fn done(worker: &Worker, connector: &str) -> Done {
    let mut done = Done { read: 0, delivered: 0, filtered: 0, rejected: 0 };
    for task in worker.board.tasks().iter().filter(|task| task.connector == connector) {
        done.read += task.counters.read.load(Relaxed);
        done.delivered += task.counters.delivered.load(Relaxed);
        done.filtered += task.counters.filtered.load(Relaxed);
        done.rejected += task.counters.rejected.load(Relaxed);
    }
    done
}

/// Shows progress until it is dropped.
pub async fn show(worker: Arc<Worker>) {
    let names: Vec<String> = worker.deployment().connectors.iter().map(|c| c.name.clone()).collect();
    if io::stderr().is_terminal() {
        draw(&worker, &names).await;
    } else {
        say(&worker, &names).await;
    }
}

async fn draw(worker: &Worker, names: &[String]) {
    let bars: Vec<ProgressBar> = names.iter().map(|name| spinner(name)).collect();
    loop {
        for (name, bar) in names.iter().zip(&bars) {
            bar.set_message(text(worker, name));
            bar.tick();
        }
        tokio::time::sleep(DRAW).await;
    }
}

async fn say(worker: &Worker, names: &[String]) {
    loop {
        tokio::time::sleep(SAY).await;
        for name in names {
            tracing::info!(connector = name, "{}", text(worker, name));
        }
    }
}

/// `1200 read, 1000 delivered, 3 rejected; waiting …`
fn text(worker: &Worker, connector: &str) -> String {
    let Done { read, delivered, filtered, rejected } = done(worker, connector);
    let mut text = format!("{read} read, {delivered} delivered");
    for (count, what) in [(filtered, "filtered"), (rejected, "rejected")] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    let tasks = worker.board.tasks();
    let behind: i64 =
        tasks.iter().filter(|t| t.connector == connector).flat_map(|t| t.lag()).map(|(_, lag)| lag).sum();
    if behind > 0 {
        text += &format!(", {behind} to go");
    }
    let reason = tasks.iter().filter(|t| t.connector == connector).map(|t| t.condition().reason);
    if let Some(reason) = reason.into_iter().find(|reason| !reason.is_empty()) {
        text += &format!("; {reason}");
    }
    text
}
