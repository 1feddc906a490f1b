//! The reference manual of the directives, rendered from their definitions.

use std::fmt::Write as _;

use super::{Context, DIRECTIVES, Directive, Support};

const PREFACE: &str = "\
# Directives

<!-- Generated from the definitions in crates/core/src/directive; change those, then run
     cargo run -q -p wsgi-core --example directives > docs/directives.md -->

Names are not case-sensitive, and neither are `On` and `Off`. A word with blanks is written in double or single quotes. In \
*option*=*value* there are no blanks around the `=`, and only the value may be quoted. Settings of a directory section \
(`<Directory>`, `<Location>`, `<Files>`, `<If>` ...) override those of the virtual host, which override those of the main server.

`apachectl configtest` (`httpd -t`) names the file, line and option of what is refused. It also warns of what is accepted but has no \
effect, such as a path that does not exist or a process group that is not defined; at start, these warnings go to the error log. \
`apachectl graceful` makes the same test first. Use it instead of the bare signal: if Apache has to restart with a configuration \
that it cannot read, it ends.
";

/// Returns the manual, Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = PREFACE.to_owned();
    out.push_str("\n| Directive | Context | Default |\n|---|---|---|\n");
    for directive in shown() {
        let name = title(directive);
        let anchor: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let default = code(directive.default);
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "| [`{name}`](#{}) | {} | {default} |",
            anchor.to_ascii_lowercase(),
            directive.context.title()
        );
    }
    for directive in shown() {
        section(directive, &mut out);
    }
    out
}

fn shown() -> impl Iterator<Item = &'static Directive> {
    DIRECTIVES.iter().filter(|directive| directive.support != Support::TestHook)
}

fn section(directive: &Directive, out: &mut String) {
    let name = title(directive);
    let mut lines = vec![format!("## {name}\n")];
    let arguments = directive.arguments;
    let (open, close) = if directive.is_section() { ("\\<", "\\>") } else { ("", "") };
    lines.push(format!("**Syntax:** {open}{name} {}{close}  ", arguments.replace('|', "\\|")));
    if !directive.default.is_empty() {
        lines.push(format!("**Default:** {}  ", code(directive.default)));
    }
    let container = if directive.in_container { ", `<WSGIInterpreterOptions>`" } else { "" };
    lines.push(format!("**Context:** {}{container}\n", directive.context.title()));
    lines.push(format!("{}\n", directive.doc));
    if directive.name == super::daemon::DAEMON_PROCESS.name {
        lines.push(super::daemon::options_manual());
    }
    out.push('\n');
    out.push_str(&lines.join("\n"));
}

fn title(directive: &Directive) -> &'static str {
    directive.text().trim_start_matches('<')
}

fn code(default: &str) -> String {
    match default {
        "" => "–".to_owned(),
        words if words.contains(' ') || words == "none" => words.to_owned(),
        word => format!("`{word}`"),
    }
}

impl Context {
    const fn title(self) -> &'static str {
        match self {
            Self::Global => "server config",
            Self::Server => "server config, virtual host",
            Self::Directory => "server config, virtual host, directory",
            Self::Anywhere => "server config, virtual host, directory, .htaccess (FileInfo)",
            Self::Authorization => "directory, .htaccess (AuthConfig)",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_in_the_repository_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/directives.md");
        let stored = std::fs::read_to_string(path).unwrap();
        assert!(
            stored == reference(),
            "docs/directives.md is out of date: cargo run -q -p wsgi-core --example directives > docs/directives.md"
        );
    }

    #[test]
    fn every_directive_has_a_section() {
        let manual = reference();
        for directive in shown() {
            assert!(manual.contains(&format!("\n## {}\n", title(directive))), "{}", directive.text());
        }
        assert!(!manual.contains("WSGIDebugPanic"));
    }
}
