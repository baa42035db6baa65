//! `connector.client.config.override.policy`: which client keys a connector may set for itself.

use schemars::JsonSchema;
use serde::Deserialize;

use super::diagnostic::Report;
use super::settings::Settings;

/// As Connect's three policies, by their short names or by their classes'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum OverridePolicy {
    /// Any key.
    #[default]
    #[serde(alias = "AllConnectorClientConfigOverridePolicy")]
    #[serde(alias = "org.apache.kafka.connect.connector.policy.AllConnectorClientConfigOverridePolicy")]
    All,
    /// No key.
    #[serde(alias = "NoneConnectorClientConfigOverridePolicy")]
    #[serde(alias = "org.apache.kafka.connect.connector.policy.NoneConnectorClientConfigOverridePolicy")]
    None,
    /// Those that say who it is: `security.protocol`, `sasl.mechanism`, `sasl.jaas.config`.
    #[serde(alias = "PrincipalConnectorClientConfigOverridePolicy")]
    #[serde(alias = "org.apache.kafka.connect.connector.policy.PrincipalConnectorClientConfigOverridePolicy")]
    Principal,
}

impl OverridePolicy {
    /// Reports what the policy forbids; `clients` are those that the connector uses: keys of others pass, as in Connect.
    pub(super) fn check(self, clients: &[&str], settings: &Settings, report: &mut Report) {
        let name = match self {
            Self::All => return,
            Self::None => "None",
            Self::Principal => "Principal",
        };
        let principal = ["security.protocol", "sasl.mechanism", "sasl.jaas.config"];
        for client in clients {
            let prefix = format!("{client}.override.");
            let keys: Vec<&str> = settings.keys().filter(|key| key.starts_with(&prefix)).collect();
            for key in keys {
                let own = &key[prefix.len()..];
                if self == Self::Principal && principal.contains(&own) {
                    continue;
                }
                let message = format!(
                    "The '{name}' policy does not allow '{own}' to be overridden in the connector configuration."
                );
                let hint = "leave it out, or set the worker's connector.client.config.override.policy: All";
                settings.error(key, message, hint, report);
            }
        }
    }
}
