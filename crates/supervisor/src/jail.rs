//! The users of a jail (`chroot=`): what its own `/etc/passwd` and `/etc/group` say, as for
//! programs inside.
//!
//! The jail may belong to somebody who means no good, and this process is root: nothing outside is
//! opened by way of the jail, nothing is opened that is not a regular file, no more is read than a
//! bounded amount, and groups are believed only from files that nobody but root can have made.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use os::accounts::Entry;

/// More than the user database of any jail.
const LONGEST: u64 = 1 << 20;
/// The number of tries to resolve a path, if something is renamed meanwhile.
const TRIES: u32 = 8;

/// A jail's root directory.
#[derive(Debug)]
pub(crate) struct Jail<'a> {
    path: &'a Path,
    root: OwnedFd,
}

/// The groups of a user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Groups {
    /// The primary one first.
    pub(crate) ids: Vec<u32>,
    /// Groups that the user is listed in and does not get; with the reason and the way out.
    pub(crate) denied: Option<String>,
}

impl<'a> Jail<'a> {
    /// Opens the root directory of a jail.
    ///
    /// # Errors
    /// There is no such directory.
    pub(crate) fn open(path: &'a Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = nix::fcntl::open(path, flags, Mode::empty())?;
        Ok(Self { path, root })
    }

    /// Returns the user with this id.
    ///
    /// # Errors
    /// The reason why there is none, as the end of a sentence about the user.
    pub(crate) fn user(&self, uid: u32) -> Result<Entry, String> {
        let shown = self.path.join("etc/passwd").display().to_string();
        match self.read("etc/passwd") {
            Ok((text, _)) => user(&text, uid)
                .ok_or_else(|| format!("has no entry in {shown} (chroot= has users of its own)")),
            Err(error) => Err(format!("is not known, since {shown} cannot be read ({error})")),
        }
    }

    /// Returns the groups that `initgroups` would set: the primary one, and those that the user is
    /// listed in.
    pub(crate) fn groups(&self, name: &str, gid: u32) -> Groups {
        let shown = self.path.join("etc/group").display().to_string();
        let none = |denied| Groups { ids: vec![gid], denied };
        let (text, status) = match self.read("etc/group") {
            Ok(read) => read,
            // There is no list of groups.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return none(None),
            Err(error) => {
                return none(Some(format!(
                    "no groups are taken from {shown}: it cannot be read ({error}). Correct it, or list groups with \
                     supplementary-groups="
                )));
            }
        };
        let (ids, has_root) = groups(&text, name, gid);
        if ids.len() == 1 && !has_root {
            return none(None);
        }
        // Whoever can change one of these can list any user in any group.
        if ![self.status("."), self.status("etc"), self.status("etc/passwd"), Ok(status)].iter().all(is_roots)
        {
            return none(Some(format!(
                "no groups are taken from {shown}: others than root may write to it, to passwd beside it, or to the \
                 directories above. Change that, or list groups with supplementary-groups="
            )));
        }
        let denied = has_root.then(|| {
            format!("the group with id 0 is not taken from {shown}. If it is wanted, list it with supplementary-groups=")
        });
        Groups { ids, denied }
    }

    fn status(&self, path: &str) -> io::Result<FileStat> {
        Ok(fstat(self.find(path)?)?)
    }

    /// Returns a file of the jail, whatever it is: found, not opened. Links in the jail lead
    /// nowhere else.
    fn find(&self, path: &str) -> io::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        for _ in 1..TRIES {
            match openat2(&self.root, path, how) {
                // Something was renamed, and the kernel is not sure.
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                found => return Ok(found?),
            }
        }
        Ok(openat2(&self.root, path, how)?)
    }

    /// Returns the content and the status of a file of the jail.
    fn read(&self, path: &str) -> io::Result<(Vec<u8>, FileStat)> {
        let file = self.find(path)?;
        let status = fstat(&file)?;
        // A pipe would block, and a device might do something when it is opened.
        if SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        // The descriptor leads to the same file. A holder of a lease on it must not make this
        // process wait.
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let same = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        let opened = File::options().read(true).custom_flags(flags.bits()).open(same)?;
        let mut text = Vec::new();
        opened.take(LONGEST + 1).read_to_end(&mut text)?;
        if text.len() as u64 > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is longer than a megabyte"));
        }
        Ok((text, status))
    }
}

/// Returns whether only root, or the user of this process, can change a file. (A process that is
/// not root has no jails.)
fn is_roots(status: &io::Result<FileStat>) -> bool {
    let others = Mode::S_IWGRP | Mode::S_IWOTH;
    status.as_ref().is_ok_and(|status| {
        let is_own = status.st_uid == 0 || status.st_uid == os::accounts::own_user();
        is_own && !Mode::from_bits_truncate(status.st_mode).intersects(others)
    })
}

/// Returns the first entry of a user in the text of a `passwd`. Lines that make no sense are none.
fn user(text: &[u8], uid: u32) -> Option<Entry> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = name(fields.next()?)?;
        let _password = fields.next()?;
        if number(fields.next()?)? != uid {
            return None;
        }
        let (_gid, _description) = (fields.next()?, fields.next()?);
        let home =
            fields.next().filter(|home| home.starts_with(b"/") && !home.iter().any(u8::is_ascii_control))?;
        Some(Entry { name: name.to_owned(), home: PathBuf::from(OsStr::from_bytes(home)) })
    })
}

/// Parses the ids of a user's groups in the text of a `group`, without that of root's unless it is
/// the primary one. Returns also whether that was left out.
fn groups(text: &[u8], user: &str, gid: u32) -> (Vec<u32>, bool) {
    let (mut ids, mut known, mut has_root) = (vec![gid], HashSet::from([gid]), false);
    for line in text.split(|byte| *byte == b'\n') {
        let fields: Vec<_> = line.split(|byte| *byte == b':').collect();
        let [group, _, id, members] = fields[..] else { continue };
        let (Some(_), Some(id)) = (name(group), number(id)) else { continue };
        if !members.split(|byte| *byte == b',').any(|member| member == user.as_bytes()) || !known.insert(id) {
            continue;
        }
        if id == 0 { has_root = true } else { ids.push(id) }
    }
    (ids, has_root)
}

/// Returns a name that can stand in a variable and in a log.
fn name(field: &[u8]) -> Option<&str> {
    // Lines that begin so are comments, and references to other databases.
    let is_line =
        !field.is_empty() && !field.starts_with(b"#") && !field.starts_with(b"+") && !field.starts_with(b"-");
    std::str::from_utf8(field).ok().filter(|name| is_line && !name.chars().any(char::is_control))
}

/// Parses an id; the highest number means none to the kernel.
fn number(field: &[u8]) -> Option<u32> {
    let is_plain = !field.is_empty() && field.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(field).ok().filter(|_| is_plain)?.parse().ok();
    number.filter(|&id| id != u32::MAX)
}

#[cfg(test)]
mod tests;
