//! The kernel's data about processes.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::error::Error;

/// A process and all that come from it.
pub(crate) fn family(pid: u32) -> Result<Vec<u32>, Error> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&member) = family.get(next) {
        family.extend(children(member)?);
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
    fn this_process_is_alive() {
        let pid = std::process::id();
        assert_eq!(family(pid).unwrap()[0], pid);
        assert!(proportional_set_size(pid).unwrap() <= resident_set_size(pid).unwrap());
        assert!(threads(pid).unwrap() >= 1.0);
        assert!(!name(pid).unwrap().is_empty());
    }
}
