//! Texts as Java reads and writes them: Connect's configurations and data hold its regular expressions, date patterns
//! and numbers.

mod number;
mod pattern;
mod time;

pub use number::{double_text, float_text, parse_decimal, parse_double};
pub use pattern::Pattern;
pub use time::{DAY, DateFormat, ISO_DATE, ISO_TIME, ISO_TIMESTAMP, iso};
