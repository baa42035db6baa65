//! Names of months, days, halves of a day and eras by `locale`.

/// The names of one language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    months: &'static str,
    short_months: &'static str,
    days: &'static str,
    short_days: &'static str,
    halves: &'static str,
    eras: &'static str,
}

const TABLE: &str = include_str!("names.txt");

impl Names {
    /// The names that Connect writes for a `locale`: it takes the whole text for a language, so `de` gives German names
    /// and `de-DE`, which is no language, Java's neutral ones (`Jan`, `Mon`). `None`: a language whose names are not known
    /// here.
    pub fn of(locale: &str) -> Option<Self> {
        let locale = locale.trim().to_ascii_lowercase();
        let is_language = (2..=8).contains(&locale.len()) && locale.bytes().all(|b| b.is_ascii_alphabetic());
        let wanted = if is_language { locale.as_str() } else { "-" };
        TABLE.lines().find_map(|line| Self::read(line.strip_prefix(wanted)?.strip_prefix('|')?))
    }

    fn read(columns: &'static str) -> Option<Self> {
        let mut columns = columns.split('|');
        let mut next = || columns.next();
        Some(Self {
            months: next()?,
            short_months: next()?,
            days: next()?,
            short_days: next()?,
            halves: next()?,
            eras: next()?,
        })
    }

    /// `month`: 1 is January.
    pub fn month(&self, month: u32, short: bool) -> &'static str {
        nth(if short { self.short_months } else { self.months }, month.wrapping_sub(1))
    }

    /// `day`: 1 is Monday.
    pub fn day(&self, day: u32, short: bool) -> &'static str {
        nth(if short { self.short_days } else { self.days }, day.wrapping_sub(1))
    }

    pub fn half(&self, afternoon: bool) -> &'static str {
        nth(self.halves, afternoon.into())
    }

    pub fn era(&self, common: bool) -> &'static str {
        nth(self.eras, common.into())
    }
}

fn nth(list: &'static str, index: u32) -> &'static str {
    list.split(',').nth(index as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_complete() {
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<usize> = line.split('|').map(|column| column.split(',').count()).collect();
            assert_eq!(columns, [1, 12, 12, 7, 7, 2, 2], "{line}");
        }
    }

    #[test]
    fn a_language_has_its_names_and_a_language_with_a_country_the_neutral_ones_s3g_081() {
        let french = Names::of("fr").unwrap();
        assert_eq!((french.month(12, false), french.month(2, true)), ("décembre", "févr."));
        assert_eq!(
            (french.day(7, false), french.day(3, true), french.half(true)),
            ("dimanche", "mer.", "PM")
        );
        let neutral = Names::of("de-DE").unwrap();
        assert_eq!((neutral.month(1, false), neutral.day(1, false), neutral.era(true)), ("Jan", "Mon", "CE"));
        assert_eq!(Names::of("EN").unwrap().month(1, false), "January");
        assert_eq!(Names::of("tlh"), None);
    }
}
