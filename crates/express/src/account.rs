//! The account that serves requests, and what it can reach.

use std::ffi::CString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{AccessFlags, Gid, Group, Uid, User, access, getegid, geteuid, getgrouplist, getgroups};

use crate::bounded::output;
use crate::failure::Failure;
use crate::general;
use crate::parse::Parsed;
use crate::spec::Spec;

/// The account that runs Apache's children.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// The user in the form of Apache's `User` directive: a name or `#id`.
    pub(crate) user: String,
    /// The group in the form of Apache's `Group` directive.
    pub(crate) group: String,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    groups: Vec<Gid>,
    /// True if nobody named a user.
    pub(crate) by_default: bool,
}

/// A kind of access to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Search,
    Write,
    Execute,
}

/// The obstacle to an access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blockade {
    /// The component of the path, and who may do what there.
    pub(crate) reason: String,
    /// The way out, as an imperative.
    pub(crate) remedy: String,
}

/// Returns a line about options for accounts that somebody other than root gave in vain.
pub(crate) fn without_effect(parsed: &Parsed) -> Vec<String> {
    if geteuid().is_root() {
        return Vec::new();
    }
    let own = Account::invoking(None, None);
    let given = [(&general::USER, &own.user), (&general::GROUP, &own.group)];
    let others = given.into_iter().filter(|(spec, own)| parsed.text(spec).is_some_and(|name| name != *own));
    let line = |spec: &Spec| {
        format!("{} is without effect: only root can serve as others, and this is {}", spec.name, own.user)
    };
    others.map(|(spec, _)| line(spec)).collect()
}

impl Account {
    /// Chooses the account that serves if the invoking user starts the server.
    ///
    /// # Errors
    /// The account does not exist, or is root.
    pub(crate) fn choose(user: Option<&str>, group: Option<&str>) -> Result<Self, Failure> {
        Self::choose_by(user, group, (&general::USER, &general::GROUP))
    }

    /// Chooses the account of a service, by its own options.
    ///
    /// # Errors
    /// As [`Account::choose`].
    pub(crate) fn choose_for_service(user: Option<&str>, group: Option<&str>) -> Result<Self, Failure> {
        Self::choose_by(user, group, (&general::SERVICE_USER, &general::SERVICE_GROUP))
    }

    fn choose_by(user: Option<&str>, group: Option<&str>, options: (&Spec, &Spec)) -> Result<Self, Failure> {
        if geteuid().is_root() {
            Self::for_root(user, group, options)
        } else {
            Ok(Self::invoking(user, group))
        }
    }

    /// A command that runs as this account, in a neutral directory and without input.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").stdin(Stdio::null());
        if geteuid().is_root() {
            command.gid(self.gid.as_raw()).uid(self.uid.as_raw());
        }
        command
    }

    /// The user and all groups, to become them.
    pub(crate) fn identity(&self) -> os::spawn::Account {
        let groups = self.groups.iter().map(|group| group.as_raw()).collect();
        os::spawn::Account { uid: self.uid.as_raw(), gid: self.gid.as_raw(), groups }
    }

    /// Checks that the account has this access to `path`. The error says what prevents it.
    pub(crate) fn can(&self, access: Access, path: &Path) -> Result<(), String> {
        let Err(reason) = self.permitted(access, path) else { return Ok(()) };
        // Access control lists may grant what the mode bits do not: the kernel has the last word.
        if self.is_granted_by_kernel(access, path) { Ok(()) } else { Err(reason) }
    }

    fn is_granted_by_kernel(&self, access: Access, path: &Path) -> bool {
        let test = match access {
            Access::Read => "-r",
            Access::Search | Access::Execute => "-x",
            Access::Write => "-w",
        };
        let output = output(self.command(Path::new("/usr/bin/test")).arg(test).arg(path));
        output.is_ok_and(|output| output.status.success())
    }

    /// Returns the account of these ids, whatever it may be. Without `groups`, it has those of the
    /// system's database.
    pub(crate) fn of_ids(uid: u32, gid: u32, groups: Option<Vec<u32>>) -> Self {
        let entry = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let name = entry.as_ref().map(|entry| entry.name.as_str());
        let of_system = || os::accounts::groups_of(name?, gid);
        let groups = groups.or_else(of_system).unwrap_or_default();
        Self {
            user: name.map_or_else(|| format!("#{uid}"), str::to_owned),
            group: group_name(Gid::from_raw(gid)),
            uid: Uid::from_raw(uid),
            gid: Gid::from_raw(gid),
            groups: std::iter::once(gid).chain(groups).map(Gid::from_raw).collect(),
            by_default: false,
        }
    }

    /// Returns whether something can be tried as this account.
    pub(crate) fn can_be_tried(&self) -> bool {
        geteuid().is_root() || self.uid == geteuid()
    }

    /// Returns what prevents the account from this access to `path`: the first component of the path
    /// that is closed. Where it can be tried, the kernel has the word, as it knows access control
    /// lists and how file systems are mounted.
    pub(crate) fn blockade(&self, access: Access, path: &Path) -> Option<Blockade> {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if self.is_granted(access, &absolute) {
            return None;
        }
        let mut parents: Vec<&Path> = absolute.ancestors().skip(1).collect();
        parents.reverse();
        for parent in parents {
            if !self.is_granted(Access::Search, parent) {
                return Some(self.blockade_at(Access::Search, parent));
            }
        }
        // Links may lead through directories that are closed.
        match absolute.canonicalize() {
            Ok(real) if real != absolute => {
                Some(self.blockade(access, &real).unwrap_or_else(|| self.blockade_at(access, &absolute)))
            }
            _ => Some(self.blockade_at(access, &absolute)),
        }
    }

    fn is_granted(&self, access: Access, path: &Path) -> bool {
        if self.can_be_tried() {
            self.is_granted_by_kernel(access, path)
        } else {
            self.permitted(access, path).is_ok()
        }
    }

    /// Describes why this component is closed.
    fn blockade_at(&self, access: Access, component: &Path) -> Blockade {
        let shown = component.display();
        let metadata = match component.symlink_metadata().and_then(|_| component.metadata()) {
            Ok(metadata) => metadata,
            Err(error) => {
                let dangling = component.symlink_metadata().is_ok_and(|data| data.is_symlink());
                let what = if dangling { "is a link that leads nowhere" } else { "cannot be looked at" };
                let reason = match error.kind() {
                    std::io::ErrorKind::NotFound if !dangling => format!("{shown} does not exist"),
                    _ => format!("{shown} {what}: {error}"),
                };
                return Blockade { reason, remedy: "create it, or correct the path".to_owned() };
            }
        };
        if access == Access::Search && !metadata.is_dir() {
            let reason = format!("{shown} is not a directory");
            return Blockade { reason, remedy: "correct the path".to_owned() };
        }
        let owner = User::from_uid(Uid::from_raw(metadata.uid())).ok().flatten();
        let owner = owner.map_or_else(|| format!("#{}", metadata.uid()), |owner| owner.name);
        let group = group_name(Gid::from_raw(metadata.gid()));
        let mode = metadata.mode() & 0o7777;
        let (verb, letter) = match access {
            Access::Read => ("read", 'r'),
            Access::Search => ("enter", 'x'),
            Access::Write => ("write to", 'w'),
            Access::Execute => ("execute", 'x'),
        };
        let user = &self.user;
        let mut reason = format!("{user} may not {verb} {shown} (mode {mode:04o}, owner {owner}:{group})");
        let granted_by_mode = self.allows(access, component).is_ok();
        let (class, _) = self.class(&metadata);
        if granted_by_mode {
            reason += ", although its mode would permit that: an access control list (getfacl), the way its file system is mounted \
                       (noexec, NFS), or a security module forbids it";
        }
        let remedy = format!(
            "let it in, such as with `chmod {class}+{letter} {shown}` or `setfacl -m u:{user}:{letter} {shown}`, or move what is \
             needed to where {user} can reach it"
        );
        let remedy = if granted_by_mode {
            "permit it there, or move what is needed elsewhere".to_owned()
        } else {
            remedy
        };
        Blockade { reason, remedy }
    }

    fn for_root(
        user: Option<&str>,
        group: Option<&str>,
        (of_user, of_group): (&Spec, &Spec),
    ) -> Result<Self, Failure> {
        let (found, by_default) = match user {
            Some(user) => {
                let found = lookup(user)?.ok_or_else(|| {
                    Failure::machine(format!(
                        "there is no account {user}; name an existing one with {}",
                        of_user.name
                    ))
                })?;
                (found, false)
            }
            None => {
                let found = ["www-data", "nobody"].iter().find_map(|user| lookup(user).ok().flatten());
                let found = found.ok_or_else(|| {
                    Failure::machine("started as root, and there is neither an account www-data nor nobody; name one with --user")
                })?;
                (found, true)
            }
        };
        if found.uid.is_root() {
            return Err(Failure::machine(format!(
                "nothing is served as root; name another account with {}",
                of_user.name
            )));
        }
        let gid = match group {
            Some(group) => lookup_group(group)?.ok_or_else(|| {
                Failure::machine(format!(
                    "there is no group {group}; name an existing one with {}",
                    of_group.name
                ))
            })?,
            None => found.gid,
        };
        let groups = CString::new(found.name.as_str())
            .ok()
            .and_then(|name| getgrouplist(&name, gid).ok())
            .unwrap_or_else(|| vec![gid]);
        Ok(Self {
            user: user.map_or_else(|| found.name.clone(), str::to_owned),
            group: group.map_or_else(|| group_name(gid), str::to_owned),
            uid: found.uid,
            gid,
            groups,
            by_default,
        })
    }

    /// Returns the account of the invoking user: Apache cannot change its identity unless started
    /// by root. Names are written, and have no effect.
    pub(crate) fn invoking(user: Option<&str>, group: Option<&str>) -> Self {
        let (uid, gid) = (geteuid(), getegid());
        let name = || User::from_uid(uid).ok().flatten().map_or_else(|| format!("#{uid}"), |user| user.name);
        Self {
            user: user.map_or_else(name, str::to_owned),
            group: group.map_or_else(|| group_name(gid), str::to_owned),
            uid,
            gid,
            groups: getgroups().unwrap_or_default(),
            by_default: false,
        }
    }

    fn permitted(&self, access: Access, path: &Path) -> Result<(), String> {
        let absolute = std::path::absolute(path).map_err(|error| error.to_string())?;
        let real = self.resolve(&absolute)?;
        for parent in real.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
            self.allows(Access::Search, parent)?;
        }
        self.allows(access, &real)
    }

    /// The path without symbolic links; the directories that hold those links have to be
    /// searchable, too.
    fn resolve(&self, absolute: &Path) -> Result<PathBuf, String> {
        for parent in absolute.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
            self.allows(Access::Search, parent)?;
        }
        absolute.canonicalize().map_err(|error| format!("{}: {error}", absolute.display()))
    }

    /// Returns the class that the account belongs to, as `chmod` calls it, and its bits, the lowest
    /// ones of the number.
    fn class(&self, metadata: &Metadata) -> (char, u32) {
        let gid = Gid::from_raw(metadata.gid());
        if metadata.uid() == self.uid.as_raw() {
            ('u', metadata.mode() >> 6)
        } else if gid == self.gid || self.groups.contains(&gid) {
            ('g', metadata.mode() >> 3)
        } else {
            ('o', metadata.mode())
        }
    }

    fn allows(&self, access: Access, path: &Path) -> Result<(), String> {
        let metadata = path.metadata().map_err(|error| format!("{}: {error}", path.display()))?;
        let bit = match access {
            Access::Read => 4,
            Access::Search | Access::Execute => 1,
            Access::Write => 2,
        };
        let (_, bits) = self.class(&metadata);
        if bits & bit != 0 {
            return Ok(());
        }
        let verb = match access {
            Access::Read => "read",
            Access::Search => "enter",
            Access::Write => "write to",
            Access::Execute => "execute",
        };
        Err(format!(
            "{} may not {verb} {} (mode {:04o})",
            self.user,
            path.display(),
            metadata.mode() & 0o7777
        ))
    }
}

fn lookup(user: &str) -> Result<Option<User>, Failure> {
    let found = match user.strip_prefix('#').map(str::parse) {
        Some(Ok(id)) => User::from_uid(Uid::from_raw(id)),
        Some(Err(_)) => Ok(None),
        None => User::from_name(user),
    };
    found.map_err(|error| {
        Failure::machine(format!("cannot look up the account {user}: {error}; check --user"))
    })
}

fn lookup_group(group: &str) -> Result<Option<Gid>, Failure> {
    if let Some(id) = group.strip_prefix('#') {
        return Ok(id.parse().ok().map(Gid::from_raw));
    }
    let found = Group::from_name(group).map_err(|error| {
        Failure::machine(format!("cannot look up the group {group}: {error}; check --group"))
    })?;
    Ok(found.map(|group| group.gid))
}

fn group_name(gid: Gid) -> String {
    Group::from_gid(gid).ok().flatten().map_or_else(|| format!("#{gid}"), |group| group.name)
}

/// Returns whether a directory is not there yet and the user of this process can make it.
pub(crate) fn can_be_made(directory: &Path) -> bool {
    let parent = directory.parent().filter(|parent| parent.is_dir() && !directory.exists());
    parent.is_some_and(|parent| access(parent, AccessFlags::W_OK | AccessFlags::X_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn for_root(user: Option<&str>, group: Option<&str>) -> Result<Account, Failure> {
        Account::for_root(user, group, (&general::USER, &general::GROUP))
    }

    fn stranger() -> Account {
        Account {
            user: "stranger".into(),
            group: "strangers".into(),
            uid: Uid::from_raw(4_242_424),
            gid: Gid::from_raw(4_242_424),
            groups: Vec::new(),
            by_default: false,
        }
    }

    #[test]
    fn parents_have_to_be_searchable() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("app.wsgi");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();

        fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
        let reason = stranger().permitted(Access::Read, &file).unwrap_err();
        assert!(reason.contains("stranger may not enter") && reason.contains("0700"), "{reason}");

        fs::set_permissions(directory.path(), Permissions::from_mode(0o711)).unwrap();
        stranger().permitted(Access::Read, &file).unwrap();

        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let reason = stranger().permitted(Access::Read, &file).unwrap_err();
        assert!(reason.contains("may not read") && reason.contains("0640"), "{reason}");
    }

    #[test]
    fn links_are_followed() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let private = directory.path().join("private");
        fs::create_dir(&private).unwrap();
        fs::write(private.join("app.wsgi"), "").unwrap();
        fs::set_permissions(&private, Permissions::from_mode(0o700)).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(private.join("app.wsgi"), &link).unwrap();
        assert!(stranger().permitted(Access::Read, &link).unwrap_err().contains("private"));
    }

    #[test]
    fn unknown_accounts_are_refused() {
        assert!(for_root(Some("no-such-account"), None).unwrap_err().to_string().contains(" --user"));
        let of_service = (&general::SERVICE_USER, &general::SERVICE_GROUP);
        let error = Account::for_root(Some("no-such-account"), None, of_service).unwrap_err().to_string();
        assert!(error.contains("--service-user"), "{error}");
        assert!(for_root(Some("nobody"), Some("no-such-group")).unwrap_err().to_string().contains("--group"));
        assert!(for_root(Some("root"), None).unwrap_err().to_string().contains("root"));
    }

    #[test]
    fn the_group_is_the_account_s_own() {
        let account = for_root(Some("nobody"), None).unwrap();
        assert_eq!(account.gid, User::from_name("nobody").unwrap().unwrap().gid);
        assert!(!account.by_default);
        assert!(for_root(None, None).unwrap().by_default);
    }
}
