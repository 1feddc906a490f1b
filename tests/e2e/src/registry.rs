//! The table of tests: what each of them needs, and how they are run.

use std::cell::RefCell;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::process::{Command, ExitCode, Stdio};
use std::thread::available_parallelism;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::target::is_sanitized;
use crate::{Interpreter, Mode, Mpm, Setup, Target};

/// A test of the suite. Made by [`on_each_mpm!`](crate::on_each_mpm),
/// [`on_one_mpm!`](crate::on_one_mpm) and [`test!`](crate::test).
pub struct Test {
    /// Its function, with the path of its module.
    pub name: &'static str,
    /// The test itself.
    pub run: Run,
    /// Everything without which it does not apply.
    pub needs: &'static [Needs],
}

/// The function of a test, which panics if the test fails, and what it is run with. `E2E_MPM`
/// restricts the MPMs, and so do the test's [`Needs`].
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// A server of each MPM. Each is a test of its own in reports, named after the MPM.
    EachMpm(fn(Setup)),
    /// A server of one MPM, event preferred: the test is about something that no MPM has a say in.
    OneMpm(fn(Setup)),
    /// No server, or several that the test sets up itself.
    Once(fn()),
}

/// Something without which a test does not apply: it is ignored then, and the report names the
/// reason.
#[derive(Clone, Copy, Debug)]
pub enum Needs {
    /// Daemon mode.
    Daemon,
    /// Embedded mode, because the test is about this.
    Embedded(&'static str),
    /// Our module, because the original has nothing like this.
    Ours(&'static str),
    /// Root, because only root can do this.
    Root(&'static str),
    /// A build without a sanitizer, because of this.
    NoSanitizer(&'static str),
    /// One of these MPMs, because the test is about its children, or the others do not differ.
    OnlyMpms(&'static [Mpm]),
    /// An MPM with threads.
    Threads,
    /// One process for all requests: prefork's children take turns in embedded mode.
    OneProcess,
    /// At least this version of Python, for this.
    Python((u8, u8), &'static str),
    /// A host for a Python that has ctypes in interpreters with a GIL of their own.
    HostWithOwnGil,
    /// Hosts for two versions of Python.
    SecondPython,
    /// The right to make a namespace of process ids.
    PidNamespace,
    /// A browser without a window, from Debian's package `chromium-headless-shell`.
    Browser,
    /// Much time: run with `--ignored` only (`make test-soak`).
    Time,
}

impl Needs {
    /// Returns whether servers of this MPM meet it.
    fn allows(self, mpm: Mpm) -> bool {
        match self {
            Self::OnlyMpms(only) => only.contains(&mpm),
            Self::Threads => mpm.threaded(),
            Self::OneProcess => mpm.threaded() || Mode::current() == Mode::Daemon,
            _ => true,
        }
    }

    /// Returns why the test does not apply here, or `None` if it does.
    fn unmet(self) -> Option<String> {
        let is_allowed = || Mpm::wanted().iter().any(|mpm| self.allows(*mpm));
        let (is_met, reason) = match self {
            Self::Daemon => (Mode::current() == Mode::Daemon, "about daemon mode".to_owned()),
            Self::Embedded(what) => {
                (Mode::current() == Mode::Embedded, format!("about embedded mode: {what}"))
            }
            Self::Ours(what) => (!Target::current().is_reference(), format!("the original has no {what}")),
            Self::Root(what) => (nix::unistd::geteuid().is_root(), format!("only root can {what}")),
            Self::NoSanitizer(why) => (!is_sanitized(), format!("not with a sanitizer: {why}")),
            Self::OnlyMpms(mpms) => {
                let names: Vec<_> = mpms.iter().map(|mpm| mpm.name()).collect();
                (is_allowed(), format!("about the MPM {}", names.join(" and ")))
            }
            Self::Threads => (is_allowed(), "about MPMs with threads".to_owned()),
            Self::OneProcess => (
                is_allowed(),
                "several requests go to one process, which prefork does not promise".to_owned(),
            ),
            Self::Python((major, minor), what) => (
                Interpreter::current().version >= (u32::from(major), u32::from(minor)),
                format!("{what} needs Python {major}.{minor}; set E2E_PYTHON"),
            ),
            Self::HostWithOwnGil => (
                Interpreter::with_own_gil().is_some(),
                "ctypes in an interpreter with a GIL of its own needs a host for Python 3.13".to_owned(),
            ),
            Self::SecondPython => {
                (Interpreter::with_hosts().len() > 1, "there is a host for one Python only".to_owned())
            }
            Self::PidNamespace => (can_unshare(), "namespaces of process ids cannot be made here".to_owned()),
            Self::Browser => {
                (browser().is_some(), "there is no browser: make test-browser installs one".to_owned())
            }
            Self::Time => (true, String::new()),
        };
        (!is_met).then_some(reason)
    }
}

/// Returns the program of a browser that needs no window.
#[must_use]
pub fn browser() -> Option<&'static str> {
    const PROGRAM: &str = "chromium-headless-shell";
    let mut command = Command::new(PROGRAM);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success()).then_some(PROGRAM)
}

fn can_unshare() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "true"]).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// An entry of a table of tests, for a function that takes the [`Setup`] of each MPM:
/// `on_each_mpm!(function, Needs, ...)`.
#[macro_export]
macro_rules! on_each_mpm {
    ($run:ident $($needs:tt)*) => { $crate::entry!(EachMpm, $run $($needs)*) };
}

/// An entry of a table of tests, for a function that takes the [`Setup`] of one MPM:
/// `on_one_mpm!(function, Needs, ...)`.
#[macro_export]
macro_rules! on_one_mpm {
    ($run:ident $($needs:tt)*) => { $crate::entry!(OneMpm, $run $($needs)*) };
}

/// An entry of a table of tests, for a function without arguments: `test!(function, Needs, ...)`.
#[macro_export]
macro_rules! test {
    ($run:ident $($needs:tt)*) => { $crate::entry!(Once, $run $($needs)*) };
}

/// The common part of the macros for entries.
#[doc(hidden)]
#[macro_export]
macro_rules! entry {
    ($kind:ident, $run:ident $(, $needs:expr)* $(,)?) => {
        $crate::Test {
            name: concat!(module_path!(), "::", stringify!($run)),
            run: $crate::Run::$kind($run),
            needs: &[$($needs),*],
        }
    };
}

/// Runs the tests of these tables that the command line asks for. It takes the arguments of Rust's
/// own test programs.
#[must_use]
pub fn run_tests(tables: impl IntoIterator<Item = &'static &'static [Test]>) -> ExitCode {
    let (filters, arguments) = split_filters(std::env::args());
    let mut arguments = Arguments::from_iter(arguments);
    // Most tests wait most of the time. The slow ones measure, and share the machine with few.
    if arguments.test_threads.is_none() && !arguments.ignored {
        arguments.test_threads = available_parallelism().ok().map(|processors| 2 * processors.get());
    }
    let is_wanted = |trial: &Trial| {
        let is_named = |filter: &String| {
            if arguments.exact { trial.name() == filter } else { trial.name().contains(filter.as_str()) }
        };
        filters.is_empty() || filters.iter().any(is_named)
    };
    let is_captured = !arguments.nocapture;
    let tests = tables.into_iter().copied().flatten();
    let trials = tests.flat_map(|test| trials(test, is_captured)).filter(is_wanted).collect();
    if is_captured {
        capture_panics();
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Returns what stands for a test in reports: itself, once or with each MPM.
fn trials(test: &'static Test, is_captured: bool) -> Vec<Trial> {
    let trial = |name: String, attempt: Box<dyn FnOnce() + Send>| {
        let trial = Trial::ignorable_test(name, move || run(test, attempt, is_captured));
        trial.with_ignored_flag(test.needs.iter().any(|needs| matches!(needs, Needs::Time)))
    };
    let name = short_name(test);
    let mut mpms = Mpm::wanted();
    mpms.retain(|mpm| test.needs.iter().all(|needs| needs.allows(*mpm)));
    match (test.run, mpms.last().copied()) {
        (Run::EachMpm(run), Some(_)) => mpms
            .into_iter()
            .map(|mpm| trial(format!("{name}::{}", mpm.name()), Box::new(move || run(Setup::new(mpm)))))
            .collect(),
        (Run::OneMpm(run), Some(mpm)) => {
            vec![trial(name.to_owned(), Box::new(move || run(Setup::new(mpm)))).with_kind(mpm.name())]
        }
        (Run::Once(run), _) => vec![trial(name.to_owned(), Box::new(run))],
        // Ignored, since no MPM is left.
        (_, None) => vec![trial(name.to_owned(), Box::new(|| ()))],
    }
}

/// Tells words to filter by, of which there may be several, from options and their values.
fn split_filters(arguments: impl Iterator<Item = String>) -> (Vec<String>, Vec<String>) {
    const WITH_VALUE: &[&str] = &["--skip", "--test-threads", "--logfile", "--format", "--color", "-Z"];
    let (mut filters, mut options) = (Vec::new(), Vec::new());
    // The first is the program's name.
    let mut is_value = true;
    for argument in arguments {
        if is_value || argument.starts_with('-') {
            is_value = !is_value && WITH_VALUE.contains(&argument.as_str());
            options.push(argument);
        } else {
            filters.push(argument);
        }
    }
    (filters, options)
}

/// Returns the name without the crate, as Rust's own test programs write it.
fn short_name(test: &Test) -> &'static str {
    test.name.split_once("::").map_or(test.name, |(_, name)| name)
}

fn run(test: &Test, attempt: Box<dyn FnOnce()>, is_captured: bool) -> Result<Completion, Failed> {
    if let Some(reason) = test.needs.iter().find_map(|needs| needs.unmet()) {
        return Ok(Completion::ignored_with(reason));
    }
    OUTPUT.set(is_captured.then(String::new));
    let outcome = catch_unwind(AssertUnwindSafe(attempt));
    let output = OUTPUT.take().unwrap_or_default();
    outcome.map(|()| Completion::Completed).map_err(|_| Failed::from(output))
}

thread_local! {
    /// The output of the test that runs on this thread, if it is kept for a failure.
    static OUTPUT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Writes a line to the output of the test, which is shown if it fails, or with `--nocapture`.
pub fn report(line: impl Display) {
    let is_kept = OUTPUT.with_borrow_mut(|output| {
        let output = output.as_mut()?;
        output.push_str(&format!("{line}\n"));
        Some(())
    });
    if is_kept.is_none() {
        println!("{line}");
    }
}

/// Has panics of tests reported with their output, without backtraces: `--nocapture` has them.
/// Those of other threads are written at once.
fn capture_panics() {
    let default = take_hook();
    set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
        if OUTPUT.with_borrow(Option::is_none) {
            return default(panic);
        }
        report(panic);
    }));
}

#[cfg(test)]
mod tests {
    use super::split_filters;

    #[test]
    fn filters_are_told_from_options() {
        let arguments = ["suite", "reload", "--skip", "soak", "--ignored", "timers"].map(str::to_owned);
        let (filters, options) = split_filters(arguments.into_iter());
        assert_eq!(filters, ["reload", "timers"]);
        assert_eq!(options, ["suite", "--skip", "soak", "--ignored"]);
    }
}
