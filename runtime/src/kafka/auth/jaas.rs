//! `sasl.jaas.config`: one entry of the Java Authentication and Authorization Service.

use connector_core::{ConfigMap, ConnectError, Result};

/// `module flag key="value" …;`
pub struct Jaas {
    pub module: String,
    pub options: ConfigMap,
}

impl Jaas {
    /// Errors say what is wrong and never show the text, which holds passwords.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            ConnectError::user("kafka.jaas", format!("sasl.jaas.config cannot be read: {what}"))
                .hint("write `<module class> required key=\"value\" …;`")
        };
        let text = text.trim().strip_suffix(';').ok_or_else(|| wrong("it does not end with `;`"))?;
        let mut words = split_quoted(text).into_iter();
        let module = words.next().ok_or_else(|| wrong("it is empty"))?;
        words.next().ok_or_else(|| wrong("no control flag (`required`) after the module"))?;
        let mut options = ConfigMap::new();
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| wrong("an option has no `=`"))?;
            options.insert(key.to_owned(), value.to_owned());
        }
        Ok(Self { module, options })
    }
}

/// Words separated by blanks; quotes (single or double) group and go, a backslash inside them escapes.
fn split_quoted(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut started) = (Vec::new(), String::new(), None, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => word.extend(chars.next()),
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => (quote, started) = (Some(c), true),
            (None, c) if c.is_whitespace() => {
                if started {
                    words.push(std::mem::take(&mut word));
                    started = false;
                }
            }
            (_, c) => {
                word.push(c);
                started = true;
            }
        }
    }
    if started {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_broken_text_is_refused_without_showing_it() {
        for text in [
            r#"x.PlainLoginModule required password="hunter2""#,
            "hunter2;",
            ";",
            "m required hunter2;",
            "m required \"hunter2;",
        ] {
            let error = Jaas::parse(text).err().unwrap().to_string();
            assert!(error.contains("sasl.jaas.config") && !error.contains("hunter2"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = Jaas::parse(&text);
        }

        #[test]
        fn what_is_quoted_comes_back(value in "[^\u{0}]*") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let jaas = Jaas::parse(&format!("m required password=\"{quoted}\" ;")).unwrap();
            prop_assert_eq!(&jaas.options["password"], &value);
        }
    }
}
