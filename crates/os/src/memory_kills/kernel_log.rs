//! The kernel's log, which names the processes that are killed for lack of memory.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;

/// The log. Each read returns a record.
const PATH: &str = "/dev/kmsg";
/// The namespace whose process ids the log has: the system's first one.
const NAMESPACE: &str = "pid:[4026531836]";
/// The words before the id. The name of a process, which the log has, too, is shorter.
const WORDS: &[u8] = b": Killed process ";
/// More bytes than a record can have.
const LONGEST: usize = 8 << 10;
/// The number of records that are read at once: more than most logs can hold.
const MOST_RECORDS: usize = 100_000;
/// The number of killed processes that are remembered.
const MOST_KILLED: usize = 64;

/// The kernel's log from some moment on.
#[derive(Debug)]
pub(super) struct KernelLog {
    records: File,
    /// Processes that were killed, the oldest first.
    killed: Vec<i32>,
}

impl KernelLog {
    /// Opens the log at its end; `None` if this process may not read it, as in most containers.
    pub(super) fn open() -> Option<Self> {
        let is_own =
            fs::read_link("/proc/self/ns/pid").is_ok_and(|namespace| namespace == Path::new(NAMESPACE));
        let open = || File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(PATH);
        let mut records = is_own.then(open)?.ok()?;
        records.seek(SeekFrom::End(0)).ok()?;
        Some(Self { records, killed: Vec::new() })
    }

    /// Returns whether it says that a process was killed, once.
    pub(super) fn take(&mut self, pid: i32) -> bool {
        self.read();
        let found = self.killed.iter().position(|killed| *killed == pid);
        found.map(|at| self.killed.remove(at)).is_some()
    }

    /// Reads what has come.
    fn read(&mut self) {
        let mut record = [0; LONGEST];
        for _ in 0..MOST_RECORDS {
            match self.records.read(&mut record) {
                Ok(length @ 1..) => self.killed.extend(killed(&record[..length])),
                // Records that had not been read are gone.
                Err(error) if error.raw_os_error() == Some(Errno::EPIPE as i32) => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(_) | Err(_) => break,
            }
        }
        let more = self.killed.len().saturating_sub(MOST_KILLED);
        self.killed.drain(..more);
    }
}

/// Returns the process that a record says was killed.
fn killed(record: &[u8]) -> Option<i32> {
    let at = record.windows(WORDS.len()).position(|part| part == WORDS)?;
    let rest = &record[at + WORDS.len()..];
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok().filter(|_| rest[end..].starts_with(b" ("))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_a_process() {
        let record = b"3,1295,69641442280,-;Memory cgroup out of memory: Killed process 21349 (python3) total-vm:1049832kB";
        assert_eq!(killed(record), Some(21349));
        assert_eq!(killed(b"3,7,1,-;Out of memory: Killed process 7 (a), UID 1"), Some(7));
        for other in [
            &b"6,1,1,-;oom_reaper: reaped process 7 (a)"[..],
            b"x: Killed process 7",
            b"x: Killed process a (",
            b"",
        ] {
            assert_eq!(killed(other), None);
        }
    }

    #[test]
    fn a_process_is_found_once_wherever_the_log_can_be_read() {
        if let Some(mut log) = KernelLog::open() {
            log.killed.extend([5, 6]);
            assert_eq!([log.take(6), log.take(6), log.take(5)], [true, false, true]);
        }
    }
}
