//! Connect's predicates.

mod has_header_key;
mod record_is_tombstone;
mod topic_name_matches;

pub(crate) use has_header_key::HasHeaderKey;
pub(crate) use record_is_tombstone::RecordIsTombstone;
pub(crate) use topic_name_matches::TopicNameMatches;
