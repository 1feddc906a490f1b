//! Variables for the application, and the programs and paths of the server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use minijinja::{Value, context};
use nix::unistd::{AccessFlags, access};

use crate::failure::Failure;
use crate::parse::Parsed;
use crate::spec::{Spec, section};
use crate::values::{self, absolute, texts};

section! {
    ENVIRONMENT {
        title: "Environment, programs and paths",
        about: "",
        example: "mod_wsgi-express start-server app.wsgi --setenv SHOP_COLOUR red --passenv SHOP_REGION --envvars-script env.sh",
    }

    SETENV = Spec::text("--setenv", &["NAME", "VALUE"],
        "Variable for the WSGI environ of each request.").repeated();
    PASSENV = Spec::text("--passenv", &["NAME"],
        "Variable of the server's environment to pass into the WSGI environ.").repeated();
    ENVVARS_SCRIPT = Spec::text("--envvars-script", &["FILE"],
        "Shell script that sets the server's environment, before it is started.")
        .default("envvars in the server root");
    MIME_TYPES = Spec::text("--mime-types", &["FILE"],
        "Table of media types.")
        .default("that of the machine");
    SHELL_EXECUTABLE = Spec::text("--shell-executable", &["FILE"],
        "Shell that runs the control script.")
        .default("/bin/sh");
    PID_FILE = Spec::text("--pid-file", &["FILE"],
        "File for the process id of Apache.")
        .default("httpd.pid in the server root");
}

/// The variables for the application, and the programs and paths of the server.
#[derive(Debug)]
pub(crate) struct Environment {
    set: Vec<(String, String)>,
    pass: Vec<String>,
    /// None for the one in the server root.
    pub(crate) script: Option<PathBuf>,
    mime_types: PathBuf,
    pub(crate) shell: PathBuf,
    pub(crate) pid_file: PathBuf,
}

impl Environment {
    /// # Errors
    /// A value is not valid.
    pub(crate) fn new(parsed: &Parsed, server_root: &Path) -> Result<Self, Failure> {
        let path = |spec| parsed.text(spec).map(absolute).transpose();
        let shell = path(&SHELL_EXECUTABLE)?.unwrap_or_else(|| "/bin/sh".into());
        // The kernel reads the name from the first line of the script.
        if shell.to_string_lossy().contains(char::is_whitespace) {
            return Err(Failure::usage(format!(
                "option --shell-executable: '{}' contains a blank, which the first line of a script cannot hold",
                shell.display()
            )));
        }
        let set: Vec<_> =
            values::pairs(parsed, &SETENV).map(|(name, value)| (name.clone(), value.clone())).collect();
        let pass = texts(parsed, &PASSENV);
        let names =
            set.iter().map(|(name, _)| (&SETENV, name)).chain(pass.iter().map(|name| (&PASSENV, name)));
        for (spec, name) in names {
            if name.is_empty() || name.contains('=') {
                return Err(Failure::usage(format!(
                    "option {}: '{name}' is not the name of a variable",
                    spec.name
                )));
            }
        }
        Ok(Self {
            set,
            pass,
            script: path(&ENVVARS_SCRIPT)?,
            mime_types: path(&MIME_TYPES)?.unwrap_or_else(|| mime_types().into()),
            shell,
            pid_file: path(&PID_FILE)?.unwrap_or_else(|| server_root.join("httpd.pid")),
        })
    }

    /// Returns the variables that requests have, and the options that they come from.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let set = self.set.iter().map(|(name, _)| (name.as_str(), SETENV.name));
        set.chain(self.pass.iter().map(|name| (name.as_str(), PASSENV.name)))
    }

    /// Returns a command that runs the control script, which may be where nothing can be executed: a
    /// temporary file system of a container usually is mounted that way.
    pub(crate) fn control(&self, script: &Path) -> Command {
        let mut command = Command::new(&self.shell);
        command.arg(script);
        command
    }

    /// Returns the values for the templates.
    pub(crate) fn context(&self) -> Value {
        context! {
            set => self.set.iter().map(|(name, value)| context! { name, value }).collect::<Vec<_>>(),
            pass => self.pass.clone(),
            mime_types => self.mime_types.to_string_lossy(),
            pid_file => self.pid_file.to_string_lossy(),
        }
    }

    /// Returns what prevents the server, as the user that starts it, from using the files.
    pub(crate) fn problems(&self, server_root: &Path) -> Vec<String> {
        let files = [(self.script.as_ref(), &ENVVARS_SCRIPT), (Some(&self.mime_types), &MIME_TYPES)];
        let unreadable = files.into_iter().filter_map(|(file, spec)| {
            let file = file?;
            let error = fs::File::open(file).err()?;
            Some(format!("cannot read {}: {error}; check {}", file.display(), spec.name))
        });
        let executable = self
            .shell
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0);
        let shell = (!executable)
            .then(|| format!("{} is not a program; check {}", self.shell.display(), SHELL_EXECUTABLE.name));
        // The server root is made later.
        let directory = self.pid_file.parent().filter(|directory| *directory != server_root);
        let pid_file = directory.and_then(|directory| access(directory, AccessFlags::W_OK).err());
        let pid_file = pid_file.map(|error| {
            format!("cannot write {}: {}; check {}", self.pid_file.display(), error.desc(), PID_FILE.name)
        });
        unreadable.chain(shell).chain(pid_file).collect()
    }
}

/// Python's own list of where tables of media types are.
fn mime_types() -> &'static str {
    const KNOWN: [&str; 6] = [
        "/etc/mime.types",
        "/etc/httpd/mime.types",
        "/etc/httpd/conf/mime.types",
        "/etc/apache/mime.types",
        "/etc/apache2/mime.types",
        "/usr/local/etc/httpd/conf/mime.types",
    ];
    KNOWN.into_iter().find(|file| Path::new(file).is_file()).unwrap_or("/dev/null")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::parse::parse;

    fn environment(arguments: &[&str]) -> Result<Environment, Failure> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Environment::new(&parse(&options::server(), arguments).unwrap(), Path::new("/r"))
    }

    #[test]
    fn values_are_checked() {
        for arguments in [
            &["--setenv", "", "x"][..],
            &["--setenv", "A=B", "x"],
            &["--passenv", ""],
            &["--shell-executable", "/bin/my sh"],
        ] {
            let text = environment(arguments).unwrap_err().to_string();
            assert!(text.contains(arguments[0]), "{text}");
        }
        let options =
            ["--envvars-script", "/no/env", "--mime-types", "/no/types", "--shell-executable", "/etc/passwd"];
        let problems = environment(&options).unwrap().problems(Path::new("/r"));
        for option in ["--envvars-script", "--mime-types", "--shell-executable"] {
            assert!(problems.iter().any(|problem| problem.contains(option)), "{option} in {problems:?}");
        }
        assert_eq!(environment(&[]).unwrap().pid_file, Path::new("/r/httpd.pid"));
    }
}
