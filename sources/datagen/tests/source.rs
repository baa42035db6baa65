//! The source as the host uses it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use connector_core::testing::{self, SourceCase};
use connector_core::{ConfigMap, NoTopics, PollBudget, Source, SourceContext, TaskInfo};

async fn open(config: &ConfigMap) -> Arc<dyn Source> {
    let component = source_datagen::component();
    let config = component.check(config).unwrap();
    let source = component.create_source(&config, &TaskInfo::default()).unwrap();
    let task = source.plan(1).await.unwrap().remove(0);
    let context = SourceContext { task, positions: Vec::new(), topics: Arc::new(NoTopics) };
    source.open(context).await.unwrap();
    source
}

#[tokio::test]
async fn the_conformance_suite_passes() {
    for rate in ["0", "2000"] {
        let pairs = [("datagen.rows", "40"), ("datagen.rate", rate), ("datagen.duplicates", "0.1")];
        let config = testing::config(&pairs);
        testing::source::run_both(&SourceCase::new(source_datagen::component(), config, 120)).await;
    }
}

#[tokio::test]
async fn each_table_goes_to_its_topic_and_missent_pins_to_the_users() {
    let source = open(&testing::config(&[
        ("datagen.rows", "5000"),
        ("datagen.missent", "0.01"),
        ("topic.prefix", "12e371d757c1."),
        ("topic.mapping.geo", "places"),
    ]))
    .await;
    let budget = PollBudget { max_records: 1_000, max_bytes: 1 << 20 };
    let mut counts = std::collections::BTreeMap::new();
    while let Some(batch) = source.poll(budget).await.unwrap() {
        for run in batch.runs {
            let columns = run.records.schema().field_with_name("value").unwrap().data_type().to_string();
            let kind = if columns.contains("unique_id") { "pin" } else { "other" };
            *counts.entry((run.topic.unwrap().to_string(), kind)).or_insert(0) += run.records.num_rows();
        }
    }
    let missent = (0..5_000).filter(|&step| source_datagen::is_missent(100, step, 0.01)).count();
    assert!((30..70).contains(&missent), "{missent}");
    let count = |topic: &str, kind| counts[&(topic.to_owned(), kind)];
    assert_eq!(count("12e371d757c1.pin", "pin"), 5_000);
    assert_eq!(count("places", "other"), 5_000);
    assert_eq!(count("12e371d757c1.user", "other"), 5_000);
    assert_eq!(count("12e371d757c1.user", "pin"), missent);
}

#[tokio::test]
async fn the_rate_is_kept() {
    let source = open(&testing::config(&[("datagen.rows", "100"), ("datagen.rate", "400")])).await;
    let (started, mut rows) = (Instant::now(), 0);
    while let Some(batch) = source.poll(PollBudget { max_records: 300, max_bytes: 1 << 20 }).await.unwrap() {
        rows += batch.runs.iter().map(|r| r.records.num_rows()).sum::<usize>();
    }
    // Not faster than asked for; how much slower depends on the machine.
    assert_eq!(rows, 300);
    assert!(started.elapsed() >= Duration::from_millis(240), "{:?}", started.elapsed());
}

#[test]
fn a_share_above_one_and_an_unknown_table_are_refused() {
    let problems = |pairs: &[(&str, &str)]| {
        let problems = source_datagen::component().validate(&testing::config(pairs)).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let all =
        problems(&[("datagen.duplicates", "2"), ("datagen.missent", "-1"), ("topic.mapping.pins", "x")]);
    for key in ["datagen.duplicates", "datagen.missent", "topic.mapping.pins"] {
        assert!(all.contains(key), "{all}");
    }
    assert!(problems(&[("datagen.tables", "pin, users")]).contains("datagen.tables"));
}
