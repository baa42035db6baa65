//! A canned access control list for each object.
//!
//! object_store has no way to ask for one, so its requests are changed on their way out, and signed again.

use async_trait::async_trait;
use object_store::aws::AwsAuthorizer;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::{ClientOptions, HeaderValue};

use super::Credentials;

const ACL: &str = "x-amz-acl";
const DIGEST: &str = "x-amz-content-sha256";

#[derive(Clone, Debug)]
pub struct Connector {
    acl: String,
    credentials: Credentials,
    region: String,
}

#[derive(Debug)]
struct WithAcl {
    client: HttpClient,
    how: Connector,
}

impl Connector {
    pub fn new(acl: &str, credentials: Credentials, region: &str) -> Self {
        Self { acl: acl.to_owned(), credentials, region: region.to_owned() }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(WithAcl { client, how: self.clone() }))
    }
}

/// Whether an object begins with this request: it is put, or its upload is created. Parts take no list.
fn makes_object(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let asks = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
    match request.method().as_str() {
        "PUT" => !asks("partNumber"),
        "POST" => asks("uploads"),
        _ => false,
    }
}

#[async_trait]
impl HttpService for WithAcl {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if makes_object(&request) {
            let unknown = |cause: object_store::Error| HttpError::new(HttpErrorKind::Unknown, cause);
            let acl = HeaderValue::from_str(&self.how.acl)
                .map_err(|cause| HttpError::new(HttpErrorKind::Unknown, cause))?;
            request.headers_mut().insert(ACL, acl);
            let credential = self.how.credentials.get_credential().await.map_err(unknown)?;
            let digest = request.headers().get(DIGEST).and_then(|value| hex(value.as_bytes()));
            AwsAuthorizer::new(&credential, "s3", &self.how.region)
                .with_sign_payload(digest.is_some())
                .authorize(&mut request, digest.as_deref());
        }
        self.client.execute(request).await
    }
}

/// The bytes that a digest's text stands for; `None` for `UNSIGNED-PAYLOAD`.
fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    text.chunks(2)
        .map(|pair| match pair {
            [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use object_store::client::HttpRequestBody;

    use super::*;

    #[test]
    fn only_what_makes_an_object_gets_a_list() {
        for (method, uri, makes) in [
            ("PUT", "http://h/b/k", true),
            ("POST", "http://h/b/k?uploads=", true),
            ("PUT", "http://h/b/k?partNumber=1&uploadId=u", false),
            ("POST", "http://h/b/k?uploadId=u", false),
            ("GET", "http://h/b?list-type=2", false),
            ("HEAD", "http://h/b/uploads", false),
        ] {
            let mut request = HttpRequest::new(HttpRequestBody::empty());
            *request.method_mut() = method.parse().unwrap();
            *request.uri_mut() = uri.parse().unwrap();
            assert_eq!(makes_object(&request), makes, "{method} {uri}");
        }
    }

    #[test]
    fn a_digest_is_read_back() {
        assert_eq!(hex(b"00ffA1"), Some(vec![0, 255, 161]));
        assert_eq!(hex(b"UNSIGNED-PAYLOAD"), None);
        assert_eq!(hex(b"abc"), None);
    }
}
