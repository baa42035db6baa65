//! The keys by which a plugin says who it is to AWS; those of awslabs' and Confluent's connectors are other names of them.

use std::time::Duration;

use connector_core::{ConfigProblem, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::access::Role;

/// To be flattened into a plugin's own configuration.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct Identity {
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
pub fn said(text: Option<&String>) -> Option<String> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The problem of an address of a service, if it has one.
pub(crate) fn address_problem(key: &str, address: Option<&str>) -> Option<ConfigProblem> {
    let wrong =
        Url::parse(address?).map_or(true, |url| !matches!(url.scheme(), "http" | "https") || !url.has_host());
    let hint = "write http://host:port or https://host";
    wrong.then(|| ConfigProblem::new(key, "is not the address of a service", hint))
}

impl Identity {
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
        if said(self.role_arn.as_ref()).is_none()
            && (said(self.role_external_id.as_ref()).is_some() || self.role_duration_seconds.is_some())
        {
            let hint = "name the role, or leave them out";
            wrong("aws.role.arn", "is missing though other keys of a role are set", hint);
        }
        problems
    }

    /// Access key id and secret access key.
    pub fn key(&self) -> Option<(Secret, Secret)> {
        self.access_key_id.clone().zip(self.secret_access_key.clone())
    }

    pub fn role(&self) -> Option<Role> {
        Some(Role {
            arn: said(self.role_arn.as_ref())?,
            session_name: said(Some(&self.role_session_name)).unwrap_or_else(session_name),
            external_id: said(self.role_external_id.as_ref()),
            duration: self.role_duration_seconds.map(Duration::from_secs),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_key_and_a_role_without_a_name_are_refused() {
        let half = Identity { access_key_id: Some(Secret::new("AK")), ..Identity::default() };
        assert_eq!(half.problems()[0].key, "aws.secret.access.key");
        let nameless = Identity { role_external_id: Some("x".to_owned()), ..Identity::default() };
        assert_eq!(nameless.problems()[0].key, "aws.role.arn");
    }
}
