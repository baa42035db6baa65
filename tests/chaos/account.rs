//! What became of numbered records.

use std::collections::BTreeMap;
use std::fmt;

/// How often each number arrived.
pub type Arrived = BTreeMap<i64, usize>;

/// The records `0..count` against what arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Records that should have arrived.
    pub records: usize,
    pub lost: Vec<i64>,
    /// More than once.
    pub doubled: Vec<i64>,
    /// Numbers that nobody sent.
    pub foreign: Vec<i64>,
}

impl Account {
    pub fn of(expected: impl Iterator<Item = i64>, mut arrived: Arrived) -> Self {
        let mut account = Self::default();
        for number in expected {
            account.records += 1;
            match arrived.remove(&number) {
                None => account.lost.push(number),
                Some(1) => {}
                Some(_) => account.doubled.push(number),
            }
        }
        account.foreign = arrived.into_keys().collect();
        account
    }

    /// Each record is there, none is there that should not be; `once`: nor twice.
    pub fn is_clean(&self, once: bool) -> bool {
        self.lost.is_empty() && self.foreign.is_empty() && (!once || self.doubled.is_empty())
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records", self.records)?;
        for (what, numbers) in [("lost", &self.lost), ("doubled", &self.doubled), ("foreign", &self.foreign)]
        {
            write!(f, ", {} {what}", numbers.len())?;
            if let Some(first) = numbers.first() {
                write!(f, " ({first}, …)")?;
            }
        }
        Ok(())
    }
}

#[test]
fn an_account_finds_what_is_lost_doubled_and_foreign() {
    let arrived = Arrived::from([(0, 1), (1, 2), (3, 1), (9, 1)]);
    let account = Account::of(0..4, arrived);
    let expected = Account { records: 4, lost: vec![2], doubled: vec![1], foreign: vec![9] };
    assert_eq!(account, expected);
    assert!(!account.is_clean(false));
    let doubled = Account::of(0..2, Arrived::from([(0, 1), (1, 2)]));
    assert!(doubled.is_clean(false) && !doubled.is_clean(true));
    assert!(Account::of(0..2, Arrived::from([(0, 1), (1, 1)])).is_clean(true));
}
