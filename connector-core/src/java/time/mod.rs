//! Dates as Java's classes read and write them, in UTC and English.

mod calendar;
mod format;
mod parse;

use std::sync::LazyLock;

pub use format::DateFormat;

/// Milliseconds.
pub const DAY: i64 = 86_400_000;

/// The ISO forms of Connect's `Values`.
pub static ISO_DATE: LazyLock<DateFormat> = LazyLock::new(|| known("yyyy-MM-dd"));
pub static ISO_TIME: LazyLock<DateFormat> = LazyLock::new(|| known("HH:mm:ss.SSS'Z'"));
pub static ISO_TIMESTAMP: LazyLock<DateFormat> = LazyLock::new(|| known("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"));

fn known(pattern: &str) -> DateFormat {
    DateFormat::new(pattern).unwrap_or_default()
}

/// An instant in the form that Connect's `Values` chooses: within the first day a time, at midnight a date.
pub fn iso(millis: i64) -> String {
    let format = match millis {
        ..DAY => &ISO_TIME,
        _ if millis % DAY == 0 => &ISO_DATE,
        _ => &ISO_TIMESTAMP,
    };
    format.format(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(pattern: &str, millis: i64) -> String {
        DateFormat::new(pattern).unwrap().format(millis)
    }

    fn parse(pattern: &str, text: &str) -> Option<i64> {
        DateFormat::new(pattern).unwrap().parse(text)
    }

    #[test]
    fn an_instant_has_javas_text() {
        let now = 1_700_000_000_123;
        for (pattern, text) in [
            ("yyyy-MM-dd HH:mm:ss.SSS", "2023-11-14 22:13:20.123"),
            ("EEE, d MMM yyyy HH:mm:ss Z", "Tue, 14 Nov 2023 22:13:20 +0000"),
            ("EEEE MMMM yy hh:mm a z XXX", "Tuesday November 23 10:13 PM UTC Z"),
            ("SSSSSS", "000123"),
            ("D u F W k K 'o''clock'", "318 2 2 3 22 10 o'clock"),
        ] {
            assert_eq!(format(pattern, now), text, "{pattern}");
        }
        assert_eq!(format("YYYY-ww", 1_704_000_000_000), "2024-01");
        assert_eq!(format("G yyyy", -99_999_999_999_999), "BC 1200");
        assert_eq!(format("yyyy-MM-dd", 253_402_300_800_000), "10000-01-01");
        // The day before the Gregorian calendar began.
        assert_eq!(format("yyyy-MM-dd", -12_219_292_800_000 - DAY), "1582-10-04");
    }

    #[test]
    fn texts_are_read_as_leniently_as_java_does_t_09() {
        for (pattern, text, millis) in [
            ("yyyy-MM-dd", "2024-1-2", 1_704_153_600_000),
            ("yyyy-MM-dd", "2024-01-02trailing", 1_704_153_600_000),
            ("yyyy-MM-dd", "2024-02-30", 1_709_251_200_000),
            ("yyyy-MM-dd HH:mm:ss.SSS", "2024-01-02 03:04:05.6", 1_704_164_645_006),
            ("yyyy-MM-dd HH:mm:ss.SSS", "2024-01-02 03:04:05.678901", 1_704_165_323_901),
            ("dd/MMM/yyyy", "02/feb/2024", 1_706_832_000_000),
            ("yyyy-MM-dd HH:mm z", "2024-01-02 03:04 PST", 1_704_193_440_000),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2023-11-14T23:13:20.123+01:00", 1_700_000_000_123),
            ("yyyyMMddHHmmss", "20231114221320", 1_700_000_000_000),
            ("hh:mm a", "12:30 AM", 1_800_000),
        ] {
            assert_eq!(parse(pattern, text), Some(millis), "{pattern} {text}");
        }
        for (pattern, text) in [("yyyy-MM-dd", ""), ("yyyy-MM-dd", "2024/01/02"), ("MMM", "Foo"), ("X", "+1")]
        {
            assert_eq!(parse(pattern, text), None, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_with_an_unknown_letter_is_refused() {
        assert_eq!(DateFormat::new("bogus").unwrap_err(), "Illegal pattern character 'b'");
        assert_eq!(DateFormat::new("yyyy'").unwrap_err(), "Unterminated quote");
    }

    #[test]
    fn instants_have_the_shortest_iso_form_t_03() {
        assert_eq!(iso(3_723_004), "01:02:03.004Z");
        assert_eq!(iso(1_699_920_000_000), "2023-11-14");
        assert_eq!(iso(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_again(millis in -60_000_000_000_000i64..250_000_000_000_000) {
            let format = DateFormat::new("G yyyy-MM-dd HH:mm:ss.SSS").unwrap();
            proptest::prop_assert_eq!(format.parse(&format.format(millis)), Some(millis));
        }

        #[test]
        fn no_pattern_and_no_text_is_too_strange(pattern in "[a-zA-Z'\\-: ]{0,12}", text: String, millis: i64) {
            if let Ok(format) = DateFormat::new(&pattern) {
                format.format(millis);
                format.parse(&text);
            }
        }
    }
}
