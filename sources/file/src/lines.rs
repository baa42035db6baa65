//! Text cut into lines as Java's FileStreamSource cuts it: at `\n`, `\r\n` or `\r`.

/// Bytes read from a file that have not become a line yet.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Bytes at the front that were given out.
    taken: usize,
    /// Bytes after `taken` in which there is no line end.
    searched: usize,
}

impl Lines {
    /// Room at the end, to read into.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        &mut self.bytes
    }

    /// The next whole line and its length with the line end, in bytes. A `\r` at the very end waits for what follows.
    pub fn next_line(&mut self) -> Option<(&[u8], usize)> {
        let rest = self.bytes.get(self.taken..)?;
        let found = rest.iter().skip(self.searched).position(|&byte| byte == b'\n' || byte == b'\r');
        let Some(end) = found.map(|at| at + self.searched) else {
            self.searched = rest.len();
            return None;
        };
        let length = match (rest.get(end), rest.get(end + 1)) {
            (Some(b'\r'), Some(b'\n')) => end + 2,
            (Some(b'\r'), None) => {
                self.searched = end;
                return None;
            }
            _ => end + 1,
        };
        self.taken += length;
        self.searched = 0;
        Some((rest.get(..end)?, length))
    }

    /// What is left when the file will not grow any more: a last line without an end.
    pub fn last_line(&mut self) -> Option<(&[u8], usize)> {
        let rest = self.bytes.get(self.taken..).filter(|rest| !rest.is_empty())?;
        self.taken += rest.len();
        self.searched = 0;
        Some((rest.strip_suffix(b"\r").unwrap_or(rest), rest.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &mut Lines) -> Vec<(String, usize)> {
        std::iter::from_fn(|| {
            lines.next_line().map(|(line, length)| (String::from_utf8_lossy(line).into_owned(), length))
        })
        .collect()
    }

    fn pairs(expected: &[(&str, usize)]) -> Vec<(String, usize)> {
        expected.iter().map(|(line, length)| ((*line).to_owned(), *length)).collect()
    }

    #[test]
    fn lines_end_as_in_java() {
        let mut lines = Lines::default();
        lines.tail().extend_from_slice(b"a\n\nbc\r\nd\re\r");
        assert_eq!(all(&mut lines), pairs(&[("a", 2), ("", 1), ("bc", 4), ("d", 2)]));
        lines.tail().extend_from_slice(b"\nf");
        assert_eq!(all(&mut lines), pairs(&[("e", 3)]));
        assert_eq!(lines.last_line(), Some((&b"f"[..], 1)));
        assert_eq!(lines.last_line(), None);
    }

    #[test]
    fn a_line_that_arrives_in_pieces_is_one_line() {
        let mut lines = Lines::default();
        for piece in ["on", "e l", "ine\nnext"] {
            assert_eq!(all(&mut lines), []);
            lines.tail().extend_from_slice(piece.as_bytes());
        }
        assert_eq!(all(&mut lines), pairs(&[("one line", 9)]));
    }
}
