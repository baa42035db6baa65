//! The statements that read a table.

use crate::address::Dialect;
use crate::column::Column;
use crate::config::QuoteIdentifiers;
use crate::database::Select;
use crate::tables::TableId;

/// How names are written.
#[derive(Clone, Copy, Debug)]
pub struct Quoting {
    pub dialect: Dialect,
    pub identifiers: QuoteIdentifiers,
}

/// Rows past `after` of the incrementing column, in its order.
#[derive(Clone, Copy, Debug)]
pub struct Ascending<'a> {
    pub column: &'a str,
    pub after: Option<i64>,
    /// Rows of one statement.
    pub limit: usize,
}

impl Quoting {
    pub fn name(self, name: &str) -> String {
        match (self.identifiers, self.dialect) {
            (QuoteIdentifiers::Never, _) => name.to_owned(),
            (_, Dialect::MySql) => format!("`{}`", name.replace('`', "``")),
            (_, Dialect::Postgres) => format!("\"{}\"", name.replace('"', "\"\"")),
        }
    }

    /// The table, with its schema (MySQL: its database).
    pub fn table(self, table: &TableId) -> String {
        let outer = table.schema.as_ref().unwrap_or(&table.database);
        format!("{}.{}", self.name(outer), self.name(&table.name))
    }

    pub fn select<'a>(
        self,
        table: &TableId,
        columns: impl IntoIterator<Item = &'a Column>,
        ascending: Option<Ascending<'_>>,
    ) -> Select {
        let columns: Vec<_> =
            columns.into_iter().map(|c| format!("{}{}", self.name(&c.name), c.cast)).collect();
        let mut sql = format!("SELECT {} FROM {}", columns.join(", "), self.table(table));
        let mut after = None;
        if let Some(ascending) = ascending {
            let column = self.name(ascending.column);
            if ascending.after.is_some() {
                after = ascending.after;
                // A cast, because a parameter takes the column's own type and may be larger than that holds.
                let parameter = if self.dialect == Dialect::MySql { "?" } else { "$1::bigint" };
                sql += &format!(" WHERE {column} > {parameter}");
            }
            sql += &format!(" ORDER BY {column} ASC LIMIT {}", ascending.limit);
        }
        Select { sql, after }
    }

    /// One row if the column holds a NULL.
    pub fn any_null(self, table: &TableId, column: &Column) -> Select {
        let name = self.name(&column.name);
        let sql = format!("SELECT {name} FROM {} WHERE {name} IS NULL LIMIT 1", self.table(table));
        Select { sql, after: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, cast: &'static str) -> Column {
        Column {
            name: name.into(),
            sql_type: "int".into(),
            kind: None,
            nullable: false,
            generated: false,
            primary: false,
            cast,
        }
    }

    fn table(name: &str, schema: Option<&str>) -> TableId {
        TableId { database: "d".into(), schema: schema.map(Into::into), name: name.into() }
    }

    const ALWAYS: QuoteIdentifiers = QuoteIdentifiers::Always;

    #[test]
    fn mysql_names_stand_in_backticks() {
        let quoting = Quoting { dialect: Dialect::MySql, identifiers: ALWAYS };
        let columns = [column("index", ""), column("odd`name", "")];
        let ascending = Ascending { column: "index", after: Some(7), limit: 10 };
        assert_eq!(
            quoting.select(&table("t", None), &columns, Some(ascending)),
            Select {
                sql:
                    "SELECT `index`, `odd``name` FROM `d`.`t` WHERE `index` > ? ORDER BY `index` ASC LIMIT 10"
                        .into(),
                after: Some(7),
            }
        );
    }

    #[test]
    fn postgres_names_stand_in_quotes_with_the_casts() {
        let quoting = Quoting { dialect: Dialect::Postgres, identifiers: ALWAYS };
        let columns = [column("id", ""), column("a\"b", "::text")];
        let select = quoting.select(&table("t", Some("s")), &columns, None);
        assert_eq!(select.sql, "SELECT \"id\", \"a\"\"b\"::text FROM \"s\".\"t\"");
        let ascending = Ascending { column: "id", after: None, limit: 10 };
        let select = quoting.select(&table("t", Some("s")), &columns[..1], Some(ascending));
        assert_eq!(select.sql, "SELECT \"id\" FROM \"s\".\"t\" ORDER BY \"id\" ASC LIMIT 10");
    }

    #[test]
    fn names_stay_as_they_are_when_told() {
        let quoting = Quoting { dialect: Dialect::MySql, identifiers: QuoteIdentifiers::Never };
        assert_eq!(quoting.select(&table("t", None), &[column("id", "")], None).sql, "SELECT id FROM d.t");
    }
}
