//! MySQL and MariaDB.

mod column;
mod error;

use async_trait::async_trait;
use connector_core::Result;
use futures::TryStreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{ClientIdentity, Conn, Opts, OptsBuilder, Params, Row, SslOpts, Value};

use crate::address::{Address, Dialect};
use crate::column::Column;
use crate::database::{Database, Listed, Select};
use crate::pages::Pages;
use crate::tables::TableId;
use crate::tls::{self, TlsMode};

pub struct MySql {
    connection: Conn,
    address: Address,
}

impl MySql {
    pub async fn connect(address: &Address, time_zone: &str) -> Result<Self> {
        let connection = match (address.tls, Conn::new(options(address, time_zone, true)?).await) {
            (TlsMode::Prefer, Err(error)) if error::is_without_tls(&error) => {
                Conn::new(options(address, time_zone, false)?).await
            }
            (_, result) => result,
        };
        let connection = connection.map_err(|e| error::explain(e, address))?;
        Ok(Self { connection, address: address.clone() })
    }
}

fn options(address: &Address, time_zone: &str, encrypted: bool) -> Result<Opts> {
    // Names of zones are only known to a server whose zone tables were filled; UTC always works.
    let zone = if time_zone.eq_ignore_ascii_case("utc") { "+00:00" } else { time_zone };
    let builder = OptsBuilder::default()
        .ip_or_hostname(&address.host)
        .tcp_port(address.port)
        // A unix socket found over TCP may be another server's when ports are forwarded.
        .prefer_socket(false)
        .user(Some(&address.user))
        .pass(address.password.as_ref().map(|p| p.reveal()))
        .db_name(Some(&address.database).filter(|d| !d.is_empty()))
        // The server gives a reader that waits for Kafka 60 s by default.
        .init(vec![format!("SET time_zone = '{}', net_write_timeout = 3600", zone.replace('\'', "''"))]);
    if !encrypted || address.tls == TlsMode::Disable {
        return Ok(builder.into());
    }
    tls::install_provider();
    let mut ssl = SslOpts::default()
        .with_danger_accept_invalid_certs(address.tls < TlsMode::VerifyCa)
        // The driver does not recognise today's rustls error for a wrong name, so VERIFY_CA refuses that too.
        .with_danger_skip_domain_validation(address.tls < TlsMode::VerifyFull);
    if address.tls >= TlsMode::VerifyCa {
        let roots = tls::trusted(address)?.into_iter().map(|c| c.to_vec().into()).collect();
        ssl = ssl.with_disable_built_in_roots(true).with_root_certs(roots);
    }
    if let Some((cert, key)) = &address.identity {
        ssl = ssl.with_client_identity(Some(ClientIdentity::new(cert.clone().into(), key.clone().into())));
    }
    Ok(builder.ssl_opts(ssl).into())
}

#[async_trait]
impl Database for MySql {
    async fn tables(&mut self, pattern: Option<&str>) -> Result<Vec<Listed>> {
        let sql = "SELECT table_schema, table_name, table_type FROM information_schema.tables \
                   WHERE table_schema LIKE COALESCE(?, DATABASE()) \
                   AND table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys') \
                   ORDER BY table_schema, table_name";
        // Without a pattern the name is meant as it is: `_` and `%` are no wildcards.
        let here = (!self.address.database.is_empty()).then(|| like(&self.address.database));
        let pattern = pattern.map(str::to_owned).or(here);
        if pattern.is_none() {
            return Err(error::no_database(&self.address));
        }
        let rows: Vec<(String, String, String)> =
            self.connection.exec(sql, (pattern,)).await.map_err(|e| error::explain(e, &self.address))?;
        let listed = |(database, name, table_type): (String, String, String)| Listed {
            table: TableId { database, schema: None, name },
            table_type: match table_type.as_str() {
                "BASE TABLE" | "SYSTEM VERSIONED" => "TABLE".to_owned(),
                _ => table_type,
            },
        };
        Ok(rows.into_iter().map(listed).collect())
    }

    async fn columns(&mut self, table: &TableId) -> Result<Vec<Column>> {
        let sql = "SELECT column_name, data_type, column_type, is_nullable, numeric_precision, numeric_scale, \
                   column_key, extra FROM information_schema.columns \
                   WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position";
        let rows: Vec<column::Declared> = self
            .connection
            .exec(sql, (&table.database, &table.name))
            .await
            .map_err(|e| error::explain(e, &self.address))?;
        Ok(rows.into_iter().map(column::column).collect())
    }

    async fn read(&mut self, select: &Select, pages: &mut Pages<'_>) -> Result<usize> {
        let explain = |e| error::explain(e, &self.address);
        let kinds: Vec<_> = pages.layout().columns.iter().map(|c| c.kind.clone()).collect();
        let zero_is_null = self.address.zero_date_is_null;
        let mut rows =
            self.connection.exec_stream::<Row, _, _>(&select.sql, params(select)).await.map_err(explain)?;
        while let Some(row) = rows.try_next().await.map_err(explain)? {
            for (index, kind) in kinds.iter().enumerate() {
                let value = row.as_ref(index).unwrap_or(&Value::NULL);
                pages.push(index, column::cell(value, kind.as_ref(), zero_is_null))?;
            }
            pages.end_row().await?;
        }
        pages.finish().await
    }

    async fn exists(&mut self, select: &Select) -> Result<bool> {
        let row: Option<Row> = self
            .connection
            .exec_first(&select.sql, params(select))
            .await
            .map_err(|e| error::explain(e, &self.address))?;
        Ok(row.is_some())
    }

    async fn ping(&mut self) -> bool {
        self.connection.ping().await.is_ok()
    }

    async fn execute(&mut self, sql: &str) -> Result<()> {
        self.connection.query_drop(sql).await.map_err(|e| error::explain(e, &self.address))
    }

    fn dialect(&self) -> Dialect {
        Dialect::MySql
    }
}

fn params(select: &Select) -> Params {
    select.after.map_or(Params::Empty, |after| Params::Positional(vec![Value::Int(after)]))
}

fn like(name: &str) -> String {
    name.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%")
}
