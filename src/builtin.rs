//! The one list of built-in plugins.

use connector_core::Component;

pub fn components() -> Vec<Component> {
    let mut all = vec![
        source_rds::component(),
        source_webhook::component(),
        source_kinesis::component(),
        source_datagen::component(),
        source_file::component(),
        source_objects::component(),
        sink_s3::component(),
        sink_delta::component(),
        sink_file::component(),
        sink_kinesis::component(),
    ];
    all.extend(transforms::components());
    all
}
