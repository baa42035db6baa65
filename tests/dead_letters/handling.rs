//! Who refuses, and what then: the sink, without a queue, at a connector without Kafka, for a time.

use std::fs;

use crate::support::{Record, services, unique, wait_until};
use crate::{SECRET, SOON, connector, failed, header, keeps_secrets, lines, start, wait_dealt};

fn fail_sink(id: &str, mode: &str, more: &str) -> String {
    let keys = format!("connector.class: fail-sink\ntopics: {id}\nmode: {mode}\n{more}");
    connector(id, &format!("{keys}\nvalue.converter: StringConverter\nrestart.max.attempts: 0"))
}

fn error_metric(worker: &crate::support::Sidestream, id: &str, name: &str) -> i64 {
    worker.metrics().sum(&format!("kafka_connect_task_error_metrics_{name}"), &[("connector", id)])
}

/// What a sink refuses is skipped only where it leaves a trace: with `all` alone Connect has no reporter for it (S3 sink's
/// cases 070, 072 and 143 to 145).
#[test]
fn what_a_sink_refuses_needs_a_queue_or_the_log() {
    let kafka = services().kafka;
    let ids = ["put-alone", "put-logged", "put-dead"].map(unique);
    for id in &ids {
        kafka.create_topic(id, 1);
        kafka.produce((0..5).map(|_| Record::new(id, SECRET)));
    }
    let [alone, logged, dead] = &ids;
    let all = "errors.tolerance: all\n";
    let queue = format!(
        "{all}errors.deadletterqueue.topic.name: {dead}-dead\nerrors.deadletterqueue.topic.replication.factor: -1"
    );
    let yaml = [
        fail_sink(alone, "report", all),
        fail_sink(logged, "report", &format!("{all}errors.log.enable: true")),
        fail_sink(dead, "report", &queue),
    ];
    let worker = start(&[("a.yaml", &yaml[0]), ("b.yaml", &yaml[1]), ("c.yaml", &yaml[2])]);
    failed(&worker, alone, &["record refused", &format!("{alone}-0 offset 0")]);
    for id in [logged, dead] {
        wait_dealt(&worker, id, 5);
        assert_eq!(worker.metrics().records(id), [5, 0, 0, 5]);
    }
    assert_eq!(error_metric(&worker, logged, "total_errors_logged"), 5);
    assert_eq!(error_metric(&worker, dead, "total_errors_logged"), 0);
    let line = format!(
        "Error encountered in task {logged}-0. Executing stage 'TASK_PUT' with class \
         'org.apache.kafka.connect.sink.SinkTask'. org.apache.kafka.connect.errors.DataException: record refused"
    );
    assert_eq!(worker.log().matches(&line).count(), 5);
    assert_eq!(kafka.read(&format!("{dead}-dead")).len(), 5);
    keeps_secrets(&worker);
}

/// E-03, DLQ-36: also without tolerance; once in the life of a worker, again after a restart of the process.
#[test]
fn a_record_that_fails_its_task_is_in_the_queue_before_the_task_says_so() {
    let (kafka, id) = (services().kafka, unique("fatal"));
    kafka.create_topic(&id, 1);
    kafka.produce([Record::new(&id, "1"), Record::new(&id, format!("{{{SECRET}")), Record::new(&id, "{")]);
    let yaml = connector(
        &id,
        &format!(
            "connector.class: file-sink
            file: out
            topics: {id}
            errors.deadletterqueue.topic.name: {id}-dead
            errors.deadletterqueue.topic.replication.factor: 1
            errors.deadletterqueue.context.headers.enable: true"
        ),
    );
    let mut worker = start(&[("a.yaml", &yaml)]);
    for copies in [1, 2] {
        failed(&worker, &id, &[&format!("{id}-0 offset 1"), "errors.tolerance=all"]);
        let letters = kafka.read(&format!("{id}-dead"));
        assert_eq!(letters.len(), copies, "one a start, and only of the first record that cannot be read");
        assert!(letters.iter().all(|l| header(l, "__connect.errors.offset").as_deref() == Some("1")));
        // The good record before it was in the same batch: neither delivered nor acknowledged (E-07).
        assert_eq!(lines(&worker, "out"), Vec::<String>::new());
        assert_eq!(kafka.committed(&format!("connect-{id}"), &id).get(&0), None);
        worker.stop(SOON);
        if copies == 1 {
            worker = worker.restart(&[]);
        }
    }
}

#[test]
fn a_pipeline_without_kafka_in_between_has_dead_letters_too() {
    let (kafka, id) = (services().kafka, unique("direct"));
    let worker = {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("in.txt");
        fs::write(&input, format!("first\nrefuse {SECRET}\ndrop\nlast\n")).unwrap();
        let yaml = connector(
            &id,
            &format!(
                "source: {{class: file-source, file: {}, topic: unused}}
                sink: {{class: file-sink, file: out}}
                value.converter: StringConverter
                transforms: [{{name: picky, type: picky}}]
                errors.tolerance: all
                errors.deadletterqueue.topic.name: {id}-dead
                errors.deadletterqueue.topic.replication.factor: 1
                errors.deadletterqueue.context.headers.enable: true",
                input.display()
            ),
        );
        let worker = start(&[("a.yaml", &yaml)]);
        wait_dealt(&worker, &id, 4);
        worker
    };
    assert_eq!(lines(&worker, "out"), ["first", "last"]);
    assert_eq!(worker.metrics().records(&id), [4, 2, 1, 1]);
    let letters = kafka.read(&format!("{id}-dead"));
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].value, Some(format!("refuse {SECRET}").into_bytes()));
    assert_eq!(header(&letters[0], "__connect.errors.stage").as_deref(), Some("TRANSFORMATION"));
    // The second record of its source.
    assert_eq!(header(&letters[0], "__connect.errors.offset").as_deref(), Some("1"));
    keeps_secrets(&worker);
}

/// E-01: what may pass is tried for as long as is configured, and by default for as long as it takes.
#[test]
fn a_sink_that_is_away_is_given_up_when_the_configuration_says_so() {
    let kafka = services().kafka;
    let ids = ["gives-up", "waits"].map(unique);
    for id in &ids {
        kafka.create_topic(id, 1);
        kafka.produce([Record::new(id, SECRET)]);
    }
    let [gives_up, waits] = &ids;
    let short = "errors.retry.timeout: 1500\nerrors.retry.delay.max.ms: 400";
    let worker = start(&[
        ("a.yaml", &fail_sink(gives_up, "away", short)),
        ("b.yaml", &fail_sink(waits, "away", "errors.retry.delay.max.ms: 400")),
    ]);
    failed(&worker, gives_up, &["given up after 1500 ms (errors.retry.timeout): nobody answers"]);
    assert!(error_metric(&worker, gives_up, "total_retries") >= 2);
    wait_until(SOON, "the other one goes on trying", || {
        (error_metric(&worker, waits, "total_retries") > 8).then_some(())
    });
    let task = &worker.wait_state(waits, "RUNNING", SOON)[0];
    assert!(task.reason.contains("trying again: nobody answers"), "{}", task.reason);
    assert_eq!(kafka.committed(&format!("connect-{gives_up}"), gives_up).get(&0), None);
}

/// A transform's retries over, each record is tried alone, and only what fails then is refused.
#[test]
fn a_transform_that_goes_on_failing_has_its_records_refused() {
    let (kafka, id) = (services().kafka, unique("flaky"));
    kafka.create_topic(&id, 1);
    kafka.produce((0..3).map(|_| Record::new(&id, SECRET)));
    // The batch fails at once; then the first two records alone; the third is the fourth attempt.
    let yaml = connector(
        &id,
        &format!(
            "connector.class: file-sink
            file: out
            topics: {id}
            value.converter: StringConverter
            transforms: [{{name: flaky, type: flaky-smt, times: 3}}]
            errors.tolerance: all
            errors.deadletterqueue.topic.name: {id}-dead
            errors.deadletterqueue.topic.replication.factor: 1
            errors.deadletterqueue.context.headers.enable: true"
        ),
    );
    let worker = start(&[("a.yaml", &yaml)]);
    wait_dealt(&worker, &id, 3);
    assert_eq!(worker.metrics().records(&id), [3, 1, 0, 2]);
    let letters = kafka.read(&format!("{id}-dead"));
    let class = |l: &Record| header(l, "__connect.errors.exception.class.name");
    assert_eq!(letters.len(), 2);
    assert!(letters.iter().all(|letter| {
        class(letter).as_deref() == Some("org.apache.kafka.connect.errors.RetriableException")
            && header(letter, "__connect.errors.class.name").as_deref() == Some("harness.FlakySmt")
    }));
}
