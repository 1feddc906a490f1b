//! Kills by the system for lack of memory, as it counts them.

mod kernel_log;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::file::read_at;
use kernel_log::KernelLog;

/// The count of processes that the system has killed for lack of memory: in the control group of this
/// process, or on the whole machine where there are no such groups.
///
/// The count does not say which process it was. If the kernel's log cannot be read, a process that has died
/// of SIGKILL right after the count rose is taken for it.
#[derive(Debug)]
pub struct MemoryKills {
    file: Option<File>,
    /// The system tells when the count rises.
    is_announced: bool,
    seen: u64,
    looked: Instant,
    /// Kills that were not taken, the oldest first.
    recent: VecDeque<Kill>,
    log: Option<KernelLog>,
}

/// A kill, between two looks at the count.
#[derive(Debug, Clone, Copy)]
struct Kill {
    since: Instant,
    until: Instant,
}

/// The evidence that a process which has died of SIGKILL was killed for lack of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Somebody else has killed it.
    None,
    /// It, or another process, was killed so some time before.
    Weak,
    /// The system says so, or has killed one at that moment.
    Strong,
}

/// The count of the whole machine.
const OF_MACHINE: &str = "/proc/vmstat";
/// The longest time from a kill until the end of the process is known: the system has to free its memory.
const LONGEST_END: Duration = Duration::from_secs(5);
/// The shortest time between two looks without a cause.
const INTERVAL: Duration = Duration::from_secs(1);
/// The number of kills that are remembered.
const MOST_KILLS: usize = 64;
/// More bytes than any file that has the count.
const LONGEST: usize = 16 << 10;

impl MemoryKills {
    /// Returns the count of this process's control group, from now on.
    #[must_use]
    pub fn of_this_process() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let files = files(&groups).into_iter().chain([PathBuf::from(OF_MACHINE)]);
        let mut counts = files.filter_map(|path| {
            let file = File::open(&path).ok()?;
            let is_announced =
                path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(EVENTS));
            Some((count(&file)?, file, is_announced))
        });
        match counts.next() {
            Some((seen, file, is_announced)) => Self::new(Some(file), is_announced, seen, KernelLog::open()),
            None => Self::new(None, false, 0, None),
        }
    }

    fn new(file: Option<File>, is_announced: bool, seen: u64, log: Option<KernelLog>) -> Self {
        Self { file, is_announced, seen, looked: Instant::now(), recent: VecDeque::new(), log }
    }

    /// Returns the descriptor to which something exceptional happens (`EPOLLPRI`) when the count rises;
    /// `None` where the system does not tell.
    #[must_use]
    pub fn announcements(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().filter(|_| self.is_announced).map(AsFd::as_fd)
    }

    /// Looks at the count when there is time, if that is of use: the more often, the better is known when it
    /// rises.
    pub fn look_now_and_then(&mut self, now: Instant) {
        let is_of_use = !self.is_announced && self.log.is_none();
        if is_of_use && now.saturating_duration_since(self.looked) >= INTERVAL {
            self.look(now);
        }
    }

    /// Looks at the count.
    pub fn look(&mut self, now: Instant) {
        let since = if self.is_announced { now } else { self.looked };
        self.looked = now;
        let Some(count) = self.file.as_ref().and_then(count) else { return };
        let risen = usize::try_from(count.saturating_sub(self.seen)).unwrap_or(usize::MAX).min(MOST_KILLS);
        self.seen = count;
        self.recent.extend(std::iter::repeat_n(Kill { since, until: now }, risen));
        let more = self.recent.len().saturating_sub(MOST_KILLS);
        self.recent.drain(..more);
    }

    /// Returns how much speaks for it that a process which has just died of SIGKILL was killed for lack of
    /// memory. A kill is taken once.
    #[must_use]
    pub fn take(&mut self, pid: i32, now: Instant) -> Evidence {
        self.look(now);
        let is_long_ago = |time: Instant| now.saturating_duration_since(time) > LONGEST_END;
        self.recent.retain(|kill| !is_long_ago(kill.until));
        if self.recent.is_empty() {
            return Evidence::None;
        }
        if self.log.as_mut().is_some_and(|log| !log.take(pid)) {
            return Evidence::None;
        }
        match self.recent.pop_front() {
            Some(kill) if self.log.is_none() && is_long_ago(kill.since) => Evidence::Weak,
            Some(_) => Evidence::Strong,
            None => Evidence::None,
        }
    }
}

/// The beginning of the names of files whose changes are announced.
const EVENTS: &[u8] = b"memory.events";

/// Returns the files that may have the count, best first, for a list of groups as in `cgroups(7)`.
fn files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let Ok([_, controllers, path]) = <[&str; 3]>::try_from(line.splitn(3, ':').collect::<Vec<_>>())
        else {
            continue;
        };
        let (mount, names): (_, &[&str]) = match controllers {
            // That of the group itself comes first: what is started here is not in groups below.
            "" => ("/sys/fs/cgroup", &["memory.events.local", "memory.events"]),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", &["memory.oom_control"])
            }
            _ => continue,
        };
        // A container may see only its own part of the hierarchy, under the path in the whole machine.
        for directory in [path.trim_start_matches('/'), ""] {
            files.extend(names.iter().map(|name| [mount, directory, name].iter().collect::<PathBuf>()));
        }
    }
    files
}

/// Returns the count that a file has now.
fn count(file: &File) -> Option<u64> {
    let (mut text, mut length) = (vec![0; LONGEST], 0);
    loop {
        match read_at(file, &mut text[length..], length as u64).ok()? {
            0 => break,
            more => length += more,
        }
    }
    parse(std::str::from_utf8(&text[..length]).ok()?)
}

/// Returns the count in the text of a file.
fn parse(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    #[test]
    fn the_count_is_that_of_the_control_group() {
        let paths =
            |groups| -> Vec<String> { files(groups).iter().map(|path| path.display().to_string()).collect() };
        assert_eq!(
            paths("0::/system.slice/apache2.service\n"),
            [
                "/sys/fs/cgroup/system.slice/apache2.service/memory.events.local",
                "/sys/fs/cgroup/system.slice/apache2.service/memory.events",
                "/sys/fs/cgroup/memory.events.local",
                "/sys/fs/cgroup/memory.events"
            ]
        );
        assert_eq!(
            paths("9:name=systemd:/\n4:cpu,memory:/a:b\n"),
            ["/sys/fs/cgroup/memory/a:b/memory.oom_control", "/sys/fs/cgroup/memory/memory.oom_control"]
        );
        assert!(paths("nonsense\n1:cpu:/\n").is_empty());
        assert_eq!(parse("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\n"), None);
    }

    /// Counts that a test writes.
    struct Stage {
        kills: MemoryKills,
        file: File,
        now: Instant,
    }

    impl Stage {
        fn new(is_announced: bool) -> Self {
            let file = tempfile::tempfile().unwrap();
            let kills = MemoryKills::new(Some(file.try_clone().unwrap()), is_announced, 5, None);
            let now = kills.looked;
            let mut stage = Self { kills, file, now };
            stage.write("5");
            stage
        }

        fn write(&mut self, count: &str) {
            self.file.set_len(0).unwrap();
            self.file.rewind().unwrap();
            self.file.write_all(format!("oom_kill {count}\n").as_bytes()).unwrap();
        }

        fn after(&mut self, seconds: u64) -> &mut Self {
            self.now += Duration::from_secs(seconds);
            self
        }

        fn take(&mut self) -> Evidence {
            self.kills.take(1, self.now)
        }
    }

    #[test]
    fn each_kill_is_taken_once() {
        let mut stage = Stage::new(false);
        assert_eq!(stage.take(), Evidence::None);
        stage.write("7");
        assert_eq!(
            [stage.after(2).take(), stage.take(), stage.take()],
            [Evidence::Strong, Evidence::Strong, Evidence::None]
        );
        stage.write("none");
        assert_eq!(stage.take(), Evidence::None, "it cannot be known");
        stage.write("8");
        assert_eq!(stage.take(), Evidence::Strong);
    }

    #[test]
    fn a_kill_of_long_ago_lends_no_name() {
        let mut stage = Stage::new(false);
        stage.write("6");
        stage.kills.look(stage.now);
        assert_eq!(stage.after(6).take(), Evidence::None);
        // Nobody has looked meanwhile: it may be of any time.
        stage.write("7");
        assert_eq!(stage.after(100).take(), Evidence::Weak);
        assert_eq!(stage.take(), Evidence::None);
    }

    #[test]
    fn a_rise_that_is_announced_has_just_been() {
        let mut stage = Stage::new(true);
        assert!(stage.kills.announcements().is_some() && Stage::new(false).kills.announcements().is_none());
        stage.after(100).write("6");
        assert_eq!(stage.take(), Evidence::Strong);
        stage.write("7");
        stage.kills.look(stage.now);
        assert_eq!(stage.after(6).take(), Evidence::None);
    }
}
