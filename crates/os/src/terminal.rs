//! Terminals.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// The characters of a line.
    pub columns: u16,
    /// The lines.
    pub rows: u16,
}

/// Returns the size of a terminal; `None` if it is none, or has not said its size.
#[must_use]
pub fn size(terminal: BorrowedFd<'_>) -> Option<Size> {
    let mut size = MaybeUninit::<libc::winsize>::uninit();
    // SAFETY: the descriptor is open; the system writes one whole structure when it succeeds, and only
    // then it is read.
    let size = unsafe {
        if libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr()) != 0 {
            return None;
        }
        size.assume_init()
    };
    (size.ws_col > 0 && size.ws_row > 0).then_some(Size { columns: size.ws_col, rows: size.ws_row })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn files_are_no_terminals() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(size(file.as_fd()), None);
    }
}
