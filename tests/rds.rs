//! `rds-source` against a real MariaDB and a real PostgreSQL: types, exact positions, bad input.

use std::sync::Arc;
use std::time::Duration;

use connector_core::arrow::array::{Array, AsArray};
use connector_core::envelope::{Envelope, VALUE};
use connector_core::json::{DecimalFormat, Encoder};
use connector_core::source::TaskConfig;
use connector_core::testing::{self, SourceCase};
use connector_core::{
    Acks, ConfigMap, ConnectError, NoTopics, PollBudget, Position, Source, SourceBatch, SourceContext,
    TaskInfo,
};
use serde_json::{Value, json};
use source_rds::{Address, Database};
use url::Url;

const BUDGET: PollBudget = PollBudget { max_records: 100_000, max_bytes: 1 << 30 };

/// A database of a test's own.
struct Place {
    url: Url,
    postgres: bool,
}

impl Place {
    async fn mysql(name: &str) -> Self {
        Self::new("SIDESTREAM_TEST_MYSQL", name, false).await
    }

    async fn postgres(name: &str) -> Self {
        Self::new("SIDESTREAM_TEST_POSTGRES", name, true).await
    }

    async fn new(variable: &str, name: &str, postgres: bool) -> Self {
        let url = std::env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: this test needs a real database. Run it through tests/services/with-services.sh")
        });
        let mut url = Url::parse(&url).unwrap();
        let name = format!("rds_{name}_{}", std::process::id());
        let mut server = connect(url.as_str()).await;
        server.execute(&format!("DROP DATABASE IF EXISTS {name}")).await.unwrap();
        let charset = if postgres { "" } else { " CHARACTER SET utf8mb4" };
        server.execute(&format!("CREATE DATABASE {name}{charset}")).await.unwrap();
        url.set_path(&name);
        Self { url, postgres }
    }

    fn database(&self) -> &str {
        self.url.path().trim_start_matches('/')
    }

    /// Connect's name of a table.
    fn full(&self, table: &str) -> String {
        let schema = if self.postgres { "public." } else { "" };
        format!("{}.{schema}{table}", self.database())
    }

    async fn run(&self, statements: &[&str]) {
        let mut database = connect(self.url.as_str()).await;
        for sql in statements {
            database.execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
    }

    fn config(&self, pairs: &[(&str, &str)]) -> ConfigMap {
        let mut config = testing::config(&[
            ("connection.url", self.url.as_str()),
            ("connection.attempts", "1"),
            ("mode", "incrementing"),
            ("topic.prefix", "t."),
            ("poll.interval.ms", "50"),
        ]);
        config.extend(testing::config(pairs));
        config
    }

    async fn drop(self) {
        let name = self.database().to_owned();
        let mut url = self.url.clone();
        url.set_path(if self.postgres { "postgres" } else { "mysql" });
        // The last readers' connections may still be on their way out.
        let force = if self.postgres { " WITH (FORCE)" } else { "" };
        connect(url.as_str()).await.execute(&format!("DROP DATABASE {name}{force}")).await.unwrap();
    }
}

async fn connect(url: &str) -> Box<dyn Database> {
    let address = Address::parse(url, None, None).unwrap();
    source_rds::connect(&address, "UTC", 1, Duration::ZERO).await.unwrap_or_else(|e| panic!("{e}"))
}

fn create(config: &ConfigMap) -> Arc<dyn Source> {
    let component = source_rds::component();
    let config = component.check(config).unwrap();
    component.create_source(&config, &TaskInfo { connector: "test".into(), ..TaskInfo::default() }).unwrap()
}

async fn open(
    config: &ConfigMap,
    task: Option<TaskConfig>,
    positions: Vec<Position>,
) -> Result<Arc<dyn Source>, ConnectError> {
    let source = create(config);
    let task = match task {
        Some(task) => task,
        None => source.plan(1).await?.remove(0),
    };
    source.open(SourceContext { task, positions, topics: Arc::new(NoTopics) }).await?;
    Ok(source)
}

/// Topic, key and value of each record, the value as it goes onto the wire.
fn texts(batch: &SourceBatch) -> Vec<(String, Option<String>, String)> {
    let mut all = Vec::new();
    for run in &batch.runs {
        let envelope = Envelope::of(&run.records).unwrap();
        let schema = run.records.schema();
        let field = Arc::new(schema.field_with_name(VALUE).unwrap().clone());
        let mut encoder = Encoder::new(&field, envelope.value(), DecimalFormat::Numeric).unwrap();
        for row in 0..run.records.num_rows() {
            let mut text = Vec::new();
            encoder.encode(row, &mut text);
            let key = envelope.key().map(|k| k.as_string::<i32>().value(row).to_owned());
            all.push((run.topic.as_deref().unwrap().to_owned(), key, String::from_utf8(text).unwrap()));
        }
    }
    all
}

/// Values of all records until the source ends; `rds.once` must be set.
async fn read(config: &ConfigMap) -> Result<Vec<String>, ConnectError> {
    let source = open(config, None, Vec::new()).await?;
    let mut values = Vec::new();
    while let Some(batch) = source.poll(BUDGET).await? {
        values.extend(texts(&batch).into_iter().map(|(_, _, value)| value));
    }
    source.close().await?;
    Ok(values)
}

async fn refused(config: &ConfigMap) -> ConnectError {
    let error = read(config).await.expect_err("this must fail");
    assert!(!error.hint.is_empty(), "no hint: {error}");
    let password =
        config.get("connection.url").and_then(|u| Url::parse(u).ok()?.password().map(str::to_owned));
    if let Some(password) = password {
        assert!(!format!("{error} {error:?}").contains(&password), "a password shows: {error:?}");
    }
    error
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn every_type_of_mysql_becomes_what_the_table_of_types_says() {
    let place = Place::mysql("types").await;
    place
        .run(&[
            "CREATE TABLE a (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, ti TINYINT, tb BOOLEAN, tu TINYINT UNSIGNED, \
             si SMALLINT, su SMALLINT UNSIGNED, mi MEDIUMINT, mu MEDIUMINT UNSIGNED, i INT, bi BIGINT, \
             bu BIGINT UNSIGNED, b1 BIT(1), b9 BIT(9), f FLOAT, d DOUBLE, de DECIMAL(10,2), dl DECIMAL(65,30), \
             da DATE, dt DATETIME, d6 DATETIME(6), ts TIMESTAMP NULL, t TIME, t3 TIME(3), y YEAR, c CHAR(3), \
             v VARCHAR(20), tx TEXT, mt MEDIUMTEXT, bin BINARY(2), vb VARBINARY(4), bl BLOB, e ENUM('x','y'), \
             s SET('p','q'), j JSON, uu UUID, i6 INET6)",
            "SET time_zone = '+00:00'",
            "INSERT INTO a VALUES (1, -128, TRUE, 255, -32768, 65535, -8388608, 16777215, -2147483648, \
             -9223372036854775808, 18446744073709551615, b'1', b'100000001', -89.9787, 0.1, -12345678.90, \
             12345678901234567890123456789012345.123456789012345678901234567890, '2020-08-28', \
             '2020-08-28 03:52:47', '2020-08-28 03:52:47.123456', '2020-08-28 03:52:47', '23:59:59', '01:02:03.004', \
             2020, 'abc', 'né 🪴', 'two\nlines \"q\" \\\\', '', x'00ff', x'01', x'', 'y', 'p,q', '{\"b\": 1, \"a\": 2}', \
             '123e4567-e89b-12d3-a456-426614174000', '::1')",
            "INSERT INTO a (id) VALUES (2)",
        ])
        .await;
    let values = read(&place.config(&[("rds.once", "true")])).await.unwrap();
    let wanted = concat!(
        r#"{"id":1,"ti":-128,"tb":1,"tu":255,"si":-32768,"su":65535,"mi":-8388608,"mu":16777215,"i":-2147483648,"#,
        r#""bi":-9223372036854775808,"bu":18446744073709551615,"b1":1,"b9":257,"f":-89.9787,"d":0.1,"#,
        r#""de":-12345678.90,"dl":12345678901234567890123456789012345.123456789012345678901234567890,"#,
        r#""da":"2020-08-28","dt":"2020-08-28T03:52:47","d6":"2020-08-28T03:52:47.123456","ts":"2020-08-28T03:52:47","#,
        r#""t":"23:59:59","t3":"01:02:03.004","y":2020,"c":"abc","v":"né 🪴","tx":"two\nlines \"q\" \\","mt":"","#,
        r#""bin":"AP8=","vb":"AQ==","bl":"","e":"y","s":"p,q","j":"{\"b\": 1, \"a\": 2}","#,
        r#""uu":"123e4567-e89b-12d3-a456-426614174000","i6":"::1"}"#
    );
    assert_eq!(values[0], wanted);
    let empty = parse(&values[1]);
    assert!(
        empty.as_object().unwrap().iter().all(|(name, value)| name == "id" || value.is_null()),
        "{empty}"
    );
    place.drop().await;
}

#[tokio::test]
async fn every_type_of_postgres_becomes_what_the_table_of_types_says() {
    let place = Place::postgres("types").await;
    place
        .run(&[
            "CREATE TYPE mood AS ENUM ('ok', 'so so')",
            "CREATE DOMAIN age AS smallint CHECK (value > 0)",
            "CREATE TABLE a (id bigserial PRIMARY KEY, b boolean, s smallint, i integer, o oid, r real, d double precision, \
             n numeric(10,2), nl numeric(60,20), nu numeric, m money, t text, v varchar(9), c char(3), na name, \
             by bytea, da date, ti time, tz timetz, ts timestamp, tt timestamptz, iv interval, u uuid, j json, jb jsonb, \
             x xml, bt bit(3), vb varbit, ip inet, ci cidr, ma macaddr, mo mood, ag age, ra int4range, pt point, \
             tv tsvector, ai integer[], an numeric[], at text[], ats timestamp[], au uuid[], \"Odd \"\"name\" text)",
            "INSERT INTO a VALUES (1, true, -32768, -2147483648, 4294967295, -89.9787, 0.1, -12345678.90, \
             1234567890123456789012345678901234567890.01234567890123456789, 12.3400, '12.34', 'né 🪴', 'v', 'c', 'n', \
             '\\x00ff', '2020-08-28', '03:52:47.5', '03:52:47+02', '2020-08-28 03:52:47', '2020-08-28 03:52:47+02', \
             '1 day 2 hours', '123e4567-e89b-12d3-a456-426614174000', '{\"b\": 1}', '{\"b\":1, \"a\":2}', '<a/>', '101', \
             '10', '10.0.0.1', '10.0.0.0/8', '08:00:2b:01:02:03', 'so so', 7, '[1,5)', '(1,2)', 'cat', '{1,NULL,3}', \
             '{1.50}', '{\"a,b\",NULL}', '{2020-08-28 03:52:47}', '{123e4567-e89b-12d3-a456-426614174000}', 'odd')",
            "INSERT INTO a (id) VALUES (2)",
        ])
        .await;
    let values = read(&place.config(&[("rds.once", "true")])).await.unwrap();
    let wanted = concat!(
        r#"{"id":1,"b":true,"s":-32768,"i":-2147483648,"o":4294967295,"r":-89.9787,"d":0.1,"n":-12345678.90,"#,
        r#""nl":1234567890123456789012345678901234567890.01234567890123456789,"nu":"12.3400","m":12.34,"#,
        r#""t":"né 🪴","v":"v","c":"c  ","na":"n","by":"AP8=","da":"2020-08-28","ti":"03:52:47.500","tz":"03:52:47+02","#,
        r#""ts":"2020-08-28T03:52:47","tt":"2020-08-28T01:52:47Z","iv":"P1DT2H","#,
        r#""u":"123e4567-e89b-12d3-a456-426614174000","j":"{\"b\": 1}","jb":"{\"a\": 2, \"b\": 1}","x":"<a/>","#,
        r#""bt":"101","vb":"10","ip":"10.0.0.1/32","ci":"10.0.0.0/8","ma":"08:00:2b:01:02:03","mo":"so so","ag":7,"#,
        r#""ra":"[1,5)","pt":"(1,2)","tv":"'cat'","ai":[1,null,3],"an":["1.50"],"at":["a,b",null],"#,
        r#""ats":["2020-08-28T03:52:47"],"au":["123e4567-e89b-12d3-a456-426614174000"],"Odd \"name":"odd"}"#
    );
    assert_eq!(values[0], wanted);
    let empty = parse(&values[1]);
    assert!(
        empty.as_object().unwrap().iter().all(|(name, value)| name == "id" || value.is_null()),
        "{empty}"
    );
    place.drop().await;
}

#[tokio::test]
async fn connects_logical_types_are_epoch_numbers() {
    for place in [Place::mysql("logical").await, Place::postgres("logical").await] {
        place
            .run(&[
                "CREATE TABLE a (id INT PRIMARY KEY, d DATE, t TIME, ts TIMESTAMP NULL)",
                "INSERT INTO a VALUES (1, '2020-08-28', '00:00:01', '2020-08-28 03:52:47')",
            ])
            .await;
        let logical = [("rds.once", "true"), ("timestamp.granularity", "connect_logical")];
        let values = read(&place.config(&logical)).await.unwrap();
        assert_eq!(values, [r#"{"id":1,"d":18502,"t":1000,"ts":1598586767000}"#]);
        place.drop().await;
    }
}

async fn fill(place: &Place, table: &str, from: u64, rows: u64) {
    let values: Vec<_> = (from..from + rows).map(|n| format!("({n}, 'row {n}')")).collect();
    place.run(&[&format!("INSERT INTO {table} VALUES {}", values.join(", "))]).await;
}

/// Ids of a value `{"id":…}`.
fn id(value: &str) -> u64 {
    parse(value)["id"].as_u64().unwrap()
}

#[tokio::test]
async fn ten_thousand_rows_come_exactly_once_across_restarts() {
    for place in [Place::mysql("restarts").await, Place::postgres("restarts").await] {
        place
            .run(&[
                "CREATE TABLE a (id BIGINT PRIMARY KEY, t TEXT)",
                "CREATE TABLE b (id BIGINT PRIMARY KEY, t TEXT)",
            ])
            .await;
        fill(&place, "a", 1, 5_000).await;
        fill(&place, "b", 1, 2_500).await;
        let config = place.config(&[("key.column", "id"), ("topic.mapping.b", "other")]);
        let (mut positions, mut seen): (Vec<Position>, Vec<(String, u64)>) = (Vec::new(), Vec::new());
        let mut instances = 0;
        while seen.len() < 10_000 {
            instances += 1;
            let source = open(&config, None, positions.clone()).await.unwrap();
            for polls in 0..7 {
                // Sizes that fit no page.
                let budget = PollBudget { max_records: 333, max_bytes: 1 << 20 };
                let batch = source.poll(budget).await.unwrap().unwrap();
                let records = texts(&batch);
                assert!(records.len() <= 333);
                if polls == 6 {
                    break; // Read, never committed.
                }
                source
                    .commit(&batch.offset, &Acks { delivered: records.len(), rows: Vec::new() })
                    .await
                    .unwrap();
                for (topic, key, value) in records {
                    assert_eq!(key, Some(id(&value).to_string()));
                    seen.push((topic, id(&value)));
                }
                for position in batch.offset.positions {
                    positions.retain(|p| p.partition != position.partition);
                    positions.push(position);
                }
                if seen.len() == 7_500 {
                    // Rows that come while the source waits.
                    fill(&place, "a", 5_001, 2_000).await;
                    fill(&place, "b", 2_501, 500).await;
                }
                if seen.len() == 10_000 {
                    break;
                }
            }
            source.close().await.unwrap();
        }
        assert!(instances > 4, "{instances} instances are no restarts");
        seen.sort();
        let mut wanted: Vec<_> = (1..=7_000).map(|n| ("t.a".to_owned(), n)).collect();
        wanted.extend((1..=3_000).map(|n| ("other".to_owned(), n)));
        wanted.sort();
        assert_eq!(seen, wanted);
        let mut stored: Vec<_> = positions.iter().map(|p| (json!(p.partition), json!(p.offset))).collect();
        stored.sort_by_key(|(partition, _)| partition.to_string());
        assert_eq!(
            stored,
            [
                (json!({"protocol": "1", "table": place.full("a")}), json!({"incrementing": 7000})),
                (json!({"protocol": "1", "table": place.full("b")}), json!({"incrementing": 3000})),
            ]
        );
        place.drop().await;
    }
}

#[tokio::test]
async fn the_conformance_suite_passes() {
    for place in [Place::mysql("conformance").await, Place::postgres("conformance").await] {
        place
            .run(&[
                "CREATE TABLE a (id BIGINT PRIMARY KEY, t TEXT)",
                "CREATE TABLE b (id BIGINT PRIMARY KEY, t TEXT)",
            ])
            .await;
        fill(&place, "a", 1, 40).await;
        fill(&place, "b", 1, 20).await;
        for mode in ["incrementing", "bulk"] {
            let config = place.config(&[("mode", mode), ("batch.max.rows", "7")]);
            testing::source::run_both(&SourceCase::new(source_rds::component(), config, 60)).await;
        }
        place.drop().await;
    }
}

#[tokio::test]
async fn bulk_mode_reads_the_table_again_at_each_poll() {
    let place = Place::mysql("bulk").await;
    place.run(&["CREATE TABLE a (t VARCHAR(9))", "INSERT INTO a VALUES ('x'), ('y')"]).await;
    let config = place.config(&[("mode", "bulk")]);
    let source = open(&config, None, Vec::new()).await.unwrap();
    for _ in 0..3 {
        let batch = source.poll(BUDGET).await.unwrap().unwrap();
        assert_eq!(texts(&batch).len(), 2);
        assert!(batch.offset.positions.is_empty());
    }
    source.close().await.unwrap();
    assert_eq!(read(&place.config(&[("mode", "bulk"), ("rds.once", "true")])).await.unwrap().len(), 2);
    place.drop().await;
}

#[tokio::test]
async fn pages_bound_what_is_in_memory() {
    for place in [Place::mysql("pages").await, Place::postgres("pages").await] {
        let wide = format!("INSERT INTO a SELECT 100 + n.id, REPEAT('w', 100000) FROM {} n", "numbers");
        place
            .run(&[
                "CREATE TABLE a (id BIGINT PRIMARY KEY, t TEXT)",
                "CREATE TABLE numbers (id BIGINT PRIMARY KEY, t TEXT)",
            ])
            .await;
        fill(&place, "numbers", 1, 200).await;
        let text = if place.postgres { "TEXT" } else { "MEDIUMTEXT" };
        let alter =
            if place.postgres { "SELECT 1".to_owned() } else { format!("ALTER TABLE a MODIFY t {text}") };
        place.run(&[&alter, &wide]).await;
        for mode in ["bulk", "incrementing"] {
            let pairs = [("mode", mode), ("table.whitelist", "a"), ("rds.once", "true")];
            let source = open(&place.config(&pairs), None, Vec::new()).await.unwrap();
            let (mut rows, mut largest) = (0, 0);
            while let Some(batch) = source.poll(BUDGET).await.unwrap() {
                let count: usize = batch.runs.iter().map(|r| r.records.num_rows()).sum();
                (rows, largest) = (rows + count, largest.max(count));
            }
            // 20 MB in all, of which no page has more than 1 MiB and a row.
            assert_eq!(rows, 200);
            assert!(largest <= 11, "a page of {largest} rows of 100 kB");
            source.close().await.unwrap();
        }
        place.drop().await;
    }
}

#[tokio::test]
async fn a_lost_connection_is_retriable_and_loses_nothing() {
    let place = Place::postgres("lost").await;
    place.run(&["CREATE TABLE a (id BIGINT PRIMARY KEY, t TEXT)"]).await;
    fill(&place, "a", 1, 10).await;
    let source = open(&place.config(&[("poll.interval.ms", "10")]), None, Vec::new()).await.unwrap();
    let first = source.poll(BUDGET).await.unwrap().unwrap();
    assert_eq!(texts(&first).len(), 10);
    let kill = "DO $$ BEGIN PERFORM pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE datname = current_database() AND pid <> pg_backend_pid(); END $$";
    place.run(&[kill]).await;
    fill(&place, "a", 11, 5).await;
    let second = loop {
        match source.poll(BUDGET).await {
            Ok(batch) => break batch.unwrap(),
            Err(error) => assert!(error.is_retriable(), "{error}"),
        }
    };
    let ids: Vec<_> = texts(&second).iter().map(|(_, _, value)| id(value)).collect();
    assert_eq!(ids, [11, 12, 13, 14, 15]);
    source.close().await.unwrap();
    place.drop().await;
}

#[tokio::test]
async fn what_is_wrong_with_the_connection_is_said() {
    for place in [Place::mysql("wrong").await, Place::postgres("wrong").await] {
        let with = |change: &dyn Fn(&mut Url)| {
            let mut url = place.url.clone();
            change(&mut url);
            let mut config = place.config(&[("rds.once", "true")]);
            config.insert("connection.url".to_owned(), url.into());
            config
        };
        let error = refused(&with(&|url| url.set_password(Some("not-it")).unwrap())).await;
        assert_eq!((error.code.as_str(), error.is_retriable()), ("rds.login", false), "{error}");

        let error = refused(&with(&|url| url.set_path("no_such_database"))).await;
        assert_eq!((error.code.as_str(), error.is_retriable()), ("rds.no_database", false), "{error}");
        assert!(error.message.contains("no_such_database"), "{error}");

        let error = refused(&with(&|url| url.set_port(Some(1)).unwrap())).await;
        assert_eq!((error.code.as_str(), error.is_retriable()), ("rds.unreachable", true), "{error}");
        assert!(error.message.contains(":1/"), "{error}");

        // Neither test server has TLS.
        let error = refused(&with(&|url| url.set_query(Some("sslmode=require")))).await;
        assert_eq!((error.code.as_str(), error.is_retriable()), ("rds.tls", false), "{error}");
        place.drop().await;
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_table_is_said() {
    let place = Place::mysql("tables").await;
    let once = |pairs: &[(&str, &str)]| {
        let mut config = place.config(pairs);
        config.insert("rds.once".to_owned(), "true".to_owned());
        config
    };
    let error = refused(&once(&[])).await;
    assert_eq!(error.code, "rds.no_table", "{error}");
    place
        .run(&[
            "CREATE TABLE orders (id BIGINT PRIMARY KEY, spot POINT)",
            "CREATE TABLE plain (t VARCHAR(9))",
            "CREATE TABLE loose (id BIGINT NULL, t VARCHAR(9))",
            "INSERT INTO loose VALUES (1, 'a'), (NULL, 'b')",
            "CREATE TABLE dates (id BIGINT PRIMARY KEY, d DATE)",
            "SET sql_mode = ''",
            "INSERT INTO dates VALUES (1, '2020-01-01'), (2, '0000-00-00')",
        ])
        .await;

    let error = refused(&once(&[("table.whitelist", "orderz")])).await;
    assert_eq!(error.code, "rds.table_missing", "{error}");
    assert!(error.message.contains("`orderz`") && error.hint.contains("`orders`"), "{error}");

    let error = refused(&once(&[("table.whitelist", "orders")])).await;
    assert_eq!(error.code, "rds.unmapped_type", "{error}");
    assert!(error.message.contains("`spot`") && error.message.contains("point"), "{error}");
    assert!(
        error.message.contains(&place.full("orders")) && error.hint.contains("column.exclude.list"),
        "{error}"
    );
    let left_out = [("table.whitelist", "orders"), ("column.exclude.list", "orders\\.spot")];
    assert!(read(&once(&left_out)).await.unwrap().is_empty());

    let error = refused(&once(&[("table.whitelist", "plain")])).await;
    assert_eq!(error.code, "rds.incrementing_column", "{error}");
    assert!(error.hint.contains("mode: bulk"), "{error}");

    let nullable = [("table.whitelist", "loose"), ("incrementing.column.name", "id")];
    assert!(refused(&once(&nullable)).await.message.contains("may be NULL"));
    let unchecked = [nullable[0], nullable[1], ("validate.non.null", "false")];
    assert_eq!(refused(&once(&unchecked)).await.code, "rds.incrementing_null");

    let error = refused(&once(&[("table.whitelist", "dates")])).await;
    assert!(error.message.contains("`d`") && error.message.contains("row 2"), "{error}");
    assert!(error.message.contains("zero date") && error.hint.contains("CONVERT_TO_NULL"), "{error}");
    let mut forgiving = once(&[("table.whitelist", "dates")]);
    let mut url = place.url.clone();
    url.set_query(Some("zeroDateTimeBehavior=CONVERT_TO_NULL"));
    forgiving.insert("connection.url".to_owned(), url.into());
    assert_eq!(read(&forgiving).await.unwrap()[1], r#"{"id":2,"d":null}"#);
    place.drop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_postgres_table_is_said() {
    let place = Place::postgres("tables").await;
    place
        .run(&[
            "CREATE TYPE address AS (street text, zip text)",
            "CREATE TABLE people (id integer PRIMARY KEY, home address)",
            "CREATE TABLE times (id integer PRIMARY KEY, ends timestamp)",
            "INSERT INTO times VALUES (1, 'infinity')",
            "CREATE VIEW grown AS SELECT id FROM people",
        ])
        .await;
    let once = |table: &str| place.config(&[("table.whitelist", table), ("rds.once", "true")]);
    let error = refused(&once("people")).await;
    assert!(error.message.contains("`home`: the type address"), "{error}");
    let error = refused(&once("times")).await;
    assert!(error.message.contains("`ends`") && error.message.contains("infinite"), "{error}");
    let error = refused(&once("grown")).await;
    assert!(error.hint.contains("table.types"), "{error}");
    place.drop().await;
}

/// The wire text of the pipeline's own tables, filled by `sidestream datagen`.
#[tokio::test]
async fn datagens_rows_come_back_as_they_were_made() {
    for place in [Place::mysql("datagen").await, Place::postgres("datagen").await] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sidestream"));
        command.args([
            "datagen",
            "--rows",
            "1200",
            "--seed",
            "7",
            "--output",
            "json",
            "--into",
            place.url.as_str(),
        ]);
        for _ in 0..2 {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(
                summary["rows"],
                json!({"pinterest_data": 1200, "geolocation_data": 1200, "user_data": 1200})
            );
        }
        for table in source_datagen::Table::ALL {
            let made = source_datagen::columns(table, 7, 0..1200).unwrap();
            let field = Arc::new(connector_core::arrow::datatypes::Field::new(
                "value",
                made.data_type().clone(),
                false,
            ));
            let mut encoder = Encoder::new(&field, &made, DecimalFormat::Numeric).unwrap();
            let wanted: Vec<_> = (0..made.len())
                .map(|row| {
                    let mut text = Vec::new();
                    encoder.encode(row, &mut text);
                    String::from_utf8(text).unwrap()
                })
                .collect();
            let config = place.config(&[("table.whitelist", table.sql_name()), ("rds.once", "true")]);
            assert_eq!(read(&config).await.unwrap(), wanted);
        }
        place.drop().await;
    }
}
