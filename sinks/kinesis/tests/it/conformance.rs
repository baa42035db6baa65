use connector_core::testing::{self, SinkCase};

use crate::{Stream, config, kinesalite, moto};

async fn conforms(url: &str, keys: &[(&str, &str)]) {
    let stream = Stream::create(url, "conformance", 3).await;
    let config = config(url, &stream.name, keys);
    let case = SinkCase::new(sink_kinesis::component(), config, move || {
        let stream = stream.clone();
        async move {
            stream.data().await.iter().filter_map(|data| testing::position_of(data.as_bytes())).collect()
        }
    });
    testing::sink::run_both(&case).await;
}

#[tokio::test]
async fn with_kinesalite_it_conforms() {
    let Some(url) = kinesalite() else { return };
    conforms(&url, &[]).await;
}

#[tokio::test]
async fn with_moto_and_without_an_order_it_conforms() {
    let Some(url) = moto() else { return };
    conforms(&url, &[("kinesis.ordering", "none"), ("behavior.on.null.values", "ignore")]).await;
}
