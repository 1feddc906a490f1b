//! Words of 64 bits in a file that can grow.
//!
//! Those who have mapped the file keep what they have: words never move within it, and it never
//! shrinks. Nobody but its maker can write to it, however they got its descriptor.

use std::ffi::{CStr, c_int};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Mapping, Word, length, new_file, resize, seal, too_large};

impl Word for AtomicU64 {}

/// Shared words of 64 bits, for their maker and the processes that it forks.
#[derive(Debug)]
pub struct LongWords(Mapping<AtomicU64>);

/// Shared words of 64 bits that this process can only read.
#[derive(Debug)]
pub struct ReadOnlyLongWords(Mapping<AtomicU64>);

impl LongWords {
    /// Creates a file of `count` words, all 0, and its words. The file can only be read by those who
    /// get the descriptor, which is closed on exec; `name` is seen in `/proc/<pid>/maps`.
    ///
    /// # Errors
    /// The system has no memory or no descriptor left, or is Linux before 5.1.
    pub fn create(name: &CStr, count: usize) -> io::Result<(OwnedFd, Self)> {
        /// The owner may open it for reading.
        const MODE: libc::mode_t = 0o400;
        let file = new_file(name, length::<AtomicU64>(count)?)?;
        // SAFETY: it does not concern memory of this process.
        if unsafe { libc::fchmod(file.as_raw_fd(), MODE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        seal(&file, libc::F_SEAL_SHRINK)?;
        let words = Mapping::new(&file, count, libc::PROT_READ | libc::PROT_WRITE)?;
        seal(&file, libc::F_SEAL_FUTURE_WRITE | libc::F_SEAL_SEAL)?;
        Ok((file, Self(words)))
    }

    /// Creates a file of `count` words, all 0, for other programs to write to that get its
    /// descriptor. It is closed on exec; `name` is seen in `/proc/<pid>/maps`.
    ///
    /// # Errors
    /// The system has no memory or no descriptor left.
    pub fn create_for_writers(name: &CStr, count: usize) -> io::Result<OwnedFd> {
        let file = new_file(name, length::<AtomicU64>(count)?)?;
        seal(&file, libc::F_SEAL_SHRINK)?;
        Ok(file)
    }

    /// Lengthens such a file to `count` words, if it is shorter. The new ones are 0.
    ///
    /// # Errors
    /// The system has no memory left.
    pub fn lengthen(file: &OwnedFd, count: usize) -> io::Result<()> {
        let (length, size) = (length::<AtomicU64>(count)?, nix::sys::stat::fstat(file)?.st_size);
        if u64::try_from(size).unwrap_or(0) < length as u64 { resize(file, length) } else { Ok(()) }
    }

    /// Maps the first `count` words of such a file, which another program has created. The
    /// descriptor is not needed any longer.
    ///
    /// # Errors
    /// The file is shorter, or could shrink; it is for readers only; or the system refuses.
    pub fn map(file: impl AsFd, count: usize) -> io::Result<Self> {
        Mapping::new(file, count, libc::PROT_READ | libc::PROT_WRITE).map(Self)
    }

    /// Lengthens the file to `count` words, and this mapping of it. The new ones are 0.
    ///
    /// # Errors
    /// The words as they were, and what the system says: it has no memory left.
    pub fn grow(self, file: &OwnedFd, count: usize) -> Result<Self, (Self, io::Error)> {
        if count <= self.0.count {
            return Ok(self);
        }
        let lengths = length::<AtomicU64>(self.0.count)
            .and_then(|before| Ok((before, length::<AtomicU64>(count)?)))
            .and_then(|lengths| resize(file, lengths.1).map(|()| lengths));
        let (before, after) = match lengths {
            Ok(lengths) => lengths,
            Err(error) => return Err((self, error)),
        };
        let (address, flags): (_, c_int) = (self.0.words.as_ptr().cast(), libc::MREMAP_MAYMOVE);
        // SAFETY: the mapping is this value's own, of the length `before`, and nobody has a
        // reference into it: the value was given up. The file has the new length.
        let address = unsafe { libc::mremap(address, before, after, flags) };
        if address == libc::MAP_FAILED {
            let error = io::Error::last_os_error();
            return Err((self, error));
        }
        let Some(words) = NonNull::new(address.cast()) else { return Err((self, too_large())) };
        // The former mapping is gone: it is not to be unmapped.
        std::mem::forget(self);
        Ok(Self(Mapping { words, count }))
    }

    /// Returns all words.
    #[must_use]
    #[inline]
    pub const fn as_slice(&self) -> &[AtomicU64] {
        self.0.as_slice()
    }
}

impl ReadOnlyLongWords {
    /// Maps the first `count` words of a file made by [`LongWords::create`], perhaps by another
    /// process. The descriptor is not needed any longer.
    ///
    /// # Errors
    /// The file is shorter, or could shrink; or the system refuses.
    pub fn map(file: impl AsFd, count: usize) -> io::Result<Self> {
        Mapping::new(file, count, libc::PROT_READ).map(Self)
    }

    /// Returns the number of words.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.0.count
    }

    /// Returns the word at `index`; 0 where there is none.
    #[must_use]
    #[inline]
    pub fn load(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |word| word.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_where_they_are_when_their_file_grows() {
        let (file, words) = LongWords::create(c"test", 1000).unwrap();
        let early = ReadOnlyLongWords::map(&file, 1000).unwrap();
        words.as_slice()[999].store(7 << 40, Ordering::Relaxed);
        let words = words.grow(&file, 1 << 20).map_err(|(_, error)| error).unwrap();
        let late = ReadOnlyLongWords::map(&file, 1 << 20).unwrap();
        words.as_slice()[999].fetch_add(1, Ordering::Relaxed);
        words.as_slice()[(1 << 20) - 1].store(9, Ordering::Relaxed);
        assert_eq!([early.load(999), late.load(999)], [(7 << 40) + 1; 2]);
        assert_eq!((early.load((1 << 20) - 1), late.load((1 << 20) - 1)), (0, 9));
        assert_eq!((early.count(), late.count()), (1000, 1 << 20));
        assert!(ReadOnlyLongWords::map(&file, (1 << 20) + 1).is_err(), "beyond the end");
    }

    #[test]
    fn a_copy_in_another_process_shares_them_before_and_after_growth() {
        let (file, words) = LongWords::create(c"test", 512).unwrap();
        let words = words.grow(&file, 4096).map_err(|(_, error)| error).unwrap();
        // SAFETY: the copy of this process makes one store and ends.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            words.as_slice()[4095].store(5, Ordering::Relaxed);
            // SAFETY: it ends the copy at once.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: room for the answer.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(words.as_slice()[4095].load(Ordering::Relaxed), 5);
    }

    #[test]
    fn writers_have_the_descriptor_and_readers_another_one() {
        let file = LongWords::create_for_writers(c"test", 16).unwrap();
        let reader = crate::descriptors::reopen_for_reading(&file).unwrap();
        let writer = LongWords::map(&file, 16).unwrap();
        let early = ReadOnlyLongWords::map(&reader, 16).unwrap();
        writer.as_slice()[15].store(3, Ordering::Relaxed);
        LongWords::lengthen(&file, 4096).unwrap();
        LongWords::lengthen(&file, 16).unwrap();
        LongWords::map(&file, 4096).unwrap().as_slice()[4095].store(5, Ordering::Relaxed);
        let late = ReadOnlyLongWords::map(&reader, 4096).unwrap();
        assert_eq!([early.load(15), late.load(15), late.load(4095), early.load(4095)], [3, 3, 5, 0]);
        assert!(LongWords::map(&reader, 16).is_err());
        let both = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the mapping's own pages; what reads them still can.
        assert_ne!(unsafe { libc::mprotect(early.0.words.as_ptr().cast(), 128, both) }, 0);
    }

    #[test]
    fn nobody_else_can_write() {
        let (file, words) = LongWords::create(c"test", 16).unwrap();
        let both = libc::PROT_READ | libc::PROT_WRITE;
        assert!(Mapping::<AtomicU64>::new(&file, 16, both).is_err());
        let reader = ReadOnlyLongWords::map(&file, 16).unwrap();
        // SAFETY: the mapping's own pages; what reads them still can.
        let result = unsafe { libc::mprotect(reader.0.words.as_ptr().cast(), 128, both) };
        assert_ne!(result, 0);
        assert!(std::io::Write::write_all(&mut std::fs::File::from(file), b"x").is_err());
        words.as_slice()[3].store(1, Ordering::Relaxed);
        assert_eq!(reader.load(3), 1);
    }
}
