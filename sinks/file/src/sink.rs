//! Writing lines.

use std::io::ErrorKind;
use std::path::PathBuf;

use connector_core::{
    Assignment, Batch, Committable, ConfigProblem, ConnectError, Delivery, Envelope, FlushRange, Needs,
    Plugin, Result, Resume, Sink, TaskInfo, TopicPartition, Written, async_trait,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncWriteExt, Stdout};
use tokio::sync::Mutex;

use crate::line;

/// Configuration of `file-sink`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Config {
    /// File that gets one line a record; without it the lines go to the standard output.
    #[serde(default)]
    pub file: Option<PathBuf>,

    /// Whether lines are added to a file that exists; `false` empties it when the task starts.
    #[serde(default = "yes")]
    pub append: bool,
}

fn yes() -> bool {
    true
}

/// Appends records to a file.
pub struct FileSink {
    config: Config,
    output: Mutex<Option<Output>>,
}

enum Output {
    File(File),
    Stdout(Stdout),
}

impl Plugin for FileSink {
    type Config = Config;

    const NAME: &'static str = "file-sink";
    const ALIASES: &'static [&'static str] = &["org.apache.kafka.connect.file.FileStreamSinkConnector"];
    const SUMMARY: &'static str = "Appends each record as a line to a file or to the standard output";
    const DELIVERY: &'static str = "at least once: lines are appended.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        if config.file.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
            let hint = "name a file, or leave the key out to write to the standard output";
            return Err(vec![ConfigProblem::new("file", "is empty", hint)]);
        }
        Ok(Self { config, output: Mutex::default() })
    }
}

impl FileSink {
    fn failed(&self, doing: &str, cause: std::io::Error) -> ConnectError {
        let name = self.config.file.as_ref().map_or("standard output".into(), |file| file.to_string_lossy());
        let message = format!("cannot {doing} `{name}`");
        let error = match cause.kind() {
            ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::IsADirectory => {
                ConnectError::user("file.write", message)
                    .hint("`file` must be in a directory that exists and be writable for this user")
            }
            _ => ConnectError::external("file.write", message),
        };
        error.caused_by(cause)
    }
}

#[async_trait]
impl Sink for FileSink {
    fn needs(&self) -> Needs {
        Needs::Document
    }

    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }

    async fn open(&self, _: &[Assignment]) -> Result<Resume> {
        let mut output = self.output.lock().await;
        if output.is_none() {
            *output = Some(match &self.config.file {
                None => Output::Stdout(tokio::io::stdout()),
                Some(file) => {
                    let mut options = OpenOptions::new();
                    options.create(true).append(true);
                    let opened = options.open(file).await.map_err(|cause| self.failed("open", cause))?;
                    if !self.config.append {
                        opened.set_len(0).await.map_err(|cause| self.failed("empty", cause))?;
                    }
                    Output::File(opened)
                }
            });
        }
        Ok(Resume::new())
    }

    /// Lines are in the file when this returns. A file has no ranges: each record may be the last of one.
    async fn write(&self, batch: Batch) -> Result<Written> {
        let lines = line::lines(&batch)?;
        let last =
            Envelope::of(&batch.records)?.offsets().and_then(|offsets| offsets.values().last().copied());
        let mut output = self.output.lock().await;
        let written = match output.as_mut() {
            Some(Output::File(file)) => match file.write_all(&lines).await {
                Ok(()) => file.flush().await,
                failed => failed,
            },
            Some(Output::Stdout(stdout)) => match stdout.write_all(&lines).await {
                Ok(()) => stdout.flush().await,
                failed => failed,
            },
            None => {
                return Err(ConnectError::internal("file.not_open", "the sink is used before it was opened"));
            }
        };
        written.map_err(|cause| self.failed("write to", cause))?;
        Ok(Written { cut: last.map(|offset| offset + 1), ..Written::default() })
    }

    /// Waits until the disk has what was written.
    async fn flush(&self, _: &[FlushRange]) -> Result<Committable> {
        if let Some(Output::File(file)) = self.output.lock().await.as_ref() {
            file.sync_data().await.map_err(|cause| self.failed("flush", cause))?;
        }
        Ok(Committable::new(()))
    }

    async fn commit(&self, _: &Committable) -> Result<()> {
        Ok(())
    }

    async fn close(&self, _: &[TopicPartition]) -> Result<()> {
        Ok(())
    }
}
