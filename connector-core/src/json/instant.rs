//! Dates and times as JSON text: `2020-08-28T03:52:47`, with a fraction only when it is not zero.

use std::io::Write;

use arrow::datatypes::TimeUnit;

const DAY_SECONDS: i64 = 86_400;

/// Units a second.
pub(super) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Reads `yyyy-MM-ddTHH:mm:ss` (or with a blank for the `T`), an optional fraction of one to nine digits and an
/// optional `Z`, as UTC; the result is in `unit` since 1970-01-01, digits beyond it are dropped.
pub fn parse_timestamp(text: &str, unit: TimeUnit) -> Option<i64> {
    let (stamp, rest) = text.as_bytes().split_first_chunk::<19>()?;
    let digits = |from: usize, to: usize| -> Option<i64> {
        let digits = stamp.get(from..to)?;
        digits.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    };
    if !matches!(stamp, [_, _, _, _, b'-', _, _, b'-', _, _, b'T' | b' ', _, _, b':', _, _, b':', _, _]) {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_before(year, month, day);
    // A day that the month does not have comes back as another one.
    if date_of(days) != (year, month, day) {
        return None;
    }
    let rest = rest.strip_suffix(b"Z").unwrap_or(rest);
    let nanos = match rest {
        [] => 0,
        [b'.', fraction @ ..] if (1..=9).contains(&fraction.len()) => {
            let mut nanos = 0;
            for at in 0..9 {
                let digit = fraction.get(at).copied().unwrap_or(b'0');
                nanos = nanos * 10 + i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
            }
            nanos
        }
        _ => return None,
    };
    let seconds = days * DAY_SECONDS + hour * 3600 + minute * 60 + second;
    let units = per_second(unit);
    seconds.checked_mul(units)?.checked_add(nanos / (1_000_000_000 / units))
}

/// Appends `value` (in `unit` since 1970-01-01 UTC) in ISO form.
pub(super) fn write_timestamp(value: i64, unit: TimeUnit, out: &mut Vec<u8>) {
    let per_day = per_second(unit).saturating_mul(DAY_SECONDS);
    write_date(value.div_euclid(per_day), out);
    out.push(b'T');
    write_time(value.rem_euclid(per_day), unit, out);
}

/// Appends a date given as days since 1970-01-01.
pub(super) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = date_of(days);
    if (0..=9999).contains(&year) {
        for part in [year / 100, year % 100] {
            two_digits(part, out);
        }
        for part in [month, day] {
            out.push(b'-');
            two_digits(part, out);
        }
    } else {
        // Writing to a Vec cannot fail. ISO 8601 wants a sign on years of other lengths.
        let _ = write!(out, "{year:+05}-{month:02}-{day:02}");
    }
}

/// Appends a time of day given in `unit` since midnight.
pub(super) fn write_time(value: i64, unit: TimeUnit, out: &mut Vec<u8>) {
    let units = per_second(unit);
    let (seconds, fraction) = (value.div_euclid(units), value.rem_euclid(units));
    two_digits(seconds / 3600, out);
    for part in [seconds / 60 % 60, seconds % 60] {
        out.push(b':');
        two_digits(part, out);
    }
    if fraction != 0 {
        let nanos = fraction * (1_000_000_000 / units);
        let _ = match nanos {
            _ if nanos % 1_000_000 == 0 => write!(out, ".{:03}", nanos / 1_000_000),
            _ if nanos % 1_000 == 0 => write!(out, ".{:06}", nanos / 1_000),
            _ => write!(out, ".{nanos:09}"),
        };
    }
}

fn two_digits(value: i64, out: &mut Vec<u8>) {
    let digit = |n: i64| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[digit(value / 10), digit(value)]);
}

// The two below count from 1 March of year 0, so that a leap day ends its year: the Gregorian calendar repeats after
// 400 years of 146,097 days, and 719,468 days lie between that 1 March and 1970-01-01.

fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) =
        (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use TimeUnit::*;

    fn text(value: i64, unit: TimeUnit) -> String {
        let mut out = Vec::new();
        write_timestamp(value, unit, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn both_forms_with_fraction_and_zone_are_read_as_utc() {
        for (stamp, millis) in [
            ("2020-08-28T03:52:47", 1_598_586_767_000),
            ("2020-08-28 03:52:47", 1_598_586_767_000),
            ("2020-08-28T03:52:47Z", 1_598_586_767_000),
            ("2020-08-28 03:52:47.5", 1_598_586_767_500),
            ("2020-08-28T03:52:47.123456789Z", 1_598_586_767_123),
            ("1969-12-31T23:59:59.999", -1),
            ("2000-02-29T00:00:00", 951_782_400_000),
        ] {
            assert_eq!(parse_timestamp(stamp, Millisecond), Some(millis), "{stamp}");
        }
        assert_eq!(parse_timestamp("2020-08-28T03:52:47.123456", Microsecond), Some(1_598_586_767_123_456));
    }

    #[test]
    fn anything_else_is_no_timestamp() {
        for stamp in [
            "",
            "2020-08-28",
            "2020-08-28T03:52",
            "2020-08-28t03:52:47",
            "2020-08-28T03:52:47+02:00",
            "2020-08-28T03:52:47.",
            "2020-08-28T03:52:47.1234567890",
            "2020-08-28T03:52:47.12x",
            "2020-08-28T03:52:47ZZ",
            " 2020-08-28T03:52:47",
            "2021-02-29T00:00:00",
            "2020-00-10T00:00:00",
            "2020-13-10T00:00:00",
            "2020-04-31T00:00:00",
            "2020-04-00T00:00:00",
            "2020-04-30T24:00:00",
            "2020-04-30T23:60:00",
            "2020-04-30T23:59:60",
            "２０20-04-30T23:59:00",
        ] {
            assert_eq!(parse_timestamp(stamp, Microsecond), None, "{stamp}");
        }
        assert_eq!(parse_timestamp("9999-01-01T00:00:00", Nanosecond), None);
    }

    #[test]
    fn a_fraction_is_written_only_when_it_is_not_zero() {
        assert_eq!(text(1_598_586_767, Second), "2020-08-28T03:52:47");
        assert_eq!(text(1_598_586_767_000_000, Microsecond), "2020-08-28T03:52:47");
        assert_eq!(text(1_598_586_767_500_000, Microsecond), "2020-08-28T03:52:47.500");
        assert_eq!(text(1_598_586_767_000_001, Microsecond), "2020-08-28T03:52:47.000001");
        assert_eq!(text(-1, Nanosecond), "1969-12-31T23:59:59.999999999");
        assert_eq!(text(253_402_300_800, Second), "+10000-01-01T00:00:00");
    }

    #[test]
    fn every_day_of_eight_centuries_comes_back() {
        for days in -146_097..146_097 {
            let mut out = Vec::new();
            write_date(days, &mut out);
            let stamp = format!("{}T00:00:00", String::from_utf8(out).unwrap());
            assert_eq!(parse_timestamp(&stamp, Second), Some(days * DAY_SECONDS), "{stamp}");
        }
    }
}
