//! Times without a zone, as instants and as ISO text.

use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;

use crate::cells::Misfit;

const OUT_OF_RANGE: Misfit = "a time out of range";

/// What the clock on the wall shows in `zone`, as an instant; both in microseconds since 1970-01-01.
pub fn instant(micros: i64, zone: Tz) -> Result<i64, Misfit> {
    if zone == Tz::UTC {
        return Ok(micros);
    }
    let wall: NaiveDateTime = DateTime::from_timestamp_micros(micros).ok_or(OUT_OF_RANGE)?.naive_utc();
    let earliest = |wall: NaiveDateTime| zone.from_local_datetime(&wall).earliest();
    // In the hour that summer time skips, the clock is read as if it had not been put forward.
    let hour = TimeDelta::hours(1);
    let skipped = || earliest(wall.checked_sub_signed(hour)?)?.checked_add_signed(hour);
    earliest(wall)
        .or_else(skipped)
        .map(|t| t.timestamp_micros())
        .ok_or("a time that does not exist in db.timezone")
}

/// `2020-08-28T03:52:47` and the fraction in chrono's notation: `%.6f`.
pub fn iso(micros: i64, fraction: &str) -> Result<String, Misfit> {
    let moment = DateTime::from_timestamp_micros(micros).ok_or(OUT_OF_RANGE)?;
    Ok(moment.naive_utc().format(&format!("%Y-%m-%dT%H:%M:%S{fraction}")).to_string())
}
