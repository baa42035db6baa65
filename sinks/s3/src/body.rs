//! The growing body of one object: chunks that go to the store without another copy.

use std::collections::VecDeque;
use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use object_store::PutPayload;

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
    fn new(room: BytesMut) -> Self {
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

/// What records are written into.
#[derive(Debug)]
pub enum Body {
    Plain(Buffer),
    Gzip(Box<GzEncoder<Buffer>>),
}

impl Body {
    pub fn new(gzip: Option<Compression>, room: BytesMut) -> Self {
        let buffer = Buffer::new(room);
        match gzip {
            None => Self::Plain(buffer),
            Some(level) => Self::Gzip(Box::new(GzEncoder::new(buffer, level))),
        }
    }

    /// Appends one record and its separator.
    #[inline]
    pub fn append(&mut self, record: &[u8], separator: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(buffer) => {
                buffer.push(record);
                buffer.push(separator);
                Ok(())
            }
            Self::Gzip(encoder) => {
                encoder.write_all(record)?;
                encoder.write_all(separator)
            }
        }
    }

    /// The bytes to be stored, as far as they are known.
    pub fn buffer(&mut self) -> &mut Buffer {
        match self {
            Self::Plain(buffer) => buffer,
            Self::Gzip(encoder) => encoder.get_mut(),
        }
    }

    /// All remaining bytes; nothing can be appended any more.
    pub fn finish(self) -> io::Result<Buffer> {
        match self {
            Self::Plain(buffer) => Ok(buffer),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
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
            let mut body = Body::new(None, room);
            body.append(format!("record {i}").as_bytes(), b"\n").unwrap();
            let mut buffer = body.finish().unwrap();
            objects.push(bytes(buffer.take(usize::MAX)));
            room = buffer.into_room();
        }
        assert_eq!(objects.concat(), b"record 0\nrecord 1\nrecord 2\nrecord 3\nrecord 4\n");
        assert!(
            room.capacity() < SMALLEST_CHUNK && room.capacity() >= SMALLEST_CHUNK - 100,
            "{}",
            room.capacity()
        );
    }
}
