//! Between fork and exec: only calls that signal-safety(7) allows, no allocation, no lock, no
//! panic.

use std::ffi::{CString, c_char, c_int};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use super::{Account, Failure, Plan, Resource, Step};

/// The length of a record of a failure: a mark, step, detail, `errno`.
pub const RECORD: usize = 16;

/// The mark at the beginning of a record, which is the length of nothing.
const MARK: u32 = u32::MAX;

/// The receiver of failures.
pub(super) enum Report<'a> {
    /// Between fork and exec.
    Pipe(RawFd),
    /// In a process of its own, where more is allowed.
    Caller(&'a mut dyn FnMut(Failure)),
}

/// The data of the child process; all of its memory is there before the fork.
pub(super) struct Job<'a> {
    plan: &'a Plan<'a>,
    /// `argv`, whose first entry is set for each program.
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    /// Source, and number in the new program.
    moves: Vec<(RawFd, RawFd)>,
    /// [`Plan::executable`].
    executable: Option<RawFd>,
    report: Report<'a>,
    parent: u32,
}

impl<'a> Job<'a> {
    pub(super) fn new(plan: &'a Plan<'a>, input: RawFd, report: Report<'a>, parent: u32) -> Self {
        let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).collect::<Vec<_>>();
        let mut arguments = vec![ptr::null()];
        arguments.extend(pointers(&plan.arguments));
        arguments.push(ptr::null());
        let mut environment = pointers(&plan.environment);
        environment.push(ptr::null());
        let mut moves = vec![(input, 0)];
        if let Some(output) = plan.output {
            moves.extend([(output.as_raw_fd(), 1), (output.as_raw_fd(), 2)]);
        }
        moves.extend(plan.kept.iter().map(|(number, descriptor)| (descriptor.as_raw_fd(), *number)));
        let executable = plan.executable.map(|executable| executable.as_raw_fd());
        Self { plan, arguments, environment, moves, executable, report, parent }
    }

    /// Carries out the job; never returns.
    fn run(&mut self) -> ! {
        let Err((step, errno)) = self.steps();
        self.report_failure(step, errno);
        // SAFETY: it has no precondition.
        unsafe { libc::_exit(255) }
    }

    /// Becomes the program without a fork; returns if that fails.
    pub(super) fn execute_here(mut self) -> Failure {
        let Err((step, errno)) = self.steps();
        Failure { step, error: io::Error::from_raw_os_error(errno) }
    }

    /// Takes the steps, in the order of the contract.
    fn steps(&mut self) -> Result<std::convert::Infallible, (Step, c_int)> {
        let plan = self.plan;
        if plan.is_session {
            // SAFETY: it has no precondition.
            check(Step::Session, unsafe { libc::setsid() })?;
        }
        if let Some(priority) = plan.priority {
            // SAFETY: numbers only.
            self.warn(check(Step::Priority, unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, priority) }));
        }
        if let Some(root) = &plan.chroot {
            // SAFETY: C strings.
            let result = unsafe { libc::chroot(root.as_ptr()) | libc::chdir(c"/".as_ptr()) };
            check(Step::Chroot, result)?;
        }
        if let Some(account) = &plan.account {
            become_account(account)?;
        }
        if plan.is_bound {
            // After the change of user, which takes it back.
            self.bind()?;
        }
        if let Some(directory) = &plan.directory {
            // SAFETY: a C string.
            check(Step::Directory, unsafe { libc::chdir(directory.as_ptr()) })?;
        }
        if let Some(umask) = plan.umask {
            // SAFETY: a number.
            unsafe { libc::umask(umask) };
        }
        self.pass_descriptors()?;
        reset_signals()?;
        for (index, limit) in plan.limits.iter().enumerate() {
            let values = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
            // SAFETY: the structure is only read.
            let result = unsafe { libc::setrlimit(limit.resource.number(), &raw const values) };
            self.warn(check(Step::Limit(index), result));
        }
        Err(self.execute())
    }

    /// Binds the process to its parent: it dies with that from now on.
    fn bind(&self) -> Result<(), (Step, c_int)> {
        // SAFETY: numbers only.
        check(Step::Bind, unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
        // SAFETY: it has no precondition.
        let parent = unsafe { libc::getppid() };
        // It may have ended before; then nobody reads this either.
        if parent.cast_unsigned() == self.parent { Ok(()) } else { Err((Step::Bind, libc::ESRCH)) }
    }

    fn pass_descriptors(&mut self) -> Result<(), (Step, c_int)> {
        close_all_on_exec()?;
        // A number that is to be taken may be that of a source, or of the pipe: those are moved out
        // of the way first.
        let taken = self.moves.iter().filter(|(source, number)| source != number);
        let floor = taken.map(|(_, number)| *number).max().unwrap_or(0).max(2) + 1;
        // For a moment there are two of each.
        let before = raise_file_limit()?;
        if let Report::Pipe(pipe) = self.report {
            self.report = Report::Pipe(moved_up(pipe, floor)?);
        }
        if let Some(executable) = &mut self.executable {
            *executable = moved_up(*executable, floor)?;
        }
        for at in 0..self.moves.len() {
            let (source, number) = self.moves[at];
            if source == number {
                // SAFETY: numbers only.
                check(Step::Descriptors, unsafe { libc::fcntl(source, libc::F_SETFD, 0) })?;
            } else {
                self.moves[at].0 = moved_up(source, floor)?;
            }
        }
        for &(source, number) in &self.moves {
            if source != number {
                // SAFETY: numbers only.
                check(Step::Descriptors, unsafe { libc::dup2(source, number) })?;
            }
        }
        // SAFETY: the structure is only read.
        check(Step::Descriptors, unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const before) })
    }

    /// Returns only if no program can be started.
    fn execute(&mut self) -> (Step, c_int) {
        let plan = self.plan;
        let mut failure = (Step::Program(0), libc::ENOENT);
        if let Some(executable) = self.executable {
            self.arguments[0] = plan.programs.first().map_or(ptr::null(), |program| program.as_ptr());
            let (arguments, environment) = (self.arguments.as_ptr(), self.environment.as_ptr());
            // SAFETY: both lists are of C strings and end with a null pointer; the path is empty.
            unsafe {
                libc::syscall(
                    libc::SYS_execveat,
                    executable,
                    c"".as_ptr(),
                    arguments,
                    environment,
                    libc::AT_EMPTY_PATH,
                )
            };
            return (Step::Program(0), errno());
        }
        for (index, program) in plan.programs.iter().enumerate() {
            self.arguments[0] = program.as_ptr();
            // SAFETY: both lists are of C strings and end with a null pointer.
            unsafe { libc::execve(program.as_ptr(), self.arguments.as_ptr(), self.environment.as_ptr()) };
            if failure.1 == libc::ENOENT {
                failure = (Step::Program(index), errno());
            }
        }
        failure
    }

    fn warn(&mut self, result: Result<(), (Step, c_int)>) {
        if let Err((step, errno)) = result {
            self.report_failure(step, errno);
        }
    }

    fn report_failure(&mut self, step: Step, errno: c_int) {
        let pipe = match &mut self.report {
            Report::Pipe(pipe) => *pipe,
            Report::Caller(warn) => {
                return warn(Failure { step, error: io::Error::from_raw_os_error(errno) });
            }
        };
        let (number, detail) = step.to_numbers();
        let mut record = [0; RECORD];
        for (place, word) in record.chunks_exact_mut(4).zip([MARK, number, detail, errno.cast_unsigned()]) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        // SAFETY: the record outlives the call. A pipe takes so little whole.
        unsafe { libc::write(pipe, record.as_ptr().cast(), RECORD) };
    }
}

/// Forks. Returns the id of the new process, which carries out the job and never returns here.
pub(super) fn fork(job: &mut Job<'_>) -> io::Result<i32> {
    // No handler of this process may run in the new one.
    // SAFETY: signal sets are plain memory, filled before they are read.
    let before = unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    };
    // SAFETY: the new process has one thread, and `run` does only what is allowed there.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        job.run();
    }
    let error = io::Error::last_os_error();
    // SAFETY: the set that was there before.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    if pid > 0 { Ok(pid) } else { Err(error) }
}

/// Reads a record of a failure.
#[must_use]
pub fn failure(record: &[u8]) -> Option<Failure> {
    let word = |at: usize| Some(u32::from_ne_bytes(*record.get(4 * at..)?.first_chunk()?));
    if word(0)? != MARK {
        return None;
    }
    let step = Step::from_numbers(word(1)?, word(2)?)?;
    Some(Failure { step, error: io::Error::from_raw_os_error(word(3)?.cast_signed()) })
}

/// Groups before the user: afterwards there is no permission any more.
fn become_account(account: &Account) -> Result<(), (Step, c_int)> {
    let Account { uid, gid, groups } = account;
    // SAFETY: numbers, and a list with its length.
    unsafe {
        check(Step::Group, libc::setresgid(*gid, *gid, *gid))?;
        check(Step::Groups, libc::setgroups(groups.len(), groups.as_ptr()))?;
        check(Step::User, libc::setresuid(*uid, *uid, *uid))?;
    }
    let (mut users, mut own_groups) = ([0; 3], [0; 3]);
    let ([u1, u2, u3], [g1, g2, g3]) = (&mut users, &mut own_groups);
    // SAFETY: six words of this function's own.
    let is_known = unsafe { libc::getresuid(u1, u2, u3) == 0 && libc::getresgid(g1, g2, g3) == 0 };
    // SAFETY: a number. It has to fail.
    let is_back = unsafe { libc::setuid(0) == 0 || libc::seteuid(0) == 0 };
    if is_known && users == [*uid; 3] && own_groups == [*gid; 3] && !is_back {
        Ok(())
    } else {
        Err((Step::Verify, libc::EPERM))
    }
}

/// Marks everything from 3 on to be closed at exec; until then the pipe is needed.
fn close_all_on_exec() -> Result<(), (Step, c_int)> {
    // SAFETY: numbers only.
    if unsafe { libc::syscall(libc::SYS_close_range, 3, c_int::MAX, libc::CLOSE_RANGE_CLOEXEC) } == 0 {
        return Ok(());
    }
    // Linux before 5.11, or a filter of system calls.
    close_listed_on_exec().or_else(|_| close_possible_on_exec())
}

/// Marks the descriptors that the process's own directory lists: there may be a billion possible
/// ones.
fn close_listed_on_exec() -> Result<(), (Step, c_int)> {
    // SAFETY: a C string.
    let directory = unsafe {
        libc::open(c"/proc/self/fd".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC)
    };
    check(Step::Descriptors, directory)?;
    let mut result = Ok(());
    let mut buffer = [0_u8; 2048];
    loop {
        // SAFETY: the buffer is this function's own, and as long as the kernel is told.
        let count = unsafe {
            libc::syscall(libc::SYS_getdents64, directory, buffer.as_mut_ptr(), buffer.len()) as c_int
        };
        if count <= 0 {
            result = check(Step::Descriptors, count).and(result);
            break;
        }
        for number in Numbers(buffer.get(..count.unsigned_abs() as usize).unwrap_or_default()) {
            if number > 2 {
                // SAFETY: numbers only.
                let set = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
                result = check(Step::Descriptors, set).and(result);
            }
        }
    }
    // SAFETY: this function's own.
    unsafe { libc::close(directory) };
    result
}

/// The names in what `getdents64` gives, as numbers; 0 for those that are none.
struct Numbers<'a>(&'a [u8]);

impl Iterator for Numbers<'_> {
    type Item = RawFd;

    fn next(&mut self) -> Option<RawFd> {
        // A record: inode and offset, its length in two bytes, a byte for the type, the name up to
        // a NUL byte.
        const LENGTH: usize = 16;
        const NAME: usize = 19;
        let length = self.0.get(LENGTH..)?.first_chunk::<2>()?;
        let (record, rest) = self.0.split_at_checked(usize::from(u16::from_ne_bytes(*length)))?;
        self.0 = rest;
        let digits = record.get(NAME..)?.iter().take_while(|byte| byte.is_ascii_digit());
        Some(digits.fold(0, |number: RawFd, digit| {
            number.saturating_mul(10).saturating_add(RawFd::from(digit - b'0'))
        }))
    }
}

/// Marks all possible descriptors, where `/proc` is not mounted either.
fn close_possible_on_exec() -> Result<(), (Step, c_int)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a structure of this function's own.
    check(Step::Descriptors, unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    let end = c_int::try_from(limit.rlim_cur).unwrap_or(c_int::MAX);
    for number in 3..end {
        // SAFETY: numbers only. It fails where nothing is open.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Allows as many descriptors as possible; what was allowed before.
fn raise_file_limit() -> Result<libc::rlimit, (Step, c_int)> {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a structure of this function's own.
    check(Step::Descriptors, unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut before) })?;
    let most = libc::rlimit { rlim_cur: before.rlim_max, ..before };
    // SAFETY: the structure is only read.
    check(Step::Descriptors, unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const most) })?;
    Ok(before)
}

/// Returns a copy with a number from `floor` on, closed on exec.
fn moved_up(source: RawFd, floor: RawFd) -> Result<RawFd, (Step, c_int)> {
    // SAFETY: numbers only.
    let copy = unsafe { libc::fcntl(source, libc::F_DUPFD_CLOEXEC, floor) };
    check(Step::Descriptors, copy).map(|()| copy)
}

fn reset_signals() -> Result<(), (Step, c_int)> {
    // SAFETY: signal sets and actions are plain memory; all zeroes is the default action. It fails
    // for the signals that have no other action or belong to the C library.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        for signal in 1..=libc::SIGRTMAX() {
            libc::sigaction(signal, &raw const default, ptr::null_mut());
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        check(Step::Signals, libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()))
    }
}

fn check(step: Step, result: c_int) -> Result<(), (Step, c_int)> {
    if result < 0 { Err((step, errno())) } else { Ok(()) }
}

fn errno() -> c_int {
    // SAFETY: the address is the thread's own.
    unsafe { *libc::__errno_location() }
}

impl Resource {
    const fn number(self) -> libc::__rlimit_resource_t {
        match self {
            Self::Cpu => libc::RLIMIT_CPU,
            Self::Data => libc::RLIMIT_DATA,
            Self::AddressSpace => libc::RLIMIT_AS,
            Self::Core => libc::RLIMIT_CORE,
            Self::Files => libc::RLIMIT_NOFILE,
        }
    }
}

impl Step {
    /// Those that happen in the new process, in order.
    const IN_CHILD: [Self; 11] = [
        Self::Session,
        Self::Priority,
        Self::Chroot,
        Self::Group,
        Self::Groups,
        Self::User,
        Self::Verify,
        Self::Bind,
        Self::Directory,
        Self::Descriptors,
        Self::Signals,
    ];

    fn to_numbers(self) -> (u32, u32) {
        match self {
            Self::Limit(index) => (100, index as u32),
            Self::Program(index) => (101, index as u32),
            step => (Self::IN_CHILD.iter().position(|there| *there == step).unwrap_or(99) as u32, 0),
        }
    }

    fn from_numbers(number: u32, detail: u32) -> Option<Self> {
        match number {
            100 => Some(Self::Limit(detail as usize)),
            101 => Some(Self::Program(detail as usize)),
            _ => Self::IN_CHILD.get(number as usize).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use nix::fcntl::{FcntlArg, fcntl};

    use super::*;
    use crate::process::Exit;

    #[test]
    fn all_that_is_open_is_found() {
        let files: Vec<OwnedFd> = (0..200)
            .map(|_| {
                let file = std::fs::File::open("/dev/null").unwrap().into();
                crate::descriptors::keep_over_exec(&file, true).unwrap();
                file
            })
            .collect();
        let closed = || {
            let flags = files.iter().map(|file| fcntl(file, FcntlArg::F_GETFD).unwrap_or(-1));
            flags.filter(|flags| *flags == libc::FD_CLOEXEC).count()
        };
        assert_eq!(closed(), 0);
        // In a process of its own: other tests would notice.
        // SAFETY: it makes system calls, and no others.
        match unsafe { libc::fork() } {
            0 => {
                let is_done = close_listed_on_exec().is_ok() && closed() == 200;
                // SAFETY: it has no precondition.
                unsafe { libc::_exit(i32::from(!is_done)) }
            }
            pid => assert_eq!(crate::process::Child::open(pid).unwrap().wait().unwrap(), Exit::Status(0)),
        }
    }
}
