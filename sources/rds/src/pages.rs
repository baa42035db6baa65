//! Rows on their way from the connection to the task, a bounded page at a time.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StructArray};
use arrow::datatypes::{DataType, Int64Type};
use connector_core::{ConnectError, Result};
use tokio::sync::mpsc::Sender;

use crate::cells::{Cell, Cells, Misfit};
use crate::layout::Layout;

/// A page is handed on when it holds this many bytes, whatever `batch.max.rows` says.
const PAGE_BYTES: usize = 1 << 20;

/// Neighbouring rows of one table.
pub struct Page {
    /// Index of the table in the task.
    pub table: usize,
    pub layout: Arc<Layout>,
    pub rows: StructArray,
    /// Size of all rows, roughly.
    pub bytes: usize,
}

/// The incrementing value of the last row; `None` in bulk mode.
pub fn position(layout: &Layout, rows: &StructArray) -> Result<Option<i64>> {
    let Some(column) = layout.incrementing.and_then(|i| rows.columns().get(i)) else { return Ok(None) };
    let last = column.slice(column.len().saturating_sub(1), 1);
    let last = arrow::compute::cast(&last, &DataType::Int64)?;
    match last.as_primitive_opt::<Int64Type>().and_then(|a| a.iter().next().flatten()) {
        Some(position) => Ok(Some(position)),
        None => {
            let name = layout.incrementing_column().map_or("", |c| c.name.as_str());
            let place = format!("table {}, incrementing column `{name}`", layout.table);
            Err(ConnectError::user(
                "rds.incrementing_range",
                format!("{place}: NULL or greater than 2^63 - 1"),
            )
            .hint("use mode: bulk, or another incrementing column"))
        }
    }
}

/// What the reader tells the task.
pub enum Event {
    Page(Page),
    /// The table's present end was reached.
    Finished(usize),
    /// All tables were read and shall not be read again.
    End,
}

pub type Events = Sender<Result<Event>>;

/// Tells the task; an error only if nobody listens any more.
pub async fn send(events: &Events, event: Event) -> Result<()> {
    let gone = |_| ConnectError::internal("rds.stopped", "the task does not listen any more");
    events.send(Ok(event)).await.map_err(gone)
}

/// Takes rows value by value and hands full pages on; waits while the task is behind, so at most three pages exist.
pub struct Pages<'a> {
    table: usize,
    layout: Arc<Layout>,
    cells: Vec<Cells>,
    rows: usize,
    max_rows: usize,
    events: &'a Events,
    /// Where the statement began; for messages.
    after: Option<i64>,
    total: usize,
    /// The incrementing value of the last row that was handed on.
    last: Option<i64>,
}

impl<'a> Pages<'a> {
    pub fn new(
        table: usize,
        layout: &Arc<Layout>,
        max_rows: usize,
        after: Option<i64>,
        events: &'a Events,
    ) -> Self {
        let cells = layout.cells();
        Self {
            table,
            layout: Arc::clone(layout),
            cells,
            rows: 0,
            max_rows,
            events,
            after,
            total: 0,
            last: None,
        }
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The incrementing value of the last row, once a page was handed on.
    pub fn last(&self) -> Option<i64> {
        self.last
    }

    /// The value of one column of the present row; columns in the order of the layout, none left out.
    pub fn push(&mut self, column: usize, cell: Result<Cell<'_>, Misfit>) -> Result<()> {
        let Some(cells) = self.cells.get_mut(column) else {
            return Err(ConnectError::internal("rds.columns", "a row has more columns than were asked for"));
        };
        cell.and_then(|cell| cells.push(cell)).map_err(|why| self.refuse(column, why))
    }

    fn refuse(&self, column: usize, why: Misfit) -> ConnectError {
        let place = match self.layout.columns.get(column) {
            Some(c) => format!("table {}, column `{}` ({})", self.layout.table, c.name, c.sql_type),
            None => format!("table {}", self.layout.table),
        };
        let row = self.total + 1;
        let row = match (self.after, self.layout.incrementing_column()) {
            (Some(after), Some(column)) => format!("row {row} after {} = {after}", column.name),
            _ => format!("row {row}"),
        };
        let name = self.layout.columns.get(column).map_or("", |c| c.name.as_str());
        ConnectError::user("rds.value", format!("{place}, {row}: {why}")).hint(format!(
            "correct the row, or leave the column out with column.exclude.list: {}.{name}{}",
            self.layout.table.name,
            if why == ZERO_DATE {
                ", or add zeroDateTimeBehavior=CONVERT_TO_NULL to connection.url"
            } else {
                ""
            }
        ))
    }

    /// The present row is complete.
    pub async fn end_row(&mut self) -> Result<()> {
        self.rows += 1;
        self.total += 1;
        let bytes: usize = self.cells.iter().map(Cells::bytes).sum();
        if self.rows >= self.max_rows || bytes >= PAGE_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Hands on what is left; the number of rows of all pages.
    pub async fn finish(&mut self) -> Result<usize> {
        if self.rows > 0 {
            self.flush().await?;
        }
        Ok(self.total)
    }

    async fn flush(&mut self) -> Result<()> {
        let bytes = self.cells.iter().map(Cells::bytes).sum();
        let columns = self.cells.iter_mut().map(Cells::finish).collect::<Result<Vec<_>, _>>();
        let place = format!("table {}", self.layout.table);
        let columns = columns.map_err(|e| ConnectError::user("rds.value", e.to_string()).at(&place))?;
        let rows = StructArray::try_new(self.layout.fields.clone(), columns, None)
            .map_err(|e| ConnectError::from(e).at(&place))?;
        self.rows = 0;
        self.last = position(&self.layout, &rows)?.or(self.last);
        let page = Page { table: self.table, layout: Arc::clone(&self.layout), rows, bytes };
        send(self.events, Event::Page(page)).await
    }
}

/// MySQL's `0000-00-00`.
pub const ZERO_DATE: Misfit = "a zero date, which is no date";
