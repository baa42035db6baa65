//! What a store's errors mean and what to do about them.
//!
//! Only S3's code and message, or the innermost cause, go into a message: the whole answer repeats the signed request.

use std::io;

use connector_core::ConnectError;
use object_store::Error;
use object_store::path::Path;

/// The configuration keys that a hint points to, as the plugin calls them.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// Bucket or table.
    pub location: &'static str,
    pub region: &'static str,
    /// Address of a service other than AWS.
    pub endpoint: &'static str,
}

/// `<Code>` and `<Message>` of S3's answer.
fn answer(texts: &[String]) -> Option<(&str, &str)> {
    let text = texts.iter().find(|text| text.contains("<Code>"))?;
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once("</").map(|(inner, _)| inner)
    };
    Some((element("Code")?, element("Message").unwrap_or_default()))
}

/// An error and what caused it, outermost first.
pub fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// `error` while `doing` (`putting`) something to the object `key` of `store` (`bucket b at http://…`).
pub fn explain(keys: &Keys, store: &str, doing: &str, key: Option<&Path>, error: &Error) -> ConnectError {
    let Keys { location, region, endpoint } = keys;
    let place = match key {
        Some(key) => format!("{doing} `{key}` in {store}"),
        None => format!("{doing} {store}"),
    };
    let texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    let innermost = texts.last().map(String::as_str).unwrap_or_default();
    let user =
        |code: &str, what: &str, hint: &str| ConnectError::user(code, format!("{place}: {what}")).hint(hint);
    let external = |code: &str, what: &str, hint: &str| {
        ConnectError::external(code, format!("{place}: {what}")).hint(hint)
    };

    let wrong_region = || {
        let hint = format!("set `{region}` to the bucket's region");
        user("s3.wrong_region", "the bucket is in another region", &hint)
    };

    if let Some((code, message)) = answer(&texts) {
        return match code {
            "NoSuchBucket" => user(
                "s3.no_such_bucket",
                "the bucket does not exist",
                &format!("create it, or correct `{location}`"),
            ),
            "AccessDenied" | "AllAccessDisabled" => user(DENIED.0, "access denied", DENIED.1),
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" => {
                user(CREDENTIALS.0, &format!("the credentials are refused ({code})"), CREDENTIALS.1)
            }
            "ExpiredToken" | "TokenRefreshRequired" => {
                external(CREDENTIALS.0, "the credentials have expired", CREDENTIALS.1)
            }
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException" => wrong_region(),
            "RequestTimeTooSkewed" => {
                user("s3.clock", "this machine's clock differs too much from S3's", "set the clock (NTP)")
            }
            // Asked again, the answer would be the same.
            "AccessControlListNotSupported" => {
                let hint = "leave out `s3.acl.canned`, or let the bucket's object ownership allow lists";
                user("s3.refused", &format!("{code}: {message}"), hint)
            }
            "InvalidTag"
            | "NotImplemented"
            | "InvalidArgument"
            | "InvalidRequest"
            | "KeyTooLongError"
            | "EntityTooLarge"
            | "InvalidBucketName"
            | "KMS.NotFoundException"
            | "KMS.DisabledException" => user("s3.refused", &format!("{code}: {message}"), ""),
            _ => external("s3.refused", &format!("{code}: {message}"), ""),
        };
    }
    let said = |needle: &str| texts.iter().any(|text| text.contains(needle));
    if said("Received redirect without LOCATION") || said("301 Moved") {
        return wrong_region();
    }
    if said("169.254.169.254") || said("169.254.170.2") || said("instance metadata") {
        return external("s3.no_credentials", "no AWS credentials were found", NO_CREDENTIALS);
    }
    match error {
        Error::PermissionDenied { .. } => user(DENIED.0, "access denied", DENIED.1),
        Error::Unauthenticated { .. } => user(CREDENTIALS.0, "the credentials are refused", CREDENTIALS.1),
        Error::NotFound { .. } => {
            user("s3.not_found", "not found", &format!("check `{location}` and `{endpoint}`"))
        }
        Error::Generic { store: "LocalFileSystem", .. } => external("s3.file", innermost, file_hint(error)),
        Error::Generic { .. } => {
            let hint = format!("check `{endpoint}`, `{region}` and the network; it is tried again");
            external("s3.unreachable", innermost, &hint)
        }
        _ => ConnectError::internal("s3.store", format!("{place}: {innermost}")),
    }
}

/// What to do when a file cannot be written; trying again is right for all of it, once somebody has.
fn file_hint(error: &Error) -> &'static str {
    let kinds = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>().map(io::Error::kind));
    match kinds.last() {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            "make room on the disk, or give the quota more; nothing is lost, it is tried again"
        }
        Some(io::ErrorKind::FileTooLarge) => {
            "the file system or `ulimit -f` allows no file of this size: make files smaller, or raise the limit"
        }
        Some(io::ErrorKind::ReadOnlyFilesystem) => "the file system is mounted read-only",
        _ => "check that the directory exists and who may write to it",
    }
}

const DENIED: (&str, &str) = (
    "s3.access_denied",
    "allow s3:ListBucket, s3:GetObject, and for writing s3:PutObject and s3:AbortMultipartUpload on the bucket and its objects",
);
const CREDENTIALS: (&str, &str) = (
    "s3.bad_credentials",
    "check `aws.access.key.id` and `aws.secret.access.key`, or the environment's AWS credentials",
);
const NO_CREDENTIALS: &str =
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role gives credentials";

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Keys = Keys { location: "s3.bucket.name", region: "s3.region", endpoint: "store.url" };

    #[test]
    fn a_disk_that_is_full_is_said_and_tried_again() {
        let full = io::Error::from_raw_os_error(28);
        let error = Error::Generic { store: "LocalFileSystem", source: full.into() };
        let said = explain(&KEYS, "/out", "putting", Some(&Path::from("k")), &error);
        assert!(said.is_retriable());
        assert_eq!(said.message, "putting `k` in /out: No space left on device (os error 28)");
        assert!(said.hint.contains("make room"), "{said}");
    }

    fn generic(text: &str) -> Error {
        Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn a_missing_bucket_is_told_from_s3s_answer() {
        let source = "Server returned non-2xx status code: 404 Not Found: <Error><Code>NoSuchBucket</Code>\
                      <Message>The specified bucket does not exist</Message></Error>";
        let error = Error::NotFound { path: "k".to_owned(), source: source.to_owned().into() };
        let error = explain(&KEYS, "bucket `b`", "putting", Some(&Path::from("k")), &error);
        assert_eq!(error.code, "s3.no_such_bucket");
        assert!(!error.is_retriable());
        assert_eq!(error.message, "putting `k` in bucket `b`: the bucket does not exist");
    }

    #[test]
    fn an_answer_that_repeats_the_signed_request_stays_out_of_the_message() {
        let text = "403: <Error><Code>SignatureDoesNotMatch</Code><Message>m</Message>\
                    <StringToSign>AKIAEXAMPLE</StringToSign></Error>";
        let error = explain(&KEYS, "bucket `b`", "opening", None, &generic(text));
        assert_eq!(error.code, "s3.bad_credentials");
        assert!(!error.to_string().contains("AKIA"), "{error}");
    }

    #[test]
    fn a_busy_or_unreachable_service_is_tried_again() {
        let busy = generic("503: <Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>");
        let busy = explain(&KEYS, "bucket `b`", "opening", None, &busy);
        assert!(busy.is_retriable() && busy.message.ends_with("SlowDown: Reduce your rate"), "{busy}");
        let unreachable =
            explain(&KEYS, "bucket `b`", "opening", None, &generic("Connection refused (os error 111)"));
        assert!(unreachable.is_retriable());
        assert_eq!(unreachable.code, "s3.unreachable");
    }
}
