//! An error log, and the lines that wait for it.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use os::descriptors::{self, Wait};
use wsgi_core::level::Level;
use wsgi_core::wire::launch;
use wsgi_core::wire::line::WHOLE;

use super::syslog::Syslog;
use crate::log_line;

/// An owner of lines.
pub(super) type Owner = u64;

/// The number of bytes of one owner that may wait. Each has its own share, so that a flood leaves
/// the others theirs.
const SHARE: usize = 256 << 10;
/// The time after which a log that takes nothing is not waited for: what does not fit is dropped.
const STALL: Duration = Duration::from_secs(1);
/// The time until the next try, in milliseconds, at first and at most.
const RETRY: (u16, u16) = (1, 64);

/// An error log. None of its functions waits for it, if the system lets it be opened anew.
#[derive(Debug)]
pub(super) struct Sink {
    target: Target,
    queue: VecDeque<Block>,
    /// The number of bytes of each owner in the queue.
    shares: HashMap<Owner, usize>,
    /// The time since which it has taken nothing, while something waits.
    stalled: Option<Instant>,
    /// Milliseconds until the next try.
    retry: u16,
    /// Lines that were dropped and not announced yet.
    dropped: u64,
    /// The last line that was written has no end.
    has_partial_line: bool,
}

/// A block of lines of one owner.
#[derive(Debug)]
struct Block {
    owner: Owner,
    lines: Vec<u8>,
    /// The number of bytes of them that are written.
    written: usize,
    /// The number of dropped lines that the block itself announces.
    announced: u64,
}

/// A way to write to a log. Apache's own descriptor shares its flags with all of Apache, so they
/// stay as they are.
#[derive(Debug)]
enum Target {
    /// A file: takes any amount, at once as far as anybody can tell.
    File(File),
    /// A pipe of which others need a part, so that they are not blocked because of what processes
    /// write: Apache itself waits for its log.
    Pipe(File),
    /// A socket.
    Socket(OwnedFd),
    /// The system's log.
    System(Syslog),
    /// Another file, or one that cannot be opened anew: before each line it is polled whether it
    /// takes one.
    Other(File),
}

impl Sink {
    /// Opens the log that `descriptor` leads to.
    pub(super) fn new(descriptor: &OwnedFd) -> io::Result<Self> {
        Target::new(descriptor.as_fd()).map(Self::to)
    }

    /// Creates a sink for the system's log.
    pub(super) fn system(settings: launch::Syslog) -> Self {
        Self::to(Target::System(Syslog::new(settings)))
    }

    fn to(target: Target) -> Self {
        Self {
            target,
            queue: VecDeque::new(),
            shares: HashMap::new(),
            stalled: None,
            retry: RETRY.0,
            dropped: 0,
            has_partial_line: false,
        }
    }

    /// Adds lines, or drops and counts them: where the log has stalled and their owner's share is
    /// used up.
    pub(super) fn push(&mut self, owner: Owner, lines: Vec<u8>, now: Instant) {
        let is_over = self.share(owner) >= SHARE && (self.has_stalled(now) || self.share(owner) >= 2 * SHARE);
        self.add(owner, lines, is_over);
    }

    /// Adds the last lines of their owner, for which there is as much room again.
    pub(super) fn push_last(&mut self, owner: Owner, lines: Vec<u8>) {
        self.add(owner, lines, self.share(owner) >= 2 * SHARE);
    }

    /// Counts lines that have been dropped before they got here.
    pub(super) fn count_dropped(&mut self, lines: u64) {
        self.dropped += lines;
    }

    /// Writes what the log takes.
    pub(super) fn flush(&mut self, now: Instant) {
        loop {
            if self.queue.is_empty() && self.dropped > 0 && self.stalled.is_none() {
                self.announce_dropped();
            }
            let Some(block) = self.queue.front_mut() else { break };
            if self.has_partial_line && block.written == 0 {
                block.lines.insert(0, b'\n');
                *self.shares.entry(block.owner).or_default() += 1;
                self.has_partial_line = false;
            }
            match self.target.write(&block.lines[block.written..]) {
                Ok(count) => self.advance(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stalled.get_or_insert(now);
                    self.retry = (2 * self.retry).min(RETRY.1);
                    return;
                }
                // The disk is full, or nobody has the other end of the pipe. There may be room for
                // the next.
                Err(_) => self.drop_front(),
            }
        }
        self.stalled = None;
    }

    /// Restarts the measure of how long it has taken nothing.
    pub(super) fn reset_stall(&mut self) {
        self.stalled = self.stalled.map(|_| Instant::now());
        self.retry = RETRY.0;
    }

    /// Returns the time until [`flush`](Self::flush) is to be called again, in milliseconds; `None`
    /// if nothing waits.
    pub(super) fn retry(&self) -> Option<u16> {
        (!self.queue.is_empty()).then_some(self.retry)
    }

    /// Returns whether the owner is to write no more for now.
    pub(super) fn is_full_of(&self, owner: Owner) -> bool {
        self.share(owner) >= SHARE && !self.has_stalled(Instant::now())
    }

    /// Returns whether the owner may write again: there is room, or waiting is of no use.
    pub(super) fn has_room_for(&self, owner: Owner) -> bool {
        self.share(owner) <= SHARE / 2 || self.has_stalled(Instant::now())
    }

    /// Returns whether everything is written, or will not be: the log has taken nothing for
    /// `patience`.
    pub(super) fn is_done(&self, now: Instant, patience: Duration) -> bool {
        self.queue.is_empty()
            || self.stalled.is_some_and(|since| now.saturating_duration_since(since) >= patience)
    }

    fn share(&self, owner: Owner) -> usize {
        self.shares.get(&owner).copied().unwrap_or(0)
    }

    fn has_stalled(&self, now: Instant) -> bool {
        self.stalled.is_some_and(|since| now.saturating_duration_since(since) >= STALL)
    }

    fn add(&mut self, owner: Owner, lines: Vec<u8>, is_over: bool) {
        if lines.is_empty() {
            return;
        }
        if is_over {
            self.dropped += count(&lines);
            return;
        }
        *self.shares.entry(owner).or_default() += lines.len();
        self.queue.push_back(Block { owner, lines, written: 0, announced: 0 });
    }

    fn advance(&mut self, count: usize) {
        self.stalled = None;
        self.retry = RETRY.0;
        let Some(block) = self.queue.front_mut() else { return };
        block.written += count;
        self.has_partial_line = block.lines[..block.written].last() != Some(&b'\n');
        if block.written == block.lines.len() {
            self.pop();
        }
        if self.dropped > 0 && !self.has_partial_line {
            self.announce_dropped();
        }
    }

    /// Gives the first block up.
    fn drop_front(&mut self) {
        if let Some(block) = self.queue.front() {
            self.dropped +=
                if block.announced > 0 { block.announced } else { count(&block.lines[block.written..]) };
        }
        self.pop();
        // Not as long as there is nothing that could be written: see `flush`.
        self.stalled.get_or_insert_with(Instant::now);
    }

    fn pop(&mut self) {
        if let Some(Block { owner, lines, .. }) = self.queue.pop_front()
            && let Some(share) = self.shares.get_mut(&owner)
        {
            *share -= lines.len();
            if *share == 0 {
                self.shares.remove(&owner);
            }
        }
    }

    /// Says how many lines are missing, behind those that were there before.
    fn announce_dropped(&mut self) {
        let announced = std::mem::take(&mut self.dropped);
        let text = format_args!("{announced} lines were dropped: the error log did not take them");
        let lines = log_line::line(None, Level::Warning, &text, SystemTime::now()).into_bytes();
        *self.shares.entry(super::OWN).or_default() += lines.len();
        self.queue.push_back(Block { owner: super::OWN, lines, written: 0, announced });
    }
}

#[cfg(test)]
impl Sink {
    /// Has the first block fail after so many bytes.
    pub(super) fn fail_front_after(&mut self, written: usize) {
        self.advance(written);
        self.drop_front();
    }
}

impl Target {
    fn new(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        let kind = SFlag::from_bits_truncate(fstat(descriptor)?.st_mode) & SFlag::S_IFMT;
        if kind == SFlag::S_IFSOCK {
            return Ok(Self::Socket(descriptor.try_clone_to_owned()?));
        }
        Ok(match (descriptors::reopen_for_append(descriptor), kind) {
            (Ok(file), SFlag::S_IFREG) => Self::File(file.into()),
            (Ok(pipe), SFlag::S_IFIFO) => Self::Pipe(pipe.into()),
            (Ok(file), _) => Self::Other(file.into()),
            (Err(_), _) => Self::Other(descriptor.try_clone_to_owned()?.into()),
        })
    }

    /// Writes some of these lines; [`io::ErrorKind::WouldBlock`] if it takes none now.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(lines),
            Self::Pipe(pipe) => {
                let lines = whole(lines);
                let (used, size) = descriptors::pipe_use(&*pipe)?;
                // A line takes a page of its own, if it is not much shorter; so a quarter is half
                // of the pages.
                if used > 0 && used + lines.len() > size / 4 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                pipe.write(lines)
            }
            Self::Socket(socket) => descriptors::send_with(&*socket, whole(lines), &[], Wait::Never),
            Self::System(log) => log.write(lines),
            Self::Other(file) => {
                let mut polled = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                if poll(&mut polled, PollTimeout::ZERO)? == 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                file.write(whole(lines))
            }
        }
    }
}

/// Returns as many of the lines as are written whole, or the first one if that is too long.
fn whole(lines: &[u8]) -> &[u8] {
    if lines.len() <= WHOLE {
        return lines;
    }
    let end = |part: &[u8]| part.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
    let first = || lines.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
    &lines[..end(&lines[..WHOLE]).or_else(first).unwrap_or(lines.len())]
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}
