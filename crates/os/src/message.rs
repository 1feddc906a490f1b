//! Messages that another process reads from a descriptor, whatever their size.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Creates a file in memory that holds `bytes`, to be read from its beginning; closed on exec. It
/// cannot be changed any more.
///
/// # Errors
/// The system has no memory or no descriptor left.
pub fn file(name: &CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    file.write_all(bytes)?;
    file.rewind()?;
    let seals =
        SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// Reads such a file, wherever its position is.
///
/// # Errors
/// It holds more than `longest` bytes, or is no such file.
pub fn read(file: impl AsFd, longest: u64) -> io::Result<Vec<u8>> {
    let file = File::from(file.as_fd().try_clone_to_owned()?);
    let length = file.metadata()?.len();
    if length > longest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is longer than any may be"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_message_is_read_from_its_beginning() {
        let file = file(c"test", b"text").unwrap();
        assert_eq!(read(&file, 4).unwrap(), b"text");
        assert_eq!(read(&file, 3).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut text = String::new();
        let mut file = File::from(file);
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        assert_eq!(read(&file, 4).unwrap(), b"text", "its position does not matter");
    }

    #[test]
    fn a_sent_message_does_not_change() {
        let mut file = File::from(file(c"test", b"text").unwrap());
        assert!(file.write_all(b"x").is_err());
        assert!(file.set_len(0).is_err() && file.set_len(9).is_err());
    }
}
