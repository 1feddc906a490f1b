//! The main thread: takes spans from the socket, and notices what ends the program.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use os::descriptors::{self, Wait};
use wsgi_core::wire::exporter::counts::QUEUE_FULL;
use wsgi_core::wire::span::{LONGEST, Span};

use crate::counts::Counts;
use crate::queue::Queue;
use crate::stop::Stop;

/// The time without a span after which a retired exporter ends: something that the server has
/// started (`mod_cgid`) may hold a copy of the children's end of the socket for good.
const UNUSED_AFTER: Duration = Duration::from_secs(600);
/// The number of spans that are taken at a stretch.
const STRETCH: usize = 1024;
/// The pause after spans have been taken: to wake this thread for each one would cost the requests
/// more than all else. The socket has room for those of that time, unless there are tens of thousands
/// in a second.
const PAUSE: Duration = Duration::from_millis(5);
/// The time between two looks whether all is sent, at the end.
const INTERVAL: Duration = Duration::from_millis(5);

/// The intake of spans.
pub(crate) struct Intake<'a> {
    pub(crate) spans: OwnedFd,
    /// Hangs up when the generation is retired.
    pub(crate) life: OwnedFd,
    pub(crate) signals: SignalFd,
    pub(crate) queue: &'a Queue,
    pub(crate) stop: &'a Stop,
    pub(crate) counts: &'a Counts,
}

/// Returns the signals that end the program, which are blocked from now on.
///
/// # Errors
/// There is no descriptor left.
pub(crate) fn watched_signals() -> io::Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    // Terminals and servers send it to whole groups of processes.
    set.add(Signal::SIGHUP);
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

impl Intake<'_> {
    /// Takes spans until there will be no more, or the program is to end.
    ///
    /// # Errors
    /// The socket fails.
    pub(crate) fn run(&self) -> io::Result<()> {
        let mut buffer = vec![0; LONGEST];
        let mut last = Instant::now();
        let ended = loop {
            let is_retired = self.stop.is_retired();
            let limit = is_retired.then(|| UNUSED_AFTER.saturating_sub(last.elapsed()));
            if limit.is_some_and(|limit| limit.is_zero()) {
                break Ok(());
            }
            let [has_spans, is_hung_up, is_told] = self.wait(is_retired, limit)?;
            if is_hung_up {
                self.stop.retire();
                last = Instant::now();
            }
            let is_to_end = is_told && self.is_to_end();
            if has_spans || is_to_end {
                last = Instant::now();
                // At the end, all that is there.
                match self.take(&mut buffer, if is_to_end { usize::MAX } else { STRETCH }) {
                    Ok(true) => {}
                    Ok(false) => break Ok(()),
                    Err(error) => break Err(error),
                }
            }
            if is_to_end {
                self.stop.hurry();
                break Ok(());
            }
            if has_spans {
                std::thread::sleep(PAUSE);
            }
        };
        self.stop.begin();
        self.queue.wake();
        ended
    }

    fn wait(&self, is_retired: bool, limit: Option<Duration>) -> io::Result<[bool; 3]> {
        let mut polled = [&self.spans.as_fd(), &self.signals.as_fd(), &self.life.as_fd()]
            .map(|descriptor| PollFd::new(*descriptor, PollFlags::POLLIN));
        // One that has hung up would be ready each time.
        let count = if is_retired { 2 } else { 3 };
        let timeout = limit.map_or(PollTimeout::NONE, |limit| {
            PollTimeout::try_from(limit + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut polled[..count], timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [spans, signals, life] = polled.map(|polled| polled.any().unwrap_or(false));
        Ok([spans, life && !is_retired, signals])
    }

    /// Waits until these threads have sent what is left, or no time is left for that.
    pub(crate) fn wait_for(&self, threads: &[JoinHandle<()>]) {
        let is_running = |thread: &JoinHandle<()>| !thread.is_finished();
        while threads.iter().any(is_running) && !self.stop.limit(INTERVAL).is_zero() {
            if self.is_to_end() {
                self.stop.hurry();
            }
            std::thread::sleep(INTERVAL);
        }
    }

    fn is_to_end(&self) -> bool {
        let mut is_to_end = false;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            is_to_end |= number == Signal::SIGTERM as i32 || number == Signal::SIGINT as i32;
        }
        is_to_end
    }

    /// Takes spans that are there, so many at most. Returns whether there may be more one day.
    fn take(&self, buffer: &mut [u8], most: usize) -> io::Result<bool> {
        for _ in 0..most {
            let length = match descriptors::receive_with(&self.spans, buffer, Wait::Never) {
                Ok((0, _)) => return Ok(false),
                Ok((length, _)) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                // It is none of ours.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
                Err(error) => return Err(error),
            };
            let datagram = &buffer[..length];
            if Span::decode(datagram).is_err() {
                continue;
            }
            // Before another thread can be done with it.
            self.counts.take();
            if !self.queue.add(datagram.into()) {
                self.counts.add(QUEUE_FULL, 1);
                self.counts.release(1);
            }
        }
        Ok(true)
    }
}
