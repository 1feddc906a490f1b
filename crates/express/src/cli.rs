//! Commands, their usage texts and exit statuses.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::account::Account;
use crate::apache;
use crate::doctor;
use crate::failure::Failure;
use crate::general;
use crate::health;
use crate::install::{Installation, load_directives};
use crate::json_logs;
use crate::options;
use crate::package;
use crate::parse::{Parsed, expand, parse};
use crate::python::Python;
use crate::server::{Purpose, account, run, serve};
use crate::spec::{Kind, Spec};
use crate::status;
use crate::terminal::{complain, say, warn};

/// One of the things that the program can do.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// The text after the name in the usage line.
    usage: &'static str,
    pub(crate) help: &'static str,
    pub(crate) options: fn() -> Vec<&'static Spec>,
    pub(crate) takes_arguments: bool,
    /// For the Python package, which passes arguments on as they are; not shown to users.
    internal: bool,
    run: fn(&Parsed, &str) -> Result<u8, Failure>,
}

static COMMANDS: [Command; 15] = [
    Command {
        name: doctor::COMMAND,
        usage: "[script] [options]",
        help: "Looks for what is wrong with a server without starting it; status 1 if there are errors.",
        options: doctor::options,
        takes_arguments: true,
        internal: false,
        run: |parsed, _| doctor::run(parsed),
    },
    Command {
        name: "drain",
        usage: "[options]",
        help: "Has the health checks of a server fail, so that a balancer sends its requests elsewhere.",
        options: health::drain_options,
        takes_arguments: false,
        internal: false,
        run: |parsed, _| health::drain(parsed, true),
    },
    Command {
        name: "health",
        usage: "[options] [URL]",
        help: "Asks a server, or the health check at a URL, whether it is ready; status 0 or 1.",
        options: health::health_options,
        takes_arguments: true,
        internal: false,
        run: |parsed, _| health::ask(parsed),
    },
    Command {
        name: "install-module",
        usage: "[options]",
        help: "Copies the module into an Apache modules directory and prints the directives that load it.",
        options: options::install_module,
        takes_arguments: false,
        internal: false,
        run: install_module,
    },
    Command {
        name: "install-package",
        usage: "[options]",
        help: "Makes the Python package mod_wsgi known to a Python, for `manage.py runmodwsgi`.",
        options: options::module_config,
        takes_arguments: false,
        internal: false,
        run: install_package,
    },
    Command {
        name: json_logs::COMMAND,
        usage: "log",
        help: "Converts a log that Apache writes to a pipe to lines of JSON.",
        options: Vec::new,
        takes_arguments: true,
        internal: true,
        run: json_logs::run,
    },
    Command {
        name: "list-options",
        usage: "",
        help: "Lists the options of start-server.",
        options: Vec::new,
        takes_arguments: false,
        internal: true,
        run: |_, _| say(&package::option_list()).map(|()| 0),
    },
    Command {
        name: "module-config",
        usage: "[options]",
        help: "Prints the directives that load the module into another Apache.",
        options: options::module_config,
        takes_arguments: false,
        internal: false,
        run: module_config,
    },
    Command {
        name: "module-location",
        usage: "[options]",
        help: "Prints the path of the module.",
        options: Vec::new,
        takes_arguments: false,
        internal: false,
        run: |_, _| say(&format!("{}\n", Installation::own()?.module().display())).map(|()| 0),
    },
    Command {
        name: "prepare-server",
        usage: "script [options]",
        help: "Does what start-server does before it runs Apache.",
        options: package::prepare_server,
        takes_arguments: true,
        internal: true,
        run: |parsed, line| {
            let line = parsed.text(&package::COMMAND_LINE).unwrap_or(line);
            serve(parsed, purpose(parsed, Purpose::Prepare), line)
        },
    },
    Command {
        name: "run-server",
        usage: "script [options]",
        help: "Runs Apache after prepare-server with the same options.",
        options: options::server,
        takes_arguments: true,
        internal: true,
        run: |parsed, _| run(parsed),
    },
    Command {
        name: "setup-server",
        usage: "script [options]",
        help: "Generates the configuration of a server without starting it.",
        options: options::server,
        takes_arguments: true,
        internal: false,
        run: |parsed, line| serve(parsed, Purpose::SetUp, line),
    },
    Command {
        name: "start-server",
        usage: "script [options]",
        help: "Serves a WSGI script with an Apache of its own, in the foreground.",
        options: options::server,
        takes_arguments: true,
        internal: false,
        run: |parsed, line| serve(parsed, purpose(parsed, Purpose::Start), line),
    },
    Command {
        name: "status",
        usage: "[options] [URL]",
        help: "Shows the state of a server that runs with --server-status, or of the one at a URL of the handler wsgi-status.",
        options: status::options,
        takes_arguments: true,
        internal: false,
        run: |parsed, _| status::show(parsed),
    },
    Command {
        name: "undrain",
        usage: "[options]",
        help: "Ends the effect of drain.",
        options: health::drain_options,
        takes_arguments: false,
        internal: false,
        run: |parsed, _| health::drain(parsed, false),
    },
];

/// Runs the command that `arguments` (with the program's name first) ask for.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.collect::<Vec<_>>().into_iter();
    let program = arguments.next().map(PathBuf::from).unwrap_or_default();
    let program =
        program.file_name().map_or("mod_wsgi-express".into(), |name| name.to_string_lossy().into_owned());
    let Some(name) = arguments.next() else {
        return fail(&program, Some(&usage(&program)), &Failure::usage("No command was specified."));
    };
    let Some(command) = COMMANDS.iter().find(|command| name == command.name) else {
        return fail(&program, Some(&usage(&program)), &Failure::usage("Invalid command was specified."));
    };
    match dispatch(&program, command, arguments.collect()) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => fail(&program, Some(&command.usage_line(&program)), &failure),
    }
}

fn dispatch(program: &str, command: &Command, arguments: Vec<OsString>) -> Result<u8, Failure> {
    crate::run::end_when_told()
        .map_err(|error| Failure::machine(format!("cannot handle signals: {error}")))?;
    let arguments = arguments
        .into_iter()
        .map(|argument| {
            let argument = argument.into_string().map_err(|argument| {
                Failure::usage(format!("'{}' is not UTF-8; rename the file", argument.to_string_lossy()))
            })?;
            Ok(if command.internal { argument } else { expand(&argument, |name| std::env::var(name).ok()) })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let line = format!("{program} {} {}", command.name, arguments.join(" "));
    let parsed = parse(&(command.options)(), arguments)?;
    if parsed.help {
        say(&command.help_text(program))?;
        return Ok(0);
    }
    if !command.takes_arguments && !parsed.positional.is_empty() {
        return Err(Failure::usage("Incorrect number of arguments."));
    }
    (command.run)(&parsed, &line)
}

fn purpose(parsed: &Parsed, otherwise: Purpose) -> Purpose {
    if parsed.has(&general::SETUP_ONLY) { Purpose::SetUp } else { otherwise }
}

fn fail(program: &str, usage: Option<&str>, failure: &Failure) -> ExitCode {
    if let (Failure::Usage(_), Some(usage)) = (failure, usage) {
        complain(&format!("{usage}\n"));
    }
    for line in failure.to_string().lines() {
        complain(&format!("{program}: error: {line}"));
    }
    ExitCode::from(failure.status())
}

/// The commands that users see.
pub(crate) fn shown() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(|command| !command.internal)
}

fn usage(program: &str) -> String {
    let more = format!("\n\n`{program} COMMAND --help` lists the options of a command.");
    shown().fold(format!("Usage: {program} command [options]\n\nCommands:"), |mut text, command| {
        // Writing to a string does not fail.
        let _ = write!(text, "\n    {}", command.name);
        text
    }) + &more
}

impl Command {
    fn usage_line(&self, program: &str) -> String {
        format!("Usage: {program} {} {}", self.name, self.usage)
    }

    fn help_text(&self, program: &str) -> String {
        let mut text = format!("{}\n\n{}\n\nOptions:\n", self.usage_line(program), self.help);
        let options = (self.options)();
        let mut line = |heading: &str, help: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {heading}\n        {help}");
        };
        line("-h, --help", "Shows this help.");
        for spec in options.iter().filter(|spec| !spec.hidden) {
            line(&format!("{} {}", spec.name, spec.arguments.join(" ")), &spec.full_help());
        }
        if options.iter().any(|spec| matches!(spec.kind, Kind::Seconds | Kind::Bytes)) {
            text.push_str(
                "\nA TIME may have a unit, as in 90s, 5m or 2h; a SIZE, too: 64K, 512M, 2G (powers of 1024).\n",
            );
        }
        text
    }
}

fn module_config(parsed: &Parsed, _line: &str) -> Result<u8, Failure> {
    let installation = Installation::own()?;
    let python = usable_python(parsed, &installation)?;
    installation.exposure().iter().for_each(|exposure| warn(exposure));
    say(&format!("{}\n", load_directives(&installation.module(), &python)?))?;
    Ok(0)
}

fn install_module(parsed: &Parsed, _line: &str) -> Result<u8, Failure> {
    let installation = Installation::own()?;
    let python = usable_python(parsed, &installation)?;
    let directory = match parsed.text(&general::MODULES_DIRECTORY) {
        Some(directory) => std::path::absolute(directory).map_err(|error| {
            Failure::file("find", Path::new(directory), &error, "check --modules-directory")
        })?,
        None => apache::modules_directory()?,
    };
    let module = installation.copy_to(&directory, &python)?;
    say(&format!("{}\n", load_directives(&module, &python)?))?;
    Ok(0)
}

fn install_package(parsed: &Parsed, _line: &str) -> Result<u8, Failure> {
    let installation = Installation::own()?;
    // Whoever may write to that Python can run it; the account that serves has no part in this.
    let account = Account::invoking(None, None);
    let option = parsed.text(&general::PYTHON).map(PathBuf::from);
    let python = installation.candidates(option).choose(&account)?;
    say(&package::install(&installation, &python, &account)?)?;
    Ok(0)
}

/// Returns the Python to use. These commands print no banner, so a warning says what may prevent it
/// from running applications.
fn usable_python(parsed: &Parsed, installation: &Installation) -> Result<Python, Failure> {
    let option = parsed.text(&general::PYTHON).map(PathBuf::from);
    let python = installation.candidates(option).choose(&account(parsed)?)?;
    if let Some(obstacle) = python.obstacle(&installation.hosts(), true) {
        warn(&obstacle);
    }
    Ok(python)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_visible_option() {
        let command = COMMANDS.iter().find(|command| command.name == "start-server").unwrap();
        let help = command.help_text("mod_wsgi-express");
        assert!(help.starts_with("Usage: mod_wsgi-express start-server script [options]\n"), "{help}");
        for spec in options::server() {
            let shown = help.lines().any(|line| line.split_whitespace().next() == Some(spec.name));
            assert_eq!(shown, !spec.hidden, "{}", spec.name);
        }
    }

    #[test]
    fn usage_lists_the_commands() {
        let usage = usage("x");
        for command in &COMMANDS {
            let shown = usage.lines().any(|line| line.trim() == command.name);
            assert_eq!(shown, !command.internal, "{usage}");
        }
    }
}
