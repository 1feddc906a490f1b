//! The kernel's data about processes.

use std::fs;
use std::io;
use std::path::PathBuf;

use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::error::Error;

/// A process and all that come from it.
pub(crate) fn family(pid: u32) -> Result<Vec<u32>, Error> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&member) = family.get(next) {
        match children(member) {
            Ok(children) => family.extend(children),
            // It has ended since it was seen.
            Err(_) if next > 0 => {}
            Err(error) => return Err(error),
        }
        next += 1;
    }
    Ok(family)
}

/// The children of a process that has one thread.
pub(crate) fn children(pid: u32) -> Result<Vec<u32>, Error> {
    let text = read(pid, &format!("task/{pid}/children"))?.1;
    Ok(text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
}

/// The name of its program.
pub(crate) fn name(pid: u32) -> Result<String, Error> {
    Ok(read(pid, "comm")?.1.trim_end().to_owned())
}

/// Its proportional set size (shared pages are divided among those who share them), in KB.
pub(crate) fn proportional_set_size(pid: u32) -> Result<f64, Error> {
    figure(pid, "smaps_rollup", "Pss")
}

/// Its resident set size (shared pages count as its own), in KB.
pub(crate) fn resident_set_size(pid: u32) -> Result<f64, Error> {
    figure(pid, "status", "VmRSS")
}

pub(crate) fn threads(pid: u32) -> Result<f64, Error> {
    figure(pid, "status", "Threads")
}

/// The processor time that a process and all that come from it have had, since they began.
///
/// A process has a clock, which its ended threads have driven, too (their own files in /proc are
/// gone with them); and what its children that have ended had is its to keep, if only to a
/// hundredth of a second.
pub(crate) fn processor_time(pid: u32) -> Duration {
    // One that has just ended is counted by its parent.
    let members = family(pid).unwrap_or_default();
    members.into_iter().filter_map(|member| Some(clock(member)? + ended_children(member)?)).sum()
}

fn clock(pid: u32) -> Option<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(pid).ok()?)).ok()?;
    clock_gettime(clock).ok().map(Duration::from)
}

fn ended_children(pid: u32) -> Option<Duration> {
    parse_ended_children(&read(pid, "stat").ok()?.1)
}

/// Reads the fields cutime and cstime.
fn parse_ended_children(stat: &str) -> Option<Duration> {
    // The unit of /proc on every Linux.
    const TICK: Duration = Duration::from_millis(10);
    // The name, in brackets, may contain anything.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u32>().ok();
    Some(TICK * (ticks(13)? + ticks(14)?))
}

fn figure(pid: u32, file: &str, name: &str) -> Result<f64, Error> {
    let (path, text) = read(pid, file)?;
    parse(&text, name)
        .ok_or_else(|| Error::File { path, source: io::Error::other(format!("no line `{name}:`")) })
}

fn parse(text: &str, name: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.trim();
    value.strip_suffix(" kB").unwrap_or(value).parse().ok()
}

fn read(pid: u32, file: &str) -> Result<(PathBuf, String), Error> {
    let path = PathBuf::from(format!("/proc/{pid}/{file}"));
    match fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(source) => Err(Error::File { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_line_of_that_name() {
        let text =
            "00400000-7ffd [rollup]\nRss:   9000 kB\nPss:       4321 kB\nPss_Dirty:  1 kB\nThreads:\t7\n";
        assert_eq!(parse(text, "Pss"), Some(4321.0));
        assert_eq!(parse(text, "Threads"), Some(7.0));
        assert_eq!(parse("Rss: 1 kB\nPss_Dirty: 1 kB\n", "Pss"), None);
    }

    #[test]
    fn time_of_ended_children_is_read_behind_the_name() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 1 2 3 4 50 60 7 8 20 0 1 0 1 2 3";
        assert_eq!(parse_ended_children(stat), Some(Duration::from_millis(150)));
        assert_eq!(parse_ended_children("12 (a) S 1"), None);
    }

    #[test]
    fn time_of_ended_threads_and_processes_counts() {
        let spin = || {
            let begin = std::time::Instant::now();
            while begin.elapsed() < Duration::from_millis(50) {}
        };
        let before = processor_time(std::process::id());
        std::thread::spawn(spin).join().unwrap();
        let after_thread = processor_time(std::process::id());
        // On a busy machine, 50 ms of time are less of a processor's.
        assert!(after_thread > before);
        let script = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done";
        std::process::Command::new("sh").args(["-c", script]).status().unwrap();
        assert!(processor_time(std::process::id()) >= after_thread + Duration::from_millis(10));
    }

    #[test]
    fn this_process_is_alive() {
        let pid = std::process::id();
        assert_eq!(family(pid).unwrap()[0], pid);
        assert!(proportional_set_size(pid).unwrap() <= resident_set_size(pid).unwrap());
        assert!(threads(pid).unwrap() >= 1.0);
        assert!(!name(pid).unwrap().is_empty());
    }
}
