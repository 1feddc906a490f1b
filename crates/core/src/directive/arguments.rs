//! The kinds of arguments, and the errors about them.

use std::borrow::Cow;

use super::Directive;
use crate::config::RouteOptions;
use crate::words::{NotAnOption, Words, display};

impl Directive {
    /// The only word of the line, not empty.
    pub(super) fn one<'a>(&self, arguments: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
        let mut words = Words::new(arguments);
        match (words.word(), words.word()) {
            (Some(word), None) if !word.is_empty() => Ok(word),
            _ => Err(format!("{} takes one argument, {}", self.text(), self.help.to_string_lossy())),
        }
    }

    /// The error about a value; `reason` says what is wrong with it.
    pub(super) fn invalid(&self, value: &[u8], reason: &str) -> String {
        format!("Invalid value '{}' for {}: {reason}", display(value), self.text())
    }

    /// `On` or `Off`.
    pub(super) fn flag(&self, arguments: &[u8]) -> Result<bool, String> {
        flag_value(&self.one(arguments)?).ok_or_else(|| format!("{} must be one of: Off | On", self.text()))
    }
}

/// `On` or `Off`, in any case.
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
    /// Whether `process-group=` is one of them.
    pub(super) process_group: bool,
    /// Whether `callable-object=` is one of them.
    pub(super) callable_object: bool,
    /// Whether `pass-authorization=` is one of them.
    pub(super) pass_authorization: bool,
}

impl Options {
    /// Reads the rest of the line; the last of several equal keys wins.
    pub(super) fn parse(&self, words: &mut Words<'_>) -> Result<RouteOptions, String> {
        let mut options = RouteOptions::default();
        while let Some(pair) = words.pair() {
            let pair = pair.map_err(|NotAnOption(token)| self.invalid_option(token))?;
            match pair.key {
                b"process-group" if self.process_group => {
                    options.process_group = Some(self.name("process group", &pair.value)?);
                }
                b"application-group" => {
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
                key => return Err(self.invalid_option(key)),
            }
        }
        Ok(options)
    }

    fn invalid_option(&self, token: &[u8]) -> String {
        format!("Invalid option '{}' to WSGI {} definition", display(token), self.of)
    }

    fn name(&self, what: &str, value: &[u8]) -> Result<Box<[u8]>, String> {
        match value {
            b"" => Err(format!("Invalid name for WSGI {what} of {}: it is empty", self.of)),
            b"%{GLOBAL}" if what != "callable object" => Ok(Box::default()),
            name => Ok(name.into()),
        }
    }
}

/// The next word of the line, unless it is empty.
pub(super) fn non_empty<'a>(words: &mut Words<'a>) -> Option<Cow<'a, [u8]>> {
    words.word().filter(|word| !word.is_empty())
}
