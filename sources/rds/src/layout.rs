//! How the rows of one table are laid out as records: checked before the first row is read.

use std::sync::Arc;

use arrow::datatypes::{Field, Fields};
use chrono_tz::Tz;
use connector_core::{ConnectError, Result};

use crate::cells::Cells;
use crate::column::{Column, Kind};
use crate::config::{Config, Mode};
use crate::tables::{Filter, TableId};

/// The columns that are read, and which of them leads and which is the key.
pub struct Layout {
    pub table: TableId,
    pub columns: Vec<Column>,
    pub kinds: Vec<Kind>,
    pub fields: Fields,
    /// Index of the incrementing column; `None` in bulk mode.
    pub incrementing: Option<usize>,
    /// Index of the key column.
    pub key: Option<usize>,
    pub zone: Tz,
}

impl Layout {
    pub fn new(
        config: &Config,
        filter: &Filter,
        zone: Tz,
        table: &TableId,
        columns: Vec<Column>,
    ) -> Result<Self> {
        if columns.is_empty() {
            return Err(ConnectError::user(
                "rds.table_missing",
                format!("table {table} does not exist any more"),
            )
            .hint("restart the connector to look for tables again, or take it out of table.whitelist"));
        }
        let incrementing = incrementing(config, table, &columns)?.map(|c| c.name.clone());
        let columns: Vec<_> = columns.into_iter().filter(|c| !filter.leaves_out(table, &c.name)).collect();
        let (mut kinds, mut fields) = (Vec::new(), Vec::new());
        for column in &columns {
            let kind = column.kind.clone().ok_or_else(|| unmapped(table, column))?;
            let kind = kind.represented(config.numeric_mapping, config.timestamp_granularity);
            fields.push(Arc::new(kind.field(&column.name, column.nullable)) as Arc<Field>);
            kinds.push(kind);
        }
        if columns.is_empty() {
            return Err(ConnectError::user(
                "rds.no_column",
                format!("table {table}: no column is left to read"),
            )
            .hint("shorten column.exclude.list"));
        }
        let place = |name: &str, key: &str| {
            columns.iter().position(|c| c.name == name).ok_or_else(|| {
                let names: Vec<_> = columns.iter().map(|c| c.name.as_str()).collect();
                ConnectError::user(
                    "rds.no_column",
                    format!("table {table} has no column `{name}`, which {key} names"),
                )
                .hint(format!("its columns are: {}", names.join(", ")))
            })
        };
        let key = table.find(&config.key_column_mapping).or(config.key_column.as_ref());
        let key = key.map(|name| place(name, "key.column")).transpose()?;
        if let Some(column) =
            key.and_then(|k| columns.get(k)).filter(|_| key.is_some_and(|k| !kinds[k].is_key()))
        {
            let place = format!("table {table}, column `{}` ({})", column.name, column.sql_type);
            return Err(ConnectError::user("rds.key_type", format!("{place}: cannot be a key"))
                .hint("name a column of texts, numbers or times in key.column"));
        }
        Ok(Self {
            table: table.clone(),
            incrementing: incrementing
                .map(|name| place(&name, "incrementing.column.name (column.exclude.list must leave it in)"))
                .transpose()?,
            key,
            kinds,
            fields: fields.into(),
            columns,
            zone,
        })
    }

    pub fn incrementing_column(&self) -> Option<&Column> {
        self.columns.get(self.incrementing?)
    }

    /// Empty columns for the rows to come.
    pub fn cells(&self) -> Vec<Cells> {
        self.kinds.iter().map(|kind| Cells::new(kind.clone(), self.zone)).collect()
    }
}

fn unmapped(table: &TableId, column: &Column) -> ConnectError {
    let place = format!("table {table}, column `{}`", column.name);
    ConnectError::user("rds.unmapped_type", format!("{place}: the type {} cannot be read", column.sql_type)).hint(
        format!(
            "leave the column out with column.exclude.list: {}.{}, the table with table.blacklist, or read a view \
             that casts it (table.types: VIEW)",
            table.name, column.name
        ),
    )
}

/// The incrementing column; `None` in bulk mode.
fn incrementing<'a>(config: &Config, table: &TableId, columns: &'a [Column]) -> Result<Option<&'a Column>> {
    if config.mode != Mode::Incrementing {
        return Ok(None);
    }
    let wrong =
        |what: String| ConnectError::user("rds.incrementing_column", format!("table {table}: {what}"));
    let hint = "name an integer column that only grows in incrementing.column.name, or use mode: bulk";
    let name = match table.find(&config.incrementing_column_mapping) {
        Some(name) => name,
        None => &config.incrementing_column_name,
    };
    let column = if name.is_empty() {
        let mut primary = columns.iter().filter(|c| c.primary);
        let only = primary.next().filter(|_| primary.next().is_none());
        let found = columns.iter().find(|c| c.generated).or(only);
        found.ok_or_else(|| {
            wrong("no incrementing column: there is neither an auto-increment column nor a primary key of one column".into())
                .hint(hint)
        })?
    } else {
        columns.iter().find(|c| &c.name == name).ok_or_else(|| {
            let names: Vec<_> = columns.iter().map(|c| c.name.as_str()).collect();
            wrong(format!("no column `{name}`, which incrementing.column.name names"))
                .hint(format!("its columns are: {}", names.join(", ")))
        })?
    };
    let place = format!("incrementing column `{}` ({})", column.name, column.sql_type);
    if !column.kind.as_ref().is_some_and(Kind::is_integer) {
        return Err(wrong(format!("{place} is not an integer")).hint(hint));
    }
    if column.nullable && config.validate_non_null {
        return Err(wrong(format!("{place} may be NULL"))
            .hint("declare it NOT NULL, or set validate.non.null: false if it never is"));
    }
    Ok(Some(column))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn column(name: &str, kind: Option<Kind>) -> Column {
        let sql_type = if kind.is_some() { "known" } else { "point" };
        Column {
            name: name.into(),
            sql_type: sql_type.into(),
            kind,
            nullable: false,
            generated: false,
            primary: false,
            cast: "",
        }
    }

    fn layout(config: serde_json::Value, columns: Vec<Column>) -> Result<Layout> {
        let mut all = json!({"connection.url": "mysql://h/d", "mode": "incrementing"});
        all.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        let config: Config = serde_json::from_value(all).unwrap();
        let filter = Filter::new(&config, &mut Vec::new());
        let table = TableId { database: "d".into(), schema: None, name: "t".into() };
        Layout::new(&config, &filter, Tz::UTC, &table, columns)
    }

    fn refused(config: serde_json::Value, columns: Vec<Column>) -> String {
        layout(config, columns).err().unwrap().to_string()
    }

    #[test]
    fn the_incrementing_column_is_found_or_named() {
        let id = || Column { primary: true, ..column("id", Some(Kind::Int64)) };
        let auto = || Column { generated: true, ..column("n", Some(Kind::UInt32)) };
        let name = |l: Layout| l.incrementing_column().unwrap().name.clone();
        assert_eq!(name(layout(json!({}), vec![id()]).unwrap()), "id");
        assert_eq!(name(layout(json!({}), vec![id(), auto()]).unwrap()), "n");
        let named = json!({"incrementing.column.name": "id"});
        assert_eq!(name(layout(named, vec![id(), auto()]).unwrap()), "id");
        let mapped = json!({"incrementing.column.name": "x", "incrementing.column.mapping": {"t": "id"}});
        assert_eq!(name(layout(mapped, vec![id()]).unwrap()), "id");
        assert!(layout(json!({"mode": "bulk"}), vec![id()]).unwrap().incrementing.is_none());
    }

    #[test]
    fn a_column_that_cannot_lead_is_refused_with_a_reason() {
        let text = || column("a", Some(Kind::Text));
        assert!(refused(json!({}), vec![text()]).contains("no incrementing column"));
        assert!(
            refused(json!({"incrementing.column.name": "a"}), vec![text()]).contains("is not an integer")
        );
        assert!(refused(json!({"incrementing.column.name": "b"}), vec![text()]).contains("no column `b`"));
        let null = || Column { nullable: true, ..column("n", Some(Kind::Int32)) };
        let named = |check: bool| json!({"incrementing.column.name": "n", "validate.non.null": check});
        assert!(refused(named(true), vec![null()]).contains("may be NULL"));
        assert!(layout(named(false), vec![null()]).is_ok());
    }

    #[test]
    fn an_unmapped_type_is_named_and_can_be_left_out() {
        let columns =
            || vec![Column { primary: true, ..column("id", Some(Kind::Int64)) }, column("spot", None)];
        let error = refused(json!({}), columns());
        assert!(error.contains("table d.t, column `spot`: the type point"), "{error}");
        assert!(error.contains("t.spot"), "{error}");
        let layout = layout(json!({"column.exclude.list": ["t\\.spot"]}), columns()).unwrap();
        assert_eq!(layout.columns.len(), 1);
    }

    #[test]
    fn the_key_column_must_be_there_and_be_text_like() {
        let columns = || vec![column("id", Some(Kind::Int64)), column("blob", Some(Kind::Bytes))];
        let bulk = |key: &str| json!({"mode": "bulk", "key.column": key});
        assert_eq!(layout(bulk("id"), columns()).unwrap().key, Some(0));
        assert!(refused(bulk("nope"), columns()).contains("no column `nope`"));
        assert!(refused(bulk("blob"), columns()).contains("cannot be a key"));
    }
}
