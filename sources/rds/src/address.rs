//! Where a database is, from a JDBC or a plain URL. No message here repeats the URL: it may hold a password.

use std::fmt;
use std::path::PathBuf;

use connector_core::{ConfigProblem, Secret};
use url::Url;

use crate::tls::TlsMode;

/// Which database speaks at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// MySQL and MariaDB.
    MySql,
    Postgres,
}

/// A database and how to get in.
#[derive(Clone, Debug)]
pub struct Address {
    pub dialect: Dialect,
    pub host: String,
    pub port: u16,
    /// Empty when the URL names none.
    pub database: String,
    pub user: String,
    pub password: Option<Secret>,
    /// `currentSchema` of a PostgreSQL URL.
    pub schema: Option<String>,
    pub tls: TlsMode,
    /// PEM file with the certificates to trust; `None`: those of the system.
    pub root_cert: Option<PathBuf>,
    /// PEM files of the client's certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// MySQL's `zeroDateTimeBehavior=CONVERT_TO_NULL`.
    pub zero_date_is_null: bool,
}

const FORMS: &str = "write mysql://host:3306/db or jdbc:mysql://host:3306/db, jdbc:mariadb://host:3306/db or jdbc:postgresql://host:5432/db; \
                     percent-encode special characters, or use connection.user and connection.password";

fn problem(message: impl Into<String>, hint: impl Into<String>) -> ConfigProblem {
    ConfigProblem::new("connection.url", message, hint)
}

impl Address {
    /// Reads `connection.url`; `user` and `password` win over what it holds.
    pub fn parse(url: &str, user: Option<&str>, password: Option<&Secret>) -> Result<Self, ConfigProblem> {
        let text = url.trim();
        let text = text.strip_prefix("jdbc:").unwrap_or(text);
        let url = Url::parse(text).map_err(|e| problem(format!("is not a database URL: {e}"), FORMS))?;
        let dialect = match url.scheme() {
            "mysql" | "mariadb" => Dialect::MySql,
            "postgresql" | "postgres" => Dialect::Postgres,
            "sqlserver" | "oracle" | "db2" | "sqlite" | "h2" => {
                return Err(problem("names a kind of database that is not supported", FORMS));
            }
            _ => return Err(problem("does not begin with a known scheme", FORMS)),
        };
        let host = url.host_str().filter(|h| !h.is_empty()).ok_or_else(|| problem("names no host", FORMS))?;
        let mut address = Self {
            dialect,
            host: decode(host.trim_start_matches('[').trim_end_matches(']')),
            port: url.port().unwrap_or(if dialect == Dialect::MySql { 3306 } else { 5432 }),
            database: decode(url.path().trim_start_matches('/')),
            user: decode(url.username()),
            password: url.password().map(|p| Secret::new(decode(p))),
            schema: None,
            tls: TlsMode::Prefer,
            root_cert: None,
            identity: None,
            zero_date_is_null: false,
        };
        if address.database.contains('/') {
            return Err(problem("has more than one part after the host", "one database: …/db?parameters"));
        }
        address.parameters(&url)?;
        if let Some(user) = user.filter(|u| !u.is_empty()) {
            user.clone_into(&mut address.user);
        }
        if let Some(password) = password {
            address.password = Some(password.clone());
        }
        Ok(address)
    }

    /// Driver parameters that matter here; the others are the business of a JVM driver and are passed over.
    fn parameters(&mut self, url: &Url) -> Result<(), ConfigProblem> {
        let (mut cert, mut key) = (None, None);
        for (name, value) in url.query_pairs() {
            match name.to_ascii_lowercase().as_str() {
                "user" => self.user = value.into_owned(),
                "password" => self.password = Some(Secret::new(value)),
                "currentschema" => self.schema = Some(value.into_owned()),
                "sslmode" => {
                    self.tls = TlsMode::named(&value).ok_or_else(|| {
                        problem(
                            "has an unknown sslmode",
                            "one of disable, prefer, require, verify-ca, verify-full (MySQL: DISABLED, PREFERRED, \
                             REQUIRED, VERIFY_CA, VERIFY_IDENTITY)",
                        )
                    })?;
                }
                "usessl" | "ssl" => {
                    self.tls = match (value.to_ascii_lowercase().as_str(), self.dialect) {
                        ("false" | "0", _) => TlsMode::Disable,
                        // As in the JDBC drivers: pgjdbc verifies, Connector/J only encrypts.
                        (_, Dialect::Postgres) => TlsMode::VerifyFull,
                        (_, Dialect::MySql) => TlsMode::Require.max(self.tls),
                    };
                }
                "requiressl" if value.eq_ignore_ascii_case("true") => {
                    self.tls = TlsMode::Require.max(self.tls)
                }
                "verifyservercertificate" if value.eq_ignore_ascii_case("true") => {
                    self.tls = TlsMode::VerifyCa.max(self.tls);
                }
                "sslrootcert" | "serversslcert" => self.root_cert = Some(PathBuf::from(value.into_owned())),
                "sslcert" => cert = Some(PathBuf::from(value.into_owned())),
                "sslkey" => key = Some(PathBuf::from(value.into_owned())),
                "trustcertificatekeystoreurl" => {
                    return Err(problem(
                        "names a Java key store, which cannot be read here",
                        "export its certificates to a PEM file and name that: sslrootcert=/path/ca.pem",
                    ));
                }
                "zerodatetimebehavior" => {
                    self.zero_date_is_null = value.to_ascii_lowercase().replace('_', "") == "converttonull";
                }
                _ => {}
            }
        }
        self.identity = match (cert, key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((cert, key)),
            _ => return Err(problem("has only one of sslcert and sslkey", "name both PEM files, or none")),
        };
        Ok(())
    }
}

/// `mysql at host:3306/db`: fit for messages.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.dialect {
            Dialect::MySql => "MySQL",
            Dialect::Postgres => "PostgreSQL",
        };
        write!(f, "{kind} at {}:{}/{}", self.host, self.port, self.database)
    }
}

/// Percent-decoding of one URL part (`+` stays).
fn decode(text: &str) -> String {
    let hex = |byte: Option<&u8>| byte.and_then(|&b| char::from(b).to_digit(16));
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        match (byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Address {
        Address::parse(url, None, None).unwrap()
    }

    #[test]
    fn jdbc_and_plain_forms_name_the_same_place() {
        for url in ["jdbc:mysql://h:3307/db", "mysql://h:3307/db", "jdbc:mariadb://h:3307/db?useUnicode=yes"]
        {
            let address = parse(url);
            assert_eq!(address.to_string(), "MySQL at h:3307/db");
            assert_eq!(address.dialect, Dialect::MySql);
        }
        for url in ["jdbc:postgresql://h/db", "postgres://h/db", "postgresql://h:5432/db"] {
            assert_eq!(parse(url).to_string(), "PostgreSQL at h:5432/db");
        }
        assert_eq!(parse("jdbc:mysql://[::1]:3306/db").host, "::1");
    }

    #[test]
    fn a_user_is_taken_from_the_key_then_the_parameters_then_the_authority() {
        let address = parse("mysql://me:p%40ss+w%2Fd@h/db");
        assert_eq!(address.user, "me");
        assert_eq!(address.password.unwrap().reveal(), "p@ss+w/d");
        assert_eq!(parse("jdbc:mysql://h/db?user=a&password=b").user, "a");
        let address = Address::parse("mysql://me:pw@h/db", Some("you"), Some(&Secret::new("key"))).unwrap();
        assert_eq!((address.user.as_str(), address.password.unwrap().reveal()), ("you", "key"));
    }

    #[test]
    fn tls_parameters_mean_what_the_drivers_mean() {
        let tls = |url| parse(url).tls;
        assert_eq!(tls("jdbc:mysql://h/db"), TlsMode::Prefer);
        assert_eq!(tls("jdbc:mysql://h/db?useSSL=false"), TlsMode::Disable);
        assert_eq!(tls("jdbc:mysql://h/db?sslMode=VERIFY_IDENTITY&useSSL=true"), TlsMode::VerifyFull);
        assert_eq!(tls("jdbc:mysql://h/db?useSSL=true&verifyServerCertificate=true"), TlsMode::VerifyCa);
        assert_eq!(tls("jdbc:mariadb://h/db?sslMode=trust"), TlsMode::Require);
        assert_eq!(tls("jdbc:postgresql://h/db?ssl=true"), TlsMode::VerifyFull);
        assert_eq!(tls("postgres://h/db?sslmode=require"), TlsMode::Require);
        assert_eq!(
            parse("postgres://h/db?sslrootcert=/a/b.pem").root_cert.unwrap(),
            PathBuf::from("/a/b.pem")
        );
    }

    #[test]
    fn a_wrong_url_is_explained_without_being_shown() {
        let urls = [
            "jdbc:oracle://u:hunter2@h/db",
            "hunter2",
            "mysql://u:hunter2@/db",
            "jdbc:mysql://u:hunter2@a:1,b:2/db",
            "mysql://u:hunter2@h/db?sslmode=hunter2",
            "mysql://u:hunter2@h/db?sslcert=x",
            "mysql://u:hunter2@h/a/b",
        ];
        for url in urls {
            let problem = Address::parse(url, None, None).unwrap_err();
            assert_eq!(problem.key, "connection.url");
            assert!(!problem.to_string().contains("hunter2"), "{problem}");
            assert!(!problem.hint.is_empty(), "{problem}");
        }
        assert!(!format!("{:?}", parse("mysql://u:hunter2@h/db")).contains("hunter2"));
    }
}
