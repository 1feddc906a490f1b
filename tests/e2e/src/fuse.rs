//! File systems of a program (FUSE) that misbehave.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

/// A mount with one file, which everybody may open.
#[derive(Debug)]
pub struct FuseMount(TempDir);

impl FuseMount {
    /// Mounts a file whose readers wait until the mount is dropped; `None` where that is not
    /// possible: it takes root, and FUSE.
    ///
    /// # Panics
    /// There can be no temporary directory.
    #[must_use]
    pub fn stuck() -> Option<Self> {
        Self::new(None)
    }

    /// Mounts a file that can be read, and reports an error when it is closed; `None` as for
    /// [`stuck`](Self::stuck).
    ///
    /// # Panics
    /// There can be no temporary directory.
    #[must_use]
    pub fn failing_on_close(content: &str) -> Option<Self> {
        Self::new(Some(content.as_bytes().to_vec()))
    }

    fn new(content: Option<Vec<u8>>) -> Option<Self> {
        let mut device = File::options().read(true).write(true).open("/dev/fuse").ok()?;
        let directory =
            tempfile::Builder::new().prefix("e2e-").tempdir_in("/tmp").expect("a directory in /tmp");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("e2e"), directory.path(), Some("fuse"), flags, Some(&*options)).ok()?;
        thread::spawn(move || while serve(&mut device, content.as_deref()).is_some() {});
        Some(Self(directory))
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.0.path().join("file")
    }
}

impl Drop for FuseMount {
    fn drop(&mut self) {
        // Who reads is let go. The directory cannot be removed while it is mounted on.
        let _ = umount2(self.0.path(), MntFlags::MNT_FORCE | MntFlags::MNT_DETACH);
    }
}

// Operations of linux/fuse.h.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;

/// Answers a request of the kernel; `None` at the end. Without a content, readers get no answer.
fn serve(device: &mut File, content: Option<&[u8]>) -> Option<()> {
    let mut request = vec![0; 1 << 20];
    let length = device.read(&mut request).ok()?;
    let word = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().unwrap_or_default());
    let size = content.map_or(4, |content| u32::try_from(content.len()).unwrap_or_default());
    let node = if word(16) == 1 { Node::Root } else { Node::File };
    let (error, answer): (i32, Vec<u8>) = match word(4) {
        _ if length < 40 => return None,
        FORGET | INTERRUPT => return Some(()),
        READ if content.is_none() => return Some(()),
        READ => {
            let rest = content?.get(word(48) as usize..).unwrap_or_default();
            (0, rest[..rest.len().min(word(56) as usize)].to_vec())
        }
        RELEASE => (0, Vec::new()),
        FLUSH if content.is_some() => (-5, Vec::new()),
        // The version, and room for writes.
        INIT => {
            let mut words = [0_u32; 16];
            (words[0], words[1], words[5]) = (7, 31, 4096);
            (0, bytes(&words))
        }
        // Apache looks for .htaccess, too.
        LOOKUP if !request[40..length].starts_with(b"file\0") => (-2, Vec::new()),
        LOOKUP => (0, [bytes(&[2, 0, 0, 0, 60, 0, 60, 0, 0, 0]), Node::File.attributes(size)].concat()),
        GETATTR => (0, [bytes(&[60, 0, 0, 0]), node.attributes(size)].concat()),
        OPEN => (0, bytes(&[0; 4])),
        // Not implemented.
        _ => (-38, Vec::new()),
    };
    let mut message =
        bytes(&[u32::try_from(16 + answer.len()).ok()?, error.cast_unsigned(), word(8), word(12)]);
    message.extend(answer);
    device.write_all(&message).ok()
}

#[derive(Clone, Copy)]
enum Node {
    Root,
    File,
}

impl Node {
    /// As `fuse_attr`.
    fn attributes(self, size: u32) -> Vec<u8> {
        let (number, length, mode) = match self {
            Self::Root => (1, 0, 0o40_755),
            Self::File => (2, size, 0o100_644),
        };
        let mut words = [0_u32; 22];
        (words[0], words[2], words[15], words[16], words[20]) = (number, length, mode, 1, 4096);
        bytes(&words)
    }
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
