//! Times as text, in the ISO 8601 forms that Connect's `RecordField` extractor reads.

use chrono::{Datelike, NaiveDate, Weekday};

const DAY_MS: i64 = 86_400_000;

/// Reads `2024`, `2024-05-01`, `2024-123`, `2024-W05-3`, each with an optional `T10:30:15.5+02:00` of which every part
/// may be missing, or such a time alone (on 1970-01-01); what has no offset is UTC. The answer is in epoch milliseconds.
/// A text of up to 19 digits is a number of milliseconds.
pub fn parse(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if (1..=19).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && let Ok(number) = text.parse()
    {
        return Some(number);
    }
    let (days, rest) = match text.as_bytes().first()? {
        b'T' | b't' => (Some(0), text),
        // The form that takes most of the text wins, as in `2024-123`, which begins like a month.
        _ => [calendar_date, week_date, ordinal_date]
            .into_iter()
            .filter_map(|read| read(text))
            .min_by_key(|(_, rest)| rest.len())?,
    };
    let (time, rest) = match rest.strip_prefix(['T', 't']) {
        None => (0, rest),
        Some(rest) => {
            let (time, rest) = match time_of_day(rest) {
                Time::None => (0, rest),
                Time::Some(time, rest) => (time, rest),
                Time::Wrong => return None,
            };
            let (offset, rest) = offset(rest)?;
            (time - offset, rest)
        }
    };
    rest.is_empty().then_some(())?;
    (days?.checked_mul(DAY_MS)?).checked_add(time)
}

/// Days since 1970-01-01; `None` for a date that does not exist.
type Date<'t> = (Option<i64>, &'t str);

/// The digits at the start, one to `most`, as a number.
fn number(text: &str, most: usize) -> Option<(i64, &str)> {
    let length = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at_checked(length)?;
    Some((digits.parse().ok()?, rest))
}

/// A sign and up to nine digits.
fn year(text: &str) -> Option<(i32, &str)> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    let (year, rest) = number(digits, 9)?;
    Some((i32::try_from(year * sign).ok()?, rest))
}

fn after<'t>(text: &'t str, prefix: &str, most: usize) -> Option<(u32, &'t str)> {
    let (number, rest) = number(text.strip_prefix(prefix)?, most)?;
    Some((u32::try_from(number).ok()?, rest))
}

fn days(date: Option<NaiveDate>) -> Option<i64> {
    date.map(|date| i64::from(date.to_epoch_days()))
}

fn calendar_date(text: &str) -> Option<Date<'_>> {
    let (year, rest) = year(text)?;
    let Some((month, rest)) = after(rest, "-", 2) else {
        return Some((days(NaiveDate::from_ymd_opt(year, 1, 1)), rest));
    };
    let (day, rest) = after(rest, "-", 2).unwrap_or((1, rest));
    Some((days(NaiveDate::from_ymd_opt(year, month, day)), rest))
}

fn week_date(text: &str) -> Option<Date<'_>> {
    let (year, rest) = year(text)?;
    let (week, rest) = after(rest, "-W", 2).or_else(|| after(rest, "-w", 2))?;
    let (day, rest) = after(rest, "-", 1).unwrap_or((1, rest));
    let weekday = u8::try_from(day).ok().and_then(|day| Weekday::try_from(day.wrapping_sub(1)).ok());
    Some((days(weekday.and_then(|weekday| NaiveDate::from_isoywd_opt(year, week, weekday))), rest))
}

fn ordinal_date(text: &str) -> Option<Date<'_>> {
    let (year, rest) = year(text)?;
    let (day, rest) = after(rest, "-", 3)?;
    Some((days(NaiveDate::from_yo_opt(year, day).filter(|date| date.ordinal() == day)), rest))
}

enum Time<'t> {
    /// The text does not begin with one.
    None,
    /// Milliseconds since midnight.
    Some(i64, &'t str),
    Wrong,
}

fn time_of_day(text: &str) -> Time<'_> {
    let (mut time, mut rest) = (0, text);
    let mut read = false;
    // Hours, minutes, seconds; the last of them that is there may have a fraction.
    for (unit, most, prefix) in [(3_600_000, 23, ""), (60_000, 59, ":"), (1000, 59, ":")] {
        let Some((value, after)) = after(rest, prefix, 2) else { break };
        if i64::from(value) > most {
            return Time::Wrong;
        }
        (time, rest, read) = (time + i64::from(value) * unit, after, true);
        if let Some(fraction) = rest.strip_prefix(['.', ',']) {
            let Some((value, after)) = number(fraction, 9) else { break };
            let parts = 10_i64.pow((fraction.len() - after.len()) as u32);
            return Time::Some(time + value * unit / parts, after);
        }
    }
    if read { Time::Some(time, rest) } else { Time::None }
}

/// `Z`, `+02`, `+02:30`, `+0230`, with seconds and a fraction likewise; nothing is UTC. In milliseconds.
fn offset(text: &str) -> Option<(i64, &str)> {
    let sign = match text.as_bytes().first() {
        Some(b'Z' | b'z') => return Some((0, text.get(1..)?)),
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Some((0, text)),
    };
    let exactly = |text, digits| {
        number(text, digits).filter(|(_, rest): &(i64, &str)| text.len() - rest.len() == digits)
    };
    let (hours, mut rest) = exactly(text.get(1..)?, 2)?;
    if hours > 23 {
        return None;
    }
    let mut sum = hours * 3_600_000;
    let colons = rest.starts_with(':');
    for (unit, digits, most, separators) in
        [(60_000, 2, 59, [':', ':']), (1000, 2, 59, [':', ':']), (1, 3, 999, ['.', ','])]
    {
        let Some(next) = (if colons { rest.strip_prefix(separators) } else { Some(rest) }) else { break };
        let Some((value, after)) = exactly(next, digits) else { break };
        if value > most {
            return None;
        }
        (sum, rest) = (sum + value * unit, after);
    }
    Some((sign * sum, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, SecondsFormat};
    use proptest::prelude::*;

    fn iso(text: &str) -> Option<String> {
        let at = DateTime::from_timestamp_millis(parse(text)?)?;
        Some(at.to_rfc3339_opts(SecondsFormat::Millis, true))
    }

    #[test]
    fn each_form_is_read_and_smaller_units_default_to_their_first() {
        for (text, expected) in [
            ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000Z"),
            ("2024-01-01T00:00:00", "2024-01-01T00:00:00.000Z"),
            ("2024-01-02", "2024-01-02T00:00:00.000Z"),
            ("2024-05", "2024-05-01T00:00:00.000Z"),
            ("2024-5-1", "2024-05-01T00:00:00.000Z"),
            ("2024-060", "2024-02-29T00:00:00.000Z"),
            ("2024-W07-3", "2024-02-14T00:00:00.000Z"),
            ("2024-W01", "2024-01-01T00:00:00.000Z"),
            ("2024-01-01T", "2024-01-01T00:00:00.000Z"),
            ("2024-01-01t10", "2024-01-01T10:00:00.000Z"),
            ("2024-01-01T10:30", "2024-01-01T10:30:00.000Z"),
            ("2024-01-01T10:30:15,25", "2024-01-01T10:30:15.250Z"),
            ("2024-01-01T10.5", "2024-01-01T10:30:00.000Z"),
            ("2024-01-01T10:30.5", "2024-01-01T10:30:30.000Z"),
            ("2024-01-01T10:30:15.123456789z", "2024-01-01T10:30:15.123Z"),
            ("2024-01-01T10:30:15+02:00", "2024-01-01T08:30:15.000Z"),
            ("2024-01-01T10:30:15-0230", "2024-01-01T13:00:15.000Z"),
            ("2024-01-01T+02", "2023-12-31T22:00:00.000Z"),
            ("T10:30", "1970-01-01T10:30:00.000Z"),
            ("+2024", "2024-01-01T00:00:00.000Z"),
            ("-0001-01-01", "-0001-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn digits_alone_are_milliseconds_s3g_088() {
        assert_eq!(parse("2024"), Some(2024));
        assert_eq!(parse("-1"), Some(-1));
        assert_eq!(parse("1704067200000"), Some(1_704_067_200_000));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "yesterday",
            "2024-01-01 00:00:00",
            "2024-13-01",
            "2024-02-30",
            "2023-366",
            "2024-W54",
            "2024-W05-8",
            "2024-01-01T24:00",
            "2024-01-01T10:60",
            "2024-01-01T10:30:15.1234567890",
            "2024-01-01T10:30:15.",
            "2024-01-01T10:30:15+2",
            "2024-01-01T10:30:15+25:00",
            "2024-01-01T10:30:15+02:",
            "2024-01-01Z",
            "2024-01-01T00:00:00Zx",
            "9999999999999999999",
            "999999999-01-01",
            "2024-0\u{661}-01",
            "é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_instant_that_is_written_is_read_again(ms in -62_135_596_800_000_i64..253_402_300_800_000) {
            let text = DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339_opts(SecondsFormat::Millis, true);
            prop_assert_eq!(parse(&text), Some(ms));
        }

        #[test]
        fn no_text_is_a_panic(text in prop_oneof![".*", "[-+0-9TtWwZz:.,é]{0,30}"]) {
            let _ = parse(&text);
        }
    }
}
