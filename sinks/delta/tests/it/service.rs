//! Tables in the S3 services of `tests/services`, when they are up: moto, and versitygw, which checks signatures. Both
//! honour `If-None-Match`, on which commits rest.

use connector_aws::access::Access;
use connector_aws::store;
use connector_core::{ConfigMap, ConnectError, Secret, TaskInfo, testing};
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use sink_delta::table::Table;

use crate::writers::commits;
use crate::{integers, named, open, partition, publish, write};

struct Service {
    url: String,
    id: String,
    secret: String,
}

fn services() -> Vec<Service> {
    let get = |name: &str| std::env::var(name).ok();
    let Some(moto) = get("SIDESTREAM_TEST_MOTO") else {
        eprintln!("skipped: SIDESTREAM_TEST_MOTO is not set, run by tests/services/with-services.sh");
        return Vec::new();
    };
    let mut all = vec![Service { url: moto, id: "moto".to_owned(), secret: "moto-secret".to_owned() }];
    all.extend(versitygw("SIDESTREAM_TEST_S3"));
    all
}

/// With the credentials of this user.
fn versitygw(user: &str) -> Option<Service> {
    let get = |name: String| std::env::var(name).ok();
    Some(Service {
        url: get("SIDESTREAM_TEST_S3".to_owned())?,
        id: get(format!("{user}_ACCESS_KEY"))?,
        secret: get(format!("{user}_SECRET_KEY"))?,
    })
}

impl Service {
    async fn bucket(&self, purpose: &str) -> String {
        let name = format!("sink-delta-{purpose}-{}", std::process::id());
        let builder = AmazonS3Builder::new().with_endpoint(&self.url).with_allow_http(true);
        let builder = builder.with_region("us-east-1").with_bucket_name(&name);
        let s3 = builder.with_access_key_id(&self.id).with_secret_access_key(&self.secret).build().unwrap();
        // A bucket is made as an object without a key would be put; only that the answer has no entity tag.
        let _ = s3.put(&"".into(), PutPayload::new()).await;
        let listed = s3.list_with_delimiter(None).await;
        listed.unwrap_or_else(|error| panic!("making the bucket {name} at {}: {error}", self.url));
        name
    }

    fn keys(&self) -> [(&str, &str); 4] {
        [
            ("store.url", &self.url),
            ("s3.region", "us-east-1"),
            ("aws.access.key.id", &self.id),
            ("aws.secret.access.key", &self.secret),
        ]
    }

    async fn table(&self, url: &str) -> Table {
        let access = Access {
            region: Some("us-east-1".to_owned()),
            endpoint: Some(self.url.clone()),
            key: Some((Secret::new(&self.id), Secret::new(&self.secret))),
            ..Access::default()
        };
        let location = store::open(&store::parse(url).unwrap(), &access).await.unwrap();
        Table::load(&location).await.unwrap().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_connectors_that_race_on_s3_lose_nothing_and_double_nothing() {
    for service in services() {
        let url = format!("s3://{}/a/table", service.bucket("race").await);
        let racers = [("a", 0..20), ("b", 100..120)].map(|(name, numbers)| {
            tokio::spawn(commits(named(name, &url, &service.keys()), partition(0), numbers))
        });
        for racer in racers {
            racer.await.unwrap();
        }
        let table = service.table(&url).await;
        assert_eq!(
            integers(&table, "n").await,
            (0..20).chain(100..120).collect::<Vec<_>>(),
            "{}",
            service.url
        );
        assert_eq!(table.head().version, 40);
        assert_eq!(open(&*named("b", &url, &service.keys()), &[partition(0)]).await[&partition(0)], 20);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_several_parts_is_whole() {
    const ROWS: i64 = 1_000;
    for service in services() {
        let url = format!("s3://{}/t", service.bucket("parts").await);
        let keys: Vec<_> = service.keys().into_iter().chain([("parquet.codec", "none")]).collect();
        let sink = named("c", &url, &keys);
        open(&*sink, &[partition(0)]).await;
        for offset in 0..ROWS {
            // 20 KB that no dictionary shortens.
            let text = format!("{offset:032}").repeat(625);
            write(&*sink, &partition(0), offset, &[&format!(r#"{{"n":{offset},"text":"{text}"}}"#)]).await;
        }
        publish(&*sink, &[(&partition(0), 0..ROWS)]).await;
        let table = service.table(&url).await;
        let files = table.files(&table.head()).await.unwrap();
        assert!(files.len() == 1 && files[0].size > 18_000_000, "{files:?}");
        assert_eq!(integers(&table, "n").await, (0..ROWS).collect::<Vec<_>>(), "{}", service.url);
    }
}

async fn refusal(url: &str, keys: &[(&str, &str)]) -> ConnectError {
    let sink = named("c", url, keys);
    let error = sink.open(&[partition(0).into()]).await.unwrap_err();
    assert!(error.to_string().contains(url) && !error.hint.is_empty(), "{error:?}");
    error
}

#[tokio::test]
async fn a_bucket_that_is_missing_or_forbidden_fails_the_start() {
    for service in services() {
        let error = refusal("s3://no-such-bucket-here/t", &service.keys()).await;
        assert_eq!(error.code, "s3.no_such_bucket", "{error:?}");
        assert!(!error.is_retriable() && error.hint.contains("delta.table.path"), "{error:?}");
    }
    let (Some(owner), Some(reader)) =
        (versitygw("SIDESTREAM_TEST_S3"), versitygw("SIDESTREAM_TEST_S3_READONLY"))
    else {
        return;
    };
    let url = format!("s3://{}/t", owner.bucket("forbidden").await);
    let error = refusal(&url, &reader.keys()).await;
    assert_eq!(error.code, "s3.access_denied", "{error:?}");
    let wrong = Service { secret: "not-the-secret".to_owned(), ..owner };
    let error = refusal(&url, &wrong.keys()).await;
    assert_eq!(error.code, "s3.bad_credentials", "{error:?}");
    assert!(!format!("{error:?}").contains("not-the-secret"), "{error:?}");
}

#[tokio::test]
async fn the_address_may_be_written_as_hadoop_does() {
    for service in services() {
        let bucket = service.bucket("s3a").await;
        let mut map: ConfigMap =
            testing::config(&[("delta.table.path", &format!("s3a://{bucket}/{{topic}}"))]);
        map.extend(testing::config(&service.keys()));
        let component = sink_delta::component();
        let config = component.check(&map).unwrap();
        let task = TaskInfo { connector: "c".to_owned(), ..TaskInfo::default() };
        commits(component.create_sink(&config, &task).unwrap(), partition(0), 0..1).await;
        let table = service.table(&format!("s3://{bucket}/orders")).await;
        assert_eq!(integers(&table, "n").await, [0]);
    }
}
