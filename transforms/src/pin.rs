//! Pins: placeholders to null, follower counts to numbers, a clean path.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int32Array, Int32Builder, RecordBatch, StringArray, StringBuilder,
};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field};
use connector_core::{
    ConfigProblem, Meta, Needs, Plugin, Rejection, Result, TaskInfo, Transform, Transformed,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::rows::{Rows, key, needed, rejection};

const ERROR: &str = "User Info Error";
const NO_TITLE: &[&str] = &["No Title Data Available"];
const NO_DESCRIPTION: &[&str] = &["No description available Story format", "No description available"];
const NO_DESCRIPTION_OR_UNTITLED: &[&str] =
    &["No description available Story format", "No description available", "Untitled"];
const NO_POSTER: &[&str] = &[ERROR];
const NO_TAGS: &[&str] = &["N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e"];
const NO_IMAGE: &[&str] = &["Image src error."];
const PROBLEM: &str = "is not a number of followers up to 2147483647";
const SAVE_PREFIX: &str = "Local save in ";

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// Whether the description `Untitled` becomes null, as the other placeholders do.
    #[serde(rename = "null.untitled", default)]
    null_untitled: bool,
    /// Whether the column `downloaded` is kept, as the last one.
    #[serde(rename = "keep.downloaded", default = "keep")]
    keep_downloaded: bool,
    /// Letters that multiply a follower count: `k` or `K` by a thousand, `m` or `M` by a million, `b` or `B` by a billion.
    #[serde(rename = "follower.suffixes", default = "suffixes")]
    follower_suffixes: Vec<String>,
    /// Whether a follower count with such a letter may have decimals: `1.5k` is 1500.
    #[serde(rename = "follower.decimals", default)]
    follower_decimals: bool,
}

const fn keep() -> bool {
    true
}

fn suffixes() -> Vec<String> {
    vec!["k".to_owned(), "M".to_owned()]
}

/// Cleans rows of the table `pinterest_data`.
pub struct PinCleaner {
    no_description: &'static [&'static str],
    keep_downloaded: bool,
    followers: Followers,
}

impl Plugin for PinCleaner {
    type Config = Config;

    const NAME: &'static str = "pin-cleaner";
    const SUMMARY: &'static str =
        "Cleans pins: placeholders become null, follower counts numbers, columns ordered.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        let multiplier = |letter: &String| match letter.as_str() {
            "k" | "K" => Some((letter.as_bytes()[0], 1_000)),
            "m" | "M" => Some((letter.as_bytes()[0], 1_000_000)),
            "b" | "B" => Some((letter.as_bytes()[0], 1_000_000_000)),
            _ => None,
        };
        let multipliers = config.follower_suffixes.iter().map(multiplier).collect::<Option<Vec<_>>>();
        let multipliers = multipliers.ok_or_else(|| {
            let message = "has something else than the letters k, K, m, M, b, B";
            vec![ConfigProblem::new("follower.suffixes", message, "list some of these letters: k,M")]
        })?;
        Ok(Self {
            no_description: if config.null_untitled { NO_DESCRIPTION_OR_UNTITLED } else { NO_DESCRIPTION },
            keep_downloaded: config.keep_downloaded,
            followers: Followers { multipliers, decimals: config.follower_decimals },
        })
    }
}

impl Transform for PinCleaner {
    fn needs(&self) -> Needs {
        let text = |name| needed(name, DataType::Utf8);
        let mut fields = vec![
            key("index"),
            text("unique_id"),
            text("title"),
            text("description"),
            text("poster_name"),
            text("follower_count"),
            text("tag_list"),
            text("is_image_or_video"),
            text("image_src"),
            text("save_location"),
            text("category"),
        ];
        if self.keep_downloaded {
            // In the order of the wire: the decoder looks for the next field first.
            fields.insert(9, needed("downloaded", DataType::Int64));
        }
        Needs::Columns(fields.into())
    }

    fn filters(&self) -> bool {
        false
    }

    fn apply(&self, records: RecordBatch, _: &Meta) -> Result<Transformed> {
        let rows = Rows::of(&records)?;
        let (followers, rejected) = self.followers.counts(rows.texts("follower_count")?);
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        let kept = |name: &str| -> Result<(Field, ArrayRef)> {
            Ok((field(name, DataType::Utf8), rows.column(name)?.clone()))
        };
        let nulled = |name: &str, placeholders| -> Result<(Field, ArrayRef)> {
            Ok((field(name, DataType::Utf8), without(rows.texts(name)?, placeholders)?))
        };
        let save_location = without_prefix(rows.texts("save_location")?);
        let mut columns = vec![
            (key("ind"), rows.column("index")?.clone()),
            kept("unique_id")?,
            nulled("title", NO_TITLE)?,
            nulled("description", self.no_description)?,
            (field("follower_count", DataType::Int32), Arc::new(followers) as ArrayRef),
            nulled("poster_name", NO_POSTER)?,
            nulled("tag_list", NO_TAGS)?,
            kept("is_image_or_video")?,
            nulled("image_src", NO_IMAGE)?,
            (field("save_location", DataType::Utf8), save_location),
            kept("category")?,
        ];
        if self.keep_downloaded {
            columns.push((field("downloaded", DataType::Int64), rows.column("downloaded")?.clone()));
        }
        rows.cleaned(columns, rejected)
    }
}

/// The same texts, null where they are one of the placeholders; the texts themselves are not copied.
fn without(texts: &StringArray, placeholders: &[&str]) -> Result<ArrayRef> {
    let found = BooleanBuffer::collect_bool(texts.len(), |row| placeholders.contains(&texts.value(row)));
    Ok(arrow::compute::nullif(texts, &BooleanArray::new(found, None))?)
}

fn without_prefix(texts: &StringArray) -> ArrayRef {
    let mut paths = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    for text in texts {
        paths.append_option(text.map(|text| text.strip_prefix(SAVE_PREFIX).unwrap_or(text)));
    }
    Arc::new(paths.finish())
}

/// How follower counts are written.
struct Followers {
    multipliers: Vec<(u8, u64)>,
    decimals: bool,
}

impl Followers {
    /// The counts, and the rows whose text is none.
    fn counts(&self, texts: &StringArray) -> (Int32Array, Vec<Rejection>) {
        let (mut counts, mut rejected) = (Int32Builder::with_capacity(texts.len()), Vec::new());
        for (row, text) in texts.iter().enumerate() {
            let count = match text {
                None | Some(ERROR) => None,
                Some(text) => self.count(text).or_else(|| {
                    rejected.push(rejection(row, "follower_count", PROBLEM, &self.remedy()));
                    None
                }),
            };
            counts.append_option(count);
        }
        (counts.finish(), rejected)
    }

    /// Digits, with decimals if a letter follows and the configuration allows it, and that letter.
    fn count(&self, text: &str) -> Option<i32> {
        let (digits, multiplier) = match text.as_bytes().split_last()? {
            (last, _) if last.is_ascii_digit() => (text, None),
            (last, _) => {
                let (_, multiplier) = self.multipliers.iter().find(|(letter, _)| letter == last)?;
                (text.get(..text.len() - 1)?, Some(*multiplier))
            }
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((whole, fraction)) if self.decimals && multiplier.is_some() => (whole, fraction),
            Some(_) => return None,
            None => (digits, "0"),
        };
        let number = |digits: &str| -> Option<u64> {
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            digits.parse().ok()
        };
        let multiplier = multiplier.unwrap_or(1);
        let parts = number(fraction)?.checked_mul(multiplier)?;
        let one = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        if parts % one != 0 {
            return None;
        }
        let count = number(whole)?.checked_mul(multiplier)?.checked_add(parts / one)?;
        i32::try_from(count).ok()
    }

    fn letters(&self) -> String {
        self.multipliers
            .iter()
            .map(|(letter, _)| char::from(*letter).to_string())
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn remedy(&self) -> String {
        let letters = self.letters();
        format!(
            "write digits, alone or before one of: {letters}; follower.suffixes and follower.decimals allow more"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::testing::{case, clean, config};
    use connector_core::{Component, testing};

    fn component() -> Component {
        Component::transform::<PinCleaner>("0")
    }

    const FULL: &str = r#"{"index":7,"unique_id":"u-7","title":"Tiny houses\nfor two","description":"Wood & light…\u00a0","poster_name":" Ana ","follower_count":"12k","tag_list":"House,Tiny","is_image_or_video":"image","image_src":"https://img.example/7.jpg","downloaded":1,"save_location":"Local save in /data/home","category":"home"}"#;
    const EMPTY: &str = r#"{"index":8,"unique_id":"u-8","title":"No Title Data Available","description":"No description available","poster_name":"User Info Error","follower_count":"User Info Error","tag_list":"N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e","is_image_or_video":"multi-video(story page format)","image_src":"Image src error.","downloaded":0,"save_location":"Local save in /data/art","category":"art"}"#;

    fn with(field: &str, value: &str) -> String {
        let mut row: serde_json::Value = serde_json::from_str(FULL).unwrap();
        row[field] = value.into();
        row.to_string()
    }

    #[test]
    fn a_pin_is_cleaned_and_its_columns_ordered() {
        let (rows, rejected) = clean(&component(), &[], &[FULL, EMPTY]);
        assert_eq!(rejected, [""; 0]);
        let full = concat!(
            r#"{"ind":7,"unique_id":"u-7","title":"Tiny houses\nfor two","description":"Wood & light…"#,
            "\u{a0}",
            r#"","follower_count":12000,"poster_name":" Ana ","tag_list":"House,Tiny","is_image_or_video":"image","#,
            r#""image_src":"https://img.example/7.jpg","save_location":"/data/home","category":"home","downloaded":1}"#
        );
        let empty = concat!(
            r#"{"ind":8,"unique_id":"u-8","title":null,"description":null,"follower_count":null,"poster_name":null,"#,
            r#""tag_list":null,"is_image_or_video":"multi-video(story page format)","image_src":null,"#,
            r#""save_location":"/data/art","category":"art","downloaded":0}"#
        );
        assert_eq!(rows, [full, empty]);
    }

    #[test]
    fn values_that_only_look_like_placeholders_stay() {
        for (field, value) in [
            ("description", "Untitled"),
            ("description", "Art."),
            ("description", "No description available "),
            ("title", "א"),
            ("title", "No description available"),
            ("image_src", "Image src error"),
            ("save_location", "/data/Local save in "),
        ] {
            let (rows, _) = clean(&component(), &[], &[&with(field, value)]);
            let row: serde_json::Value = serde_json::from_str(&rows[0]).unwrap();
            assert_eq!(row[field], value);
        }
        let (rows, _) =
            clean(&component(), &[("null.untitled", "true")], &[&with("description", "Untitled")]);
        assert!(rows[0].contains(r#""description":null"#), "{rows:?}");
    }

    #[test]
    fn follower_counts_are_digits_with_k_or_m() {
        let plain = Followers { multipliers: vec![(b'k', 1_000), (b'M', 1_000_000)], decimals: false };
        for (text, count) in [
            ("0", Some(0)),
            ("135", Some(135)),
            ("29k", Some(29_000)),
            ("2M", Some(2_000_000)),
            ("2147M", Some(2_147_000_000)),
            ("2147483647", Some(i32::MAX)),
            ("2147483648", None),
            ("2148M", None),
            ("99999999999999999999k", None),
            ("", None),
            ("k", None),
            ("-5", None),
            ("+5", None),
            (" 5", None),
            ("5 k", None),
            ("5K", None),
            ("5m", None),
            ("1.5k", None),
            ("1.0", None),
            ("5kk", None),
            ("٥", None),
            ("many", None),
            ("5é", None),
        ] {
            assert_eq!(plain.count(text), count, "{text}");
        }
    }

    #[test]
    fn more_letters_and_decimals_can_be_allowed() {
        let pairs = [("follower.suffixes", "k,K,m,M,b"), ("follower.decimals", "true")];
        let count = |text: &str| {
            let (rows, rejected) = clean(&component(), &pairs, &[&with("follower_count", text)]);
            let row: Option<serde_json::Value> = rows.first().map(|row| serde_json::from_str(row).unwrap());
            assert_eq!(row.is_none(), !rejected.is_empty());
            row.and_then(|row| row["follower_count"].as_i64())
        };
        assert_eq!(count("1.5k"), Some(1_500));
        assert_eq!(count("0.25m"), Some(250_000));
        assert_eq!(count("2K"), Some(2_000));
        assert_eq!(count("2b"), Some(2_000_000_000));
        assert_eq!(count("1.2345k"), None);
        assert_eq!(count("1.k"), None);
        assert_eq!(count(".5k"), None);
        assert_eq!(count("1.5"), None);
        let component = component();
        let problems = component.validate(&config(&[("follower.suffixes", "k,x")])).unwrap_err();
        assert_eq!(problems[0].key, "follower.suffixes");
    }

    #[test]
    fn a_bad_count_is_rejected_by_the_name_of_its_field_and_the_others_pass() {
        let (rows, rejected) = clean(&component(), &[], &[FULL, &with("follower_count", "lots"), EMPTY]);
        assert_eq!(rows.len(), 2);
        assert_eq!(rejected, ["field `follower_count` is not a number of followers up to 2147483647"]);
    }

    #[test]
    fn downloaded_is_needed_only_when_it_is_kept() {
        let mut row: serde_json::Value = serde_json::from_str(FULL).unwrap();
        row.as_object_mut().unwrap().remove("downloaded");
        let (rows, rejected) = clean(&component(), &[], &[&row.to_string()]);
        assert_eq!((rows.len(), rejected), (0, vec!["field `downloaded` is missing".to_owned()]));
        let (rows, rejected) = clean(&component(), &[("keep.downloaded", "false")], &[&row.to_string()]);
        assert_eq!((rows.len(), rejected.len()), (1, 0));
        assert!(rows[0].ends_with(r#""category":"home"}"#), "{rows:?}");
    }

    #[test]
    fn a_tombstone_passes() {
        assert_eq!(clean(&component(), &[], &["null"]), (vec!["null".to_owned()], vec![]));
    }

    #[test]
    fn it_conforms() {
        testing::transform::run_both(&case(
            component(),
            &[FULL, &with("follower_count", "lots"), "null", EMPTY],
        ));
    }
}
