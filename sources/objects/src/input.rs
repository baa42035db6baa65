//! An object's bytes to its texts: gzip is told by its first bytes, whatever the name.

use std::io::Write;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;

use crate::split::{Piece, Splitter};

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Compressed bytes that are taken at once, the same ones in each run: how much comes out in front of a corrupt place
/// depends on it. At most a thousand times as many bytes come out.
const SLICE: usize = 4 << 10;

/// The bytes of one object as they come, and the texts in them.
pub struct Input {
    packing: Packing,
    splitter: Splitter,
    /// Fed and not looked at yet.
    fed: Bytes,
    /// Nothing will be fed any more.
    ends: bool,
    /// The splitter has everything.
    drained: bool,
    corrupt: bool,
}

enum Packing {
    /// Fewer than two bytes were seen.
    Unknown,
    None,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

/// What [`Input::next`] found.
pub enum Next<'a> {
    Piece(Piece<'a>),
    /// The gzip stream is corrupt or cut behind this line (from 1); nothing more can be read of the object.
    Corrupt(u64),
    /// Feed it first.
    Hungry,
    End,
}

impl Input {
    /// `limit`: the longest text in bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            packing: Packing::Unknown,
            splitter: Splitter::new(limit),
            fed: Bytes::new(),
            ends: false,
            drained: false,
            corrupt: false,
        }
    }

    /// Takes the next bytes, once it is hungry. `ends`: they are the last ones.
    pub fn feed(&mut self, bytes: Bytes, ends: bool) {
        self.fed = if self.fed.is_empty() { bytes } else { [&self.fed[..], &bytes[..]].concat().into() };
        self.ends = ends;
    }

    pub fn next(&mut self) -> Next<'_> {
        // What is found is kept by the splitter until it is taken, because a borrow cannot reach over the loop.
        while !self.splitter.is_ready(self.drained) {
            if self.drained {
                return Next::End;
            }
            if self.corrupt {
                // Half a text in front of it is no second error.
                let line = self.splitter.line();
                (self.splitter, self.drained) = (Splitter::new(0), true);
                return Next::Corrupt(line);
            }
            if !self.unpack() {
                return Next::Hungry;
            }
        }
        self.splitter.take().map_or(Next::End, Next::Piece)
    }

    /// Gives the splitter more; `false` when there is nothing to give.
    fn unpack(&mut self) -> bool {
        if let Packing::Unknown = self.packing {
            if self.fed.len() < GZIP.len() && !self.ends {
                return false;
            }
            self.packing = match self.fed.starts_with(&GZIP) {
                true => Packing::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
                false => Packing::None,
            };
        }
        let Packing::Gzip(decoder) = &mut self.packing else {
            if self.fed.is_empty() && !self.ends {
                return false;
            }
            self.splitter.feed(&self.fed);
            self.fed.clear();
            self.drained = self.ends;
            return true;
        };
        if self.fed.len() < SLICE && !self.ends {
            return false;
        }
        let slice = self.fed.split_to(self.fed.len().min(SLICE));
        let ends = self.ends && self.fed.is_empty();
        // `flush`: what is unpacked comes out now, not when its buffer is full.
        let mut unpacked = decoder.write_all(&slice).and_then(|()| decoder.flush());
        if ends {
            unpacked = unpacked.and_then(|()| decoder.try_finish());
        }
        self.splitter.feed(decoder.get_ref());
        decoder.get_mut().clear();
        self.corrupt = unpacked.is_err();
        self.drained = ends && !self.corrupt;
        true
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Rows, bad pieces and the end of what is fed in chunks of this size.
    fn read(bytes: &[u8], chunk: usize) -> (Vec<String>, Vec<u64>, Option<u64>) {
        let mut input = Input::new(1 << 20);
        let mut chunks = bytes.chunks(chunk).peekable();
        let (mut rows, mut bad) = (Vec::new(), Vec::new());
        loop {
            match input.next() {
                Next::Piece(Piece::Row { text, .. }) => rows.push(text.unwrap_or("null").to_owned()),
                Next::Piece(Piece::Bad { line, .. }) => bad.push(line),
                Next::Corrupt(line) => return (rows, bad, Some(line)),
                Next::End => return (rows, bad, None),
                Next::Hungry => {
                    let next = chunks.next().unwrap_or_default();
                    let ends = chunks.peek().is_none();
                    input.feed(Bytes::copy_from_slice(next), ends);
                }
            }
        }
    }

    fn lines(count: usize) -> (String, Vec<String>) {
        let rows: Vec<_> = (0..count).map(|n| format!("{{\"n\":{n}}}")).collect();
        (rows.join("\n"), rows)
    }

    #[test]
    fn gzip_is_told_by_its_bytes_and_may_have_several_members() {
        let (text, rows) = lines(1000);
        let twice = [gzip(text.as_bytes()), gzip(b"\n"), gzip(text.as_bytes())].concat();
        let both = [&rows[..], &rows[..]].concat();
        for chunk in [1, 7, 1 << 20] {
            assert_eq!(read(text.as_bytes(), chunk), (rows.clone(), vec![], None));
            assert_eq!(read(&twice, chunk), (both.clone(), vec![], None));
        }
        assert_eq!(read(b"", 1), (vec![], vec![], None));
        assert_eq!(read(b"7", 1), (vec!["7".to_owned()], vec![], None));
    }

    #[test]
    fn corrupt_and_cut_gzip_is_one_error_behind_the_rows_before_it() {
        let (text, rows) = lines(5000);
        let whole = gzip(text.as_bytes());
        for chunk in [3, 4096, 1 << 20] {
            let (got, bad, corrupt) = read(&whole[..whole.len() / 2], chunk);
            assert!(!got.is_empty() && got == rows[..got.len()]);
            assert_eq!((bad, corrupt), (vec![], Some(got.len() as u64 + 1)));
            let mut wrong = whole.clone();
            let checksum = wrong.len() - 8;
            wrong[checksum] ^= 1;
            let (got, bad, corrupt) = read(&wrong, chunk);
            assert!(got == rows[..got.len()] && bad.is_empty() && corrupt.is_some());
        }
        let (_, _, corrupt) = read(&[&whole[..], b"garbage"].concat(), 100);
        assert!(corrupt.is_some());
        assert_eq!(read(&[0x1f, 0x8b], 1).2, Some(1));
    }

    proptest! {
        #[test]
        fn any_bytes_behind_the_mark_of_gzip_end(bytes in prop::collection::vec(any::<u8>(), 0..60), chunk in 1..9_usize) {
            read(&[&GZIP[..], &bytes].concat(), chunk);
        }
    }
}
