//! Words of memory that several processes see.
//!
//! They lie in a sealed memory file: its size cannot change any more, so that no process can make
//! another one's access fail. That is checked when a file is mapped; who sends a descriptor does
//! not have to be trusted.

mod long;

use std::ffi::{CStr, c_int};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::resource::{Resource, getrlimit};

pub use long::{LongWords, ReadOnlyLongWords};

/// The seals that keep the size as it is.
const SIZE: c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;

/// Shared words that this process may read and write.
#[derive(Debug)]
pub struct Words(Mapping<AtomicU32>);

/// Shared words that this process can only read.
#[derive(Debug)]
pub struct ReadOnlyWords(Mapping<AtomicU32>);

impl Words {
    /// Creates a sealed file of `count` words, all 0, and its words. The descriptor is closed on
    /// exec; `name` is seen in `/proc/<pid>/maps`.
    ///
    /// # Errors
    /// The system has no memory or no descriptor left.
    pub fn create(name: &CStr, count: usize) -> io::Result<(OwnedFd, Self)> {
        let file = new_file(name, length::<AtomicU32>(count)?)?;
        seal(&file, SIZE | libc::F_SEAL_SEAL)?;
        let words = Self::map(&file, count)?;
        Ok((file, words))
    }

    /// Creates, like [`create`](Self::create), a file that can only be read by those who get the
    /// descriptor. What is returned, and its copies in forked processes, can be written to.
    ///
    /// # Errors
    /// The system has no memory or no descriptor left, or is Linux before 5.1.
    pub fn create_for_readers(name: &CStr, count: usize) -> io::Result<(OwnedFd, Self)> {
        let file = new_file(name, length::<AtomicU32>(count)?)?;
        seal(&file, SIZE)?;
        let words = Self::map(&file, count)?;
        // Without it, whoever has mapped the file for reading could make the mapping a writable
        // one.
        seal(&file, libc::F_SEAL_FUTURE_WRITE | libc::F_SEAL_SEAL)?;
        Ok((file, words))
    }

    /// Maps the first `count` words of a file made by [`create`](Self::create), perhaps by another
    /// process. The descriptor is not needed any longer.
    ///
    /// # Errors
    /// The file is shorter, or can still be resized; or the system refuses.
    pub fn map(file: impl AsFd, count: usize) -> io::Result<Self> {
        Mapping::new(file, count, libc::PROT_READ | libc::PROT_WRITE).map(Self)
    }

    /// Returns the word at `index`.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> Option<&AtomicU32> {
        self.0.get(index)
    }

    /// Sets the word at `index`, if there is one.
    #[inline]
    pub fn store(&self, index: usize, value: u32) {
        if let Some(word) = self.0.get(index) {
            word.store(value, Ordering::Release);
        }
    }

    /// Returns the word at `index`; 0 where there is none.
    #[must_use]
    #[inline]
    pub fn load(&self, index: usize) -> u32 {
        self.0.load(index)
    }

    /// Returns all words.
    #[must_use]
    pub const fn as_slice(&self) -> &[AtomicU32] {
        self.0.as_slice()
    }
}

impl ReadOnlyWords {
    /// Maps words like [`Words::map`]; this mapping cannot be written to.
    ///
    /// # Errors
    /// The file is shorter, or can still be resized; or the system refuses.
    pub fn map(file: impl AsFd, count: usize) -> io::Result<Self> {
        Mapping::new(file, count, libc::PROT_READ).map(Self)
    }

    /// Returns the word at `index`; 0 where there is none.
    #[must_use]
    #[inline]
    pub fn load(&self, index: usize) -> u32 {
        self.0.load(index)
    }
}

/// Mapped words, atomic integers of the type `W`; unmapped when dropped.
#[derive(Debug)]
struct Mapping<W> {
    words: NonNull<W>,
    count: usize,
}

/// The types of words: integers that are accessed as atomics.
trait Word {}

impl Word for AtomicU32 {}

// SAFETY: the memory is only reached as atomics, and belongs to the process, not to a thread.
unsafe impl<W: Word> Send for Mapping<W> {}
// SAFETY: the memory is only reached as atomics.
unsafe impl<W: Word> Sync for Mapping<W> {}

impl<W> Mapping<W> {
    fn new(file: impl AsFd, count: usize, protection: c_int) -> io::Result<Self> {
        let (file, length) = (file.as_fd(), length::<W>(count)?);
        // SAFETY: the command takes no argument.
        let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
        if seals < 0 {
            return Err(io::Error::last_os_error());
        }
        let size = nix::sys::stat::fstat(file)?.st_size;
        if seals & libc::F_SEAL_SHRINK == 0 || u64::try_from(size).unwrap_or(0) < length as u64 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a shared memory file is shorter than agreed, or can still be cut",
            ));
        }
        // SAFETY: a new mapping at an address of the kernel's choice, of a file that has and keeps
        // this length.
        let address =
            unsafe { libc::mmap(ptr::null_mut(), length, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let words = NonNull::new(address.cast()).ok_or_else(too_large)?;
        Ok(Self { words, count })
    }
}

impl<W: Word> Mapping<W> {
    #[inline]
    fn get(&self, index: usize) -> Option<&W> {
        // SAFETY: within the mapping, which is aligned to pages and lives as long as `self`. Other
        // processes change the words, which is what atomics are for.
        (index < self.count).then(|| unsafe { self.words.add(index).as_ref() })
    }

    const fn as_slice(&self) -> &[W] {
        // SAFETY: the mapping has so many words, is aligned to pages and lives as long as `self`.
        // Other processes change the words, which is what atomics are for.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.count) }
    }
}

impl Mapping<AtomicU32> {
    #[inline]
    fn load(&self, index: usize) -> u32 {
        self.get(index).map_or(0, |word| word.load(Ordering::Acquire))
    }
}

impl<W> Drop for Mapping<W> {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no reference into it outlives the value.
        unsafe { libc::munmap(self.words.as_ptr().cast(), self.count * size_of::<W>()) };
    }
}

/// Returns a memory file of so many bytes, all 0.
fn new_file(name: &CStr, length: usize) -> io::Result<OwnedFd> {
    // SAFETY: a C string; the descriptor is new, and nobody else's.
    let file = unsafe {
        let file = libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        if file < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(file)
    };
    resize(&file, length)?;
    Ok(file)
}

/// Changes the length of a memory file. The limit of files' sizes holds for them, too: the system
/// would end this process if it were exceeded.
fn resize(file: &OwnedFd, length: usize) -> io::Result<()> {
    let size = libc::off_t::try_from(length).map_err(|_| too_large())?;
    if getrlimit(Resource::RLIMIT_FSIZE)?.0 < length as u64 {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    // SAFETY: it does not concern memory of this process.
    if unsafe { libc::ftruncate(file.as_raw_fd(), size) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn seal(file: &OwnedFd, seals: c_int) -> io::Result<()> {
    // SAFETY: it does not concern memory of this process.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Returns the length of so many words in bytes, never 0.
fn length<W>(count: usize) -> io::Result<usize> {
    match count.checked_mul(size_of::<W>()) {
        Some(length) if length > 0 => Ok(length),
        _ => Err(too_large()),
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "shared memory cannot have this size")
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    #[test]
    fn all_mappings_share_their_content() {
        let (file, words) = Words::create(c"test", 2000).unwrap();
        let (other, reader) = (Words::map(&file, 2000).unwrap(), ReadOnlyWords::map(&file, 1000).unwrap());
        drop(file);
        words.get(7).unwrap().fetch_add(5, Ordering::Relaxed);
        other.store(1999, 9);
        assert_eq!((reader.load(7), words.load(1999), other.load(7)), (5, 9, 5));
        assert_eq!((reader.load(1999), words.load(2000)), (0, 0), "beyond the end");
        assert!(words.get(2000).is_none());
        other.store(2000, 1);
    }

    #[test]
    fn a_file_that_could_shrink_is_refused() {
        // SAFETY: a C string; the descriptor is new.
        let file =
            unsafe { OwnedFd::from_raw_fd(libc::memfd_create(c"open".as_ptr(), libc::MFD_ALLOW_SEALING)) };
        let mut file = File::from(file);
        file.write_all(&[0; 4096]).unwrap();
        assert_eq!(ReadOnlyWords::map(&file, 16).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let (pipe, _other) = io::pipe().unwrap();
        assert!(Words::map(&pipe, 16).is_err());
    }

    #[test]
    fn a_limit_of_sizes_is_an_error() {
        // SAFETY: the copy of this process makes files, and ends.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let is_limited = nix::sys::resource::setrlimit(Resource::RLIMIT_FSIZE, 8192, 8192).is_ok();
            let small = Words::create(c"test", 2048).is_ok();
            let large = Words::create(c"test", 2049).map_err(|error| error.raw_os_error());
            let is_right = is_limited && small && matches!(large, Err(Some(libc::EFBIG)));
            crate::exit::now(i32::from(!is_right));
        }
        let exit = crate::process::Child::open(pid).unwrap().wait().unwrap();
        assert_eq!(exit, crate::process::Exit::Status(0));
    }

    #[test]
    fn readers_cannot_become_writers() {
        let protect = |words: &Mapping<AtomicU32>| {
            let (address, length) = (words.words.as_ptr().cast(), words.count * size_of::<AtomicU32>());
            // SAFETY: the mapping's own pages; what reads them still can.
            let result = unsafe { libc::mprotect(address, length, libc::PROT_READ | libc::PROT_WRITE) };
            if result == 0 { Ok(()) } else { Err(io::Error::last_os_error().kind()) }
        };
        let (file, words) = Words::create_for_readers(c"test", 16).unwrap();
        let reader = ReadOnlyWords::map(&file, 16).unwrap();
        assert_eq!(protect(&reader.0), Err(io::ErrorKind::PermissionDenied));
        words.store(3, 7);
        assert_eq!(reader.load(3), 7);
        // It is the seal that keeps them from it.
        let (file, _words) = Words::create(c"test", 16).unwrap();
        assert_eq!(protect(&ReadOnlyWords::map(&file, 16).unwrap().0), Ok(()));
    }

    #[test]
    fn a_file_that_is_too_short_is_refused_and_none_can_be_resized() {
        let (file, _words) = Words::create(c"test", 16).unwrap();
        assert_eq!(Words::map(&file, 17).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let file = File::from(file);
        assert!(file.set_len(0).is_err());
        assert!(file.set_len(8192).is_err());
        assert!(Words::create(c"none", 0).is_err());
    }
}
