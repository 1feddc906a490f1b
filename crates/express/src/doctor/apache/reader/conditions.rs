//! Sections that are read on a condition (`<IfModule>`, `<IfDefine>`, ...).

use wsgi_core::words::{Words, display};

use super::Reader;
use crate::doctor::apache::line::path;

impl Reader<'_> {
    /// Returns whether the condition of a section holds; `None`: it is no such section.
    pub(super) fn holds(&self, name: &str, arguments: &[u8]) -> Option<bool> {
        let word = Words::new(arguments).next().unwrap_or_default();
        let (is_negated, subject) = match &*word {
            [b'!', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let holds = match name.to_ascii_lowercase().as_str() {
            "<ifmodule" => self.known.contains(display(subject).as_ref()),
            "<ifdefine" => self.defines.contains_key(subject),
            "<iffile" => self.content.root.join(path(subject)).exists(),
            "<ifversion" => return Some(self.version_is(arguments)),
            // What modules know is in the modules; it is asked for rarely, and mostly in vain.
            "<ifdirective" => {
                !subject.to_ascii_lowercase().starts_with(b"wsgi") || self.known.contains("wsgi_module")
            }
            "<ifsection" => true,
            _ => return None,
        };
        Some(holds != is_negated)
    }

    fn version_is(&self, arguments: &[u8]) -> bool {
        let words: Vec<_> = Words::new(arguments).map(|word| display(&word).into_owned()).collect();
        let (operator, wanted) = match words.as_slice() {
            [version] => ("=".to_owned(), version.clone()),
            [operator, version, ..] => (operator.clone(), version.clone()),
            [] => return true,
        };
        let (is_negated, operator) = match operator.strip_prefix('!') {
            Some(rest) => (true, rest.to_owned()),
            None => (false, operator),
        };
        let numbers = |text: &str| {
            let mut parts = text.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
            [parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0)]
        };
        // Every server that this can be about is a 2.4.
        let own = numbers(self.conditions.version.as_deref().unwrap_or("2.4.99"));
        let wanted = numbers(&wanted);
        let holds = match operator.as_str() {
            "=" | "==" => own == wanted,
            ">" => own > wanted,
            ">=" => own >= wanted,
            "<" => own < wanted,
            "<=" => own <= wanted,
            _ => true,
        };
        holds != is_negated
    }
}
