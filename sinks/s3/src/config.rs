//! The keys of Confluent's S3 sink that this one knows.

use std::sync::Arc;

use connector_core::ConfigProblem;
use connector_core::json::DecimalFormat;
use flate2::Compression;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::body::Encoding;
pub use crate::choices::*;
use crate::parquet::{Codec, Parquet};
use crate::partition::{Extractor, Partitioner, SchemaAffix, Zone};
use crate::place::Place;

/// Configuration of `s3-sink`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Config {
    #[serde(flatten)]
    pub place: Place,

    /// Records per object, counted in each topic-partition; 0 acts as 1.
    #[serde(rename = "flush.size")]
    pub flush_size: u64,

    /// First part of each object's key; blank: none.
    #[serde(rename = "topics.dir", default = "topics_dir")]
    pub topics_dir: String,

    /// Text between the directories of a key.
    #[serde(rename = "directory.delim", default = "slash")]
    pub directory_delim: String,

    /// Text between topic, partition and offset in a file name.
    #[serde(rename = "file.delim", default = "plus")]
    pub file_delim: String,

    /// Digits to which the offset in a file name is padded with zeros.
    #[serde(rename = "filename.offset.zero.pad.width", default = "pad_width")]
    #[schemars(range(min = 1, max = 100))]
    pub pad_width: usize,

    /// Milliseconds of the records' time (as `timestamp.extractor` says) after which files are closed, counted from the
    /// first record of the open files; -1: never. With the default and field partitioners it is clock time, see
    /// `rotate.idle`.
    #[serde(rename = "rotate.interval.ms", default = "never")]
    pub rotate_interval_ms: i64,

    /// Whether `rotate.interval.ms` also closes files by the clock: with a partitioner by time when no record came for so
    /// long, else when their first record is so old. `false` is what Connect does: it waits for the next record, and without
    /// a partitioner by time does nothing at all.
    #[serde(rename = "rotate.idle", default = "yes")]
    pub rotate_idle: bool,

    /// Whether with `rotate.interval.ms` files are closed as soon as a record belongs to another directory than the one
    /// before it.
    #[serde(rename = "rotate.file.on.partition.change", default = "yes")]
    pub rotate_on_change: bool,

    /// Files of a topic-partition that may be open; one more closes all of them. -1: as many as there are directories.
    #[serde(rename = "partitioner.max.open.files", default = "never")]
    pub max_open_files: i64,

    /// Milliseconds of clock time, counted from midnight in `timezone`, after which files are closed; -1: never.
    #[serde(rename = "rotate.schedule.interval.ms", default = "never")]
    pub rotate_schedule_interval_ms: i64,

    /// Time zone of directories by time and of `rotate.schedule.interval.ms`: `UTC`, `Europe/London`, `+05:30`.
    #[serde(rename = "timezone", default)]
    pub timezone: String,

    /// Whether an object that exists is kept instead of overwritten; only with `rotate.schedule.interval.ms`.
    #[serde(rename = "enable.conditional.writes", default = "yes")]
    pub conditional_writes: bool,

    /// How records are written: one JSON text a line, the bytes as they are, or the columns of parquet.
    #[serde(rename = "format.class", default)]
    pub format: Format,

    /// Which directory a record belongs to.
    #[serde(rename = "partitioner.class", default)]
    pub partitioner: Partitioner,

    /// Fields that name the directories of the field partitioner; `a.b` is the field `b` inside of `a`.
    #[serde(rename = "partition.field.name", default)]
    pub partition_fields: Vec<String>,

    /// Directories of the time partitioner, in Joda-Time's letters: `'year'=YYYY/'month'=MM/'day'=dd`.
    #[serde(rename = "path.format", default)]
    pub path_format: String,

    /// Milliseconds that one directory of the time partitioner covers.
    #[serde(rename = "partition.duration.ms", default = "never")]
    pub partition_duration_ms: i64,

    /// Language of month and day names in `path.format`: `en`, `de`, `fr`, … With a country, as in `en-US`, they are the
    /// short English ones, as in Connect.
    #[serde(rename = "locale", default = "english")]
    pub locale: String,

    /// Which time of a record counts for partitioners by time.
    #[serde(rename = "timestamp.extractor", default)]
    pub timestamp_extractor: Extractor,

    /// Field of the record's time for the extractor `recordfield`; `a.b` is the field `b` inside of `a`.
    #[serde(rename = "timestamp.field", default = "timestamp")]
    pub timestamp_field: String,

    /// Whether the name of the records' schema is one of the directories.
    #[serde(rename = "s3.schema.partition.affix.type", default)]
    pub schema_affix: SchemaAffix,

    /// The storage class of Connect; there is only this one.
    #[serde(rename = "storage.class", default)]
    pub storage: Storage,

    /// What a record with another schema does to the open file.
    #[serde(rename = "schema.compatibility", default)]
    pub schema_compatibility: SchemaCompatibility,

    /// How objects of JSON lines and bytes are compressed; parquet has `parquet.codec`.
    #[serde(rename = "s3.compression.type", default)]
    pub compression: CompressionType,

    /// How the columns of parquet files are compressed.
    #[serde(rename = "parquet.codec", default)]
    pub parquet_codec: Codec,

    /// gzip's level, 0 to 9; -1: its own default.
    #[serde(rename = "s3.compression.level", default = "default_level")]
    #[schemars(range(min = -1, max = 9))]
    pub compression_level: i32,

    /// End of the file names that the bytearray format writes, dot included.
    #[serde(rename = "format.bytearray.extension", default = "bin")]
    pub bytearray_extension: String,

    /// Text after each record of the bytearray format, taken as it stands.
    #[serde(rename = "format.bytearray.separator", default = "newline")]
    pub bytearray_separator: String,

    /// Bytes of one part of a large upload; smaller objects are sent whole. S3 takes 10,000 parts an object.
    #[serde(rename = "s3.part.size", default = "part_size")]
    #[schemars(range(min = 5_242_880, max = 2_147_483_647))]
    pub part_size: usize,

    /// What a record without a value (a tombstone) does.
    #[serde(rename = "behavior.on.null.values", default)]
    pub null_values: NullValues,

    /// Directory of tombstones that are written.
    #[serde(rename = "tombstone.encoded.partition", default = "tombstone")]
    pub tombstone_directory: String,

    /// Whether the records' keys are written too, into objects of their own that end in `.keys.<extension>`.
    #[serde(rename = "store.kafka.keys", default)]
    pub store_keys: bool,

    /// How keys are written; required with `store.kafka.keys`.
    #[serde(rename = "keys.format.class", default)]
    pub keys_format: Option<Format>,

    /// Whether the records' headers are written too, into objects of their own that end in `.headers.<extension>`.
    #[serde(rename = "store.kafka.headers", default)]
    pub store_headers: bool,

    /// How headers are written; required with `store.kafka.headers`.
    #[serde(rename = "headers.format.class", default)]
    pub headers_format: Option<Format>,

    /// How the bytes of headers are understood in objects of headers.
    #[serde(rename = "header.converter", default)]
    pub header_converter: HeaderConverter,

    /// Whether objects have the tags `startOffset`, `endOffset` (of the last record) and `recordCount`.
    #[serde(rename = "s3.object.tagging", default)]
    pub tagging: bool,

    /// Further tags: `key1:value1,key2:value2`.
    #[serde(rename = "s3.object.tagging.key.value.pairs", default)]
    pub more_tags: Vec<String>,

    /// How decimals are written in JSON: their bytes in base64, or numbers.
    #[serde(rename = "json.decimal.format", default)]
    pub decimal_format: DecimalFormat,
}

impl Config {
    /// What the schema cannot say, all of it.
    pub fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems = self.place.problems();
        let mut wrong = |key: &str, message: &str, hint: &str| {
            problems.push(ConfigProblem::new(key, message, hint));
        };
        for (key, format, stored) in [
            ("format.class", Some(self.format), true),
            ("keys.format.class", self.keys_format, self.store_keys),
            ("headers.format.class", self.headers_format, self.store_headers),
        ] {
            match format {
                _ if !stored => {}
                Some(Format::Avro) => {
                    wrong(key, "Avro is not supported yet", "use `json`, `bytearray` or `parquet`");
                }
                None => wrong(
                    key,
                    "is required with the objects that it is about; Connect's default, Avro, is not supported yet",
                    "write `json`, or `bytearray` for keys as they are",
                ),
                _ => {}
            }
        }
        if self.null_values == NullValues::Write && !self.store_keys {
            let hint = "set `store.kafka.keys: true`: the key is all that there is to write of such a record";
            wrong("behavior.on.null.values", "`write` needs the keys", hint);
        }
        if self.tagging && tags(&self.more_tags).is_none() {
            let hint = "write `key1:value1,key2:value2`: keys of 1 to 128 characters, values of at most 256";
            wrong("s3.object.tagging.key.value.pairs", "is no list of tags", hint);
        } else if self.tagging && self.more_tags.len() > MOST_TAGS - 3 {
            let hint = "S3 takes ten an object, and three are those of the offsets";
            wrong("s3.object.tagging.key.value.pairs", "has too many tags", hint);
        }
        if self.timezone.trim().is_empty() && self.rotate_schedule_interval_ms > 0 {
            let hint = "write a name such as UTC or Europe/London";
            wrong("timezone", "is required with `rotate.schedule.interval.ms`", hint);
        }
        if !self.timezone.trim().is_empty() && Zone::parse(&self.timezone).is_none() {
            wrong("timezone", "is not a known time zone", "write such as UTC, Europe/London or +05:30");
        }
        problems
    }

    /// How `format` becomes the bytes of an object.
    pub fn encoding(&self, format: Format) -> Encoding {
        match (format, self.compression) {
            // A row group fills about one part.
            (Format::Parquet, _) => {
                Encoding::Parquet(Arc::new(Parquet::new(self.parquet_codec, self.part_size)))
            }
            (_, CompressionType::None) => Encoding::Plain,
            (_, CompressionType::Gzip) => {
                let level = u32::try_from(self.compression_level);
                Encoding::Gzip(level.map_or_else(|_| Compression::default(), Compression::new))
            }
        }
    }

    /// Whether an existing object is kept (Connect's rule).
    pub fn creates_only(&self) -> bool {
        self.conditional_writes && self.rotate_schedule_interval_ms > 0
    }

    /// The tags that each object gets beside those of its offsets.
    pub fn tags(&self) -> Vec<(String, String)> {
        tags(&self.more_tags).unwrap_or_default()
    }

    /// End of the object keys of a format.
    pub fn extension(&self, format: Format) -> String {
        let format = match format {
            Format::ByteArray => &self.bytearray_extension,
            Format::Parquet => return self.parquet_codec.extension().to_owned(),
            _ => ".json",
        };
        let gzip = if self.compression == CompressionType::Gzip { ".gz" } else { "" };
        format!("{format}{gzip}")
    }

    /// What follows each record of a format.
    pub fn separator(&self, format: Format) -> &str {
        if format == Format::ByteArray { &self.bytearray_separator } else { "\n" }
    }
}

/// Tags that S3 takes an object.
const MOST_TAGS: usize = 10;

/// Tags from `key:value` texts, unless one of them is none.
fn tags(pairs: &[String]) -> Option<Vec<(String, String)>> {
    let pairs = pairs.iter().map(|pair| pair.trim()).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once(':')?;
            let (key, value) = (key.trim(), value.trim());
            let fits = (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256;
            fits.then(|| (key.to_owned(), value.to_owned()))
        })
        .collect()
}

fn yes() -> bool {
    true
}

fn topics_dir() -> String {
    "topics".to_owned()
}

fn slash() -> String {
    "/".to_owned()
}

fn plus() -> String {
    "+".to_owned()
}

fn pad_width() -> usize {
    10
}

fn english() -> String {
    "en".to_owned()
}

fn timestamp() -> String {
    "timestamp".to_owned()
}

fn tombstone() -> String {
    "tombstone".to_owned()
}

fn never() -> i64 {
    -1
}

fn default_level() -> i32 {
    -1
}

fn bin() -> String {
    ".bin".to_owned()
}

fn newline() -> String {
    "\n".to_owned()
}

fn part_size() -> usize {
    25 << 20
}
