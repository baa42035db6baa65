//! Kafka → cleaner → Delta.

use std::time::Duration;

use crate::killing::Flow;
use crate::log;
use crate::support::{Record, Services, services, unique};
use crate::{Lake, assert_each_row_once, rows};

const PARTITIONS: usize = 4;

#[test]
fn kafka_to_delta_killed_twenty_times_has_every_row_once() {
    let Services { kafka, .. } = services();
    let (id, lake) = (unique("kills"), Lake::new());
    kafka.create_topic(&id, PARTITIONS as i32);
    let yaml = format!(
        "worker: {{session.timeout.ms: 6000}}
connectors:
  {id}: {{connector.class: delta-sink, topics: {id}, tasks.max: 2, {}, transforms: [{{name: clean, type: user-cleaner}}]}}
",
        lake.keys()
    );
    let table = lake.table();
    let record = |n: usize| Record::new(&id, rows::raw(n).to_string()).partition((n % PARTITIONS) as i32);
    let flow = Flow {
        table: &table,
        put: &|numbers| kafka.produce(numbers.map(record)),
        pause: Duration::from_millis(30),
        env: &[],
    };
    let group = format!("connect-{id}");
    let mut ahead = 0;
    let count = flow.kill(&yaml, 1, 20, |_| {
        let committed = kafka.committed(&group, &id);
        let ends = log::ends(&log::ranges(&table));
        let is_ahead = |(partition, end): (&i64, &i64)| committed.get(&(*partition as i32)) != Some(end);
        ahead += u32::from(ends.iter().any(is_ahead));
    });
    let (ranges, orphans) = (log::ranges(&table), log::orphans(&table));
    println!("{ahead} kills between the table's commit and the group's, {orphans} staged files left behind");
    assert!(ahead as usize + orphans > 0, "no kill fell into a publish");
    log::assert_gapless(&ranges);
    let group: Vec<_> = kafka.committed(&group, &id).into_values().collect();
    assert_eq!(group, log::ends(&ranges).into_values().collect::<Vec<_>>());
    assert_each_row_once(&table, count);
}
