//! What the source asks of a database, whichever it is.

use std::time::Duration;

use async_trait::async_trait;
use connector_core::{ConnectError, Result};
use tracing::warn;

use crate::address::{Address, Dialect};
use crate::column::Column;
use crate::mysql::MySql;
use crate::pages::Pages;
use crate::postgres::Postgres;
use crate::tables::TableId;

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// A table that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub table: TableId,
    /// `TABLE`, `VIEW`, …
    pub table_type: String,
}

/// A SELECT and the one value that it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    pub sql: String,
    /// Bound to the only placeholder, if there is one.
    pub after: Option<i64>,
}

/// One connection. Statements run one after the other.
#[async_trait]
pub trait Database: Send {
    /// Tables in the schemas (PostgreSQL) or databases (MySQL) that are LIKE `pattern`; without one, those of the
    /// address.
    async fn tables(&mut self, pattern: Option<&str>) -> Result<Vec<Listed>>;

    /// Columns in the table's order; none when there is no such table.
    async fn columns(&mut self, table: &TableId) -> Result<Vec<Column>>;

    /// Streams the rows of `select` into `pages`, row by row; the number of rows.
    async fn read(&mut self, select: &Select, pages: &mut Pages<'_>) -> Result<usize>;

    /// Whether `select` has a row.
    async fn exists(&mut self, select: &Select) -> Result<bool>;

    /// Whether the connection still works.
    async fn ping(&mut self) -> bool;

    /// Runs statements that answer nothing.
    async fn execute(&mut self, sql: &str) -> Result<()>;

    fn dialect(&self) -> Dialect;
}

/// Connects, trying `attempts` times while the failure may pass. `time_zone`: of the session, an IANA name.
pub async fn connect(
    address: &Address,
    time_zone: &str,
    attempts: u32,
    backoff: Duration,
) -> Result<Box<dyn Database>> {
    let mut attempt = 1;
    loop {
        let failure = match tokio::time::timeout(CONNECT_TIMEOUT, once(address, time_zone)).await {
            Ok(Ok(database)) => return Ok(database),
            Ok(Err(error)) => error,
            Err(_) => {
                let seconds = CONNECT_TIMEOUT.as_secs();
                ConnectError::external("rds.unreachable", format!("{address}: no answer within {seconds} s"))
                    .hint("check host, port and firewall of connection.url")
            }
        };
        if !failure.is_retriable() || attempt >= attempts {
            return Err(failure);
        }
        warn!(attempt, attempts, "{failure}; trying again in {} ms", backoff.as_millis());
        attempt += 1;
        tokio::time::sleep(backoff).await;
    }
}

async fn once(address: &Address, time_zone: &str) -> Result<Box<dyn Database>> {
    Ok(match address.dialect {
        Dialect::MySql => Box::new(MySql::connect(address, time_zone).await?),
        Dialect::Postgres => Box::new(Postgres::connect(address).await?),
    })
}
