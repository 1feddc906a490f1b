//! What the system knows of the user that a process runs as.

use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User, getegid, geteuid, getgrouplist};
use os::spawn::Account;
use wsgi_core::wire::launch;

/// A user, as far as it matters to processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its id.
    pub(crate) uid: u32,
    /// Whom a process has to become; nothing if it is that already, or can not become anybody.
    pub(crate) account: Option<Account>,
    /// Its entry in the user database.
    pub(crate) entry: Option<Entry>,
}

/// What the user database says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The user's name.
    pub(crate) name: String,
    /// The home directory.
    pub(crate) home: PathBuf,
}

/// Looks up a process group's account.
pub(crate) fn of(account: Option<&launch::Account>) -> Identity {
    let (uid, gid) = match account {
        Some(account) => (account.uid, account.gid),
        None => (geteuid().as_raw(), getegid().as_raw()),
    };
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let entry = user.map(|user| Entry { name: user.name, home: user.dir });
    let account = account.map(|account| {
        let groups = match &account.supplementary {
            Some(groups) => std::iter::once(gid).chain(groups.iter().copied()).collect(),
            None => groups(entry.as_ref(), gid),
        };
        Account { uid, gid, groups }
    });
    Identity { uid, account, entry }
}

/// As `initgroups`. A user that the system does not know has no groups but the primary one.
fn groups(entry: Option<&Entry>, gid: u32) -> Vec<u32> {
    entry
        .and_then(|entry| CString::new(entry.name.as_str()).ok())
        .and_then(|name| getgrouplist(&name, Gid::from_raw(gid)).ok())
        .map_or_else(|| vec![gid], |groups| groups.into_iter().map(Gid::as_raw).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No system has a user with this id.
    const NOBODY_AT_ALL: u32 = 3_000_000_017;

    #[test]
    fn without_an_account_it_is_the_own_user() {
        let identity = of(None);
        assert_eq!((identity.uid, identity.account), (geteuid().as_raw(), None));
        assert!(identity.entry.is_some_and(|entry| entry.home.is_absolute()));
    }

    #[test]
    fn a_group_list_that_is_given_is_the_whole_list() {
        let account = launch::Account { uid: 33, gid: 7, supplementary: Some(vec![4, 27]) };
        assert_eq!(of(Some(&account)).account.unwrap().groups, [7, 4, 27]);
        let account = launch::Account { supplementary: Some(vec![]), ..account };
        assert_eq!(of(Some(&account)).account.unwrap().groups, [7]);
    }

    #[test]
    fn else_the_system_says() {
        let account = launch::Account { uid: 0, gid: 12, supplementary: None };
        let identity = of(Some(&account));
        assert!(identity.account.unwrap().groups.contains(&12));
        assert_eq!(identity.entry.unwrap().name, "root");
        let account = launch::Account { uid: NOBODY_AT_ALL, ..account };
        let identity = of(Some(&account));
        assert_eq!((identity.account.unwrap().groups, identity.entry), (vec![12], None));
    }
}
