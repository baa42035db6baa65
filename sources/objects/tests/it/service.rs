//! Against the S3 services of `tests/services`, when they are up: moto, and versitygw, which checks signatures.

use std::sync::Arc;

use connector_core::ConfigMap;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ObjectStore, ObjectStoreExt};

use crate::{Task, gzip, keys, lines, rows};

pub struct Service {
    pub url: String,
    id: String,
    secret: String,
}

/// moto and versitygw; without the services there is nothing to test against.
pub fn services() -> Vec<Service> {
    let get = |name: &str| std::env::var(name).ok();
    let Some(moto) = get("SIDESTREAM_TEST_MOTO") else {
        eprintln!("skipped: SIDESTREAM_TEST_MOTO is not set, run by tests/services/with-services.sh");
        return Vec::new();
    };
    let mut all = vec![Service { url: moto, id: "moto".to_owned(), secret: "moto-secret".to_owned() }];
    if let (Some(url), Some(id), Some(secret)) = (
        get("SIDESTREAM_TEST_S3"),
        get("SIDESTREAM_TEST_S3_ACCESS_KEY"),
        get("SIDESTREAM_TEST_S3_SECRET_KEY"),
    ) {
        all.push(Service { url, id, secret });
    }
    all
}

impl Service {
    fn store(&self, bucket: &str) -> AmazonS3 {
        let builder = AmazonS3Builder::new().with_endpoint(&self.url).with_allow_http(true);
        let builder = builder.with_region("us-east-1").with_bucket_name(bucket);
        builder.with_access_key_id(&self.id).with_secret_access_key(&self.secret).build().unwrap()
    }

    /// An empty bucket that no other test has.
    pub async fn bucket(&self, purpose: &str) -> (String, Arc<dyn ObjectStore>) {
        let name = format!("source-objects-{purpose}-{}", std::process::id());
        let store = self.store(&name);
        // A bucket is made as an object without a key would be put; only that the answer has no entity tag.
        let _ = store.put(&"".into(), object_store::PutPayload::new()).await;
        let listed = store.list_with_delimiter(None).await;
        listed.unwrap_or_else(|error| panic!("making the bucket {name} at {}: {error}", self.url));
        (name, Arc::new(store))
    }

    pub fn keys(&self, path: &str, more: &[(&str, &str)]) -> ConfigMap {
        let mut all = vec![
            ("store.url", &*self.url),
            ("s3.region", "us-east-1"),
            ("aws.access.key.id", &*self.id),
            ("aws.secret.access.key", &*self.secret),
        ];
        all.extend(more);
        keys(path, &all)
    }
}

#[tokio::test]
async fn objects_of_a_bucket_are_listed_fetched_and_resumed() {
    for service in services() {
        let (bucket, store) = service.bucket("read").await;
        let put = async |key: &str, text: Vec<u8>| {
            store.put(&key.into(), text.into()).await.unwrap();
        };
        for n in 0..60 {
            put(&format!("topics/1.pin/partition=0/1.pin+0+{n:010}.json"), lines(n..n + 1).into()).await;
        }
        put("topics/1.pin/partition=1/1.pin+1+0000000060.json.gz", gzip(lines(60..70).as_bytes())).await;
        put("topics/1.geo/partition=0/x.json", lines(99..100).into()).await;
        // Larger than what is fetched ahead.
        put("topics/1.pin/partition=2/x.json", lines(70..400_000).into()).await;
        let keys = service.keys(&format!("s3://{bucket}/topics/*.pin/partition=*/*"), &[]);
        let mut task = Task::open(&keys, Vec::new()).await;
        let mut read = crate::Read::default();
        while read.rows.len() < 100_000 {
            read.add(task.poll(7000).await.unwrap().unwrap());
        }
        put("topics/0.pin/partition=0/new.json", lines(400_000..400_001).into()).await;
        let mut task = Task::open(&keys, task.positions).await;
        let rest = task.read().await;
        read.rows.extend(rest.rows);
        assert!(read.rows == rows(0..400_001), "{}: {} rows", service.url, read.rows.len());
        assert_eq!(Task::open(&keys, task.positions).await.read().await.rows, [""; 0]);
    }
}

#[tokio::test]
async fn a_missing_bucket_and_wrong_credentials_are_errors_with_the_remedy() {
    for service in services() {
        let missing = service.keys("s3://no-such-bucket-here/x/*.json", &[]);
        let error = Task::open(&missing, Vec::new()).await.poll(1).await.unwrap_err();
        assert_eq!(error.code, "s3.no_such_bucket", "{error}");
        assert!(!error.is_retriable() && error.hint.contains("objects.path"), "{error}");
    }
    // moto takes any credentials.
    for service in services().into_iter().filter(|service| service.id != "moto") {
        let (bucket, _) = service.bucket("denied").await;
        let wrong = [("aws.secret.access.key", "wrong-secret")];
        let keys = service.keys(&format!("s3://{bucket}/*.json"), &wrong);
        let error = Task::open(&keys, Vec::new()).await.poll(1).await.unwrap_err();
        assert_eq!(error.code, "s3.bad_credentials", "{error}");
        assert!(!error.to_string().contains("wrong-secret"), "{error}");

        // A user whom no policy of the bucket knows.
        let variable = |name: &str| std::env::var(name).unwrap();
        let (id, secret) = (
            variable("SIDESTREAM_TEST_S3_READONLY_ACCESS_KEY"),
            variable("SIDESTREAM_TEST_S3_READONLY_SECRET_KEY"),
        );
        let stranger = [("aws.access.key.id", &*id), ("aws.secret.access.key", &*secret)];
        let keys = service.keys(&format!("s3://{bucket}/*.json"), &stranger);
        let error = Task::open(&keys, Vec::new()).await.poll(1).await.unwrap_err();
        assert_eq!(error.code, "s3.access_denied", "{error}");
        assert!(!error.is_retriable() && error.hint.contains("s3:GetObject"), "{error}");
    }
}
