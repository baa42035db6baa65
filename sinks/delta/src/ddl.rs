//! `delta.schema`: columns as SQL writes them, `ind long, coordinates array<double>, at timestamp not null`.

use deltalake::kernel::{ArrayType, DataType, MapType, PrimitiveType, StructField, StructType};

/// What is wrong with the text, and the remedy.
pub type Problem = (String, String);

const TYPES: &str = "use long, integer, short, byte, double, float, boolean, string, binary, date, timestamp, \
                     decimal(p,s), array<t>, map<k,v> or struct<name: t>";

/// Nested types deeper than this are refused.
const MAX_DEPTH: usize = 32;

/// Reads the columns; names may be quoted with backticks.
pub fn parse(text: &str) -> Result<StructType, Problem> {
    let mut parser = Parser { rest: text.trim(), depth: 0 };
    let fields = parser.fields(false)?;
    if !parser.rest.is_empty() {
        return Err(parser.unexpected("a comma or the end"));
    }
    table(fields)
}

fn table(fields: Vec<StructField>) -> Result<StructType, Problem> {
    let hint = "each column has a name of its own, also when upper and lower case are the same";
    StructType::try_new(fields).map_err(|e| (format!("is no table: {e}"), hint.to_owned()))
}

struct Parser<'t> {
    rest: &'t str,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn unexpected(&self, wanted: &str) -> Problem {
        let found: String = self.rest.chars().take(20).collect();
        let found = if found.is_empty() { "the end".to_owned() } else { format!("`{found}`") };
        let hint = "write `name type, name type`, as in `ind long, coordinates array<double>`";
        (format!("has {found} where {wanted} is expected"), hint.to_owned())
    }

    /// Takes `token` if it comes next.
    fn take(&mut self, token: char) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: char) -> Result<(), Problem> {
        if self.take(token) { Ok(()) } else { Err(self.unexpected(&format!("`{token}`"))) }
    }

    fn name(&mut self) -> Result<&'t str, Problem> {
        if let Some(rest) = self.rest.strip_prefix('`') {
            let Some((name, rest)) = rest.split_once('`').filter(|(name, _)| !name.is_empty()) else {
                return Err(self.unexpected("a name in backticks"));
            };
            self.rest = rest.trim_start();
            return Ok(name);
        }
        let end = self
            .rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if name.is_empty() {
            return Err(self.unexpected("a name"));
        }
        self.rest = rest.trim_start();
        Ok(name)
    }

    /// Whether this word comes next, in any case; it is taken.
    fn word(&mut self, word: &str) -> bool {
        let Some((head, rest)) = self.rest.split_at_checked(word.len()) else { return false };
        let ends = rest.chars().next().is_none_or(|c| !(c.is_alphanumeric() || c == '_'));
        if head.eq_ignore_ascii_case(word) && ends {
            self.rest = rest.trim_start();
            return true;
        }
        false
    }

    /// `name type [not null], …`; in a struct with a colon between name and type.
    fn fields(&mut self, colon: bool) -> Result<Vec<StructField>, Problem> {
        let mut fields = Vec::new();
        loop {
            let name = self.name()?;
            if colon {
                self.take(':');
            }
            let data_type = self.data_type()?;
            let nullable = if self.word("not") {
                if !self.word("null") {
                    return Err(self.unexpected("`null`"));
                }
                false
            } else {
                true
            };
            fields.push(StructField::new(name, data_type, nullable));
            if !self.take(',') {
                return Ok(fields);
            }
        }
    }

    fn data_type(&mut self) -> Result<DataType, Problem> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err((format!("nests types deeper than {MAX_DEPTH}"), "flatten it".to_owned()));
        }
        let name = self.name()?.to_ascii_lowercase();
        let data_type = match name.as_str() {
            "long" | "bigint" => PrimitiveType::Long.into(),
            "integer" | "int" => PrimitiveType::Integer.into(),
            "short" | "smallint" => PrimitiveType::Short.into(),
            "byte" | "tinyint" => PrimitiveType::Byte.into(),
            "double" => PrimitiveType::Double.into(),
            "float" | "real" => PrimitiveType::Float.into(),
            "boolean" => PrimitiveType::Boolean.into(),
            "string" => PrimitiveType::String.into(),
            "binary" => PrimitiveType::Binary.into(),
            "date" => PrimitiveType::Date.into(),
            "timestamp" => PrimitiveType::Timestamp.into(),
            "decimal" | "numeric" => self.decimal()?,
            "array" => {
                self.expect('<')?;
                let element = self.data_type()?;
                self.expect('>')?;
                ArrayType::new(element, true).into()
            }
            "map" => {
                self.expect('<')?;
                let key = self.data_type()?;
                self.expect(',')?;
                let value = self.data_type()?;
                self.expect('>')?;
                MapType::new(key, value, true).into()
            }
            "struct" => {
                self.expect('<')?;
                let fields = self.fields(true)?;
                self.expect('>')?;
                table(fields)?.into()
            }
            other => return Err((format!("has the type `{other}`, which is not known"), TYPES.to_owned())),
        };
        self.depth -= 1;
        Ok(data_type)
    }

    fn decimal(&mut self) -> Result<DataType, Problem> {
        let (mut precision, mut scale) = (10, 0);
        if self.take('(') {
            precision = self.number()?;
            if self.take(',') {
                scale = self.number()?;
            }
            self.expect(')')?;
        }
        let hint = "write decimal(p,s) with p up to 38 and s up to p";
        let made = PrimitiveType::decimal(precision, scale);
        made.map(Into::into).map_err(|_| ("has a decimal that no table can hold".to_owned(), hint.to_owned()))
    }

    fn number(&mut self) -> Result<u8, Problem> {
        let text = self.name()?;
        text.parse().map_err(|_| (format!("has `{text}` where a number is expected"), TYPES.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_columns_of_the_cleaned_tables() {
        let schema =
            parse("ind long, country string, coordinates array<double>, timestamp timestamp").unwrap();
        let types: Vec<_> = schema.fields().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
        assert_eq!(types, ["ind long", "country string", "coordinates array<double>", "timestamp timestamp"]);
        assert!(schema.fields().all(StructField::is_nullable));
    }

    #[test]
    fn nested_types_quoted_names_and_not_null() {
        let schema =
            parse("`a b` DECIMAL(12, 2) NOT NULL, m map<string, array<struct<x: int, y:date>>>, nothing int")
                .unwrap();
        let fields: Vec<_> = schema.fields().collect();
        assert_eq!(fields[0].name(), "a b");
        assert!(!fields[0].is_nullable());
        assert_eq!(fields[0].data_type().to_string(), "decimal(12,2)");
        assert!(matches!(fields[1].data_type(), DataType::Map(_)));
        assert_eq!(fields[2].data_type().to_string(), "integer");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, said) in [
            ("", "a name"),
            ("ind", "a name"),
            ("ind lang", "`lang`"),
            ("ind long; x int", "a comma or the end"),
            ("ind array<long", "`>`"),
            ("ind decimal(39,2)", "decimal"),
            ("ind decimal(300)", "`300`"),
            ("a int, A int", "is no table"),
            ("a int not", "`null`"),
        ] {
            let (message, hint) = parse(text).unwrap_err();
            assert!(message.contains(said) && !hint.is_empty(), "{text}: {message}");
        }
        let deep = format!("a {}int{}", "array<".repeat(100), ">".repeat(100));
        assert!(parse(&deep).unwrap_err().0.contains("deeper"));
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "[a-z`<>(),: 0-9é]{0,60}") {
            let _ = parse(&text);
        }
    }
}
