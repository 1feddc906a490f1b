//! The manual of the checks, rendered from their definitions.

use std::fmt::Write as _;

use super::checks::TOPICS;
use super::express::START;

const PREFACE: &str = include_str!("../../templates/doctor.md");

/// The manual of the doctor, Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = PREFACE.to_owned();
    let mut topic = |title: &str, checks: &mut dyn Iterator<Item = (&str, &str)>| {
        // Writing to a string does not fail.
        let _ = write!(out, "\n### {title}\n\n| Check | |\n|---|---|\n");
        for (name, about) in checks {
            let _ = writeln!(out, "| `{name}` | {} |", about.replace('|', "\\|"));
        }
    };
    topic("The start of a server", &mut [START].into_iter());
    for each in TOPICS {
        topic(each.title, &mut each.checks.iter().map(|check| (check.name, check.about)));
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
