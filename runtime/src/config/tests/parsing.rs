use std::sync::Arc;

use proptest::prelude::*;

use crate::config::SecretCache;
use crate::config::diagnostic::Report;
use crate::config::format::Format;
use crate::config::node::{Content, Node};
use crate::config::placeholder::Providers;

fn parse(format: Format, text: &str) -> (Option<Node>, String) {
    let mut report = Report::default();
    let node = format.parse(&Arc::from("f"), text, &mut report);
    (node, super::text(&report.finish()))
}

fn shown(node: &Node) -> String {
    match &node.content {
        Content::Null => "null".to_owned(),
        Content::Scalar(text) => format!("{text:?}"),
        Content::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Content::Map(entries) => {
            let entries = entries.iter().map(|e| {
                let (key, value) = (&e.place, &e.node.place);
                format!(
                    "{}@{}:{} {}@{}:{}",
                    e.key,
                    key.line,
                    key.column,
                    shown(&e.node),
                    value.line,
                    value.column
                )
            });
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

fn good(format: Format, text: &str) -> String {
    let (node, problems) = parse(format, text);
    assert_eq!(problems, "");
    shown(&node.unwrap())
}

fn bad(format: Format, text: &str) -> String {
    let (_, problems) = parse(format, text);
    assert_ne!(problems, "");
    problems
}

#[test]
fn yaml_scalars_stay_as_written() {
    assert_eq!(
        good(Format::Yaml, "a: 1.10\nb: 007\nc: yes\nd: 1e3\ne: ~\nf: \"~\"\ng: 0x1F\nh: 2020-01-01\ni: é:x"),
        "{a@1:1 \"1.10\"@1:4, b@2:1 \"007\"@2:4, c@3:1 \"yes\"@3:4, d@4:1 \"1e3\"@4:4, e@5:1 null@5:4, \
         f@6:1 \"~\"@6:4, g@7:1 \"0x1F\"@7:4, h@8:1 \"2020-01-01\"@8:4, i@9:1 \"é:x\"@9:4}"
    );
}

#[test]
fn yaml_anchors_and_merges_are_understood() {
    assert_eq!(
        good(Format::Yaml, "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\n"),
        "{a@1:1 {x@1:8 \"1\"@1:11, y@1:14 \"2\"@1:17}@1:7, b@2:1 {y@2:13 \"3\"@2:16, x@1:8 \"1\"@1:11}@2:4, \
         c@3:1 {x@1:8 \"1\"@1:11, y@1:14 \"2\"@1:17}@3:4}"
    );
}

#[test]
fn yaml_that_multiplies_itself_is_refused() {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(bad(Format::Yaml, &text).contains("more than 100000 values"), "{}", bad(Format::Yaml, &text));
}

#[test]
fn yaml_beyond_a_plain_tree_is_refused() {
    insta::assert_snapshot!([
        "a: 1\n---\nb: 2\n",
        "a: !vault x\n",
        "[a, b]: c\n",
        "a: *nothing\n",
        "a: 1\na: 2\n",
        "a:\n\t- b\n",
        "a: [${env:X}]\n",
    ].map(|text| bad(Format::Yaml, text)).join("\n"), @r#"
    f:3:1: error: a second YAML document begins here
      hint: one document a file: put the rest into a file of its own
    f:1:11: error: YAML tags (`!name`) have no meaning here
      hint: leave the tag out; for a secret use ${file:path:key} or ${env:NAME}
    f:1:1: error: a key has to be a text, and not empty
      hint: quote a placeholder at its beginning, and what looks like null: "${env:NAME}"
    f:1:4: error: malformed YAML: while parsing node, found unknown anchor
      hint: look at the indentation and quotes here and just above; inside [ ] and { } a placeholder needs quotes: "${env:NAME}"
    f:2:1: error: `a` is written twice
      hint: the first one is at f:1:1; keep one of them
    f:2:2: error: malformed YAML: tabs disallowed within this context (block indentation)
      hint: look at the indentation and quotes here and just above; inside [ ] and { } a placeholder needs quotes: "${env:NAME}"
    f:1:6: error: malformed YAML: while parsing a flow sequence, expected ',' or ']'
      hint: look at the indentation and quotes here and just above; inside [ ] and { } a placeholder needs quotes: "${env:NAME}"
    "#);
}

#[test]
fn properties_follow_java_s_rules() {
    let text = "# a comment\n! another\n  a = 1 \nb:2\nc 3\nd\\ e=\\u00e9\\uD83D\\uDE00\\tx\nlong=one,\\\n    two\\\n# three\n\
        empty=\nnothing\nback=a\\\\\nlast=x\\=y";
    assert_eq!(
        good(Format::Properties, text),
        "{a@3:3 \"1\"@3:7, b@4:1 \"2\"@4:3, c@5:1 \"3\"@5:3, d e@6:1 \"é😀\\tx\"@6:6, \
         long@7:1 \"one,two# three\"@7:6, empty@10:1 \"\"@10:7, nothing@11:1 \"\"@11:8, back@12:1 \"a\\\\\"@12:6, \
         last@13:1 \"x=y\"@13:6}"
    );
    assert!(bad(Format::Properties, "a=\\u12").contains("f:1:1: error: malformed \\u escape"));
    assert!(bad(Format::Properties, "a=1\n\na=2").contains("the first one is at f:1:1"));
}

#[test]
fn json_numbers_and_booleans_become_text() {
    assert_eq!(
        good(
            Format::Json,
            "{\"a\": 1.10,\n  \"b\" : true, \"c\": [\"\\ud83d\\ude00\", 1e3], \"d\": null, \"e\": {}}"
        ),
        "{a@1:2 \"1.10\"@1:7, b@2:3 \"true\"@2:9, c@2:15 [\"😀\", \"1e3\"]@2:20, d@2:43 null@2:48, e@2:54 {}@2:59}"
    );
    let deep = "[".repeat(100_000);
    assert!(bad(Format::Json, &deep).contains("levels of nesting"));
    assert!(bad(Format::Json, "{\"a\": 1} x").contains("malformed JSON"));
}

#[test]
fn the_format_is_the_extension_s_else_that_of_the_first_line() {
    assert_eq!(Format::of("a.yml", "{"), Format::Yaml);
    assert_eq!(Format::of("a", " \n{\"a\": 1}"), Format::Json);
    assert_eq!(Format::of("a", "# x: y\nname=a: b"), Format::Properties);
    assert_eq!(Format::of("a", "connectors:\n  a: b=c"), Format::Yaml);
    assert_eq!(Format::of("/dev/stdin", "a: b=c"), Format::Yaml);
}

#[test]
fn placeholders_stand_anywhere_and_several_times() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display().to_string();
    std::fs::write(directory.path().join("s.properties"), "user.name=joe\npass=hunter2\n").unwrap();
    std::fs::write(directory.path().join("token"), "abc\n").unwrap();
    let env = |name: &str| (name == "A").then(|| "1".to_owned());
    let providers = Providers::new(&env, &SecretCache::default());
    let resolve = |text: &str| providers.resolve(text).map(|r| (r.text, r.secrets));
    assert_eq!(resolve("x${env:A}y${env:A}"), Ok(("x1y1".to_owned(), Vec::new())));
    let text = format!("${{file:{path}/s.properties:user.name}}:${{file:{path}/s.properties:pass}}");
    assert_eq!(resolve(&text), Ok(("joe:hunter2".to_owned(), vec!["joe".to_owned(), "hunter2".to_owned()])));
    assert_eq!(
        resolve(&format!("${{directory:{path}:token}}")),
        Ok(("abc".to_owned(), vec!["abc".to_owned()]))
    );
    assert_eq!(resolve("${topic}-$${timestamp}"), Ok(("${topic}-$${timestamp}".to_owned(), Vec::new())));
    let missing = format!("${{file:{path}/s.properties:nothing}} ${{directory:{path}:../etc}}");
    let problems = resolve(&missing).unwrap_err();
    assert_eq!(problems[0].message, format!("the file `{path}/s.properties` has no key `nothing`"));
    assert_eq!(problems[1].message, "`../etc` is not a plain file name");
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in "[-a-c0:=#!{}\\[\\]\"'\\\\,&*<|>$ \n\t\ré\u{feff}]{0,60}") {
        for format in [Format::Yaml, Format::Properties, Format::Json] {
            parse(format, &text);
        }
        let _ = Providers::new(&|_| None, &SecretCache::default()).resolve(&text);
    }

    #[test]
    fn no_text_makes_the_loader_panic(text in "([a-c:]{0,3}|connectors:\n|  a:\n|    connector.class: s3-sink\n|    topics: |\
        transforms: |\\[\\{name: x, |type: pin-cleaner|\\}\\]|\n|[{}\\[\\],$ ]|\\$\\{env:A\\}|worker:|name=){0,12}") {
        for name in ["a.yaml", "a.properties", "a.json", "a"] {
            for finding in super::load(&[(name, &text)]).err().unwrap_or_default() {
                let _ = finding.to_string();
            }
        }
    }

    #[test]
    fn any_text_survives_json_and_yaml_quotes(text in "\\PC{0,40}") {
        let quoted = serde_json::to_string(&text).unwrap();
        for format in [Format::Json, Format::Yaml] {
            let (node, problems) = parse(format, &format!("{{\"a\": {quoted}}}"));
            let node = node.unwrap_or_else(|| panic!("{problems}"));
            prop_assert_eq!(node.get("a").and_then(|e| e.node.scalar()), Some(text.as_str()));
        }
    }
}
