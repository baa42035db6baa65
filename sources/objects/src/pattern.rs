//! `objects.path`: a store, a folder in it, and which objects below it are meant.

use std::sync::Arc;

use regex::Regex;
use url::Url;

/// What is read below a folder that no pattern follows.
const JSON_NAMES: &str = r"(?:[^/]+/)*[^/]+\.(?:json|jsonl|ndjson)(?:\.gz)?";

/// A parsed `objects.path`.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Store and folder in front of the first segment that holds a pattern.
    pub base: Url,
    /// The segments behind it; none: everything below the folder, or the object itself.
    pub levels: Vec<Level>,
    /// The whole of what is behind `base`.
    whole: Regex,
    names_topic: bool,
    /// `.` and `_`, unless a segment begins so.
    hidden: Vec<char>,
}

/// One segment of the path behind the base.
#[derive(Clone, Debug)]
pub enum Level {
    /// A name as it is.
    Name(String),
    Matching(Regex),
    /// `**`: folders of any depth.
    Deep,
}

impl Pattern {
    /// The message says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (head, path) = match text.split_once("://") {
            Some((scheme, rest)) if scheme != "file" => {
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                if host.contains(is_special) {
                    return Err("has a pattern in the name of the bucket".to_owned());
                }
                (format!("{scheme}://{host}/"), path)
            }
            Some((_, path)) => ("file://".to_owned(), path),
            None => (String::new(), text),
        };
        let segments: Vec<&str> = path.split('/').collect();
        let fixed = segments.iter().take_while(|segment| !segment.contains(is_special)).count();
        let (fixed, globs) = segments.split_at(fixed);
        let mut folder = fixed.join("/");
        if folder.is_empty() && !globs.is_empty() && head.is_empty() {
            folder = if fixed.is_empty() { ".".to_owned() } else { "/".to_owned() };
        }
        let base = connector_aws::store::parse(&format!("{head}{folder}"))?;
        let mut levels = Vec::new();
        let mut whole = String::new();
        for (at, glob) in globs.iter().enumerate() {
            if glob.is_empty() {
                return Err("ends with `/` behind a pattern, or has an empty segment".to_owned());
            }
            let last = at + 1 == globs.len();
            if *glob == "**" {
                whole.push_str(if last { "(?:[^/]+/)*[^/]+" } else { "(?:[^/]+/)*" });
                levels.push(Level::Deep);
                continue;
            }
            let segment = translate(glob)?;
            let error = |_| format!("has a pattern that cannot be read: `{glob}`");
            levels.push(match glob.contains(is_special) {
                true => Level::Matching(Regex::new(&format!("^(?s:{segment})$")).map_err(error)?),
                false => Level::Name((*glob).to_owned()),
            });
            whole.push_str(&segment);
            whole.push_str(if last { "" } else { "/" });
        }
        if globs.is_empty() {
            JSON_NAMES.clone_into(&mut whole);
        }
        let whole = Regex::new(&format!("^(?s:{whole})$")).map_err(|cause| match cause {
            regex::Error::Syntax(text) if text.contains("duplicate") => {
                "names `{topic}` more than once".to_owned()
            }
            _ => "holds a pattern that cannot be read".to_owned(),
        })?;
        let names_topic = whole.capture_names().flatten().next().is_some();
        let asked = |start: &char| globs.iter().any(|glob| glob.starts_with(*start));
        let hidden = ['.', '_'].into_iter().filter(|start| !asked(start)).collect();
        Ok(Self { base, levels, whole, names_topic, hidden })
    }

    /// Whether a part of the path is the topic: `{topic}`.
    pub fn names_topic(&self) -> bool {
        self.names_topic
    }

    /// Whether an object at `below` (its path behind the base) is meant.
    ///
    /// Names that begin with `.` or `_` are not, as in Spark, unless the pattern says so itself.
    pub fn matches(&self, below: &str) -> bool {
        !below.split('/').any(|name| self.is_hidden(name)) && self.whole.is_match(below)
    }

    pub fn is_hidden(&self, name: &str) -> bool {
        name.starts_with(self.hidden.as_slice())
    }

    /// What `{topic}` stands for in the path `below` the base.
    pub fn topic_in(&self, below: &str) -> Option<Arc<str>> {
        Some(self.whole.captures(below)?.name("topic")?.as_str().into())
    }
}

fn is_special(c: char) -> bool {
    matches!(c, '*' | '?' | '[' | '{')
}

/// A glob of one segment as a regular expression: `*`, `?`, `[abc]`, `[!a-z]`, `{a,b}` and `{topic}`.
fn translate(glob: &str) -> Result<String, String> {
    let unclosed = |what: char| format!("opens `{what}` in `{glob}` and does not close it");
    let mut pattern = String::new();
    let mut rest = glob;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '*' => pattern.push_str("[^/]*"),
            '?' => pattern.push_str("[^/]"),
            '[' => {
                let (class, behind) = rest.split_once(']').ok_or_else(|| unclosed('['))?;
                rest = behind;
                let (negated, class) = match class.strip_prefix(['!', '^']) {
                    Some(class) => ("^", class),
                    None => ("", class),
                };
                let class: String = class
                    .chars()
                    .map(|c| if c == '-' { c.to_string() } else { regex::escape(&c.to_string()) })
                    .collect();
                pattern.push_str(&format!("[{negated}{class}]"));
            }
            '{' => {
                let (inside, behind) = rest.split_once('}').ok_or_else(|| unclosed('{'))?;
                rest = behind;
                if inside == "topic" {
                    pattern.push_str("(?P<topic>[^/]+)");
                    continue;
                }
                let choices: Result<Vec<_>, _> = inside.split(',').map(translate).collect();
                pattern.push_str(&format!("(?:{})", choices?.join("|")));
            }
            other => pattern.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    Ok(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Pattern {
        Pattern::parse(text).unwrap_or_else(|problem| panic!("{text} {problem}"))
    }

    #[test]
    fn the_part_in_front_of_the_first_pattern_is_the_folder() {
        for (text, base, levels) in [
            ("s3://b/topics/*.pin/partition=*/*.json", "s3://b/topics", 3),
            ("s3a://b/*.json", "s3://b/", 1),
            ("s3://b/topics/x.pin", "s3://b/topics/x.pin", 0),
            ("s3://b", "s3://b/", 0),
            ("file:///data/in/**/*.json", "file:///data/in", 2),
            ("/data/a b/part=?/x.json", "file:///data/a%20b", 2),
            ("memory://m/a/*", "memory://m/a", 1),
            ("/*.json", "file:///", 1),
        ] {
            let pattern = parse(text);
            assert_eq!((pattern.base.as_str(), pattern.levels.len()), (base, levels), "{text}");
        }
        let relative = parse("*.json");
        let here = Url::from_file_path(std::env::current_dir().unwrap()).unwrap();
        assert_eq!(relative.base.as_str().trim_end_matches('/'), here.as_str());
    }

    #[test]
    fn globs_match_whole_segments() {
        for (glob, yes, no) in [
            ("*.json", "a.json", "a.json.gz"),
            ("*.json", "a+0+0000000000.json", "x/a.json"),
            ("part=[0-4]/*", "part=3/a", "part=7/a"),
            ("[!a]*", "b", "a"),
            ("{pin,geo}*/x.?", "pin1/x.y", "user/x.y"),
            ("**/*.json", "a.json", "a.jso"),
            ("**/*.json", "a/b/c.json", "a/b/c.jsonl"),
            ("a*/**", "a1/b/c", "b/c"),
            ("*", "a.b", "_SUCCESS"),
            ("*", "é", ".hidden"),
            ("**/*.json", "a/b.json", "_delta_log/0.json"),
        ] {
            let pattern = parse(&format!("s3://b/p/{glob}"));
            assert!(pattern.matches(yes), "{glob} {yes}");
            assert!(!pattern.matches(no), "{glob} {no}");
        }
        assert!(parse("s3://b/_x*/*").matches("_x1/a"));
        assert!(parse("s3://b/.x*/*").matches(".x1/a"));
    }

    #[test]
    fn a_folder_means_the_json_below_it() {
        let folder = parse("s3://b/topics/");
        for name in ["a.json", "x/y/a.ndjson.gz", "x/a.jsonl"] {
            assert!(folder.matches(name), "{name}");
        }
        for name in ["a.bin", "x/a.json.tmp", "_temporary/a.json", "x/.a.json"] {
            assert!(!folder.matches(name), "{name}");
        }
    }

    #[test]
    fn the_topic_is_taken_from_the_path() {
        let pattern = parse("s3://b/topics/{topic}/partition=*/*.json");
        assert!(pattern.names_topic());
        assert_eq!(pattern.topic_in("12e.pin/partition=0/a.json").as_deref(), Some("12e.pin"));
        let part = parse("s3://b/{topic}.v?/*");
        assert_eq!(part.topic_in("pin.v2/a").as_deref(), Some("pin"));
        assert!(!parse("s3://b/{a,b}/*").names_topic());
    }

    #[test]
    fn a_path_that_means_nothing_is_refused_with_the_reason() {
        for (text, what) in [
            ("", "empty"),
            ("gs://b/*", "scheme"),
            ("s3://*/x", "bucket"),
            ("s3:///x/*", "bucket"),
            ("s3://b/[a/*", "`[`"),
            ("s3://b/{a/*", "`{`"),
            ("s3://b/[z-a]", "cannot be read"),
            ("s3://b/*/", "ends with `/`"),
            ("s3://b/{topic}/{topic}/*", "more than once"),
        ] {
            let problem = Pattern::parse(text).unwrap_err();
            assert!(problem.contains(what), "{text}: {problem}");
        }
    }
}
