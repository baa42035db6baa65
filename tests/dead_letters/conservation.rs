//! read = delivered + filtered + rejected, and what is rejected is in the queue: over all stages and over restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::support::{Record, Sidestream, services, unique, wait_until};
use crate::{SECRET, SOON, connector, header, keeps_secrets, lines, start, wait_dealt};

/// What is to become of a record, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Delivered,
    Filtered,
    Rejected(&'static str),
}

fn fate(number: usize) -> Fate {
    match number % 11 {
        2 => Fate::Rejected("KEY_CONVERTER"),
        4 => Fate::Rejected("VALUE_CONVERTER"),
        6 => Fate::Rejected("HEADER_CONVERTER"),
        8 => Fate::Rejected("TRANSFORMATION"),
        9 => Fate::Filtered,
        _ => Fate::Delivered,
    }
}

fn record(topic: &str, number: usize) -> Record {
    let value = match fate(number) {
        Fate::Rejected("VALUE_CONVERTER") => format!("{{{SECRET} {number}"),
        Fate::Rejected("TRANSFORMATION") => format!("{{\"n\":{number},\"do\":\"refuse {SECRET}\"}}"),
        Fate::Filtered => format!("{{\"n\":{number},\"do\":\"drop {SECRET}\"}}"),
        _ => format!("{{\"n\":{number},\"text\":\"{SECRET}\"}}"),
    };
    let key = match fate(number) {
        Fate::Rejected("KEY_CONVERTER") => format!("{{{SECRET}"),
        _ => format!("\"{SECRET} {number}\""),
    };
    let four = match fate(number) {
        Fate::Rejected("HEADER_CONVERTER") => SECRET.as_bytes().to_vec(),
        _ => 7i32.to_be_bytes().to_vec(),
    };
    Record {
        partition: Some((number % 2) as i32),
        timestamp: Some(1_700_000_000_000 + number as i64),
        headers: vec![("four".to_owned(), Some(four)), ("none".to_owned(), None)],
        ..Record::new(topic, value).key(key)
    }
}

fn yaml(id: &str, file: &str) -> String {
    connector(
        id,
        &format!(
            "connector.class: file-sink
            file: {file}
            topics: {id}
            key.converter: JsonConverter
            key.converter.schemas.enable: false
            value.converter: JsonConverter
            value.converter.schemas.enable: false
            header.converter: IntegerConverter
            transforms: [{{name: picky, type: picky}}]
            errors.tolerance: all
            errors.deadletterqueue.topic.name: {id}-dead
            errors.deadletterqueue.topic.replication.factor: 1
            errors.deadletterqueue.context.headers.enable: true"
        ),
    )
}

fn numbers(range: std::ops::Range<usize>, fates: fn(Fate) -> bool) -> BTreeSet<usize> {
    range.filter(|number| fates(fate(*number))).collect()
}

/// The numbers of records from the lines of the sink.
fn delivered(worker: &Sidestream) -> Vec<usize> {
    let number = |line: &String| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        value["n"].as_u64().unwrap() as usize
    };
    lines(worker, "out.jsonl").iter().map(number).collect()
}

/// The numbers of dead letters, which are as they were produced, with the stage that refused them.
fn dead(id: &str, all: usize) -> Vec<(usize, String)> {
    let kafka = services().kafka;
    let queue = format!("{id}-dead");
    let by_place: BTreeMap<(i32, i64), usize> = {
        let mut next = BTreeMap::new();
        let place = |number: usize| {
            let partition = (number % 2) as i32;
            let offset = next.entry(partition).or_insert(0i64);
            *offset += 1;
            ((partition, *offset - 1), number)
        };
        (0..all).map(place).collect()
    };
    let letters = kafka.read(&queue).into_iter().map(|letter| {
        let said = |name: &str| header(&letter, &format!("__connect.errors.{name}")).unwrap();
        let place = (said("partition").parse().unwrap(), said("offset").parse().unwrap());
        let number = by_place[&place];
        let given = record(id, number);
        assert_eq!((&letter.key, &letter.value), (&given.key, &given.value), "{number}");
        assert_eq!(letter.timestamp, given.timestamp, "{number}");
        assert_eq!(letter.headers[..2], given.headers[..], "{number}");
        assert_eq!((said("topic"), said("connector.name")), (id.to_owned(), id.to_owned()));
        let exception = said("exception.message") + &said("exception.stacktrace");
        assert!(!exception.contains(SECRET), "{exception}");
        (number, said("stage"))
    });
    letters.collect()
}

#[track_caller]
fn adds_up(worker: &Sidestream, id: &str, range: std::ops::Range<usize>) {
    wait_dealt(worker, id, range.len() as i64);
    let count = |fates| numbers(range.clone(), fates).len() as i64;
    let [read, delivered, filtered, rejected] = worker.metrics().records(id);
    assert_eq!(read, range.len() as i64);
    assert_eq!(delivered, count(|fate| fate == Fate::Delivered));
    assert_eq!(filtered, count(|fate| fate == Fate::Filtered));
    assert_eq!(rejected, count(|fate| matches!(fate, Fate::Rejected(_))));
    let metric = |name: &str| {
        worker.metrics().sum(&format!("kafka_connect_task_error_metrics_{name}"), &[("connector", id)])
    };
    assert_eq!(metric("deadletterqueue_produce_requests"), rejected);
    assert_eq!(metric("deadletterqueue_produce_failures"), 0);
    assert_eq!(metric("total_records_skipped"), rejected);
    assert_eq!(metric("total_record_errors"), rejected);
    assert_eq!(metric("total_record_failures"), rejected);
    assert!(metric("last_error_timestamp") > 1_700_000_000_000);
}

#[test]
fn every_record_is_delivered_filtered_or_dead_over_orderly_restarts() {
    let (kafka, id) = (services().kafka, unique("conserve"));
    kafka.create_topic(&id, 2);
    kafka.produce((0..1100).map(|number| record(&id, number)));
    let mut worker = start(&[("a.yaml", &yaml(&id, "out.jsonl"))]);
    adds_up(&worker, &id, 0..1100);
    keeps_secrets(&worker);
    assert!(worker.stop(SOON).success());

    kafka.produce((1100..1661).map(|number| record(&id, number)));
    let mut worker = worker.restart(&[]);
    adds_up(&worker, &id, 1100..1661);
    keeps_secrets(&worker);
    assert!(worker.stop(SOON).success());

    // Nothing was met twice: what was refused last was acknowledged too.
    let all = 0..1661;
    let mut sink = delivered(&worker);
    sink.sort_unstable();
    let expected = numbers(all.clone(), |fate| fate == Fate::Delivered);
    assert_eq!(sink, expected.into_iter().collect::<Vec<_>>());
    let mut letters = dead(&id, all.len());
    letters.sort();
    let expected = all.filter_map(|number| match fate(number) {
        Fate::Rejected(stage) => Some((number, stage.to_owned())),
        _ => None,
    });
    assert_eq!(letters, expected.collect::<Vec<_>>());
}

#[test]
fn a_kill_loses_no_dead_letter() {
    let (kafka, id) = (services().kafka, unique("killed"));
    kafka.create_topic(&id, 2);
    let mut worker = start(&[("a.yaml", &yaml(&id, "out.jsonl"))]);
    let mut made = 0;
    for _ in 0..3 {
        kafka.produce((made..made + 3000).map(|number| record(&id, number)));
        made += 3000;
        // In the middle of its work.
        wait_until(SOON, "something was refused", || (worker.metrics().records(&id)[3] > 0).then_some(()));
        worker.kill();
        worker = worker.restart(&[]);
    }
    let group = format!("connect-{id}");
    wait_until(Duration::from_secs(120), "the rest was published", || {
        // The records after the last cut come to nothing, and are acknowledged when the task stops.
        (kafka.committed(&group, &id).values().sum::<i64>() > made as i64 - 22).then_some(())
    });
    assert!(worker.stop(SOON).success());
    keeps_secrets_in_log(&worker);
    assert_eq!(kafka.committed(&group, &id).values().sum::<i64>(), made as i64);
    let sink: BTreeSet<usize> = delivered(&worker).into_iter().collect();
    assert_eq!(sink, numbers(0..made, |fate| fate == Fate::Delivered));
    let letters: BTreeSet<usize> = dead(&id, made).into_iter().map(|(number, _)| number).collect();
    assert_eq!(letters, numbers(0..made, |fate| matches!(fate, Fate::Rejected(_))));
}

#[track_caller]
fn keeps_secrets_in_log(worker: &Sidestream) {
    assert!(!worker.log().contains(SECRET), "a value got out:\n{}", worker.log());
}
