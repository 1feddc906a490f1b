//! Writing values into the generated files so that they read back as they are.

use std::path::Path;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

use crate::failure::Failure;

/// Fills in a template, whose filters are the ways to quote.
///
/// # Errors
/// A value cannot be written.
pub(crate) fn render(name: &str, template: &str, values: Value) -> Result<String, Failure> {
    let refuse = |text: String| minijinja::Error::new(ErrorKind::InvalidOperation, text);
    let about = move |value: &str, result: Result<String, String>| {
        result.map_err(|reason| refuse(format!("'{}' {reason}; use another name", value.escape_debug())))
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.add_filter("quote", move |value: String| about(&value, quote(&value)));
    environment.add_filter("quote_directory", move |value: String| about(&value, quote_directory(&value)));
    environment.add_filter("quote_rewrite", move |value: String| about(&value, quote_rewrite(&value)));
    environment.add_filter("quote_header", move |value: String| about(&value, quote_header(&value)));
    environment.add_filter("python", |value: String| quote_for_python(&value));
    environment.add_filter("shell", |value: String| quote_for_shell(&value));
    environment
        .render_named_str(name, template, values)
        .map(|text| text + "\n")
        .map_err(|error| Failure::usage(error.detail().map_or_else(|| error.to_string(), str::to_owned)))
}

/// The path as it is written into the files.
pub(crate) fn display(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A word of an Apache configuration that reads back as `value`.
///
/// # Errors
/// No notation does, and why.
pub(crate) fn quote(value: &str) -> Result<String, String> {
    if value.chars().any(char::is_control) {
        return Err("contains a control character, which an Apache configuration cannot hold".into());
    }
    if value.contains("${") {
        return Err("contains ${, which Apache would take for a variable".into());
    }
    Ok(format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\"")))
}

/// A regular expression that matches `text`.
pub(crate) fn escape_pattern(text: &str) -> String {
    escape(text, |c| r"\.+*?()|[]{}^$#".contains(c))
}

/// A rewrite substitution that yields `text`.
pub(crate) fn escape_substitution(text: &str) -> String {
    escape(text, |c| r"\$%".contains(c))
}

/// Quotes like [`quote`], for sections whose argument is a wildcard pattern.
fn quote_directory(value: &str) -> Result<String, String> {
    if value.contains(['*', '?', '[', ']']) {
        return Err("contains one of * ? [ ], which Apache takes for wildcards".into());
    }
    quote(value)
}

/// Quotes like [`quote`], for mod_rewrite, which splits its lines itself and leaves backslashes
/// alone.
fn quote_rewrite(value: &str) -> Result<String, String> {
    quote(value)?;
    match ['"', '\''].into_iter().find(|&mark| !value.contains(mark)) {
        Some(mark) => Ok(format!("{mark}{value}{mark}")),
        None => Err("contains both kinds of quotes, which a rewrite rule cannot hold".into()),
    }
}

/// Quotes like [`quote`], for values of mod_headers, which have formats and expressions.
fn quote_header(value: &str) -> Result<String, String> {
    if value.starts_with("expr=") {
        return Err("begins with expr=, which Apache takes for an expression".into());
    }
    quote(&value.replace('%', "%%"))
}

fn quote_for_python(value: &str) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\x{:02x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A word of a shell script that reads as `value`.
pub(crate) fn quote_for_shell(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

fn escape(text: &str, special: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if special(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_inject_directives() {
        assert_eq!(quote(r#"a "b" c\d"#).unwrap(), r#""a \"b\" c\\d""#);
        for value in ["a\nb", "a\0", "${HOME}", "a\tb"] {
            assert!(quote(value).is_err(), "{value:?}");
        }
        assert_eq!(quote_rewrite(r#"a "b" c\d"#).unwrap(), r#"'a "b" c\d'"#);
        assert!(quote_rewrite("a'b\"c").is_err() && quote_rewrite("a\nb").is_err());
        for value in ["a*", "b?", "[c]"] {
            assert!(quote_directory(value).is_err(), "{value}");
        }
    }
}
