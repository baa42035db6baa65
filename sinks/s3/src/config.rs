//! The keys of Confluent's S3 sink that this one knows.

use std::sync::Arc;

use chrono_tz::Tz;
use connector_core::json::DecimalFormat;
use connector_core::ConfigProblem;
use flate2::Compression;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::body::Encoding;
use crate::layout::Partitioner;
use crate::not_yet::NotYet;
use crate::parquet::{Codec, Parquet};
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

    /// Milliseconds of record time after which a file is closed; does nothing with the default partitioner, as in
    /// Connect.
    #[serde(rename = "rotate.interval.ms", default = "never")]
    pub rotate_interval_ms: i64,

    /// Milliseconds of clock time, counted from midnight in `timezone`, after which files are closed; -1: never.
    #[serde(rename = "rotate.schedule.interval.ms", default = "never")]
    pub rotate_schedule_interval_ms: i64,

    /// Time zone of `rotate.schedule.interval.ms`, such as `UTC` or `Europe/London`.
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

    /// How decimals are written in JSON: their bytes in base64, or numbers.
    #[serde(rename = "json.decimal.format", default)]
    pub decimal_format: DecimalFormat,

    #[serde(flatten)]
    pub not_yet: NotYet,
}

/// `format.class`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON text a line.
    #[default]
    #[serde(alias = "io.confluent.connect.s3.format.json.JsonFormat")]
    Json,
    /// The value's bytes and a separator.
    #[serde(alias = "io.confluent.connect.s3.format.bytearray.ByteArrayFormat")]
    ByteArray,
    /// Not yet.
    #[serde(alias = "io.confluent.connect.s3.format.avro.AvroFormat")]
    Avro,
    /// Columns, for values with a schema.
    #[serde(alias = "io.confluent.connect.s3.format.parquet.ParquetFormat")]
    Parquet,
}

/// `storage.class`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    #[default]
    #[serde(alias = "io.confluent.connect.s3.storage.S3Storage")]
    S3,
}

/// `schema.compatibility`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SchemaCompatibility {
    #[default]
    #[serde(alias = "none")]
    None,
    /// Not yet.
    Backward,
    /// Not yet.
    BackwardTransitive,
    /// Not yet.
    Forward,
    /// Not yet.
    ForwardTransitive,
    /// Not yet.
    Full,
    /// Not yet.
    FullTransitive,
}

/// `s3.compression.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompressionType {
    #[default]
    None,
    Gzip,
}

/// `behavior.on.null.values`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NullValues {
    /// The record is refused.
    #[default]
    #[serde(alias = "FAIL")]
    Fail,
    /// The record is skipped.
    #[serde(alias = "IGNORE")]
    Ignore,
    /// Not yet.
    #[serde(alias = "WRITE")]
    Write,
}

impl Config {
    /// What the schema cannot say, all of it.
    pub fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems = self.place.problems();
        problems.extend(self.not_yet.problems());
        let mut wrong = |key: &str, message: &str, hint: &str| {
            problems.push(ConfigProblem::new(key, message, hint));
        };
        if self.format == Format::Avro {
            wrong("format.class", "Avro is not supported yet", "use `json`, `bytearray` or `parquet`");
        }
        if self.partitioner != Partitioner::Default {
            wrong("partitioner.class", "only the default partitioner is supported yet", "use `default`");
        }
        if self.schema_compatibility != SchemaCompatibility::None {
            wrong("schema.compatibility", "only NONE is supported yet", "use `NONE`");
        }
        if self.null_values == NullValues::Write {
            wrong("behavior.on.null.values", "`write` is not supported yet", "use `fail` or `ignore`");
        }
        if self.timezone.is_empty() && self.rotate_schedule_interval_ms > 0 {
            let hint = "write a name such as UTC or Europe/London";
            wrong("timezone", "is required with `rotate.schedule.interval.ms`", hint);
        }
        if !self.timezone.is_empty() && self.timezone.parse::<Tz>().is_err() {
            wrong("timezone", "is not a known time zone", "write a name such as UTC or Europe/London");
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

    /// End of the object keys.
    pub fn extension(&self) -> String {
        let format = match self.format {
            Format::ByteArray => &self.bytearray_extension,
            Format::Parquet => return self.parquet_codec.extension().to_owned(),
            _ => ".json",
        };
        let gzip = if self.compression == CompressionType::Gzip { ".gz" } else { "" };
        format!("{format}{gzip}")
    }

    /// What follows each record.
    pub fn separator(&self) -> &str {
        if self.format == Format::ByteArray { &self.bytearray_separator } else { "\n" }
    }
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
