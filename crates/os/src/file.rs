//! Files that somebody else has opened, or may have put there.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::mounts;

/// Returns whether a descriptor is open for reading.
///
/// # Errors
/// The kernel does not say.
pub fn is_readable(file: impl AsFd) -> io::Result<bool> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    Ok(flags & OFlag::O_ACCMODE != OFlag::O_WRONLY && !flags.contains(OFlag::O_PATH))
}

/// Returns the device and the number of a file, which no other file has as long as this one is
/// open.
///
/// # Errors
/// The kernel does not say.
pub fn identity(file: impl AsFd) -> io::Result<(u64, u64)> {
    let stat = nix::sys::stat::fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Reads from a place in a file, and returns how many bytes; 0 at its end.
///
/// # Errors
/// It cannot be read.
pub fn read_at(file: impl AsFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    loop {
        match nix::sys::uio::pread(file.as_fd(), buffer, offset) {
            Err(Errno::EINTR) => {}
            read => return Ok(read?),
        }
    }
}

/// Reads a small regular file, of 64 KB at most.
///
/// # Errors
/// See [`read_regular`].
pub fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    read_regular(path, 64 << 10)
}

/// Reads a regular file. A pipe, which would have the reader wait, is none, nor is a device without
/// an end.
///
/// # Errors
/// It cannot be read, is no regular file, or is longer than `most` bytes.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > most { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(content) }
}

/// The most names of a directory that are read: whoever owns it can make any number.
const MOST_NAMES: usize = 10_000;

/// Returns the names in a directory, as far as they can be read, and no more than 10,000.
#[must_use]
pub fn names(directory: &Path) -> Vec<OsString> {
    first_names(directory, MOST_NAMES)
}

fn first_names(directory: &Path, most: usize) -> Vec<OsString> {
    let entries = directory.read_dir().into_iter().flatten().take(most);
    entries.flatten().map(|entry| entry.file_name()).collect()
}

/// The status of an open file, as the kernel knows it. Nobody else is asked, such as a file
/// system's server, which may take for ever: what that would say is what it said last.
#[derive(Debug, Clone, Copy)]
pub struct FileStatus {
    regular_length: Option<u64>,
    mount: Option<u64>,
    has_block_device: bool,
}

impl FileStatus {
    /// Asks for the facts of `file`.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn read(file: impl AsFd) -> io::Result<Self> {
        let mut facts = MaybeUninit::<libc::statx>::uninit();
        let descriptor = file.as_fd().as_raw_fd();
        let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
        let of_regular = libc::STATX_TYPE | libc::STATX_SIZE;
        let wanted = of_regular | libc::STATX_MNT_ID;
        // SAFETY: an empty path is that of the descriptor, which is open; the kernel fills the
        // structure.
        let result = unsafe { libc::statx(descriptor, c"".as_ptr(), flags, wanted, facts.as_mut_ptr()) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has succeeded.
        let facts = unsafe { facts.assume_init() };
        let is_regular = u32::from(facts.stx_mode) & libc::S_IFMT == libc::S_IFREG;
        let has_mount = facts.stx_mask & libc::STATX_MNT_ID != 0;
        Ok(Self {
            regular_length: (is_regular && facts.stx_mask & of_regular == of_regular)
                .then_some(facts.stx_size),
            mount: if has_mount { Some(facts.stx_mnt_id) } else { mounts::id_in_proc(descriptor) },
            has_block_device: facts.stx_dev_major != 0,
        })
    }

    /// Returns the length in bytes; `None` if it is no regular file.
    #[must_use]
    pub const fn regular_length(&self) -> Option<u64> {
        self.regular_length
    }

    /// Returns `false` if the file is on the file system of a network, or of a program (FUSE): who
    /// reads it may wait for that. Of a mount that this process does not see, perhaps because
    /// another one has made it for itself, only a file system on a block device counts as local: to
    /// mount that takes root. Where nothing is known (without `/proc`), the file counts as local.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.mount.and_then(mounts::is_local).unwrap_or(self.mount.is_none() || self.has_block_device)
    }
}

#[cfg(test)]
mod tests {
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
    fn a_directory_of_any_size_has_no_more_names_than_are_read() {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..3 {
            std::fs::write(directory.path().join(number.to_string()), "").unwrap();
        }
        assert_eq!((names(directory.path()).len(), first_names(directory.path(), 2).len()), (3, 2));
        assert!(names(Path::new("/nonexistent")).is_empty());
    }

    #[test]
    fn small_files_are_read_and_pipes_are_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        std::fs::write(path("small"), "x").unwrap();
        std::fs::write(path("large"), vec![0; (64 << 10) + 1]).unwrap();
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read_small(&path("small")).unwrap(), b"x");
        for name in ["large", "pipe", "none"] {
            assert!(read_small(&path(name)).is_err(), "{name}");
        }
        let mut names = names(directory.path());
        names.sort();
        assert_eq!(names, ["large", "pipe", "small"]);
        assert!(super::names(&path("none")).is_empty());
    }

    #[test]
    fn regular_files_have_a_length() {
        let regular_length =
            |file: &dyn AsFd| FileStatus::read(file.as_fd()).map(|facts| facts.regular_length());
        let me = File::open("/proc/self/exe").unwrap();
        assert_eq!(regular_length(&me).unwrap(), Some(me.metadata().unwrap().len()));
        let null: OwnedFd = File::open("/dev/null").unwrap().into();
        assert_eq!(regular_length(&null).unwrap(), None);
        assert_eq!(regular_length(&File::open("/").unwrap()).unwrap(), None);
        let (socket, _other) = crate::descriptors::pair(crate::descriptors::Kind::Stream).unwrap();
        assert_eq!(regular_length(&socket).unwrap(), None);
    }

    #[test]
    fn files_of_other_kinds_are_not_local() {
        let is_local = |file: &dyn AsFd| FileStatus::read(file.as_fd()).unwrap().is_local();
        let program = File::open(std::env::current_exe().unwrap()).unwrap();
        assert!(is_local(&program), "this program is built on a local file system");
        assert!(is_local(&program), "as it is remembered");
        assert!(!is_local(&File::open("/proc/self/status").unwrap()));
        let memory = nix::sys::memfd::memfd_create(c"x", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
        assert!(!is_local(&memory), "nobody has mounted its file system");
    }
}
