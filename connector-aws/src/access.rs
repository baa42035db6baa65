//! Who we are to AWS, and where its services are.

use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use connector_core::Secret;

use crate::error::causes;

/// What a plugin's keys say about access; each is optional, and the rest comes from the usual AWS chain: environment,
/// profile files, web identity, container, instance.
#[derive(Clone, Debug, Default)]
pub struct Access {
    pub region: Option<String>,
    /// `http://host:port` of a service that is not AWS's own.
    pub endpoint: Option<String>,
    /// Access key id and secret access key.
    pub key: Option<(Secret, Secret)>,
    /// Of a key that lasts only for a while.
    pub session_token: Option<Secret>,
    /// A profile of AWS's configuration files, in place of the default one.
    pub profile: Option<String>,
    /// The role to work as.
    pub role: Option<Role>,
}

/// A role that STS lets us assume.
#[derive(Clone, Debug)]
pub struct Role {
    pub arn: String,
    pub session_name: String,
    pub external_id: Option<String>,
    /// 15 minutes to 12 hours; the service's default is an hour.
    pub duration: Option<Duration>,
}

impl Access {
    /// Looks up what the keys leave open; asks for credentials only when they are used.
    pub async fn config(&self) -> SdkConfig {
        let Some(role) = &self.role else {
            return self.at_endpoint(self.loader()).load().await;
        };
        // STS is asked where it is, not at the endpoint of the service that the plugin is for.
        let base = self.loader().load().await;
        let mut provider =
            AssumeRoleProvider::builder(&role.arn).session_name(&role.session_name).configure(&base);
        if let Some(id) = &role.external_id {
            provider = provider.external_id(id);
        }
        if let Some(duration) = role.duration {
            provider = provider.session_length(duration);
        }
        let provider = provider.build().await;
        self.at_endpoint(self.loader().credentials_provider(provider)).load().await
    }

    fn at_endpoint(&self, loader: ConfigLoader) -> ConfigLoader {
        match &self.endpoint {
            Some(url) => loader.endpoint_url(url),
            None => loader,
        }
    }

    fn loader(&self) -> ConfigLoader {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(region) = self.region.as_deref().map(str::trim).filter(|region| !region.is_empty()) {
            loader = loader.region(Region::new(region.to_owned()));
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some((id, secret)) = &self.key {
            let provider = "connector configuration";
            loader = loader.credentials_provider(Credentials::new(
                id.reveal(),
                secret.reveal(),
                self.session_token.as_ref().map(|token| token.reveal().to_owned()),
                None,
                provider,
            ));
        }
        loader
    }
}

/// The present credentials of a configuration; the text of an error has all its causes.
pub async fn credentials(provider: &SharedCredentialsProvider) -> Result<Credentials, String> {
    provider.provide_credentials().await.map_err(|error| {
        let mut texts: Vec<String> = causes(&error).map(ToString::to_string).collect();
        texts.dedup();
        texts.join(": ")
    })
}
