//! Buckets and objects, seen from outside: plain signed requests, so that no client's idea of keys is in between.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use reqwest::{Client, Method, Url};
use sha2::{Digest, Sha256};

use super::block_on;

const REGION: &str = "us-east-1";

/// An S3 service and who asks it.
#[derive(Clone, Debug)]
pub struct S3 {
    /// `http://host:port`
    pub url: String,
    pub access_key: String,
    pub secret_key: String,
}

impl S3 {
    pub fn new(url: String, access_key: &str, secret_key: &str) -> Self {
        Self { url, access_key: access_key.to_owned(), secret_key: secret_key.to_owned() }
    }

    /// The environment in which a process finds these credentials.
    pub fn credentials(&self) -> [(&str, &str); 2] {
        [("AWS_ACCESS_KEY_ID", &self.access_key), ("AWS_SECRET_ACCESS_KEY", &self.secret_key)]
    }

    pub fn create_bucket(&self, bucket: &str) {
        self.expect(Method::PUT, &format!("/{bucket}"), &[], b"");
    }

    pub fn put(&self, bucket: &str, key: &str, body: &[u8]) {
        self.expect(Method::PUT, &format!("/{bucket}/{key}"), &[], body);
    }

    pub fn get(&self, bucket: &str, key: &str) -> Vec<u8> {
        self.expect(Method::GET, &format!("/{bucket}/{key}"), &[], b"")
    }

    /// A JSON document that says who may do what with a bucket.
    pub fn put_policy(&self, bucket: &str, policy: &str) {
        self.expect(Method::PUT, &format!("/{bucket}"), &[("policy", "")], policy.as_bytes());
    }

    /// Keys of all objects in a bucket, sorted.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let (mut keys, mut token) = (Vec::new(), String::new());
        loop {
            // In the order in which they are signed.
            let mut query =
                vec![("continuation-token", token.as_str()), ("encoding-type", "url"), ("list-type", "2")];
            query.retain(|(_, value)| !value.is_empty());
            let page = self.expect(Method::GET, &format!("/{bucket}"), &query, b"");
            let page = String::from_utf8(page).unwrap();
            // A service may ignore the wish for encoded keys, and then says so by saying nothing.
            let encoded = elements(&page, "EncodingType").next().is_some_and(|kind| kind == "url");
            keys.extend(elements(&page, "Key").map(|key| if encoded { percent_decoded(&key) } else { key }));
            match elements(&page, "NextContinuationToken").next() {
                Some(next) => token = next,
                None => break,
            }
        }
        keys.sort();
        keys
    }

    /// All objects of a bucket: key and body.
    pub fn objects(&self, bucket: &str) -> BTreeMap<String, Vec<u8>> {
        self.keys(bucket).into_iter().map(|key| (key.clone(), self.get(bucket, &key))).collect()
    }

    pub fn tags(&self, bucket: &str, key: &str) -> BTreeMap<String, String> {
        let answer = self.expect(Method::GET, &format!("/{bucket}/{key}"), &[("tagging", "")], b"");
        let answer = String::from_utf8(answer).unwrap();
        elements(&answer, "Key").zip(elements(&answer, "Value")).collect()
    }

    fn expect(&self, method: Method, path: &str, query: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let (status, answer) = self.request(method.clone(), path, query, body);
        let text = String::from_utf8_lossy(&answer);
        assert!((200..300).contains(&status), "{method} {path} on {}: {status} {text}", self.url);
        answer
    }

    /// One request with AWS's signature version 4; `path` and `query` (sorted by name) are not encoded yet.
    pub fn request(&self, method: Method, path: &str, query: &[(&str, &str)], body: &[u8]) -> (u16, Vec<u8>) {
        let path = percent_encoded(path, true);
        let query: Vec<_> = query.iter().map(|(k, v)| format!("{k}={}", percent_encoded(v, false))).collect();
        let query = query.join("&");
        let url = Url::parse(&format!("{}{path}?{query}", self.url)).unwrap();
        let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let time = chrono::Utc::now().format("%Y%m%dT%H%M%SZ").to_string();
        let (day, digest) = (&time[..8], hex(&Sha256::digest(body)));

        let signed = "host;x-amz-content-sha256;x-amz-date";
        let headers = format!("host:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{time}\n");
        let request = format!("{method}\n{path}\n{query}\n{headers}\n{signed}\n{digest}");
        let scope = format!("{day}/{REGION}/s3/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
        let key = format!("AWS4{}", self.secret_key).into_bytes();
        let key =
            [day, REGION, "s3", "aws4_request"].iter().fold(key, |key, part| hmac(&key, part.as_bytes()));
        let signature = hex(&hmac(&key, text.as_bytes()));
        let credential = format!("{}/{scope}", self.access_key);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}"
        );

        static CLIENT: LazyLock<Client> = LazyLock::new(Client::new);
        block_on(async {
            let request = CLIENT.request(method, url).header("authorization", authorization);
            let request = request.header("x-amz-content-sha256", digest).header("x-amz-date", time);
            let answer = request.body(body.to_vec()).send().await.unwrap();
            (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
        })
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize().to_vec()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn percent_encoded(text: &str, is_path: bool) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => (byte as char).to_string(),
            b'/' if is_path => "/".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn percent_decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (byte, code.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(decoded)) => {
                bytes.push(decoded);
                rest = &after[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(byte),
        }
        rest = after;
    }
    String::from_utf8(bytes).unwrap()
}

/// Texts of all XML elements of this name, which hold no other elements.
fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = String> + use<'a> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (text, after) = after.split_once(&close)?;
        rest = after;
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
        Some(text.replace("&#39;", "'").replace("&amp;", "&"))
    })
}
