//! What is in the store: the objects of topics, counted again from their bytes.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use connector_aws::parts::Store;
use connector_core::{ConnectError, Extent, Metric, Offset, Result, TopicPartition};
use flate2::write::MultiGzDecoder;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStoreExt};
use parquet::arrow::async_reader::MetadataFetch;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;

use crate::config::Config;

/// Objects that are read at once.
const READS_AT_ONCE: usize = 16;

/// How far an inventory is.
#[derive(Debug, Default)]
pub struct Progress {
    objects: AtomicU64,
    read: AtomicU64,
}

impl Progress {
    /// Nothing before the first inventory.
    pub fn metrics(&self) -> Vec<Metric> {
        let (objects, read) = (self.objects.load(Ordering::Relaxed), self.read.load(Ordering::Relaxed));
        if objects == 0 {
            return Vec::new();
        }
        let gauge = |name, help, value: u64| Metric::gauge(name, help, value as f64);
        vec![
            gauge("sidestream_inventory_objects", "Objects that an inventory is to read.", objects),
            gauge("sidestream_inventory_read", "Objects that an inventory has read.", read),
        ]
    }
}

/// The extents of `topics`, one an object of values. Objects of keys and headers say nothing about offsets that their
/// sibling does not say, except where a tombstone has no other.
pub async fn inventory(
    config: &Config,
    store: &Store,
    topics: &[Arc<str>],
    progress: &Progress,
) -> Result<Vec<Extent>> {
    let mut found = Vec::new();
    for topic in topics {
        let names = Names::new(config, topic);
        let (folder, start) = names.folder();
        let folder = Path::parse(folder).map_err(|cause| crate::error::bad_key(folder, cause))?;
        let mut listed = store.objects.list(Some(&folder));
        while let Some(object) = listed.next().await {
            let object = match object {
                Ok(object) => object,
                // A directory that is not there yet.
                Err(Error::NotFound { .. }) => continue,
                Err(cause) => return Err(store.explain("listing", Some(&folder), &cause)),
            };
            if !object.location.as_ref().starts_with(&start) {
                continue;
            }
            if let Some(name) = names.parse(object.location.as_ref())? {
                found.push((Arc::clone(topic), name, object));
            }
        }
    }
    progress.objects.store(found.len() as u64, Ordering::Relaxed);
    progress.read.store(0, Ordering::Relaxed);
    stream::iter(found)
        .map(|(topic, name, object)| async move {
            let Name { partition, start, series, content } = name;
            let Counted { records, damage } = count(store, &object, &content).await?;
            progress.read.fetch_add(1, Ordering::Relaxed);
            let mut place = object.location.to_string();
            if let Some(damage) = damage {
                place += &format!(" ({damage})");
            }
            let partition = TopicPartition { topic, partition };
            Ok(Extent { partition, start, end: None, records, counts: None, place, series })
        })
        .buffer_unordered(READS_AT_ONCE)
        .try_collect()
        .await
}

/// What an object holds, by the end of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    /// Records that each end with this text.
    Separated {
        separator: Vec<u8>,
        gzip: bool,
    },
    Parquet,
}

/// What a key says.
#[derive(Debug, PartialEq, Eq)]
struct Name {
    partition: i32,
    start: Offset,
    /// The directory, without `topics.dir` and the topic.
    series: String,
    content: Content,
}

/// How keys of a topic are read, whatever the partitioner.
struct Names<'a> {
    config: &'a Config,
    topic: &'a str,
    /// `topics/orders/`
    start: String,
    /// `/orders+`: where the name of an object begins.
    name: String,
}

impl<'a> Names<'a> {
    fn new(config: &'a Config, topic: &'a str) -> Self {
        let Config { topics_dir, directory_delim: dir, file_delim, .. } = config;
        let start = match topics_dir.trim() {
            "" => format!("{topic}{dir}"),
            _ => format!("{topics_dir}{dir}{topic}{dir}"),
        };
        Self { config, topic, start, name: format!("{dir}{topic}{file_delim}") }
    }

    /// The folder to list, and how the keys in it begin.
    fn folder(&self) -> (&str, String) {
        (self.start.rsplit_once('/').map_or("", |(folder, _)| folder), self.start.clone())
    }

    /// `None` for what is no object of records: it has another name, or it is a sibling.
    fn parse(&self, key: &str) -> Result<Option<Name>> {
        let Some(rest) = key.strip_prefix(&self.start) else { return Ok(None) };
        // The directory is never empty, so its end is part of `rest`.
        let Some(at) = rest.rfind(&self.name) else { return Ok(None) };
        let (series, name) = (&rest[..at], &rest[at + self.name.len()..]);
        let parts = || {
            let (partition, rest) = name.split_once(self.config.file_delim.as_str())?;
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (start, end) = rest.split_at(digits);
            Some((partition.parse::<i32>().ok()?, start.parse::<Offset>().ok()?, end))
        };
        let Some((partition, start, end)) = parts() else { return Ok(None) };
        let end = match (end.strip_prefix(".keys"), end.strip_prefix(".headers")) {
            // Keys without values are tombstones (S3-08).
            (Some(end), _) if series == self.config.tombstone_directory => end,
            (None, None) => end,
            _ => return Ok(None),
        };
        let Some(content) = self.content(end) else {
            let message =
                format!("`{key}` is an object of topic `{}`, in a format that is not read", self.topic);
            return Err(ConnectError::user("s3.inventory", message)
                .hint("move it elsewhere, or have it verified by what wrote it"));
        };
        Ok(Some(Name { partition, start, series: series.to_owned(), content }))
    }

    fn content(&self, end: &str) -> Option<Content> {
        let Config { bytearray_extension, bytearray_separator, .. } = self.config;
        let plain = end.strip_suffix(".gz");
        let (end, gzip) = (plain.unwrap_or(end), plain.is_some());
        let separated = |separator: &str| {
            let separator = separator.as_bytes().to_vec();
            (!separator.is_empty()).then_some(Content::Separated { separator, gzip })
        };
        match end {
            _ if end == bytearray_extension => separated(bytearray_separator),
            ".json" => separated("\n"),
            _ if end.ends_with(".parquet") && !gzip => Some(Content::Parquet),
            _ => None,
        }
    }
}

/// Records of an object.
struct Counted {
    records: u64,
    /// Why there may have been more.
    damage: Option<String>,
}

impl Counted {
    fn damaged(records: u64, damage: impl ToString) -> Self {
        Self { records, damage: Some(damage.to_string()) }
    }
}

async fn count(store: &Store, object: &ObjectMeta, content: &Content) -> Result<Counted> {
    let key = &object.location;
    let explain = |cause: &Error| store.explain("reading", Some(key), cause);
    match content {
        Content::Parquet => {
            match ParquetMetaDataReader::new().load_and_finish(Footer { store, key }, object.size).await {
                Ok(footer) => {
                    let records = u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
                    Ok(Counted { records, damage: None })
                }
                Err(cause) => match source(&cause) {
                    Some(cause) if !matches!(cause, Error::NotFound { .. }) => Err(explain(cause)),
                    _ => Ok(Counted::damaged(0, format_args!("damaged: {cause}"))),
                },
            }
        }
        Content::Separated { separator, gzip } => {
            let mut bytes = match store.objects.get(key).await {
                Ok(object) => object.into_stream(),
                Err(Error::NotFound { .. }) => return Ok(Counted::damaged(0, "gone meanwhile")),
                Err(cause) => return Err(explain(&cause)),
            };
            let mut counter = Counter::new(separator, *gzip);
            while let Some(chunk) = bytes.try_next().await.map_err(|cause| explain(&cause))? {
                if let Err(cause) = counter.write(&chunk) {
                    return Ok(Counted::damaged(counter.records(), format_args!("damaged: {cause}")));
                }
            }
            Ok(counter.finish())
        }
    }
}

/// Reads the end of a parquet file.
struct Footer<'a> {
    store: &'a Store,
    key: &'a Path,
}

impl MetadataFetch for Footer<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let bytes = self.store.objects.get_range(self.key, range);
        bytes.map_err(|cause| ParquetError::External(Box::new(cause))).boxed()
    }
}

/// The store's own error in one of the parquet crate.
fn source(error: &ParquetError) -> Option<&Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(inner) = inner.downcast_ref::<Error>() {
            return Some(inner);
        }
        cause = inner.source();
    }
    None
}

/// Counts separators in bytes that come in pieces.
enum Counter {
    Plain(Separators),
    Gzip(Box<MultiGzDecoder<Separators>>),
}

impl Counter {
    fn new(separator: &[u8], gzip: bool) -> Self {
        let separators = Separators { separator: separator.to_vec(), rest: Vec::new(), count: 0 };
        if gzip { Self::Gzip(Box::new(MultiGzDecoder::new(separators))) } else { Self::Plain(separators) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(separators) => separators.write_all(bytes),
            Self::Gzip(decoder) => decoder.write_all(bytes),
        }
    }

    fn records(&self) -> u64 {
        match self {
            Self::Plain(separators) => separators.count,
            Self::Gzip(decoder) => decoder.get_ref().count,
        }
    }

    fn finish(self) -> Counted {
        let records = self.records();
        let separators = match self {
            Self::Plain(separators) => separators,
            Self::Gzip(mut decoder) => match decoder.try_finish() {
                Ok(()) => match decoder.finish() {
                    Ok(separators) => separators,
                    Err(cause) => return Counted::damaged(records, format_args!("damaged: {cause}")),
                },
                Err(cause) => {
                    return Counted::damaged(decoder.get_ref().count, format_args!("damaged: {cause}"));
                }
            },
        };
        match separators.rest.is_empty() {
            true => Counted { records: separators.count, damage: None },
            false => Counted::damaged(separators.count, "damaged: it ends within a record"),
        }
    }
}

struct Separators {
    separator: Vec<u8>,
    /// The end of what came after the last separator; for one of a single byte, only whether there is something.
    rest: Vec<u8>,
    count: u64,
}

impl Write for Separators {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { separator, rest, count } = self;
        if let [byte] = separator[..] {
            let last = memchr::memchr_iter(byte, bytes).inspect(|_| *count += 1).last();
            if !bytes.is_empty() {
                let after = last.map_or(0, |at| at + 1);
                *rest = bytes[after..].first().copied().into_iter().collect();
            }
            return Ok(bytes.len());
        }
        rest.extend_from_slice(bytes);
        let found = memchr::memmem::find_iter(rest, &separator[..]).inspect(|_| *count += 1).last();
        rest.drain(..found.map_or(0, |at| at + separator.len()));
        // A separator may have begun; one byte more shows that something is left.
        rest.drain(..rest.len().saturating_sub(separator.len()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
