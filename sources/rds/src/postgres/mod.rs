//! PostgreSQL.

mod column;
mod error;
mod value;

use async_trait::async_trait;
use connector_core::Result;
use futures::{TryStreamExt, pin_mut};
use tokio_postgres::config::SslMode;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::address::{Address, Dialect};
use crate::column::Column;
use crate::database::{Database, Listed, Select};
use crate::pages::Pages;
use crate::tables::TableId;
use crate::tls::{self, TlsMode};

pub struct Postgres {
    client: Client,
    address: Address,
}

impl Postgres {
    pub async fn connect(address: &Address) -> Result<Self> {
        let mut config = Config::new();
        config.host(&address.host).port(address.port).user(&address.user).application_name("sidestream");
        if !address.database.is_empty() {
            config.dbname(&address.database);
        }
        if let Some(password) = &address.password {
            config.password(password.reveal());
        }
        config.ssl_mode(match address.tls {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        });
        let explain = |e| error::explain(&e, address);
        let tls = MakeRustlsConnect::new(tls::client_config(address)?);
        let (client, connection) = config.connect(tls).await.map_err(explain)?;
        // Ends with the client; what fails in it shows in the client's next call.
        tokio::spawn(connection);
        // Casts to text depend on these.
        client
            .batch_execute("SET TIME ZONE 'UTC'; SET intervalstyle = 'iso_8601'; SET datestyle = 'ISO'")
            .await
            .map_err(explain)?;
        Ok(Self { client, address: address.clone() })
    }
}

#[async_trait]
impl Database for Postgres {
    async fn tables(&mut self, pattern: Option<&str>) -> Result<Vec<Listed>> {
        let sql = "SELECT current_database()::text, n.nspname::text, c.relname::text, c.relkind::text \
                   FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition \
                   AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' \
                   AND ($1::text IS NULL OR n.nspname LIKE $1) ORDER BY 2, 3";
        let pattern = pattern.or(self.address.schema.as_deref());
        let explain = |e| error::explain(&e, &self.address);
        let rows = self.client.query(sql, &[&pattern]).await.map_err(explain)?;
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            let text = |i| row.try_get::<_, String>(i).map_err(explain);
            let table = TableId { database: text(0)?, schema: Some(text(1)?), name: text(2)? };
            let table_type = match text(3)?.as_str() {
                "v" => "VIEW",
                "m" => "MATERIALIZED VIEW",
                "f" => "FOREIGN TABLE",
                _ => "TABLE",
            };
            all.push(Listed { table, table_type: table_type.to_owned() });
        }
        Ok(all)
    }

    async fn columns(&mut self, table: &TableId) -> Result<Vec<Column>> {
        let schema = table.schema.as_deref().unwrap_or("public");
        let explain = |e| error::explain(&e, &self.address);
        let rows = self.client.query(column::COLUMNS, &[&schema, &table.name]).await.map_err(explain)?;
        rows.iter().map(|row| column::column(row).map_err(explain)).collect()
    }

    async fn read(&mut self, select: &Select, pages: &mut Pages<'_>) -> Result<usize> {
        let explain = |e| error::explain(&e, &self.address);
        let kinds: Vec<_> = pages.layout().columns.iter().map(|c| c.kind.clone()).collect();
        let after = select.after.as_ref().map(|a| a as &(dyn ToSql + Sync));
        let rows = self.client.query_raw(&select.sql, after).await.map_err(explain)?;
        pin_mut!(rows);
        while let Some(row) = rows.try_next().await.map_err(explain)? {
            for (index, kind) in kinds.iter().enumerate() {
                pages.push(index, value::cell(&row, index, kind.as_ref()))?;
            }
            pages.end_row().await?;
        }
        pages.finish().await
    }

    async fn exists(&mut self, select: &Select) -> Result<bool> {
        let after = select.after.as_ref().map(|a| a as &(dyn ToSql + Sync));
        let params: Vec<_> = after.into_iter().collect();
        let row = self.client.query_opt(&select.sql, &params).await;
        Ok(row.map_err(|e| error::explain(&e, &self.address))?.is_some())
    }

    async fn ping(&mut self) -> bool {
        !self.client.is_closed() && self.client.check_connection().await.is_ok()
    }

    async fn execute(&mut self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(|e| error::explain(&e, &self.address))
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }
}
