use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{BorrowedFd, IntoRawFd};
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
        let is_broken =
            |_| write_to_pipe(&writer, b"text").is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
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
