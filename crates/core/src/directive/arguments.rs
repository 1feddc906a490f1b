//! The kinds of arguments, and the errors about them.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Directive, Target};
use crate::clients::Clients;
use crate::groups::Forms;
use crate::nearest::nearest;
use crate::route::RouteOptions;
use crate::words::{NotAnOption, Words, display};

impl Directive {
    /// Returns the only word of the line, not empty.
    pub(super) fn one<'a>(&self, arguments: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
        let mut words = Words::new(arguments);
        match (words.word(), words.word()) {
            (Some(word), None) if !word.is_empty() => Ok(word),
            _ => Err(format!("{} takes one argument, {}", self.text(), self.help.to_string_lossy())),
        }
    }

    /// Returns the error about a value; `reason` says what is wrong with it.
    pub(super) fn invalid(&self, value: &[u8], reason: &str) -> String {
        format!("Invalid value '{}' for {}: {reason}", display(value), self.text())
    }

    /// Parses `On` or `Off`, the only word of the line.
    pub(super) fn flag(&self, arguments: &[u8]) -> Result<bool, String> {
        flag_value(&self.one(arguments)?).ok_or_else(|| format!("{} must be one of: Off | On", self.text()))
    }

    /// Adds the clients that a line names to those of the same scope.
    pub(super) fn add_clients(
        &self,
        clients: &mut Option<Arc<Clients>>,
        arguments: &[u8],
    ) -> Result<(), String> {
        let words: Vec<_> = Words::new(arguments).collect();
        if words.is_empty() {
            return Err(format!("{} needs local, all, or addresses", self.text()));
        }
        let clients = Arc::make_mut(clients.get_or_insert_default());
        for word in words {
            if !clients.add(&word) {
                let shown = display(&word);
                return Err(format!(
                    "Invalid {} '{shown}': write local, all, an address, or a network as address/mask",
                    self.text()
                ));
            }
        }
        Ok(())
    }
}

/// Parses `On` or `Off`, in any case.
pub(super) fn flag_value(word: &[u8]) -> Option<bool> {
    if word.eq_ignore_ascii_case(b"on") {
        Some(true)
    } else if word.eq_ignore_ascii_case(b"off") {
        Some(false)
    } else {
        None
    }
}

/// The options that lead a request somewhere, and what to call the thing they belong to.
pub(super) struct Options {
    /// Such as `script alias`; ends every error.
    pub(super) of: &'static str,
    /// True if `process-group=` is one of them.
    pub(super) process_group: bool,
    /// True if `callable-object=` is one of them.
    pub(super) callable_object: bool,
    /// True if `pass-authorization=` is one of them.
    pub(super) pass_authorization: bool,
    /// True if `url-path=` and `module-name=` are among them.
    pub(super) url_path: bool,
    /// The names of groups that are expanded.
    pub(super) forms: Forms,
}

impl Options {
    /// Reads the rest of the line; the last of several equal keys wins.
    pub(super) fn parse(
        &self,
        words: &mut Words<'_>,
        target: &mut Target<'_>,
    ) -> Result<RouteOptions, String> {
        let mut options = RouteOptions::default();
        while let Some(pair) = words.pair() {
            let pair = pair.map_err(|NotAnOption(token)| self.not_an_option(token))?;
            match pair.key {
                b"process-group" if self.process_group => {
                    target.warn_if_unexpanded("process-group=", &pair.value, self.forms);
                    options.process_group = Some(self.name("process group", &pair.value)?);
                }
                b"application-group" => {
                    target.warn_if_unexpanded("application-group=", &pair.value, self.forms);
                    options.application_group = Some(self.name("application group", &pair.value)?);
                }
                b"callable-object" if self.callable_object => {
                    options.callable_object = Some(self.name("callable object", &pair.value)?);
                }
                b"pass-authorization" if self.pass_authorization => {
                    let value = flag_value(&pair.value).ok_or_else(|| {
                        format!(
                            "Invalid value for pass-authorization of {}: must be one of: Off | On",
                            self.of
                        )
                    })?;
                    options.pass_authorization = Some(value);
                }
                b"url-path" if self.url_path => {
                    if !pair.value.starts_with(b"/") {
                        return Err(format!(
                            "Invalid value for url-path of {}: it begins with no slash",
                            self.of
                        ));
                    }
                    let end = pair.value.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
                    options.url_path = Some(pair.value[..end].into());
                }
                b"module-name" if self.url_path => {
                    // Others could be those of modules that the application imports.
                    let is_part = |&byte: &u8| byte.is_ascii_alphanumeric() || byte == b'_';
                    if !pair.value.starts_with(b"_") || !pair.value.iter().all(is_part) {
                        return Err(format!(
                            "Invalid value for module-name of {}: it must begin with an underscore, and have letters, digits \
                             and underscores only",
                            self.of
                        ));
                    }
                    options.module_name = Some(pair.value.as_ref().into());
                }
                key => return Err(self.unknown_option(key)),
            }
        }
        Ok(options)
    }

    fn not_an_option(&self, token: &[u8]) -> String {
        format!(
            "Invalid option '{}' to WSGI {} definition: {}",
            display(token),
            self.of,
            wanted_option(token)
        )
    }

    fn unknown_option(&self, key: &[u8]) -> String {
        let known: Vec<_> = [
            ("process-group", self.process_group),
            ("application-group", true),
            ("callable-object", self.callable_object),
            ("pass-authorization", self.pass_authorization),
            ("url-path", self.url_path),
            ("module-name", self.url_path),
        ]
        .into_iter()
        .filter_map(|(name, is_known)| is_known.then_some(name))
        .collect();
        let known = known_options(key, &known);
        format!("Invalid option '{}' to WSGI {} definition: {known}", display(key), self.of)
    }

    fn name(&self, what: &str, value: &[u8]) -> Result<Box<[u8]>, String> {
        match value {
            b"" => Err(format!("Invalid name for WSGI {what} of {}: it is empty", self.of)),
            b"%{GLOBAL}" if what != "callable object" => Ok(Box::default()),
            name => Ok(name.into()),
        }
    }
}

/// Returns what to write in place of an unknown option: the one that it is like, else all.
pub(super) fn known_options(key: &[u8], known: &[&str]) -> String {
    if is_quoted(key) {
        return wanted_option(key).to_owned();
    }
    match nearest(key, known.iter().copied()) {
        Some(meant) => format!("did you mean {meant}=?"),
        None => {
            let known: Vec<_> = known.iter().map(|name| format!("{name}=")).collect();
            format!("the options are {}", known.join(", "))
        }
    }
}

/// Returns what to write in place of a token that is no option.
pub(super) fn wanted_option(token: &[u8]) -> &'static str {
    if is_quoted(token) {
        "write it as key=\"a value\", with the quotes behind the ="
    } else {
        "write it as key=value, without blanks around the ="
    }
}

fn is_quoted(token: &[u8]) -> bool {
    matches!(token, [b'"' | b'\'', ..])
}

/// Returns the next word of the line, unless it is empty.
pub(super) fn non_empty<'a>(words: &mut Words<'a>) -> Option<Cow<'a, [u8]>> {
    words.word().filter(|word| !word.is_empty())
}
