//! `sidestream datagen`: fills a database, a directory or standard output with made-up rows of the pin board's tables.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches, Command, value_parser};
use connector_core::arrow::array::{Array, StructArray};
use connector_core::arrow::datatypes::{DataType, Field};
use connector_core::arrow::util::display::{ArrayFormatter, FormatOptions};
use connector_core::json::{DecimalFormat, Encoder, write_string};
use connector_core::{ConnectError, Result, Secret};
use indicatif::{ProgressBar, ProgressStyle};
use source_datagen::{Table, columns};
use source_rds::{Address, Database, Dialect};

/// Rows of one INSERT: some 400 KB of text, far below what a server refuses.
const ROWS_A_STATEMENT: u64 = 500;

pub fn command() -> Command {
    Command::new("datagen")
        .about("Make up rows of the three tables pinterest_data, geolocation_data and user_data")
        .long_about(
            "Make up rows of the three tables pinterest_data, geolocation_data and user_data. The same seed makes the \
             same rows. Tables that do not exist are created; rows whose key is there already stay as they are, so the \
             command can be repeated.",
        )
        .arg(
            Arg::new("into")
                .long("into")
                .value_name("TARGET")
                .required(true)
                .help("mysql://user:password@host/db, postgres://…, file:///directory (JSON lines), or - (standard output)"),
        )
        .arg(
            Arg::new("password-file")
                .long("password-file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("File that holds the database password, to keep it off the command line"),
        )
        .arg(
            Arg::new("rows")
                .long("rows")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .default_value("10000")
                .help("Rows of each table"),
        )
        .arg(
            Arg::new("seed")
                .long("seed")
                .value_name("S")
                .value_parser(value_parser!(u64))
                .default_value("100")
                .help("The same seed makes the same rows"),
        )
        .arg(
            Arg::new("tables")
                .long("tables")
                .value_name("LIST")
                .value_parser(value_parser!(Table))
                .value_delimiter(',')
                .default_value("pin,geo,user")
                .help("Which tables"),
        )
        .arg(
            Arg::new("output")
                .long("output")
                .value_name("FORM")
                .value_parser(["human", "json"])
                .default_value("human")
                .help("How the summary is printed"),
        )
}

pub fn run(arguments: &ArgMatches) -> ExitCode {
    let text = |name: &str| arguments.get_one::<String>(name).map_or("", String::as_str);
    let number = |name: &str| arguments.get_one::<u64>(name).copied().unwrap_or_default();
    let mut tables: Vec<Table> = arguments.get_many("tables").into_iter().flatten().copied().collect();
    tables.sort_unstable();
    tables.dedup();
    let target = match Target::parse(text("into"), arguments.get_one("password-file")) {
        Ok(target) => target,
        Err(message) => {
            eprintln!("error: --into: {message}");
            return ExitCode::from(2);
        }
    };
    let (rows, seed, started) = (number("rows"), number("seed"), Instant::now());
    let name = target.name();
    let filled = tokio::runtime::Runtime::new()
        .map_err(|e| ConnectError::internal("runtime", "cannot start").caused_by(e))
        .and_then(|runtime| runtime.block_on(fill(&target, &tables, rows, seed)));
    if let Err(error) = filled {
        eprintln!("error: {error}");
        return ExitCode::from(3);
    }
    let summary = summary(text("output") == "json", &name, &tables, rows, seed, started.elapsed());
    match target {
        Target::Stdout => eprintln!("{summary}"),
        _ => println!("{summary}"),
    }
    ExitCode::SUCCESS
}

enum Target {
    Database(Box<Address>),
    Directory(PathBuf),
    Stdout,
}

impl Target {
    fn parse(text: &str, password_file: Option<&PathBuf>) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Stdout);
        }
        if let Some(path) = text.strip_prefix("file://") {
            return Ok(Self::Directory(PathBuf::from(path)));
        }
        let password = match password_file {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
                Some(Secret::new(text.trim_end_matches(['\r', '\n'])))
            }
            None => None,
        };
        let address = Address::parse(text, None, password.as_ref()).map_err(|problem| {
            format!("{} ({}; or file:///directory, or -)", problem.message, problem.hint)
        })?;
        Ok(Self::Database(Box::new(address)))
    }

    /// Fit for messages: without a password.
    fn name(&self) -> String {
        match self {
            Self::Database(address) => address.to_string(),
            Self::Directory(path) => path.display().to_string(),
            Self::Stdout => "standard output".to_owned(),
        }
    }
}

async fn fill(target: &Target, tables: &[Table], rows: u64, seed: u64) -> Result<()> {
    let mut database = match target {
        Target::Database(address) => Some(connect(address).await?),
        _ => None,
    };
    for &table in tables {
        let mut lines = open(target, table)?;
        let style =
            ProgressStyle::with_template("{msg:18} [{bar:40}] {human_pos}/{human_len} rows, {eta} left");
        let bar = ProgressBar::new(rows).with_message(table.sql_name());
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        if let Some(database) = &mut database {
            let empty = columns(table, seed, 0..0)?;
            database.execute(&create_table(database.dialect(), table, &empty)).await?;
        }
        for start in (0..rows).step_by(ROWS_A_STATEMENT as usize) {
            let chunk = columns(table, seed, start..rows.min(start + ROWS_A_STATEMENT))?;
            if let Some(database) = &mut database {
                database
                    .execute(&insert(database.dialect(), table, &chunk)?)
                    .await
                    .map_err(|e| e.at(table.sql_name()))?;
            }
            if let Some((lines, place)) = &mut lines {
                let written = write_lines(&chunk, lines.as_mut())?;
                written.map_err(|e| cannot_write(place, e))?;
            }
            bar.inc(chunk.len() as u64);
        }
        if let Some((lines, place)) = &mut lines {
            lines.flush().map_err(|e| cannot_write(place, e))?;
        }
        bar.finish_and_clear();
    }
    Ok(())
}

async fn connect(address: &Address) -> Result<Box<dyn Database>> {
    let mut database = source_rds::connect(address, "UTC", 1, Duration::ZERO).await?;
    // The texts are quoted for these settings, whatever the server's own are.
    let settings = match address.dialect {
        Dialect::MySql => "SET SESSION sql_mode = 'STRICT_ALL_TABLES'",
        Dialect::Postgres => "SET standard_conforming_strings = on; SET client_min_messages = warning",
    };
    database.execute(settings).await?;
    Ok(database)
}

type Lines = (Box<dyn Write + Send>, String);

fn cannot_write(place: &str, error: std::io::Error) -> ConnectError {
    ConnectError::external("datagen.write", format!("{place}: cannot be written")).caused_by(error)
}

/// Where the JSON lines of a table go; `None` for a database.
fn open(target: &Target, table: Table) -> Result<Option<Lines>> {
    Ok(match target {
        Target::Database(_) => None,
        Target::Stdout => Some((Box::new(BufWriter::new(std::io::stdout())), "standard output".to_owned())),
        Target::Directory(directory) => {
            let path = directory.join(format!("{}.jsonl", table.sql_name()));
            let place = path.display().to_string();
            let file = std::fs::create_dir_all(directory).and_then(|()| File::create(&path));
            Some((Box::new(BufWriter::new(file.map_err(|e| cannot_write(&place, e))?)), place))
        }
    })
}

fn write_lines(rows: &StructArray, lines: &mut dyn Write) -> Result<std::io::Result<()>> {
    let field = Arc::new(Field::new("value", rows.data_type().clone(), false));
    let mut encoder = Encoder::new(&field, rows, DecimalFormat::default())?;
    let mut text = Vec::new();
    for row in 0..rows.len() {
        encoder.encode(row, &mut text);
        text.push(b'\n');
    }
    Ok(lines.write_all(&text))
}

fn quote(dialect: Dialect, name: &str) -> String {
    match dialect {
        Dialect::MySql => format!("`{name}`"),
        Dialect::Postgres => format!("\"{name}\""),
    }
}

fn create_table(dialect: Dialect, table: Table, rows: &StructArray) -> String {
    let (float, time, options) = match dialect {
        Dialect::MySql => ("FLOAT", "DATETIME", " DEFAULT CHARACTER SET utf8mb4"),
        Dialect::Postgres => ("REAL", "TIMESTAMP", ""),
    };
    let column = |field: &Arc<Field>| {
        let sql_type = match field.data_type() {
            DataType::Int64 => "BIGINT",
            DataType::Float32 => float,
            DataType::Timestamp(..) => time,
            _ => "TEXT",
        };
        let key = if field.name() == table.key() { " PRIMARY KEY" } else { "" };
        format!("{} {sql_type}{key}", quote(dialect, field.name()))
    };
    let columns: Vec<_> = rows.fields().iter().map(column).collect();
    let name = quote(dialect, table.sql_name());
    format!("CREATE TABLE IF NOT EXISTS {name} ({}){options}", columns.join(", "))
}

/// One statement with all rows; a row whose key is there already is passed over.
fn insert(dialect: Dialect, table: Table, rows: &StructArray) -> Result<String> {
    let options = FormatOptions::default();
    let columns = rows.columns().iter().zip(rows.fields());
    let columns = columns
        .map(|(column, field)| {
            let quoted = !matches!(field.data_type(), DataType::Int64 | DataType::Float32);
            Ok((ArrayFormatter::try_new(column, &options)?, quoted))
        })
        .collect::<Result<Vec<_>>>()?;
    let names: Vec<_> = rows.fields().iter().map(|f| quote(dialect, f.name())).collect();
    let mut sql = format!("INSERT INTO {} ({}) VALUES ", quote(dialect, table.sql_name()), names.join(", "));
    for row in 0..rows.len() {
        sql += if row == 0 { "(" } else { ", (" };
        for (index, (column, quoted)) in columns.iter().enumerate() {
            if index > 0 {
                sql.push(',');
            }
            let value = column.value(row).to_string();
            match (quoted, dialect) {
                (false, _) => sql += &value,
                (true, Dialect::MySql) => {
                    sql += &format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
                }
                (true, Dialect::Postgres) => sql += &format!("'{}'", value.replace('\'', "''")),
            }
        }
        sql.push(')');
    }
    let key = quote(dialect, table.key());
    sql += &match dialect {
        Dialect::MySql => format!(" ON DUPLICATE KEY UPDATE {key} = {key}"),
        Dialect::Postgres => " ON CONFLICT DO NOTHING".to_owned(),
    };
    Ok(sql)
}

fn summary(json: bool, target: &str, tables: &[Table], rows: u64, seed: u64, took: Duration) -> String {
    if !json {
        let names: Vec<_> = tables.iter().map(|t| t.sql_name()).collect();
        let seconds = took.as_secs_f64();
        return format!("{target}: {rows} rows each in {}, seed {seed}, {seconds:.1} s", names.join(", "));
    }
    let mut place = Vec::new();
    write_string(target, &mut place);
    let place = String::from_utf8_lossy(&place);
    let tables: Vec<_> = tables.iter().map(|t| format!(r#""{}":{rows}"#, t.sql_name())).collect();
    format!(r#"{{"target":{place},"rows":{{{}}},"seed":{seed},"ms":{}}}"#, tables.join(","), took.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_pipelines_types() {
        let rows = columns(Table::Geo, 1, 0..0).unwrap();
        assert_eq!(
            create_table(Dialect::MySql, Table::Geo, &rows),
            "CREATE TABLE IF NOT EXISTS `geolocation_data` (`ind` BIGINT PRIMARY KEY, `timestamp` DATETIME, \
             `latitude` FLOAT, `longitude` FLOAT, `country` TEXT) DEFAULT CHARACTER SET utf8mb4"
        );
        assert!(
            create_table(Dialect::Postgres, Table::Geo, &rows)
                .contains("\"timestamp\" TIMESTAMP, \"latitude\" REAL")
        );
    }

    #[test]
    fn texts_are_quoted_for_the_database() {
        let n = (0..10_000).find(|&n| source_datagen::Pin::at(1, n).title.contains('\\')).unwrap();
        let rows = columns(Table::Pin, 1, n..n + 1).unwrap();
        assert!(insert(Dialect::MySql, Table::Pin, &rows).unwrap().contains(r"C:\\patterns\\scarf\\n1"));
        assert!(insert(Dialect::Postgres, Table::Pin, &rows).unwrap().contains(r"C:\patterns\scarf\n1"));
    }

    #[test]
    fn a_wrong_target_is_explained_without_its_password() {
        let message = Target::parse("oracle://u:hunter2@h/db", None).err().unwrap();
        assert!(message.contains("mysql://") && !message.contains("hunter2"), "{message}");
        assert!(matches!(Target::parse("-", None), Ok(Target::Stdout)));
    }

    #[test]
    fn the_summary_is_one_json_object() {
        let text = summary(true, "a \"b\"", &[Table::Pin], 3, 100, Duration::from_millis(7));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["rows"]["pinterest_data"], 3);
        assert_eq!(value["target"], "a \"b\"");
    }
}
