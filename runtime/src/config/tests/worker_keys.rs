use insta::assert_snapshot;

use super::{load, right, text, wrong};
use crate::config::WorkerConfig;

fn worker(yaml: &str) -> WorkerConfig {
    right(&[("w.yaml", yaml)]).worker
}

#[test]
fn a_worker_needs_only_its_brokers() {
    let worker = worker("worker: {bootstrap.servers: \"a:9092,b:9092\"}\n");
    assert_eq!(worker.bootstrap_servers.as_deref(), Some("a:9092,b:9092"));
    assert_eq!(worker.group_id, "sidestream");
    assert_eq!(worker.offset_storage_topic, "sidestream-offsets");
    assert_eq!((worker.offset_storage_partitions, worker.offset_storage_replication_factor), (25, -1));
    assert_eq!(worker.listeners, ["http://127.0.0.1:8083"]);
    assert_eq!(worker.task_shutdown_graceful_timeout_ms, 5000);
    assert_eq!((worker.session_timeout_ms, worker.heartbeat_interval_ms), (45_000, 3000));
    assert_eq!(worker.memory_budget_bytes, None);
    assert!(!worker.worker_id.is_empty());
}

#[test]
fn client_keys_go_where_their_prefix_says() {
    let worker = worker(
        "worker:\n  bootstrap.servers: [a:1, b:2]\n  group.id: g\n  security: {protocol: SASL_SSL}\n  sasl.mechanism: PLAIN\n  \
         client.dns.lookup: use_all_dns_ips\n  producer: {linger.ms: 5}\n  consumer.fetch.min.bytes: 1\n  \
         admin.retries: 3\n  plugin.path: [/plugins, /more]\n  \
         plugins: [/a.so, {path: \"/x/${env:USER_ID}.so\", sha256: \
         AF5570F5A1810B7AF78CAF4BC70A660F0DF51E42BAF91D4DE5B2328DE0E83DFC}]\n",
    );
    assert_eq!(worker.bootstrap_servers.as_deref(), Some("a:1,b:2"));
    assert_eq!(worker.offset_storage_topic, "g-offsets");
    let client: Vec<_> = worker.client.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(
        client,
        ["client.dns.lookup=use_all_dns_ips", "sasl.mechanism=PLAIN", "security.protocol=SASL_SSL"]
    );
    assert_eq!(worker.producer["linger.ms"], "5");
    assert_eq!(worker.consumer["fetch.min.bytes"], "1");
    assert_eq!(worker.admin["retries"], "3");
    assert_eq!(worker.plugin_path.len(), 2);
    assert_eq!(worker.plugins[0].path.to_str(), Some("/a.so"));
    assert_eq!(worker.plugins[1].path.to_str(), Some("/x/12e371d757c1.so"));
    assert!(worker.plugins[1].sha256.as_ref().unwrap().starts_with("af5570"));
}

#[test]
fn connect_s_worker_file_is_accepted_and_what_needs_no_action_is_listed() {
    let file = "bootstrap.servers=a:1\ngroup.id=connect\nkey.converter=org.apache.kafka.connect.json.JsonConverter\n\
        key.converter.schemas.enable=true\nvalue.converter=org.apache.kafka.connect.storage.StringConverter\n\
        offset.storage.topic=connect-offsets\nconfig.storage.topic=c\nstatus.storage.topic=s\n\
        status.storage.replication.factor=1\noffset.flush.interval.ms=10000\nrest.port=8083\nplugin.discovery=only_scan\n\
        no.such.key=1\nbotstrap.servers=b:1\n";
    let deployment = right(&[("connect-distributed.properties", file)]);
    assert_eq!(deployment.worker.offset_storage_topic, "connect-offsets");
    assert_eq!(deployment.worker.key_converter.as_ref().unwrap().config["schemas.enable"], "true");
    assert_snapshot!(text(&deployment.diagnostics), @r#"
    connect-distributed.properties:1:1: note: accepted, needs no action here: `config.storage.topic`, `plugin.discovery`, `rest.port`, `status.storage.replication.factor`, `status.storage.topic`
    connect-distributed.properties:13:1: warning: `no.such.key` is no key of the worker
      13 | no.such.key=…
         | ^
      hint: `producer.`, `consumer.` or `admin.` in front make it a client's key
    connect-distributed.properties:14:1: warning: `botstrap.servers` is no key of the worker
      14 | botstrap.servers=…
         | ^
      hint: did you mean `bootstrap.servers`?
    "#);
}

#[test]
fn wrong_worker_keys_are_errors_in_yaml() {
    assert_snapshot!(wrong(&[("w.yaml", "
worker:
  bootstrap.server: a:1
  session.timeout.ms: soon
  offset.storage.partitions: 0
  value.converter: MyFormat
  plugins: [{path: a.so, sha256: abc, sha512: d}, {sha256: x}]
  config.providers: [vault, env]
  config.providers.vault.class: com.example.Vault
  config.providers.env.class: org.apache.kafka.common.config.provider.EnvVarConfigProvider
  config.providers.env.param.allowlist.pattern: HOME
  group.id: ${env:USER_ID}
")]), @r#"
    w.yaml:3:3: error: `bootstrap.server` is no key of the worker
      3 | bootstrap.server: …
        | ^
      hint: did you mean `bootstrap.servers`?
    w.yaml:4:3: error: `session.timeout.ms` is not a whole number
      4 | session.timeout.ms: soon
        | ^
      hint: write a whole number
    w.yaml:5:3: error: `offset.storage.partitions` is less than 1, the smallest value allowed
      5 | offset.storage.partitions: 0
        | ^
      hint: write a whole number
    w.yaml:6:3: error: there is no converter named `MyFormat`
      6 | value.converter: MyFormat
        | ^
      hint: there are `JsonConverter`, `AvroConverter`, `StringConverter`, `ByteArrayConverter` and those of numbers and booleans
    w.yaml:7:13: error: `sha256` of a plugin library is not 64 hexadecimal digits
      7 | {path: …
        | ^
      hint: sha256sum prints it
    w.yaml:7:39: error: `sha512` is no key of a plugin library
      7 | sha512: …
        | ^
      hint: there are `path` and `sha256`
    w.yaml:7:51: error: a plugin library has no `path`
      7 | {sha256: …
        | ^
      hint: write {path: /plugins/x.so}
    w.yaml:9:3: error: no configuration provider of class `com.example.Vault`
      9 | config.providers.vault.class: com.example.Vault
        | ^
      hint: there are EnvVarConfigProvider, FileConfigProvider, DirectoryConfigProvider, SecretsManagerConfigProvider, SsmParamStoreConfigProvider and S3ImportConfigProvider
    w.yaml:12:3: error: `group.id`: the environment variable `USER_ID` is not in the provider's `allowlist.pattern`
      12 | group.id: ${env:USER_ID}
         | ^
    "#);
}

#[test]
fn a_provider_reads_only_what_it_is_allowed_to() {
    let yaml = "worker:\n  bootstrap.servers: ${secrets:/etc/../root/x.properties:k} ${secrets:/etc/y:k} ${secrets:/opt/z:k}\n  \
        config.providers: secrets\n  \
        config.providers.secrets.class: org.apache.kafka.common.config.provider.FileConfigProvider\n  \
        config.providers.secrets.param.allowed.paths: /etc,/srv\n";
    let problems = load(&[("w.yaml", yaml)]).unwrap_err();
    let messages: Vec<_> = problems.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "`bootstrap.servers`: `/etc/../root/x.properties` is outside of the provider's `allowed.paths`",
            "`bootstrap.servers`: cannot read `/etc/y`: there is no such file",
            "`bootstrap.servers`: `/opt/z` is outside of the provider's `allowed.paths`",
        ]
    );
}

#[test]
fn connectors_alone_are_checked_with_a_warning_that_they_have_no_kafka() {
    let deployment = right(&[("a.properties", "connector.class=webhook-source\n")]);
    assert_eq!(deployment.worker.bootstrap_servers, None);
    assert_snapshot!(text(&deployment.diagnostics), @r#"
    warning: no file has the worker's keys, so there is no Kafka to connect to
      hint: add a file with `worker: {bootstrap.servers: …}` before running
    "#);
}

#[test]
fn client_keys_that_only_java_has_are_accepted_and_listed() {
    let worker =
        "worker:\n  bootstrap.servers: a:1\n  ssl.protocol: TLSv1.3\n  consumer.max.poll.records: 500\n";
    let deployment = right(&[("w.yaml", worker)]);
    assert!(!deployment.worker.client.contains_key("ssl.protocol"));
    let told = text(&deployment.diagnostics);
    assert!(told.contains("needs no action here: `consumer.max.poll.records`, `ssl.protocol`"), "{told}");
}
