//! The template of a group with `preload=fork`: a process that has imported the group's scripts, and
//! serves nothing. The processes of the group are forked from it, and share its memory.
//!
//! It has one thread, since a fork has no other. Whatever a process has of its own (descriptors, the
//! log, its page, threads, times) it gets after the fork, as a process that starts with an empty
//! Python does: see [`super::setup`].

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bridge::Level;
use os::descriptors::{Wait, next_length, receive_with, send_with};
use os::fork::Side;
use os::process::{Child, Signal};
use python::Python;
use wsgi_core::wire::control::{Order, Report};
use wsgi_core::wire::exit;
use wsgi_core::wire::launch;

use super::reload::Reload;
use super::setup::{Imports, set_up_process, title};
use super::start_order::{TemplateOrder, because};
use super::state::{daemon, in_jail};
use super::{descriptors, log};
use crate::dispatch::interpreters;
use crate::life;
use crate::locked::Locked;
use crate::metrics;
use crate::mode::{ChangedScript, FailedScript, LoadedVersion, Mode};
use crate::process::Process;

/// The time that threads which have ended for Python may take to end for the system.
const SETTLED: Duration = Duration::from_millis(500);

/// The interval of checks for threads.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// The most threads that are named.
const MOST_NAMED: usize = 10;

/// A template.
pub(super) struct Template {
    pub(super) process: &'static Process,
    pub(super) launch: Box<launch::Daemon>,
    imports: Imports,
    control: OwnedFd,
    reports: File,
}

/// A process that was forked from a template.
pub(super) struct Forked {
    /// Its own control socket.
    pub(super) control: OwnedFd,
    pub(super) template: &'static TemplateMode,
}

/// The parts of a process that come with the order to fork it.
struct Parts {
    control: OwnedFd,
    /// Its standard output and error.
    output: OwnedFd,
    /// A message through it makes the process known to the supervisor, which the kernel tells whose
    /// message it is.
    birth: OwnedFd,
}

impl Template {
    /// Sets up what needs no Python.
    pub(super) fn prepare(control: OwnedFd, order: TemplateOrder) -> Result<Self, String> {
        let TemplateOrder { launch, reports, lines } = order;
        log::open(lines).map_err(because("its pipe to the log cannot be used"))?;
        log::configure(&launch);
        if let Err(error) = os::title::set(&[&title(&launch), &b" template"[..]].concat()) {
            log::line(Level::Warning, &format!("display-name has no effect: {error}"));
        }
        let (process, imports) = set_up_process(None, &MODE, &launch)?;
        let template = Self { process, launch, imports, control, reports: reports.into() };
        template.log(Level::Info, "the template of its processes starts");
        Ok(template)
    }

    /// Imports the scripts, and forks processes on order. Returns in each of these.
    pub(super) fn serve(mut self) -> Forked {
        self.import();
        if descriptors::is_copy() {
            // A script has forked, and the copy has returned from it.
            os::exit::now(exit::FAILED.into());
        }
        self.check_threads();
        self.check_interpreters();
        self.check_processes();
        self.freeze();
        if self.reports.write_all(&Report::Ready(true).encode()).is_err() {
            os::exit::now(0);
        }
        loop {
            let parts = self.next_order();
            let side = interpreters()
                .main()
                .map(|main| main.attach(|py, _, _| python::fork(py, || begin_process(&parts))));
            match side {
                Some(Ok(Side::New)) => {
                    // Its descriptors are closed, or are not this process's.
                    std::mem::forget(self);
                    // A function for forks has forked, and the copy has returned from it.
                    descriptors::end_if_copy();
                    metrics::begin_process();
                    return Forked { control: parts.control, template: &MODE };
                }
                Some(Ok(Side::Original)) => {}
                Some(Err(error)) => self.log_failure(&error),
                None => os::exit::now(exit::FAILED.into()),
            }
        }
    }

    /// Imports the scripts of the main interpreter. Ends the process if that fails.
    fn import(&self) {
        let Self { process, imports, launch, .. } = self;
        for script in &launch.scripts {
            let is_main = script.application_group.is_empty();
            if is_main && !life::import_again(process, script, imports.reloading) {
                self.send_reports();
                os::exit::now(exit::NOT_IMPORTED.into());
            }
        }
        for (script, group) in &imports.scripts {
            let script = in_jail(launch.options.chroot.as_deref(), script).unwrap_or(script);
            if group.is_empty() && !life::import_script(process, script, group, imports.reloading) {
                self.send_reports();
                self.refuse(&format!(
                    "the script '{}' could not be imported, see above",
                    String::from_utf8_lossy(script)
                ));
            }
        }
        if !MODE.scripts.has_scripts() {
            self.refuse(
                "the configuration names no script to import in the main interpreter. Name it with 'WSGIImportScript <file> \
                 process-group=<group> application-group=%{GLOBAL}', and run it there ('WSGIApplicationGroup %{GLOBAL}'): \
                 other interpreters cannot be forked",
            );
        }
    }

    /// Sends the reports that are kept.
    fn send_reports(&self) {
        for report in REPORTS.with(std::mem::take) {
            // A supervisor that is gone needs none.
            let _ = (&self.reports).write_all(&report.encode());
        }
    }

    /// Ends the process if it has other threads.
    fn check_threads(&self) {
        let end = Instant::now() + SETTLED;
        while os::exit::has_other_threads() {
            if Instant::now() < end {
                std::thread::sleep(BETWEEN_LOOKS);
                continue;
            }
            self.refuse(&format!(
                "its scripts have started threads, which a fork would not have ({}). Have them start with the first request, \
                 or in a function for os.register_at_fork(after_in_child=...)",
                self.threads()
            ));
        }
    }

    /// Ends the process if it has interpreters that its scripts have created: forks would hang, since
    /// CPython cannot take those apart in them.
    fn check_interpreters(&self) {
        let main = interpreters().main();
        if main.is_some_and(|main| main.attach(|py, _, _| python::has_other_interpreters(py))) {
            self.refuse(
                "its scripts have created interpreters, and CPython cannot fork those. Have them created with the first \
                 request, or in a function for os.register_at_fork(after_in_child=...)",
            );
        }
    }

    /// Ends the process if it has children that run: its forks could neither wait for them nor end
    /// them, and its end would leave them behind. Those that have ended are forgotten.
    fn check_processes(&self) {
        let end = Instant::now() + SETTLED;
        loop {
            match os::process::reap(|_| false) {
                Ok(Some(_)) => {}
                // There are none.
                Err(_) => return,
                Ok(None) if Instant::now() < end => std::thread::sleep(BETWEEN_LOOKS),
                Ok(None) => self.refuse(&format!(
                    "its scripts have started processes, which a fork could neither wait for nor end ({}; they are told to end). \
                     Have them start with the first request, or in a function for os.register_at_fork(after_in_child=...)",
                    end_children()
                )),
            }
        }
    }

    /// Says why a process could not be forked.
    fn log_failure(&self, error: &io::Error) {
        let cause = if os::exit::has_other_threads() {
            format!(
                "its scripts have started threads since they were imported, most likely in a function for \
                 os.register_at_fork(after_in_parent=...), and a fork would not have them ({})",
                self.threads()
            )
        } else {
            format!("{error}. Are there too many processes (ulimit -u, pids.max), or too little memory?")
        };
        self.log(
            Level::Error,
            &format!(
                "no process can be forked from the template, so it imports the scripts for itself: {cause}"
            ),
        );
    }

    /// Returns the threads that the process has, as far as they can be named.
    fn threads(&self) -> String {
        let known = interpreters().main().map(|main| {
            main.attach(|py, state, _| {
                let lines = state.helpers.threads_left.get(py).call([]).unwrap_or_else(|raised| {
                    raised.clear();
                    py.none()
                });
                let count = lines.item_count().min(MOST_NAMED);
                (0..count).filter_map(|index| lines.item(index)?.to_text()).collect::<Vec<String>>()
            })
        });
        let known = known.unwrap_or_default();
        if !known.is_empty() {
            return known.join("; ");
        }
        let own = std::process::id().to_string();
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let others = tasks.filter(|task| task.file_name().as_encoded_bytes() != own.as_bytes());
        let names: Vec<_> = others
            .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
            .map(|name| format!("'{}', which Python does not know", name.trim_end().escape_debug()))
            .take(MOST_NAMED)
            .collect();
        if names.is_empty() { "they cannot be counted without /proc".to_owned() } else { names.join("; ") }
    }

    /// Collects garbage, and has the collector leave alone what is left, which would no longer be
    /// shared once it is touched.
    fn freeze(&self) {
        let freeze = |py: Python<'_>| -> python::Result<()> {
            let gc = py.import(c"gc")?;
            gc.attr(&py.name("collect")?)?.call([])?;
            gc.attr(&py.name("freeze")?)?.call([]).map(drop)
        };
        let is_frozen = interpreters()
            .main()
            .is_some_and(|main| main.attach(|py, _, _| freeze(py).map_err(python::Raised::clear).is_ok()));
        if !is_frozen {
            self.log(Level::Warning, "gc.freeze() has failed: processes share less memory");
        }
    }

    /// Waits for the order to fork a process. Ends the process with the supervisor's interest in it.
    fn next_order(&self) -> Parts {
        loop {
            let order = next_length(&self.control, Wait::Allowed).and_then(|length| {
                let mut message = vec![0; length];
                receive_with(&self.control, &mut message, Wait::Allowed)
                    .map(|(_, received)| (message, received))
            });
            let Ok((message, received)) = order else { os::exit::now(exit::FAILED.into()) };
            if message.is_empty() {
                // What is registered with `atexit` may take away what its processes still use.
                os::exit::now(0);
            }
            let mut received = received.into_iter();
            if let (Ok(Order::Fork), Some(control), Some(output), Some(birth)) =
                (Order::decode(&message), received.next(), received.next(), received.next())
            {
                return Parts { control, output, birth };
            }
        }
    }

    /// Ends the process: no processes can be forked from it.
    fn refuse(&self, why: &str) -> ! {
        let text = format!(
            "preload=fork has no effect: {why}. Each process imports the scripts for itself, without sharing memory"
        );
        self.log(Level::Warning, &text);
        os::exit::now(exit::NOT_FORKABLE.into())
    }

    fn log(&self, level: Level, text: &str) {
        let group = String::from_utf8_lossy(&self.launch.name);
        log::line(level, &format!("Process group '{group}': {text}."));
    }
}

/// Asks the children of this process to end, which nobody else can. Returns their names, as far as
/// they are known.
fn end_children() -> String {
    let children = os::process::children();
    let names = children.iter().take(MOST_NAMED).map(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("'{}' with the process id {pid}", name.trim_end().escape_debug())
    });
    let names: Vec<_> = names.collect();
    for pid in children {
        // This fails if it has ended.
        let _ = Child::open(pid).and_then(|child| child.signal(Signal::SIGTERM));
    }
    if names.is_empty() { "the system does not name them".to_owned() } else { names.join("; ") }
}

/// Makes the new process known, and its own. It ends if the supervisor does not want it any more.
fn begin_process(parts: &Parts) {
    descriptors::begin_process();
    // Functions for forks may make copies.
    descriptors::register(&parts.control);
    let is_known = send_with(&parts.birth, b"b", &[], Wait::Never).is_ok();
    let has_output = nix::unistd::dup2_stdout(&parts.output)
        .and_then(|()| nix::unistd::dup2_stderr(&parts.output))
        .is_ok();
    if !is_known || !has_output {
        os::exit::now(exit::FAILED.into());
    }
}

/// The mode of a template, and of the processes that are forked from it: those do what any daemon
/// process does.
pub(super) struct TemplateMode {
    /// The scripts that the template has loaded.
    scripts: LazyLock<Reload>,
}

/// Reports of the template that are still to be sent.
static REPORTS: Locked<Vec<Report>> = Locked::new(Vec::new());

/// Keeps a report of the template until its import is over.
pub(super) fn keep_report(report: Report) {
    REPORTS.with(|reports| reports.push(report));
}

static MODE: TemplateMode = TemplateMode { scripts: LazyLock::new(Reload::default) };

impl TemplateMode {
    /// Returns the record of the scripts for a process that was forked.
    pub(super) fn scripts(&self) -> Reload {
        Reload::forked_from(&self.scripts)
    }
}

impl Mode for TemplateMode {
    fn has_successors(&self) -> bool {
        true
    }

    fn script_loaded(&self, path: &[u8], application_group: &[u8]) {
        match daemon() {
            Some(daemon) => daemon.script_loaded(path, application_group),
            None => _ = self.scripts.add_script(path, application_group),
        }
    }

    fn callable_found(&self, path: &[u8], application_group: &[u8], callable: &[u8]) {
        match daemon() {
            Some(daemon) => daemon.callable_found(path, application_group, callable),
            None => self.scripts.add_callable(path, application_group, callable),
        }
    }

    fn script_changed(&self, py: Python<'_>, path: &[u8]) -> ChangedScript {
        daemon().map_or_else(
            || ChangedScript::Keep(LoadedVersion::default()),
            |daemon| daemon.script_changed(py, path),
        )
    }

    fn import_failed(&self, py: Python<'_>, path: &[u8], application_group: &[u8], mtime: Option<i64>) {
        if let Some(daemon) = daemon() {
            daemon.import_failed(py, path, application_group, mtime);
        }
    }

    fn failed_script_wanted(&self, py: Python<'_>, path: &[u8], application_group: &[u8]) -> FailedScript {
        daemon().map_or(FailedScript::Reject(None), |daemon| {
            daemon.failed_script_wanted(py, path, application_group)
        })
    }

    fn thread_lost(&self) -> &'static str {
        daemon().map_or("the template cannot go on", |daemon| daemon.thread_lost())
    }
}
