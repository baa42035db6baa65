//! A former worker that comes back is refused.

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::*;

/// Which tasks of a worker have failed, with their reasons.
fn failed(worker: &Sidestream) -> Vec<String> {
    worker.tasks().into_iter().filter(|task| task.state == "FAILED").map(|task| task.reason).collect()
}

#[test]
fn a_worker_that_slept_in_the_middle_of_a_transaction_is_fenced_stays_failed_and_doubles_nothing() {
    let mut table = Table::new("zombie");
    let yaml = table.yaml("enabled", "");
    table.insert(100);
    // It has written the fifth transaction, and is about to commit it.
    let former = Sidestream::spawn(
        &[("a.yaml", &yaml)],
        &[("FAILPOINTS", "source.delivered=4*off->1*sleep(2000)->off")],
    );
    wait_until(SOON, "the former worker is held", || former.is_held().then_some(()));
    former.signal("STOP");
    assert_eq!(table.written(), (1..=40).collect::<Vec<_>>(), "what is not committed is not seen");

    let mut next = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    assert_eq!(table.wait_written(), table.all());
    former.signal("CONT");
    let tasks = former.wait_state(&table.id, "FAILED", SOON);
    assert!(tasks[0].reason.contains("fenced"), "{}", tasks[0].reason);

    // The next one is not disturbed, and the former one leaves it at that.
    for _ in 0..3 {
        table.insert(50);
        assert_eq!(table.wait_written(), table.all());
        assert_eq!(failed(&former).len(), 1, "{}", former.log());
    }
    assert_eq!(next.tasks()[0].state, "RUNNING", "{}", next.log());
    stop(&mut next);
}

#[test]
fn tasks_that_the_new_configuration_no_longer_has_are_fenced_too() {
    let mut table = Table::new("fewer");
    table.insert(50);
    table.database.run("CREATE TABLE more (id BIGINT PRIMARY KEY, what VARCHAR(40))");
    table.database.run("INSERT INTO more VALUES (1, 'one'), (2, 'two')");
    let yaml = |tasks: u32| {
        let id = &table.id;
        let keys = format!("    tasks.max: {tasks}\n");
        let yaml = table.yaml("enabled", &keys).replace("whitelist: events", "whitelist: 'events, more'");
        yaml.replace("topics:\n", &format!("topics:\n  {id}.more: {{partitions: 1}}\n"))
    };
    let more = format!("{}.more", table.id);
    let former = Sidestream::start(&[("a.yaml", &yaml(2))], &[]);
    table.wait_written();
    wait_until(SOON, "the second table is there", || (table.kafka.read(&more).len() == 2).then_some(()));
    assert_eq!(former.tasks().len(), 2);
    former.signal("STOP");

    let mut next = Sidestream::start(&[("a.yaml", &yaml(1))], &[]);
    table.database.run("INSERT INTO more VALUES (3, 'three')");
    table.insert(50);
    table.wait_written();
    wait_until(SOON, "the third row is there", || (table.kafka.read(&more).len() == 3).then_some(()));
    former.signal("CONT");
    // Both of its tasks find rows that they have not read, and may not write them.
    wait_until(SOON, "both tasks are fenced", || {
        let failed = failed(&former);
        assert!(failed.iter().all(|reason| reason.contains("fenced")), "{failed:?}");
        (failed.len() == 2).then_some(())
    });
    assert_eq!(table.written(), table.all());
    assert_eq!(table.kafka.read(&more).len(), 3);
    stop(&mut next);
}

#[test]
fn positions_behind_the_open_transaction_of_somebody_else_are_waited_for() {
    let mut table = Table::new("neighbour");
    let yaml =
        table.yaml("enabled", "").replace("offset.storage.partitions: 3", "offset.storage.partitions: 1");
    table.insert(20);
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    table.wait_written();

    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &table.kafka.brokers).set("transactional.id", unique("neighbour"));
    let neighbour: BaseProducer = config.create().unwrap();
    neighbour.init_transactions(SOON).unwrap();
    neighbour.begin_transaction().unwrap();
    let offsets = format!("{}-offsets", table.id);
    neighbour
        .send(BaseRecord::to(&offsets).key(r#"["other",{}]"#).payload("{}"))
        .map_err(|(e, _)| e)
        .unwrap();
    neighbour.flush(SOON).unwrap();

    // These positions come after the neighbour's record, and are committed before it.
    table.insert(20);
    assert_eq!(table.wait_written(), table.all());
    stop(&mut worker);
    let mut worker = worker.restart(&[]);
    table.insert(20);
    // Time enough for one that would not wait.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(table.written().len(), 40, "nothing is read before it is known where to go on");
    neighbour.commit_transaction(SOON).unwrap();
    assert_eq!(table.wait_written(), table.all());
    stop(&mut worker);
    assert_eq!(table.written(), table.all());
}
