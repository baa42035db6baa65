//! MSK IAM before a broker that computes each token's signature again.

use std::fs;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http_faults::{Message, Reply, listen};
use crate::support::layout::{coverage, objects};
use crate::support::{Record, Services, Sidestream, services, unique, wait_until};
use crate::{SOON, Secured};

const KEY: &str = "AKIATESTTESTTESTTEST";
const JAAS: &str = "software.amazon.msk.auth.iam.IAMLoginModule required";

fn keys(options: &str) -> String {
    format!(
        "  security.protocol: SASL_SSL
  sasl.mechanism: AWS_MSK_IAM
  sasl.jaas.config: '{JAAS} {options};'
  sasl.client.callback.handler.class: software.amazon.msk.auth.iam.IAMClientCallbackHandler
"
    )
}

/// Credentials of the environment; no other place is asked.
fn environment<'a>(key: &'a str, secret: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", key),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]
}

#[test]
fn tokens_are_renewed_and_connections_authenticated_again_while_records_flow() {
    let Services { s3, .. } = services();
    let secured = Secured::start();
    let (topic, bucket) = (unique("iam"), unique("iam-bucket"));
    s3.create_bucket(&bucket);
    secured.kafka.create_topic(&topic, 1);
    let back = format!("{topic}-back");
    secured.kafka.create_topic(&back, 1);
    // A sink reads, a source writes; both live on tokens of five seconds.
    let yaml = secured.worker("IAM", &(keys("") + "  sasl.iam.token.lifetime.ms: 5000\n"))
        + &format!(
            "connectors:
  {topic}: {{connector.class: s3-sink, topics: {topic}, flush.size: 50, s3.bucket.name: {bucket}, s3.region: us-east-1,
    store.url: '{url}', aws.access.key.id: '{id}', aws.secret.access.key: '{secret}'}}
  {back}: {{connector.class: file-source, topic: {back}, file: in.txt}}
",
            url = s3.url,
            id = s3.credentials()[0].1,
            secret = s3.credentials()[1].1,
        );
    let worker = Sidestream::spawn(&[("a.yaml", &yaml)], &environment(KEY, "test-secret-key"));
    worker.wait_listening();
    let input = worker.dir.path().join("in.txt");
    fs::write(&input, "").unwrap();
    for connector in [&topic, &back] {
        wait_until(SOON, "it runs", || {
            worker.tasks().iter().any(|t| t.connector == *connector && t.state == "RUNNING").then_some(())
        });
    }
    let began: Vec<_> = worker.tasks().into_iter().map(|task| (task.connector, task.since)).collect();
    let end = Instant::now() + Duration::from_secs(25);
    let mut count = 0;
    while Instant::now() < end {
        secured
            .kafka
            .produce((count..count + 50).map(|n| Record::new(&topic, json!({ "n": n }).to_string())));
        let more: String = (count..count + 50).map(|n| format!("line {n}\n")).collect();
        let text = fs::read_to_string(&input).unwrap() + &more;
        fs::write(&input, text).unwrap();
        count += 50;
        thread::sleep(Duration::from_millis(250));
    }
    wait_until(SOON, "all is committed", || {
        let committed = secured.kafka.committed(&format!("connect-{topic}"), &topic);
        (committed.values().sum::<i64>() == count).then_some(())
    });
    let found = coverage(&objects(&s3, &bucket, "topics")[&(topic.clone(), 0)], count);
    assert_eq!((found.covered as i64, found.duplicates, found.missing), (count, 0, 0), "{found:?}");
    let lines: Vec<_> = wait_until(SOON, "all lines are in Kafka", || {
        let read = secured.kafka.read(&back);
        (read.len() as i64 >= count).then(|| read.into_iter().map(|r| r.value.unwrap()).collect())
    });
    let lines: Vec<_> = lines.into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
    assert_eq!(lines.len() as i64, count);
    assert!(lines.iter().enumerate().all(|(n, line)| line.contains(&format!("line {n}"))), "{lines:?}");
    let now: Vec<_> = worker.tasks().into_iter().map(|task| (task.connector, task.since)).collect();
    assert_eq!(now, began, "no task was restarted");

    let decisions = secured.decisions();
    let refused: Vec<_> = decisions.iter().filter(|line| !line.starts_with("accepted")).collect();
    assert!(refused.is_empty(), "{refused:?}");
    // Several clients, and each again every five seconds at the latest.
    assert!(decisions.len() > 20, "{} authentications in 25 s", decisions.len());
    assert!(decisions[0].contains("aws-msk-iam-sasl-signer"), "{}", decisions[0]);
    println!("{count} records each way, {} authentications accepted, 0 refused", decisions.len());
}

#[test]
fn what_is_wrong_with_credentials_is_said_with_what_to_do() {
    let secured = Secured::start();
    let worker = secured.worker("IAM", &keys(""));
    let refused = |secured: &Secured, why: &str| {
        let decisions = secured.decisions();
        let last = decisions.last().unwrap();
        assert!(last.starts_with("refused") && last.contains(why), "{last}");
    };
    let asks = ["refused the MSK IAM token", KEY, "kafka-cluster:Connect"];
    secured.refuses(&worker, &environment(KEY, "another-secret-key"), &asks);
    refused(&secured, "wrong signature");
    let unknown = "AKIAUNKNOWNUNKNOWNUN";
    secured.refuses(
        &worker,
        &environment(unknown, "test-secret-key"),
        &["refused the MSK IAM token", unknown],
    );
    refused(&secured, "unknown access key");
    let mut elsewhere = environment(KEY, "test-secret-key");
    elsewhere[0].1 = "eu-west-1";
    secured.refuses(&worker, &elsewhere, &["region eu-west-1", "the cluster is in this region"]);
    refused(&secured, "wrong region");
    // This listener's clock is twenty minutes ahead of the one that signs.
    let late = secured.worker("LATE", &keys(""));
    secured.refuses(
        &late,
        &environment(KEY, "test-secret-key"),
        &["the clock", "a token is good for 15 minutes"],
    );
    refused(&secured, "expired token");

    let nobody =
        [("AWS_REGION", "us-east-1"), ("AWS_EC2_METADATA_DISABLED", "true"), ("HOME", "/nonexistent")];
    secured.refuses(&worker, &nobody, &["no MSK IAM token", "give the process AWS credentials"]);
    let nowhere = [("AWS_EC2_METADATA_DISABLED", "true")];
    let mut ended = Sidestream::spawn(&[("a.yaml", &(worker + &crate::sink("t")))], &nowhere);
    ended.wait_end(SOON);
    assert!(ended.log().contains("set AWS_REGION"), "{}", ended.log());
}

/// A service of AWS that knows one answer for each first line; what it was asked.
fn answering(answers: &'static [(&'static str, &'static str)]) -> (String, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = asked.clone();
    let url = listen("http://127.0.0.1:1", move |request, _| {
        let said = format!("{} {}", request.first, String::from_utf8_lossy(&request.body));
        let answer = answers.iter().find(|(start, _)| said.contains(start)).map(|(_, body)| *body);
        heard.lock().unwrap().push(said);
        let kind =
            if answer.is_some_and(|body| body.starts_with('<')) { "text/xml" } else { "application/json" };
        let status = if answer.is_some() { "200 OK" } else { "404 Not Found" };
        let mut answer = Message::answer(status, kind, answer.unwrap_or_default());
        // Instance metadata tells how long its session lasts.
        answer.fields.push(("X-aws-ec2-metadata-token-ttl-seconds".to_owned(), "21600".to_owned()));
        Ok(Reply::Whole(answer))
    });
    (url, asked)
}

fn knows(secured: &Secured, key: &str) {
    let keys = fs::read_to_string(secured.file("keys")).unwrap();
    fs::write(secured.file("keys"), format!("{keys}{key} session-secret-key\n")).unwrap();
}

#[test]
fn credentials_come_by_the_standard_chain_and_by_a_role() {
    const ROLE: &str = "<AssumeRoleResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><AssumeRoleResult>\
        <AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn><AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser>\
        <Credentials><AccessKeyId>ASIAROLEROLEROLEROLE</AccessKeyId><SecretAccessKey>session-secret-key</SecretAccessKey>\
        <SessionToken>token+/=&amp;x</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
        </AssumeRoleResult></AssumeRoleResponse>";
    const IDENTITY: &str = "<AssumeRoleWithWebIdentityResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'>\
        <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAWEBIDENTITYWEBID</AccessKeyId>\
        <SecretAccessKey>session-secret-key</SecretAccessKey><SessionToken>t</SessionToken>\
        <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
        </AssumeRoleWithWebIdentityResponse>";
    const CONTAINER: &str = r#"{"AccessKeyId":"ASIACONTAINERCONTAIN","SecretAccessKey":"session-secret-key","Token":"t",
        "Expiration":"2099-01-01T00:00:00Z"}"#;
    const INSTANCE: &str = r#"{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"ASIAINSTANCEINSTANCE",
        "SecretAccessKey":"session-secret-key","Token":"t","LastUpdated":"2026-01-01T00:00:00Z",
        "Expiration":"2099-01-01T00:00:00Z"}"#;
    let secured = Secured::start();
    let accepted = |key: &str| {
        let decisions = secured.decisions();
        assert!(decisions.iter().any(|line| line.starts_with(&format!("accepted {key} "))), "{decisions:?}");
    };
    let plain = secured.worker("IAM", &keys(""));
    let region = ("AWS_REGION", "us-east-1");
    let no_instance = ("AWS_EC2_METADATA_DISABLED", "true");

    // A role, by the options of the JVM library's line.
    knows(&secured, "ASIAROLEROLEROLEROLE");
    let (sts, asked) = answering(&[("Action=AssumeRole&", ROLE)]);
    let role = r#"awsRoleArn="arn:aws:iam::1:role/r" awsRoleSessionName="worker-1" awsRoleExternalId="ext-1" awsStsRegion="us-east-1""#;
    let mut env = environment(KEY, "test-secret-key");
    env.push(("AWS_ENDPOINT_URL_STS", &sts));
    secured.lets_in(&secured.worker("IAM", &keys(role)), &env);
    accepted("ASIAROLEROLEROLEROLE");
    let asked = asked.lock().unwrap().join("\n");
    for part in ["RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr", "RoleSessionName=worker-1", "ExternalId=ext-1"]
    {
        assert!(asked.contains(part), "{part} in {asked}");
    }

    // A profile, by the same line.
    let folder = tempfile::tempdir().unwrap();
    let profiles = folder.path().join("credentials");
    knows(&secured, "AKIAPROFILEPROFILEPR");
    let text =
        "[msk]\naws_access_key_id = AKIAPROFILEPROFILEPR\naws_secret_access_key = session-secret-key\n";
    fs::write(&profiles, text).unwrap();
    let file = ("AWS_SHARED_CREDENTIALS_FILE", profiles.to_str().unwrap());
    secured.lets_in(&secured.worker("IAM", &keys(r#"awsProfileName="msk""#)), &[region, file, no_instance]);
    accepted("AKIAPROFILEPROFILEPR");

    // Web identity: the file that EKS mounts.
    knows(&secured, "ASIAWEBIDENTITYWEBID");
    let (sts, _) = answering(&[("Action=AssumeRoleWithWebIdentity", IDENTITY)]);
    let token = folder.path().join("token");
    fs::write(&token, "a token").unwrap();
    let web = [
        region,
        no_instance,
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod"),
        ("AWS_ENDPOINT_URL_STS", &sts),
    ];
    secured.lets_in(&plain, &web);
    accepted("ASIAWEBIDENTITYWEBID");

    // A container of ECS.
    knows(&secured, "ASIACONTAINERCONTAIN");
    let (agent, _) = answering(&[("GET /creds", CONTAINER)]);
    let full = format!("{agent}/creds");
    secured.lets_in(&plain, &[region, no_instance, ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &full)]);
    accepted("ASIACONTAINERCONTAIN");

    // An instance of EC2.
    knows(&secured, "ASIAINSTANCEINSTANCE");
    let (imds, _) = answering(&[
        ("PUT /latest/api/token", "a-session"),
        ("security-credentials/worker", INSTANCE),
        ("GET /latest/meta-data/iam/security-credentials-extended/ ", "worker"),
        ("GET /latest/meta-data/iam/security-credentials/ ", "worker"),
    ]);
    secured.lets_in(&plain, &[region, ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &imds)]);
    accepted("ASIAINSTANCEINSTANCE");
}

#[test]
fn the_oauthbearer_spelling_of_the_jvm_library_is_taken_as_it_is() {
    let secured = Secured::start();
    let keys = "  security.protocol: SASL_SSL
  sasl.mechanism: OAUTHBEARER
  sasl.jaas.config: org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
  sasl.login.callback.handler.class: software.amazon.msk.auth.iam.IAMOAuthBearerLoginCallbackHandler
";
    secured.lets_in(&secured.worker("IAM", keys), &environment(KEY, "test-secret-key"));
}
