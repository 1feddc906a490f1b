//! The manual of the options, rendered from their definitions.

use std::fmt::Write as _;

use super::SECTIONS;
use crate::options;
use crate::outline;
use crate::spec::{Kind, Section, Spec};

const PREFACE: &str = "\
# mod_wsgi-express

<!-- Generated from the definitions in crates/express/src; change those, then run
     cargo run -q -p mod_wsgi-express --example reference > docs/express.md -->

`mod_wsgi-express start-server SCRIPT [OPTIONS]` generates the configuration of an Apache of its own below `--server-root`, and runs it in the \
foreground. `setup-server` only generates it; start the server with the `apachectl` in the server root. Both take all options of this page. \
`mod_wsgi-express COMMAND --help` lists the options of a command. `module-config`, `module-location` and `install-module` are for a server that somebody else configures.
`install-package` makes the Python package `mod_wsgi` known to a Python (and, in a virtual environment, this program to its `bin`).

- `--option VALUE` and `--option=VALUE` mean the same, and an unambiguous beginning of an option's name is enough. If an option is given twice, the last one counts, unless it is marked as *repeatable*.
- `$NAME` and `${NAME}` are replaced from the environment.
- A *TIME* is a whole number of seconds (of milliseconds where stated), or has a unit: `90s`, `5m`, `2h`. A *SIZE* is a number of bytes, \
or has a unit: `64K`, `512M`, `2G` (powers of 1024). A *NUMBER* may also be written `0x1f`, `0b11` or, with a leading zero, octal.
- Values are checked before Apache is started. Exit status 2 means that the command line is wrong, 1 that something on the machine is.

<!-- given: app.wsgi auth.py env.sh mailer.py src/ public/ build/static/ /run/shop/ /etc/ssl/shop.crt /etc/ssl/shop.key /opt/shop/venv/bin/python pip:mod_wsgi-telemetry -->

## Django

<!-- given: /opt/shop/venv/bin/python -->
<!-- test: run -->
```sh
mod_wsgi-express install-package --python /opt/shop/venv/bin/python
```

makes the command `manage.py runmodwsgi` known to an environment, which the wheel does by itself; [Django](django.md) has an example. With `mod_wsgi.express` in `INSTALLED_APPS`, `manage.py runmodwsgi` takes all options of this page (and `--setup-only`), and serves `WSGI_APPLICATION` with the \
Python that runs it. `BASE_DIR` is the working directory unless `--working-directory` is given. `STATIC_ROOT` is served at `STATIC_URL`, unless WhiteNoise \
does that. `mod_wsgi.server` is the former name of the package, and works with a warning.
";

/// The manual, Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = PREFACE.to_owned();
    for each in SECTIONS {
        section(each, &mut out);
    }
    commands(&mut out);
    out
}

/// Appends all commands, with the options that only they have.
fn commands(out: &mut String) {
    out.push_str(
        "\n## Commands\n\n`mod_wsgi-express COMMAND --help` says more. Those that serve, prepare or examine a server take the options above.\n\n\
         | Command | | Options of its own |\n|---|---|---|\n",
    );
    let server: Vec<_> = options::server().iter().map(|spec| spec.name).collect();
    for command in outline::commands() {
        let choices = command.topics.iter().flat_map(|topic| &topic.options);
        let own: Vec<_> = choices
            .filter(|choice| !server.contains(&choice.name))
            .map(|choice| {
                let arguments: String =
                    choice.arguments.iter().map(|argument| format!(" *{}*", cell(argument))).collect();
                format!("`{}`{arguments}: {}", choice.name, cell(&choice.help))
            })
            .collect();
        // Writing to a string does not fail.
        let _ = writeln!(out, "| `{}` | {} | {} |", command.name, cell(&command.help), own.join("<br>"));
    }
}

fn section(section: &Section, out: &mut String) {
    // Writing to a string does not fail.
    let _ = write!(out, "\n## {}\n\n", section.title);
    if !section.about.is_empty() {
        let _ = write!(out, "{}\n\n", section.about);
    }
    let _ = write!(
        out,
        "<!-- test: options -->\n```sh\n{}\n```\n\n| Option | Default | |\n|---|---|---|\n",
        section.example
    );
    for spec in section.options.iter().filter(|spec| !spec.hidden) {
        let _ = writeln!(out, "| {} | {} | {} |", heading(spec), default(spec), explanation(spec, section));
    }
}

fn heading(spec: &Spec) -> String {
    let arguments: String = spec.arguments.iter().map(|argument| format!(" *{}*", cell(argument))).collect();
    format!("`{}`{arguments}", spec.name)
}

fn default(spec: &Spec) -> String {
    match spec.default {
        "" if spec.kind == Kind::Flag => "off".to_owned(),
        "" => "–".to_owned(),
        words if words.contains(' ') || words == "never" => cell(words),
        word => format!("`{}`", cell(word)),
    }
}

fn explanation(spec: &Spec, section: &Section) -> String {
    let mut text = cell(spec.help);
    if spec.repeated {
        text += " *Repeatable.*";
    }
    if !spec.note.is_empty() {
        text += &format!(" {}", cell(spec.note));
    }
    let former = section.options.iter().filter(|other| other.hidden);
    for other in former.filter(|other| other.help.contains(&format!("name of {}.", spec.name))) {
        text += &format!(" Formerly `{}`.", other.name);
    }
    text
}

/// Escapes a text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    #[test]
    fn the_manual_in_the_repository_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/express.md");
        let stored = std::fs::read_to_string(path).unwrap();
        assert!(
            stored == reference(),
            "docs/express.md is out of date: \
             cargo run -q -p mod_wsgi-express --example reference > docs/express.md"
        );
    }

    #[test]
    fn every_option_is_in_the_manual() {
        let manual = reference();
        for spec in options::server() {
            assert!(manual.contains(&format!("`{}`", spec.name)), "{}", spec.name);
        }
    }

    #[test]
    fn examples_show_an_option_of_their_section() {
        for section in SECTIONS {
            let words = section.example.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let about = section.title;
            assert_eq!(words[..2], ["mod_wsgi-express", "start-server"], "{about}");
            let parsed = parse(&options::server(), words[2..].to_vec()).unwrap();
            assert!(section.options.iter().any(|spec| parsed.has(spec)), "{about}");
        }
    }
}
