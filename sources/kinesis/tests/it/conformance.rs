use connector_aws::kpl::Aggregate;
use connector_core::testing::{self, SourceCase};

use crate::stream::{Stream, kinesalite};

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    let stream = Stream::create(&kinesalite(), 2).await;
    for n in 0..12 {
        stream.put(&format!("key-{n}"), format!("{{\"n\":{n}}}")).await;
    }
    // A position inside an aggregated record has to hold too.
    let mut aggregate = Aggregate::new("key-a".to_owned(), None);
    (0..6).for_each(|n| aggregate.push(format!("{{\"a\":{n}}}").into_bytes()));
    stream.put("key-a", aggregate.finish()).await;
    let config = stream.config(&[("kinesis.record.headers", "true")]);
    testing::source::run_both(&SourceCase::new(source_kinesis::component(), config, 18)).await;
}
