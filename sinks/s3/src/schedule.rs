//! `rotate.schedule.interval.ms`: cuts by the clock, counted from midnight in a time zone.

use chrono::{DateTime, Utc};
use connector_core::CutSchedule;

use crate::partition::Zone;

/// The cuts of the day that `now` falls on; asked again, it follows changes of the zone's offset.
pub fn cuts(every_ms: i64, zone: Zone, now: DateTime<Utc>) -> CutSchedule {
    CutSchedule { every_ms, phase_ms: zone.midnight_ms(now) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(every_ms: i64, zone: &str, now: &str) -> String {
        let now: DateTime<Utc> = now.parse().unwrap();
        let next = cuts(every_ms, Zone::parse(zone).unwrap(), now).next_after(now.timestamp_millis());
        DateTime::from_timestamp_millis(next).unwrap().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    }

    #[test]
    fn cuts_are_counted_from_midnight_in_the_zone() {
        const DAY: i64 = 86_400_000;
        assert_eq!(next(DAY, "UTC", "2024-05-01T10:00:00Z"), "2024-05-02T00:00:00Z");
        assert_eq!(next(DAY, "America/New_York", "2024-05-01T10:00:00Z"), "2024-05-02T04:00:00Z");
        assert_eq!(next(DAY, "America/New_York", "2024-01-01T10:00:00Z"), "2024-01-02T05:00:00Z");
        assert_eq!(next(DAY, "+05:30", "2024-01-01T10:00:00Z"), "2024-01-01T18:30:00Z");
        assert_eq!(next(3_600_000, "Asia/Kathmandu", "2024-05-01T10:00:00Z"), "2024-05-01T10:15:00Z");
    }

    #[test]
    fn a_day_without_midnight_has_cuts_too() {
        // Beirut's clocks go from 23:59:59 to 01:00 on 2024-03-31.
        assert_eq!(next(3_600_000, "Asia/Beirut", "2024-03-31T10:30:00Z"), "2024-03-31T11:00:00Z");
    }
}
