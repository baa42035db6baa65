//! Databases and tables that cannot be read.

use serde_json::Value;

use crate::support::forward::Forward;
use crate::support::{Database, Kafka, Services, Sidestream, services, unique, wait_until};
use crate::{SECRET, SOON, failed, keeps_secrets, logged};

/// A connector that reads the tables of one database.
fn reader(id: &str, url: &str, more: &str) -> String {
    format!(
        "topics: {{{id}.orders: {{}}}}
connectors:
  {id}:
    connector.class: rds-source
    connection.url: {url}
    mode: incrementing
    topic.prefix: {id}.
    poll.interval.ms: 50
    connection.attempts: 2
    connection.backoff.ms: 100
{more}"
    )
}

fn orders(url: &str) -> Database {
    let database = Database::create(url);
    database.run("CREATE TABLE orders (id BIGINT PRIMARY KEY, what VARCHAR(40))");
    database.run(&format!("INSERT INTO orders VALUES (1, '{SECRET}'), (2, '{SECRET}')"));
    database
}

#[track_caller]
fn wait_orders(kafka: &Kafka, id: &str, ids: &[i64]) {
    let topic = format!("{id}.orders");
    wait_until(SOON, "the rows are in the topic", || {
        (kafka.ends(&topic)[&0] >= ids.len() as i64).then_some(())
    });
    let found: Vec<_> = kafka
        .read(&topic)
        .into_iter()
        .map(|record| {
            serde_json::from_slice::<Value>(&record.value.unwrap()).unwrap()["id"].as_i64().unwrap()
        })
        .collect();
    assert_eq!(found, ids);
}

#[test]
fn a_database_that_is_down_is_waited_for_and_named() {
    let Services { kafka, mysql, postgres, .. } = services();
    for (server, kind) in [(mysql, "mysql"), (postgres, "postgres")] {
        let (id, database) = (unique(&format!("down-{kind}")), orders(&server));
        let forward = Forward::closed(database.address());
        let yaml = reader(&id, &database.url_at(&forward.address), "");
        let worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
        logged(&worker, "WARN", &["trying again", &forward.address, "connection.url"]);
        let task = wait_until(SOON, "the task says what it waits for", || {
            Some(worker.tasks().remove(0)).filter(|task| task.reason.contains(&forward.address))
        });
        assert_ne!(task.state, "FAILED", "{task:?}");
        forward.open();
        wait_orders(&kafka, &id, &[1, 2]);
        worker.wait_state(&id, "RUNNING", SOON);
        keeps_secrets(&worker);
    }
}

#[test]
fn a_wrong_password_is_refused_by_name_and_never_shown() {
    let Services { kafka, mysql, postgres, .. } = services();
    for (server, kind) in [(mysql, "mysql"), (postgres, "postgres")] {
        let (id, database) = (unique(&format!("password-{kind}")), orders(&server));
        let yaml = reader(&id, &database.url_with_password(&format!("{SECRET}-wrong")), "");
        let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
        failed(&worker, &id, &[database.address(), "check connection.user and connection.password"]);
        assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

        worker.rewrite("a.yaml", &reader(&id, &database.url, ""));
        let worker = worker.restart(&[]);
        wait_orders(&kafka, &id, &[1, 2]);
        keeps_secrets(&worker);
    }
}

#[test]
fn a_table_that_is_missing_is_named_with_the_one_that_was_meant() {
    let Services { kafka, mysql, .. } = services();
    let (id, database) = (unique("table"), orders(&mysql));
    let yaml = reader(&id, &database.url, "    table.whitelist: order\n");
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    let parts = [database.name.as_str(), "table.whitelist names `order`", "did you mean `orders`?"];
    failed(&worker, &id, &parts);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    worker.rewrite("a.yaml", &reader(&id, &database.url, "    table.whitelist: orders\n"));
    let worker = worker.restart(&[]);
    wait_orders(&kafka, &id, &[1, 2]);
    keeps_secrets(&worker);
}

#[test]
fn a_type_without_a_mapping_is_named_with_table_and_column() {
    let Services { kafka, mysql, .. } = services();
    let (id, database) = (unique("type"), orders(&mysql));
    database.run("ALTER TABLE orders ADD COLUMN place POINT");
    let mut worker = Sidestream::start(&[("a.yaml", &reader(&id, &database.url, ""))], &[]);
    let table = format!("{}.orders", database.name);
    failed(&worker, &id, &[&table, "column `place`", "point", "column.exclude.list: orders.place"]);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    // What the message says to do.
    worker.rewrite("a.yaml", &reader(&id, &database.url, "    column.exclude.list: orders.place\n"));
    let worker = worker.restart(&[]);
    wait_orders(&kafka, &id, &[1, 2]);
    keeps_secrets(&worker);
}
