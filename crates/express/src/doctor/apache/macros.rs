//! The macros of `mod_macro`.

use std::collections::BTreeMap;

use wsgi_core::words::{Words, display};

use super::line::Raw;

/// The macros that are defined, by their names in lower case.
#[derive(Debug, Default)]
pub(crate) struct Macros {
    known: BTreeMap<String, Macro>,
}

#[derive(Debug)]
struct Macro {
    parameters: Vec<Vec<u8>>,
    body: Vec<Raw>,
}

impl Macros {
    /// Defines a macro; `arguments` are its name and its parameters.
    pub(crate) fn define(&mut self, arguments: &[u8], body: &[Raw]) {
        let mut words = Words::new(arguments).map(std::borrow::Cow::into_owned);
        let Some(name) = words.next() else { return };
        self.known.insert(key(&name), Macro { parameters: words.collect(), body: body.to_owned() });
    }

    /// Forgets the macro that `arguments` name.
    pub(crate) fn remove(&mut self, arguments: &[u8]) {
        if let Some(name) = Words::new(arguments).next() {
            self.known.remove(&key(&name));
        }
    }

    /// Returns the lines that a `Use` stands for; they keep the places where they are written.
    ///
    /// # Errors
    /// There is no such macro, or its arguments do not fit.
    pub(crate) fn instantiate(&self, arguments: &[u8]) -> Result<Vec<Raw>, String> {
        let mut words = Words::new(arguments).map(std::borrow::Cow::into_owned);
        let name = words.next().unwrap_or_default();
        let values: Vec<_> = words.collect();
        let shown = display(&name).into_owned();
        let Some(Macro { parameters, body }) = self.known.get(&key(&name)) else {
            return Err(format!("There is no macro '{shown}'"));
        };
        if parameters.len() != values.len() {
            return Err(format!(
                "The macro '{shown}' takes {} arguments, and gets {}",
                parameters.len(),
                values.len()
            ));
        }
        let pairs: Vec<_> =
            parameters.iter().zip(&values).filter(|(parameter, _)| !parameter.is_empty()).collect();
        let line = |raw: &Raw| Raw { text: substituted(&raw.text, &pairs), position: raw.position.clone() };
        Ok(body.iter().map(line).collect())
    }
}

fn key(name: &[u8]) -> String {
    display(name).to_ascii_lowercase()
}

/// Replaces parameters: the one that comes first, and of those the longest.
fn substituted(text: &[u8], pairs: &[(&Vec<u8>, &Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        let fitting = pairs.iter().filter(|(parameter, _)| rest.starts_with(parameter));
        match fitting.max_by_key(|(parameter, _)| parameter.len()) {
            Some((parameter, value)) => {
                out.extend_from_slice(value);
                rest = &rest[parameter.len()..];
            }
            None => {
                out.push(byte);
                rest = &rest[1..];
            }
        }
    }
    out
}
