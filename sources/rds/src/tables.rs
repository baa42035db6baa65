//! Which tables are read, by which task, into which topic.

use std::fmt;
use std::sync::Arc;

use connector_core::config::nearest;
use connector_core::source::TaskConfig;
use connector_core::{ConfigProblem, ConnectError, Result};
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::database::Listed;

/// A table by its full name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableId {
    pub database: String,
    /// PostgreSQL's; MySQL has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    pub name: String,
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.database)?;
        if let Some(schema) = &self.schema {
            write!(f, ".{schema}")?;
        }
        write!(f, ".{}", self.name)
    }
}

impl TableId {
    /// The names under which a configuration may speak of the table.
    pub fn names(&self) -> Vec<String> {
        let mut names = vec![self.name.clone(), self.to_string()];
        if let Some(schema) = &self.schema {
            names.push(format!("{schema}.{}", self.name));
        }
        names
    }

    /// Looks the table up in a map by any of its names.
    pub fn find<'a, T>(&self, map: &'a std::collections::BTreeMap<String, T>) -> Option<&'a T> {
        self.names().iter().find_map(|name| map.get(name))
    }

    /// Connect's source partition.
    pub fn partition(&self) -> Map<String, Value> {
        protocol_1(&self.to_string())
    }

    /// Source partitions under which an older or a JVM connector may have stored the position.
    pub fn earlier_partitions(&self) -> Vec<Map<String, Value>> {
        let mut all: Vec<_> = self.names().iter().skip(2).map(|n| protocol_1(n)).collect();
        all.extend(json!({"table": self.name}).as_object().cloned());
        all
    }
}

fn protocol_1(table: &str) -> Map<String, Value> {
    let mut partition = Map::new();
    partition.insert("protocol".to_owned(), "1".into());
    partition.insert("table".to_owned(), table.into());
    partition
}

/// The lists of names and expressions that choose tables and columns.
pub struct Filter {
    whitelist: Vec<String>,
    blacklist: Vec<String>,
    include: Vec<Regex>,
    exclude: Vec<Regex>,
    exclude_columns: Vec<Regex>,
    types: Vec<String>,
}

impl Filter {
    pub fn new(config: &Config, problems: &mut Vec<ConfigProblem>) -> Self {
        let mut expressions = |key: &str, texts: &[String]| {
            let mut all = Vec::new();
            for text in texts {
                match Regex::new(&format!("^(?:{text})$")) {
                    Ok(regex) => all.push(regex),
                    Err(error) => problems.push(ConfigProblem::new(
                        key,
                        format!("holds an expression that cannot be read: {error}"),
                        "look-around and back references are not supported",
                    )),
                }
            }
            all
        };
        Self {
            include: expressions("table.include.list", &config.table_include_list),
            exclude: expressions("table.exclude.list", &config.table_exclude_list),
            exclude_columns: expressions("column.exclude.list", &config.column_exclude_list),
            whitelist: config.table_whitelist.clone(),
            blacklist: config.table_blacklist.clone(),
            types: config.table_types.iter().map(|t| t.trim().to_ascii_uppercase()).collect(),
        }
    }

    pub fn leaves_out(&self, table: &TableId, column: &str) -> bool {
        let names = table.names();
        self.exclude_columns.iter().any(|r| names.iter().any(|n| r.is_match(&format!("{n}.{column}"))))
    }

    /// The tables to read, in the order of their names. `place` names the database.
    pub fn choose(&self, listed: &[Listed], place: &str) -> Result<Vec<TableId>> {
        let mut here: Vec<_> =
            listed.iter().filter(|l| self.types.contains(&l.table_type)).map(|l| &l.table).collect();
        here.sort();
        for wanted in &self.whitelist {
            if !here.iter().any(|t| t.names().contains(wanted)) {
                return Err(missing(&format!("table.whitelist names `{wanted}`"), wanted, listed, place));
            }
        }
        for regex in &self.include {
            if !here.iter().any(|t| t.names().iter().any(|n| regex.is_match(n))) {
                let pattern = regex.as_str().trim_start_matches("^(?:").trim_end_matches(")$");
                return Err(missing(&format!("table.include.list has `{pattern}`"), pattern, listed, place));
            }
        }
        let any = |list: &[String], regexes: &[Regex], table: &TableId| {
            let names = table.names();
            names.iter().any(|n| list.contains(n) || regexes.iter().any(|r| r.is_match(n)))
        };
        let all = self.whitelist.is_empty() && self.include.is_empty();
        let chosen: Vec<TableId> = here
            .into_iter()
            .filter(|t| all || any(&self.whitelist, &self.include, t))
            .filter(|t| !any(&self.blacklist, &self.exclude, t))
            .cloned()
            .collect();
        if chosen.is_empty() {
            return Err(missing("nothing is left to read", "", listed, place));
        }
        Ok(chosen)
    }
}

/// How many table names an error lists.
const LISTED: usize = 10;

fn missing(what: &str, wanted: &str, listed: &[Listed], place: &str) -> ConnectError {
    let code = if wanted.is_empty() { "rds.no_table" } else { "rds.table_missing" };
    let error = ConnectError::user(code, format!("{place}: {what}, but there is no such table"));
    let name = wanted.rsplit('.').next().unwrap_or(wanted);
    if let Some(other) = listed.iter().find(|l| l.table.name == name) {
        let kind = &other.table_type;
        return error.hint(format!("`{}` is there as a {kind}; add it to table.types", other.table));
    }
    let mut names: Vec<&str> = listed.iter().map(|l| l.table.name.as_str()).collect();
    if let Some(near) = nearest(name, names.iter().copied()) {
        return error.hint(format!("did you mean `{near}`?"));
    }
    names.sort_unstable();
    names.dedup();
    let more = if names.len() > LISTED { ", …" } else { "" };
    names.truncate(LISTED);
    error.hint(match names.as_slice() {
        [] => "the database holds no table that this user may see".to_owned(),
        names => format!("there are: {}{more}", names.join(", ")),
    })
}

/// The topic of a table.
pub fn topic(config: &Config, table: &TableId) -> Result<Arc<str>> {
    if let Some(topic) = table.find(&config.topic_mapping) {
        return Ok(topic.as_str().into());
    }
    match &config.topic_prefix {
        Some(prefix) => Ok(format!("{prefix}{}", table.name).into()),
        None => Err(ConnectError::user("rds.no_topic", format!("table {table} has no topic"))
            .hint(format!("set topic.prefix, or topic.mapping.{}", table.name))),
    }
}

/// At most `max_tasks` groups of neighbouring tables, as even as they can be.
pub fn plan(tables: &[TableId], max_tasks: usize) -> Vec<TaskConfig> {
    let tasks = tables.len().min(max_tasks.max(1));
    let (mut left, mut plan) = (tables, Vec::new());
    for task in 0..tasks {
        let (mine, rest) = left.split_at(left.len().div_ceil(tasks - task));
        plan.push([("tables".to_owned(), json!(mine))].into_iter().collect());
        left = rest;
    }
    plan
}

/// The tables of a task.
pub fn of_task(task: &TaskConfig) -> Result<Vec<TableId>> {
    let tables = task.get("tables").cloned().unwrap_or_default();
    serde_json::from_value(tables).map_err(|e| {
        ConnectError::internal("rds.task", "the task's list of tables cannot be read").caused_by(e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> Vec<Listed> {
        let table =
            |name: &str| TableId { database: "d".into(), schema: Some("s".into()), name: name.into() };
        names.iter().map(|n| Listed { table: table(n), table_type: "TABLE".into() }).collect()
    }

    fn filter(config: serde_json::Value) -> Filter {
        let mut all = json!({"connection.url": "mysql://h/d", "mode": "bulk"});
        all.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        let mut problems = Vec::new();
        let filter = Filter::new(&serde_json::from_value(all).unwrap(), &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        filter
    }

    fn chosen(config: serde_json::Value) -> Vec<String> {
        let tables =
            filter(config).choose(&listed(&["orders", "order_lines", "users", "log"]), "here").unwrap();
        tables.into_iter().map(|t| t.name).collect()
    }

    #[test]
    fn tables_are_chosen_by_name_and_by_whole_match() {
        assert_eq!(chosen(json!({})), ["log", "order_lines", "orders", "users"]);
        assert_eq!(chosen(json!({"table.whitelist": ["users", "s.log"]})), ["log", "users"]);
        assert_eq!(chosen(json!({"table.blacklist": ["d.s.users"]})), ["log", "order_lines", "orders"]);
        assert_eq!(chosen(json!({"table.include.list": ["order.*"]})), ["order_lines", "orders"]);
        assert_eq!(
            chosen(json!({"table.include.list": ["s\\.orders"], "table.whitelist": ["log"]})),
            ["log", "orders"]
        );
    }

    #[test]
    #[should_panic(expected = "did you mean `orders`?")]
    fn a_missing_table_is_named_with_the_nearest() {
        let error =
            filter(json!({"table.whitelist": ["ordesr"]})).choose(&listed(&["orders"]), "here").unwrap_err();
        assert!(error.message.contains("`ordesr`"), "{error}");
        panic!("{error}");
    }

    #[test]
    fn a_view_that_is_not_wanted_is_explained() {
        let mut tables = listed(&["v"]);
        tables[0].table_type = "VIEW".into();
        let error = filter(json!({"table.whitelist": ["v"]})).choose(&tables, "here").unwrap_err();
        assert!(error.hint.contains("table.types"), "{error}");
    }

    #[test]
    fn tables_spread_evenly_over_the_tasks() {
        let tables: Vec<_> = listed(&["a", "b", "c", "d", "e"]).into_iter().map(|l| l.table).collect();
        let sizes = |max| plan(&tables, max).iter().map(|t| of_task(t).unwrap().len()).collect::<Vec<_>>();
        assert_eq!(sizes(1), [5]);
        assert_eq!(sizes(2), [3, 2]);
        assert_eq!(sizes(4), [2, 1, 1, 1]);
        assert_eq!(sizes(9), [1; 5]);
        let again: Vec<_> = plan(&tables, 3).iter().flat_map(|t| of_task(t).unwrap()).collect();
        assert_eq!(again, tables);
    }

    #[test]
    fn positions_are_stored_as_connect_stores_them() {
        let table = listed(&["t"]).remove(0).table;
        assert_eq!(Value::Object(table.partition()), json!({"protocol": "1", "table": "d.s.t"}));
        let earlier = [json!({"protocol": "1", "table": "s.t"}), json!({"table": "t"})];
        assert_eq!(table.earlier_partitions().into_iter().map(Value::Object).collect::<Vec<_>>(), earlier);
    }
}
