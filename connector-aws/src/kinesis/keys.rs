//! The keys that say where Kinesis is: Confluent's names, with those of awslabs' sink as aliases.

use connector_core::ConfigProblem;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::access::Access;
use crate::identity::{Identity, address_problem, said};

/// To be flattened into a plugin's own configuration.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct Keys {
    /// AWS region of the stream; without it the environment or the profile says.
    #[serde(rename = "kinesis.region", default)]
    #[schemars(extend("aliases" = ["region"]))]
    pub region: Option<String>,

    /// Where Kinesis is when not at AWS: `http://host:port` or `https://host`.
    #[serde(rename = "kinesis.endpoint", default)]
    #[schemars(extend("aliases" = ["kinesis.base.url", "kinesisEndpoint"]))]
    pub endpoint: Option<String>,

    #[serde(flatten)]
    pub identity: Identity,
}

impl Keys {
    /// What the schema cannot say.
    pub fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems = self.identity.problems();
        problems.extend(address_problem("kinesis.endpoint", self.endpoint().as_deref()));
        problems
    }

    /// The endpoint as a URL; awslabs' key takes a bare host name.
    fn endpoint(&self) -> Option<String> {
        let text = said(self.endpoint.as_ref())?;
        Some(if text.contains("://") { text } else { format!("https://{text}") })
    }

    pub fn access(&self) -> Access {
        Access {
            region: said(self.region.as_ref()),
            endpoint: self.endpoint(),
            key: self.identity.key(),
            role: self.identity.role(),
            ..Access::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_a_scheme_is_https_and_a_blank_key_is_none_k_03() {
        let keys = |endpoint: &str| Keys { endpoint: Some(endpoint.to_owned()), ..Keys::default() };
        assert_eq!(keys("kinesis.example.com").access().endpoint.unwrap(), "https://kinesis.example.com");
        assert_eq!(keys("http://127.0.0.1:4567").access().endpoint.unwrap(), "http://127.0.0.1:4567");
        assert_eq!(keys(" ").access().endpoint, None);
        assert_eq!(keys("ftp://x").problems()[0].key, "kinesis.endpoint");
        assert!(keys("").problems().is_empty());
    }
}
