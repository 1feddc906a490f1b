//! Files that somebody else has opened.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Returns whether a descriptor is open for reading.
///
/// # Errors
/// The kernel does not say.
pub fn is_readable(file: impl AsFd) -> io::Result<bool> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    Ok(flags & OFlag::O_ACCMODE != OFlag::O_WRONLY && !flags.contains(OFlag::O_PATH))
}

/// Reads from a place in a file, and returns how many bytes; 0 at its end.
///
/// # Errors
/// It can not be read.
pub fn read_at(file: impl AsFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    loop {
        match nix::sys::uio::pread(file.as_fd(), buffer, offset) {
            Err(Errno::EINTR) => {}
            read => return Ok(read?),
        }
    }
}

/// Returns the length of an open file, in bytes; `None` if it is no regular file. Takes what the kernel knows: where a
/// file system's server would have to be asked, which may take for ever, that is what it said last.
///
/// # Errors
/// The kernel does not say.
pub fn regular_length(file: impl AsFd) -> io::Result<Option<u64>> {
    let mut facts = MaybeUninit::<libc::statx>::uninit();
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    let wanted = libc::STATX_TYPE | libc::STATX_SIZE;
    // SAFETY: an empty path is that of the descriptor, which is open; the kernel fills the structure.
    let result =
        unsafe { libc::statx(file.as_fd().as_raw_fd(), c"".as_ptr(), flags, wanted, facts.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded.
    let facts = unsafe { facts.assume_init() };
    let is_regular = u32::from(facts.stx_mode) & libc::S_IFMT == libc::S_IFREG;
    Ok((is_regular && facts.stx_mask & wanted == wanted).then_some(facts.stx_size))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn not_every_descriptor_is_for_reading() {
        use std::os::unix::fs::OpenOptionsExt;
        let open = |write, flags: OFlag| {
            let mut options = File::options();
            options.read(true).write(write).custom_flags(flags.bits()).open("/dev/null").unwrap()
        };
        assert!(is_readable(open(false, OFlag::empty())).unwrap());
        assert!(is_readable(open(true, OFlag::empty())).unwrap());
        assert!(!is_readable(open(false, OFlag::O_PATH)).unwrap());
        assert!(!is_readable(File::options().write(true).open("/dev/null").unwrap()).unwrap());
    }

    #[test]
    fn regular_files_have_a_length() {
        let me = File::open("/proc/self/exe").unwrap();
        assert_eq!(regular_length(&me).unwrap(), Some(me.metadata().unwrap().len()));
        let null: OwnedFd = File::open("/dev/null").unwrap().into();
        assert_eq!(regular_length(&null).unwrap(), None);
        assert_eq!(regular_length(File::open("/").unwrap()).unwrap(), None);
        let (socket, _other) = crate::descriptors::pair(crate::descriptors::Kind::Stream).unwrap();
        assert_eq!(regular_length(&socket).unwrap(), None);
    }
}
