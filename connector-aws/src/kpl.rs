//! The aggregated records of the Kinesis Producer Library (K-07): many user records in the data of one Kinesis record.
//!
//! `F3 89 9A C2`, a protobuf message, the MD5 of that message. Whoever does not know the format sees one opaque record.

use md5::{Digest, Md5};
use prost::Message;

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const DIGEST_SIZE: usize = 16;

/// What an application put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    pub partition_key: String,
    pub explicit_hash_key: Option<String>,
    pub data: Vec<u8>,
}

/// The user records in `data`, in order; `None` when `data` is no aggregate and so is a record itself. As with AWS'
/// own reader, a wrong checksum or a message that cannot be read means just that.
pub fn decode(data: &[u8]) -> Option<Vec<UserRecord>> {
    let rest = data.strip_prefix(&MAGIC)?;
    let (message, digest) = rest.split_at(rest.len().checked_sub(DIGEST_SIZE)?);
    if Md5::digest(message).as_slice() != digest {
        return None;
    }
    let AggregatedRecord { partition_keys, explicit_hash_keys, records } =
        AggregatedRecord::decode(message).ok()?;
    let look_up = |table: &[String], index: u64| table.get(usize::try_from(index).ok()?).cloned();
    let user_record = |record: Record| {
        let explicit_hash_key = match record.explicit_hash_key_index {
            Some(index) => Some(look_up(&explicit_hash_keys, index)?),
            None => None,
        };
        let partition_key = look_up(&partition_keys, record.partition_key_index)?;
        Some(UserRecord { partition_key, explicit_hash_key, data: record.data })
    };
    records.into_iter().map(user_record).collect()
}

/// An aggregate of records with one partition key, so that it belongs to the shard to which each of them belongs, also
/// after a split or merge.
#[derive(Clone, Debug)]
pub struct Aggregate {
    message: AggregatedRecord,
    /// Bytes of the finished record.
    size: usize,
}

impl Aggregate {
    pub fn new(partition_key: String, explicit_hash_key: Option<String>) -> Self {
        let message = AggregatedRecord {
            partition_keys: vec![partition_key],
            explicit_hash_keys: explicit_hash_key.into_iter().collect(),
            records: Vec::new(),
        };
        let size = MAGIC.len() + message.encoded_len() + DIGEST_SIZE;
        Self { message, size }
    }

    fn record(&self, data: Vec<u8>) -> Record {
        let explicit_hash_key_index = (!self.message.explicit_hash_keys.is_empty()).then_some(0);
        Record { partition_key_index: 0, explicit_hash_key_index, data, tags: Vec::new() }
    }

    /// Bytes of the finished record if one with `data` bytes of data were added.
    pub fn size_with(&self, data: usize) -> usize {
        let empty = self.record(Vec::new()).encoded_len();
        // An empty `data` field is its tag and a length of one byte.
        let record = empty - 1 + prost::length_delimiter_len(data) + data;
        self.size + 1 + prost::length_delimiter_len(record) + record
    }

    pub fn push(&mut self, data: Vec<u8>) {
        self.size = self.size_with(data.len());
        self.message.records.push(self.record(data));
    }

    /// Number of user records.
    pub fn len(&self) -> usize {
        self.message.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The data of the Kinesis record.
    pub fn finish(&self) -> Vec<u8> {
        seal(&self.message)
    }
}

fn seal(message: &AggregatedRecord) -> Vec<u8> {
    let message = message.encode_to_vec();
    [&MAGIC, message.as_slice(), Md5::digest(&message).as_slice()].concat()
}

#[derive(Clone, PartialEq, Message)]
struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    partition_keys: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_keys: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<Record>,
}

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(uint64, required, tag = "1")]
    partition_key_index: u64,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "vec", required, tag = "3")]
    data: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    tags: Vec<Tag>,
}

#[derive(Clone, PartialEq, Message)]
struct Tag {
    #[prost(string, required, tag = "1")]
    key: String,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Written by AWS' own Python module for the format.
    const THEIRS: &str = "f3899ac20a0b706172746974696f6e2d310a026b3212273137303134313138333436303436393233313733313638\
                          373330333731353838343130353732381a0b08001a077b2261223a317d1a0c080110001a067365636f6e641a040800\
                          1a00eb65b0fd67aef0d247aee3be4a06e06a";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn what_awss_module_wrote_is_read_k_07() {
        let record = |key: &str, hash: Option<&str>, data: &[u8]| UserRecord {
            partition_key: key.to_owned(),
            explicit_hash_key: hash.map(str::to_owned),
            data: data.to_vec(),
        };
        let wanted = vec![
            record("partition-1", None, br#"{"a":1}"#),
            record("k2", Some("170141183460469231731687303715884105728"), b"second"),
            record("partition-1", None, b""),
        ];
        assert_eq!(decode(&bytes(THEIRS)), Some(wanted));
    }

    #[test]
    fn what_is_written_has_the_form_that_awss_module_gives_it() {
        // The same message without its second record and the tables' entries of that.
        let message = bytes("0a0b706172746974696f6e2d311a0b08001a077b2261223a317d1a0408001a00");
        let mut aggregate = Aggregate::new("partition-1".to_owned(), None);
        aggregate.push(br#"{"a":1}"#.to_vec());
        aggregate.push(Vec::new());
        let finished = aggregate.finish();
        assert_eq!(finished[4..finished.len() - 16], message);
    }

    #[test]
    fn a_record_that_only_looks_like_an_aggregate_is_one_itself() {
        let mut damaged = bytes(THEIRS);
        damaged[20] ^= 1;
        assert_eq!(decode(&damaged), None, "wrong checksum");
        assert_eq!(decode(&MAGIC), None, "nothing but the magic");
        assert_eq!(decode(br#"{"index":1}"#), None);
        let message = AggregatedRecord {
            records: vec![Record { partition_key_index: 7, ..Record::default() }],
            ..AggregatedRecord::default()
        };
        assert_eq!(decode(&seal(&message)), None, "a key that is not in the table");
    }

    proptest! {
        #[test]
        fn what_was_put_comes_back(
            key in ".{1,20}",
            hash in proptest::option::of("[0-9]{1,39}"),
            data in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20),
        ) {
            let mut aggregate = Aggregate::new(key.clone(), hash.clone());
            for data in &data {
                let size = aggregate.size_with(data.len());
                aggregate.push(data.clone());
                prop_assert_eq!(aggregate.finish().len(), size);
            }
            let wanted: Vec<_> = data
                .into_iter()
                .map(|data| UserRecord { partition_key: key.clone(), explicit_hash_key: hash.clone(), data })
                .collect();
            prop_assert_eq!(decode(&aggregate.finish()), Some(wanted));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            let sealed = [&MAGIC, message.as_slice(), Md5::digest(&message).as_slice()].concat();
            decode(&message);
            decode(&sealed);
        }
    }
}
