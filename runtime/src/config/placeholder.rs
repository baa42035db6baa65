//! `${env:NAME}`, `${file:path:key}`, `${directory:dir:file}` and those of AWS in texts, as Connect's configuration providers.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::Report;
use super::properties;
use super::remote::{self, SecretCache, Service};
use connector_core::java::Pattern;

/// Looks up an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A text with its placeholders replaced.
#[derive(Clone, PartialEq, Eq)]
pub struct Resolved {
    pub text: String,
    /// What of it came from files and directories.
    pub secrets: Vec<String>,
}

impl Resolved {
    pub(super) fn public(text: String) -> Self {
        Self { text, secrets: Vec::new() }
    }

    pub(super) fn secret(text: String) -> Self {
        Self { secrets: vec![text.clone()], text }
    }
}

/// What is wrong with a placeholder, and what to write instead. Names it, never what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    pub message: String,
    pub hint: String,
    /// It may come: who needs it waits.
    pub waits: Option<Wait>,
}

/// Why something is not there that may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It was not looked up.
    NotYet,
    Failed,
}

impl Unresolved {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into(), waits: None }
    }

    pub(super) fn missing(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { waits: Some(Wait::Failed), ..Self::new(message, hint) }
    }

    pub(super) fn not_yet(message: String) -> Self {
        Self { waits: Some(Wait::NotYet), ..Self::new(message, "") }
    }
}

fn unresolved(message: impl Into<String>, hint: impl Into<String>) -> Unresolved {
    Unresolved::new(message, hint)
}

#[derive(Clone, Debug)]
enum Kind {
    Env,
    File,
    Directory,
    Aws(remote::Provider),
}

#[derive(Clone, Debug)]
struct Provider {
    kind: Kind,
    /// `param.allowed.paths`: files outside are refused; empty allows all.
    allowed: Vec<PathBuf>,
    /// `param.allowlist.pattern`: other variables are refused.
    allowlist: Option<Pattern>,
}

/// The providers by name: `env`, `file`, `directory`, and those of `config.providers`.
#[derive(Clone)]
pub struct Providers<'a> {
    env: Env<'a>,
    secrets: SecretCache,
    by_name: BTreeMap<String, Provider>,
}

impl<'a> Providers<'a> {
    pub fn new(env: Env<'a>, secrets: &SecretCache) -> Self {
        let plain = |kind| Provider { kind, allowed: Vec::new(), allowlist: None };
        let aws = |service| Kind::Aws(remote::Provider::new(service));
        let by_name = [
            ("env", Kind::Env),
            ("file", Kind::File),
            ("directory", Kind::Directory),
            ("secretsmanager", aws(Service::SecretsManager)),
            ("ssm", aws(Service::ParameterStore)),
            ("s3import", aws(Service::S3)),
        ];
        Self {
            env,
            secrets: secrets.clone(),
            by_name: by_name.into_iter().map(|(name, kind)| (name.to_owned(), plain(kind))).collect(),
        }
    }

    /// Adds a provider as `config.providers.<name>.class` and `.param.*` declare it.
    pub fn declare(
        &mut self,
        name: &str,
        class: &str,
        param: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), Unresolved> {
        let aws = |service| remote::Provider::declared(service, param).map(Kind::Aws);
        let kind = match class.rsplit('.').next().unwrap_or(class) {
            "EnvVarConfigProvider" => Kind::Env,
            "FileConfigProvider" => Kind::File,
            "DirectoryConfigProvider" => Kind::Directory,
            "SecretsManagerConfigProvider" | "AWSSecretProvider" => aws(Service::SecretsManager)?,
            "SsmParamStoreConfigProvider" => aws(Service::ParameterStore)?,
            "S3ImportConfigProvider" => aws(Service::S3)?,
            _ => {
                return Err(unresolved(
                    format!("no configuration provider of class `{class}`"),
                    "there are EnvVarConfigProvider, FileConfigProvider, DirectoryConfigProvider, SecretsManagerConfigProvider, \
                     SsmParamStoreConfigProvider and S3ImportConfigProvider",
                ));
            }
        };
        let (allowed_paths, allowlist) = (param("allowed.paths"), param("allowlist.pattern"));
        let allowlist = allowlist.as_deref().map(Pattern::new).transpose().map_err(|error| {
            unresolved(format!("`allowlist.pattern` is no regular expression: {error}"), "")
        })?;
        let split = |paths: &str| paths.split(',').map(|p| PathBuf::from(p.trim())).collect();
        let provider =
            Provider { kind, allowed: allowed_paths.as_deref().map(split).unwrap_or_default(), allowlist };
        self.by_name.insert(name.to_owned(), provider);
        Ok(())
    }

    /// Replaces all placeholders of a text; all that cannot be replaced are told at once.
    pub fn resolve(&self, text: &str) -> Result<Resolved, Vec<Unresolved>> {
        let mut out = Resolved::public(String::with_capacity(text.len()));
        let mut problems = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, after) = rest.split_at(start);
            out.text.push_str(before);
            let inner = &after[2..];
            let parts = inner.find('}').map(|end| inner.split_at(end));
            match parts.map(|(body, tail)| (body.split_once(':'), &tail[1..])) {
                Some((Some((provider, path)), tail)) => {
                    match self.look_up(provider, path) {
                        Ok(value) => {
                            out.text.push_str(&value.text);
                            out.secrets.extend(value.secrets);
                        }
                        Err(problem) => problems.push(problem),
                    }
                    rest = tail;
                }
                // Without a colon it is not a placeholder: `${topic}` belongs to a transform.
                Some((None, _)) => {
                    out.text.push_str("${");
                    rest = inner;
                }
                None => {
                    let known = inner.split_once(':').filter(|(name, _)| self.by_name.contains_key(*name));
                    if let Some((name, _)) = known {
                        let message = format!("the placeholder `${{{name}:` has no closing brace");
                        problems.push(unresolved(message, "close it with `}`"));
                    }
                    out.text.push_str("${");
                    rest = inner;
                }
            }
        }
        out.text.push_str(rest);
        if problems.is_empty() { Ok(out) } else { Err(problems) }
    }

    fn look_up(&self, name: &str, path: &str) -> Result<Resolved, Unresolved> {
        let Some(provider) = self.by_name.get(name) else {
            let known: Vec<_> = self.by_name.keys().map(|name| format!("`{name}`")).collect();
            return Err(unresolved(
                format!("`${{{name}:…}}`: there is no configuration provider `{name}`"),
                format!(
                    "there are {}; others are declared by the worker's `config.providers`",
                    known.join(", ")
                ),
            ));
        };
        match &provider.kind {
            Kind::Aws(remote) => remote.look_up(name, path, &self.secrets),
            Kind::Env => {
                if !provider.allowlist.as_ref().is_none_or(|list| list.matches(path)) {
                    return Err(unresolved(
                        format!(
                            "the environment variable `{path}` is not in the provider's `allowlist.pattern`"
                        ),
                        "",
                    ));
                }
                let text = (self.env)(path).ok_or_else(|| {
                    let hint = if path.contains(':') {
                        "there is no default syntax; write ${env:NAME} and set the variable".to_owned()
                    } else {
                        format!("set it before the start: export {path}=…")
                    };
                    unresolved(format!("the environment variable `{path}` is not set"), hint)
                })?;
                Ok(Resolved::public(text))
            }
            Kind::File => {
                let (file, key) = two(path, "${file:/path/of.properties:key}")?;
                provider.allow(file)?;
                let text = read(file)?;
                property(file, &text, key).map(Resolved::secret).ok_or_else(|| {
                    unresolved(
                        format!("the file `{file}` has no key `{key}`"),
                        "it is read as a .properties file",
                    )
                })
            }
            Kind::Directory => {
                let (directory, file) = two(path, "${directory:/path:file}")?;
                if file.contains(['/', '\\']) || file == ".." {
                    return Err(unresolved(
                        format!("`{file}` is not a plain file name"),
                        "name the directory first, then one of its files",
                    ));
                }
                provider.allow(directory)?;
                let text = read(&format!("{}/{file}", directory.trim_end_matches('/')))?;
                // Editors and `echo` end a file with a line break that nobody means.
                let text = text.strip_suffix('\n').map_or(&*text, |t| t.strip_suffix('\r').unwrap_or(t));
                Ok(Resolved::secret(text.to_owned()))
            }
        }
    }
}

impl Provider {
    fn allow(&self, path: &str) -> Result<(), Unresolved> {
        let path = Path::new(path);
        let climbs = path.components().any(|c| c == Component::ParentDir);
        if self.allowed.is_empty()
            || (!climbs && self.allowed.iter().any(|allowed| path.starts_with(allowed)))
        {
            return Ok(());
        }
        let message = format!("`{}` is outside of the provider's `allowed.paths`", path.display());
        Err(unresolved(message, "move the file, or allow its directory"))
    }
}

fn two<'a>(path: &'a str, form: &str) -> Result<(&'a str, &'a str), Unresolved> {
    let parts = path.split_once(':').filter(|(first, second)| !first.is_empty() && !second.is_empty());
    parts.ok_or_else(|| unresolved(format!("a placeholder lacks a part: `{path}`"), format!("write {form}")))
}

fn read(file: &str) -> Result<String, Unresolved> {
    std::fs::read_to_string(file).map_err(|error| {
        let message = format!("cannot read `{file}`: {}", reason(error.kind()));
        unresolved(message, "check the path and who may read it")
    })
}

/// Why a file cannot be read.
pub(super) fn reason(kind: ErrorKind) -> String {
    match kind {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        kind => kind.to_string(),
    }
}

fn property(file: &str, text: &str, key: &str) -> Option<String> {
    // What is wrong with other lines of a secrets file is not told: it might quote them.
    let node = properties::parse(&Arc::from(file), text, &mut Report::default());
    node.get(key)?.node.scalar().map(str::to_owned)
}
