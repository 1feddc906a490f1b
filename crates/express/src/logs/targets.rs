//! The destinations of logs: files, this process's own output, and programs.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use super::{ROTATELOGS_EXECUTABLE, Rotation};
use crate::apache;
use crate::failure::Failure;
use crate::quote::{display, quote_for_shell};

/// The destinations of a server's logs.
#[derive(Debug)]
pub(crate) struct Targets {
    /// The command that converts an error log; none if it is not converted.
    pub(super) error_converter: Option<String>,
    pub(super) error: Target,
    pub(super) access: Option<Target>,
    /// None for standard error.
    pub(super) startup: Option<PathBuf>,
    pub(super) rotator: Option<Rotator>,
}

/// The destination of a log.
#[derive(Debug)]
pub(super) struct Target {
    /// The argument of the directive.
    pub(super) argument: String,
    pub(super) file: PathBuf,
}

/// The command that writes a log to files of limited size.
#[derive(Debug)]
pub(super) struct Rotator {
    pub(super) program: PathBuf,
    pub(super) megabytes: i64,
    pub(super) files: i64,
}

impl Target {
    /// The target of a log that goes to a file, through a command that converts it if there is one.
    pub(super) fn file(file: &Path, rotator: Option<&Rotator>, converter: Option<&str>) -> Self {
        let argument = match (converter, rotator.map(|rotator| rotator.command(file))) {
            (None, None) => display(file),
            (None, Some(rotate)) => piped(&rotate),
            (Some(convert), None) => piped(&format!("exec {convert} >>{}", quote_for_shell(&display(file)))),
            (Some(convert), Some(rotate)) => piped(&format!("{convert} | {{ {rotate}; }}")),
        };
        Self { argument, file: file.to_owned() }
    }

    /// The target of a log that goes to this process's own output. A socket (as under some
    /// supervisors) cannot be opened by its name, but a program that inherits it can write to it.
    pub(super) fn device(name: &str, redirection: &str, converter: Option<&str>) -> Self {
        let argument = match (converter, OpenOptions::new().append(true).open(name)) {
            (None, Ok(_)) => name.to_owned(),
            (None, Err(_)) => format!("|$exec cat{redirection}"),
            (Some(convert), _) => piped(&format!("exec {convert}{redirection}")),
        };
        Self { argument, file: name.into() }
    }
}

impl Rotator {
    pub(super) fn find(rotation: &Rotation) -> Result<Self, Failure> {
        let program = apache::find_tool(rotation.program.as_deref(), "rotatelogs").ok_or_else(|| {
            let named = rotation.program.as_deref().unwrap_or(Path::new("rotatelogs"));
            Failure::machine(format!(
                "--rotate-logs needs Apache's program {}, which was not found; install it (Debian: apt-get install \
                 apache2-utils), or name it with {}",
                named.display(),
                ROTATELOGS_EXECUTABLE.name
            ))
        })?;
        Ok(Self { program, megabytes: rotation.megabytes, files: rotation.files })
    }

    /// Returns the text for a shell.
    pub(super) fn command(&self, file: &Path) -> String {
        let program = quote_for_shell(&display(&self.program));
        // The program takes each percent sign for a part of a time, and then does not count.
        let (start, file) = match (self.files, file.parent(), file.file_name()) {
            (files @ 1.., Some(directory), Some(name)) => (
                format!("cd {} && exec {program} -n {files}", quote_for_shell(&display(directory))),
                format!("./{}", name.display()),
            ),
            _ => {
                (format!("exec {program}"), format!("{}.%Y-%m-%d-%H_%M_%S", display(file).replace('%', "%%")))
            }
        };
        format!("{start} {} {}M", quote_for_shell(&file), self.megabytes)
    }
}

/// Returns the argument of `ErrorLog` or `CustomLog` for a command. A shell has a notation for each name,
/// other than Apache's own way to split a command, which the command is kept from as one quoted word.
pub(super) fn piped(command: &str) -> String {
    format!("|$\"{}\"", command.replace('\\', r"\\").replace('"', "\\\""))
}
