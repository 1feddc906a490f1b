//! Users and groups: those of this process, and those in the system's database.

use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Gid, Group, SysconfVar, Uid, User, getegid, geteuid, getgrouplist, sysconf};

/// A user's entry in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// The home directory.
    pub home: PathBuf,
}

/// Returns the user that this process runs as.
#[must_use]
pub fn own_user() -> u32 {
    geteuid().as_raw()
}

/// Returns the group that this process runs as.
#[must_use]
pub fn own_group() -> u32 {
    getegid().as_raw()
}

/// Returns whether this process runs as root.
#[must_use]
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Looks up a user. Returns `None` if there is none with this id, or the database cannot be read.
#[must_use]
pub fn user(id: u32) -> Option<Entry> {
    let user = User::from_uid(Uid::from_raw(id)).ok().flatten()?;
    Some(Entry { name: user.name, home: user.dir })
}

/// Looks up the id of a user. Returns `None` if there is none of this name, or the database cannot
/// be read.
#[must_use]
pub fn user_id(name: &str) -> Option<u32> {
    Some(User::from_name(name).ok().flatten()?.uid.as_raw())
}

/// Looks up the id of a group. Returns `None` if there is none of this name, or the database cannot
/// be read.
#[must_use]
pub fn group_id(name: &str) -> Option<u32> {
    Some(Group::from_name(name).ok().flatten()?.gid.as_raw())
}

/// Lists the groups of a user whose primary group is `group`, as `initgroups` does. Returns `None`
/// if they cannot be found.
#[must_use]
pub fn groups_of(user: &str, group: u32) -> Option<Vec<u32>> {
    let name = CString::new(user).ok()?;
    let groups = getgrouplist(&name, Gid::from_raw(group)).ok()?;
    Some(groups.into_iter().map(Gid::as_raw).collect())
}

/// Returns how many supplementary groups a process can have.
#[must_use]
pub fn max_groups() -> usize {
    let most = sysconf(SysconfVar::NGROUPS_MAX).ok().flatten();
    most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_in_the_database() {
        assert_eq!(user(0).map(|entry| entry.name).as_deref(), Some("root"));
        assert_eq!((user_id("root"), group_id("root")), (Some(0), Some(0)));
        assert!(groups_of("root", 0).is_some_and(|groups| groups.contains(&0)));
        assert_eq!(is_root(), own_user() == 0);
    }

    #[test]
    fn an_account_outside_of_the_database_is_none() {
        assert_eq!((user(4_242_424), user_id("no such user"), group_id("no such group")), (None, None, None));
        assert_eq!(groups_of("a\0b", 0), None);
        assert!(max_groups() >= 32);
    }
}
