//! The reference manual of the codes, rendered from their definitions.

use std::fmt::Write as _;

use super::CODES;

const PREFACE: &str = "\
# Messages

<!-- Generated from the definitions in crates/core/src/codes; change those, then run
     cargo run -q -p wsgi-core --example errors > docs/errors.md -->

Messages in the error log start with a code. Each has a section here: add `#` and the code in small letters to the address of \
this page, as in `errors.md#wsgi0036`.

Codes up to `WSGI0999` are those of the original mod_wsgi, and mean the same. Those from `WSGI1001` on are this module's own: \
the original has no code for what they say. The level is that of the log; where the server can go on without, some messages \
have a lower one.
";

/// Returns the manual, Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = PREFACE.to_owned();
    by_status(&mut out);
    for code in CODES {
        // Writing to a string does not fail.
        let _ = write!(
            out,
            "\n## {code}\n\n**Level:** `{}`\n\n{}\n\n**What to do:** {}\n",
            code.level.name(),
            code.meaning,
            code.remedy
        );
    }
    out
}

/// Appends which codes explain a status that a client got, as far as the meanings of codes name it.
fn by_status(out: &mut String) {
    out.push_str("\n## By the status that the client got\n\n| Status | Codes |\n|---|---|\n");
    for status in 400..600 {
        let codes: Vec<String> = CODES
            .iter()
            .filter(|code| statuses(code.meaning).any(|named| named == status))
            .map(|code| format!("[{code}](#{})", code.to_string().to_lowercase()))
            .collect();
        if !codes.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(out, "| {status} | {} |", codes.join(", "));
        }
    }
}

/// Returns the numbers of three digits in a text.
fn statuses(text: &str) -> impl Iterator<Item = u16> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() == 3)
        .filter_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_in_the_repository_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
        let stored = std::fs::read_to_string(path).unwrap();
        assert!(
            stored == reference(),
            "docs/errors.md is out of date: cargo run -q -p wsgi-core --example errors > docs/errors.md"
        );
    }
}
