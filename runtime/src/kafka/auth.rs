//! Who a client is to the brokers: Java's SASL keys for librdkafka.

mod iam;
mod jaas;
pub mod stores;
pub mod trouble;

use std::sync::Arc;

use connector_core::{ConfigMap, ConnectError, Result};
use tokio::runtime::Handle;

pub use iam::Tokens;
use jaas::Jaas;

/// Takes Java's SASL keys out of `config` and puts librdkafka's in. The source of tokens when the mechanism is MSK IAM.
pub fn translate(config: &mut ConfigMap, handle: &Handle) -> Result<Option<Arc<Tokens>>> {
    let jaas = config.remove("sasl.jaas.config").map(|text| Jaas::parse(&text)).transpose()?;
    let handlers: Vec<String> = ["sasl.client.callback.handler.class", "sasl.login.callback.handler.class"]
        .iter()
        .filter_map(|key| config.remove(*key))
        .collect();
    let lifetime = config.remove(iam::LIFETIME);
    let mechanism = ["sasl.mechanism", "sasl.mechanisms"].iter().find_map(|key| config.get(*key)).cloned();
    let mechanism = mechanism.unwrap_or_default();
    let is = |module: &str| jaas.as_ref().is_some_and(|j| j.module.rsplit('.').next() == Some(module));
    let iam_handler =
        handlers.iter().any(|class| class.contains(".msk.auth.iam.") || class.starts_with("IAM"));
    if mechanism == "AWS_MSK_IAM" || is("IAMLoginModule") || (mechanism == "OAUTHBEARER" && iam_handler) {
        config.remove("sasl.mechanisms");
        config.insert("sasl.mechanism".into(), "OAUTHBEARER".into());
        config.entry("security.protocol".into()).or_insert_with(|| "SASL_SSL".into());
        let options = jaas.map(|j| j.options).unwrap_or_default();
        return iam::tokens(config, &options, lifetime.as_deref(), handle).map(Some);
    }
    if mechanism == "OAUTHBEARER" {
        return Err(ConnectError::user("kafka.mechanism", "sasl.mechanism OAUTHBEARER is known for MSK IAM only")
            .hint(
                "for MSK write sasl.mechanism: AWS_MSK_IAM; for another issuer of tokens use SCRAM-SHA-512 or mutual TLS",
            ));
    }
    let Some(jaas) = jaas else { return Ok(None) };
    match jaas.module.rsplit('.').next() {
        Some("PlainLoginModule" | "ScramLoginModule") => {
            for (java, native) in [("username", "sasl.username"), ("password", "sasl.password")] {
                let value = jaas.options.get(java).ok_or_else(|| {
                    ConnectError::user("kafka.jaas", format!("sasl.jaas.config has no `{java}`"))
                        .hint("write `… required username=\"…\" password=\"…\";`")
                })?;
                config.insert(native.into(), value.clone());
            }
            Ok(None)
        }
        _ => Err(ConnectError::user(
            "kafka.jaas",
            format!("sasl.jaas.config names the login module `{}`", jaas.module),
        )
        .hint("PlainLoginModule, ScramLoginModule and IAMLoginModule are known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> ConfigMap {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    const BROKERS: (&str, &str) =
        ("bootstrap.servers", "b-1.demo.abc.c2.kafka.eu-west-1.amazonaws.com:9098,b-2:9098");

    #[tokio::test]
    async fn scram_credentials_come_out_of_the_jaas_text() {
        let mut c = config(&[
            ("sasl.mechanism", "SCRAM-SHA-512"),
            (
                "sasl.jaas.config",
                r#"org.apache.kafka.common.security.scram.ScramLoginModule required username="bob" password="a \"b\" c";"#,
            ),
        ]);
        assert!(translate(&mut c, &Handle::current()).unwrap().is_none());
        assert_eq!(c["sasl.username"], "bob");
        assert_eq!(c["sasl.password"], "a \"b\" c");
        assert!(!c.contains_key("sasl.jaas.config"));
    }

    #[tokio::test]
    async fn both_spellings_of_msk_iam_become_oauthbearer_and_share_one_source_of_tokens() {
        let mut as_iam = config(&[
            BROKERS,
            ("sasl.mechanism", "AWS_MSK_IAM"),
            ("sasl.jaas.config", "software.amazon.msk.auth.iam.IAMLoginModule required;"),
            ("sasl.client.callback.handler.class", "software.amazon.msk.auth.iam.IAMClientCallbackHandler"),
        ]);
        let mut as_oauth = config(&[
            BROKERS,
            ("sasl.mechanism", "OAUTHBEARER"),
            (
                "sasl.jaas.config",
                "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
            ),
            (
                "sasl.login.callback.handler.class",
                "software.amazon.msk.auth.iam.IAMOAuthBearerLoginCallbackHandler",
            ),
        ]);
        let sources =
            [&mut as_iam, &mut as_oauth].map(|c| translate(c, &Handle::current()).unwrap().unwrap());
        assert!(Arc::ptr_eq(&sources[0], &sources[1]));
        for c in [as_iam, as_oauth] {
            let expected =
                config(&[BROKERS, ("sasl.mechanism", "OAUTHBEARER"), ("security.protocol", "SASL_SSL")]);
            assert_eq!(c, expected);
        }
    }

    #[tokio::test]
    async fn tokens_of_another_issuer_are_refused_with_what_to_use() {
        let mut c = config(&[("sasl.mechanism", "OAUTHBEARER")]);
        let error = translate(&mut c, &Handle::current()).unwrap_err();
        assert_eq!(error.code, "kafka.mechanism");
        assert!(error.hint.contains("AWS_MSK_IAM"), "{error}");
    }
}
