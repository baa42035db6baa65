//! What this worker writes beside a committed offset, in the group's commit metadata: which topic the offset means, and
//! where a range ends that is being published. Whoever owns the partition next forms exactly that range.

use std::fmt;
use std::sync::Arc;

use connector_core::Offset;
use serde::{Deserialize, Serialize};

use super::recipe::Packed;

/// Brokers refuse more than 4,095 bytes (`offset.metadata.max.bytes`).
const LIMIT: usize = 4_000;
const VERSION: u32 = 1;

/// The metadata of one committed offset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    v: u32,
    /// Kafka's id of the topic; an offset of a topic that was made again under its name means nothing.
    #[serde(rename = "id", default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<Arc<str>>,
    /// The records from the committed offset to this one (exclusive) are published together, or were already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Offset>,
    /// Which configuration publishes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Arc<str>>,
    /// That configuration ([`super::recipe`]); left out when there is no room for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<Arc<str>>,
}

/// Metadata that somebody else wrote, or a later version of this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    Unknown,
    Newer(u32),
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => {
                f.write_str("something else commits offsets in this group: its commit metadata is not ours")
            }
            Self::Newer(version) => {
                write!(f, "a newer Sidestream (metadata version {version}) has committed it")
            }
        }
    }
}

impl Mark {
    /// Of an offset before which everything is done.
    pub fn settled(topic_id: Option<Arc<str>>) -> Self {
        Self { v: VERSION, topic_id, ..Self::default() }
    }

    /// Of an offset from which on a range up to `end` is published under a recipe.
    pub fn intent(topic_id: Option<Arc<str>>, end: Offset, recipe: &Packed) -> Self {
        let Packed { fingerprint, text } = recipe.clone();
        Self { end: Some(end), recipe: Some(fingerprint), how: Some(text), ..Self::settled(topic_id) }
    }

    /// Reads metadata; `None`: there is none, so the offset comes from Connect, from a tool, or from a broker that keeps
    /// no metadata.
    pub fn parse(metadata: &str) -> Result<Option<Self>, Foreign> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        if metadata.is_empty() {
            return Ok(None);
        }
        let Ok(Version { v }) = serde_json::from_str(metadata) else { return Err(Foreign::Unknown) };
        if v > VERSION {
            return Err(Foreign::Newer(v));
        }
        serde_json::from_str(metadata).map(Some).map_err(|_| Foreign::Unknown)
    }

    /// The metadata to commit, within what brokers take.
    pub fn text(&self) -> String {
        let text = |mark: &Self| serde_json::to_string(mark).unwrap_or_default();
        let whole = text(self);
        if whole.len() <= LIMIT { whole } else { text(&Self { how: None, ..self.clone() }) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_stays_within_the_brokers_limit() {
        let mark = Mark {
            end: Some(42),
            recipe: Some("abc".into()),
            how: Some("x".repeat(3_000).into()),
            ..Mark::settled(Some("id".into()))
        };
        assert_eq!(Mark::parse(&mark.text()), Ok(Some(mark.clone())));
        let large = Mark { how: Some("x".repeat(9_000).into()), ..mark.clone() };
        assert!(large.text().len() <= LIMIT);
        assert_eq!(Mark::parse(&large.text()), Ok(Some(Mark { how: None, ..mark })));
        assert_eq!(Mark::settled(None).text(), r#"{"v":1}"#);
    }

    #[test]
    fn what_others_wrote_is_told_from_nothing() {
        assert_eq!(Mark::parse(""), Ok(None));
        assert_eq!(Mark::parse("consumer-1"), Err(Foreign::Unknown));
        assert_eq!(Mark::parse(r#"{"end":5}"#), Err(Foreign::Unknown));
        assert_eq!(Mark::parse(r#"{"v":1,"end":"x"}"#), Err(Foreign::Unknown));
        assert_eq!(Mark::parse(r#"{"v":2,"more":1}"#), Err(Foreign::Newer(2)));
    }

    proptest! {
        #[test]
        fn no_metadata_breaks_it(text in ".*") {
            let _ = Mark::parse(&text);
        }
    }
}
