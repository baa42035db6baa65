//! Credentials for object_store, found by AWS's SDK.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;

/// The SDK's credentials for object_store.
#[derive(Debug)]
pub struct Chain {
    provider: Option<SharedCredentialsProvider>,
    /// Valid ones; asked for again a little before they expire.
    cached: tokio::sync::Mutex<Option<(Arc<AwsCredential>, Option<std::time::SystemTime>)>>,
}

/// Credentials that expire sooner are renewed first.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

impl Chain {
    pub fn of(config: &SdkConfig) -> Self {
        Self { provider: config.credentials_provider(), cached: tokio::sync::Mutex::default() }
    }
}

#[async_trait]
impl CredentialProvider for Chain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut cached = self.cached.lock().await;
        let soon = std::time::SystemTime::now() + RENEW_BEFORE;
        if let Some((credential, expiry)) = &*cached
            && expiry.is_none_or(|expiry| expiry > soon)
        {
            return Ok(Arc::clone(credential));
        }
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
            object_store::Error::Unauthenticated { path: String::new(), source }
        };
        let provider =
            self.provider.as_ref().ok_or_else(|| failed("no AWS credentials were found".into()))?;
        let found = provider.provide_credentials().await.map_err(|e| failed(e.into()))?;
        let credential = Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        });
        *cached = Some((Arc::clone(&credential), found.expiry()));
        Ok(credential)
    }
}
