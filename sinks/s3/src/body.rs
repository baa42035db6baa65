//! The growing body of one object: chunks that go to the store without another copy.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use connector_core::{ConnectError, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use object_store::PutPayload;

use crate::parquet::{Parquet, RowGroups, Table};

/// A chunk is as large as what is there already, within these bounds (bytes): ten thousand nearly empty files cost
/// little, and a large one has few chunks.
const SMALLEST_CHUNK: usize = 4 << 10;
const LARGEST_CHUNK: usize = 1 << 20;

/// Bytes in chunks, appended at the end and taken from the front.
#[derive(Debug, Default)]
pub struct Buffer {
    chunks: VecDeque<Bytes>,
    /// Bytes in `chunks`.
    chunked: usize,
    tail: BytesMut,
}

impl Buffer {
    /// Goes on in the unused room of an earlier buffer's last chunk: many small objects share one allocation.
    pub fn new(room: BytesMut) -> Self {
        Self { tail: room, ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.chunked + self.tail.len()
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        if self.tail.capacity() - self.tail.len() < bytes.len() {
            self.grow(bytes.len());
        }
        self.tail.extend_from_slice(bytes);
    }

    #[cold]
    fn grow(&mut self, needed: usize) {
        self.seal();
        let size = self.chunked.clamp(SMALLEST_CHUNK, LARGEST_CHUNK).max(needed);
        self.tail = BytesMut::with_capacity(size);
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let chunk = self.tail.split().freeze();
            self.chunked += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    /// The first `size` bytes, or all when there are fewer.
    pub fn take(&mut self, size: usize) -> PutPayload {
        if self.chunked < size {
            self.seal();
        }
        let mut left = size.min(self.chunked);
        self.chunked -= left;
        let mut taken = Vec::new();
        while left > 0 {
            let Some(mut chunk) = self.chunks.pop_front() else { break };
            if chunk.len() > left {
                taken.push(chunk.split_to(left));
                self.chunks.push_front(chunk);
                break;
            }
            left -= chunk.len();
            taken.push(chunk);
        }
        taken.into_iter().collect()
    }

    /// The room that is left, for the next buffer.
    pub fn into_room(mut self) -> BytesMut {
        self.tail.split_off(self.tail.len())
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How the records of an object become its bytes.
#[derive(Clone, Debug)]
pub enum Encoding {
    /// One after the other.
    Plain,
    Gzip(Compression),
    Parquet(Arc<Parquet>),
}

/// One record, as a body takes it.
#[derive(Clone, Copy)]
pub enum Record<'a> {
    /// Its text or bytes.
    Bytes(&'a [u8]),
    /// A row of a batch of typed values.
    Row(&'a Arc<Table>, usize),
}

/// What records are written into.
#[derive(Debug)]
pub struct Body {
    kind: Kind,
    /// Bytes of records (before encoding) that are in no part yet.
    unsent: u64,
}

#[derive(Debug)]
enum Kind {
    Plain(Buffer),
    Gzip(Gzip),
    Parquet(Box<RowGroups>),
}

/// Bytes of records before a file gets an encoder, whose own memory is ten times that: most of many open files stay
/// smaller.
const UNCOMPRESSED: usize = 32 << 10;

#[derive(Debug)]
enum Gzip {
    Waiting { level: Compression, raw: Vec<u8>, room: BytesMut },
    Running(Box<GzEncoder<Buffer>>),
}

impl Gzip {
    #[inline]
    fn push(&mut self, record: &[u8], separator: &[u8]) -> io::Result<()> {
        if let Self::Waiting { raw, .. } = self {
            if raw.len() + record.len() + separator.len() <= UNCOMPRESSED {
                raw.extend_from_slice(record);
                raw.extend_from_slice(separator);
                return Ok(());
            }
            self.run()?;
        }
        let Self::Running(encoder) = self else { return Ok(()) };
        encoder.write_all(record)?;
        encoder.write_all(separator)
    }

    #[cold]
    fn run(&mut self) -> io::Result<()> {
        if let Self::Waiting { level, raw, room } = self {
            let mut encoder = GzEncoder::new(Buffer::new(std::mem::take(room)), *level);
            encoder.write_all(raw)?;
            *self = Self::Running(Box::new(encoder));
        }
        Ok(())
    }

    fn buffer(&mut self) -> Option<&mut Buffer> {
        match self {
            Self::Waiting { .. } => None,
            Self::Running(encoder) => Some(encoder.get_mut()),
        }
    }

    fn finish(mut self) -> io::Result<Buffer> {
        self.run()?;
        match self {
            Self::Running(encoder) => encoder.finish(),
            Self::Waiting { room, .. } => Ok(Buffer::new(room)),
        }
    }
}

/// What is left of a body that was finished.
pub struct Rest {
    pub payload: PutPayload,
    /// Bytes of records (before encoding) that it stands for.
    pub records: u64,
    /// Memory for the next body.
    pub room: BytesMut,
}

impl Body {
    pub fn new(encoding: &Encoding, room: BytesMut) -> Self {
        let kind = match encoding {
            Encoding::Plain => Kind::Plain(Buffer::new(room)),
            Encoding::Gzip(level) => Kind::Gzip(Gzip::Waiting { level: *level, raw: Vec::new(), room }),
            Encoding::Parquet(how) => {
                Kind::Parquet(Box::new(RowGroups::new(Arc::clone(how), Buffer::new(room))))
            }
        };
        Self { kind, unsent: 0 }
    }

    /// Appends one record and, where records are bytes, its separator.
    #[inline]
    pub fn append(&mut self, record: Record<'_>, separator: &[u8]) -> Result<()> {
        match (&mut self.kind, record) {
            (Kind::Plain(buffer), Record::Bytes(bytes)) => {
                buffer.push(bytes);
                buffer.push(separator);
                self.unsent += (bytes.len() + separator.len()) as u64;
            }
            (Kind::Gzip(gzip), Record::Bytes(bytes)) => {
                gzip.push(bytes, separator).map_err(compression)?;
                self.unsent += (bytes.len() + separator.len()) as u64;
            }
            (Kind::Parquet(groups), Record::Row(table, row)) => self.unsent += groups.append(table, row)?,
            _ => {
                return Err(ConnectError::internal(
                    "s3.body",
                    "a record comes in the form of another format",
                ));
            }
        }
        Ok(())
    }

    /// Exactly `size` bytes (at least 1) of the body when there are more than that, and the bytes of records (before
    /// encoding) that leave memory with them.
    pub fn part(&mut self, size: usize) -> Result<Option<(PutPayload, u64)>> {
        let (buffer, held) = match &mut self.kind {
            Kind::Plain(buffer) => {
                // Bytes of records are bytes of the body.
                let held = self.unsent.saturating_sub(size as u64);
                (buffer, held)
            }
            // A compressed part stands for all records so far: they take next to no memory any more.
            Kind::Gzip(gzip) => match gzip.buffer() {
                Some(buffer) => (buffer, 0),
                None => return Ok(None),
            },
            Kind::Parquet(groups) => {
                groups.settle()?;
                let held = groups.held();
                (groups.buffer()?, held)
            }
        };
        if buffer.len() <= size {
            return Ok(None);
        }
        let records = self.unsent.saturating_sub(held);
        self.unsent -= records;
        Ok(Some((buffer.take(size), records)))
    }

    /// All remaining bytes.
    pub fn finish(self) -> Result<Rest> {
        let mut buffer = match self.kind {
            Kind::Plain(buffer) => buffer,
            Kind::Gzip(gzip) => gzip.finish().map_err(compression)?,
            Kind::Parquet(groups) => groups.finish()?,
        };
        Ok(Rest { payload: buffer.take(usize::MAX), records: self.unsent, room: buffer.into_room() })
    }
}

fn compression(cause: io::Error) -> ConnectError {
    ConnectError::internal("s3.compression", "gzip failed").caused_by(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(payload: PutPayload) -> Vec<u8> {
        payload.iter().flatten().copied().collect()
    }

    #[test]
    fn parts_have_the_size_asked_for_and_lose_nothing() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut buffer = Buffer::default();
        let mut parts = Vec::new();
        for record in text.chunks(777) {
            buffer.push(record);
            while buffer.len() > 50_000 {
                parts.push(bytes(buffer.take(50_000)));
            }
        }
        assert!(parts.iter().all(|part| part.len() == 50_000));
        parts.push(bytes(buffer.take(usize::MAX)));
        assert_eq!(buffer.len(), 0);
        assert_eq!(parts.concat(), text);
    }

    #[test]
    fn small_objects_share_a_chunk() {
        let mut room = BytesMut::new();
        let mut objects = Vec::new();
        for i in 0..5 {
            let mut body = Body::new(&Encoding::Plain, room);
            body.append(Record::Bytes(format!("record {i}").as_bytes()), b"\n").unwrap();
            let rest = body.finish().unwrap();
            assert_eq!(rest.records, 9);
            objects.push(bytes(rest.payload));
            room = rest.room;
        }
        assert_eq!(objects.concat(), b"record 0\nrecord 1\nrecord 2\nrecord 3\nrecord 4\n");
        assert!(
            room.capacity() < SMALLEST_CHUNK && room.capacity() >= SMALLEST_CHUNK - 100,
            "{}",
            room.capacity()
        );
    }

    #[test]
    fn a_small_file_has_no_encoder_and_a_larger_one_loses_nothing() {
        for count in [1, 10, 1000] {
            let mut body = Body::new(&Encoding::Gzip(Compression::default()), BytesMut::new());
            let mut text = Vec::new();
            for n in 0..count {
                let record = format!("{n:0>99}");
                body.append(Record::Bytes(record.as_bytes()), b"\n").unwrap();
                text.extend_from_slice(record.as_bytes());
                text.push(b'\n');
            }
            assert_eq!(matches!(body.kind, Kind::Gzip(Gzip::Running(_))), count == 1000);
            let rest = body.finish().unwrap();
            let mut unzipped = Vec::new();
            std::io::Read::read_to_end(
                &mut flate2::read::GzDecoder::new(&bytes(rest.payload)[..]),
                &mut unzipped,
            )
            .unwrap();
            assert_eq!(unzipped, text);
        }
    }
}
