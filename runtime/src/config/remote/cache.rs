//! What was read of the secrets that files name, and when it is read again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use connector_aws::access::Access;
use connector_aws::secrets::{self, Unread};
use futures::future::join_all;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Service;

/// One thing to read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remote {
    pub service: Service,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub local_dir: Option<String>,
    /// Name or ARN, name, `bucket/key`.
    pub id: String,
}

impl Remote {
    async fn read(&self) -> Result<String, Unread> {
        let access =
            Access { region: self.region.clone(), endpoint: self.endpoint.clone(), ..Access::default() };
        match self.service {
            Service::SecretsManager => secrets::secret(&access, &self.id).await,
            Service::ParameterStore => secrets::parameter(&access, &self.id).await,
            Service::S3 => {
                let (bucket, key) = self.id.split_once('/').unwrap_or((&self.id, ""));
                let bytes = secrets::object(&access, bucket, key).await?;
                let folder = self.local_dir.as_ref().map_or_else(std::env::temp_dir, PathBuf::from);
                let path = folder.join(&self.id);
                keep(&path, &bytes).map_err(|error| Unread {
                    not_found: false,
                    message: format!("`{}` cannot be written: {}", path.display(), error.kind()),
                    hint: "set the provider's param.local_dir to a directory that the process may write to"
                        .to_owned(),
                })?;
                Ok(path.to_string_lossy().into_owned())
            }
        }
    }
}

/// Key stores are nobody else's business.
fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let part = path.with_added_extension("part");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    io::Write::write_all(&mut file, bytes)?;
    fs::rename(part, path)
}

pub enum Found {
    Text(String),
    Failed(Unread),
    NotYet,
}

struct Entry {
    /// The last one that was read; it stays when it can no longer be read.
    text: Option<String>,
    failed: Option<Unread>,
    ttl: Option<Duration>,
    /// When it is read next.
    due: Option<Instant>,
    failures: u32,
}

/// The longest pause before something is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What was read of the secrets that files name. A copy is the same cache.
#[derive(Clone, Default)]
pub struct SecretCache {
    entries: Arc<Mutex<BTreeMap<Remote, Entry>>>,
    wanted: Arc<Notify>,
}

impl SecretCache {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Remote, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, wanted: Remote, ttl: Option<Duration>) -> Found {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(&wanted) else {
            let entry = Entry { text: None, failed: None, ttl, due: Some(Instant::now()), failures: 0 };
            entries.insert(wanted, entry);
            self.wanted.notify_one();
            return Found::NotYet;
        };
        if let Some(ttl) = ttl.filter(|ttl| entry.ttl.is_none_or(|known| *ttl < known)) {
            let due = Instant::now() + ttl;
            (entry.ttl, entry.due) = (Some(ttl), Some(entry.due.map_or(due, |known| known.min(due))));
            self.wanted.notify_one();
        }
        match (&entry.text, &entry.failed) {
            (Some(text), _) => Found::Text(text.clone()),
            (None, Some(failed)) => Found::Failed(failed.clone()),
            (None, None) => Found::NotYet,
        }
    }

    /// As if it had just been read.
    #[cfg(test)]
    pub(super) fn put(&self, remote: Remote, text: &str) {
        let _ = self.get(remote.clone(), None);
        if let Some(entry) = self.lock().get_mut(&remote) {
            entry.take(&remote, Ok(text.to_owned()));
        }
    }

    /// Whether everything that was asked for was tried.
    pub fn is_tried(&self) -> bool {
        self.lock().values().all(|entry| entry.text.is_some() || entry.failed.is_some())
    }

    /// Waits until something has another value, or cannot be read for another reason, than when it was last looked at.
    pub async fn changed(&self) {
        loop {
            let next = self.lock().values().filter_map(|entry| entry.due).min();
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.wanted.notified() => continue,
            }
            if self.read_due().await {
                return;
            }
        }
    }

    /// Reads what is due; whether anything changed.
    pub async fn read_due(&self) -> bool {
        let now = Instant::now();
        let due: Vec<Remote> = {
            let entries = self.lock();
            let due = entries.iter().filter(|(_, entry)| entry.due.is_some_and(|at| at <= now));
            due.map(|(remote, _)| remote.clone()).collect()
        };
        let read = join_all(due.into_iter().map(|remote| async { (remote.read().await, remote) })).await;
        let mut changed = false;
        let mut entries = self.lock();
        for (outcome, remote) in read {
            if let Some(entry) = entries.get_mut(&remote) {
                changed |= entry.take(&remote, outcome);
            }
        }
        changed
    }
}

impl Entry {
    fn take(&mut self, remote: &Remote, outcome: Result<String, Unread>) -> bool {
        let now = Instant::now();
        match outcome {
            Ok(text) => {
                self.due = self.ttl.map(|ttl| now + ttl);
                (self.failed, self.failures) = (None, 0);
                let changed = self.text.as_ref() != Some(&text);
                self.text = Some(text);
                changed
            }
            Err(unread) => {
                let pause = Duration::from_secs(1) * 2_u32.saturating_pow(self.failures.min(10));
                self.due = Some(now + pause.min(LONGEST_PAUSE));
                self.failures += 1;
                let news = self.failed.as_ref() != Some(&unread);
                if news {
                    let Unread { message, hint, .. } = &unread;
                    match self.text {
                        Some(_) => tracing::warn!(
                            "{message}; what was read before stays in use until the next start ({hint})"
                        ),
                        None => tracing::warn!("{message} ({hint}); trying again"),
                    }
                }
                tracing::debug!(id = remote.id, failures = self.failures, "a secret was not read");
                self.failed = Some(unread);
                // With a value in use nothing changes for connectors.
                news && self.text.is_none()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote() -> Remote {
        let (service, id) = (Service::SecretsManager, "x".to_owned());
        Remote { service, region: None, endpoint: None, local_dir: None, id }
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_stays_when_it_can_no_longer_be_read_and_what_was_never_read_is_missing() {
        let remote = remote();
        let gone = || Err(Unread { not_found: true, message: "gone".to_owned(), hint: String::new() });
        let ttl = Some(Duration::from_secs(5));
        let mut entry = Entry { text: None, failed: None, ttl, due: None, failures: 0 };
        assert!(entry.take(&remote, gone()), "why it waits is news");
        assert!(!entry.take(&remote, gone()));
        assert_eq!(entry.due, Some(Instant::now() + Duration::from_secs(2)), "with growing pauses");
        assert!(entry.take(&remote, Ok("one".to_owned())));
        assert_eq!(entry.due, Some(Instant::now() + Duration::from_secs(5)));
        assert!(!entry.take(&remote, Ok("one".to_owned())), "read again, and the same");
        assert!(!entry.take(&remote, gone()));
        assert_eq!(entry.text.as_deref(), Some("one"));
        assert!(entry.take(&remote, Ok("two".to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_to_live_counts_from_when_it_is_first_written() {
        let cache = SecretCache::default();
        cache.put(remote(), "one");
        assert_eq!(cache.lock()[&remote()].due, None);
        let _ = cache.get(remote(), Some(Duration::from_secs(5)));
        assert_eq!(cache.lock()[&remote()].due, Some(Instant::now() + Duration::from_secs(5)));
    }
}
