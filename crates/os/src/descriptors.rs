//! Sockets between processes, and descriptors sent through them.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, Shutdown, SockFlag, SockType, setsockopt, shutdown, socketpair, sockopt,
};
use nix::sys::stat::{Mode, fchmod};
use nix::sys::time::{TimeVal, TimeValLike};

/// The most descriptors that go with one message.
pub const MAX_DESCRIPTORS: usize = 6;

/// The kind of a socket pair: what arrives as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes in order (`SOCK_STREAM`).
    Stream,
    /// Messages in order, and the end of the other side (`SOCK_SEQPACKET`).
    Sequence,
}

/// The permission of a call to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// As long as the socket's own mode and timeout say.
    Allowed,
    /// It never waits: [`io::ErrorKind::WouldBlock`] instead.
    Never,
}

/// Creates two connected sockets without a name, closed on exec.
///
/// # Errors
/// There is no descriptor left.
pub fn pair(kind: Kind) -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = match kind {
        Kind::Stream => SockType::Stream,
        Kind::Sequence => SockType::SeqPacket,
    };
    Ok(socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Makes a socket one that is only sent to: what its other side sends fails there with
/// [`io::ErrorKind::BrokenPipe`].
///
/// Whoever holds a socket also closes what has been sent to it with descriptors in it, and to close
/// somebody else's descriptor may take as long as its sender likes (`SO_LINGER`). Nothing can be
/// sent to this one.
///
/// # Errors
/// It is not a socket.
pub fn make_send_only(socket: impl AsFd) -> io::Result<()> {
    Ok(shutdown(socket.as_fd().as_raw_fd(), Shutdown::Read)?)
}

/// Returns a pipe, closed on exec: where it is read, [`io::ErrorKind::WouldBlock`] says that there
/// is nothing yet.
///
/// # Errors
/// There is no descriptor left.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((reader, writer))
}

/// Opens a file of shared memory anew, for reading only. Nobody but its owner can open it again from
/// now on, so who gets this descriptor cannot come to write. Closed on exec.
///
/// # Errors
/// This process does not own it, or `/proc` is not there.
pub fn reopen_for_reading(file: impl AsFd) -> io::Result<OwnedFd> {
    fchmod(&file, Mode::S_IRUSR)?;
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    Ok(open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY, Mode::empty())?)
}

/// Opens anew what `descriptor` writes to, appending and without ever waiting, however `descriptor`
/// itself is set: flags belong to what was opened, which several processes may share. Closed on
/// exec.
///
/// # Errors
/// It is a socket, this process may not write to it, or `/proc` is not there.
pub fn reopen_for_append(descriptor: impl AsFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd());
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    Ok(open(path.as_str(), flags, Mode::empty())?)
}

/// Writes some of these bytes to a pipe. If nobody has its other end this fails with
/// [`io::ErrorKind::BrokenPipe`], without the signal that ends a process which does not expect it.
///
/// # Errors
/// As `write`.
pub fn write_to_pipe(pipe: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: signal sets are plain memory, filled before they are read; the bytes outlive the
    // call.
    unsafe {
        let (mut signal, mut before) = (mem::zeroed(), mem::zeroed());
        libc::sigemptyset(&raw mut signal);
        libc::sigaddset(&raw mut signal, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signal, &raw mut before);
        let written = libc::write(pipe.as_fd().as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
        let result = usize::try_from(written).map_err(|_| io::Error::last_os_error());
        let is_broken = result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        if is_broken && libc::sigismember(&raw const before, libc::SIGPIPE) == 0 {
            // It has come, unless it is ignored, and goes to nobody else.
            let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            libc::sigtimedwait(&raw const signal, std::ptr::null_mut(), &raw const at_once);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        result
    }
}

/// Returns the number of bytes that wait in a pipe, and about how many fit.
///
/// # Errors
/// It is not a pipe.
pub fn pipe_use(pipe: impl AsFd) -> io::Result<(usize, usize)> {
    let size = fcntl(&pipe, FcntlArg::F_GETPIPE_SZ)?;
    let mut used: libc::c_int = 0;
    // SAFETY: the request writes one integer.
    match unsafe { libc::ioctl(pipe.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut used) } {
        0 => Ok((usize::try_from(used).unwrap_or(0), usize::try_from(size).unwrap_or(0))),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends bytes and copies of at most [`MAX_DESCRIPTORS`] descriptors; how many bytes were sent
/// (all, where messages are). A socket whose other side is gone gives [`io::ErrorKind::BrokenPipe`]
/// and no signal.
///
/// # Errors
/// As `sendmsg`; there are more descriptors, or descriptors without a byte to travel with.
pub fn send_with(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    wait: Wait,
) -> io::Result<usize> {
    if descriptors.len() > MAX_DESCRIPTORS || (bytes.is_empty() && !descriptors.is_empty()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "at most six descriptors go with a message"));
    }
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control::new();
    // SAFETY: all zeroes is an empty header.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !descriptors.is_empty() {
        control.put(&mut message, descriptors);
    }
    let flags = libc::MSG_NOSIGNAL | wait.flag();
    retry(|| {
        // SAFETY: the header describes `bytes`, which are only read, and `control`, both of which
        // outlive the call.
        unsafe { libc::sendmsg(socket.as_fd().as_raw_fd(), &raw const message, flags) }
    })
}

/// Receives bytes, 0 at the end, and the descriptors that came with them, closed on exec. Does not
/// allocate when none came.
///
/// # Errors
/// As `recvmsg`; and [`io::ErrorKind::InvalidData`] when a message or its descriptors did not fit
/// (what came is closed): the buffer is too small, more than [`MAX_DESCRIPTORS`] descriptors were
/// sent, or this process can open no more.
pub fn receive_with(socket: impl AsFd, buffer: &mut [u8], wait: Wait) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control::new();
    // SAFETY: all zeroes is an empty header.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    let flags = libc::MSG_CMSG_CLOEXEC | wait.flag();
    let count = retry(|| {
        // The kernel changes these, also for a call that it then interrupts.
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = size_of::<Control>() as _;
        // SAFETY: the header describes `buffer` and `control`, which are this function's own for
        // the call.
        unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, flags) }
    })?;
    // SAFETY: recvmsg succeeded with this header, and `control` is still there.
    let descriptors = unsafe { taken(&message) };
    if message.msg_flags & (libc::MSG_CTRUNC | libc::MSG_TRUNC) != 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message or its descriptors did not fit, or this process can open no more (ulimit -n)",
        ));
    }
    Ok((count, descriptors))
}

/// The sender of a message, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// Its process id.
    pub pid: i32,
    /// Its user id.
    pub uid: u32,
}

/// Has the kernel say who has sent a message through this socket, see [`receive_sender`].
///
/// # Errors
/// It is not a socket.
pub fn name_senders(socket: impl AsFd) -> io::Result<()> {
    Ok(setsockopt(&socket, sockopt::PassCred, &true)?)
}

/// Receives a message of a [`Kind::Sequence`] without waiting, whatever it says. Returns its
/// sender, of which the kernel vouches for the ids (unless that is root); `None` at the end.
/// Descriptors that come along are closed by the kernel.
///
/// # Errors
/// As `recvmsg`; and [`io::ErrorKind::InvalidData`] if there is no word about the sender, see
/// [`name_senders`].
pub fn receive_sender(socket: impl AsFd) -> io::Result<Option<Sender>> {
    let mut byte = 0_u8;
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // Room for the credentials, which come first, and nothing else.
    let mut control = [0_u64; 4];
    // SAFETY: it only computes.
    let room = unsafe { libc::CMSG_SPACE(size_of::<libc::ucred>() as u32) } as usize;
    debug_assert!(room <= size_of_val(&control));
    // SAFETY: all zeroes is an empty header.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    let count = retry(|| {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = room as _;
        // SAFETY: the header describes `byte` and `control`, which outlive the call.
        unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, flags) }
    })?;
    if count == 0 {
        return Ok(None);
    }
    // SAFETY: recvmsg succeeded with this header, and `control` is still there; a header of that
    // type has a whole `ucred` behind it, if it is as long as that.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let length = libc::CMSG_LEN(size_of::<libc::ucred>() as u32) as usize;
        if header.is_null()
            || (*header).cmsg_level != libc::SOL_SOCKET
            || (*header).cmsg_type != libc::SCM_CREDENTIALS
            || ((*header).cmsg_len as usize) < length
        {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the sender of a message is not known"));
        }
        let ids = libc::CMSG_DATA(header).cast::<libc::ucred>().read_unaligned();
        Ok(Some(Sender { pid: ids.pid, uid: ids.uid }))
    }
}

/// Returns the length of the message that comes next, of a [`Kind::Sequence`]; waits for one. 0 at
/// the end.
///
/// # Errors
/// As `recv`.
pub fn next_length(socket: impl AsFd, wait: Wait) -> io::Result<usize> {
    let flags = libc::MSG_PEEK | libc::MSG_TRUNC | wait.flag();
    retry(|| {
        // SAFETY: a buffer without room is not written to.
        unsafe { libc::recv(socket.as_fd().as_raw_fd(), std::ptr::null_mut(), 0, flags) }
    })
}

/// Takes over a descriptor that this process was started with, under an agreed number, and closes
/// it on exec from now on. Whatever Rust and Python open themselves is closed on exec, which is how
/// the difference is told: what they own cannot be taken, nor anything twice.
///
/// # Errors
/// No descriptor has that number, it is one of 0, 1 and 2, or it is not inherited.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the command takes no argument, and any number will do.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if number < 3 || flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the descriptor was not passed to this process",
        ));
    }
    // SAFETY: open, and not owned by anything here, by the flag.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    keep_over_exec(&descriptor, false)?;
    Ok(descriptor)
}

/// Allows this process to open so many descriptors, as far as its hard limit permits. The former
/// limits, soft and hard, if that changes anything.
pub fn raise_limit(count: u64) -> Option<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let raised = count.min(hard);
    (raised > soft && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok()).then_some((soft, hard))
}

/// Returns whether all other ends of a socket or pipe are closed.
#[must_use]
pub fn has_hung_up(descriptor: impl AsFd) -> bool {
    let mut poll = libc::pollfd { fd: descriptor.as_fd().as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one structure, which outlives the call.
    unsafe { libc::poll(&raw mut poll, 1, 0) > 0 && poll.revents & libc::POLLHUP != 0 }
}

/// Returns whether nothing more can be received through a socket: the other end is closed, or
/// either has been shut down.
#[must_use]
pub fn is_shut_down(socket: impl AsFd) -> bool {
    let events = libc::POLLRDHUP;
    let mut poll = libc::pollfd { fd: socket.as_fd().as_raw_fd(), events, revents: 0 };
    // SAFETY: one structure, which outlives the call.
    unsafe { libc::poll(&raw mut poll, 1, 0) > 0 && poll.revents & (libc::POLLRDHUP | libc::POLLHUP) != 0 }
}

/// Sets whether a descriptor survives `exec`.
///
/// # Errors
/// As `fcntl`.
pub fn keep_over_exec(descriptor: impl AsFd, is_kept: bool) -> io::Result<()> {
    let flags = if is_kept { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
    fcntl(descriptor, FcntlArg::F_SETFD(flags))?;
    Ok(())
}

/// Sets how long receiving and sending may wait before they fail with
/// [`io::ErrorKind::WouldBlock`]; `None` is for ever.
///
/// # Errors
/// It is not a socket.
pub fn set_timeouts(socket: impl AsFd, receive: Option<Duration>, send: Option<Duration>) -> io::Result<()> {
    setsockopt(&socket, sockopt::ReceiveTimeout, &time(receive))?;
    setsockopt(&socket, sockopt::SendTimeout, &time(send))?;
    Ok(())
}

/// Tells the other side of a socket that nothing more is sent. It may still send.
///
/// # Errors
/// It is not a socket, or not connected.
pub fn end_sending(socket: impl AsFd) -> io::Result<()> {
    shutdown(socket.as_fd().as_raw_fd(), Shutdown::Write)?;
    Ok(())
}

/// Returns whether the other side of a local socket has not read all that was sent.
///
/// # Errors
/// It is not a socket.
pub fn has_unread(socket: impl AsFd) -> io::Result<bool> {
    let mut length: libc::c_int = 0;
    // SAFETY: the request writes one integer.
    match unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut length) } {
        0 => Ok(length > 0),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns whether there is something to read, or the end, within `timeout`.
///
/// # Errors
/// As `poll`.
pub fn is_readable(descriptor: impl AsFd, timeout: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: descriptor.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one structure, which outlives the call.
    match unsafe { libc::poll(&raw mut poll, 1, milliseconds) } {
        ready if ready >= 0 => Ok(ready > 0),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns from which of two descriptors there is something to read, or its end, within `timeout`.
/// The second one may be any number: it is only looked at. A signal makes it wait anew.
///
/// # Errors
/// As `poll`.
pub fn readable_of(descriptor: impl AsFd, other: Option<RawFd>, timeout: Duration) -> io::Result<[bool; 2]> {
    let of = |number| libc::pollfd { fd: number, events: libc::POLLIN, revents: 0 };
    // A negative one is passed over.
    let mut polled = [of(descriptor.as_fd().as_raw_fd()), of(other.unwrap_or(-1))];
    poll(&mut polled, timeout)?;
    Ok(polled.map(|polled| polled.revents != 0))
}

/// Returns whether there is something to read from a socket, or its end, and whether more can be
/// sent, as soon as either is so, at the latest after `timeout`. A signal makes it wait anew.
///
/// # Errors
/// As `poll`.
pub fn readiness(socket: impl AsFd, timeout: Duration) -> io::Result<[bool; 2]> {
    let events = libc::POLLIN | libc::POLLOUT;
    let mut polled = [libc::pollfd { fd: socket.as_fd().as_raw_fd(), events, revents: 0 }];
    poll(&mut polled, timeout)?;
    let [libc::pollfd { revents, .. }] = polled;
    Ok([revents & !libc::POLLOUT != 0, revents & libc::POLLOUT != 0])
}

fn poll(polled: &mut [libc::pollfd], timeout: Duration) -> io::Result<usize> {
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    let count = polled.len() as libc::nfds_t;
    // SAFETY: structures that outlive the call, as many as it is told.
    retry(|| unsafe { libc::ppoll(polled.as_mut_ptr(), count, &raw const time, std::ptr::null()) } as isize)
}

/// Sets the sizes of a socket's buffers in bytes, which the system may bound; `None` leaves one as
/// it is.
///
/// # Errors
/// It is not a socket.
pub fn set_buffers(socket: impl AsFd, send: Option<usize>, receive: Option<usize>) -> io::Result<()> {
    if let Some(size) = send {
        setsockopt(&socket, sockopt::SndBuf, &size)?;
    }
    if let Some(size) = receive {
        setsockopt(&socket, sockopt::RcvBuf, &size)?;
    }
    Ok(())
}

impl Wait {
    const fn flag(self) -> libc::c_int {
        match self {
            Self::Allowed => 0,
            Self::Never => libc::MSG_DONTWAIT,
        }
    }
}

/// Room for the control message with [`MAX_DESCRIPTORS`] descriptors. (`u64` for the alignment of
/// `cmsghdr`.)
struct Control([MaybeUninit<u64>; 5]);

const _: () = {
    // SAFETY: it only computes.
    let needed = unsafe { libc::CMSG_SPACE((MAX_DESCRIPTORS * size_of::<RawFd>()) as u32) };
    assert!(needed as usize == size_of::<Control>(), "one more descriptor would fit, or the last would not");
    assert!(align_of::<Control>() >= align_of::<libc::cmsghdr>(), "the control message is not aligned");
};

impl Control {
    fn new() -> Self {
        Self([MaybeUninit::zeroed(); 5])
    }

    /// Puts one control message with these descriptors, at most [`MAX_DESCRIPTORS`], here and into
    /// the header.
    fn put(&mut self, message: &mut libc::msghdr, descriptors: &[BorrowedFd<'_>]) {
        let length = size_of_val(descriptors) as u32;
        message.msg_control = self.0.as_mut_ptr().cast();
        // SAFETY: there is room for a message of that length (see the assertion above),
        // `CMSG_FIRSTHDR` gives its aligned beginning. A `BorrowedFd` is the number itself, by its
        // documentation.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(length) as _;
            let header = libc::CMSG_FIRSTHDR(message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(length) as _;
            descriptors
                .as_ptr()
                .cast::<u8>()
                .copy_to_nonoverlapping(libc::CMSG_DATA(header), length as usize);
        }
    }
}

/// Returns the descriptors in a received message.
///
/// # Safety
/// `recvmsg` has succeeded with this header and a control buffer that still exists; this is called
/// once.
unsafe fn taken(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    // SAFETY: the kernel has written well-formed control messages and their total length; each
    // number in an `SCM_RIGHTS` message is a new descriptor of this process, and nobody else's.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let length = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let numbers = libc::CMSG_DATA(header).cast::<RawFd>();
                for index in 0..length / size_of::<RawFd>() {
                    descriptors.push(OwnedFd::from_raw_fd(numbers.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    descriptors
}

/// Calls until it is not interrupted.
fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        if let Ok(count) = usize::try_from(call()) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Converts a duration for the kernel. 0 is for ever there, so a time shorter than a microsecond
/// becomes one.
fn time(duration: Option<Duration>) -> TimeVal {
    let micros = duration.map_or(0, |duration| duration.as_micros().max(1));
    TimeVal::microseconds(i64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::IntoRawFd;
    use std::time::Instant;

    use super::*;

    #[test]
    fn unread_bytes_are_counted() {
        let (near, far) = pair(Kind::Stream).unwrap();
        assert!(!has_unread(&near).unwrap());
        send_with(&near, b"text", &[], Wait::Never).unwrap();
        assert!(has_unread(&near).unwrap());
        receive_with(&far, &mut [0; 2], Wait::Never).unwrap();
        assert!(has_unread(&near).unwrap());
        receive_with(&far, &mut [0; 8], Wait::Never).unwrap();
        assert!(!has_unread(&near).unwrap());
    }

    #[test]
    fn nothing_can_be_sent_to_a_socket_that_only_sends() {
        let (near, far) = pair(Kind::Sequence).unwrap();
        make_send_only(&near).unwrap();
        let (_reader, writer) = io::pipe().unwrap();
        for descriptors in [&[][..], &[writer.as_fd()][..]] {
            let sent = send_with(&far, b"x", descriptors, Wait::Never);
            assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
        // The other direction is as it was, and so is its end.
        send_with(&near, b"order", &[writer.as_fd()], Wait::Never).unwrap();
        assert_eq!(receive_with(&far, &mut [0; 8], Wait::Never).unwrap().0, 5);
        assert!(!has_hung_up(&far));
        drop(near);
        assert!(has_hung_up(&far));
    }

    #[test]
    fn descriptors_arrive_with_their_message_and_are_closed_on_exec() {
        let (one, other) = pair(Kind::Sequence).unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let sent = [writer.as_fd(), reader.as_fd(), one.as_fd(), other.as_fd()];
        assert_eq!(send_with(&one, b"x", &sent, Wait::Allowed).unwrap(), 1);
        assert_eq!(send_with(&one, b"plain", &[], Wait::Allowed).unwrap(), 5);
        drop(writer);
        assert_eq!(next_length(&other, Wait::Allowed).unwrap(), 1);
        let mut buffer = [0; 16];
        let (count, mut came) = receive_with(&other, &mut buffer, Wait::Allowed).unwrap();
        assert_eq!((&buffer[..count], came.len()), (&b"x"[..], 4));
        for descriptor in &came {
            let flags = fcntl(descriptor, FcntlArg::F_GETFD).unwrap();
            assert_eq!(flags & FdFlag::FD_CLOEXEC.bits(), FdFlag::FD_CLOEXEC.bits());
        }
        File::from(came.remove(0)).write_all(b"through").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through", "and the last writer was closed");
        let (count, came) = receive_with(&other, &mut buffer, Wait::Allowed).unwrap();
        assert_eq!((&buffer[..count], came.len()), (&b"plain"[..], 0));
    }

    #[test]
    fn an_oversized_message_is_an_error_without_a_leak() {
        let (one, other) = pair(Kind::Sequence).unwrap();
        assert!(send_with(&one, b"x", &[one.as_fd(); MAX_DESCRIPTORS + 1], Wait::Never).is_err());
        assert!(send_with(&one, b"", &[one.as_fd()], Wait::Never).is_err());
        // A hostile sender is not bound to that.
        let numbers = [one.as_raw_fd(); 2 * MAX_DESCRIPTORS];
        let fds = [nix::sys::socket::ControlMessage::ScmRights(&numbers)];
        let part = [io::IoSlice::new(b"x")];
        let flags = nix::sys::socket::MsgFlags::empty();
        nix::sys::socket::sendmsg::<()>(one.as_raw_fd(), &part, &fds, flags, None).unwrap();
        let error = receive_with(&other, &mut [0; 16], Wait::Never).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        send_with(&one, &[7; 100], &[], Wait::Never).unwrap();
        assert_eq!(next_length(&other, Wait::Never).unwrap(), 100);
        let error = receive_with(&other, &mut [0; 16], Wait::Never).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        // If a received copy of `one` were still open, this would wait for ever and not see the
        // end.
        drop(one);
        assert_eq!(receive_with(&other, &mut [0; 16], Wait::Never).unwrap().0, 0);
    }

    #[test]
    fn waiting_can_be_refused_or_bounded() {
        let (one, other) = pair(Kind::Stream).unwrap();
        let error = receive_with(&other, &mut [0; 1], Wait::Never).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        set_timeouts(&other, Some(Duration::from_millis(30)), Some(Duration::from_millis(30))).unwrap();
        set_buffers(&other, Some(4096), Some(4096)).unwrap();
        let begin = Instant::now();
        let error = receive_with(&other, &mut [0; 1], Wait::Allowed).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let mut sent = 0;
        let error = loop {
            match send_with(&other, &[0; 4096], &[], Wait::Allowed) {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
            assert!(sent < 1 << 20, "the buffer has no bound");
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        // Twice 30 ms, each counted in the kernel's ticks of up to 10 ms.
        assert!(begin.elapsed() >= Duration::from_millis(40), "{:?}", begin.elapsed());
        drop(one);
        // A process that another test has forked may have the other end until its exec.
        let error = loop {
            match send_with(&other, b"x", &[], Wait::Allowed).unwrap_err().kind() {
                io::ErrorKind::WouldBlock => {}
                error => break error,
            }
        };
        assert!(matches!(error, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{error}");
    }

    #[test]
    fn only_inherited_descriptors_can_be_taken_and_once() {
        let (one, _other) = pair(Kind::Stream).unwrap();
        let number = one.into_raw_fd();
        assert!(inherited(number).is_err(), "it is this process's own");
        // As after exec.
        // SAFETY: open, and owned by nobody: `one` has given it up.
        keep_over_exec(unsafe { BorrowedFd::borrow_raw(number) }, true).unwrap();
        let taken = inherited(number).unwrap();
        assert_eq!(fcntl(&taken, FcntlArg::F_GETFD).unwrap(), libc::FD_CLOEXEC);
        assert!(inherited(number).is_err(), "twice");
        assert!(inherited(2).is_err());
        assert!(inherited(100_000).is_err());
    }

    #[test]
    fn a_reopened_descriptor_has_its_own_flags() {
        let (mut reader, writer) = io::pipe().unwrap();
        let again = reopen_for_append(&writer).unwrap();
        let flags = |fd: &dyn AsFd| OFlag::from_bits_retain(fcntl(fd.as_fd(), FcntlArg::F_GETFL).unwrap());
        assert!(flags(&again).contains(OFlag::O_NONBLOCK | OFlag::O_APPEND));
        assert!(!flags(&writer).contains(OFlag::O_NONBLOCK));
        let mut again = File::from(again);
        let error = std::iter::repeat_with(|| again.write(&[7; 4096])).find_map(Result::err).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let (used, size) = pipe_use(&writer).unwrap();
        assert!(used >= 4096 && used == size, "{used} of {size}");
        reader.read_exact(&mut vec![0; 1000]).unwrap();
        assert_eq!(pipe_use(&again).unwrap(), (used - 1000, size));
        let (socket, _other) = pair(Kind::Stream).unwrap();
        assert!(reopen_for_append(&socket).is_err() && pipe_use(&socket).is_err());
    }

    #[test]
    fn a_broken_pipe_is_an_error_and_no_signal() {
        let (reader, writer) = io::pipe().unwrap();
        assert_eq!(write_to_pipe(&writer, b"text").unwrap(), 4);
        drop(reader);
        // SAFETY: the copy makes system calls only, and ends.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            // SAFETY: the action is a number; Rust programs ignore the signal otherwise.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            let is_broken = |_| {
                write_to_pipe(&writer, b"text").is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
            };
            let status = if (0..2).all(is_broken) { 7 } else { 1 };
            // SAFETY: no conditions.
            unsafe { libc::_exit(status) }
        }
        let mut status = 0;
        // SAFETY: the id is a child's.
        assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "{status}");
    }

    #[test]
    fn a_hang_up_is_when_the_last_copy_is_closed() {
        let (one, other) = pair(Kind::Sequence).unwrap();
        let copy = one.try_clone().unwrap();
        send_with(&one, b"unread", &[], Wait::Never).unwrap();
        drop(one);
        assert!(!has_hung_up(&other));
        drop(copy);
        assert!(has_hung_up(&other));
    }

    #[test]
    fn a_descriptor_can_be_kept() {
        let (one, _other) = pair(Kind::Stream).unwrap();
        let flags = || fcntl(&one, FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags(), libc::FD_CLOEXEC);
        keep_over_exec(&one, true).unwrap();
        assert_eq!(flags(), 0);
        keep_over_exec(&one, false).unwrap();
        assert_eq!(flags(), libc::FD_CLOEXEC);
    }
}
