//! YAML, the only file that touches the YAML crate. Scalars stay as written: `1.10`, `007`, `yes`, `1e3`.

use std::collections::HashMap;
use std::sync::Arc;

use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::diagnostic::{Diagnostic, Report};
use super::node::{Content, Entry, Node, Place};

/// Nodes that one file may have once its aliases are expanded.
const MAX_NODES: usize = 100_000;

/// Reads one document; `None` when it is malformed, which is then reported.
pub fn parse(file: &Arc<str>, text: &str, report: &mut Report) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        file,
        anchors: HashMap::new(),
        nodes: 0,
        report,
        empty: Node { content: Content::Null, place: Place::start_of(file) },
    };
    match reader.document() {
        Ok(node) => Some(node),
        Err(error) => {
            report.add(*error);
            None
        }
    }
}

/// Why reading stopped.
type Stop = Box<Diagnostic>;

fn stop(place: &Place, message: impl Into<String>, hint: &str) -> Stop {
    Box::new(Diagnostic::error(place, message).hint(hint))
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    file: &'a Arc<str>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    report: &'a mut Report,
    empty: Node,
}

type Next<'a> = (Event<'a>, Span);

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root.unwrap_or_else(|| self.empty.clone())),
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if root.is_some() => {
                    let message = "a second YAML document begins here";
                    let hint = "one document a file: put the rest into a file of its own";
                    return Err(stop(&self.place(span), message, hint));
                }
                _ => root = Some(self.node((event, span))?),
            }
        }
    }

    fn next(&mut self) -> Result<Next<'a>, Stop> {
        loop {
            match self.events.next_event() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(next)) => return Ok(next),
                Some(Err(error)) => {
                    let mark = error.marker();
                    let place = Place::new(self.file, mark.line(), mark.col() + 1);
                    let hint = "look at the indentation and quotes here and just above; inside [ ] and { } a \
                                placeholder needs quotes: \"${env:NAME}\"";
                    return Err(stop(&place, format!("malformed YAML: {}", error.info()), hint));
                }
                None => return Ok((Event::StreamEnd, Span::default())),
            }
        }
    }

    fn place(&self, span: Span) -> Place {
        Place::new(self.file, span.start.line(), span.start.col() + 1)
    }

    fn count(&mut self, nodes: usize, place: &Place) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            let hint = "aliases (`*name`) multiply what they stand for; use fewer, or split the file";
            return Err(stop(place, format!("more than {MAX_NODES} values in one file"), hint));
        }
        Ok(())
    }

    fn node(&mut self, (event, span): Next<'a>) -> Result<Node, Stop> {
        let place = self.place(span);
        self.count(1, &place)?;
        let (content, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let text_tag = self.is_text(tag.as_deref(), &place)?;
                let null =
                    style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let content =
                    if null && !text_tag { Content::Null } else { Content::Scalar(text.into_owned()) };
                (content, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.is_text(tag.as_deref(), &place)?;
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        next => items.push(self.node(next)?),
                    }
                }
                (Content::List(items), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.is_text(tag.as_deref(), &place)?;
                (self.mapping(&place)?, anchor)
            }
            Event::Alias(id) => {
                let mut node = self.anchors.get(&id).cloned().ok_or_else(|| {
                    stop(&place, "this alias stands inside of what it stands for", "write the value out")
                })?;
                self.count(size(&node), &place)?;
                node.place = place;
                return Ok(node);
            }
            _ => return Err(stop(&place, "malformed YAML: a value is missing here", "")),
        };
        let node = Node { content, place };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn mapping(&mut self, place: &Place) -> Result<Content, Stop> {
        let (mut entries, mut merged) = (Vec::new(), Vec::new());
        loop {
            let next = self.next()?;
            if next.0 == Event::MappingEnd {
                break;
            }
            let key = self.node(next)?;
            let value = self.next()?;
            let node = self.node(value)?;
            match key.content {
                Content::Scalar(text) if text == "<<" => merged.push(node),
                Content::Scalar(key_text) if !key_text.is_empty() => {
                    entries.push(Entry { key: key_text, place: key.place, node });
                }
                _ => {
                    let hint =
                        "quote a placeholder at its beginning, and what looks like null: \"${env:NAME}\"";
                    return Err(stop(&key.place, "a key has to be a text, and not empty", hint));
                }
            }
        }
        let Content::Map(mut entries) = Node::map(entries, place.clone(), self.report).content else {
            return Ok(Content::Null);
        };
        for node in merged {
            let maps = match node.content {
                Content::List(items) => items,
                _ => vec![node],
            };
            for map in maps {
                let Content::Map(more) = map.content else {
                    return Err(stop(&map.place, "`<<` takes a map, or a list of maps", "write `<<: *name`"));
                };
                let new: Vec<_> =
                    more.into_iter().filter(|m| entries.iter().all(|e| e.key != m.key)).collect();
                entries.extend(new);
            }
        }
        Ok(Content::Map(entries))
    }

    /// Whether a tag says that this is text; tags of other kinds than YAML's own scalars are refused.
    fn is_text(&self, tag: Option<&Tag>, place: &Place) -> Result<bool, Stop> {
        match tag.map(Tag::core_suffix) {
            None => Ok(false),
            Some(Some("str")) => Ok(true),
            Some(Some("int" | "float" | "bool" | "null" | "map" | "seq")) => Ok(false),
            Some(_) => {
                let hint = "leave the tag out; for a secret use ${file:path:key} or ${env:NAME}";
                Err(stop(place, "YAML tags (`!name`) have no meaning here", hint))
            }
        }
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.content {
        Content::List(items) => items.iter().map(size).sum(),
        Content::Map(entries) => entries.iter().map(|e| 1 + size(&e.node)).sum(),
        _ => 0,
    }
}
