//! The kinds of file systems that are mounted.

use std::os::fd::RawFd;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock::lock;

/// File systems whose data the kernel has on a disk or in memory of its own: reading from one does
/// not wait for another system.
const LOCAL: [&str; 22] = [
    "bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "iso9660", "jfs", "msdos",
    "nilfs2", "ntfs3", "overlay", "ramfs", "reiserfs", "squashfs", "tmpfs", "udf", "vfat", "xfs", "zfs",
];

/// The time for which a reading of the mounts is trusted. An id is given to another mount when its
/// own has gone.
const BELIEVED: Duration = Duration::from_secs(10);

/// The same for a mount that is not among them: it may be new.
const BELIEVED_MISSING: Duration = Duration::from_millis(100);

/// The mounts that this process can see, as they were a moment ago.
static MOUNTS: Mutex<Option<Mounts>> = Mutex::new(None);

struct Mounts {
    when: Instant,
    /// The ids, and whether each is local.
    list: Vec<(u64, bool)>,
}

/// Returns whether a mount has a local file system; `None` if this process does not see it, or
/// `Some(true)` if it can see none, for lack of `/proc`.
pub(crate) fn is_local(mount: u64) -> Option<bool> {
    let mut known = lock(&MOUNTS);
    if let Some(mounts) = &*known {
        let age = mounts.when.elapsed();
        let found = mounts.find(mount);
        if age < if found.is_some() { BELIEVED } else { BELIEVED_MISSING } {
            return found;
        }
    }
    let Ok(table) = std::fs::read("/proc/self/mountinfo") else { return Some(true) };
    let list = String::from_utf8_lossy(&table).lines().filter_map(parse).collect();
    known.insert(Mounts { when: Instant::now(), list }).find(mount)
}

impl Mounts {
    fn find(&self, mount: u64) -> Option<bool> {
        self.list.iter().find(|(id, _)| *id == mount).map(|(_, is_local)| *is_local)
    }
}

/// Returns the id of the mount that a file was opened by as `/proc` says it, for kernels that
/// `statx` does not (before Linux 5.8).
pub(crate) fn id_in_proc(descriptor: RawFd) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// Parses a line of `mountinfo`: the id of a mount, and whether that is local.
fn parse(line: &str) -> Option<(u64, bool)> {
    let (mount, system) = line.split_once(" - ")?;
    let kind = system.split(' ').next()?;
    Some((mount.split(' ').next()?.parse().ok()?, LOCAL.contains(&kind)))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn lines_of_mounts() {
        for (line, mount) in [
            ("27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw", Some((27, true))),
            ("31 27 0:40 / /srv rw - nfs4 server:/srv rw,vers=4.2", Some((31, false))),
            ("32 27 0:41 / /home/a/b\\040c rw,nosuid - fuse.sshfs a@b: rw", Some((32, false))),
            ("33 27 0:42 / /x rw - fuseblk /dev/vdb rw", Some((33, false))),
            ("22 27 0:21 / /proc rw - proc proc rw", Some((22, false))),
            ("34 27 0:43 / / rw - overlay overlay rw,lowerdir=/a - b", Some((34, true))),
            ("", None),
            ("x - ext4 y", None),
        ] {
            assert_eq!(parse(line), mount, "{line}");
        }
    }

    #[test]
    fn proc_replaces_statx_on_old_kernels() {
        let program = File::open(std::env::current_exe().unwrap()).unwrap();
        let mount = id_in_proc(program.as_raw_fd()).unwrap();
        assert_eq!(is_local(mount), Some(true), "this program is built on a local file system");
        assert_eq!(is_local(u64::MAX), None);
        assert_eq!(id_in_proc(-1), None);
    }
}
