//! The promises of every source, natively and through the plugin boundary.

use connector_core::testing::{self, SourceCase};

use crate::{gzip, keys, lines, write};

#[tokio::test]
async fn conforms_on_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a/1.json", lines(0..7));
    write(folder.path(), "a/2.json.gz", gzip(lines(7..20).as_bytes()));
    for n in 20..40 {
        write(folder.path(), &format!("b/{n}.json"), lines(n..n + 1));
    }
    let path = folder.path().to_str().unwrap();
    let case = SourceCase::new(source_objects::component(), keys(path, &[("objects.headers", "true")]), 40);
    testing::source::run_both(&case).await;
}

#[tokio::test]
async fn conforms_on_a_store_that_is_followed() {
    use object_store::ObjectStoreExt;
    let store = connector_aws::store::memory("conformance");
    for n in 0..30 {
        let path = format!("topics/x/partition={}/{n:03}.json", n % 3);
        store.put(&path.as_str().into(), lines(n..n + 1).into_bytes().into()).await.unwrap();
    }
    let more = [("objects.follow", "true"), ("objects.poll.interval.ms", "50")];
    let keys = keys("memory://conformance/topics/*/partition=*/*.json", &more);
    let case = SourceCase::new(source_objects::component(), keys, 30);
    testing::source::run_both(&case).await;
}
