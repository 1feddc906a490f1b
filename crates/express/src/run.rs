//! Running Apache in the foreground.

use std::io::{self, IsTerminal};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::failure::Failure;

/// Runs the server that `control` controls until it ends; its exit status.
///
/// Without a terminal this process *becomes* Apache, so that a supervisor or a container has the
/// right process id; so it does to have Apache `attached` to the terminal. Otherwise, on a terminal it stays, because the terminal's signals are not all meant for
/// Apache: a resized window would stop it.
///
/// # Errors
/// The control script cannot be started.
pub(crate) fn foreground(control: &Path, attached: bool) -> Result<u8, Failure> {
    let mut command = Command::new(control);
    command.args(["start", "-DFOREGROUND"]);
    let refuse = |error: io::Error| {
        Failure::file("start", control, &error, "choose another directory with --server-root")
    };
    if attached || !io::stdout().is_terminal() {
        return Err(refuse(command.exec()));
    }
    // Before the child exists, so that no signal is lost in between; an exec resets handlers, not
    // the ones it ignores.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGWINCH, SIGCHLD]).map_err(refuse)?;
    let mut child = command.process_group(0).spawn().map_err(refuse)?;
    attend(&mut child, &mut signals).map_err(refuse)
}

fn attend(child: &mut Child, signals: &mut Signals) -> io::Result<u8> {
    // A child's id is in range: it came from the system.
    let pid = Pid::from_raw(child.id().cast_signed());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(code(status));
        }
        for number in signals.wait() {
            let Ok(signal) = Signal::try_from(number) else { continue };
            if !matches!(signal, Signal::SIGCHLD | Signal::SIGWINCH) {
                // It fails when the child is gone, which the next round notices.
                let _ = kill(pid, signal);
            }
        }
    }
}

/// Returns the exit status as a shell would report it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
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
        assert_eq!(attend(&mut child, &mut signals).unwrap(), 7);
    }

    #[test]
    fn statuses_read_like_a_shell_s() {
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
    }
}
