//! How far a shard was delivered, as Connect's source offsets.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_core::{ConnectError, Position, Result};
use serde_json::{Map, Value};

const STREAM: &str = "stream";
const SHARD: &str = "shard";
const SEQUENCE_NUMBER: &str = "sequenceNumber";
const SUB_SEQUENCE_NUMBER: &str = "subSequenceNumber";
const TIMESTAMP: &str = "timestamp";
/// In place of a sequence number, as AWS' own client library writes it.
const SHARD_END: &str = "SHARD_END";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// To the record with this sequence number, which is included.
    After(Arc<str>),
    /// Into an aggregated record: to this one of the records that it holds, counted from 0, which is included.
    Within(Arc<str>, u64),
    /// Nothing of what arrived at this time (milliseconds since 1970) or later.
    Since(i64),
    /// To the shard's end.
    End,
}

impl Progress {
    fn to_offset(&self) -> Map<String, Value> {
        let sequence = |text: &str| (SEQUENCE_NUMBER.to_owned(), Value::from(text));
        match self {
            Self::After(number) => Map::from_iter([sequence(number)]),
            Self::Within(number, sub) => {
                Map::from_iter([sequence(number), (SUB_SEQUENCE_NUMBER.to_owned(), (*sub).into())])
            }
            Self::Since(ms) => Map::from_iter([(TIMESTAMP.to_owned(), (*ms).into())]),
            Self::End => Map::from_iter([sequence(SHARD_END)]),
        }
    }

    fn of_offset(offset: &Map<String, Value>) -> Option<Self> {
        let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match (offset.get(SEQUENCE_NUMBER), offset.get(SUB_SEQUENCE_NUMBER), offset.get(TIMESTAMP)) {
            (Some(Value::String(text)), None, None) if text == SHARD_END => Some(Self::End),
            (Some(number), None, None) => Some(Self::After(number.as_str().filter(digits)?.into())),
            (Some(number), Some(sub), None) => {
                Some(Self::Within(number.as_str().filter(digits)?.into(), sub.as_u64()?))
            }
            (None, None, Some(ms)) => Some(Self::Since(ms.as_i64()?)),
            _ => None,
        }
    }

    pub fn position(&self, stream: &str, shard: &str) -> Position {
        let partition = [(STREAM, stream), (SHARD, shard)];
        Position {
            partition: partition.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect(),
            offset: self.to_offset(),
        }
    }
}

/// The shard of `stream` that a position is about.
fn shard_of<'a>(position: &'a Position, stream: &str) -> Option<&'a str> {
    let text = |name: &str| position.partition.get(name).and_then(Value::as_str);
    text(SHARD).filter(|_| text(STREAM) == Some(stream))
}

/// What is stored of the shards of `stream`.
pub fn stored(positions: &[Position], stream: &str) -> Result<BTreeMap<Arc<str>, Progress>> {
    let mut all = BTreeMap::new();
    for position in positions {
        let Some(shard) = shard_of(position, stream) else { continue };
        let progress = Progress::of_offset(&position.offset).ok_or_else(|| {
            let message = format!("the stored offset of shard `{shard}` of stream `{stream}` cannot be read");
            ConnectError::user("kinesis.position", message).hint(
                "reset the connector's offset of this shard, or write {\"sequenceNumber\": \"<digits>\"}",
            )
        })?;
        all.insert(shard.into(), progress);
    }
    Ok(all)
}

/// The shards of `stream` that these positions call finished.
pub fn finished<'a>(positions: &'a [Position], stream: &'a str) -> impl Iterator<Item = &'a str> {
    let ended = |position: &&Position| Progress::of_offset(&position.offset) == Some(Progress::End);
    positions.iter().filter(ended).filter_map(move |position| shard_of(position, stream))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn position(partition: Value, offset: Value) -> Position {
        serde_json::from_value(json!({"partition": partition, "offset": offset})).unwrap()
    }

    #[test]
    fn positions_are_stored_per_stream_and_shard_k_05() {
        let written = Progress::After("495".into()).position("s", "shardId-000000000000");
        let partition = json!({"stream": "s", "shard": "shardId-000000000000"});
        assert_eq!(written, position(partition, json!({"sequenceNumber": "495"})));
        let other = Progress::End.position("another", "shardId-000000000001");
        let all = stored(&[written, other.clone()], "s").unwrap();
        assert_eq!(all, BTreeMap::from([("shardId-000000000000".into(), Progress::After("495".into()))]));
        assert_eq!(finished(&[other], "another").collect::<Vec<_>>(), ["shardId-000000000001"]);
    }

    #[test]
    fn an_offset_that_says_nothing_is_named_with_its_shard() {
        for offset in [
            json!({}),
            json!({"sequenceNumber": 495}),
            json!({"sequenceNumber": "4x"}),
            json!({"sequenceNumber": ""}),
            json!({"sequenceNumber": "SHARD_END", "subSequenceNumber": 1}),
            json!({"sequenceNumber": "1", "subSequenceNumber": -1}),
            json!({"sequenceNumber": "1", "timestamp": 1}),
        ] {
            let error = stored(&[position(json!({"stream": "s", "shard": "a"}), offset)], "s").unwrap_err();
            assert!(error.message.contains("shard `a` of stream `s`"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number in "[0-9]{1,60}", sub: u64, ms: i64, which in 0..4) {
            let progress = match which {
                0 => Progress::After(number.as_str().into()),
                1 => Progress::Within(number.as_str().into(), sub),
                2 => Progress::Since(ms),
                _ => Progress::End,
            };
            let text = serde_json::to_string(&progress.position("s", "a")).unwrap();
            let read: Position = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(stored(&[read], "s").unwrap().remove("a"), Some(progress));
        }
    }
}
