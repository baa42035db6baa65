//! What Kinesis' errors mean and what to do about them.

use std::error::Error;

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use connector_core::ConnectError;

/// What an error code of Kinesis says, of a whole call or of one entry of PutRecords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Too much at once, for a shard or for calls of this kind: it passes when one waits.
    Throttled,
    /// A failure of the service: it passes.
    Service,
    NoSuchStream,
    /// The stream is being created, changed or deleted.
    Busy,
    /// Older than five minutes: a new iterator at the position helps.
    ExpiredIterator,
    AccessDenied,
    BadCredentials,
    ExpiredCredentials,
    Clock,
    /// The key that encrypts the stream cannot be used.
    Encryption,
    /// The call itself is refused: trying again does not help.
    Refused,
}

impl Trouble {
    /// Of an error code as Kinesis writes it, such as `ProvisionedThroughputExceededException`.
    pub fn of(code: &str) -> Self {
        let name = code.rsplit('#').next().unwrap_or(code);
        match name.strip_suffix("Exception").unwrap_or(name) {
            "ProvisionedThroughputExceeded"
            | "LimitExceeded"
            | "Throttling"
            | "KMSThrottling"
            | "RequestLimitExceeded"
            | "TooManyRequests" => Self::Throttled,
            "InternalFailure" | "InternalServerError" | "InternalError" | "ServiceUnavailable" => {
                Self::Service
            }
            "ResourceNotFound" => Self::NoSuchStream,
            "ResourceInUse" => Self::Busy,
            "ExpiredIterator" => Self::ExpiredIterator,
            "AccessDenied" | "NotAuthorized" | "OptInRequired" => Self::AccessDenied,
            "UnrecognizedClient"
            | "InvalidSignature"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "InvalidClientTokenId"
            | "SignatureDoesNotMatch" => Self::BadCredentials,
            "ExpiredToken" | "RequestExpired" => Self::ExpiredCredentials,
            "RequestTimeTooSkewed" => Self::Clock,
            name if name.starts_with("KMS") => Self::Encryption,
            _ => Self::Refused,
        }
    }

    /// `ConnectError::code`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Throttled => "kinesis.throttled",
            Self::Service => "kinesis.failure",
            Self::NoSuchStream => "kinesis.no_such_stream",
            Self::Busy => "kinesis.stream_in_use",
            Self::ExpiredIterator => "kinesis.expired_iterator",
            Self::AccessDenied => "kinesis.access_denied",
            Self::BadCredentials => "kinesis.bad_credentials",
            Self::ExpiredCredentials => "kinesis.expired_credentials",
            Self::Clock => "kinesis.clock",
            Self::Encryption => "kinesis.encryption_key",
            Self::Refused => "kinesis.refused",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Throttled => "it is tried again; add shards, or use on-demand mode, if it goes on",
            Self::Service | Self::Busy | Self::ExpiredIterator => "it is tried again",
            Self::NoSuchStream => {
                "create the stream, or correct its name, `kinesis.region` or `kinesis.endpoint`"
            }
            Self::AccessDenied => {
                "allow kinesis:DescribeStreamSummary and ListShards on the stream, PutRecords for writing, \
                 GetShardIterator and GetRecords for reading"
            }
            Self::BadCredentials => {
                "check `aws.access.key.id` and `aws.secret.access.key`, or the environment's AWS credentials"
            }
            Self::ExpiredCredentials => "renew the session's credentials; it is tried again",
            Self::Clock => "set this machine's clock (NTP)",
            Self::Encryption => "check the state and the policy of the stream's KMS key",
            Self::Refused => "",
        }
    }

    /// `what` happened at `place`, with the remedy.
    pub fn error(self, place: &str, what: &str) -> ConnectError {
        let make = if self.passes() { ConnectError::external } else { ConnectError::user };
        make(self.code(), format!("{place}: {what}")).hint(self.hint())
    }

    /// Whether the same call may succeed later.
    pub fn passes(self) -> bool {
        matches!(
            self,
            Self::Throttled | Self::Service | Self::Busy | Self::ExpiredIterator | Self::ExpiredCredentials
        )
    }
}

/// `error` of a call at `place` (``putting records into stream `s` ``). `ConnectError::code` tells the kinds apart:
/// [`Trouble::code`], `kinesis.unreachable`, `kinesis.timeout`, `kinesis.no_credentials`, `kinesis.no_region`,
/// `kinesis.no_answer`.
pub fn explain<E>(place: &str, error: &SdkError<E, HttpResponse>) -> ConnectError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(code) = error.code() {
        return refused(place, code, error.message().unwrap_or_default());
    }
    let (text, innermost) = causes(error);
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let user =
        |code: &str, what: &str, hint: &str| ConnectError::user(code, format!("{place}: {what}")).hint(hint);
    let external = |code: &str, what: &str, hint: &str| {
        ConnectError::external(code, format!("{place}: {what}")).hint(hint)
    };
    if says(&["Missing Region", "region must be set", "A region must be"]) {
        let hint = "set `kinesis.region`, or AWS_REGION in the environment";
        return user("kinesis.no_region", "no AWS region is known", hint);
    }
    if says(&["no providers in chain", "credentials provider was not enabled", "CredentialsNotLoaded"]) {
        let hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role gives credentials";
        return external("kinesis.no_credentials", "no AWS credentials were found", hint);
    }
    // STS refuses a role in the middle of our call, and says why in its own words.
    if says(&["AssumeRole", "assume role", "not authorized to perform: sts"]) {
        let hint =
            "check `aws.role.arn`, `aws.role.external.id` and the role's trust policy; it is tried again";
        return external("kinesis.role", &format!("the role cannot be assumed: {innermost}"), hint);
    }
    match error {
        SdkError::TimeoutError(_) => {
            external("kinesis.timeout", "no answer in time", "check the network; it is tried again")
        }
        SdkError::ConstructionFailure(_) => user("kinesis.request", &innermost, ""),
        SdkError::DispatchFailure(_) => {
            let hint = "check `kinesis.endpoint`, `kinesis.region` and the network; it is tried again";
            external("kinesis.unreachable", &innermost, hint)
        }
        _ => {
            let status = error.raw_response().map_or(0, |answer| answer.status().as_u16());
            let what = format!("HTTP {status} with what is no answer of Kinesis");
            external("kinesis.no_answer", &what, "check `kinesis.endpoint`; it is tried again")
        }
    }
}

/// An error that Kinesis named.
fn refused(place: &str, code: &str, message: &str) -> ConnectError {
    let trouble = match Trouble::of(code) {
        // A clock that is minutes off looks like a wrong signature.
        Trouble::BadCredentials if message.contains("Signature expired") => Trouble::Clock,
        Trouble::BadCredentials if message.contains("Signature not yet current") => Trouble::Clock,
        trouble => trouble,
    };
    let what = match trouble {
        // These answers repeat the signed request.
        Trouble::BadCredentials => format!("the credentials are refused ({code})"),
        Trouble::ExpiredCredentials => "the credentials have expired".to_owned(),
        Trouble::Clock => "this machine's clock differs too much from AWS's".to_owned(),
        _ if message.is_empty() => code.to_owned(),
        _ => format!("{code}: {}", without_values(message)),
    };
    trouble.error(place, &what)
}

/// A message of validation without what it quotes (``Value '…' at 'partitionKey' failed``): that may be data.
fn without_values(message: &str) -> String {
    let mut parts = message.split("alue '");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("alue");
        // A value may hold quotes itself: it ends at the last place named before the next one.
        if let Some((_, place)) = part.rsplit_once("' at '") {
            out.push_str(" at '");
            out.push_str(place);
        }
    }
    out
}

/// All causes in one text, to search, and the innermost, to show.
fn causes(error: &dyn Error) -> (String, String) {
    let (mut all, mut innermost) = (error.to_string(), error.to_string());
    let mut cause = error.source();
    while let Some(inner) = cause {
        innermost = inner.to_string();
        all.push_str(": ");
        all.push_str(&innermost);
        cause = inner.source();
    }
    (all, innermost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_entries_and_of_calls_are_told_apart_by_what_helps_k_02() {
        for (code, trouble) in [
            ("ProvisionedThroughputExceededException", Trouble::Throttled),
            ("KMSThrottlingException", Trouble::Throttled),
            ("InternalFailure", Trouble::Service),
            ("com.amazonaws.kinesis#ResourceNotFoundException", Trouble::NoSuchStream),
            ("KMSDisabledException", Trouble::Encryption),
            ("ValidationException", Trouble::Refused),
        ] {
            assert_eq!(Trouble::of(code), trouble, "{code}");
        }
    }

    #[test]
    fn each_refusal_names_the_place_and_the_remedy() {
        for (code, wanted, retriable) in [
            ("ResourceNotFoundException", "kinesis.no_such_stream", false),
            ("AccessDeniedException", "kinesis.access_denied", false),
            ("UnrecognizedClientException", "kinesis.bad_credentials", false),
            ("ExpiredTokenException", "kinesis.expired_credentials", true),
            ("ProvisionedThroughputExceededException", "kinesis.throttled", true),
            ("ExpiredIteratorException", "kinesis.expired_iterator", true),
            ("ResourceInUseException", "kinesis.stream_in_use", true),
        ] {
            let error = refused("putting records into stream `s`", code, "m");
            assert_eq!((error.code.as_str(), error.is_retriable()), (wanted, retriable));
            assert!(error.message.starts_with("putting records into stream `s`: "), "{error}");
            assert!(!error.hint.is_empty(), "{error}");
        }
    }

    #[test]
    fn a_clock_that_is_off_is_not_a_wrong_key() {
        let error =
            refused("x", "InvalidSignatureException", "Signature expired: 2020 is now earlier than 2021");
        assert_eq!(error.code, "kinesis.clock");
    }

    #[test]
    fn what_kinesis_quotes_stays_out_of_the_message() {
        let message = "2 validation errors detected: Value 'hunter2' at 'records.1.member.partitionKey' failed to \
                       satisfy constraint: length; Value 'x' at 'streamName' failed";
        let error = refused("x", "ValidationException", message).to_string();
        assert!(!error.contains("hunter2") && error.contains("partitionKey") && error.contains("streamName"));
        assert!(!refused("x", "ValidationException", "Value 'hunter2").to_string().contains("hunter2"));
    }
}
