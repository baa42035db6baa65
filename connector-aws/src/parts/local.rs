//! Large objects in a directory: parts go into a staging file that is renamed when complete.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use connector_core::async_trait;
use object_store::local::LocalFileSystem;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, MultipartId, PutPayload, PutResult, Result};

/// Multipart uploads on a file system, with part numbers, which `LocalFileSystem` itself does not have.
pub struct LocalParts {
    files: LocalFileSystem,
    /// Bytes of each part but the last.
    part_size: usize,
    started: AtomicU64,
}

impl LocalParts {
    pub fn new(files: LocalFileSystem, part_size: usize) -> Self {
        Self { files, part_size, started: AtomicU64::new(0) }
    }

    fn staging(&self, path: &Path, id: &str) -> Result<PathBuf> {
        let mut name = self.files.path_to_filesystem(path)?.into_os_string();
        name.push(id);
        Ok(name.into())
    }

    async fn run<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
        tokio::task::spawn_blocking(work)
            .await?
            .map_err(|source| Error::Generic { store: "LocalFileSystem", source: source.into() })
    }
}

#[async_trait]
impl MultipartStore for LocalParts {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        loop {
            // `#` and digits: names that `LocalFileSystem` does not list as objects.
            let id = format!("#{}{:06}", std::process::id(), self.started.fetch_add(1, Ordering::Relaxed));
            let staging = self.staging(path, &id)?;
            let made = Self::run(move || {
                if let Some(directory) = staging.parent() {
                    fs::create_dir_all(directory)?;
                }
                // Another process, in a container with a process id like ours, may be at the same object.
                match File::create_new(staging) {
                    Ok(_) => Ok(true),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                    Err(error) => Err(error),
                }
            });
            if made.await? {
                return Ok(id);
            }
        }
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        let staging = self.staging(path, id)?;
        let mut at = (part_idx * self.part_size) as u64;
        Self::run(move || {
            let file = OpenOptions::new().write(true).open(staging)?;
            for chunk in &data {
                file.write_all_at(chunk, at)?;
                at += chunk.len() as u64;
            }
            Ok(())
        })
        .await?;
        Ok(PartId { content_id: part_idx.to_string() })
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, _: Vec<PartId>) -> Result<PutResult> {
        let (staging, target) = (self.staging(path, id)?, self.files.path_to_filesystem(path)?);
        Self::run(move || fs::rename(staging, target)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let staging = self.staging(path, id)?;
        Self::run(move || fs::remove_file(staging)).await
    }
}
