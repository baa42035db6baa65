//! Java's `SimpleDateFormat`: its patterns, and what it writes.

use std::fmt::Write;

use super::calendar::Moment;

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

const LETTERS: &str = "GyMdkHmsSEDFwWahKzZYuXL";

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Literal(String),
    /// A letter, so many times.
    Field(char, usize),
}

/// A compiled pattern.
#[derive(Clone, Debug, Default)]
pub struct DateFormat {
    pub(super) tokens: Vec<Token>,
}

impl DateFormat {
    /// The error is Java's.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let mut tokens = Vec::<Token>::new();
        let mut chars = pattern.chars().peekable();
        let mut quoted = false;
        while let Some(next) = chars.next() {
            if next == '\'' {
                if chars.peek() == Some(&'\'') {
                    chars.next();
                    literal(&mut tokens, '\'');
                } else {
                    quoted = !quoted;
                }
            } else if quoted || !next.is_ascii_alphabetic() {
                literal(&mut tokens, next);
            } else if !LETTERS.contains(next) {
                return Err(format!("Illegal pattern character '{next}'"));
            } else {
                let mut count = 1;
                while chars.next_if_eq(&next).is_some() {
                    count += 1;
                }
                tokens.push(Token::Field(next, count));
            }
        }
        if quoted { Err("Unterminated quote".to_owned()) } else { Ok(Self { tokens }) }
    }

    /// The text of an instant (milliseconds since 1970-01-01 UTC).
    pub fn format(&self, millis: i64) -> String {
        let moment = Moment::of(millis);
        let mut out = String::new();
        for token in &self.tokens {
            match token {
                Token::Literal(text) => out.push_str(text),
                Token::Field(letter, count) => field(&moment, *letter, *count, &mut out),
            }
        }
        out
    }
}

fn literal(tokens: &mut Vec<Token>, next: char) {
    match tokens.last_mut() {
        Some(Token::Literal(text)) => text.push(next),
        _ => tokens.push(Token::Literal(next.to_string())),
    }
}

fn field(moment: &Moment, letter: char, count: usize, out: &mut String) {
    let hour = moment.clock / 3_600_000;
    let year = |year: i64| {
        let of_era = if year > 0 { year } else { 1 - year };
        if count == 2 { of_era % 100 } else { of_era }
    };
    let name = |name: &'static str, long: usize| if count >= long { name } else { &name[..3] };
    let number = match letter {
        'G' => return out.push_str(if moment.year > 0 { "AD" } else { "BC" }),
        'M' | 'L' if count >= 3 => return out.push_str(name(MONTHS[moment.month as usize - 1], 4)),
        'E' => return out.push_str(name(WEEKDAYS[moment.weekday() as usize], 4)),
        'a' => return out.push_str(if hour < 12 { "AM" } else { "PM" }),
        'z' => return out.push_str(if count >= 4 { "Coordinated Universal Time" } else { "UTC" }),
        'Z' => return out.push_str("+0000"),
        'X' => return out.push('Z'),
        'y' => year(moment.year),
        'Y' => year(moment.week().0),
        'M' | 'L' => moment.month,
        'w' => moment.week().1,
        'W' => moment.week_of_month(),
        'D' => moment.day_of_year(),
        'd' => moment.day,
        'F' => (moment.day - 1) / 7 + 1,
        'u' => (moment.weekday() + 6) % 7 + 1,
        'H' => hour,
        'k' => (hour + 23) % 24 + 1,
        'K' => hour % 12,
        'h' => (hour + 11) % 12 + 1,
        'm' => moment.clock / 60_000 % 60,
        's' => moment.clock / 1000 % 60,
        _ => moment.clock % 1000,
    };
    // Writing to a String cannot fail.
    let _ = write!(out, "{number:0count$}");
}
