//! `path.format`: date patterns with the letters of Joda-Time, whose meaning differs from Java's own in places.

use std::fmt::Write;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};

use super::names::Names;
use super::zone::{Zone, offset_text};

/// A pattern, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    parts: Vec<Part>,
    names: Names,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(String),
    /// A letter of [`LETTERS`] and how often it stands in a row.
    Field(char, usize),
}

/// Every letter that stands for something.
const LETTERS: &str = "GCYxweEyDMdaKhHkmsSzZ";

/// Years are written at least as wide as the pattern; nobody means more.
const WIDEST: usize = 100;

/// What is wrong with a pattern, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct PatternError {
    pub message: String,
    pub hint: &'static str,
}

impl Pattern {
    pub fn parse(text: &str, names: Names) -> Result<Self, PatternError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut quoted = false;
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            if character == '\'' {
                // Two in a row are the character itself, inside quotes and outside.
                if characters.next_if_eq(&'\'').is_some() {
                    literal.push('\'');
                } else {
                    quoted = !quoted;
                }
                continue;
            }
            if quoted || !character.is_ascii_alphabetic() {
                literal.push(character);
                continue;
            }
            let mut count = 1;
            while characters.next_if_eq(&character).is_some() {
                count += 1;
            }
            check(character, count)?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Field(character, count));
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts, names })
    }

    /// Appends the instant (epoch milliseconds) as the zone's clock and calendar show it; false beyond the years that a
    /// date has.
    pub fn write(&self, instant_ms: i64, zone: Zone, out: &mut String) -> bool {
        let Some(offset_ms) = zone.offset_ms(instant_ms) else { return false };
        let local = instant_ms.checked_add(offset_ms).and_then(DateTime::from_timestamp_millis);
        let Some(local) = local.map(|local| local.naive_utc()) else { return false };
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Field('z', _) => out.push_str(&zone.abbreviation(instant_ms)),
                Part::Field('Z', 1 | 2) => {
                    out.push_str(&offset_text(offset_ms, *part == Part::Field('Z', 2)))
                }
                Part::Field('Z', _) => out.push_str(&zone.id()),
                Part::Field(letter, count) => self.field(*letter, *count, &local, out),
            }
        }
        true
    }

    fn field(&self, letter: char, count: usize, at: &NaiveDateTime, out: &mut String) {
        let short = count < 4;
        let common_era = at.year() > 0;
        let year_of_era = if common_era { at.year() } else { 1 - at.year() };
        let hour = at.hour();
        let number = match letter {
            'G' => return out.push_str(self.names.era(common_era)),
            'a' => return out.push_str(self.names.half(hour >= 12)),
            'E' => return out.push_str(self.names.day(at.weekday().number_from_monday(), short)),
            'M' if count >= 3 => return out.push_str(self.names.month(at.month(), short)),
            'S' => return fraction(at.and_utc().timestamp_subsec_millis(), count, out),
            'C' => year_of_era / 100,
            'x' | 'y' | 'Y' => {
                let year = match letter {
                    'x' => at.iso_week().year(),
                    'y' => at.year(),
                    _ => year_of_era,
                };
                // Two letters are the year of the century.
                if count == 2 { year.abs() % 100 } else { year }
            }
            'w' => small(at.iso_week().week()),
            'e' => small(at.weekday().number_from_monday()),
            'D' => small(at.ordinal()),
            'M' => small(at.month()),
            'd' => small(at.day()),
            'K' => small(hour % 12),
            'h' => small((hour + 11) % 12 + 1),
            'H' => small(hour),
            'k' => small((hour + 23) % 24 + 1),
            'm' => small(at.minute()),
            _ => small(at.second()),
        };
        padded(number, count, out);
    }
}

fn check(letter: char, count: usize) -> Result<(), PatternError> {
    let error = |message: String, hint| Err(PatternError { message, hint });
    if !LETTERS.contains(letter) {
        let hint = "put plain text into single quotes: 'year'=YYYY";
        return error(format!("has the letter `{letter}`, which stands for nothing"), hint);
    }
    if letter == 'z' && count >= 4 {
        let hint = "use `z` for its abbreviation, `Z` or `ZZ` for its offset, `ZZZ` for its id";
        return error("asks for the full name of the time zone, which is not known here".to_owned(), hint);
    }
    if count > WIDEST {
        return error(format!("has the letter `{letter}` {count} times"), "shorten it");
    }
    Ok(())
}

/// Every one of these is below 1,000.
fn small(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(0)
}

/// At least `width` digits; the sign of a year comes before them.
fn padded(number: i32, width: usize, out: &mut String) {
    let sign = if number < 0 { "-" } else { "" };
    // Writing to a String cannot fail.
    let _ = write!(out, "{sign}{:0width$}", number.unsigned_abs());
}

/// The first `digits` digits of a second's fraction.
fn fraction(millis: u32, digits: usize, out: &mut String) {
    let text = format!("{millis:03}");
    let _ = write!(out, "{:0<digits$}", text.get(..digits).unwrap_or(&text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(pattern: &str, at: &str, zone: &str, locale: &str) -> String {
        let mut out = String::new();
        let at = at.parse::<DateTime<chrono::Utc>>().unwrap().timestamp_millis();
        let pattern = Pattern::parse(pattern, Names::of(locale).unwrap()).unwrap();
        assert!(pattern.write(at, Zone::parse(zone).unwrap(), &mut out));
        out
    }

    #[test]
    fn letters_have_jodas_meaning() {
        let at = "2023-12-31T23:59:05.078Z";
        for (pattern, expected) in [
            ("'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH", "year=2023/month=12/day=31/hour=23"),
            ("xxxx-'W'ww/e/D/MMM/EEE", "2023-W52/7/365/Dec/Sun"),
            ("YYYY/MMMM/EEEE/a", "2023/December/Sunday/PM"),
            ("Y y yy YY yyy yyyyyy xx", "2023 2023 23 23 2023 002023 23"),
            ("M MM d dd", "12 12 31 31"),
            ("H HH h hh k kk K KK", "23 23 11 11 23 23 11 11"),
            ("m mmm s ss S SS SSS SSSSS", "59 059 5 05 0 07 078 07800"),
            ("G C CCC", "AD 20 020"),
            ("z Z ZZ ZZZ", "UTC +0000 +00:00 UTC"),
            ("''yyyy'' 'o''clock' 'open", "'2023' o'clock open"),
            ("yyyy_MM-dd.é日", "2023_12-31.é日"),
            ("", ""),
        ] {
            assert_eq!(written(pattern, at, "UTC", "en"), expected, "{pattern}");
        }
        assert_eq!(written("h K k", "2024-01-01T00:30:00Z", "UTC", "en"), "12 0 24");
        assert_eq!(written("xxxx-ww YYYY", "2024-12-30T00:00:00Z", "UTC", "en"), "2025-01 2024");
        assert_eq!(written("Y y G", "-0043-03-15T12:00:00Z", "UTC", "en"), "44 -43 BC");
        assert_eq!(
            written("z Z ZZ ZZZ HH", "2024-07-01T12:00:00Z", "America/New_York", "en"),
            "EDT -0400 -04:00 America/New_York 08"
        );
    }

    #[test]
    fn names_follow_the_locale_s3g_081() {
        let pattern = "YYYY/MMMM/EEEE/EEE/MMM/a";
        assert_eq!(
            written(pattern, "2023-12-31T23:59:00Z", "UTC", "fr"),
            "2023/décembre/dimanche/dim./déc./PM"
        );
        assert_eq!(
            written(pattern, "2024-02-14T23:59:00Z", "UTC", "fr"),
            "2024/février/mercredi/mer./févr./PM"
        );
        assert_eq!(written("MMMM EEEE", "2024-02-14T23:59:00Z", "UTC", "en-US"), "Feb Wed");
    }

    #[test]
    fn a_letter_without_a_meaning_is_refused_with_the_remedy() {
        let error = |pattern: &str| Pattern::parse(pattern, Names::of("en").unwrap()).unwrap_err();
        assert!(error("year=YYYY").message.contains("`r`"), "{:?}", error("year=YYYY"));
        assert!(error("yyyy u").hint.contains("quotes"));
        assert!(error("zzzz").message.contains("full name"));
        assert!(error(&"y".repeat(101)).message.contains("101 times"));
    }

    #[test]
    fn years_beyond_the_calendar_are_not_written() {
        let pattern = Pattern::parse("yyyy", Names::of("en").unwrap()).unwrap();
        assert!(!pattern.write(i64::MAX, Zone::UTC, &mut String::new()));
        assert!(!pattern.write(i64::MIN, Zone::UTC, &mut String::new()));
    }

    proptest! {
        #[test]
        fn any_text_is_a_pattern_or_an_error_and_quoted_text_comes_out_as_it_is(
            text in prop_oneof![".*", "[GCYxweEyDMdaKhHkmsSzZ' /=-]{0,20}", "[a-zA-Z]{0,4}"],
            ms in -62_135_596_800_000_i64..253_402_300_800_000,
        ) {
            let names = Names::of("en").unwrap();
            if let Ok(pattern) = Pattern::parse(&text, names) {
                let (mut once, mut twice) = (String::new(), String::new());
                prop_assert!(pattern.write(ms, Zone::UTC, &mut once));
                prop_assert!(pattern.write(ms, Zone::UTC, &mut twice));
                prop_assert_eq!(once, twice);
            }
            // Two quotes in a row are one that is meant, also where a quotation would begin.
            prop_assume!(!text.is_empty() && !text.starts_with('\''));
            let quoted = format!("'{}'", text.replace('\'', "''"));
            let mut out = String::new();
            prop_assert!(Pattern::parse(&quoted, names).unwrap().write(ms, Zone::UTC, &mut out));
            prop_assert_eq!(out, text);
        }

        #[test]
        fn numbers_have_at_least_as_many_digits_as_letters(
            letter in "[YxyDMdKhHkmsweC]",
            count in 1_usize..9,
            ms in 0_i64..253_402_300_800_000,
        ) {
            prop_assume!(!(letter == "M" && count > 2));
            let mut out = String::new();
            Pattern::parse(&letter.repeat(count), Names::of("en").unwrap()).unwrap().write(ms, Zone::UTC, &mut out);
            prop_assert!(out.len() >= count && out.bytes().all(|b| b.is_ascii_digit()), "{}", out);
        }
    }
}
