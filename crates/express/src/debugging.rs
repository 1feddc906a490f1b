//! Debug mode: one process with one thread, and what looks into the application there.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use minijinja::{Value, context};
use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use crate::account::{Access, Account, can_be_made};
use crate::apache::{self, Apache, Mpm};
use crate::auth;
use crate::failure::Failure;
use crate::general;
use crate::limits;
use crate::parse::Parsed;
use crate::python::Python;
use crate::quote::display;
use crate::spec::{Spec, section};
use crate::values::absolute;

section! {
    DEBUGGING {
        title: "Debugging",
        about: "For development, never for production: Apache is one process with one thread, attached to the terminal, and runs the application \
                itself. Nothing is reloaded, and connections are not kept. `breakpoint()` in the application leads to a prompt of pdb. The first Ctrl-C (or \
                `SIGTERM`) interrupts the request or the prompt and ends the server; reports are written then. Options that begin with `--enable-` include \
                `--debug-mode`. In Apache's other processing models than prefork, which this mode chooses if it can, Ctrl-C at a prompt takes effect once the \
                prompt is left.",
        example: "mod_wsgi-express start-server app.wsgi --enable-debugger --working-directory src",
    }

    DEBUG_MODE = Spec::flag("--debug-mode",
        "Runs the application in a single process with one thread, attached to the terminal.");
    ENABLE_DEBUGGER = Spec::flag("--enable-debugger",
        "Starts the debugger pdb when an exception leaves the application.");
    DEBUGGER_STARTUP = Spec::flag("--debugger-startup",
        "Starts it also once the application is loaded, to set breakpoints; needs --enable-debugger.");
    ENABLE_COVERAGE = Spec::flag("--enable-coverage",
        "Measures code coverage with the Python package coverage, and writes an HTML report at the end.");
    COVERAGE_DIRECTORY = Spec::text("--coverage-directory", &["DIRECTORY"],
        "Directory of that report.")
        .default("htmlcov in the server root");
    ENABLE_PROFILER = Spec::flag("--enable-profiler",
        "Profiles the application with cProfile, and writes a file for pstats at the end.");
    PROFILER_DIRECTORY = Spec::text("--profiler-directory", &["DIRECTORY"],
        "Directory of these files.")
        .default("pstats in the server root");
    ENABLE_RECORDER = Spec::flag("--enable-recorder",
        "Records the requests and responses, with headers and contents.")
        .note("Passwords and cookies are among them: only the account that serves can read the files. They are named \
               *microseconds*-*process*-*number* and `.iheaders`, `.icontent`, `.oheaders`, `.ocontent`; the tracebacks of \
               exceptions from the call, the iteration and `close()` are in `.oaexcept`, `.orexcept` and `.ofexcept`.");
    RECORDER_DIRECTORY = Spec::text("--recorder-directory", &["DIRECTORY"],
        "Directory of these files.")
        .default("archive in the server root");
    ENABLE_GDB = Spec::flag("--enable-gdb",
        "Runs Apache under gdb.")
        .note("Without a terminal, gdb prints the stacks if Apache crashes, and ends. A signal to gdb does not end Apache in order; \
               `apachectl stop` does.");
    GDB_EXECUTABLE = Spec::text("--gdb-executable", &["FILE"],
        "The program gdb.")
        .default("gdb");
}

/// The file with gdb's commands.
pub(crate) const GDB_COMMANDS: &str = "gdb.cmds";

/// The means of debugging.
#[derive(Debug)]
pub(crate) struct Debugging {
    /// True in debug mode.
    pub(crate) is_on: bool,
    debugger: bool,
    at_startup: bool,
    coverage: Option<Directory>,
    profiler: Option<Directory>,
    recorder: Option<Directory>,
    /// The program, or the name to look for.
    gdb: Option<PathBuf>,
}

/// A directory that the application writes to.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    /// The option that names it, if it was given; otherwise it is in the server root.
    named: Option<&'static str>,
    mode: u32,
}

impl Debugging {
    /// # Errors
    /// A value is not valid.
    pub(crate) fn new(parsed: &Parsed, server_root: &Path) -> Result<Self, Failure> {
        let has = |spec| parsed.has(spec);
        if has(&DEBUGGER_STARTUP) && !has(&ENABLE_DEBUGGER) {
            return Err(Failure::usage(
                "option --debugger-startup: there is no debugger to start; add --enable-debugger",
            ));
        }
        let directory = |enabled: &Spec, spec: &'static Spec, name, mode| {
            let directory = || match parsed.text(spec) {
                Some(named) => Ok(Directory { path: absolute(named)?, named: Some(spec.name), mode }),
                None => Ok::<_, Failure>(Directory { path: server_root.join(name), named: None, mode }),
            };
            parsed.has(enabled).then(directory).transpose()
        };
        let gdb = parsed.text(&GDB_EXECUTABLE).map_or_else(|| "gdb".into(), PathBuf::from);
        let all = [&DEBUG_MODE, &ENABLE_DEBUGGER, &ENABLE_COVERAGE, &ENABLE_PROFILER, &ENABLE_RECORDER];
        Ok(Self {
            is_on: all.into_iter().chain([&ENABLE_GDB]).any(has),
            debugger: has(&ENABLE_DEBUGGER),
            at_startup: has(&DEBUGGER_STARTUP),
            coverage: directory(&ENABLE_COVERAGE, &COVERAGE_DIRECTORY, "htmlcov", 0o755)?,
            profiler: directory(&ENABLE_PROFILER, &PROFILER_DIRECTORY, "pstats", 0o755)?,
            // Requests hold passwords.
            recorder: directory(&ENABLE_RECORDER, &RECORDER_DIRECTORY, "archive", 0o700)?,
            gdb: has(&ENABLE_GDB).then_some(gdb),
        })
    }

    /// Returns whether something is put around the application, so that `handler.wsgi` loads it.
    pub(crate) fn wraps(&self) -> bool {
        self.debugger || self.coverage.is_some() || self.profiler.is_some() || self.recorder.is_some()
    }

    /// The processing model, among `allowed` (any, if that is empty). With prefork, requests run on the
    /// main thread, where Python gets signals.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn mpm(&self, apache: &Apache, allowed: &[Mpm]) -> Result<Mpm, Failure> {
        if self.is_on
            && (allowed.is_empty() || allowed.contains(&Mpm::Prefork))
            && let Ok(mpm) = apache.mpm(&[Mpm::Prefork])
        {
            return Ok(mpm);
        }
        apache.mpm(allowed)
    }

    /// Makes the directories that were named, or those in the server root, where they are missing;
    /// they belong to the account that serves.
    ///
    /// # Errors
    /// One cannot be made.
    pub(crate) fn make_directories(&self, named: bool, account: &Account) -> Result<(), Failure> {
        let mut made = Ok(());
        for directory in self.directories().filter(|directory| directory.named.is_some() == named) {
            if let Err(error) = directory.make(account) {
                let remedy = format!("check {}", directory.named.unwrap_or("--server-root"));
                made = Err(Failure::file("create", &directory.path, &error, &remedy));
            }
        }
        made
    }

    /// Returns what prevents debugging.
    pub(crate) fn problems(&self, python: &Python, path: &[PathBuf], account: &Account) -> Vec<String> {
        let mut problems = Vec::new();
        for directory in self.directories() {
            let Some(option) = directory.named.filter(|_| !can_be_made(&directory.path)) else { continue };
            if !directory.path.is_dir() {
                problems.push(format!(
                    "{} is not a directory; create it or check {option}",
                    directory.path.display()
                ));
            } else if let Err(reason) = account
                .can(Access::Search, &directory.path)
                .and_then(|()| account.can(Access::Write, &directory.path))
            {
                problems.push(format!(
                    "{option} is closed to the serving account: {reason}; change the permissions, or choose another account \
                     with --user"
                ));
            }
        }
        if self.coverage.is_some()
            && let Err(reason) = python.imports("coverage", path, account)
        {
            let python = python.executable.display();
            problems.push(format!(
                "--enable-coverage needs the package coverage in {python}, and {} cannot import it ({reason}); install it \
                 with: {python} -m pip install coverage",
                account.user
            ));
        }
        if let Some(name) = &self.gdb
            && self.gdb().is_none()
        {
            problems.push(format!(
                "--enable-gdb needs the program {}, which was not found; install it (Debian: apt-get install gdb), or name \
                 it with --gdb-executable",
                name.display()
            ));
        }
        problems
    }

    /// The program gdb, if Apache is to run under it.
    pub(crate) fn gdb(&self) -> Option<PathBuf> {
        apache::find_tool(Some(self.gdb.as_ref()?), "gdb")
    }

    /// Returns the values for the template of `handler.wsgi`; `None` if nothing is put around the
    /// application.
    pub(crate) fn context(&self) -> Option<Value> {
        let path = |directory: &Option<Directory>| directory.as_ref().map(|it| display(&it.path));
        self.wraps().then(|| {
            context! {
                debugger => self.debugger,
                at_startup => self.at_startup,
                coverage => path(&self.coverage),
                profiler => path(&self.profiler),
                recorder => path(&self.recorder),
            }
        })
    }

    /// The names of an included file's `<IfDefine>` that apply.
    pub(crate) fn defines(&self) -> impl Iterator<Item = &'static str> {
        self.is_on.then_some("ONE_PROCESS").into_iter()
    }

    /// The variables by which an application knows.
    pub(crate) fn variables(&self) -> Vec<&'static str> {
        let means = self.means().into_iter().map(|(_, variable)| variable);
        self.is_on.then_some("MOD_WSGI_DEBUG_MODE").into_iter().chain(means).collect()
    }

    /// Returns the lines of the banner: where the output is, and the mode.
    pub(crate) fn banner(&self) -> [Vec<(&'static str, String)>; 2] {
        let mut output = Vec::new();
        output.extend(
            self.coverage.as_ref().map(|it| ("Coverage Output", display(&it.path.join("index.html")))),
        );
        output.extend(self.profiler.as_ref().map(|it| ("Profiler Output", display(&it.path))));
        output.extend(self.recorder.as_ref().map(|it| ("Recorder Output", display(&it.path))));
        let names: Vec<&str> = self.means().into_iter().map(|(name, _)| name).collect();
        let with = if names.is_empty() { String::new() } else { format!("; with {}", names.join(", ")) };
        let mode = ("Debug Mode", format!("for development only: one process, one thread{with}"));
        [output, self.is_on.then_some(mode).into_iter().collect()]
    }

    fn means(&self) -> Vec<(&'static str, &'static str)> {
        [
            (self.debugger, "debugger", "MOD_WSGI_DEBUGGER_ENABLED"),
            (self.coverage.is_some(), "coverage", "MOD_WSGI_COVERAGE_ENABLED"),
            (self.profiler.is_some(), "profiler", "MOD_WSGI_PROFILER_ENABLED"),
            (self.recorder.is_some(), "recorder", "MOD_WSGI_RECORDER_ENABLED"),
            (self.gdb.is_some(), "gdb", "MOD_WSGI_GDB_ENABLED"),
        ]
        .into_iter()
        .filter_map(|(applies, name, variable)| applies.then_some((name, variable)))
        .collect()
    }

    fn directories(&self) -> impl Iterator<Item = &Directory> {
        [&self.coverage, &self.profiler, &self.recorder].into_iter().flatten()
    }
}

impl Directory {
    fn make(&self, account: &Account) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.path) {
            // One that was there keeps its owner, unless it is ours.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.named.is_some() => {
                return Ok(());
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let directory = self.open()?;
        if geteuid().is_root() {
            fchown(&directory, Some(account.uid.as_raw()), Some(account.gid.as_raw()))?;
        }
        directory.set_permissions(Permissions::from_mode(self.mode))
    }

    /// Opens the directory itself, and not what a link in its place leads to.
    fn open(&self) -> io::Result<File> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        OpenOptions::new().read(true).custom_flags(flags.bits()).open(&self.path)
    }
}

/// Returns a text for each option that was given but has no effect.
pub(crate) fn without_effect(parsed: &Parsed) -> Vec<String> {
    let mut lines: Vec<String> = [
        (&COVERAGE_DIRECTORY, &ENABLE_COVERAGE),
        (&PROFILER_DIRECTORY, &ENABLE_PROFILER),
        (&RECORDER_DIRECTORY, &ENABLE_RECORDER),
        (&GDB_EXECUTABLE, &ENABLE_GDB),
    ]
    .into_iter()
    .filter(|(spec, needed)| parsed.has(spec) && !parsed.has(needed))
    .map(|(spec, needed)| format!("{} is without effect: it needs {}", spec.name, needed.name))
    .collect();
    if parsed.has(&ENABLE_GDB) && parsed.has(&general::PROCESS_NAME) {
        lines.push("--process-name is without effect under gdb".to_owned());
    }
    lines
}

/// The options that mean nothing in debug mode, beside those of daemon mode.
pub(crate) static ELSEWHERE: [&Spec; 6] = [
    &general::PROCESSES,
    &general::THREADS,
    &general::MAXIMUM_REQUESTS,
    &general::ORPHAN_INTERPRETER,
    &limits::KEEP_ALIVE_TIMEOUT,
    &auth::ACCESS_PROCESSES,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::parse::parse;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn debugging(arguments: &[&str], root: &Path) -> Result<Debugging, Failure> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Debugging::new(&parse(&options::server(), arguments).unwrap(), root)
    }

    fn account() -> Account {
        Account::choose(None, None).unwrap()
    }

    #[test]
    fn it_is_on_only_if_it_is_asked_for() {
        let with = |arguments: &[&str]| debugging(arguments, Path::new("/r")).unwrap();
        for arguments in [&[][..], &["--coverage-directory", "/c", "--gdb-executable", "/g"]] {
            let off = with(arguments);
            assert!(!off.is_on && !off.wraps() && off.variables().is_empty(), "{off:?}");
            assert_eq!(off.banner(), [vec![], vec![]]);
        }
        for option in ["--enable-debugger", "--enable-coverage", "--enable-profiler", "--enable-recorder"] {
            let on = with(&[option]);
            assert!(on.is_on && on.wraps() && on.variables().len() == 2, "{on:?}");
        }
        let [output, mode] = with(&["--enable-gdb", "--enable-coverage"]).banner();
        assert_eq!(output, [("Coverage Output", "/r/htmlcov/index.html".to_owned())]);
        assert!(mode[0].1.contains("development") && mode[0].1.contains("coverage, gdb"), "{mode:?}");
        assert!(!with(&["--debug-mode"]).wraps() && with(&["--debug-mode"]).is_on);
    }

    #[test]
    fn the_startup_needs_the_debugger() {
        let refused = debugging(&["--debugger-startup"], Path::new("/r")).unwrap_err();
        assert!(matches!(&refused, Failure::Usage(text) if text.contains("--enable-debugger")), "{refused}");
    }

    #[test]
    fn directories_are_made_for_the_account_that_serves() {
        let root = tempfile::tempdir().unwrap();
        let named = root.path().join("named");
        let options = ["--enable-recorder", "--enable-profiler", "--profiler-directory"];
        let debugging =
            debugging(&[&options[..], &[&named.to_string_lossy()]].concat(), root.path()).unwrap();
        // Twice: at the second time they are there.
        for _ in 0..2 {
            debugging.make_directories(true, &account()).unwrap();
            debugging.make_directories(false, &account()).unwrap();
        }
        let facts = |path: &Path| path.metadata().map(|data| (data.mode() & 0o777, data.uid())).unwrap();
        assert_eq!(facts(&named), (0o755, account().uid.as_raw()));
        assert_eq!(facts(&root.path().join("archive")), (0o700, account().uid.as_raw()));
    }

    #[test]
    fn links_and_files_are_not_taken_for_directories() {
        let root = tempfile::tempdir().unwrap();
        symlink("/etc", root.path().join("archive")).unwrap();
        let recorder = debugging(&["--enable-recorder"], root.path()).unwrap();
        assert!(recorder.make_directories(false, &account()).is_err());
        assert_eq!(Path::new("/etc").metadata().unwrap().uid(), 0);
    }
}
