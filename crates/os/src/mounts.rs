//! On what kind of file system a file is.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// File systems whose data the kernel has on a disk or in memory of its own: to read from one waits for nobody else.
const LOCAL: [&str; 22] = [
    "bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "iso9660", "jfs", "msdos",
    "nilfs2", "ntfs3", "overlay", "ramfs", "reiserfs", "squashfs", "tmpfs", "udf", "vfat", "xfs", "zfs",
];

/// How long what was read of the mounts is believed. An id is given to another mount when its own has gone.
const BELIEVED: Duration = Duration::from_secs(10);

/// The ids of the local mounts that this process can see, as they were a moment ago.
static LOCAL_MOUNTS: Mutex<Option<(Instant, Vec<u64>)>> = Mutex::new(None);

/// Returns `false` if a file is on the file system of a network, or of a program (FUSE): who reads it may wait for that.
/// Also if it is on none that this process can see; where nothing is known (before Linux 5.8, without `/proc`), it counts
/// as local. Asks nobody but the kernel, and only for what it knows.
pub fn is_local(file: impl AsFd) -> bool {
    let Ok(Some(mount)) = mount_of(file) else { return true };
    let Ok(mut known) = LOCAL_MOUNTS.lock() else { return true };
    let mounts = match &mut *known {
        Some((when, mounts)) if when.elapsed() < BELIEVED => mounts,
        _ => {
            let Ok(table) = std::fs::read("/proc/self/mountinfo") else { return true };
            let mounts = String::from_utf8_lossy(&table).lines().filter_map(local_mount).collect();
            &mut known.insert((Instant::now(), mounts)).1
        }
    };
    mounts.contains(&mount)
}

/// Returns the id of the mount that a file was opened by; `None` if the kernel does not say (before Linux 5.8).
fn mount_of(file: impl AsFd) -> io::Result<Option<u64>> {
    let mut facts = MaybeUninit::<libc::statx>::uninit();
    // Else a network would be asked.
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: an empty path is that of the descriptor, which is open; the kernel fills the structure.
    let result = unsafe {
        libc::statx(file.as_fd().as_raw_fd(), c"".as_ptr(), flags, libc::STATX_MNT_ID, facts.as_mut_ptr())
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded.
    let facts = unsafe { facts.assume_init() };
    Ok((facts.stx_mask & libc::STATX_MNT_ID != 0).then_some(facts.stx_mnt_id))
}

/// Returns the id of the mount that a line of `mountinfo` is about, if that is local.
fn local_mount(line: &str) -> Option<u64> {
    let (mount, system) = line.split_once(" - ")?;
    let kind = system.split(' ').next()?;
    LOCAL.contains(&kind).then(|| mount.split(' ').next()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn lines_of_mounts() {
        for (line, mount) in [
            ("27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw", Some(27)),
            ("31 27 0:40 / /srv rw - nfs4 server:/srv rw,vers=4.2", None),
            ("32 27 0:41 / /home/a/b\\040c rw,nosuid - fuse.sshfs a@b: rw", None),
            ("33 27 0:42 / /x rw - fuseblk /dev/vdb rw", None),
            ("22 27 0:21 / /proc rw - proc proc rw", None),
            ("34 27 0:43 / / rw - overlay overlay rw,lowerdir=/a - b", Some(34)),
            ("", None),
            ("x - ext4 y", None),
        ] {
            assert_eq!(local_mount(line), mount, "{line}");
        }
    }

    #[test]
    fn files_of_other_kinds_are_not_local() {
        let program = File::open(std::env::current_exe().unwrap()).unwrap();
        assert!(is_local(&program), "this program is built on a local file system");
        assert!(is_local(&program), "as it is remembered");
        assert!(!is_local(File::open("/proc/self/status").unwrap()));
        let memory = nix::sys::memfd::memfd_create(c"x", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
        assert!(!is_local(memory), "nobody has mounted its file system");
    }
}
