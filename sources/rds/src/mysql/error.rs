//! What MySQL's errors mean for the user.

use connector_core::{ConnectError, Domain, Retry};
use mysql_async::{DriverError, Error, IoError, ServerError};

use crate::address::Address;

/// Whether TLS was asked of a server that has none.
pub fn is_without_tls(error: &Error) -> bool {
    matches!(error, Error::Driver(DriverError::NoClientSslFlagFromServer))
}

pub fn no_database(address: &Address) -> ConnectError {
    ConnectError::user("rds.no_database", format!("{address}: connection.url names no database"))
        .hint("write it after the host: jdbc:mysql://host:3306/db, or set catalog.pattern")
}

pub fn explain(error: Error, address: &Address) -> ConnectError {
    match error {
        Error::Server(error) => server(&error, address),
        Error::Io(IoError::Tls(error)) => tls(&error, address),
        Error::Io(IoError::Io(error)) if error.get_ref().is_some_and(|e| e.is::<rustls::Error>()) => {
            tls(&error, address)
        }
        Error::Io(error) => ConnectError::external("rds.unreachable", format!("{address}: {error}"))
            .hint("check that the database runs and that host and port in connection.url are right"),
        Error::Driver(DriverError::NoClientSslFlagFromServer) => {
            ConnectError::user("rds.tls", format!("{address}: the server has no TLS, which sslMode demands"))
                .hint("set up TLS at the server, or write sslMode=PREFERRED in connection.url")
        }
        Error::Driver(DriverError::ConnectionClosed) => {
            ConnectError::external("rds.unreachable", format!("{address}: the server closed the connection"))
                .hint("see the server's log")
        }
        // Other texts of the driver could hold a value; only their kind is shown.
        Error::Driver(DriverError::UnknownAuthPlugin { name }) => ConnectError::user(
            "rds.login",
            format!("{address}: the authentication plugin {name} is not supported"),
        )
        .hint("give the user mysql_native_password or caching_sha2_password"),
        Error::Driver(_) | Error::Other(_) | Error::Url(_) => ConnectError::external(
            "rds.protocol",
            format!("{address}: the conversation with the server broke down"),
        )
        .hint("see the server's log"),
    }
}

fn tls(error: &dyn std::fmt::Display, address: &Address) -> ConnectError {
    ConnectError::user("rds.tls", format!("{address}: TLS failed: {error}")).hint(
        "name the server's authority in connection.url: sslrootcert=/path/ca.pem, use the name that the certificate \
         has, or lower sslMode",
    )
}

fn server(error: &ServerError, address: &Address) -> ConnectError {
    let ServerError { code, message, state } = error;
    // Of a data exception or a violated constraint the message quotes the value.
    let quotes = state.starts_with("22")
        || state.starts_with("23")
        || matches!(code, 1264 | 1265 | 1292 | 1366 | 1411);
    let message = if quotes { "a value was refused" } else { message };
    let text = format!("{address}: {message} (error {code})");
    let user = |name: &str, hint: &str| ConnectError::user(name, &text).hint(hint);
    match code {
        1045 | 1698 => {
            user("rds.login", "check connection.user and connection.password, and whether it needs TLS")
        }
        1044 | 1142 | 1143 | 1227 => user("rds.permission", "GRANT SELECT on the tables to connection.user"),
        1049 => user("rds.no_database", "check the database's name in connection.url"),
        1146 | 1051 => user("rds.table_missing", "restart the connector to look for tables again"),
        1298 => user(
            "rds.time_zone",
            "set db.timezone: UTC, or fill the server's zone tables (mysql_tzinfo_to_sql)",
        ),
        3159 => user("rds.tls", "the server wants TLS: write sslMode=REQUIRED in connection.url"),
        1040 | 1053 | 1158..=1161 | 1203 | 1205 | 1213 | 1226 | 1317 | 1927 | 2006 | 2013 | 4031 => {
            ConnectError::external("rds.server", text)
                .hint("the server is busy, stopping or lost the connection")
        }
        _ if state.starts_with("08") || state.starts_with("40") => ConnectError::external("rds.server", text),
        _ => ConnectError::new(Domain::External, Retry::NoRetry, "rds.server", text)
            .hint("see the server's log"),
    }
}
