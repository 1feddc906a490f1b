//! The manual of the checks, rendered from their definitions.

use std::fmt::Write as _;

use super::check::Topic;
use super::checks::TOPICS;
use super::express::START;

const PREFACE: &str = include_str!("../../templates/doctor.md");

/// Returns the checks by topic, with their texts in Markdown.
pub(crate) fn descriptions() -> impl Iterator<Item = (&'static str, Vec<(&'static str, &'static str)>)> {
    let checks =
        |topic: &&'static Topic| topic.checks.iter().map(|check| (check.name, check.about)).collect();
    let topics = TOPICS.iter().map(move |topic| (topic.title, checks(topic)));
    std::iter::once(("The start of a server", vec![START])).chain(topics)
}

/// The manual of the doctor, Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = PREFACE.to_owned();
    for (title, checks) in descriptions() {
        // Writing to a string does not fail.
        let _ = write!(out, "\n### {title}\n\n| Check | |\n|---|---|\n");
        for (name, about) in checks {
            let _ = writeln!(out, "| `{name}` | {} |", about.replace('|', "\\|"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_in_the_repository_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/doctor.md");
        let stored = std::fs::read_to_string(path).unwrap();
        assert!(
            stored == reference(),
            "docs/doctor.md is out of date: cargo run -q -p mod_wsgi-express --example doctor > docs/doctor.md"
        );
    }
}
