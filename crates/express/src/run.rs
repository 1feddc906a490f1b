//! Running Apache in the foreground.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgrp, tcgetpgrp};
use os::process::{Ended, reap};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGWINCH};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::raw::WithRawSiginfo;

use crate::ending;
use crate::failure::Failure;
use crate::server_root::ServerRoot;
use crate::settings::Settings;

/// Has the first process of a container end when it is told to, as any other does without a handler.
/// From the first one the system keeps signals that it has no handler for, so that a container which
/// is stopped while its server is prepared would start it nevertheless.
///
/// # Errors
/// There can be no handler.
pub(crate) fn end_when_told() -> io::Result<()> {
    if std::process::id() == 1 { ending::watch() } else { Ok(()) }
}

/// Runs the server until it ends; its exit status.
///
/// Without a terminal this process *becomes* Apache, so that a supervisor or a container has the
/// right process id; so it does to have Apache attached to the terminal for debugging. Otherwise, on a
/// terminal it stays, wherever its output goes, because the terminal's signals are not all meant for
/// Apache: to Apache, that of a resized window is a graceful stop. As the first process of a container
/// it stays, too: the system makes it the parent of every process that loses its own, and Apache takes
/// any status of such a process for one of its own children's.
///
/// # Errors
/// The control script cannot be started.
pub(crate) fn foreground(settings: &Settings) -> Result<u8, Failure> {
    let control = settings.server_root.join("apachectl");
    let mut command = settings.environment.control(&control);
    command.args(["start", "-DFOREGROUND"]);
    let refuse = |error: io::Error| {
        Failure::file("start", &control, &error, "choose another directory with --server-root")
    };
    let pid_file = &settings.environment.pid_file;
    if settings.container.is_some() || ServerRoot::running(pid_file, &settings.server_root).is_none() {
        // The id that a former server or container has left may be that of any process now, and Apache
        // would not start beside it. If it is missing, all the better.
        let _ = fs::remove_file(pid_file);
    }
    let on_terminal = io::stdout().is_terminal() || has_terminal();
    let is_first = settings.container.is_some() && std::process::id() == 1;
    if settings.debugging.is_on || !(on_terminal || is_first) {
        return Err(refuse(command.exec()));
    }
    // Before the child exists, so that no signal is lost in between; an exec resets handlers, not
    // the ones it ignores.
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGWINCH, SIGCHLD]).map_err(refuse)?;
    ending::leave_signals();
    // In a group of its own: Apache sends signals to its whole group when it stops.
    let mut child = command.process_group(0).spawn().map_err(refuse)?;
    attend(&mut child, &mut signals, is_first).map_err(refuse)
}

/// Signals with their senders.
type Signals = SignalsInfo<WithRawSiginfo>;

/// Returns whether a terminal sends signals to this process: that of its session, if it is not in
/// the background there.
fn has_terminal() -> bool {
    let foreground = File::open("/dev/tty").ok().and_then(|terminal| tcgetpgrp(terminal).ok());
    foreground == Some(getpgrp())
}

fn attend(child: &mut Child, signals: &mut Signals, is_first: bool) -> io::Result<u8> {
    // A child's id is in range: it came from the system.
    let pid = Pid::from_raw(child.id().cast_signed());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(code(status));
        }
        if is_first {
            forget_orphans(pid);
        }
        for info in signals.wait() {
            let signal = match Signal::try_from(info.si_signo) {
                Err(_) | Ok(Signal::SIGCHLD) => continue,
                // The kernel says that the window has another size; a process means Apache.
                Ok(Signal::SIGWINCH) if info.si_code > 0 => continue,
                // Apache has no handler for it, and would leave its children behind.
                Ok(Signal::SIGQUIT) => Signal::SIGTERM,
                Ok(signal) => signal,
            };
            // It fails when the child is gone, which the next round notices.
            let _ = kill(pid, signal);
        }
    }
}

/// Has the system forget processes that have ended and that nobody else waits for.
fn forget_orphans(child: Pid) {
    while let Ok(Some(Ended::Forgotten)) = reap(|pid| pid == child.as_raw()) {}
}

/// Returns the exit status as a shell would report it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn signals_are_passed_on_and_statuses_returned() {
        let mut signals = Signals::new([SIGUSR1, SIGCHLD]).unwrap();
        let script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done";
        let mut child = Command::new("/bin/sh")
            .args(["-c", script])
            .stdout(std::process::Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        kill(Pid::this(), Signal::SIGUSR1).unwrap();
        assert_eq!(attend(&mut child, &mut signals, false).unwrap(), 7);
    }

    #[test]
    fn statuses_read_like_a_shell_s() {
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
    }
}
