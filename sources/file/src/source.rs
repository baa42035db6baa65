//! Reading, waiting and positions.

use std::io::{ErrorKind, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::StringBuilder;
use connector_core::envelope::EnvelopeBuilder;
use connector_core::{
    Acks, ConfigProblem, ConnectError, Form, Plugin, PollBudget, Position, Result, Run, Source, SourceBatch,
    SourceContext, SourceOffset, TaskConfig, TaskInfo, async_trait,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Map;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::Mutex;

use crate::lines::Lines;

/// How long to wait for a file to appear or to grow.
const WAIT: Duration = Duration::from_millis(100);

/// Bytes asked of the file at once.
const READ: usize = 64 << 10;

/// Configuration of `file-source`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Config {
    /// Text file whose lines are read; it may appear and grow later.
    pub file: PathBuf,

    /// Topic that gets the lines.
    #[schemars(length(min = 1))]
    pub topic: Arc<str>,

    /// Most lines in one batch.
    #[serde(rename = "batch.size", default = "batch_size")]
    #[schemars(range(min = 1))]
    pub batch_size: usize,

    /// Whether the connector ends at the end of the file, its last line included even without a line end.
    #[serde(rename = "file.stop.at.end", default)]
    pub stop_at_end: bool,
}

fn batch_size() -> usize {
    2000
}

/// Reads the lines of a file.
pub struct FileSource {
    config: Config,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    file: Option<File>,
    lines: Lines,
    /// Bytes of the file that became lines.
    position: u64,
    batches: u64,
    /// Whether the log has said what is being waited for.
    told: bool,
}

impl Plugin for FileSource {
    type Config = Config;

    const NAME: &'static str = "file-source";
    const ALIASES: &'static [&'static str] = &["org.apache.kafka.connect.file.FileStreamSourceConnector"];
    const SUMMARY: &'static str = "Reads the lines of a text file as it grows";
    const DELIVERY: &'static str = "exactly once for readers of committed records with `exactly.once.source.support: enabled`; otherwise at least once, without \
         repetition after a stop.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        if config.topic.is_empty() || config.topic.contains(',') {
            let message = "is not the name of one topic";
            return Err(vec![ConfigProblem::new("topic", message, "name exactly one topic")]);
        }
        Ok(Self { config, state: Mutex::default() })
    }
}

impl FileSource {
    /// Connect's source partition of this file.
    fn partition(&self) -> Map<String, serde_json::Value> {
        let name = self.config.file.to_string_lossy().into_owned();
        Map::from_iter([("filename".to_owned(), name.into())])
    }

    fn failed(&self, doing: &str, cause: std::io::Error) -> ConnectError {
        let message = format!("cannot {doing} `{}`", self.config.file.display());
        let error = match cause.kind() {
            ErrorKind::PermissionDenied | ErrorKind::IsADirectory => ConnectError::user("file.read", message)
                .hint("`file` must be a text file that this user may read"),
            _ => ConnectError::external("file.read", message),
        };
        error.caused_by(cause)
    }

    /// Opens the file at the position; `false` while there is none.
    async fn ready(&self, state: &mut State) -> Result<bool> {
        if state.file.is_some() {
            return Ok(true);
        }
        let mut file = match File::open(&self.config.file).await {
            Ok(file) => file,
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                if !std::mem::replace(&mut state.told, true) {
                    tracing::warn!(file = %self.config.file.display(), "the file does not exist; waiting for it");
                }
                return Ok(false);
            }
            Err(cause) => return Err(self.failed("open", cause)),
        };
        let size = file.metadata().await.map_err(|cause| self.failed("open", cause))?.len();
        if size < state.position {
            let message = format!(
                "`{}` has {size} bytes, but {} were read already: it was replaced or cut",
                self.config.file.display(),
                state.position
            );
            return Err(ConnectError::user("file.shorter", message)
                .hint("reset the connector's offsets to read the file from its start"));
        }
        file.seek(SeekFrom::Start(state.position)).await.map_err(|cause| self.failed("read", cause))?;
        state.file = Some(file);
        state.told = false;
        Ok(true)
    }

    /// Reads more; 0 at the end of the file.
    async fn read(&self, state: &mut State) -> Result<usize> {
        let State { file: Some(file), lines, .. } = state else { return Ok(0) };
        let tail = lines.tail();
        tail.reserve(READ);
        // Cancel-safe: bytes are either in `tail` or still in the file's own buffer.
        file.read_buf(tail).await.map_err(|cause| self.failed("read", cause))
    }

    /// Whole lines that are there, within the budget.
    fn take(&self, state: &mut State, budget: PollBudget, at_end: bool) -> Option<StringBuilder> {
        let most = self.config.batch_size.min(budget.max_records).max(1);
        let (mut values, mut count, mut bytes) = (StringBuilder::new(), 0, 0);
        while count < most && bytes < budget.max_bytes.max(1) {
            let line = match state.lines.next_line() {
                None if at_end => state.lines.last_line(),
                line => line,
            };
            let Some((line, length)) = line else { break };
            // As Java's reader: what is not UTF-8 becomes U+FFFD.
            values.append_value(String::from_utf8_lossy(line));
            state.position += length as u64;
            bytes += length;
            count += 1;
        }
        (count > 0).then_some(values)
    }

    fn batch(&self, state: &mut State, mut values: StringBuilder) -> Result<SourceBatch> {
        let records = EnvelopeBuilder::new().value(Form::Columns, Arc::new(values.finish())).build()?;
        state.batches += 1;
        let offset = Map::from_iter([("position".to_owned(), state.position.into())]);
        let position = Position { partition: self.partition(), offset };
        let runs = vec![Run::to_topic(Arc::clone(&self.config.topic), records)];
        Ok(SourceBatch::new(runs, SourceOffset { token: state.batches, positions: vec![position] }))
    }
}

#[async_trait]
impl Source for FileSource {
    fn exactly_once(&self) -> bool {
        true
    }

    fn bounded(&self) -> bool {
        self.config.stop_at_end
    }

    /// One task: a file is read in order.
    async fn plan(&self, _: usize) -> Result<Vec<TaskConfig>> {
        Ok(vec![TaskConfig::new()])
    }

    async fn open(&self, context: SourceContext) -> Result<()> {
        let stored = context.offset_of(&self.partition()).and_then(|offset| offset.get("position"));
        let position = match stored {
            None => 0,
            Some(position) => position.as_u64().ok_or_else(|| {
                ConnectError::user("file.position", "the stored `position` is not a number of bytes")
                    .hint("reset the connector's offsets, or set `position` to a number")
            })?,
        };
        *self.state.lock().await = State { position, ..State::default() };
        Ok(())
    }

    async fn poll(&self, budget: PollBudget) -> Result<Option<SourceBatch>> {
        let mut state = self.state.lock().await;
        loop {
            if let Some(values) = self.take(&mut state, budget, false) {
                return self.batch(&mut state, values).map(Some);
            }
            let ready = self.ready(&mut state).await?;
            if ready && self.read(&mut state).await? > 0 {
                continue;
            }
            if ready && self.config.stop_at_end {
                let last = self.take(&mut state, budget, true);
                return last.map(|values| self.batch(&mut state, values)).transpose();
            }
            tokio::time::sleep(WAIT).await;
        }
    }

    async fn commit(&self, _: &SourceOffset, _: &Acks) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        *self.state.lock().await = State::default();
        Ok(())
    }
}
