//! Tags of objects that are there already: a large object's are known only when it is complete.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use connector_core::Secret;
use md5::{Digest, Md5};
use object_store::aws::{AmazonS3, AwsAuthorizer};
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{ClientOptions, Error, HeaderValue, Result};

use super::Credentials;

/// Keys and values.
pub type Tags = Vec<(String, String)>;

/// Sends the one request that object_store does not know.
#[derive(Debug)]
pub struct Tagger {
    store: Arc<AmazonS3>,
    credentials: Credentials,
    region: String,
    client: HttpClient,
    sign_payload: bool,
}

impl Tagger {
    pub(super) fn new(
        store: Arc<AmazonS3>,
        credentials: Credentials,
        region: &str,
        proxy: Option<&Secret>,
        plain: bool,
    ) -> Result<Self> {
        let mut options = ClientOptions::new().with_allow_http(plain);
        if let Some(proxy) = proxy {
            options = options.with_proxy_url(proxy.reveal());
        }
        let client = ReqwestConnector::default().connect(&options)?;
        Ok(Self { store, credentials, region: region.to_owned(), client, sign_payload: plain })
    }

    /// Gives the object `key` these tags, in place of those that it has.
    pub async fn tag(&self, key: &Path, tags: &[(String, String)]) -> Result<()> {
        let generic =
            |source: Box<dyn std::error::Error + Send + Sync>| Error::Generic { store: "S3", source };
        // What is signed in the address is not used: only the client knows how a key is written in it.
        let put = "PUT".parse().map_err(|_| generic("no method".into()))?;
        let mut url = self.store.signed_url(put, key, Duration::from_secs(1)).await?;
        url.set_query(Some("tagging="));
        let body = document(tags);
        let digest = BASE64.encode(Md5::digest(body.as_bytes()));
        let mut request = HttpRequest::new(HttpRequestBody::from(body));
        *request.method_mut() = "PUT".parse().map_err(|_| generic("no method".into()))?;
        *request.uri_mut() = url.as_str().parse().map_err(|e| generic(format!("`{key}`: {e}").into()))?;
        let digest = HeaderValue::from_str(&digest).map_err(|e| generic(e.into()))?;
        request.headers_mut().insert("content-md5", digest);
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/xml"));
        let credential = self.credentials.get_credential().await?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .with_sign_payload(self.sign_payload)
            .authorize(&mut request, None);
        let answer = self.client.execute(request).await.map_err(|e| generic(e.into()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let text = answer.into_body().bytes().await.map_err(|e| generic(e.into()))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Err(generic(if text.contains("<Code>") {
            text.into()
        } else {
            format!("the answer is {status}").into()
        }))
    }
}

/// The body of the request.
fn document(tags: &[(String, String)]) -> String {
    let mut text = String::from("<Tagging xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TagSet>");
    for (key, value) in tags {
        // Writing to a string does not fail.
        let _ = write!(text, "<Tag><Key>{}</Key><Value>{}</Value></Tag>", escaped(key), escaped(value));
    }
    text.push_str("</TagSet></Tagging>");
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_xml() {
        let tags = [("a&b".to_owned(), "<1>".to_owned())];
        assert!(document(&tags).contains("<Tag><Key>a&amp;b</Key><Value>&lt;1&gt;</Value></Tag>"));
    }
}
