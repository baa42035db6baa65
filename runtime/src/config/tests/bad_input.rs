use super::{WORKER, wrong, wrong_yaml};
use insta::assert_snapshot;

#[test]
fn malformed_yaml_tells_line_and_column() {
    assert_snapshot!(wrong_yaml("connectors:\n  a:\n    connector.class: [s3-sink\n  b: x\n"), @r#"
    a.yaml:4:4: error: malformed YAML: illegal placement of ':' indicator
      hint: look at the indentation and quotes here and just above; inside [ ] and { } a placeholder needs quotes: "${env:NAME}"
    "#);
}

#[test]
fn malformed_json_tells_line_and_column() {
    assert_snapshot!(wrong(&[("w.yaml", WORKER), ("a.json", "{\"name\": \"a\",\n \"config\": {\"x\" 1}}")]), @r#"
    a.json:2:17: error: malformed JSON: expected `:`
      hint: a document is {"name": "…", "config": {"connector.class": "…", …}}
    "#);
}

#[test]
fn an_unknown_key_gets_a_did_you_mean() {
    assert_snapshot!(wrong_yaml("
connectors:
  pins:
    connector.class: s3-sink
    topics: a
    s3: {bucket.name: b, regoin: eu-west-1}
    flush.sise: 1000
    flush.size: 1
    something.else: 1
    transforms: [{name: clean, type: pin-cleaner, dropp: a}]
"), @r#"
    a.yaml:6:26: error: connector "pins": `s3.regoin` is no key of s3-sink
      6 | regoin: …
        | ^
      hint: did you mean `s3.region`?
    a.yaml:7:5: error: connector "pins": `flush.sise` is no key of s3-sink
      7 | flush.sise: …
        | ^
      hint: did you mean `flush.size`?
    a.yaml:9:5: error: connector "pins": `something.else` is no key of s3-sink
      9 | something.else: …
        | ^
      hint: `sidestream describe s3-sink` lists its keys
    a.yaml:10:51: error: connector "pins": `transforms.clean.dropp` is no key of pin-cleaner
      10 | dropp: …
         | ^
      hint: did you mean `transforms.clean.drop`?
    "#);
}

#[test]
fn a_missing_required_key_is_named_with_what_it_is() {
    assert_snapshot!(wrong_yaml("
connectors:
  pins:
    connector.class: s3-sink
    topics: a
"), @r#"
    a.yaml:3:3: error: connector "pins": `s3.bucket.name` is required and has no default
      3 | pins:
        | ^
      hint: The bucket
    a.yaml:3:3: error: connector "pins": `flush.size` is required and has no default
      3 | pins:
        | ^
      hint: Records per object.
    "#);
}

#[test]
fn an_unknown_class_gets_the_nearest_and_the_list() {
    assert_snapshot!(wrong(&[
        ("w.yaml", WORKER),
        ("a.yaml", "connectors:\n  a: {connector.class: s3-sinc, topics: a}\n  b: {connector.class: pin-cleaner}\n"),
        ("c.properties", "name=c\nconnector.class=io.confluent.connect.s3.S3SinkConector\n"),
        ("d.properties", "name=d\nconnector.class=com.example.TeapotConnector\n"),
    ]), @r#"
    a.yaml:2:7: error: connector "a": there is no source or sink named `s3-sinc`
      2 | connector.class: s3-sinc, topics: a}
        | ^
      hint: did you mean `s3-sink`? there are `s3-sink`, `webhook-source`
    a.yaml:3:7: error: connector "b": `pin-cleaner` is a transform, not a source or sink
      3 | connector.class: pin-cleaner}
        | ^
      hint: there are `s3-sink`, `webhook-source`; the library of another one belongs into a directory of `plugin.path`
    c.properties:2:1: error: connector "c": there is no source or sink named `io.confluent.connect.s3.S3SinkConector`
      2 | connector.class=io.confluent.connect.s3.S3SinkConector
        | ^
      hint: did you mean `io.confluent.connect.s3.S3SinkConnector`? there are `s3-sink`, `webhook-source`
    d.properties:2:1: error: connector "d": there is no source or sink named `com.example.TeapotConnector`
      2 | connector.class=com.example.TeapotConnector
        | ^
      hint: there are `s3-sink`, `webhook-source`; the library of another one belongs into a directory of `plugin.path`
    "#);
}

#[test]
fn a_missing_class_says_so() {
    assert_snapshot!(wrong(&[
        ("w.yaml", WORKER),
        ("a.yaml", "connectors:\n  a: {topics: a}\n"),
        ("b.properties", "name=b\ntopics=a\n"),
    ]), @r#"
    a.yaml:2:3: error: connector "a": `connector.class` is missing
      2 | a: {topics: …
        | ^
      hint: write `connector.class: s3-sink`; `sidestream plugins` lists what there is
    b.properties:1:1: error: connector "b": `connector.class` is missing
      1 | name=b
        | ^
      hint: write `connector.class: s3-sink`; `sidestream plugins` lists what there is
    "#);
}

#[test]
fn two_webhooks_cannot_share_a_port() {
    assert_snapshot!(wrong_yaml("
connectors:
  a: {connector.class: webhook-source}
  b: {connector.class: webhook-source, webhook.listen: 0.0.0.0:8082}
  c: {connector.class: webhook-source, webhook.listen: \"localhost:8083\"}
  d: {connector.class: webhook-source, webhook.listen: \"localhost:8084\"}
"), @r#"
    a.yaml:4:3: error: connector "b": `webhook.listen`: connector `a` (a.yaml:3:3) listens on `0.0.0.0:8082` already
      4 | b: {connector.class: webhook-source, webhook.listen: 0.0.0.0:8082}
        | ^
      hint: give each its own port
    a.yaml:5:3: error: connector "c": `webhook.listen`: the worker (`listeners`) listens on `localhost:8083` already
      5 | c: {connector.class: webhook-source, webhook.listen: "localhost:8083"}
        | ^
      hint: give each its own port
    "#);
}

#[test]
fn two_connectors_of_one_name_are_told_with_both_places() {
    assert_snapshot!(wrong(&[
        ("w.yaml", WORKER),
        ("a.yaml", "connectors:\n  a: {connector.class: webhook-source}\n"),
        ("b.properties", "# the other one\nname=a\nconnector.class=webhook-source\nwebhook.listen=127.0.0.1:1\n"),
    ]), @r#"
    b.properties:2:1: error: connector "a": there are two connectors named `a`
      2 | name=a
        | ^
      hint: the first one is at a.yaml:2:3; rename one of them
    "#);
}

#[test]
fn a_key_written_twice_is_told_with_both_places() {
    assert_snapshot!(wrong_yaml("
connectors:
  a:
    connector.class: s3-sink
    topics: a
    topics: b
    s3.bucket.name: x
    flush.size: 1
    s3:
      bucket: {name: y}
"), @r#"
    a.yaml:6:5: error: `topics` is written twice
      6 | topics: …
        | ^
      hint: the first one is at a.yaml:5:5; keep one of them
    a.yaml:10:16: error: connector "a": `s3.bucket.name` is written twice, in two spellings
      10 | name: …
         | ^
      hint: the first one is at a.yaml:7:5; keep one of them
    "#);
}

#[test]
fn all_errors_of_all_files_are_told_at_once() {
    assert_snapshot!(wrong(&[
        ("w.yaml", "worker: {group.id: x, bootstrap.server: a:1, listeners: http://127.0.0.1:1}\nconector: {}\n"),
        ("a.yaml", "connectors:\n  a:\n    connector.class: s3-sink\n    tasks.max: 0\n    flush.size: many\n    \
            s3.bucket.name: ${env:NOWHERE}\n    errors.tolerance: some\n    format.class: parquet\n"),
        ("b.json", "{\"connector.class\": \"S3Sink\", \"topics\": \"a\", \"topics.regex\": \"b(\", \"name\": null}"),
        ("c.yaml", "topics:\n  a b:\n  ok: {partitions: 0, retention.ms: 1}\n"),
    ]), @r#"
    w.yaml:1:1: error: `bootstrap.servers` is missing
      1 | worker: {group.id: x, bootstrap.server: …
        | ^
      hint: write `bootstrap.servers: host:9092` in the worker's keys
    w.yaml:1:23: error: `bootstrap.server` is no key of the worker
      1 | bootstrap.server: …
        | ^
      hint: did you mean `bootstrap.servers`?
    w.yaml:2:1: error: `conector` means nothing at the top of a file
      2 | conector: {}
        | ^
      hint: did you mean `connectors`?
    a.yaml:2:3: error: connector "a": a sink needs `topics` or `topics.regex`
      2 | a:
        | ^
      hint: write `topics: a,b` or `topics.regex: prefix.*`
    a.yaml:4:5: error: connector "a": `tasks.max` is less than 1, the smallest value allowed
      4 | tasks.max: 0
        | ^
      hint: write a whole number
    a.yaml:5:5: error: connector "a": `flush.size` is not a whole number
      5 | flush.size: many
        | ^
      hint: write a whole number
    a.yaml:6:5: error: connector "a": `s3.bucket.name`: the environment variable `NOWHERE` is not set
      6 | s3.bucket.name: ${env:NOWHERE}
        | ^
      hint: set it before the start: export NOWHERE=…
    a.yaml:7:5: error: connector "a": Invalid value some for configuration errors.tolerance: String must be one of: none, all
      7 | errors.tolerance: some
        | ^
      hint: `none` fails the task at a record that cannot be processed, `all` skips such records
    a.yaml:8:5: error: connector "a": `format.class`: expected one of `io.confluent.connect.s3.format.json.JsonFormat`, `json`, `bytes`
      8 | format.class: parquet
        | ^
    b.json:1:46: error: connector "b": `topics` and `topics.regex` are both set, and they exclude each other
      1 | "topics.regex": "b(", "name": null}
        | ^
      hint: keep one of them
    b.json:1:68: error: connector "b": `name` has no value
      1 | "name": null}
        | ^
      hint: write a value, "" for an empty text, or leave the key out
    b.json:1:68: error: connector "b": `s3.bucket.name` is required and has no default
      1 | "name": null}
        | ^
      hint: The bucket
    b.json:1:68: error: connector "b": `flush.size` is required and has no default
      1 | "name": null}
        | ^
      hint: Records per object.
    c.yaml:2:3: error: the topic name `a b` has a character that Kafka does not take
      2 | a b:
        | ^
      hint: letters, digits, `.`, `_` and `-`, at most 249
    c.yaml:3:8: error: `partitions` is less than 1, the smallest value allowed
      3 | partitions: 0, retention.ms: …
        | ^
      hint: write a whole number
    c.yaml:3:23: error: `retention.ms` is no key of a topic
      3 | retention.ms: …
        | ^
      hint: there are `partitions`, `replication.factor` and `config`; Kafka's own go under `config`
    "#);
}

#[test]
fn what_the_plugin_itself_refuses_has_a_place() {
    assert_snapshot!(wrong_yaml("
connectors:
  a:
    connector.class: s3-sink
    topics: a
    flush.size: 1
    s3.bucket.name: my_bucket
"), @r#"
    a.yaml:7:5: error: connector "a": `s3.bucket.name` holds an underscore
      7 | s3.bucket.name: my_bucket
        | ^
      hint: buckets have letters, digits, `.` and `-`
    "#);
}

#[test]
fn a_regular_expression_that_is_none_is_told() {
    assert_snapshot!(wrong_yaml("
connectors:
  a: {connector.class: s3-sink, flush.size: 1, s3.bucket.name: b, topics.regex: \"a(\"}
  b: {connector.class: s3-sink, flush.size: 1, s3.bucket.name: b, topics: a.*}
"), @r#"
    a.yaml:3:67: error: connector "a": `topics.regex` is no regular expression: Parsing error at position 2: Opening parenthesis without closing parenthesis
      3 | topics.regex: "a("}
        | ^
      hint: Java's syntax; it has to match whole topic names
    a.yaml:4:67: error: connector "b": `topics`: the name `a.*` has a character that Kafka does not take
      4 | topics: a.*}
        | ^
      hint: for a pattern write `topics.regex`
    "#);
}

#[test]
fn transforms_are_defined_and_named() {
    assert_snapshot!(wrong_yaml("
connectors:
  a:
    connector.class: webhook-source
    transforms: one,two,one
    transforms.two.type: pin-cleanr
    transforms.three.type: pin-cleaner
    transforms.three.drop: a
  b:
    connector.class: webhook-source
    webhook.listen: 127.0.0.1:1
    transforms: [{type: pin-cleaner}, {name: x, drop: a}]
"), @r#"
    a.yaml:5:5: error: connector "a": `transforms.one.type` is missing: `transforms` names `one`
      5 | transforms: one,two,one
        | ^
      hint: write `transforms.one.type: <transform>`; `sidestream plugins` lists them
    a.yaml:5:5: error: connector "a": the transform `one` is named twice
      5 | transforms: one,two,one
        | ^
      hint: give the second one a name of its own
    a.yaml:6:5: error: connector "a": there is no transform named `pin-cleanr`
      6 | transforms.two.type: pin-cleanr
        | ^
      hint: did you mean `pin-cleaner`? there are `pin-cleaner`
    a.yaml:8:5: error: connector "a": the transform `three` is defined, but `transforms` does not name it
      8 | transforms.three.drop: a
        | ^
      hint: add it: `transforms: one,two,one,three`
    a.yaml:12:5: error: connector "b": `transforms.x.type` is missing: `transforms` names `x`
      12 | transforms: [{type: …
         | ^
      hint: write `transforms.x.type: <transform>`; `sidestream plugins` lists them
    a.yaml:12:18: error: connector "b": an item of `transforms` has no `name`
      12 | {type: …
         | ^
      hint: write {name: clean, type: pin-cleaner}; the name is yours to choose
    "#);
}

#[test]
fn a_predicate_that_there_is_not_and_a_negation_of_nothing_are_told_t_11() {
    assert_snapshot!(wrong_yaml("
connectors:
  a:
    connector.class: s3-sink
    topics: a
    flush.size: 1
    s3.bucket.name: b
    transforms:
      - {name: one, type: pin-cleaner, predicate: q}
      - {name: two, type: pin-cleaner, negate: true}
      - {name: three, type: pin-cleaner, predicate: p, negate: perhaps}
    predicates: p
"), @r#"
    a.yaml:9:40: error: connector "a": there is no predicate named `q`
      9 | predicate: q}
        | ^
      hint: `predicates` declares `p`
    a.yaml:10:40: error: connector "a": Config 'transforms.two.negate' was provided but there is no config 'transforms.two.predicate' defining a predicate to be negated.
      10 | negate: true}
         | ^
      hint: name the predicate, or take `negate` out
    a.yaml:11:56: error: connector "a": `transforms.three.negate` is neither true nor false
      11 | negate: perhaps}
         | ^
      hint: write true or false
    a.yaml:12:5: error: connector "a": `predicates.p.type` is missing: `predicates` names `p`
      12 | predicates: p
         | ^
      hint: write `predicates.p.type: <predicate>`; `sidestream plugins` lists them
    "#);
}

#[test]
fn a_direct_pipeline_needs_a_place_for_its_positions_and_its_keys_where_they_belong() {
    assert_snapshot!(wrong(&[(
        "a.yaml",
        "
connectors:
  a:
    source: {class: webhook-source, webhook.listen: \"127.0.0.1:1\"}
    sink: {class: s3-sink, s3.bucket.name: b, flush.size: 1}
    topics: t
    flush.size: 5
    task.max: 2
    run.until: caught-up
",
    )]), @r#"
    a.yaml:3:3: error: there is no Kafka, and no file in which the pipelines store how far they are
      3 | a:
        | ^
      hint: write `offset.storage.file.filename: /var/lib/sidestream/offsets` in the worker's keys, on a disk that outlives the process; or name `bootstrap.servers`
    a.yaml:6:5: error: connector "a": `topics` is no key of a connector with `source:` and `sink:`
      6 | topics: …
        | ^
      hint: records do not pass through topics here
    a.yaml:7:5: error: connector "a": `flush.size` is no key of a connector with `source:` and `sink:`
      7 | flush.size: …
        | ^
      hint: it belongs below `sink:`
    a.yaml:8:5: error: connector "a": `task.max` is no key of a connector with `source:` and `sink:`
      8 | task.max: …
        | ^
      hint: did you mean `tasks.max`?
    a.yaml:9:5: error: connector "a": the source never comes to an end, so there is no time at which it is caught up
      9 | run.until: caught-up
        | ^
      hint: use a source that ends (`objects-source` without `objects.follow`, `file-source` with `file.stop.at.end`, …), or run this connector without a bound, in a file of its own
    "#);
}

#[test]
fn a_source_reads_no_topics() {
    assert_snapshot!(wrong_yaml("connectors:\n  a: {connector.class: webhook-source, topics: a}\n"), @r#"
    a.yaml:2:40: error: connector "a": `topics` is no key of webhook-source
      2 | topics: …
        | ^
      hint: a source's own keys say where it writes
    "#);
}

#[test]
fn a_value_that_is_missing_or_no_plain_value_is_told() {
    assert_snapshot!(wrong_yaml("
connectors:
  a:
    connector.class: s3-sink
    topics: [a, [b]]
    s3.bucket.name:
    flush.size: [\"1,2\"]
  b: s3-sink
"), @r#"
    a.yaml:5:17: error: connector "a": an item of the list `topics` is not a plain value
      5 | […
        | ^
      hint: only `transforms` may be a list of maps; write plain values here
    a.yaml:6:5: error: connector "a": `s3.bucket.name` has no value
      6 | s3.bucket.name:
        | ^
      hint: write a value, "" for an empty text, or leave the key out
    a.yaml:7:18: error: connector "a": an item of the list `flush.size` holds a comma
      hint: lists become comma lists, as Connect has them; make it two items
    a.yaml:8:3: error: connector "b": connector `b` takes a map of its keys
      8 | b: …
        | ^
      hint: write `connector.class: …` below it, indented
    "#);
}

#[test]
fn placeholders_that_cannot_be_resolved_are_named_and_cause_no_second_error() {
    assert_snapshot!(wrong_yaml("
connectors:
  a:
    connector.class: s3-sink
    topics: ${env:MISSING}.pin
    s3.bucket.name: ${file:/nowhere/secrets.properties:bucket}-${directory:/nowhere:b}
    flush.size: ${env:SIZE:-1}
    s3.region: ${vault:a:b}
    topics.dir: ${env:UNCLOSED
"), @r#"
    a.yaml:5:5: error: connector "a": `topics`: the environment variable `MISSING` is not set
      5 | topics: ${env:MISSING}.pin
        | ^
      hint: set it before the start: export MISSING=…
    a.yaml:6:5: error: connector "a": `s3.bucket.name`: cannot read `/nowhere/secrets.properties`: there is no such file
      6 | s3.bucket.name: ${file:/nowhere/secrets.properties:bucket}-${directory:/nowhere:b}
        | ^
      hint: check the path and who may read it
    a.yaml:6:5: error: connector "a": `s3.bucket.name`: cannot read `/nowhere/b`: there is no such file
      6 | s3.bucket.name: ${file:/nowhere/secrets.properties:bucket}-${directory:/nowhere:b}
        | ^
      hint: check the path and who may read it
    a.yaml:7:5: error: connector "a": `flush.size`: the environment variable `SIZE:-1` is not set
      7 | flush.size: ${env:SIZE:-1}
        | ^
      hint: there is no default syntax; write ${env:NAME} and set the variable
    a.yaml:8:5: error: connector "a": `s3.region`: `${vault:…}`: there is no configuration provider `vault`
      8 | s3.region: ${vault:a:b}
        | ^
      hint: there are `directory`, `env`, `file`, `s3import`, `secretsmanager`, `ssm`; others are declared by the worker's `config.providers`
    a.yaml:9:5: error: connector "a": `topics.dir`: the placeholder `${env:` has no closing brace
      9 | topics.dir: ${env:UNCLOSED
        | ^
      hint: close it with `}`
    "#);
}

#[test]
fn a_file_that_declares_nothing_is_told() {
    assert_snapshot!(wrong(&[("w.yaml", WORKER), ("a.yaml", "hello: world\n"), ("b.yaml", "- a\n"), ("c.yaml", "")]), @r#"
    a.yaml:1:1: error: this file declares no `worker`, `topics` or `connectors`, and is no connector itself
      1 | hello: …
        | ^
      hint: begin with `connectors:`, or with a connector's own keys, `connector.class` among them
    b.yaml:1:1: error: this file declares no `worker`, `topics` or `connectors`, and is no connector itself
      1 | - …
        | ^
      hint: begin with `connectors:`, or with a connector's own keys, `connector.class` among them
    c.yaml:1:1: error: this file declares no `worker`, `topics` or `connectors`, and is no connector itself
      hint: begin with `connectors:`, or with a connector's own keys, `connector.class` among them
    "#);
}

#[test]
fn a_name_without_visible_characters_is_refused() {
    assert_snapshot!(wrong_yaml("connectors:\n  \"a\\tb\": {connector.class: webhook-source}\n"), @r#"
    a.yaml:2:3: error: a connector's name is empty or holds control characters
      2 | "a\tb": {connector.class: webhook-source}
        | ^
      hint: give it a name of visible characters
    "#);
}

#[test]
fn findings_are_json_with_file_line_and_column() {
    let all =
        super::load(&[("w.yaml", WORKER), ("a.yaml", "connectors:\n  a: {connector.class: nothing}\n")]);
    assert_snapshot!(serde_json::to_string_pretty(&all.unwrap_err()).unwrap(), @r#"
    [
      {
        "severity": "error",
        "file": "a.yaml",
        "line": 2,
        "column": 7,
        "connector": "a",
        "key": "connector.class",
        "message": "there is no source or sink named `nothing`",
        "hint": "there are `s3-sink`, `webhook-source`; the library of another one belongs into a directory of `plugin.path`"
      }
    ]
    "#);
}
