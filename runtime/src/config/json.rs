//! JSON documents with places. Numbers and booleans stay text, as Connect's own reader makes them.

use std::sync::Arc;

use jiter::{Jiter, JiterError, Peek};

use super::diagnostic::{Diagnostic, Report};
use super::node::{Content, Entry, Node, Place};

const MAX_DEPTH: usize = 64;

/// Reads one document; `None` when it is malformed, which is then reported.
pub fn parse(file: &Arc<str>, text: &str, report: &mut Report) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { json: Jiter::new(text.as_bytes()), text, file, report };
    let node = reader.json.peek().map_err(Stop::Json).and_then(|peek| reader.node(peek, 0));
    match node.and_then(|node| reader.json.finish().map(|()| node).map_err(Stop::Json)) {
        Ok(node) => Some(node),
        Err(Stop::TooDeep(place)) => {
            report.add(Diagnostic::error(&place, format!("more than {MAX_DEPTH} levels of nesting")));
            None
        }
        Err(Stop::Json(error)) => {
            let place = place_at(file, text, error.index);
            let error = error.error_type.to_string();
            report.add(
                Diagnostic::error(&place, format!("malformed JSON: {error}"))
                    .hint("a document is {\"name\": \"…\", \"config\": {\"connector.class\": \"…\", …}}"),
            );
            None
        }
    }
}

enum Stop {
    Json(JiterError),
    TooDeep(Place),
}

struct Reader<'a> {
    json: Jiter<'a>,
    text: &'a str,
    file: &'a Arc<str>,
    report: &'a mut Report,
}

impl Reader<'_> {
    fn node(&mut self, peek: Peek, depth: usize) -> Result<Node, Stop> {
        let start = self.json.current_index();
        let place = place_at(self.file, self.text, start);
        if depth > MAX_DEPTH {
            return Err(Stop::TooDeep(place));
        }
        let content = match peek {
            Peek::Object => return self.object(place, depth),
            Peek::Array => {
                let mut items = Vec::new();
                let mut next = self.json.known_array().map_err(Stop::Json)?;
                while let Some(peek) = next {
                    items.push(self.node(peek, depth + 1)?);
                    next = self.json.array_step().map_err(Stop::Json)?;
                }
                Content::List(items)
            }
            Peek::String => Content::Scalar(self.json.known_str().map_err(Stop::Json)?.to_owned()),
            Peek::Null => {
                self.json.known_null().map_err(Stop::Json)?;
                Content::Null
            }
            _ => {
                self.json.known_skip(peek).map_err(Stop::Json)?;
                let text = self.text.get(start..self.json.current_index()).unwrap_or_default();
                Content::Scalar(text.to_owned())
            }
        };
        Ok(Node { content, place })
    }

    fn object(&mut self, place: Place, depth: usize) -> Result<Node, Stop> {
        let mut entries = Vec::new();
        let mut before = self.json.current_index();
        let mut next = self.json.known_object().map_err(Stop::Json)?.map(str::to_owned);
        while let Some(key) = next {
            // Between the last value and this key there are only blanks, `{` or `,`.
            let quote = self.text.get(before..).and_then(|rest| rest.find('"')).unwrap_or_default();
            let place = place_at(self.file, self.text, before + quote);
            let peek = self.json.peek().map_err(Stop::Json)?;
            let node = self.node(peek, depth + 1)?;
            entries.push(Entry { key, place, node });
            before = self.json.current_index();
            next = self.json.next_key().map_err(Stop::Json)?.map(str::to_owned);
        }
        Ok(Node::map(entries, place, self.report))
    }
}

fn place_at(file: &Arc<str>, text: &str, index: usize) -> Place {
    let before = text.get(..index).unwrap_or(text);
    let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Place::new(file, line, column)
}
