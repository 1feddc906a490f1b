//! Programs that are asked for something: none of them is waited for without end, whatever it does.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::ending;

/// The time that a program may take. A file system or a name server may be slow.
const LIMIT: Duration = Duration::from_secs(60);

/// The longest interval of looks at whether a program has ended.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// The most that a program may print.
const MOST: u64 = 64 << 20;

/// Runs a program without input, and returns its status and what it prints. What it has started and
/// left running is not waited for.
///
/// # Errors
/// It cannot be started, prints more than anybody reads, or does not end in time; then it is ended,
/// with the processes that it has started. So it is when a signal ends this process.
pub(crate) fn output(command: &mut Command) -> io::Result<Output> {
    output_within(command, LIMIT)
}

fn output_within(command: &mut Command, limit: Duration) -> io::Result<Output> {
    // Files in memory, and no pipes: nobody has to wait for their end, which others may hold open.
    let (mut out, mut errors) = (memory()?, memory()?);
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(errors.try_clone()?);
    let mut child = ending::spawn(command)?;
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let has_room = |file: &File| file.metadata().is_ok_and(|facts| facts.len() <= MOST);
        let reason = if Instant::now() >= end {
            let text = format!("it does not end within {} s", limit.as_secs());
            Some(io::Error::new(io::ErrorKind::TimedOut, text))
        } else if has_room(&out) && has_room(&errors) {
            None
        } else {
            Some(io::Error::other("it prints without end"))
        };
        if let Some(reason) = reason {
            ending::end_with_descendants(child.id().cast_signed());
            // A file system may hold a process, whatever the signal.
            let _ = (0..100).find(|_| {
                thread::sleep(BETWEEN_LOOKS);
                !matches!(child.try_wait(), Ok(None))
            });
            return Err(reason);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(BETWEEN_LOOKS);
    };
    ending::wait_if_begun();
    Ok(Output { status, stdout: content(&mut out)?, stderr: content(&mut errors)? })
}

fn memory() -> io::Result<File> {
    Ok(memfd_create(c"output", MFdFlags::MFD_CLOEXEC)?.into())
}

fn content(file: &mut File) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.rewind()?;
    file.take(MOST).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_program_says_is_returned() {
        let output = output(&mut shell("echo out; echo errors >&2; exit 3")).unwrap();
        assert_eq!(
            (output.status.code(), &*output.stdout, &*output.stderr),
            (Some(3), &b"out\n"[..], &b"errors\n"[..])
        );
    }

    #[test]
    fn a_program_that_leaves_another_one_is_not_waited_for() {
        let start = Instant::now();
        let output = output(&mut shell("sleep 50 & echo $!")).unwrap();
        assert!(start.elapsed() < Duration::from_secs(40));
        let pid = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }

    #[test]
    fn a_program_without_end_is_ended_with_what_it_has_started() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let mut script = shell("sleep 50 & echo $! >\"$0\"; wait");
        let error = output_within(script.arg(&file), Duration::from_secs(3)).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (io::ErrorKind::TimedOut, "it does not end within 3 s")
        );
        let pid: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while os::process::is_running(pid) {
            assert!(Instant::now() < end, "{pid} is left");
            thread::sleep(BETWEEN_LOOKS);
        }
        let error = output(&mut shell("cat /dev/zero")).unwrap_err();
        assert_eq!(error.to_string(), "it prints without end");
    }
}
