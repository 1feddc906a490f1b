//! The processes of a server, as Linux shows them.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::Server;

impl Server {
    /// The Apache children.
    #[must_use]
    pub fn children(&self) -> Vec<u32> {
        let children = Process(self.pid()).children();
        children.into_iter().filter(|child| !self.is_other(*child)).map(|child| child.0).collect()
    }

    /// Asserts that none of `children` has ended. There may be more: prefork starts spare ones.
    ///
    /// # Panics
    /// One has ended.
    #[track_caller]
    pub fn assert_live(&self, children: &[u32]) {
        let live = self.children();
        assert!(children.iter().all(|child| live.contains(child)), "{children:?}, of which live {live:?}");
    }

    /// Our supervisors of daemon processes: one, and during restarts also that of the generation
    /// before. The original has none.
    #[must_use]
    pub fn supervisors(&self) -> Vec<Process> {
        if self.target().is_reference() {
            return Vec::new();
        }
        let children = Process(self.pid()).children();
        children.into_iter().filter(|child| self.is_other(*child)).collect()
    }

    /// The daemon processes.
    #[must_use]
    pub fn daemons(&self) -> Vec<Process> {
        if self.target().is_reference() {
            let children = Process(self.pid()).children();
            return children.into_iter().filter(|child| self.is_other(*child)).collect();
        }
        let started = self.supervisors().into_iter().flat_map(Process::children);
        started.filter(|process| !process.is_exporter()).collect()
    }

    /// The exporters of OpenTelemetry: one, and during restarts also that of the generation before.
    #[must_use]
    pub fn exporters(&self) -> Vec<Process> {
        let started = self.supervisors().into_iter().flat_map(Process::children);
        started.filter(|process| process.is_exporter()).collect()
    }

    /// Returns whether a process that the parent has started is none of Apache's own children.
    fn is_other(&self, process: Process) -> bool {
        if self.target().is_reference() {
            // It looks like Apache, but for its name (`display-name=`).
            return process.command_line().starts_with("(wsgi:");
        }
        process.read("comm").trim() == "supervisor"
    }
}

/// A process, by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process(pub u32);

impl Process {
    fn is_exporter(self) -> bool {
        self.read("comm").trim() == "exporter"
    }

    /// Those that it has started and that have not been waited for.
    #[must_use]
    pub fn children(self) -> Vec<Self> {
        let tasks = fs::read_dir(self.path("task")).into_iter().flatten().flatten();
        let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let words: Vec<_> =
            lists.flat_map(|list| list.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
        words.iter().filter_map(|word| word.trim().parse().ok().map(Self)).collect()
    }

    /// Returns whether it lives. A dead one that nobody has waited for does not.
    #[must_use]
    pub fn is_alive(self) -> bool {
        self.state().is_some_and(|state| state != 'Z' && state != 'X')
    }

    /// Its program and arguments, separated by blanks.
    #[must_use]
    pub fn command_line(self) -> String {
        self.read("cmdline").replace('\0', " ").trim_end().to_owned()
    }

    /// A line of its status, such as that of `Uid`, without the name; fields are separated by tabs
    /// or blanks.
    #[must_use]
    pub fn status(self, name: &str) -> String {
        let text = self.read("status");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Returns its open descriptors, each with the file that it leads to.
    #[must_use]
    pub fn descriptors(self) -> Vec<(u32, PathBuf)> {
        let entries = fs::read_dir(self.path("fd")).into_iter().flatten().flatten();
        let pairs = entries.filter_map(|entry| {
            let number = entry.file_name().to_string_lossy().parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?))
        });
        pairs.collect()
    }

    /// Returns whether a signal has been sent to it that it has not taken yet.
    #[must_use]
    pub fn has_pending(self, signal: Signal) -> bool {
        let bit = 1_u64 << (signal as i32 - 1);
        let masks = ["SigPnd", "ShdPnd"].map(|name| u64::from_str_radix(&self.status(name), 16));
        masks.into_iter().flatten().any(|mask| mask & bit != 0)
    }

    /// Returns the TCP sockets on which it listens, as [`descriptors`](Self::descriptors) names
    /// them.
    #[must_use]
    pub fn listening_sockets(self) -> Vec<PathBuf> {
        let tables = ["net/tcp", "net/tcp6"].map(|table| self.read(table)).concat();
        let rows = tables.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        // State and inode.
        let listening = rows.filter(|row| row.get(3) == Some(&"0A")).filter_map(|row| row.get(9).copied());
        let names: Vec<_> = listening.map(|inode| PathBuf::from(format!("socket:[{inode}]"))).collect();
        self.descriptors().into_iter().map(|(_, target)| target).filter(|path| names.contains(path)).collect()
    }

    /// A file of it below `/proc`; empty if there is none.
    #[must_use]
    pub fn read(self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    /// A path of it below `/proc`.
    #[must_use]
    pub fn path(self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.0).into()
    }

    /// The state of its first thread, as Linux writes it.
    fn state(self) -> Option<char> {
        self.after_name().chars().next()
    }

    /// Returns the time of its start in ticks since that of the system, which makes an id unique.
    fn start(self) -> Option<u64> {
        self.after_name().split(' ').nth(19)?.parse().ok()
    }

    /// The fields of its `stat` line behind its name.
    fn after_name(self) -> String {
        self.read("stat").rsplit_once(") ").map(|(_, rest)| rest.to_owned()).unwrap_or_default()
    }
}

/// Sends a signal. A process that has ended, as those may that were listed before, needs none.
///
/// # Panics
/// It cannot be sent.
#[track_caller]
pub fn signal(process: Process, signal: Signal) {
    let sent = i32::try_from(process.0).map(|pid| nix::sys::signal::kill(Pid::from_raw(pid), signal));
    let is_done = matches!(sent, Ok(Ok(()) | Err(Errno::ESRCH)));
    assert!(is_done, "cannot send {signal} to {process:?}: {sent:?}");
}

/// Processes that can be told from others which have their ids later.
pub(crate) struct Known(Vec<(Process, u64)>);

impl Known {
    pub(crate) fn of(processes: &[Process]) -> Self {
        Self(processes.iter().filter_map(|process| Some((*process, process.start()?))).collect())
    }

    /// Those that still run, after a moment in which they may end.
    pub(crate) fn left(&self) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let runs =
                |&&(process, start): &&(Process, u64)| process.is_alive() && process.start() == Some(start);
            let left: Vec<_> = self.0.iter().filter(runs).collect();
            if left.is_empty() || Instant::now() > deadline {
                let shown =
                    left.iter().map(|(process, _)| format!("{} {}", process.0, process.command_line()));
                return shown.collect();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The states, of a Linux task, of one that does nothing.
const ASLEEP: [&str; 3] = ["S", "I", "Z"];

/// Returns whether a thread of a process is at work, as far as its threads can be looked at.
pub(crate) fn is_busy(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let states = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    states
        .filter_map(|line| Some(line.rsplit_once(") ")?.1.split_once(' ')?.0.to_owned()))
        .any(|state| !ASLEEP.contains(&state.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_seen() {
        let me = Process(std::process::id());
        assert!(me.is_alive() && me.start().is_some());
        assert!(me.command_line().contains("e2e"), "{}", me.command_line());
        assert_eq!(me.status("Pid"), me.0.to_string());
        assert!(me.descriptors().iter().any(|(number, _)| *number == 1));
        assert_eq!(Known::of(&[Process(u32::MAX)]).0, []);
    }
}
