//! A database of a test's own, on the server of the test run. Setting up is all that it is for: what is read from it
//! is read by the program under test.

use std::time::Duration;

use source_rds::Address;

use super::{block_on, unique};

#[derive(Clone, Debug)]
pub struct Database {
    /// `mysql://user:password@host:port/name`
    pub url: String,
    pub name: String,
}

impl Database {
    /// An empty database on the server of `url`.
    pub fn create(url: &str) -> Self {
        let name = unique("db").replace('-', "_");
        let (server, _) = url.rsplit_once('/').unwrap();
        run(url, &format!("CREATE DATABASE {name}"));
        Self { url: format!("{server}/{name}"), name }
    }

    /// Runs one statement.
    pub fn run(&self, sql: &str) {
        run(&self.url, sql);
    }

    /// `host:port`
    pub fn address(&self) -> &str {
        let (_, rest) = self.url.rsplit_once('@').unwrap();
        rest.split_once('/').unwrap().0
    }

    /// The same database behind another `host:port`.
    pub fn url_at(&self, address: &str) -> String {
        self.url.replace(self.address(), address)
    }

    /// User, password, and `host:port/name`.
    pub fn parts(&self) -> (&str, &str, &str) {
        let (login, place) = self.url.split_once("://").unwrap().1.rsplit_once('@').unwrap();
        let (user, password) = login.split_once(':').unwrap();
        (user, password, place)
    }

    /// The same with another password.
    pub fn url_with_password(&self, password: &str) -> String {
        let (login, place) = self.url.rsplit_once('@').unwrap();
        let (user, _) = login.rsplit_once(':').unwrap();
        format!("{user}:{password}@{place}")
    }
}

fn run(url: &str, sql: &str) {
    block_on(async {
        let address = Address::parse(url, None, None).unwrap();
        let mut database = source_rds::connect(&address, "UTC", 1, Duration::ZERO).await.unwrap();
        database.execute(sql).await.unwrap_or_else(|error| panic!("{sql:.200}: {error}"));
    });
}
