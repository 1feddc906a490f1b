//! Starting programs, as another user if need be.
//!
//! Everything is prepared before the fork; what happens between fork and exec is in `child`. What
//! fails there comes back through a pipe, by step, so that a message can name the option and the
//! user that are to blame.
//!
//! [`Plan::spawn`] waits until the program runs. Who must not wait uses [`Plan::launch`]; and a
//! program that is made ready by another one, which looks up what may take long, ends with
//! [`Plan::exec`].

mod child;

use std::ffi::{CStr, CString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::descriptors::{self, Wait};
use crate::lock::lock;
use crate::process::{self, Child};

pub use child::{RECORD, failure};

/// The time that a process may take to become the program.
const LONGEST: Duration = Duration::from_secs(10);

/// Processes that took longer, and have not ended yet.
static LATE: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// A plan for the start of a program. The default starts nothing; give at least `programs`.
#[derive(Debug, Clone, Default)]
pub struct Plan<'a> {
    /// Paths of executables, tried in turn; each is its own `argv[0]`.
    pub programs: Vec<CString>,
    /// The executable itself, where it is open already (`O_PATH` is enough): it is what runs,
    /// whatever has become of its path. No script. `programs` then only has its `argv[0]`.
    pub executable: Option<BorrowedFd<'a>>,
    /// The arguments behind `argv[0]`.
    pub arguments: Vec<CString>,
    /// The whole environment, as `NAME=value`.
    pub environment: Vec<CString>,
    /// Descriptors that the program gets besides 0, 1 and 2: the number there, and which one here.
    /// All others that this process has are closed.
    pub kept: Vec<(RawFd, BorrowedFd<'a>)>,
    /// Becomes standard output and error; absent: those of this process. Standard input is always
    /// `/dev/null`.
    pub output: Option<BorrowedFd<'a>>,
    /// True if it leads a session and a process group of its own.
    pub is_session: bool,
    /// True if it is killed when the thread that starts it ends, until it wants otherwise
    /// (`PR_SET_PDEATHSIG`).
    pub is_bound: bool,
    /// Its nice value.
    pub priority: Option<i32>,
    /// Its root directory. `programs` and `directory` are inside.
    pub chroot: Option<CString>,
    /// The account to become.
    pub account: Option<Account>,
    /// Its working directory.
    pub directory: Option<CString>,
    /// Its file mode creation mask.
    pub umask: Option<u32>,
    /// Its resource limits.
    pub limits: Vec<Limit>,
}

/// A user and all groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// The whole group list.
    pub groups: Vec<u32>,
}

/// A resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The resource.
    pub resource: Resource,
    /// The value that the process is held to.
    pub soft: u64,
    /// The value up to which it may raise that.
    pub hard: u64,
}

/// A resource that can be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// CPU time in seconds.
    Cpu,
    /// Data in bytes.
    Data,
    /// Address space in bytes.
    AddressSpace,
    /// Size of a core dump in bytes.
    Core,
    /// Descriptors.
    Files,
}

/// A step on the way to the program, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Making the descriptors that a start needs.
    Prepare,
    /// Making the process.
    Fork,
    /// [`Plan::is_session`].
    Session,
    /// [`Plan::priority`]. Does not prevent the start.
    Priority,
    /// [`Plan::chroot`].
    Chroot,
    /// [`Account::gid`].
    Group,
    /// [`Account::groups`].
    Groups,
    /// [`Account::uid`].
    User,
    /// Making sure that no way leads back to the privileges.
    Verify,
    /// [`Plan::is_bound`].
    Bind,
    /// [`Plan::directory`].
    Directory,
    /// [`Plan::kept`], standard input and output.
    Descriptors,
    /// The default action for all signals, none of them blocked.
    Signals,
    /// The limit with this index. Does not prevent the start.
    Limit(usize),
    /// Doing all of this in time. A file system can take as long as it wants to let a process in,
    /// or run a program.
    Time,
    /// Starting the program with this index: the first that is there but cannot be started, or the
    /// last.
    Program(usize),
}

/// The failure of a step.
#[derive(Debug)]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// The cause.
    pub error: io::Error,
}

/// A started program.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub child: Child,
    /// Failures that did not prevent the start.
    pub warnings: Vec<Failure>,
}

/// A process that is to become a program.
#[derive(Debug)]
pub struct Launched {
    /// The process.
    pub child: Child,
    /// The pipe of its failures: [`io::ErrorKind::WouldBlock`] while there is none, the end when
    /// the program runs, or the process is gone.
    pub pipe: OwnedFd,
}

impl Plan<'_> {
    /// Starts the program; returns when it runs, or when that has failed (then no process is left,
    /// or it has been sent SIGKILL).
    ///
    /// # Errors
    /// See [`Step`].
    pub fn spawn(&self) -> Result<Started, Failure> {
        self.spawn_within(LONGEST)
    }

    /// Makes the process that becomes the program, and waits for nothing. To reap it is left to the
    /// caller, who has to [`reap`](process::reap) what it does not know, too: a process that it
    /// cannot be given is killed.
    ///
    /// Failures come through the pipe as records of [`RECORD`] bytes, see [`failure`]. The program
    /// gets the other end of the pipe under `number`, and may write to it what it wants; when it
    /// starts another program, or fails, the pipe ends.
    ///
    /// # Errors
    /// [`Step::Prepare`] or [`Step::Fork`]: there is no process.
    pub fn launch(&self, number: RawFd) -> Result<Launched, Failure> {
        let failure = |step: Step| move |error: io::Error| Failure { step, error };
        let (pipe, writer) = descriptors::pipe().map_err(failure(Step::Prepare))?;
        let mut plan = self.clone();
        plan.kept.push((number, writer.as_fd()));
        if let Some(error) = plan.problem() {
            return Err(failure(Step::Prepare)(error));
        }
        let input = File::open("/dev/null").map_err(failure(Step::Prepare))?;
        let report = child::Report::Pipe(writer.as_raw_fd());
        let mut job = child::Job::new(&plan, input.as_raw_fd(), report, std::process::id());
        let pid = child::fork(&mut job).map_err(failure(Step::Fork))?;
        let child = process::adopt_or_kill(pid, Child::open, Wait::Never).map_err(failure(Step::Fork))?;
        Ok(Launched { child, pipe })
    }

    /// Becomes the program; returns if that fails. By then this process may have lost its
    /// privileges, its root directory and its descriptors, and can only say so and end.
    /// [`Plan::is_bound`] binds it to the parent that it has.
    ///
    /// Failures that do not prevent the start are reported to `warn`, whose descriptors must not
    /// have numbers of [`Plan::kept`].
    pub fn exec(&self, warn: &mut dyn FnMut(Failure)) -> Failure {
        if let Some(error) = self.problem() {
            return Failure { step: Step::Prepare, error };
        }
        let input = match File::open("/dev/null") {
            Ok(input) => input,
            Err(error) => return Failure { step: Step::Prepare, error },
        };
        let parent = std::os::unix::process::parent_id();
        child::Job::new(self, input.as_raw_fd(), child::Report::Caller(warn), parent).execute_here()
    }

    fn spawn_within(&self, longest: Duration) -> Result<Started, Failure> {
        forget_late();
        let failure = |step: Step| move |error: io::Error| Failure { step, error };
        if let Some(error) = self.problem() {
            return Err(failure(Step::Prepare)(error));
        }
        let input = File::open("/dev/null").map_err(failure(Step::Prepare))?;
        let (mut reader, writer) = io::pipe().map_err(failure(Step::Prepare))?;
        let report = child::Report::Pipe(writer.as_raw_fd());
        let mut job = child::Job::new(self, input.as_raw_fd(), report, std::process::id());
        let pid = child::fork(&mut job).map_err(failure(Step::Fork))?;
        drop(writer);
        let child = process::adopt_or_kill(pid, Child::open, Wait::Allowed).map_err(failure(Step::Fork))?;
        let mut records = Vec::new();
        let has_read = read_all(&mut reader, &mut records, Instant::now() + longest);
        let mut failures: Vec<_> = records.chunks_exact(RECORD).filter_map(child::failure).collect();
        let fatal = match has_read {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let _ = child.signal(nix::sys::signal::Signal::SIGKILL);
                // A process that hangs in a file system may do so for ever, whatever the signal.
                lock(&LATE).push(child);
                return Err(Failure { step: Step::Time, error });
            }
            Err(error) => Some(Failure { step: Step::Prepare, error }),
            Ok(_) => {
                failures.iter().position(|failure| failure.step.is_fatal()).map(|at| failures.remove(at))
            }
        };
        match fatal {
            None => Ok(Started { child, warnings: failures }),
            Some(failure) => {
                // It is exiting by itself, unless the report could not be read.
                let _ = child.signal(nix::sys::signal::Signal::SIGKILL);
                let _ = child.wait();
                Err(failure)
            }
        }
    }

    /// Returns the error of a plan for which no process should be made.
    fn problem(&self) -> Option<io::Error> {
        let says = |text| Some(io::Error::new(io::ErrorKind::InvalidInput, text));
        let mut numbers: Vec<_> = self.kept.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        if numbers.iter().any(|&number| number < 3) || numbers.windows(2).any(|pair| pair[0] == pair[1]) {
            return says("a descriptor number is given twice, or is one of 0, 1 and 2");
        }
        if self.programs.is_empty() {
            return says("there is no program to start");
        }
        if self.account.as_ref().is_some_and(|account| account.uid == 0) {
            return says("privileges cannot be dropped to those of root");
        }
        None
    }
}

impl Step {
    /// Returns whether no program runs when this fails.
    #[must_use]
    pub const fn is_fatal(self) -> bool {
        !matches!(self, Self::Priority | Self::Limit(_))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare => "preparing a process",
            Self::Fork => "making a process",
            Self::Session => "making a session",
            Self::Priority => "setting the priority",
            Self::Chroot => "changing the root directory",
            Self::Group => "setting the group",
            Self::Groups => "setting the group list",
            Self::User => "setting the user",
            Self::Verify => "verifying that privileges are gone",
            Self::Bind => "binding it to its parent",
            Self::Directory => "changing the working directory",
            Self::Descriptors => "passing descriptors",
            Self::Signals => "resetting signals",
            Self::Limit(_) => "setting a resource limit",
            Self::Time => "waiting for the program to start",
            Self::Program(_) => "starting the program",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.error)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Reads until the end, which comes when the program runs or the process is gone;
/// [`io::ErrorKind::TimedOut`] if that is not in time.
fn read_all(reader: &mut io::PipeReader, records: &mut Vec<u8>, end: Instant) -> io::Result<()> {
    loop {
        // Rounded up, so that it is over then.
        let left = end.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(reader.as_fd(), PollFlags::POLLIN)], left) {
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => {}
        }
        let mut record = [0; 16 * RECORD];
        match reader.read(&mut record)? {
            0 => return Ok(()),
            count => records.extend_from_slice(&record[..count]),
        }
    }
}

/// Has the system forget those of the late processes that have ended.
fn forget_late() {
    // A process that somebody else has waited for is gone as well.
    lock(&LATE).retain(|child| matches!(child.try_wait(), Ok(None)));
}

/// Returns this process's environment, for [`Plan::environment`].
#[must_use]
pub fn own_environment() -> Vec<CString> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let entry = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let mut entry = name.into_vec();
        entry.push(b'=');
        entry.extend_from_slice(value.as_bytes());
        // The system's environment consists of C strings, so none is left out.
        CString::new(entry).ok()
    };
    std::env::vars_os().filter_map(entry).collect()
}

/// Returns the value of a variable in such an environment; of the last entry, if there are several.
#[must_use]
pub fn variable<'a>(environment: &'a [CString], name: &[u8]) -> Option<&'a CStr> {
    let value = |entry: &'a CString| {
        let value = entry.as_bytes_with_nul().strip_prefix(name)?.strip_prefix(b"=")?;
        CStr::from_bytes_with_nul(value).ok()
    };
    environment.iter().rev().find_map(value)
}

/// Sets a variable in such an environment.
pub fn set_variable(environment: &mut Vec<CString>, name: &[u8], value: &[u8]) {
    environment
        .retain(|entry| entry.as_bytes().strip_prefix(name).is_none_or(|rest| rest.first() != Some(&b'=')));
    // A text with a NUL byte cannot be in an environment; the configuration's parser refuses it.
    environment.extend(CString::new([name, b"=", value].concat()).ok());
}

#[cfg(test)]
mod tests;
