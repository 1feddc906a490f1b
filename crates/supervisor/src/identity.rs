//! The user that a process runs as, looked up in the system or in its jail.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use os::accounts::{self, Entry};
use os::spawn::Account;
use wsgi_core::wire::launch;

use crate::jail::{Groups, Jail};

/// A user, as far as it matters to processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its id.
    pub(crate) uid: u32,
    /// The account that a process has to become; `None` if it has that already, or cannot become
    /// anybody.
    pub(crate) account: Option<Account>,
    /// Its entry in the user database; else the reason why there is none, as the end of a sentence
    /// about the user.
    pub(crate) entry: Result<Entry, String>,
    /// Groups that were not taken from a jail, as a text for the log.
    pub(crate) denied: Option<String>,
}

/// Looks up a process group's account. Ids are those that the configuration has, wherever the rest
/// is looked for.
///
/// # Errors
/// The jail cannot be entered.
pub(crate) fn look_up(account: Option<&launch::Account>, chroot: Option<&[u8]>) -> io::Result<Identity> {
    let (uid, gid) = match account {
        Some(account) => (account.uid, account.gid),
        None => (accounts::own_user(), accounts::own_group()),
    };
    let jail = chroot.map(|root| Jail::open(Path::new(OsStr::from_bytes(root)))).transpose()?;
    let entry = match &jail {
        Some(jail) => jail.user(uid),
        None => system_user(uid),
    };
    let mut denied = None;
    let account = account.map(|account| {
        let groups = match (&account.supplementary, &entry, &jail) {
            (Some(groups), ..) => std::iter::once(gid).chain(groups.iter().copied()).collect(),
            // One that is not known has no groups but the primary one.
            (None, Err(_), _) => vec![gid],
            (None, Ok(entry), None) => system_groups(entry, gid),
            (None, Ok(entry), Some(jail)) => {
                let Groups { ids, denied: reason } = jail.groups(&entry.name, gid);
                denied = reason;
                ids
            }
        };
        Account { uid, gid, groups }
    });
    Ok(Identity { uid, account, entry, denied })
}

fn system_user(uid: u32) -> Result<Entry, String> {
    accounts::user(uid).ok_or_else(|| "has no entry in the user database".to_owned())
}

/// Returns the groups that `initgroups` would set.
fn system_groups(entry: &Entry, gid: u32) -> Vec<u32> {
    accounts::groups_of(&entry.name, gid).unwrap_or_else(|| vec![gid])
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// No system has a user with this id.
    const NOBODY_AT_ALL: u32 = 3_000_000_017;

    #[test]
    fn without_an_account_the_own_user_is_taken() {
        let identity = look_up(None, None).unwrap();
        assert_eq!((identity.uid, identity.account), (accounts::own_user(), None));
        assert!(identity.entry.is_ok_and(|entry| entry.home.is_absolute()));
    }

    #[test]
    fn a_group_list_that_is_given_is_the_whole_list() {
        let account = launch::Account { uid: 33, gid: 7, supplementary: Some(vec![4, 27]) };
        assert_eq!(look_up(Some(&account), None).unwrap().account.unwrap().groups, [7, 4, 27]);
        let account = launch::Account { supplementary: Some(vec![]), ..account };
        assert_eq!(look_up(Some(&account), None).unwrap().account.unwrap().groups, [7]);
    }

    #[test]
    fn otherwise_the_system_decides() {
        let account = launch::Account { uid: 0, gid: 12, supplementary: None };
        let identity = look_up(Some(&account), None).unwrap();
        assert!(identity.account.unwrap().groups.contains(&12));
        assert_eq!(identity.entry.unwrap().name, "root");
        let account = launch::Account { uid: NOBODY_AT_ALL, ..account };
        let identity = look_up(Some(&account), None).unwrap();
        assert_eq!(identity.account.unwrap().groups, [12]);
        assert_eq!(identity.entry.unwrap_err(), "has no entry in the user database");
    }

    #[test]
    fn in_a_jail_the_jail_decides() {
        let jail = tempfile::tempdir().unwrap();
        let root = jail.path().as_os_str().as_bytes();
        let account = launch::Account { uid: 0, gid: 12, supplementary: None };
        let identity = |account: &launch::Account| look_up(Some(account), Some(root)).unwrap();
        let unknown = identity(&account);
        assert_eq!((unknown.account.unwrap().groups, unknown.entry.is_ok()), (vec![12], false));
        std::fs::create_dir(jail.path().join("etc")).unwrap();
        std::fs::write(jail.path().join("etc/passwd"), "king:x:0:0::/throne:\n").unwrap();
        std::fs::write(jail.path().join("etc/group"), "guards:x:77:king\n").unwrap();
        for path in ["etc", "etc/passwd", "etc/group"] {
            std::fs::set_permissions(jail.path().join(path), Permissions::from_mode(0o755)).unwrap();
        }
        let known = identity(&account);
        assert_eq!((known.uid, known.account.unwrap().groups), (0, vec![12, 77]));
        assert_eq!(known.entry, Ok(Entry { name: "king".into(), home: "/throne".into() }));
        let given = launch::Account { supplementary: Some(vec![4]), ..account };
        assert_eq!(identity(&given).account.unwrap().groups, [12, 4]);
        assert!(look_up(Some(&given), Some(b"/nonexistent/jail")).is_err());
    }
}
