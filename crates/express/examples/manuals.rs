//! Writes the manual pages of mod_wsgi-express and its completions for shells, below a directory
//! that is laid out like `/usr/share`.
//!
//! usage: manuals DIRECTORY DATE
//!
//! DATE is shown in the pages, such as 2026-11-27.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command, ValueHint};
use clap_complete::{Shell, generate};
use mod_wsgi_express::outline::{self, Choice, Topic};
use roff::{Roff, bold, roman};

const PROGRAM: &str = "mod_wsgi-express";

const ABOUT: &str = "Serves Python web applications (WSGI) with Apache.";

/// The exit statuses, on every page.
const STATUSES: [(&str, &str); 3] = [
    ("0", "All went well. (While start-server serves, it becomes Apache: the status is that of Apache.)"),
    ("1", "Something on the machine is wrong; the message says what to do."),
    ("2", "The command line is wrong."),
];

/// The paragraphs about the command line as such.
const DESCRIPTION: [&str; 3] = [
    "The beginning of an option's name is enough if no other begins so, and --option=VALUE means the same as --option VALUE. If an option \
     is given twice, the last one counts, unless it may be repeated. $NAME and ${NAME} are replaced from the environment.",
    "A TIME is a whole number of seconds (of milliseconds where that is said), or has a unit: 90s, 5m, 2h. A SIZE is a number of bytes, \
     or has a unit: 64K, 512M, 2G (powers of 1024).",
    "Values are checked before Apache is started.",
];

/// The variables that are looked at, on every page.
const VARIABLES: [(&str, &str); 3] = [
    ("PYTHON", "The Python interpreter, if there is no --python."),
    ("VIRTUAL_ENV", "The active virtual environment, whose Python is taken if neither of the two names one."),
    ("HTTPD", "The Apache server to run; wins over --httpd-executable."),
];

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(date)) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        return Err(io::Error::other("usage: manuals DIRECTORY DATE"));
    };
    write_pages(&directory.join("man/man1"), &date)?;
    let completions = [
        (Shell::Bash, "bash-completion/completions/mod_wsgi-express"),
        (Shell::Zsh, "zsh/site-functions/_mod_wsgi-express"),
        (Shell::Fish, "fish/vendor_completions.d/mod_wsgi-express.fish"),
    ];
    for (shell, name) in completions {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&directory))?;
        fs::write(path, completion(shell))?;
    }
    Ok(())
}

fn completion(shell: Shell) -> String {
    // The function for bash loses its way if the program's name has a hyphen: it is made for another
    // name, and attached to this one.
    let name = if shell == Shell::Bash { "mod_wsgi_express" } else { PROGRAM };
    let mut text = Vec::new();
    generate(shell, &mut program().name(name), name, &mut text);
    let text = String::from_utf8_lossy(&text);
    let attached = |line: &str| {
        if line.trim_start().starts_with("complete ") && shell == Shell::Bash {
            let line = line.strip_suffix(name).unwrap_or(line);
            format!("{line}{PROGRAM}\n")
        } else {
            format!("{line}\n")
        }
    };
    text.lines().map(attached).collect()
}

fn program() -> Command {
    let commands = outline::commands().into_iter().map(|command| {
        let mut built = Command::new(command.name).about(command.help.clone()).disable_version_flag(true);
        if command.takes_script {
            let script = Arg::new("script").value_name("SCRIPT").value_hint(ValueHint::FilePath);
            built = built.arg(script.help("The WSGI script, or what --application-type says."));
        }
        let options =
            command.topics.iter().flat_map(|topic| topic.options.iter().map(move |option| (topic, option)));
        built.args(options.map(|(topic, option)| argument(topic, option)))
    });
    Command::new(PROGRAM)
        .about(ABOUT)
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .subcommands(commands)
}

fn argument(topic: &Topic, option: &Choice) -> Arg {
    let long = option.name.trim_start_matches('-');
    let built = Arg::new(long).long(long).help_heading(topic.title).help(option.help.clone());
    if option.arguments.is_empty() {
        return built.action(ArgAction::SetTrue);
    }
    let action = if option.repeated { ArgAction::Append } else { ArgAction::Set };
    let hint = option.arguments.iter().copied().map(hint).find(|hint| *hint != ValueHint::Other);
    built
        .action(action)
        .num_args(option.arguments.len())
        .value_names(option.arguments)
        .value_hint(hint.unwrap_or(ValueHint::Other))
}

/// Returns what a shell offers for an argument.
fn hint(argument: &str) -> ValueHint {
    match argument {
        "FILE" | "SCRIPT" => ValueHint::FilePath,
        "DIRECTORY" => ValueHint::DirPath,
        "FILE-OR-DIRECTORY" | "PREFIX" | "ENTRY-POINT" => ValueHint::AnyPath,
        "USER" => ValueHint::Username,
        "URL" => ValueHint::Url,
        _ => ValueHint::Other,
    }
}

/// Writes a page about the program, and one about each command.
fn write_pages(directory: &Path, date: &str) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let outlines = outline::commands();
    let mut page = page(PROGRAM, ABOUT, date);
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold(PROGRAM), roman(" "), bold("COMMAND"), roman(" [options]")]);
    page.control("SH", ["COMMANDS"]);
    for command in &outlines {
        page.control("TP", []);
        page.text([bold(format!("{PROGRAM} {}", command.name))]);
        page.text([roman(format!("{} See {}.", command.help, page_of(command.name)))]);
    }
    let others: Vec<String> = outlines.iter().map(|command| page_of(command.name)).collect();
    general(&mut page, &others);
    fs::write(directory.join(format!("{PROGRAM}.1")), page.to_roff())?;

    for command in &outlines {
        write_page(directory, date, command)?;
    }
    Ok(())
}

fn write_page(directory: &Path, date: &str, command: &outline::Command) -> io::Result<()> {
    let name = format!("{PROGRAM}-{}", command.name);
    let mut page = page(&name, &command.help, date);
    page.control("SH", ["SYNOPSIS"]);
    let script = if command.takes_script { " SCRIPT" } else { "" };
    page.text([bold(format!("{PROGRAM} {}", command.name)), roman(format!("{script} [options]"))]);
    for topic in &command.topics {
        page.control("SH", [topic.title.to_uppercase().as_str()]);
        if !topic.about.is_empty() {
            page.text([roman(&topic.about)]);
        }
        for option in &topic.options {
            page.control("TP", []);
            let arguments: String = option.arguments.iter().map(|argument| format!(" {argument}")).collect();
            page.text([bold(option.name), roman(arguments)]);
            page.text([roman(&option.help)]);
            if !option.note.is_empty() {
                page.text([roman(&option.note)]);
            }
        }
    }
    for list in &command.lists {
        page.control("SH", [list.title.to_uppercase().as_str()]);
        for (name, text) in &list.entries {
            page.control("TP", []);
            page.text([bold(*name)]);
            page.text([roman(text)]);
        }
    }
    general(&mut page, &[format!("{PROGRAM}(1)")]);
    fs::write(directory.join(format!("{name}.1")), page.to_roff())
}

/// Begins a page.
fn page(name: &str, about: &str, date: &str) -> Roff {
    let mut page = Roff::new();
    let version = concat!("mod_wsgi-rs ", env!("CARGO_PKG_VERSION"));
    page.control("TH", [name.to_uppercase().as_str(), "1", date, version, "User Commands"]);
    page.control("SH", ["NAME"]);
    let mut about = about.trim_end_matches('.').to_owned();
    if let Some(first) = about.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    page.text([roman(format!("{name} - {about}"))]);
    page
}

/// Ends a page with what all have in common, and the names of others.
fn general(page: &mut Roff, others: &[String]) {
    page.control("SH", ["COMMAND LINE"]);
    for (number, paragraph) in DESCRIPTION.iter().enumerate() {
        if number > 0 {
            page.control("PP", []);
        }
        page.text([roman(*paragraph)]);
    }
    for (title, entries) in [("ENVIRONMENT", VARIABLES), ("EXIT STATUS", STATUSES)] {
        page.control("SH", [title]);
        for (name, text) in entries {
            page.control("TP", []);
            page.text([bold(name)]);
            page.text([roman(text)]);
        }
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([roman(others.join(", "))]);
}

fn page_of(command: &str) -> String {
    format!("{PROGRAM}-{command}(1)")
}
