//! Source positions in a file, for a worker without Kafka: one JSON line a change, `[connector, partition, offset]`, the
//! newest counts; written anew at each start. A line is durable before its `store` returns.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use connector_core::{ConnectError, Position, Result};
use serde_json::{Map, Value};

use super::positions::{Positions, Table};

/// The file of one worker.
#[derive(Debug)]
pub struct PositionFile {
    path: PathBuf,
    /// Opened at first use.
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    table: Table,
}

type Line = (String, Map<String, Value>, Option<Map<String, Value>>);

impl PositionFile {
    pub fn new(path: impl Into<PathBuf>) -> Arc<Self> {
        Arc::new(Self { path: path.into(), open: Mutex::default() })
    }

    /// The positions of one connector.
    pub fn of(self: &Arc<Self>, connector: &str) -> Arc<dyn Positions> {
        Arc::new(OfConnector { file: self.clone(), connector: connector.to_owned() })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Open) -> std::io::Result<T>) -> Result<T> {
        let failed = |e: std::io::Error| {
            let text = format!("the file of source positions `{}` cannot be used", self.path.display());
            ConnectError::external("positions.file", text)
                .caused_by(e)
                .hint("check `offset.storage.file.filename`, its directory and who may write there")
        };
        let mut slot = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = match slot.take() {
            Some(open) => open,
            None => self.load().map_err(failed)?,
        };
        // After an error the file is read again: what is in it then is what counts.
        let done = work(&mut open).map_err(failed)?;
        *slot = Some(open);
        Ok(done)
    }

    fn load(&self) -> std::io::Result<Open> {
        let mut table = Table::default();
        match File::open(&self.path) {
            Ok(file) => {
                for line in BufReader::new(file).split(b'\n') {
                    // The last line may be half of one: it was never promised.
                    if let Ok((connector, partition, offset)) = serde_json::from_slice::<Line>(&line?) {
                        table.put(&connector, partition, offset);
                    }
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let directory = self.path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let fresh = self.path.with_extension("new");
        {
            let mut out = BufWriter::new(File::create(&fresh)?);
            for (connector, position) in table.all() {
                write_line(&mut out, connector, position)?;
            }
            out.into_inner()?.sync_all()?;
        }
        fs::rename(&fresh, &self.path)?;
        File::open(directory)?.sync_all()?;
        let file = OpenOptions::new().append(true).open(&self.path)?;
        Ok(Open { file, table })
    }
}

fn write_line(out: &mut impl Write, connector: &str, position: &Position) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, &(connector, &position.partition, &position.offset))?;
    out.write_all(b"\n")
}

struct OfConnector {
    file: Arc<PositionFile>,
    connector: String,
}

#[async_trait]
impl Positions for OfConnector {
    async fn load(&self) -> Result<Vec<Position>> {
        self.file.with(|open| Ok(open.table.of(&self.connector)))
    }

    async fn store(&self, positions: &[Position]) -> Result<()> {
        let (file, connector, positions) = (self.file.clone(), self.connector.clone(), positions.to_vec());
        let write = move || {
            file.with(|open| {
                let mut lines = Vec::new();
                for position in &positions {
                    write_line(&mut lines, &connector, position)?;
                }
                open.file.write_all(&lines)?;
                open.file.sync_data()?;
                for Position { partition, offset } in positions {
                    open.table.put(&connector, partition, Some(offset));
                }
                Ok(())
            })
        };
        tokio::task::spawn_blocking(write)
            .await
            .map_err(|e| ConnectError::internal("task", "writing positions broke off").caused_by(e))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(object: &str, row: i64) -> Position {
        Position {
            partition: Map::from_iter([("object".to_owned(), object.into())]),
            offset: Map::from_iter([("row".to_owned(), row.into())]),
        }
    }

    fn rows(mut positions: Vec<Position>) -> Vec<i64> {
        positions.sort_by_key(|p| p.partition["object"].to_string());
        positions.iter().map(|p| p.offset["row"].as_i64().unwrap()).collect()
    }

    #[tokio::test]
    async fn what_was_stored_is_there_after_a_restart_whatever_the_last_line_looks_like() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/offsets");
        let first = PositionFile::new(&path).of("a");
        assert_eq!(first.load().await.unwrap(), []);
        first.store(&[position("x", 1), position("y", 7)]).await.unwrap();
        first.store(&[position("x", 2)]).await.unwrap();
        PositionFile::new(&path).of("b").store(&[position("x", 9)]).await.unwrap();
        // Killed in the middle of a line.
        fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"[\"a\",{\"object\":\"x\"},{\"r")
            .unwrap();
        let again = PositionFile::new(&path);
        assert_eq!(rows(again.of("a").load().await.unwrap()), [2, 7]);
        again.of("a").store(&[position("y", 8)]).await.unwrap();
        assert_eq!(rows(PositionFile::new(&path).of("a").load().await.unwrap()), [2, 8]);
        assert_eq!(rows(PositionFile::new(&path).of("b").load().await.unwrap()), [9]);
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_written_is_named() {
        let error = PositionFile::new("/proc/offsets").of("a").load().await.unwrap_err();
        assert!(error.to_string().contains("`/proc/offsets`"), "{error}");
        assert!(error.hint.contains("offset.storage.file.filename"));
    }
}
