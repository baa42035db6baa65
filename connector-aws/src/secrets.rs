//! Secrets Manager, Parameter Store, and files in S3.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::result::SdkError;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::access::Access;
use crate::error::causes;
use crate::s3;

/// Why something could not be read, and what to do. Holds names, and never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// There is nothing of this name, as opposed to what may come back.
    pub not_found: bool,
    pub message: String,
    pub hint: String,
}

impl Unread {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { not_found: false, message: message.into(), hint: hint.into() }
    }

    fn not_found(message: String, hint: &str) -> Self {
        Self { not_found: true, message, hint: hint.to_owned() }
    }
}

/// The text of a secret; `id` is its name or ARN.
pub async fn secret(access: &Access, id: &str) -> Result<String, Unread> {
    let client = aws_sdk_secretsmanager::Client::new(&access.config().await);
    let action = "secretsmanager:GetSecretValue";
    let answer = client
        .get_secret_value()
        .secret_id(id)
        .send()
        .await
        .map_err(|error| explain(&format!("the secret `{id}`"), action, &error))?;
    if let Some(text) = answer.secret_string {
        return Ok(text);
    }
    let bytes = answer.secret_binary.map(aws_sdk_secretsmanager::primitives::Blob::into_inner);
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        Unread::new(format!("the secret `{id}` is no text"), "store it as text or as a JSON object of texts")
    })
}

/// The value of a parameter, decrypted.
pub async fn parameter(access: &Access, name: &str) -> Result<String, Unread> {
    let client = aws_sdk_ssm::Client::new(&access.config().await);
    let action = "ssm:GetParameter (and kms:Decrypt for a SecureString with a key of your own)";
    let answer = client
        .get_parameter()
        .name(name)
        .with_decryption(true)
        .send()
        .await
        .map_err(|error| explain(&format!("the parameter `{name}`"), action, &error))?;
    answer
        .parameter
        .and_then(|parameter| parameter.value)
        .ok_or_else(|| Unread::new(format!("the parameter `{name}` has no value"), "set one"))
}

/// A whole object.
pub async fn object(access: &Access, bucket: &str, key: &str) -> Result<Vec<u8>, Unread> {
    let what = format!("the object `{key}` of the bucket `{bucket}`");
    let failed = |error: object_store::Error| match error {
        object_store::Error::NotFound { .. } => {
            Unread::not_found(format!("{what} is not there"), "check bucket, key and region")
        }
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            Unread::new(format!("{what} may not be read"), "allow s3:GetObject on it to this identity")
        }
        error => Unread::new(format!("{what} cannot be read: {}", innermost(&error)), REACH),
    };
    let opened = s3::open(bucket, access, &s3::Options::default()).await.map_err(failed)?;
    let object = opened.store.get(&Path::from(key)).await.map_err(failed)?;
    Ok(object.bytes().await.map_err(failed)?.to_vec())
}

const REACH: &str =
    "check the provider's param.region and param.endpoint, the network (a VPC endpoint?) and the credentials";

fn explain<E, R>(what: &str, action: &str, error: &SdkError<E, R>) -> Unread
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let denied =
        format!("allow {action} on it to this identity; `aws sts get-caller-identity` tells who it is");
    match error.as_service_error().and_then(ProvideErrorMetadata::code) {
        Some("ResourceNotFoundException" | "ParameterNotFound") => Unread::not_found(
            format!("{what} is not there"),
            "check its name and the provider's param.region",
        ),
        Some("AccessDeniedException") => Unread::new(format!("{what} may not be read"), denied),
        Some("InvalidRequestException") => {
            Unread::not_found(format!("{what} is marked for deletion"), "restore it, or name another one")
        }
        Some(
            code @ ("UnrecognizedClientException" | "InvalidSignatureException" | "ExpiredTokenException"),
        ) => Unread::new(
            format!("{what} cannot be read: {code}"),
            "check the AWS credentials of the process, and the clock",
        ),
        Some(code) => Unread::new(format!("{what} cannot be read: {code}"), REACH),
        None if causes(error).any(|cause| cause.is::<CredentialsError>()) => Unread::new(
            format!("{what} cannot be read: there are no AWS credentials"),
            "give the process some: environment, profile, task role or instance profile",
        ),
        None => Unread::new(format!("{what} cannot be read: {}", innermost(error)), REACH),
    }
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}
