//! What is refused before anything runs.

use connector_core::{TaskInfo, testing};

fn problems(pairs: &[(&str, &str)], direct: bool) -> Vec<String> {
    let component = source_objects::component();
    let task = TaskInfo { direct, connector: "c".to_owned(), task: 0 };
    let made = component.check(&testing::config(pairs)).and_then(|c| component.create_source(&c, &task));
    made.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn a_pipeline_with_kafka_needs_a_topic_and_a_direct_one_does_not() {
    let path = ("objects.path", "s3://b/x/*.json");
    assert_eq!(problems(&[path], true), [""; 0]);
    let [problem] = &problems(&[path], false)[..] else { panic!() };
    assert!(problem.starts_with("topic: is missing") && problem.contains("{topic}"), "{problem}");
    assert_eq!(problems(&[path, ("topic", "t")], false), [""; 0]);
    let named = ("objects.path", "s3://b/{topic}/*.json");
    assert_eq!(problems(&[named, ("topic.mapping.a.b", "c")], false), [""; 0]);
    assert!(problems(&[named, ("topic", "t")], false)[0].contains("is set though"));
    assert!(problems(&[path, ("topic", "t"), ("topic.mapping.a", "b")], false)[0].contains("nothing to map"));
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let found = problems(
        &[
            ("objects.path", "gs://b/x"),
            ("topic", "a,b"),
            ("store.url", "localhost"),
            ("aws.access.key.id", "AKIAEXAMPLE"),
            ("aws.role.external.id", "x"),
        ],
        false,
    );
    let keys: Vec<_> = found.iter().filter_map(|problem| Some(problem.split_once(':')?.0)).collect();
    assert_eq!(keys, ["objects.path", "topic", "aws.secret.access.key", "aws.role.arn", "store.url"]);
    assert!(!found.concat().contains("AKIAEXAMPLE"));
}
