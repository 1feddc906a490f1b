//! Child processes, by descriptor: an id that is used again cannot be mistaken for them.

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::c_int;
pub use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::descriptors::Wait;

/// A child process. Its descriptor becomes readable when it ends. Dropping this leaves it alone.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    descriptor: OwnedFd,
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With a status.
    Status(u8),
    /// By a signal, perhaps with a core dump.
    Signal(u8, bool),
    /// By the system, which had no memory left for its control group: SIGKILL, too. `waitpid` does not
    /// tell it from others; see [`crate::memory_kills`].
    OutOfMemory,
    /// By SIGKILL, of the system's or somebody else's: the system had no memory left for some process, and it
    /// is not known for which one.
    PerhapsOutOfMemory,
}

impl Child {
    /// Opens a child process that has not been waited for.
    ///
    /// # Errors
    /// There is no such process, or no descriptor left.
    pub fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: the call takes no memory; the descriptor is new, and closed on exec.
        let descriptor = unsafe {
            let descriptor = libc::syscall(libc::SYS_pidfd_open, pid, 0);
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(descriptor as c_int)
        };
        Ok(Self { pid, descriptor })
    }

    /// Opens a child process that this process has not forked itself, but inherits.
    ///
    /// # Errors
    /// There is no such process, it is no child, or there is no descriptor left.
    pub fn adopt(pid: i32) -> io::Result<Self> {
        let child = Self::open(pid)?;
        // One that is no child cannot be waited for.
        child.wait_with(libc::WNOHANG | libc::WNOWAIT).map(|_| child)
    }

    /// Returns its process id.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended, or runs as somebody else.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let (descriptor, none) = (self.descriptor.as_raw_fd(), ptr::null::<libc::siginfo_t>());
        // SAFETY: a descriptor that this value owns; no memory is passed.
        let result =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, descriptor, signal as c_int, none, 0) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Returns its end; `None` if it still runs. The system then forgets the process.
    ///
    /// # Errors
    /// Somebody else has waited for it.
    pub fn try_wait(&self) -> io::Result<Option<Exit>> {
        self.wait_with(libc::WNOHANG)
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// As [`try_wait`](Self::try_wait).
    pub fn wait(&self) -> io::Result<Exit> {
        loop {
            match self.wait_with(0) {
                Ok(Some(exit)) => return Ok(exit),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(None) | Err(_) => {}
            }
        }
    }

    fn wait_with(&self, flags: c_int) -> io::Result<Option<Exit>> {
        let id = self.descriptor.as_raw_fd() as libc::id_t;
        // SAFETY: waitid writes one whole structure, of which all zeroes is a value: that of a
        // process that still runs.
        let (result, info) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            (libc::waitid(libc::P_PIDFD, id, &raw mut info, libc::WEXITED | flags), info)
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: waitid fills these fields, or left them 0.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        Ok((pid != 0).then_some(match info.si_code {
            libc::CLD_EXITED => Exit::Status(status as u8),
            code => Exit::Signal(status as u8, code == libc::CLD_DUMPED),
        }))
    }
}

/// Returns the name of a signal, such as `SIGSEGV`; `other` if it has none.
#[must_use]
pub fn signal_name(number: u8) -> String {
    Signal::try_from(c_int::from(number))
        .map_or_else(|_| "other".to_owned(), |signal| signal.as_str().to_owned())
}

/// Checks whether the kernel can wait for processes by descriptor.
///
/// # Errors
/// It cannot ([`io::ErrorKind::Unsupported`]), or there is no descriptor left.
pub fn check_kernel() -> io::Result<()> {
    let unsupported = || io::Error::new(io::ErrorKind::Unsupported, "Linux 5.4 or later is needed");
    let own = Child::open(std::process::id().cast_signed());
    let own =
        own.map_err(|error| if error.raw_os_error() == Some(libc::ENOSYS) { unsupported() } else { error })?;
    // A process is no child of its own, which the kernel says only if it knows this way to name
    // one.
    match own.try_wait() {
        Err(error) if error.raw_os_error() != Some(libc::ECHILD) => Err(unsupported()),
        _ => Ok(()),
    }
}

/// Takes charge of a process that was just forked. If that fails, the process is ended, since
/// nobody else knows of it; and it is forgotten, if that may wait.
pub(crate) fn adopt_or_kill(
    pid: i32,
    open: impl FnOnce(i32) -> io::Result<Child>,
    wait: Wait,
) -> io::Result<Child> {
    open(pid).inspect_err(|_| {
        let pid = nix::unistd::Pid::from_raw(pid);
        // It is this process's child and has not been waited for, so the id is its own.
        let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
        let flags = (wait == Wait::Never).then_some(WaitPidFlag::WNOHANG);
        while nix::sys::wait::waitpid(pid, flags) == Err(nix::errno::Errno::EINTR) {}
    })
}

/// A child that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// One that `is_known`: whoever knows it has to wait for it, or it is found again.
    Known(i32),
    /// Another one, which the system has forgotten now.
    Forgotten,
}

/// Looks for a child that has ended; `None` if there is none now.
///
/// # Errors
/// There is no child at all.
pub fn reap(is_known: impl FnOnce(i32) -> bool) -> io::Result<Option<Ended>> {
    // SAFETY: waitid writes one whole structure, of which all zeroes is a value.
    let (result, info) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        (libc::waitid(libc::P_ALL, 0, &raw mut info, flags), info)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: waitid has filled this field, or left it 0.
    let pid = unsafe { info.si_pid() };
    if pid == 0 {
        return Ok(None);
    }
    if is_known(pid) {
        return Ok(Some(Ended::Known(pid)));
    }
    // It has ended, so this does not wait.
    let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
    Ok(Some(Ended::Forgotten))
}

/// Returns the ids of this process's children that have not been waited for, as far as the system
/// tells.
#[must_use]
pub fn children() -> Vec<i32> {
    children_in("/proc/self/task")
}

/// Returns the ids of the children of a process, as [`children`] those of this one.
#[must_use]
pub fn children_of(pid: i32) -> Vec<i32> {
    children_in(&format!("/proc/{pid}/task"))
}

fn children_in(tasks: &str) -> Vec<i32> {
    let tasks = std::fs::read_dir(tasks).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Has the processes that descendants of this one leave behind become children of this one, instead
/// of the system's first.
///
/// # Errors
/// The kernel refuses.
pub fn become_reaper() -> io::Result<()> {
    // SAFETY: numbers only.
    match unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has the kernel send this process a signal when its parent ends, or none.
///
/// # Errors
/// The kernel refuses.
pub fn end_with_parent(signal: Option<Signal>) -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(signal)?)
}

/// Sets the name of this process, of which `ps` and `top` show 15 bytes.
///
/// # Errors
/// The kernel refuses.
pub fn set_name(name: &CStr) -> io::Result<()> {
    Ok(nix::sys::prctl::set_name(name)?)
}

/// Returns whether a child process has not ended yet. One that has, and has not been waited for,
/// can still be waited for afterwards.
#[must_use]
pub fn is_running(pid: i32) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    matches!(waitid(Id::Pid(Pid::from_raw(pid)), flags), Ok(WaitStatus::StillAlive))
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The status of a process that the system has killed for lack of memory.
const OUT_OF_MEMORY: u32 = 1 << 16 | libc::SIGKILL as u32;
/// The status of one that it may have killed so.
const PERHAPS_OUT_OF_MEMORY: u32 = 1 << 17 | libc::SIGKILL as u32;

impl Exit {
    /// Parses a status as `waitpid` gives it, or as [`status`](Self::status) does.
    #[must_use]
    pub const fn from_status(status: u32) -> Self {
        match status & 0x7f {
            _ if status == OUT_OF_MEMORY => Self::OutOfMemory,
            _ if status == PERHAPS_OUT_OF_MEMORY => Self::PerhapsOutOfMemory,
            0 => Self::Status((status >> 8) as u8),
            signal => Self::Signal(signal as u8, status & 0x80 != 0),
        }
    }

    /// Returns the status as `waitpid` gives it, with one more bit if the system had no memory, another if it may
    /// have had none.
    #[must_use]
    pub const fn status(self) -> u32 {
        match self {
            Self::Status(status) => (status as u32) << 8,
            Self::Signal(signal, has_dumped) => signal as u32 | if has_dumped { 0x80 } else { 0 },
            Self::OutOfMemory => OUT_OF_MEMORY,
            Self::PerhapsOutOfMemory => PERHAPS_OUT_OF_MEMORY,
        }
    }

    /// Returns the signal that has ended it; `None` if it ended by itself.
    #[must_use]
    pub const fn signal(self) -> Option<u8> {
        match self {
            Self::Status(_) => None,
            Self::Signal(signal, _) => Some(signal),
            Self::OutOfMemory | Self::PerhapsOutOfMemory => Some(libc::SIGKILL as u8),
        }
    }

    /// Returns whether it ended by itself with status 0.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Status(0))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Signal(number, has_dumped) => {
                match Signal::try_from(c_int::from(number)) {
                    Ok(signal) => write!(f, "signal {number} ({signal})")?,
                    Err(_) => write!(f, "signal {number}")?,
                }
                f.write_str(if has_dumped { ", core dumped" } else { "" })
            }
            Self::OutOfMemory => {
                f.write_str("signal 9 (SIGKILL), from the system, which has no memory left for it")
            }
            Self::PerhapsOutOfMemory => f.write_str(
                "signal 9 (SIGKILL), perhaps from the system, which had no memory left for this or another process",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[expect(clippy::zombie_processes, reason = "the tests wait for it by its descriptor")]
    fn shell(script: &str) -> Child {
        let child = Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
        Child::open(child.id() as i32).unwrap()
    }

    #[test]
    fn how_a_process_ended_is_known() {
        let child = shell("exit 7");
        assert_eq!(child.wait().unwrap(), Exit::Status(7));
        assert!(child.try_wait().is_err(), "it is forgotten");
        assert!(child.signal(Signal::SIGTERM).is_err());

        let child = shell("exec sleep 60");
        assert_eq!(child.try_wait().unwrap(), None);
        child.signal(Signal::SIGKILL).unwrap();
        assert_eq!(child.wait().unwrap(), Exit::Signal(9, false));
    }

    #[test]
    fn only_a_child_can_be_adopted() {
        let child = shell("exit 3");
        while is_running(child.pid()) {
            std::thread::yield_now();
        }
        let adopted = Child::adopt(child.pid()).unwrap();
        assert_eq!(adopted.wait().unwrap(), Exit::Status(3), "it was not waited for before");
        assert!(Child::adopt(child.pid()).is_err() && Child::adopt(1).is_err());
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "that it is waited for is what is tested")]
    fn an_unmanageable_process_is_not_left() {
        let child = Command::new("/bin/sleep").arg("600").spawn().unwrap();
        let pid = child.id() as i32;
        assert!(adopt_or_kill(pid, |_| Err(io::ErrorKind::Other.into()), Wait::Allowed).is_err());
        assert!(Child::open(pid).is_err(), "it still exists");
    }

    #[test]
    fn the_kernel_is_checked() {
        // On an older kernel, all other tests fail as well.
        check_kernel().unwrap();
    }

    #[test]
    fn a_running_child_is_seen_without_waiting() {
        let child = shell("exec sleep 60");
        assert!(is_running(child.pid()));
        child.signal(Signal::SIGKILL).unwrap();
        while is_running(child.pid()) {
            std::thread::yield_now();
        }
        assert_eq!(child.wait().unwrap(), Exit::Signal(9, false), "it was not waited for before");
        assert!(!is_running(child.pid()) && !is_running(1));
    }

    #[test]
    fn an_exit_reads_well_and_comes_back() {
        for (exit, text) in [
            (Exit::Status(0), "exit status 0"),
            (Exit::Status(255), "exit status 255"),
            (Exit::Signal(11, true), "signal 11 (SIGSEGV), core dumped"),
            (Exit::Signal(9, false), "signal 9 (SIGKILL)"),
            (Exit::Signal(40, false), "signal 40"),
            (Exit::OutOfMemory, "signal 9 (SIGKILL), from the system, which has no memory left for it"),
            (
                Exit::PerhapsOutOfMemory,
                "signal 9 (SIGKILL), perhaps from the system, which had no memory left for this or another process",
            ),
        ] {
            assert_eq!(exit.to_string(), text);
            assert_eq!(Exit::from_status(exit.status()), exit);
        }
        assert!(Exit::Status(0).is_success() && !Exit::Signal(9, false).is_success());
    }
}
