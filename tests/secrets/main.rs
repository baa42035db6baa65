//! Secrets of AWS's services in configurations, before moto; and none of them anywhere else.

mod hunt;
mod providers;
mod rotation;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use support::{S3, Sidestream, block_on, wait_until};

const SOON: Duration = Duration::from_secs(60);

/// One call of Secrets Manager or SSM; moto tells them by the scope of the signature, which it does not check.
fn call(moto: &S3, service: &str, target: &str, body: &Value) -> Value {
    let scope = format!(
        "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=x"
    );
    block_on(async {
        let request = reqwest::Client::new().post(&moto.url).header("authorization", scope);
        let request =
            request.header("x-amz-target", target).header("content-type", "application/x-amz-json-1.1");
        let answer = request.body(body.to_string()).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{target}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    })
}

fn put_secret(moto: &S3, name: &str, text: &str) {
    call(moto, "secretsmanager", "secretsmanager.CreateSecret", &json!({"Name": name, "SecretString": text}));
}

fn put_parameter(moto: &S3, name: &str, text: &str) {
    let body = json!({"Name": name, "Value": text, "Type": "SecureString", "Overwrite": true});
    call(moto, "ssm", "AmazonSSM.PutParameter", &body);
}

fn delete_parameter(moto: &S3, name: &str) {
    call(moto, "ssm", "AmazonSSM.DeleteParameter", &json!({ "Name": name }));
}

/// Who is to AWS whoever moto takes, and where it is: for all services.
fn environment(url: &str) -> Vec<(&str, &str)> {
    vec![
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAMOTO"),
        ("AWS_SECRET_ACCESS_KEY", "moto-secret"),
        ("AWS_ENDPOINT_URL", url),
    ]
}

fn reason(worker: &Sidestream, connector: &str) -> String {
    let task = worker.tasks().into_iter().find(|task| task.connector == connector);
    task.map(|task| task.reason).unwrap_or_default()
}

#[track_caller]
fn wait_reason(worker: &Sidestream, connector: &str, words: &[&str]) {
    wait_until(SOON, &format!("{connector} says {words:?}"), || {
        let said = reason(worker, connector);
        words.iter().all(|word| said.contains(word)).then_some(())
    });
}

fn wait_lines(worker: &Sidestream, file: &str, count: usize) {
    wait_until(SOON, &format!("{count} lines in {file}"), || {
        let text = fs::read_to_string(worker.dir.path().join(file)).unwrap_or_default();
        (text.lines().count() == count).then_some(())
    });
}
