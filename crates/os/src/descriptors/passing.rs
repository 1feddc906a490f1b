//! Messages between processes, and descriptors that go with them.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{setsockopt, sockopt};

use super::interrupted::retry;

/// The most descriptors that go with one message.
pub const MAX_DESCRIPTORS: usize = 6;

/// The permission of a call to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// As long as the socket's own mode and timeout say.
    Allowed,
    /// It never waits: [`io::ErrorKind::WouldBlock`] instead.
    Never,
}

/// The sender of a message, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// Its process id.
    pub pid: i32,
    /// Its user id.
    pub uid: u32,
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
    let flags = libc::MSG_NOSIGNAL | wait.flag();
    if descriptors.is_empty() {
        // It costs the kernel less.
        return retry(|| {
            // SAFETY: `bytes` are only read, and outlive the call.
            unsafe { libc::send(socket.as_fd().as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) }
        });
    }
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control::new();
    // SAFETY: all zeroes is an empty header.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    control.put(&mut message, descriptors);
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

/// Has the kernel say who has sent a message through this socket, see [`receive_sender`].
///
/// # Errors
/// It is not a socket.
pub fn name_senders(socket: impl AsFd) -> io::Result<()> {
    Ok(setsockopt(&socket, sockopt::PassCred, &true)?)
}

/// Receives a message of a [`Kind::Sequence`](super::Kind::Sequence) without waiting, whatever it says. Returns its
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

/// Returns the length of the message that comes next, of a [`Kind::Sequence`](super::Kind::Sequence); waits for one. 0 at
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
