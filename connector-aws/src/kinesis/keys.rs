//! The keys that say where Kinesis is and who we are to it: Confluent's names, with those of awslabs' sink as aliases.

use std::time::Duration;

use connector_core::{ConfigProblem, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::access::{Access, Role};

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

    /// Access key id. Without it the usual AWS places are asked: environment, profile files, web identity, container,
    /// instance.
    #[serde(rename = "aws.access.key.id", default)]
    pub access_key_id: Option<Secret>,

    /// Secret access key that belongs to `aws.access.key.id`.
    #[serde(rename = "aws.secret.access.key", default)]
    #[schemars(extend("aliases" = ["aws.secret.key.id"]))]
    pub secret_access_key: Option<Secret>,

    /// ARN of a role to work as; STS is asked for it.
    #[serde(rename = "aws.role.arn", default)]
    #[schemars(extend("aliases" = ["roleARN"]))]
    pub role_arn: Option<String>,

    /// Name of the role's session, which shows in AWS's logs.
    #[serde(rename = "aws.role.session.name", default = "session_name")]
    #[schemars(extend("aliases" = ["roleSessionName"]))]
    pub role_session_name: String,

    /// The external id that the role's trust policy asks for.
    #[serde(rename = "aws.role.external.id", default)]
    #[schemars(extend("aliases" = ["roleExternalID"]))]
    pub role_external_id: Option<String>,

    /// Seconds after which the role's credentials are renewed; without it STS decides (an hour).
    #[serde(rename = "aws.role.duration.seconds", default)]
    #[schemars(range(min = 900, max = 43_200), extend("aliases" = ["roleDurationSeconds"]))]
    pub role_duration_seconds: Option<u64>,
}

fn session_name() -> String {
    "sidestream".to_owned()
}

/// What is not blank: files of Connect often hold keys without a value.
fn said(text: Option<&String>) -> Option<String> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

impl Keys {
    /// What the schema cannot say.
    pub fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, message: &str, hint: &str| {
            problems.push(ConfigProblem::new(key, message, hint));
        };
        let both = "set both, or neither to use the environment's credentials";
        match (&self.access_key_id, &self.secret_access_key) {
            (Some(_), None) => {
                wrong("aws.secret.access.key", "is missing though `aws.access.key.id` is set", both);
            }
            (None, Some(_)) => {
                wrong("aws.access.key.id", "is missing though `aws.secret.access.key` is set", both);
            }
            _ => {}
        }
        if self.endpoint().is_some_and(|url| {
            Url::parse(&url).map_or(true, |url| !matches!(url.scheme(), "http" | "https") || !url.has_host())
        }) {
            wrong("kinesis.endpoint", "is not an address", "write http://host:port or https://host");
        }
        if self.role_arn().is_none()
            && (said(self.role_external_id.as_ref()).is_some() || self.role_duration_seconds.is_some())
        {
            wrong(
                "aws.role.arn",
                "is missing though other keys of a role are set",
                "name the role, or leave them out",
            );
        }
        problems
    }

    /// The endpoint as a URL; awslabs' key takes a bare host name.
    fn endpoint(&self) -> Option<String> {
        let text = said(self.endpoint.as_ref())?;
        Some(if text.contains("://") { text } else { format!("https://{text}") })
    }

    fn role_arn(&self) -> Option<String> {
        said(self.role_arn.as_ref())
    }

    pub fn access(&self) -> Access {
        let role = |arn| Role {
            arn,
            session_name: said(Some(&self.role_session_name)).unwrap_or_else(session_name),
            external_id: said(self.role_external_id.as_ref()),
            duration: self.role_duration_seconds.map(Duration::from_secs),
        };
        Access {
            region: said(self.region.as_ref()),
            endpoint: self.endpoint(),
            key: self.access_key_id.clone().zip(self.secret_access_key.clone()),
            role: self.role_arn().map(role),
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

    #[test]
    fn half_a_key_and_a_role_without_a_name_are_refused() {
        let half = Keys { access_key_id: Some(Secret::new("AK")), ..Keys::default() };
        assert_eq!(half.problems()[0].key, "aws.secret.access.key");
        let nameless = Keys { role_external_id: Some("x".to_owned()), ..Keys::default() };
        assert_eq!(nameless.problems()[0].key, "aws.role.arn");
    }
}
