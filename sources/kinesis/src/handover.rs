//! How the tasks of a connector in this process tell one another which shards are delivered to their end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::sync::watch;

type Finished = watch::Sender<BTreeSet<Arc<str>>>;

/// By connector and stream.
type Streams = BTreeMap<(String, Arc<str>), Finished>;

static STREAMS: LazyLock<Mutex<Streams>> = LazyLock::new(Mutex::default);

/// Shards of one stream that one connector has finished.
#[derive(Clone)]
pub struct Handover {
    finished: Finished,
}

impl Handover {
    pub fn of(connector: &str, stream: &Arc<str>) -> Self {
        let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
        let finished = streams.entry((connector.to_owned(), stream.clone())).or_default().clone();
        Self { finished }
    }

    /// All records of `shard` are delivered, and that is stored.
    pub fn finish(&self, shard: &str) {
        self.finished.send_if_modified(|finished| finished.insert(shard.into()));
    }

    /// Says anew what holds of these shards: an earlier instance may have said more, and its positions were reset since.
    pub fn restate(&self, shards: impl Iterator<Item = (Arc<str>, bool)>) {
        self.finished.send_modify(|finished| {
            for (shard, is_finished) in shards {
                if is_finished {
                    finished.insert(shard);
                } else {
                    finished.remove(&shard);
                }
            }
        });
    }

    pub fn has(&self, shard: &str) -> bool {
        self.finished.borrow().contains(shard)
    }

    /// Sees what is said from now on.
    pub fn subscribe(&self) -> watch::Receiver<BTreeSet<Arc<str>>> {
        self.finished.subscribe()
    }
}
