//! Data that is kept until somebody wants it: a little in memory, more in a file without a name.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;

use crate::file::read_at;

/// Data that grows at its end, and is read from any place.
///
/// The file is gone with the last descriptor. Its contents are gone with the spool, so that nobody
/// who was given a descriptor holds space of the file system any longer.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    most_in_memory: usize,
    memory: Vec<u8>,
    file: Option<Unnamed>,
    length: u64,
}

/// A file without a name.
#[derive(Debug)]
struct Unnamed {
    file: File,
    /// The same file, for reading only.
    reader: File,
}

impl Spool {
    /// Creates an empty spool, which has a file in `directory` once it is longer than
    /// `most_in_memory`.
    #[must_use]
    pub fn new(directory: &Path, most_in_memory: usize) -> Self {
        Self { directory: directory.to_owned(), most_in_memory, memory: Vec::new(), file: None, length: 0 }
    }

    /// Returns the length of the data.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Appends all of `bytes`, or nothing.
    ///
    /// # Errors
    /// The file cannot be created or written: the disk is full, the directory is missing, and so on.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            if self.memory.len() + bytes.len() <= self.most_in_memory {
                self.memory.extend_from_slice(bytes);
                self.length += bytes.len() as u64;
                return Ok(());
            }
            let unnamed = Unnamed::create(&self.directory)?;
            write_at(&unnamed.file, &self.memory, 0)?;
            self.file = Some(unnamed);
            self.memory = Vec::new();
        }
        if let Some(unnamed) = &self.file {
            write_at(&unnamed.file, bytes, self.length)?;
            self.length += bytes.len() as u64;
        }
        Ok(())
    }

    /// Reads from a place in the data to the beginning of `buffer`, and returns how many bytes; 0
    /// at the end.
    ///
    /// # Errors
    /// The file cannot be read, or has become shorter.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.length.saturating_sub(offset);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match &self.file {
            _ if most == 0 => Ok(0),
            None => {
                let start = self.memory.len() - usize::try_from(left).unwrap_or(self.memory.len());
                buffer[..most].copy_from_slice(&self.memory[start..start + most]);
                Ok(most)
            }
            Some(unnamed) => match read_at(&unnamed.reader, &mut buffer[..most], offset)? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                count => Ok(count),
            },
        }
    }

    /// Returns all of the data, if it is in memory.
    #[must_use]
    pub fn memory(&self) -> Option<&[u8]> {
        self.file.is_none().then_some(&*self.memory)
    }

    /// Returns the file of the data, for reading only, if there is one. It may be given to other
    /// processes: of those, only such as run as the same user could open it for writing.
    #[must_use]
    pub fn reader(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(|unnamed| unnamed.reader.as_fd())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(unnamed) = &self.file {
            // What fails here is freed with the last descriptor.
            let _ = unnamed.file.set_len(0);
        }
    }
}

impl Unnamed {
    fn create(directory: &Path) -> io::Result<Self> {
        Self::create_nameless(directory).or_else(|error| {
            // File systems without such files have their own ideas of the error; without /proc
            // there is none to read them by.
            let is_known = matches!(
                error.raw_os_error().map(Errno::from_raw),
                Some(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL | Errno::ENOENT)
            );
            if is_known { Self::create_and_unlink(directory) } else { Err(error) }
        })
    }

    /// Creates a file that never has a name.
    fn create_nameless(directory: &Path) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).mode(MODE).custom_flags(libc::O_TMPFILE);
        let file = options.open(directory)?;
        let reader = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        Ok(Self { file, reader })
    }

    /// Creates a file whose name is removed at once.
    fn create_and_unlink(directory: &Path) -> io::Result<Self> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        loop {
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!("mod_wsgi.{}.{serial}", std::process::id()));
            let mut options = File::options();
            match options.read(true).write(true).create_new(true).mode(MODE).open(&path) {
                // Left by a process that was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(file) => {
                    let reader = File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(&path);
                    std::fs::remove_file(&path)?;
                    return Ok(Self { file, reader: reader? });
                }
            }
        }
    }
}

/// Nobody may open the file by itself.
const MODE: u32 = 0o400;

fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const MOST: usize = 10;

    fn contents(spool: &Spool) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), [0; 7]);
        loop {
            match spool.read_at(&mut buffer, all.len() as u64).unwrap() {
                0 => return all,
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[test]
    fn data_moves_to_a_file_when_there_is_too_much() {
        let mut spool = Spool::new(&std::env::temp_dir(), MOST);
        assert_eq!(contents(&spool), b"");
        spool.append(b"01234567").unwrap();
        assert!(spool.reader().is_none());
        assert_eq!(spool.memory(), Some(&b"01234567"[..]));
        assert_eq!(contents(&spool), b"01234567");
        spool.append(b"89ab").unwrap();
        spool.append(b"cdefghijklm").unwrap();
        assert!(spool.memory().is_none());
        assert_eq!(contents(&spool), b"0123456789abcdefghijklm");
        assert_eq!(spool.length(), 23);
        let mut buffer = [0; 4];
        assert_eq!(spool.read_at(&mut buffer, 21).unwrap(), 2);
        assert_eq!(spool.read_at(&mut buffer, 99).unwrap(), 0);
    }

    fn check_file(unnamed: &Unnamed) {
        assert!((&unnamed.reader).write(b"x").is_err(), "it is for reading");
        write_at(&unnamed.file, b"data", 0).unwrap();
        let mut buffer = [0; 9];
        assert_eq!(read_at(&unnamed.reader, &mut buffer, 0).unwrap(), 4);
        let link = std::fs::read_link(format!("/proc/self/fd/{}", unnamed.file.as_raw_fd())).unwrap();
        assert!(link.to_string_lossy().ends_with("(deleted)"), "{link:?}");
    }

    #[test]
    fn files_have_no_name_and_readers_cannot_write() {
        check_file(&Unnamed::create(&std::env::temp_dir()).unwrap());
        check_file(&Unnamed::create_and_unlink(&std::env::temp_dir()).unwrap());
    }

    #[test]
    fn the_contents_end_with_the_spool() {
        let mut spool = Spool::new(&std::env::temp_dir(), 0);
        spool.append(b"secret").unwrap();
        let other = spool.reader().unwrap().try_clone_to_owned().unwrap();
        drop(spool);
        assert_eq!(File::from(other).metadata().unwrap().len(), 0);
    }

    #[test]
    fn a_file_that_cannot_be_made_or_read_is_an_error() {
        let mut spool = Spool::new(Path::new("/nonexistent"), MOST);
        spool.append(b"0123456789").unwrap();
        assert_eq!(spool.append(b"a").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(contents(&spool), b"0123456789", "nothing is lost");

        let mut spool = Spool::new(&std::env::temp_dir(), 0);
        spool.append(b"0123456789").unwrap();
        spool.file.as_ref().unwrap().file.set_len(5).unwrap();
        assert_eq!(spool.read_at(&mut [0; 9], 0).unwrap(), 5);
        assert!(spool.read_at(&mut [0; 9], 5).is_err());
    }
}
