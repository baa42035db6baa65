//! `timezone`: a zone by name, or a fixed offset.

use chrono::{DateTime, FixedOffset, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::{OffsetName, Tz};

/// The zone in which directories are named and scheduled cuts are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    Named(Tz),
    Fixed(FixedOffset),
}

impl Zone {
    pub const UTC: Self = Self::Named(Tz::UTC);

    /// Reads `Europe/London`, `UTC` or `+05:30`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.starts_with(['+', '-']) {
            let (hours, minutes) = text.get(1..)?.split_once(':').unwrap_or((text.get(1..)?, "0"));
            let number =
                |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i32>());
            let (hours, minutes) = (number(hours)?.ok()?, number(minutes)?.ok()?);
            let seconds = (hours <= 23 && minutes <= 59).then_some(hours * 3600 + minutes * 60)?;
            let seconds = if text.starts_with('-') { -seconds } else { seconds };
            return FixedOffset::east_opt(seconds).map(Self::Fixed);
        }
        text.parse().ok().map(Self::Named)
    }

    /// What is added to UTC at this instant (epoch milliseconds); `None` beyond the years that a date has.
    pub fn offset_ms(self, instant_ms: i64) -> Option<i64> {
        let utc = DateTime::from_timestamp_millis(instant_ms)?.naive_utc();
        let seconds = match self {
            Self::Named(zone) => zone.offset_from_utc_datetime(&utc).fix().local_minus_utc(),
            Self::Fixed(offset) => offset.local_minus_utc(),
        };
        Some(i64::from(seconds) * 1000)
    }

    /// The zone's own name for the offset: `EST`; of nameless ones the offset, `+05:30`.
    pub fn abbreviation(self, instant_ms: i64) -> String {
        let name = match self {
            Self::Named(zone) => DateTime::from_timestamp_millis(instant_ms).and_then(|utc| {
                zone.offset_from_utc_datetime(&utc.naive_utc()).abbreviation().map(str::to_owned)
            }),
            Self::Fixed(_) => None,
        };
        let is_name = |name: &String| name.starts_with(|c: char| c.is_ascii_alphabetic());
        name.filter(is_name).unwrap_or_else(|| offset_text(self.offset_ms(instant_ms).unwrap_or(0), true))
    }

    /// `Europe/London`, `+05:30`.
    pub fn id(self) -> String {
        match self {
            Self::Named(zone) => zone.name().to_owned(),
            Self::Fixed(offset) => offset_text(i64::from(offset.local_minus_utc()) * 1000, true),
        }
    }

    /// The instant that the clock of the zone shows as `local_ms` (milliseconds as if it were UTC), chosen as Connect does:
    /// a time that the clock jumps over is moved on by the jump; one that comes twice is the earlier one west of Greenwich
    /// and the later one east of it.
    pub fn instant_ms(self, local_ms: i64) -> Option<i64> {
        let guess = self.offset_ms(local_ms)?;
        let offset = self.offset_ms(local_ms.checked_sub(guess)?)?;
        let skipped = guess != offset && guess < 0 && self.is_skipped(local_ms)?;
        local_ms.checked_sub(if skipped { guess } else { offset })
    }

    fn is_skipped(self, local_ms: i64) -> Option<bool> {
        let local = DateTime::from_timestamp_millis(local_ms)?.naive_utc();
        Some(match self {
            Self::Named(zone) => zone.offset_from_local_datetime(&local).earliest().is_none(),
            Self::Fixed(_) => false,
        })
    }

    /// When the day of `now` began in this zone, in epoch milliseconds.
    pub fn midnight_ms(self, now: DateTime<Utc>) -> i64 {
        let now_ms = now.timestamp_millis();
        let offset = self.offset_ms(now_ms).unwrap_or(0);
        let midnight = (now_ms + offset).div_euclid(86_400_000) * 86_400_000;
        let local: Option<NaiveDateTime> = DateTime::from_timestamp_millis(midnight).map(|at| at.naive_utc());
        let first = match (self, local) {
            (Self::Named(zone), Some(local)) => zone.from_local_datetime(&local).earliest(),
            _ => None,
        };
        // Where the clock jumps over midnight the day has none: today's offset stands in.
        first.map_or(midnight - offset, |at| at.timestamp_millis())
    }
}

/// `+05:30` or `+0530`.
pub fn offset_text(offset_ms: i64, colon: bool) -> String {
    let (sign, minutes) = (if offset_ms < 0 { '-' } else { '+' }, offset_ms.abs() / 60_000);
    let colon = if colon { ":" } else { "" };
    format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<DateTime<Utc>>().unwrap().timestamp_millis()
    }

    #[test]
    fn zones_are_names_or_offsets() {
        assert_eq!(Zone::parse("UTC"), Some(Zone::UTC));
        assert_eq!(Zone::parse("America/New_York").unwrap().abbreviation(ms("2024-07-01T00:00:00Z")), "EDT");
        assert_eq!(Zone::parse("+05:30").unwrap().offset_ms(0), Some(19_800_000));
        assert_eq!(Zone::parse("-03").unwrap().id(), "-03:00");
        assert_eq!(Zone::parse("Asia/Dubai").unwrap().abbreviation(0), "+04:00");
        for wrong in ["", "Mars/Base", "+24:00", "+1:60", "+x", "-", "+05:30:00"] {
            assert_eq!(Zone::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn skipped_and_repeated_times_of_the_clock_are_resolved_as_joda_does() {
        let instant = |zone: &str, local: &str| {
            let at = Zone::parse(zone).unwrap().instant_ms(ms(&format!("{local}Z"))).unwrap();
            DateTime::from_timestamp_millis(at).unwrap().to_rfc3339()
        };
        // 02:30 does not exist on 10 March 2024 in New York; 03:30 does.
        assert_eq!(instant("America/New_York", "2024-03-10T02:30:00"), "2024-03-10T07:30:00+00:00");
        assert_eq!(instant("Europe/Berlin", "2024-03-31T02:30:00"), "2024-03-31T01:30:00+00:00");
        // 01:30 comes twice on 3 November 2024 in New York, 02:30 on 27 October in Berlin.
        assert_eq!(instant("America/New_York", "2024-11-03T01:30:00"), "2024-11-03T05:30:00+00:00");
        assert_eq!(instant("Europe/Berlin", "2024-10-27T02:30:00"), "2024-10-27T01:30:00+00:00");
        assert_eq!(instant("Asia/Tokyo", "2024-10-27T02:30:00"), "2024-10-26T17:30:00+00:00");
    }
}
