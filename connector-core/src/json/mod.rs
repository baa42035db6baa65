//! JSON texts: checking and compacting ([`scan()`], [`compact`], [`documents()`]), typed columns from them
//! ([`decode()`]) and back ([`Encoder`]). None of it quotes a value in an error.

mod charset;
mod connect;
pub(crate) mod cursor;
mod decode;
mod documents;
mod encode;
mod error;
mod instant;
mod member;
pub(crate) mod scan;

pub use connect::{DATE, DECIMAL, NAME, REQUIRED, TIME, TIMESTAMP};
pub use decode::{Decoded, decode};
pub use documents::{Documents, documents};
pub use encode::{DecimalFormat, Encoder, write_string};
pub(crate) use encode::{write_base64, write_decimal, write_float, write_integer};
pub use error::{JsonError, JsonErrorKind};
pub use instant::parse_timestamp;
pub use member::{Member, member};
pub use scan::{Scanned, compact, scan, scan_str};
