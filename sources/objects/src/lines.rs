//! In which lines of which objects the rows of a batch are.

use std::sync::Arc;

/// Stretches of rows, because a row by itself is too much to remember: one for all lines of an object, a few where texts
/// have different numbers of lines.
#[derive(Debug, Default)]
pub struct Lines {
    stretches: Vec<Stretch>,
    rows: usize,
}

/// Rows of one object that are equally far apart.
#[derive(Debug)]
struct Stretch {
    address: Arc<str>,
    /// In the batch.
    first_row: usize,
    first_line: u64,
    /// Lines from one row to the next; 0 when all are in one line, and when there is one row.
    step: u64,
}

impl Stretch {
    fn line(&self, row: usize) -> u64 {
        self.first_line + self.step * row.saturating_sub(self.first_row) as u64
    }
}

impl Lines {
    /// The next row of the batch begins in this line, from 1, of the object with this address.
    pub fn push(&mut self, address: &Arc<str>, line: u64) {
        let row = self.rows;
        self.rows += 1;
        if let Some(last) = self.stretches.last_mut().filter(|last| Arc::ptr_eq(&last.address, address)) {
            if last.first_row + 1 == row {
                last.step = line.saturating_sub(last.first_line);
            }
            if last.line(row) == line {
                return;
            }
        }
        let address = Arc::clone(address);
        self.stretches.push(Stretch { address, first_row: row, first_line: line, step: 0 });
    }

    /// `s3://bucket/key line 7`.
    pub fn place(&self, row: usize) -> Option<String> {
        let behind = self.stretches.partition_point(|stretch| stretch.first_row <= row);
        let stretch = self.stretches.get(behind.checked_sub(1)?).filter(|_| row < self.rows)?;
        Some(format!("{} line {}", stretch.address, stretch.line(row)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stretches(lines: impl IntoIterator<Item = u64>) -> usize {
        let (mut kept, address) = (Lines::default(), Arc::from("a"));
        lines.into_iter().for_each(|line| kept.push(&address, line));
        kept.stretches.len()
    }

    #[test]
    fn what_is_regular_is_one_stretch() {
        assert_eq!(stretches(1..=10_000), 1, "one text a line");
        assert_eq!(stretches([1; 10_000]), 1, "all in one line");
        assert_eq!(stretches((0..10_000).map(|row| 2 + row * 5)), 1, "texts of five lines each");
        assert_eq!(stretches([1, 2, 3, 5, 6, 7]), 2, "one that could not be read");
    }

    #[test]
    fn there_is_no_place_of_a_row_that_is_not_there() {
        let mut lines = Lines::default();
        assert_eq!(lines.place(0), None);
        lines.push(&"a".into(), 1);
        assert_eq!((lines.place(0).as_deref(), lines.place(1)), (Some("a line 1"), None));
    }

    proptest! {
        #[test]
        fn each_row_is_found_again(objects in prop::collection::vec(prop::collection::vec(0..4_u64, 0..9), 0..6)) {
            let (mut lines, mut expected) = (Lines::default(), Vec::new());
            for (object, steps) in objects.iter().enumerate() {
                let (address, mut line) = (format!("s3://b/{object}").into(), 1);
                for step in steps {
                    line += step;
                    lines.push(&address, line);
                    expected.push(format!("s3://b/{object} line {line}"));
                }
            }
            let found: Vec<_> = (0..expected.len()).filter_map(|row| lines.place(row)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
