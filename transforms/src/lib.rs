//! The transforms and predicates that come with Sidestream: Apache Kafka's, and the three cleaners of the Pinterest
//! pipeline.

mod cast;
mod drop_headers;
mod extract_field;
mod extract_new_record_state;
mod extract_topic;
mod filter;
mod flatten;
mod geo;
mod header_from;
mod hoist_field;
mod insert_field;
mod insert_header;
mod kit;
mod mask_field;
mod pin;
mod predicates;
mod regex_router;
mod replace_field;
mod rows;
mod set_schema_metadata;
#[cfg(test)]
mod tests;
mod timestamp_converter;
mod timestamp_router;
mod tombstone_handler;
mod user;
mod value_to_key;

use connector_core::Component;

pub use geo::GeoCleaner;
use kit::{FieldTransform, Key, OnPart, ValuePart};
pub use pin::PinCleaner;
pub use user::UserCleaner;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The transforms and predicates of this crate.
pub fn components() -> Vec<Component> {
    let mut all = vec![
        Component::transform::<PinCleaner>(VERSION),
        Component::transform::<GeoCleaner>(VERSION),
        Component::transform::<UserCleaner>(VERSION),
        Component::transform::<drop_headers::DropHeaders>(VERSION),
        Component::transform::<extract_new_record_state::ExtractNewRecordState>(VERSION),
        Component::transform::<extract_topic::ExtractTopic<Key>>(VERSION),
        Component::transform::<extract_topic::ExtractTopic<ValuePart>>(VERSION),
        Component::transform::<filter::Filter>(VERSION),
        Component::transform::<tombstone_handler::TombstoneHandler>(VERSION),
        Component::transform::<header_from::HeaderFrom<Key>>(VERSION),
        Component::transform::<header_from::HeaderFrom<ValuePart>>(VERSION),
        Component::transform::<insert_header::InsertHeader>(VERSION),
        Component::transform::<regex_router::RegexRouter>(VERSION),
        Component::transform::<timestamp_router::TimestampRouter>(VERSION),
        Component::transform::<value_to_key::ValueToKey>(VERSION),
        Component::predicate::<predicates::HasHeaderKey>(VERSION),
        Component::predicate::<predicates::RecordIsTombstone>(VERSION),
        Component::predicate::<predicates::TopicNameMatches>(VERSION),
    ];
    all.extend(both::<cast::Cast>());
    all.extend(both::<extract_field::ExtractField>());
    all.extend(both::<flatten::Flatten>());
    all.extend(both::<hoist_field::HoistField>());
    all.extend(both::<insert_field::InsertField>());
    all.extend(both::<mask_field::MaskField>());
    all.extend(both::<replace_field::ReplaceField>());
    all.extend(both::<set_schema_metadata::SetSchemaMetadata>());
    all.extend(both::<timestamp_converter::TimestampConverter>());
    all
}

/// The class for keys and the one for values.
fn both<T: FieldTransform>() -> [Component; 2] {
    [Component::transform::<OnPart<Key, T>>(VERSION), Component::transform::<OnPart<ValuePart, T>>(VERSION)]
}
