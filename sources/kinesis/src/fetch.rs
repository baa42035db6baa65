//! One page of one shard: an iterator if there is none, and GetRecords.

use std::collections::VecDeque;
use std::sync::Arc;

use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::ShardIteratorType;
use connector_aws::kinesis::{Client, Trouble, explain};
use connector_aws::kpl;
use connector_core::{ConnectError, Result};

use crate::figures::Figures;
use crate::position::Progress;

/// Where to go on reading.
#[derive(Clone, Debug)]
pub struct Cursor {
    pub start: Start,
    /// Where Kinesis said to go on; good for five minutes.
    pub iterator: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    TrimHorizon,
    /// The newest record; the time is now, in milliseconds since 1970, for when the first iterator is lost.
    Latest(i64),
    Progress(Progress),
}

/// What an application put.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Option<String>,
    pub data: Vec<u8>,
    /// ApproximateArrivalTimestamp, in milliseconds since 1970.
    pub arrived: Option<i64>,
    pub sequence: Arc<str>,
    /// Its place in an aggregated record, counted from 0, and whether it is the last one there.
    pub sub: Option<(u64, bool)>,
}

impl Record {
    /// Where a shard stands when this is delivered.
    pub fn progress(&self) -> Progress {
        match self.sub {
            Some((at, false)) => Progress::Within(self.sequence.clone(), at),
            _ => Progress::After(self.sequence.clone()),
        }
    }

    pub fn size(&self) -> usize {
        self.data.len() + self.key.as_ref().map_or(0, String::len)
    }
}

#[derive(Debug)]
pub struct Page {
    pub records: VecDeque<Record>,
    /// Sequence number of the last record of the shard that it holds.
    pub last: Option<Arc<str>>,
    pub next: Option<String>,
    pub behind_ms: i64,
    /// As the service counts its limits.
    pub bytes: usize,
    /// As many records as were asked for.
    pub full: bool,
}

/// One shard of one stream.
pub struct Fetcher {
    pub client: Client,
    pub stream: Arc<str>,
    pub shard: Arc<str>,
    /// Most records of a page.
    pub limit: i32,
    pub figures: Arc<Figures>,
}

impl Fetcher {
    /// The next page; `cursor` keeps what is to be kept when it fails.
    pub async fn page(&self, cursor: &mut Cursor) -> Result<Page> {
        let first = self.iterator(cursor).await?;
        let answer = match self.records(first).await {
            Err(error) if error.code == Trouble::ExpiredIterator.code() => {
                self.figures.expired();
                cursor.iterator = None;
                let iterator = self.iterator(cursor).await?;
                self.records(iterator).await?
            }
            answer => answer?,
        };
        Ok(self.opened(answer, cursor))
    }

    async fn records(&self, iterator: String) -> Result<GetRecordsOutput> {
        let call = self.client.get_records().shard_iterator(iterator).limit(self.limit);
        call.send().await.map_err(|e| explain(&self.place("reading"), &e))
    }

    async fn iterator(&self, cursor: &mut Cursor) -> Result<String> {
        if let Some(iterator) = &cursor.iterator {
            return Ok(iterator.clone());
        }
        let call = self.client.get_shard_iterator().stream_name(&*self.stream).shard_id(&*self.shard);
        let at = |kind: ShardIteratorType| call.shard_iterator_type(kind);
        let call = match &cursor.start {
            Start::TrimHorizon => at(ShardIteratorType::TrimHorizon),
            Start::Latest(_) => at(ShardIteratorType::Latest),
            Start::Progress(Progress::After(number)) => {
                at(ShardIteratorType::AfterSequenceNumber).starting_sequence_number(&**number)
            }
            Start::Progress(Progress::Within(number, _)) => {
                at(ShardIteratorType::AtSequenceNumber).starting_sequence_number(&**number)
            }
            Start::Progress(Progress::Since(ms)) => {
                at(ShardIteratorType::AtTimestamp).timestamp(DateTime::from_millis(*ms))
            }
            Start::Progress(Progress::End) => {
                return Err(ConnectError::internal("kinesis.shard", self.place("reading past the end of")));
            }
        };
        let answer =
            call.send().await.map_err(|e| self.no_iterator(cursor, explain(&self.place("reading"), &e)))?;
        let iterator = answer.shard_iterator.ok_or_else(|| {
            ConnectError::external("kinesis.no_answer", self.place("Kinesis gave no iterator for"))
        })?;
        if let Start::Latest(now) = cursor.start {
            // What arrives from here on must not be skipped by another `latest`.
            cursor.start = Start::Progress(Progress::Since(now));
        }
        cursor.iterator = Some(iterator.clone());
        Ok(iterator)
    }

    fn no_iterator(&self, cursor: &Cursor, error: ConnectError) -> ConnectError {
        let stored = matches!(&cursor.start, Start::Progress(Progress::After(_) | Progress::Within(..)));
        if !stored || error.code != Trouble::Refused.code() {
            return error;
        }
        let message = format!("{}: Kinesis does not know the stored position", self.place("reading"));
        ConnectError::user("kinesis.position", message).caused_by(error).hint(MADE_ANEW)
    }

    fn place(&self, doing: &str) -> String {
        format!("{doing} shard `{}` of stream `{}`", self.shard, self.stream)
    }

    fn opened(&self, answer: GetRecordsOutput, cursor: &Cursor) -> Page {
        let count = answer.records.len();
        let mut page = Page {
            records: VecDeque::with_capacity(count),
            last: None,
            next: answer.next_shard_iterator,
            behind_ms: answer.millis_behind_latest.unwrap_or(0),
            bytes: 0,
            full: usize::try_from(self.limit).is_ok_and(|limit| count >= limit),
        };
        for record in answer.records {
            let sequence: Arc<str> = record.sequence_number.into();
            let arrived = record.approximate_arrival_timestamp.and_then(|time| time.to_millis().ok());
            let data = record.data.into_inner();
            page.bytes += data.len() + record.partition_key.as_ref().map_or(0, String::len);
            page.last = Some(sequence.clone());
            let Some(parts) = kpl::decode(&data) else {
                page.records.push_back(Record {
                    key: record.partition_key,
                    data,
                    arrived,
                    sequence,
                    sub: None,
                });
                continue;
            };
            let delivered = match &cursor.start {
                Start::Progress(Progress::Within(number, sub)) if *number == sequence => Some(*sub),
                _ => None,
            };
            let total = parts.len();
            for (at, part) in parts.into_iter().enumerate() {
                let sub = at as u64;
                if delivered.is_none_or(|delivered| sub > delivered) {
                    page.records.push_back(Record {
                        key: Some(part.partition_key),
                        data: part.data,
                        arrived,
                        sequence: sequence.clone(),
                        sub: Some((sub, at + 1 == total)),
                    });
                }
            }
        }
        page
    }
}

/// What to do about a position that does not belong to the stream.
pub const MADE_ANEW: &str = "was the stream deleted and made anew? then reset the connector's offsets";
