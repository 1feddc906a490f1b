//! Messages that another process reads from a descriptor, whatever their size.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;

use nix::sys::memfd::{MFdFlags, memfd_create};

/// A file in memory that holds `bytes`, to be read from its beginning; closed on exec.
///
/// # Errors
/// The system has no memory or no descriptor left.
pub fn file(name: &CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_message_is_read_from_its_beginning() {
        let mut text = String::new();
        File::from(file(c"test", b"text").unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
    }
}
