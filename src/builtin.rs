//! The one list of built-in plugins; each is a feature, so that what is not needed can be left out.

use connector_core::Component;

pub fn components() -> Vec<Component> {
    [
        Vec::from([
            #[cfg(feature = "rds")]
            source_rds::component(),
            #[cfg(feature = "webhook")]
            source_webhook::component(),
            #[cfg(feature = "kinesis")]
            source_kinesis::component(),
            #[cfg(feature = "datagen")]
            source_datagen::component(),
            #[cfg(feature = "file")]
            source_file::component(),
            #[cfg(feature = "objects")]
            source_objects::component(),
            #[cfg(feature = "s3")]
            sink_s3::component(),
            #[cfg(feature = "delta")]
            sink_delta::component(),
            #[cfg(feature = "file")]
            sink_file::component(),
            #[cfg(feature = "kinesis")]
            sink_kinesis::component(),
        ]),
        #[cfg(feature = "transforms")]
        transforms::components(),
    ]
    .concat()
}
