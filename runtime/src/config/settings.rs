//! A flat map with its placeholders resolved, which keys were understood, and what in it is secret.

use std::collections::BTreeSet;
use std::fmt;

use connector_core::config::{self, Key};
use connector_core::{ConfigMap, ConfigProblem};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::change::Declaration;
use super::check;
use super::diagnostic::{Diagnostic, Missing, Report};
use super::flatten::Flat;
use super::node::Place;
use super::placeholder::{Providers, Wait};

/// Texts that must not be shown: from files, and of password-typed keys.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretSet(BTreeSet<String>);

impl SecretSet {
    /// Replaces each secret in `text` by `[hidden]`; those under four characters would garble every message.
    pub fn redact(&self, text: &str) -> String {
        // Longest first, so that no rest of a longer secret stays.
        let mut secrets: Vec<_> = self.0.iter().filter(|s| s.chars().count() >= 4).collect();
        secrets.sort_by_key(|s| std::cmp::Reverse(s.len()));
        secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "[hidden]"))
    }
}

impl fmt::Debug for SecretSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

/// Whether a client key holds a password by its name, for keys that no schema describes.
pub fn is_secret_name(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["password", "secret", "sasl.jaas.config", "ssl.key.pem", "ssl.keystore.key", "token"]
        .iter()
        .any(|word| key.contains(word))
        && !key.ends_with(".url")
}

/// The settings of one connector, or of the worker (which has no name).
pub struct Settings {
    pub name: Option<String>,
    place: Place,
    flat: Flat,
    values: ConfigMap,
    /// Keys without a usable value: reported once, not again as a wrong one.
    unresolved: BTreeSet<String>,
    known: BTreeSet<String>,
    inert: BTreeSet<String>,
    /// Keys whose values messages must not hold.
    secret_keys: BTreeSet<String>,
    secrets: SecretSet,
}

impl Settings {
    pub fn new(
        name: Option<&str>,
        place: &Place,
        flat: Flat,
        providers: &Providers<'_>,
        report: &mut Report,
    ) -> Self {
        let mut settings = Self {
            name: name.map(str::to_owned),
            place: place.clone(),
            values: ConfigMap::new(),
            unresolved: BTreeSet::new(),
            known: BTreeSet::new(),
            inert: BTreeSet::new(),
            secret_keys: BTreeSet::new(),
            secrets: SecretSet::default(),
            flat,
        };
        for (key, setting) in &settings.flat {
            if setting.broken {
                settings.unresolved.insert(key.clone());
            }
            let text = match providers.resolve(&setting.text) {
                Ok(resolved) => {
                    if !resolved.secrets.is_empty() {
                        settings.secrets.0.extend(resolved.secrets);
                        settings.secret_keys.insert(key.clone());
                    }
                    resolved.text
                }
                Err(problems) => {
                    for problem in problems {
                        let message = format!("`{key}`: {}", problem.message);
                        let found = match problem.waits {
                            Some(Wait::NotYet) => Diagnostic::note(&setting.place, message),
                            Some(Wait::Failed) | None => Diagnostic::error(&setting.place, message),
                        };
                        let found = found.hint(problem.hint).key(key).connector(name);
                        report.add(Diagnostic { missing: problem.waits.map(|_| Missing::Secret), ..found });
                    }
                    settings.unresolved.insert(key.clone());
                    setting.text.clone()
                }
            };
            settings.values.insert(key.clone(), text);
        }
        settings
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The value of `key`, or a part of it, for a message.
    pub fn shown<'t>(&self, key: &str, text: &'t str) -> &'t str {
        if self.secret_keys.contains(key) { "[hidden]" } else { text }
    }

    /// Whether `key` has no value that was reported already.
    pub fn is_resolved(&self, key: &str) -> bool {
        !self.unresolved.contains(key)
    }

    /// What is wrong with the value of `key` was said: nobody else is to say it again.
    pub fn reported(&mut self, key: &str) {
        self.unresolved.insert(key.to_owned());
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The keys that begin with `prefix`, without it.
    pub fn under(&self, prefix: &str) -> ConfigMap {
        let matching = self.values.iter().filter_map(|(key, text)| Some((key.strip_prefix(prefix)?, text)));
        matching.map(|(key, text)| (key.to_owned(), text.clone())).collect()
    }

    /// The items of a comma list.
    pub fn list(&self, key: &str) -> Vec<String> {
        let items = self.get(key).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// `key` was understood; unless it is secret, its source line may be shown.
    pub fn know(&mut self, key: &str, secret: bool, report: &mut Report) {
        let Some(setting) = self.flat.get(key) else { return };
        self.known.insert(key.to_owned());
        if secret {
            let text = self.values.get(key).filter(|text| !text.is_empty());
            self.secrets.0.extend(text.cloned());
            self.secret_keys.insert(key.to_owned());
            return;
        }
        // A password in an address stays hidden, whatever the type of its key.
        if !(setting.text.contains("://") && setting.text.contains('@')) {
            setting.values.iter().for_each(|place| report.show(place));
        }
    }

    /// Knows all keys that begin with `prefix`, secret ones by their names.
    pub fn know_all(&mut self, prefix: &str, report: &mut Report) {
        let keys: Vec<_> = self.keys().filter(|k| k.starts_with(prefix)).map(str::to_owned).collect();
        for key in keys {
            self.know(&key, is_secret_name(&key), report);
        }
    }

    /// `key` is accepted and needs no action.
    pub fn inert(&mut self, key: &str, report: &mut Report) {
        if self.flat.contains_key(key) {
            self.know(key, is_secret_name(key), report);
            self.inert.insert(key.to_owned());
        }
    }

    /// Knows the keys of a schema under `prefix`.
    pub fn know_schema(&mut self, schema: &Value, prefix: &str, report: &mut Report) {
        let all: Vec<_> = self.keys().filter_map(|k| k.strip_prefix(prefix)).map(str::to_owned).collect();
        let keys = config::keys(schema);
        for name in all {
            if let Some(owner) = owner(&keys, &name) {
                let secret = owner.is_secret() || (owner.name != name && is_secret_name(&name));
                self.know(&format!("{prefix}{name}"), secret, report);
            }
        }
    }

    /// Keys that nobody understood.
    pub fn unknown(&self) -> Vec<String> {
        self.values.keys().filter(|key| !self.known.contains(*key)).cloned().collect()
    }

    /// A typed struct of the keys that it names, which are known from now on, except for some that somebody else has
    /// to know; problems are reported.
    pub fn typed<T: DeserializeOwned + JsonSchema>(
        &mut self,
        except: &[&str],
        report: &mut Report,
    ) -> Option<T> {
        let mut schema = schemars::schema_for!(T).to_value();
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.retain(|key, _| !except.contains(&key.as_str()));
        }
        self.know_schema(&schema, "", report);
        match check::all(&schema, &self.values, |key| !self.is_resolved(key), config::deserialize) {
            Ok((_, typed)) => Some(typed),
            // Only keys without a value are in the way, and that was said: the rest may be needed to say more.
            Err(problems) if problems.is_empty() => {
                let known = self.values.iter().filter(|(key, _)| self.is_resolved(key));
                let known = known.map(|(key, text)| (key.clone(), text.clone())).collect();
                config::coerce(&schema, &known).ok().and_then(|value| config::deserialize(&value).ok())
            }
            Err(problems) => {
                self.problems("", problems, report);
                None
            }
        }
    }

    /// Where `key` is written; else the nearest key above or below it; else where the connector begins.
    pub fn place(&self, key: &str) -> &Place {
        let mut above = Some(key);
        while let Some(name) = above {
            if let Some(setting) = self.flat.get(name) {
                return &setting.place;
            }
            above = name.rsplit_once('.').map(|(name, _)| name);
        }
        let dotted = format!("{key}.");
        let below = self.flat.range(dotted.clone()..).next().filter(|(name, _)| name.starts_with(&dotted));
        below.map_or(&self.place, |(_, setting)| &setting.place)
    }

    pub fn error(&self, key: &str, message: impl Into<String>, hint: impl Into<String>, report: &mut Report) {
        report.add(self.finding(Diagnostic::error(self.place(key), message), key, hint));
    }

    /// An error of this connector alone: others can do without the plugin.
    pub fn no_plugin(
        &self,
        key: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
        report: &mut Report,
    ) {
        let finding = self.finding(Diagnostic::error(self.place(key), message), key, hint);
        report.add(Diagnostic { missing: Some(Missing::Plugin), ..finding });
    }

    pub fn warning(
        &self,
        key: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
        report: &mut Report,
    ) {
        report.add(self.finding(Diagnostic::warning(self.place(key), message), key, hint));
    }

    fn finding(&self, diagnostic: Diagnostic, key: &str, hint: impl Into<String>) -> Diagnostic {
        let message = self.secrets.redact(&diagnostic.message);
        let hint = self.secrets.redact(&hint.into());
        Diagnostic { message, ..diagnostic }.hint(hint).key(key).connector(self.name.as_deref())
    }

    /// Reports what a plugin or a converter said about the keys under `prefix`.
    pub fn problems(&self, prefix: &str, problems: Vec<ConfigProblem>, report: &mut Report) {
        for problem in problems {
            let key = if problem.key.is_empty() { String::new() } else { format!("{prefix}{}", problem.key) };
            if self.unresolved.contains(&key) {
                continue;
            }
            let message = if key.is_empty() {
                problem.message
            } else if check::is_wrong_value(&problem) {
                format!("`{key}`: {}", problem.message.trim_start_matches("unknown variant, "))
            } else {
                format!("`{key}` {}", problem.message)
            };
            self.error(&key, message, problem.hint, report);
        }
    }

    /// All keys with the values that are in effect.
    pub fn declaration(&self) -> Declaration {
        Declaration::new(self.values.clone(), self.secret_keys.clone())
    }

    /// Says which keys had no effect, and gives the secrets.
    pub fn finish(self, report: &mut Report) -> SecretSet {
        if !self.inert.is_empty() {
            let keys: Vec<_> = self.inert.iter().map(|key| format!("`{key}`")).collect();
            let message = format!("accepted, needs no action here: {}", keys.join(", "));
            report.add(Diagnostic::note(&self.place, message).connector(self.name.as_deref()));
        }
        self.secrets
    }
}

/// The key of a schema that `name` belongs to; an exact one before a map.
pub fn owner<'k, 's>(keys: &'k [Key<'s>], name: &str) -> Option<&'k Key<'s>> {
    keys.iter().find(|key| key.name == name).or_else(|| keys.iter().find(|key| key.owns(name)))
}
