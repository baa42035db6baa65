//! What PostgreSQL's errors mean for the user.

use std::error::Error as _;

use connector_core::{ConnectError, Domain, Retry};
use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use crate::address::Address;

pub fn explain(error: &Error, address: &Address) -> ConnectError {
    if let Some(error) = error.as_db_error() {
        return server(error, address);
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    let user = |code: &str, hint: &str| ConnectError::user(code, format!("{address}: {text}")).hint(hint);
    if text.contains("TLS") {
        return user(
            "rds.tls",
            "name the server's authority in connection.url: sslrootcert=/path/ca.pem, or check sslmode",
        );
    }
    if text.contains("password missing") || text.contains("authentication") {
        return user("rds.login", "set connection.user and connection.password");
    }
    if text.starts_with("invalid configuration") {
        return user("rds.url", "check connection.url");
    }
    ConnectError::external("rds.unreachable", format!("{address}: {text}"))
        .hint("check that the database runs and that host and port in connection.url are right")
}

fn server(error: &DbError, address: &Address) -> ConnectError {
    let code = error.code().code();
    // Of a data exception or a violated constraint the message quotes the value.
    let message = if code.starts_with("22") || code.starts_with("23") {
        "a value was refused"
    } else {
        error.message()
    };
    let text = format!("{address}: {message} (SQLSTATE {code})");
    let user = |name: &str, hint: &str| ConnectError::user(name, &text).hint(hint);
    match code {
        "28000" if error.message().contains("no encryption") => {
            user("rds.tls", "the server may want TLS: write sslmode=require in connection.url")
        }
        "28P01" | "28000" => {
            user("rds.login", "check connection.user and connection.password, and pg_hba.conf")
        }
        "3D000" => user("rds.no_database", "check the database's name in connection.url"),
        "42P01" | "3F000" => user("rds.table_missing", "restart the connector to look for tables again"),
        "42501" => user("rds.permission", "GRANT SELECT on the tables to connection.user"),
        // Starting, stopping, full, conflicts.
        "57P01" | "57P02" | "57P03" | "57014" | "53300" | "40001" | "40P01" => {
            ConnectError::external("rds.server", text).hint("the server is busy, starting or stopping")
        }
        _ if code.starts_with("08") => ConnectError::external("rds.server", text),
        _ => ConnectError::new(Domain::External, Retry::NoRetry, "rds.server", text)
            .hint("see the server's log"),
    }
}
