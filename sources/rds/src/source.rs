//! The source: plans tables over tasks, hands pages on as batches, remembers how far each table was read.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, StructArray};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use chrono_tz::Tz;
use connector_core::envelope::EnvelopeBuilder;
use connector_core::source::TaskConfig;
use connector_core::{
    Acks, ConfigProblem, ConnectError, Form, Plugin, PollBudget, Position, Result, Run, Source, SourceBatch,
    SourceContext, SourceOffset, TaskInfo,
};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use crate::address::Address;
use crate::config::{Config, Mode};
use crate::database::{Database, connect};
use crate::layout::Layout;
use crate::pages::{Event, Page, position};
use crate::reader::{Reader, Work};
use crate::sql::Quoting;
use crate::tables::{self, Filter, TableId};

/// Name of the incrementing value in a source offset.
const INCREMENTING: &str = "incrementing";

/// What is decided when the connector is configured.
pub struct Settings {
    pub config: Config,
    address: Address,
    filter: Filter,
    zone: Tz,
}

impl Settings {
    pub async fn connect(&self) -> Result<Box<dyn Database>> {
        let backoff = Duration::from_millis(self.config.connection_backoff_ms);
        connect(&self.address, self.zone.name(), self.config.connection_attempts, backoff).await
    }

    pub async fn layout(&self, table: &TableId, database: &mut dyn Database) -> Result<Layout> {
        let columns = database.columns(table).await?;
        Layout::new(&self.config, &self.filter, self.zone, table, columns).map_err(|e| e.at(&self.address))
    }

    pub fn quoting(&self) -> Quoting {
        Quoting { dialect: self.address.dialect, identifiers: self.config.quote_sql_identifiers }
    }
}

/// `rds-source`: rows of MySQL, MariaDB and PostgreSQL tables.
pub struct RdsSource {
    settings: Arc<Settings>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tables: Vec<Table>,
    connection: Option<Box<dyn Database>>,
    reader: Option<Reader>,
    /// Rows that were read and not returned yet.
    pending: Option<Page>,
    token: u64,
    ended: bool,
}

struct Table {
    id: TableId,
    topic: Arc<str>,
    /// The incrementing value of the last row that was returned.
    position: Option<i64>,
    /// In a run that ends: nothing of it is left to read.
    finished: bool,
}

impl Plugin for RdsSource {
    type Config = Config;

    const NAME: &'static str = "rds-source";
    const ALIASES: &'static [&'static str] = &["io.confluent.connect.jdbc.JdbcSourceConnector"];
    const INERT_KEYS: &'static [&'static str] = &[
        "table.poll.interval.ms",
        "table.monitoring.startup.polling.limit.ms",
        "poll.linger.ms",
        "dialect.name",
        "transaction.isolation.mode",
        "date.calendar.system",
        "query.retry.attempts",
        "query.suffix",
        "timestamp.initial",
        "timestamp.delay.interval.ms",
    ];
    const SUMMARY: &'static str =
        "Reads tables of MySQL, MariaDB or PostgreSQL, whole or from the last row on.";
    const DELIVERY: &'static str = "in `incrementing` mode exactly once for readers of committed records with `exactly.once.source.support: enabled`; otherwise at least once, without \
         repetition after a stop. In `bulk` mode every row at each pass.";

    fn create(config: Config, _task: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        let mut problems = Vec::new();
        let not_yet = |key: &str, what: &str| {
            ConfigProblem::new(
                key,
                format!("{what} is not supported yet"),
                "use mode: incrementing or mode: bulk",
            )
        };
        match config.mode {
            Mode::Bulk | Mode::Incrementing => {}
            Mode::Timestamp => problems.push(not_yet("mode", "timestamp")),
            Mode::TimestampIncrementing => problems.push(not_yet("mode", "timestamp+incrementing")),
        }
        if config.query.as_ref().is_some_and(|q| !q.trim().is_empty()) {
            let message = "a query of your own is not supported yet";
            problems.push(ConfigProblem::new(
                "query",
                message,
                "create a view and read it with table.types: VIEW",
            ));
        }
        let user = config.connection_user.as_deref();
        let address =
            Address::parse(config.connection_url.reveal(), user, config.connection_password.as_ref())
                .map_err(|problem| problems.push(problem));
        let zone: Result<Tz, _> = config.db_timezone.parse().map_err(|_| {
            let hint = "write an IANA name: UTC, Europe/Berlin";
            problems.push(ConfigProblem::new("db.timezone", "is not a time zone", hint));
        });
        let filter = Filter::new(&config, &mut problems);
        match (address, zone) {
            (Ok(address), Ok(zone)) if problems.is_empty() => Ok(Self {
                settings: Arc::new(Settings { config, address, filter, zone }),
                state: Mutex::new(State::default()),
            }),
            _ => Err(problems),
        }
    }
}

#[async_trait]
impl Source for RdsSource {
    async fn plan(&self, max_tasks: usize) -> Result<Vec<TaskConfig>> {
        let Settings { config, address, filter, .. } = self.settings.as_ref();
        let mut database = self.settings.connect().await?;
        let pattern = match address.dialect {
            crate::Dialect::MySql => &config.catalog_pattern,
            crate::Dialect::Postgres => &config.schema_pattern,
        };
        let listed = database.tables(pattern.as_deref()).await?;
        let chosen = filter.choose(&listed, &address.to_string())?;
        for table in &chosen {
            tables::topic(config, table)?;
        }
        Ok(tables::plan(&chosen, max_tasks))
    }

    async fn open(&self, context: SourceContext) -> Result<()> {
        let mut database = self.settings.connect().await?;
        let mut tables = Vec::new();
        for id in tables::of_task(&context.task)? {
            // Says now what is wrong with a table, not when its turn comes.
            self.settings.layout(&id, database.as_mut()).await?;
            let topic = tables::topic(&self.settings.config, &id)?;
            let position = match self.settings.config.mode {
                Mode::Incrementing => stored(&context, &id)?,
                _ => None,
            };
            tables.push(Table { topic, position, finished: false, id });
        }
        *self.state.lock().await = State { tables, connection: Some(database), ..State::default() };
        Ok(())
    }

    async fn poll(&self, budget: PollBudget) -> Result<Option<SourceBatch>> {
        let mut state = self.state.lock().await;
        loop {
            if let Some(batch) = state.take(budget)? {
                return Ok(Some(batch));
            }
            if state.ended {
                return Ok(None);
            }
            if state.reader.is_none() {
                let (work, connection) = (state.work(), state.connection.take());
                state.reader = Some(Reader::start(Arc::clone(&self.settings), work, connection));
            }
            let Some(reader) = &mut state.reader else { continue };
            // The only wait: dropping it loses nothing.
            match reader.events.recv().await {
                Some(Ok(Event::Page(page))) => state.pending = Some(page),
                Some(Ok(Event::Finished(index))) => {
                    if let Some(table) = state.tables.get_mut(index) {
                        table.finished = self.settings.config.once;
                    }
                }
                Some(Ok(Event::End)) => state.ended = true,
                Some(Err(error)) => {
                    // The next poll goes on after the last row that was returned.
                    state.reader = None;
                    return Err(error);
                }
                None => {
                    state.reader = None;
                    return Err(ConnectError::internal("rds.reader", "the reader ended without a word"));
                }
            }
        }
    }

    async fn commit(&self, _offset: &SourceOffset, _acks: &Acks) -> Result<()> {
        Ok(())
    }

    /// A whole table is read from its beginning each time.
    fn exactly_once(&self) -> bool {
        self.settings.config.mode == Mode::Incrementing
    }

    async fn close(&self) -> Result<()> {
        *self.state.lock().await = State::default();
        Ok(())
    }
}

/// The stored incrementing value of a table.
fn stored(context: &SourceContext, table: &TableId) -> Result<Option<i64>> {
    let earlier = table.earlier_partitions();
    let offset =
        context.offset_of(&table.partition()).or_else(|| earlier.iter().find_map(|p| context.offset_of(p)));
    match offset.and_then(|o| o.get(INCREMENTING)) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| {
            ConnectError::user(
                "rds.offset",
                format!("table {table}: the stored offset is not a whole number"),
            )
            .hint("reset the connector's offset of this table")
        }),
    }
}

impl State {
    /// What a reader has to do: all tables, less those that are finished.
    fn work(&self) -> Vec<Work> {
        let tables = self.tables.iter().enumerate();
        tables
            .filter(|(_, t)| !t.finished)
            .map(|(index, t)| Work { index, table: t.id.clone(), after: t.position })
            .collect()
    }

    /// As many of the pending rows as the budget allows.
    fn take(&mut self, budget: PollBudget) -> Result<Option<SourceBatch>> {
        let Some(page) = self.pending.take() else { return Ok(None) };
        let rows = page.rows.len();
        let row_bytes = (page.bytes / rows.max(1)).max(1);
        let count = rows.min(budget.max_records).min(budget.max_bytes / row_bytes).max(1);
        let records = page.rows.slice(0, count);
        let batch = self.batch(&page, records)?;
        if count < rows {
            let (rows, bytes) =
                (page.rows.slice(count, rows - count), page.bytes.saturating_sub(count * row_bytes));
            self.pending = Some(Page { rows, bytes, ..page });
        }
        Ok(Some(batch))
    }

    fn batch(&mut self, page: &Page, rows: StructArray) -> Result<SourceBatch> {
        let Some(table) = self.tables.get_mut(page.table) else {
            return Err(ConnectError::internal("rds.reader", "a page of an unknown table"));
        };
        let mut positions = Vec::new();
        if let Some(position) = position(&page.layout, &rows)? {
            table.position = Some(position);
            let offset = Map::from_iter([(INCREMENTING.to_owned(), position.into())]);
            positions.push(Position { partition: table.id.partition(), offset });
        }
        let mut envelope = EnvelopeBuilder::new();
        if let Some(key) = page.layout.key.and_then(|k| rows.columns().get(k)) {
            let key: ArrayRef = arrow::compute::cast(key, &DataType::Utf8)?;
            envelope = envelope.key(Form::Columns, key);
        }
        let records = envelope.value(Form::Columns, Arc::new(rows)).build()?;
        self.token += 1;
        let runs = vec![Run::to_topic(Arc::clone(&table.topic), records)];
        Ok(SourceBatch::new(runs, SourceOffset { token: self.token, positions }))
    }
}

#[cfg(test)]
mod tests {
    use connector_core::ConfigMap;

    fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
        let map: ConfigMap = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        match crate::component().validate(&map) {
            Ok(()) => Vec::new(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }

    const URL: (&str, &str) = ("connection.url", "jdbc:mysql://u:hunter2@h:3306/db");

    #[test]
    fn a_jdbc_connectors_configuration_is_accepted() {
        let config = [
            URL,
            ("connection.user", "u"),
            ("connection.password", "hunter2"),
            ("mode", "incrementing"),
            ("incrementing.column.name", "id"),
            ("table.whitelist", "a, b"),
            ("topic.prefix", "mysql-"),
            ("topic.mapping.a", "x.pin"),
            ("quote.sql.identifiers", "never"),
            ("numeric.mapping", "best_fit"),
            ("timestamp.granularity", "connect_logical"),
            ("db.timezone", "Europe/Berlin"),
            ("poll.interval.ms", "100"),
        ];
        assert_eq!(problems(&config), [""; 0]);
    }

    #[test]
    fn what_is_not_there_yet_is_said_and_all_at_once() {
        let config =
            [URL, ("mode", "timestamp+incrementing"), ("query", "SELECT 1"), ("db.timezone", "Mars")];
        let problems = problems(&config);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].contains("timestamp+incrementing is not supported yet"), "{problems:?}");
    }

    #[test]
    fn a_wrong_expression_and_a_missing_mode_are_named() {
        assert!(
            problems(&[URL, ("mode", "bulk"), ("table.include.list", "a(")])[0]
                .contains("table.include.list")
        );
        assert!(problems(&[URL])[0].contains("mode"));
    }

    #[test]
    fn no_problem_shows_the_password() {
        let wrong = [("connection.url", "jdbc:oracle:thin:u/hunter2@h"), ("mode", "hunter2x")];
        assert!(!format!("{:?}", problems(&wrong)).contains("hunter2@"));
    }
}
