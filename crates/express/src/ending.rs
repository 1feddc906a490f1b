//! The end of this program by a signal: the programs that it has started for an answer end with it.
//!
//! A terminal sends its signals to all of them, but nobody else does; and what an application starts
//! while it is tried has a session of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use os::lock::lock;
use os::process::{children, children_of, is_running};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::{emulate_default_handler, exit};

/// The signals that end this process.
const SIGNALS: [i32; 4] = [SIGTERM, SIGINT, SIGQUIT, SIGHUP];

/// The time that programs have to end that were killed. A file system may hold them, whatever the
/// signal.
const LONGEST: Duration = Duration::from_secs(2);

/// The interval of looks at whether they have.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// Held while a program is started. The end takes it and keeps it: nothing is started any more.
static STARTING: Mutex<()> = Mutex::new(());

/// True once a thread watches for the signals.
static IS_WATCHED: Mutex<bool> = Mutex::new(false);

/// True while the signals end this process; not once it only passes them on.
static ENDS: AtomicBool = AtomicBool::new(true);

/// Directories to remove at the end.
static SCRATCH: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Starts a program that is ended when a signal ends this process.
///
/// # Errors
/// It cannot be started.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    // Without a thread, the signals end this process alone.
    let _ = watch();
    let _starting = lock(&STARTING);
    command.spawn()
}

/// Has the signals end this process with all programs that it has started. Those that it was started
/// to ignore (`nohup`) are ignored.
///
/// # Errors
/// There is no thread or no descriptor left.
pub(crate) fn watch() -> io::Result<()> {
    let mut is_watched = lock(&IS_WATCHED);
    if *is_watched {
        return Ok(());
    }
    let (sender, receiver) = sync_channel(1);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let ignored = ignored();
        let mut signals =
            match Signals::new(SIGNALS.iter().filter(|signal| ignored >> (*signal - 1) & 1 == 0)) {
                Ok(signals) => signals,
                Err(error) => return drop(sender.send(Err(error))),
            };
        drop(sender.send(Ok(())));
        for signal in signals.forever() {
            if ENDS.load(Ordering::SeqCst) {
                end(signal);
            }
        }
    })?;
    receiver.recv().unwrap_or_else(|_| Err(io::Error::other("the thread has ended")))?;
    *is_watched = true;
    Ok(())
}

/// Leaves the signals to others, from now on.
pub(crate) fn leave_signals() {
    ENDS.store(false, Ordering::SeqCst);
}

/// Waits for the end if it has begun: what programs say that were ended with this one means nothing.
pub(crate) fn wait_if_begun() {
    // It is locked for moments only, but at the end.
    drop(lock(&STARTING));
}

/// Has a directory removed at the end, if a signal brings it.
pub(crate) fn add_scratch(directory: &Path) {
    lock(&SCRATCH).push(directory.to_owned());
}

/// Removes such a directory now. What is left of it is in a directory for such things.
pub(crate) fn remove_scratch(directory: &Path) {
    lock(&SCRATCH).retain(|other| other != directory);
    let _ = fs::remove_dir_all(directory);
}

/// Ends this process as the signal does, after the programs that it has started.
fn end(signal: i32) {
    let _starting = lock(&STARTING);
    let start = Instant::now();
    loop {
        let running: Vec<i32> = children().into_iter().filter(|pid| is_running(*pid)).collect();
        if running.is_empty() || start.elapsed() >= LONGEST {
            break;
        }
        running.into_iter().for_each(end_with_descendants);
        thread::sleep(BETWEEN_LOOKS);
    }
    for directory in lock(&SCRATCH).drain(..) {
        let _ = fs::remove_dir_all(directory);
    }
    if std::process::id() != 1 {
        let _ = emulate_default_handler(signal);
    }
    // Nothing is the default for the first process of a container.
    exit(128 + signal);
}

/// Ends a child of this process and all that it has started, as far as they are still its.
pub(crate) fn end_with_descendants(pid: i32) {
    let mut waiting = vec![pid];
    while let Some(pid) = waiting.pop() {
        waiting.extend(children_of(pid));
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    // It may have a group of its own, and have left some in it.
    let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
}

/// Returns the signals that this process ignores, one bit each.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
