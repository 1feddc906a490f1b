//! The import of an application, in a process like those that would serve it.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::num::NonZero;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::killpg;
use nix::unistd::{Pid, geteuid};
use os::process::{Exit, Signal};
use os::spawn::{Limit, Plan};
use serde::{Deserialize, Serialize};
use wsgi_core::python_home;

use super::subject::{Application, Entry, Group, Purpose, Subject};
use crate::account::{Access, Account};
use crate::ending;
use crate::trial::{c_string, wait};

/// The program; its comment says how it is run.
const SOURCE: &str = include_str!("trial.py");
/// Runs it. Its arguments are the text and the order.
const STARTER: &str = "import sys; exec(compile(sys.argv[1], '<doctor>', 'exec'), \
                       {'__name__': 'doctor', 'SOURCE': sys.argv[1], 'ORDER': sys.argv[2], 'REPORT': 3})";
/// The descriptor of the report there.
const REPORT: i32 = 3;
/// The time for an application whose group has no limit.
const LONGEST: Duration = Duration::from_secs(60);
/// The most imports at a time.
const MOST_AT_A_TIME: usize = 4;
/// The most of a report that is read.
const MOST: u64 = 4 << 20;
/// The most that an application may print.
const MOST_PRINTED: i64 = 64 << 20;
/// The most of what an application prints that is read, from its end.
const MOST_OUTPUT: u64 = 64 << 10;

/// The result of the import of an application.
#[derive(Debug)]
pub(crate) enum Trial {
    /// It was not tried: it must not be imported, or is not there for the user.
    None,
    /// There is no process: the step that failed, and why.
    NotStarted(String),
    /// It was ended because it printed without end.
    Flood,
    /// It was ended after this many seconds.
    Late(u64),
    /// The process has ended in the middle, with these last lines.
    Ended(Exit, Vec<String>),
    /// The report of the process.
    Done(Box<Report>),
}

/// The report of the process.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Report {
    /// There is a callable.
    pub(crate) loaded: bool,
    /// The exception that ended the import.
    pub(crate) error: Option<Exception>,
    /// There is none.
    pub(crate) lacks: Option<Lacking>,
    /// Variables that were looked up in `os.environ` in vain.
    pub(crate) missed: Vec<String>,
    /// The resident memory, without what is shared, in bytes.
    pub(crate) memory: Option<u64>,
    /// Extension modules that only one interpreter can have, and why.
    pub(crate) extensions: Vec<(String, String)>,
    /// Why the application seems to want the header `Authorization`.
    pub(crate) authorization: Option<String>,
    /// The top-level modules that are loaded.
    pub(crate) modules: Vec<String>,
    /// The locale that could not be set.
    pub(crate) no_locale: Option<String>,
    /// Those of file names and of text.
    pub(crate) encoding: Vec<String>,
    /// The end of what the process has printed, the traceback of its exception last.
    #[serde(skip)]
    pub(crate) output: String,
}

/// An exception.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Exception {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) text: String,
    /// File, line and function; the innermost last.
    pub(crate) frames: Vec<(String, u32, String)>,
    /// It and its causes.
    pub(crate) chain: Vec<String>,
    /// The module that an `ImportError` names.
    pub(crate) module: Option<String>,
    pub(crate) errno: Option<i32>,
}

/// A callable that is not there, or is none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Lacking {
    pub(crate) callable: String,
    /// The type of what has its name.
    pub(crate) is: Option<String>,
    /// Names in the module that look like WSGI callables.
    pub(crate) candidates: Vec<String>,
}

/// The order to the process.
#[derive(Debug, Serialize)]
struct Order<'a> {
    interpreter: &'static str,
    kind: &'static str,
    entry: String,
    /// Names, one of which has to be there; none: nothing need be.
    callables: Vec<&'a str>,
    module: String,
    home: Option<String>,
    path: Vec<String>,
    group: &'a str,
    application_group: &'a str,
    processes: u32,
    threads: u32,
}

impl Trial {
    /// Returns the report, if the process got that far.
    pub(crate) fn report(&self) -> Option<&Report> {
        match self {
            Self::Done(report) => Some(report),
            _ => None,
        }
    }
}

impl Exception {
    /// Returns the exception in one line, with the innermost place of the application.
    pub(crate) fn line(&self) -> String {
        let Self { kind, text, frames, .. } = self;
        let is_own = |frame: &&(String, u32, String)| !is_library(&frame.0);
        let place = frames.iter().rfind(is_own).or(frames.last());
        let place = place
            .map(|(file, line, function)| format!(" ({file}:{line}, in {function})"))
            .unwrap_or_default();
        let causes: String =
            self.chain.iter().skip(1).map(|cause| format!(", caused by {}", first_line(cause))).collect();
        format!("{kind}: {}{place}{causes}", first_line(text))
    }
}

fn is_library(file: &str) -> bool {
    file.contains("/lib/python3") || file.contains("/lib64/python3") || file.contains("-packages/")
}

fn first_line(text: &str) -> &str {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim()
}

/// Imports all applications, and returns what came of each, in their order. Some are imported side by
/// side: each may take its time, also because it waits for something that is not there.
pub(super) fn try_all(subject: &Subject) -> Vec<Trial> {
    let attempts: Vec<_> =
        subject.applications.iter().map(|application| Attempt::new(subject, application)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(attempt) = attempts.get(number) else { return done };
            let trial = attempt
                .as_ref()
                .map_or(Trial::None, |attempt| attempt.run().unwrap_or_else(Trial::NotStarted));
            done.push((number, trial));
        }
    };
    let mut trials: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (1..at_a_time(attempts.len())).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others =
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        own.into_iter().chain(others).collect()
    });
    // What they have started ends with them.
    super::leftovers::end();
    trials.sort_by_key(|(number, _)| *number);
    trials.into_iter().map(|(_, trial)| trial).collect()
}

/// Returns the number of imports at a time: no more than there are processors, since the time of each
/// is limited.
fn at_a_time(count: usize) -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(MOST_AT_A_TIME).min(count)
}

/// Returns whether there is something to be imported; that there is not is found elsewhere.
fn is_readable(group: &Group, entry: &Entry) -> bool {
    let is_readable =
        |file: &Path| group.inside(file).is_some() && group.account.blockade(Access::Read, file).is_none();
    entry.file().is_none_or(is_readable)
}

/// Returns the executables of a group's Python.
fn programs(subject: &Subject, group: &Group) -> Option<Vec<PathBuf>> {
    let Some(home) = subject.home_of(group) else {
        // That of a jail.
        return Some(python_home::executables(group.python.home.as_deref()?, true));
    };
    let found = python_home::find(&home, super::python::FILES).ok()?;
    let is_closed = group.account.blockade(Access::Execute, &found.program).is_some();
    (!is_closed).then(|| vec![found.program])
}

/// An import that is to be tried.
struct Attempt {
    programs: Vec<CString>,
    order: String,
    environment: Vec<CString>,
    chroot: Option<CString>,
    /// `None`: the present user's.
    account: Option<os::spawn::Account>,
    directory: CString,
    umask: Option<u32>,
    limits: Vec<Limit>,
    /// The time that it may take.
    longest: Duration,
}

impl Attempt {
    /// Prepares the import of an application; `None` if it may not be tried, or what prevents it is found
    /// elsewhere.
    fn new(subject: &Subject, application: &Application) -> Option<Self> {
        let group = subject.group_of(application);
        let can_enter = |home: &Path| group.account.blockade(Access::Search, &group.outside(home)).is_none();
        let is_locked = group.chroot.is_some() && !geteuid().is_root();
        if !subject.may_import
            || is_locked
            || !is_readable(group, &application.entry)
            || !group.home.as_deref().is_none_or(can_enter)
        {
            return None;
        }
        let seconds = application.startup_timeout;
        Some(Self {
            programs: programs(subject, group)?.iter().map(c_string).collect(),
            // There is nothing in it that JSON cannot hold.
            order: ascii(&serde_json::to_string(&order(application, group)).unwrap_or_default()),
            environment: environment(subject, group).into_iter().map(c_string).collect(),
            chroot: group.chroot.as_ref().map(c_string),
            account: Some(&group.account)
                .filter(|account| geteuid().is_root() && !account.uid.is_root())
                .map(Account::identity),
            directory: c_string(directory(subject, group)),
            umask: group.umask,
            limits: group.limits.clone(),
            longest: if seconds > 0 { Duration::from_secs(seconds) } else { LONGEST },
        })
    }

    fn run(&self) -> Result<Trial, String> {
        let memory = || memfd_create(c"doctor", MFdFlags::MFD_CLOEXEC).map_err(|error| error.to_string());
        let (output, report) = (memory()?, memory()?);
        let arguments = ["-c", STARTER, SOURCE, &self.order];
        let plan = Plan {
            programs: self.programs.clone(),
            arguments: arguments.map(c_string).into(),
            environment: self.environment.clone(),
            kept: vec![(REPORT, report.as_fd())],
            output: Some(output.as_fd()),
            // With a group of its own, it can be ended together with what the application starts.
            is_session: true,
            is_bound: true,
            chroot: self.chroot.clone(),
            account: self.account.clone(),
            directory: Some(self.directory.clone()),
            umask: self.umask,
            limits: self.limits.clone(),
            ..Plan::default()
        };
        let _ = ending::watch();
        let started = plan.spawn().map_err(|failure| format!("{}: {}", failure.step, failure.error))?;
        let printed = || nix::sys::stat::fstat(&output).map_or(0, |facts| facts.st_size);
        let exit = wait(&started.child, Some(self.longest), &|| printed() > MOST_PRINTED);
        let exit = exit.map_err(|error| error.to_string())?;
        // What it has started ends with it.
        let _ = killpg(Pid::from_raw(started.child.pid()), Signal::SIGKILL);
        let last = || String::from_utf8_lossy(&read(&output, MOST_OUTPUT).unwrap_or_default()).into_owned();
        let text = read(&report, MOST).map_err(|error| error.to_string())?;
        Ok(match (serde_json::from_slice(&text), exit) {
            // It has imported the application, however it has ended then.
            (Ok(report), _) => Trial::Done(Box::new(Report { output: last(), ..report })),
            (Err(_), Some(exit)) => Trial::Ended(exit, last_lines(&last())),
            (Err(_), None) if printed() > MOST_PRINTED => Trial::Flood,
            (Err(_), None) => Trial::Late(self.longest.as_secs()),
        })
    }
}

/// Returns the directory that processes of a group start in: `home=`; else their user's own, unless
/// that is the user of the server.
fn directory(subject: &Subject, group: &Group) -> PathBuf {
    let is_own =
        group.account.uid == subject.server.account.uid || group.is_embedded() || group.chroot.is_some();
    let of_user = || os::accounts::user(group.account.uid.as_raw()).map(|entry| entry.home);
    let home = group.home.clone().or_else(|| of_user().filter(|_| !is_own));
    home.unwrap_or_else(|| "/".into())
}

fn order<'a>(application: &'a Application, group: &'a Group) -> Order<'a> {
    let inside = |path: &Path| group.inside(path).unwrap_or_else(|| path.to_owned());
    let (kind, entry, module) = match &application.entry {
        Entry::Script(path) => {
            let path = inside(path);
            let name = application.module.clone();
            let name =
                name.unwrap_or_else(|| wsgi_core::script::module_name(path.as_os_str().as_bytes(), true));
            ("script", bytes(&path), name)
        }
        Entry::Module(name) => ("module", name.clone(), String::new()),
        Entry::Paste(path) => ("paste", bytes(&inside(path)), String::new()),
    };
    let interpreter = application.interpreter.as_deref();
    Order {
        interpreter: match interpreter {
            Some("") => "main",
            _ if application.has_own_gil => "own-gil",
            _ => "shared",
        },
        kind,
        entry,
        callables: match application.purpose {
            Purpose::Requests => vec![&application.callable],
            Purpose::Import => Vec::new(),
            Purpose::Decision(functions) => functions.to_vec(),
        },
        module,
        home: group.home.as_deref().filter(|_| !group.is_embedded()).map(bytes),
        path: group.python_path.iter().map(|path| bytes(path)).collect(),
        group: group.name.as_deref().unwrap_or_default(),
        application_group: interpreter.unwrap_or("unknown"),
        processes: group.processes,
        threads: group.threads,
    }
}

/// Returns a path as a text of which each character is a byte: it need not be UTF-8.
fn bytes(path: &Path) -> String {
    path.as_os_str().as_bytes().iter().map(|&byte| char::from(byte)).collect()
}

/// Returns a JSON text that is the same in every locale.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => text.push(char::from(byte)),
            _ => text += &format!("\\u{unit:04x}"),
        }
    }
    text
}

/// Returns the environment of a group's processes, in the order of the supervisor: the server's, the
/// user's, the locale, the group's own.
fn environment(subject: &Subject, group: &Group) -> Vec<String> {
    let mut all = subject.server.environment.clone();
    let mut set = |name: &str, value: String| {
        all.retain(|(other, _)| other != name);
        all.push((name.to_owned(), value));
    };
    // Apache's children keep what it was started with.
    let user = Some(group.account.uid.as_raw()).filter(|_| !group.is_embedded());
    if let Some(entry) = user.and_then(os::accounts::user) {
        set("HOME", entry.home.to_string_lossy().into_owned());
        for name in ["USER", "LOGNAME"] {
            set(name, entry.name.clone());
        }
    }
    if let Some(lang) = &group.lang {
        set("LANG", lang.clone());
    }
    if let Some(locale) = &group.locale {
        set("LC_ALL", locale.clone());
    }
    for (name, value) in &group.environment {
        set(name, value.clone());
    }
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Reads a file that a process has written, the last part if it is long.
fn read(file: &OwnedFd, most: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::from(file.try_clone()?);
    let length = file.metadata()?.len();
    file.seek(std::io::SeekFrom::Start(length.saturating_sub(most)))?;
    let mut content = Vec::new();
    file.take(most).read_to_end(&mut content)?;
    Ok(content)
}

/// Returns the last lines of what a process has printed that say something.
fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // A dump of all threads ends with lists of modules.
    let fatal = lines.iter().position(|line| line.starts_with("Fatal Python error"));
    let from = fatal.unwrap_or(lines.len().saturating_sub(3));
    lines[from..].iter().take(3).map(|&line| line.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_one_line_with_the_application_s_place() {
        let frame = |file: &str, line| (file.to_owned(), line, "f".to_owned());
        let exception = Exception {
            kind: "KeyError".into(),
            text: "'A'\nmore".into(),
            frames: vec![frame("/srv/app.wsgi", 3), frame("/usr/lib/python3.11/os.py", 9)],
            chain: vec!["KeyError: 'A'".into(), "ValueError: b".into()],
            ..Exception::default()
        };
        assert_eq!(exception.line(), "KeyError: 'A' (/srv/app.wsgi:3, in f), caused by ValueError: b");
    }

    #[test]
    fn the_lines_that_matter_are_the_last_or_those_of_a_crash() {
        assert_eq!(last_lines("a\n\nb\nc\nd\n"), ["b", "c", "d"]);
        let crash = "x\nFatal Python error: Segmentation fault\n\nCurrent thread 0x1:\n  File \"a.py\", line 1\n  more\nExtension modules: a, b\n";
        assert_eq!(last_lines(crash)[0], "Fatal Python error: Segmentation fault");
        assert_eq!(last_lines(crash).len(), 3);
    }

    /// A server with a real script and Python, whose application may be imported.
    fn with_script(directory: &Path, script: &str) -> Subject {
        let file = directory.join("app.wsgi");
        std::fs::write(&file, script).unwrap();
        let mut subject = Subject::sample(&file.to_string_lossy());
        subject.may_import = true;
        let group = &mut subject.groups[0];
        group.python.home = Some("/usr/bin/python3".into());
        group.home = Some("/".into());
        group.python_path = vec![directory.to_owned()];
        subject
    }

    fn report(subject: &Subject) -> &Report {
        let (_, trial) = subject.trials().next().unwrap();
        trial.report().unwrap_or_else(|| panic!("{trial:?}"))
    }

    #[test]
    fn applications_that_read_the_header_authorization_are_recognised() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join("accounts.py"),
            "def user(environ):\n    return environ['HTTP_AUTHORIZATION']\n",
        )
        .unwrap();
        let subject = with_script(directory.path(), "import accounts\napplication = print\n");
        let reason = report(&subject).authorization.clone().unwrap();
        assert_eq!(reason, format!("{}:2 reads it", directory.path().join("accounts.py").display()));
        let subject = with_script(directory.path(), "import json\napplication = print\n");
        assert_eq!(report(&subject).authorization, None);
    }

    #[test]
    fn scripts_have_the_functions_that_apache_asks() {
        let directory = tempfile::tempdir().unwrap();
        let lacks = |script: &str, purpose| {
            let mut subject = with_script(directory.path(), script);
            subject.applications[0].purpose = purpose;
            let report = report(&subject);
            assert_eq!(report.loaded, report.lacks.is_none());
            report.lacks.as_ref().map(|lacking| lacking.callable.clone())
        };
        let passwords = Purpose::Decision(&["check_password", "get_realm_hash"]);
        assert_eq!(lacks("", passwords).as_deref(), Some("check_password or get_realm_hash"));
        assert_eq!(lacks("get_realm_hash = 1\n", passwords).as_deref(), Some("get_realm_hash"));
        assert_eq!(lacks("get_realm_hash = print\n", passwords), None);
        assert_eq!(lacks("", Purpose::Import), None);
    }

    #[test]
    fn paths_and_texts_may_have_any_bytes() {
        use std::ffi::OsStr;
        let directory = tempfile::tempdir().unwrap();
        let odd = directory.path().join(OsStr::from_bytes(b"\xff \xc3\xa4"));
        std::fs::create_dir(&odd).unwrap();
        let mut subject = with_script(&odd, "application = print\n");
        subject.applications[0].entry = Entry::Script(odd.join("app.wsgi"));
        subject.groups[0].home = Some(odd.clone());
        assert!(report(&subject).loaded);
        let mut subject = with_script(&odd, "open(__file__ + 'none')\n");
        subject.applications[0].entry = Entry::Script(odd.join("app.wsgi"));
        assert_eq!(report(&subject).error.as_ref().unwrap().kind, "FileNotFoundError");
        let script = "class Odd(Exception):\n    def __str__(self):\n        raise self\nraise Odd\n";
        assert_eq!(report(&with_script(odd.parent().unwrap(), script)).error.as_ref().unwrap().kind, "Odd");
    }

    #[test]
    fn applications_are_imported_side_by_side() {
        if at_a_time(2) < 2 {
            eprintln!("skipped: there is one processor");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        // Each needs the other one.
        let script = |own: &str, other: &str| {
            let open = directory.path().join(own).display().to_string();
            let awaited = directory.path().join(other).display().to_string();
            format!(
                "import os, time\nopen({open:?}, 'w').close()\nend = time.time() + 40\n\
                 while not os.path.exists({awaited:?}):\n    assert time.time() < end\n    time.sleep(0.01)\napplication = print\n"
            )
        };
        let mut subject = with_script(directory.path(), &script("a", "b"));
        let other = directory.path().join("other.wsgi");
        std::fs::write(&other, script("b", "a")).unwrap();
        let more = Subject::sample(&other.to_string_lossy()).applications;
        subject.applications.extend(more);
        let trials: Vec<_> = subject.trials().map(|(_, trial)| trial.report().unwrap().loaded).collect();
        assert_eq!(trials, [true, true]);
    }

    #[test]
    fn a_jail_has_its_own_files() {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can enter a jail");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut subject = with_script(directory.path(), "application = print\nraise ValueError(__file__)\n");
        // The real root is a jail, too: what is outside of it has the same names.
        subject.groups[0].chroot = Some("/".into());
        let error = report(&subject).error.as_ref().unwrap();
        assert_eq!(error.text, directory.path().join("app.wsgi").to_string_lossy());
        let jail = tempfile::tempdir().unwrap();
        let mut subject = with_script(jail.path(), "");
        subject.groups[0].chroot = Some(jail.path().to_owned());
        let (_, trial) = subject.trials().next().unwrap();
        let Trial::NotStarted(reason) = trial else { panic!("{trial:?}") };
        assert!(reason.contains("starting the program"), "{reason}");
    }

    #[test]
    fn an_interpreter_of_its_own_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let script = "try:\n    import _interpreters as i\nexcept ImportError:\n    import _xxsubinterpreters as i\nraise ValueError(i.get_current() == i.get_main(), __name__)\n";
        let mut subject = with_script(directory.path(), script);
        assert!(report(&subject).error.as_ref().unwrap().text.starts_with("(True, '_mod_wsgi_"));
        let applications = std::mem::take(&mut subject.applications);
        let mut subject = with_script(directory.path(), script);
        subject.applications = applications;
        subject.applications[0].interpreter = None;
        subject.applications[0].module = Some("__wsgi__".to_owned());
        assert_eq!(report(&subject).error.as_ref().unwrap().text, "(False, '__wsgi__')");
    }
}
