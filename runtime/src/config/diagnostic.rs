//! What is wrong with a configuration, where, and what to write instead.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::node::{Content, Node, Place};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing starts.
    Error,
    /// It starts, but probably not as meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// One finding. Never holds a value of a password-typed key or of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    /// `file`, `line` and `column` in JSON; absent when no place is to blame.
    #[serde(flatten)]
    pub place: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connector: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub message: String,
    /// What to write instead; may be empty.
    pub hint: String,
    /// The rest of the source line from the place on, as far as it may be shown.
    #[serde(skip)]
    pub excerpt: Option<String>,
    /// What is not there and may come.
    #[serde(skip)]
    pub missing: Option<Missing>,
}

/// What a connector can lack without being wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    Plugin,
    /// The text of a placeholder.
    Secret,
}

impl Diagnostic {
    fn new(severity: Severity, place: Option<&Place>, message: impl Into<String>) -> Self {
        Self {
            severity,
            place: place.cloned(),
            connector: None,
            key: None,
            message: message.into(),
            hint: String::new(),
            excerpt: None,
            missing: None,
        }
    }

    pub fn error(place: &Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, Some(place), message)
    }

    pub fn warning(place: &Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, Some(place), message)
    }

    pub fn note(place: &Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, Some(place), message)
    }

    /// A finding about the files as a whole.
    pub fn placeless(severity: Severity, message: impl Into<String>) -> Self {
        Self::new(severity, None, message)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned()).filter(|k| !k.is_empty());
        self
    }

    #[must_use]
    pub fn connector(mut self, name: Option<&str>) -> Self {
        self.connector = name.map(str::to_owned);
        self
    }
}

/// As compilers print it: `file:line:column: error: …`, the source line, the hint.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}: ", self.severity)?;
        if let Some(connector) = &self.connector {
            write!(f, "connector {connector:?}: ")?;
        }
        f.write_str(&self.message)?;
        if let (Some(excerpt), Some(place)) = (&self.excerpt, &self.place) {
            let line = place.line.to_string();
            write!(f, "\n  {line} | {excerpt}\n  {0:1$} | ^", "", line.len())?;
        }
        if !self.hint.is_empty() {
            write!(f, "\n  hint: {}", self.hint)?;
        }
        Ok(())
    }
}

/// Collects findings, and knows what of the source lines may be shown with them.
#[derive(Debug, Default)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
    files: Vec<Arc<str>>,
    /// Of files that could be parsed: only then it is known which parts are values.
    texts: BTreeMap<Arc<str>, String>,
    /// Where each scalar begins, and whether it may be shown: hidden until its key is known to be no password.
    scalars: BTreeMap<Place, bool>,
}

impl Report {
    pub fn add(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// A file begins: findings come in the order of the files.
    pub fn file(&mut self, name: &Arc<str>) {
        self.files.push(name.clone());
    }

    /// Takes the text of a file for excerpts, once all of its values are hidden.
    pub fn text(&mut self, file: &Arc<str>, text: &str) {
        self.texts.insert(file.clone(), text.to_owned());
    }

    /// How many findings there are.
    pub fn len(&self) -> usize {
        self.diagnostics.len()
    }

    /// The findings from the `since`th on belong to a connector.
    pub fn assign(&mut self, since: usize, connector: &str) {
        for diagnostic in self.diagnostics.iter_mut().skip(since) {
            diagnostic.connector.get_or_insert_with(|| connector.to_owned());
        }
    }

    /// Hides all scalars below a node.
    pub fn hide(&mut self, node: &Node) {
        match &node.content {
            Content::Null => {}
            Content::Scalar(_) => {
                self.scalars.insert(node.place.clone(), false);
            }
            Content::List(items) => items.iter().for_each(|item| self.hide(item)),
            Content::Map(entries) => entries.iter().for_each(|entry| self.hide(&entry.node)),
        }
    }

    /// The value that begins here is no secret.
    pub fn show(&mut self, place: &Place) {
        if let Some(shown) = self.scalars.get_mut(place) {
            *shown = true;
        }
    }

    fn excerpt(&self, place: &Place) -> Option<String> {
        let text = self.texts.get(&place.file)?;
        let line = text.lines().nth((place.line as usize).checked_sub(1)?)?;
        // What stands before the place may be the end of a longer value, so it is not shown.
        let hidden =
            self.scalars.range(place..).take_while(|(p, _)| p.file == place.file && p.line == place.line);
        let end = hidden.filter(|(_, shown)| !**shown).map(|(p, _)| p.column).next();
        let length = end.map_or(usize::MAX, |end| (end - place.column) as usize);
        let mut excerpt: String =
            line.chars().skip((place.column as usize).saturating_sub(1)).take(length).collect();
        if end.is_some() {
            excerpt.push('…');
        }
        let excerpt = excerpt.replace(char::is_control, " ");
        (!excerpt.trim_matches(['…', ' ']).is_empty()).then_some(excerpt)
    }

    /// Whether there is an error so far, other than that something is not there that may come.
    pub fn failed(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error && d.missing.is_none())
    }

    /// What is said of plugins and secrets that are not there.
    pub fn missing(&self) -> impl Iterator<Item = (Missing, &Diagnostic)> {
        self.diagnostics.iter().filter_map(|d| Some((d.missing?, d)))
    }

    /// All findings in the order of the files and their lines, with excerpts where they may be shown.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        let mut all = std::mem::take(&mut self.diagnostics);
        for diagnostic in all.iter_mut().filter(|d| d.severity != Severity::Note) {
            diagnostic.excerpt = diagnostic.place.as_ref().and_then(|place| self.excerpt(place));
        }
        all.sort_by_key(|d| {
            let file = d.place.as_ref().map(|p| self.files.iter().position(|file| *file == p.file));
            (file, d.place.as_ref().map(|p| (p.line, p.column)), d.severity)
        });
        all
    }
}
