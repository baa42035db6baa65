//! What `SimpleDateFormat` reads: leniently, and what follows is ignored.

use super::calendar::{Moment, days_before};
use super::format::{DateFormat, MONTHS, Token, WEEKDAYS};

/// Zones that Java knows by these names, in minutes east of Greenwich.
const ZONES: [(&str, i64); 22] = [
    ("UTC", 0),
    ("GMT", 0),
    ("UT", 0),
    ("WET", 0),
    ("WEST", 60),
    ("BST", 60),
    ("CET", 60),
    ("CEST", 120),
    ("EET", 120),
    ("EEST", 180),
    ("MSK", 180),
    ("IST", 330),
    ("JST", 540),
    ("EST", -300),
    ("EDT", -240),
    ("CST", -360),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
    ("HST", -600),
];

/// What a text said so far.
#[derive(Default)]
struct Found {
    era_bc: bool,
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    /// 0 to 23, or beyond: it carries over.
    hour: Option<i64>,
    hour_of_half: Option<i64>,
    afternoon: bool,
    minute: i64,
    second: i64,
    millis: i64,
    /// Minutes east of Greenwich.
    zone: i64,
}

impl DateFormat {
    /// The instant (milliseconds since 1970-01-01 UTC) that a text says.
    pub fn parse(&self, text: &str) -> Option<i64> {
        let (mut rest, mut found) = (text, Found::default());
        for (at, token) in self.tokens.iter().enumerate() {
            match token {
                Token::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Token::Field(letter, count) => {
                    rest = rest.trim_start_matches([' ', '\t']);
                    // Digits without anything between the fields are divided by the pattern.
                    let abutting =
                        matches!(self.tokens.get(at + 1), Some(Token::Field(next, n)) if numeric(*next, *n));
                    rest = found.read(rest, *letter, *count, abutting)?;
                }
            }
        }
        found.instant()
    }
}

fn numeric(letter: char, count: usize) -> bool {
    match letter {
        'M' | 'L' => count <= 2,
        'G' | 'E' | 'a' | 'z' | 'Z' | 'X' => false,
        _ => true,
    }
}

impl Found {
    fn read<'t>(&mut self, text: &'t str, letter: char, count: usize, abutting: bool) -> Option<&'t str> {
        if !numeric(letter, count) {
            return self.read_text(text, letter, count);
        }
        let negative = text.starts_with('-') && text[1..].starts_with(|c: char| c.is_ascii_digit());
        let unsigned = if negative { &text[1..] } else { text };
        let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
        let digits = if abutting { digits.min(count) } else { digits };
        if digits == 0 || (abutting && unsigned.len() < count) {
            return None;
        }
        let (number, rest) = unsigned.split_at(digits);
        let number: i64 = number.parse::<i32>().ok()?.into();
        let number = if negative { -number } else { number };
        match letter {
            // Two digits are a year within 80 years back and 20 ahead.
            'y' if count <= 2 && digits == 2 && !negative => {
                let now = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_millis() as i64);
                let first = Moment::of(now).year - 80;
                self.year = Some(first + (number - first).rem_euclid(100));
            }
            'y' | 'Y' => self.year = Some(number),
            'M' | 'L' => self.month = Some(number),
            'd' => self.day = Some(number),
            'D' => self.day_of_year = Some(number),
            'H' => self.hour = Some(number),
            'k' => self.hour = Some(if number == 24 { 0 } else { number }),
            'K' => self.hour_of_half = Some(number),
            'h' => self.hour_of_half = Some(if number == 12 { 0 } else { number }),
            'm' => self.minute = number,
            's' => self.second = number,
            'S' => self.millis = number,
            // Weeks and weekdays do not say more than year, month and day, which a pattern has beside them.
            _ => {}
        }
        Some(rest)
    }

    fn read_text<'t>(&mut self, text: &'t str, letter: char, count: usize) -> Option<&'t str> {
        match letter {
            'G' => {
                let (era, rest) = one_of(text, &["AD", "BC"])?;
                self.era_bc = era == 1;
                Some(rest)
            }
            'M' | 'L' => {
                let (month, rest) = name(text, &MONTHS)?;
                self.month = Some(month as i64 + 1);
                Some(rest)
            }
            'E' => name(text, &WEEKDAYS).map(|(_, rest)| rest),
            'a' => {
                let (half, rest) = one_of(text, &["AM", "PM"])?;
                self.afternoon = half == 1;
                Some(rest)
            }
            'X' => {
                if let Some(rest) = text.strip_prefix('Z') {
                    return Some(rest);
                }
                let (zone, rest) = match count {
                    1 => offset(text, false, false),
                    2 => offset(text, true, false),
                    _ => offset(text, true, true),
                }?;
                self.zone = zone;
                Some(rest)
            }
            _ => {
                let named = ZONES
                    .iter()
                    .filter(|(name, _)| text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name)))
                    .max_by_key(|(name, _)| name.len());
                let (zone, rest) = match named {
                    Some((name, minutes)) => {
                        let rest = &text[name.len()..];
                        match offset(rest, true, true).filter(|_| *name == "GMT") {
                            Some(found) => found,
                            None => (*minutes, rest),
                        }
                    }
                    None => offset(text, true, false).or_else(|| offset(text, true, true))?,
                };
                self.zone = zone;
                Some(rest)
            }
        }
    }

    fn instant(&self) -> Option<i64> {
        let year = match (self.year, self.era_bc) {
            (Some(year), true) => 1 - year,
            (Some(year), false) => year,
            (None, _) => 1970,
        };
        let days = match (self.day_of_year, self.month, self.day) {
            (Some(day), None, None) => days_before(year, 1, day),
            _ => days_before(year, self.month.unwrap_or(1), self.day.unwrap_or(1)),
        };
        let hour = match (self.hour, self.hour_of_half) {
            (Some(hour), _) => hour,
            (None, half) => half.unwrap_or(0) + if self.afternoon { 12 } else { 0 },
        };
        let minutes = hour * 60 + self.minute - self.zone;
        let millis = (minutes * 60 + self.second) * 1000 + self.millis;
        days.checked_mul(super::DAY)?.checked_add(millis)
    }
}

/// Which of these the text begins with, in whatever case.
fn one_of<'t>(text: &'t str, words: &[&str]) -> Option<(usize, &'t str)> {
    let begins = |word: &&str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    let at = words.iter().position(begins)?;
    Some((at, &text[words[at].len()..]))
}

/// A name, in full or its first three letters.
fn name<'t>(text: &'t str, names: &[&str]) -> Option<(usize, &'t str)> {
    one_of(text, names).or_else(|| {
        let short: Vec<&str> = names.iter().map(|name| &name[..3]).collect();
        one_of(text, &short)
    })
}

/// `+hh`, `+hhmm` or `+hh:mm` in minutes.
fn offset(text: &str, minutes: bool, colon: bool) -> Option<(i64, &str)> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let two =
        |text: &str| text.get(..2).filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?.parse::<i64>().ok();
    let (hours, mut rest) = (two(&text[1..])?, &text[3..]);
    let mut total = hours * 60;
    if minutes {
        if colon {
            rest = rest.strip_prefix(':')?;
        }
        total += two(rest)?;
        rest = &rest[2..];
    }
    Some((sign * total, rest))
}
