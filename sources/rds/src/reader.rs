//! The task's reader: runs beside it, so that dropping a poll never loses a row that was read.

use std::sync::Arc;
use std::time::Duration;

use connector_core::{ConnectError, Result};
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinHandle;

use crate::column::Column;
use crate::database::Database;
use crate::pages::{Event, Events, Pages, send};
use crate::source::Settings;
use crate::sql::Ascending;
use crate::tables::TableId;

/// Rows of one statement in incrementing mode: so many that the statement's own cost does not count.
const STATEMENT_ROWS: usize = 20_000;

/// One table and how far it was read.
pub struct Work {
    /// Index of the table in the task.
    pub index: usize,
    pub table: TableId,
    /// The greatest value of the incrementing column so far.
    pub after: Option<i64>,
}

/// A running reader; ends when dropped.
pub struct Reader {
    pub events: Receiver<Result<Event>>,
    handle: JoinHandle<()>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Reader {
    /// Starts to read `work`, over `database` if there is a connection already.
    pub fn start(settings: Arc<Settings>, work: Vec<Work>, database: Option<Box<dyn Database>>) -> Self {
        // One page waits in the channel while the next one fills.
        let (events, receiver) = mpsc::channel(1);
        let handle = tokio::spawn(async move {
            if let Err(error) = run(&settings, work, database, &events).await {
                // Nobody listens when the task has stopped, and then the error is of no interest.
                let _ = events.send(Err(error)).await;
            }
        });
        Self { events: receiver, handle }
    }
}

async fn run(
    settings: &Settings,
    mut work: Vec<Work>,
    mut connection: Option<Box<dyn Database>>,
    events: &Events,
) -> Result<()> {
    let pause = Duration::from_millis(settings.config.poll_interval_ms);
    loop {
        // A connection that idled may have been closed by the server.
        if let Some(database) = &mut connection
            && !database.ping().await
        {
            connection = None;
        }
        let mut database = match connection.take() {
            Some(database) => database,
            None => settings.connect().await?,
        };
        for table in &mut work {
            read(settings, table, database.as_mut(), events).await?;
            send(events, Event::Finished(table.index)).await?;
        }
        if settings.config.once {
            return send(events, Event::End).await;
        }
        connection = Some(database);
        tokio::time::sleep(pause).await;
    }
}

/// Reads a table to its present end.
async fn read(
    settings: &Settings,
    work: &mut Work,
    database: &mut dyn Database,
    events: &Events,
) -> Result<()> {
    let layout = Arc::new(settings.layout(&work.table, database).await?);
    let (quoting, rows) = (settings.quoting(), settings.config.batch_max_rows);
    let Some(leader) = layout.incrementing_column() else {
        let select = quoting.select(&work.table, &layout.columns, None);
        database.read(&select, &mut Pages::new(work.index, &layout, rows, None, events)).await?;
        return Ok(());
    };
    if leader.nullable {
        refuse_null(settings, &work.table, leader, database).await?;
    }
    loop {
        let ascending = Ascending { column: &leader.name, after: work.after, limit: STATEMENT_ROWS };
        let select = quoting.select(&work.table, &layout.columns, Some(ascending));
        let mut pages = Pages::new(work.index, &layout, rows, work.after, events);
        let read = database.read(&select, &mut pages).await?;
        work.after = pages.last().or(work.after);
        if read < STATEMENT_ROWS {
            return Ok(());
        }
    }
}

/// A NULL is greater than nothing: the row would never be read.
async fn refuse_null(
    settings: &Settings,
    table: &TableId,
    leader: &Column,
    database: &mut dyn Database,
) -> Result<()> {
    if !database.exists(&settings.quoting().any_null(table, leader)).await? {
        return Ok(());
    }
    let place = format!("table {table}, incrementing column `{}`", leader.name);
    Err(ConnectError::user(
        "rds.incrementing_null",
        format!("{place}: a row holds NULL and would never be read"),
    )
    .hint("number the row and declare the column NOT NULL, or use mode: bulk"))
}
