//! Java's `GregorianCalendar` in UTC: Julian before 15 October 1582.

use super::DAY;

/// 1582-10-15, in days since 1970-01-01.
const GREGORIAN: i64 = -141_427;

/// A moment by calendar and clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// 0 is the year 1 BC.
    pub year: i64,
    /// From 1.
    pub month: i64,
    pub day: i64,
    /// Days since 1970-01-01.
    pub days: i64,
    /// Milliseconds of the day.
    pub clock: i64,
}

impl Moment {
    pub fn of(millis: i64) -> Self {
        let days = millis.div_euclid(DAY);
        let (year, month, day) = date(days);
        Self { year, month, day, days, clock: millis.rem_euclid(DAY) }
    }

    /// From 1.
    pub fn day_of_year(&self) -> i64 {
        self.days - days_before(self.year, 1, 1) + 1
    }

    /// Sunday is 0.
    pub fn weekday(&self) -> i64 {
        (self.days + 4).rem_euclid(7)
    }

    /// Week and its year as the United States count them: weeks begin on Sunday, the first has the 1 January.
    pub fn week(&self) -> (i64, i64) {
        let next = days_before(self.year + 1, 1, 1);
        let sunday = next - (next + 4).rem_euclid(7);
        if self.days >= sunday {
            return (self.year + 1, 1);
        }
        (self.year, week_of(self.day_of_year(), self.weekday()))
    }

    pub fn week_of_month(&self) -> i64 {
        week_of(self.day, self.weekday())
    }
}

/// The week of the `day`-th day of a period, when that day is this weekday.
fn week_of(day: i64, weekday: i64) -> i64 {
    let first = (weekday - (day - 1)).rem_euclid(7);
    (day - 1 + first) / 7 + 1
}

/// Days from 1970-01-01 to a date. Months and days beyond their ends carry over.
pub(super) fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = year.saturating_add((month - 1).div_euclid(12));
    let month = (month - 1).rem_euclid(12) + 1;
    let gregorian = days(year, month, day, true);
    if gregorian >= GREGORIAN { gregorian } else { days(year, month, day, false) }
}

// Both count from 1 March of year 0, so that a leap day ends its year.

fn days(year: i64, month: i64, day: i64, gregorian: bool) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leaps = if gregorian {
        year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400)
    } else {
        year.div_euclid(4) - 2
    };
    year.saturating_mul(365).saturating_add(leaps + of_year - 719_468)
}

fn date(days: i64) -> (i64, i64, i64) {
    let from_march = days + 719_468;
    let (year, of_year) = if days >= GREGORIAN {
        let (era, day) = (from_march.div_euclid(146_097), from_march.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        (era * 400 + year, day - (365 * year + year / 4 - year / 100))
    } else {
        // The Julian calendar was two days ahead in year 0.
        let from_march = from_march + 2;
        let (era, day) = (from_march.div_euclid(1_461), from_march.rem_euclid(1_461));
        let year = (day - day / 1_460) / 365;
        (era * 4 + year, day - 365 * year)
    };
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (if month <= 2 { year + 1 } else { year }, month, day)
}
