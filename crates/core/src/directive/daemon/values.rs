//! The values that options of `WSGIDaemonProcess` take. Errors complete the sentence "Invalid
//! *option*: ...".

use crate::daemon::{DaemonGroup, ScriptOwner};
use crate::directive::System;

/// Returns an absolute path.
pub(super) fn absolute(value: &[u8]) -> Result<Box<[u8]>, String> {
    match value {
        [b'/', ..] => Ok(value.into()),
        _ => Err("it must be an absolute path, beginning with '/'".to_owned()),
    }
}

/// Sets `umask=`.
pub(super) fn umask(group: &mut DaemonGroup, _: &dyn System, value: &[u8]) -> Result<(), String> {
    let is_octal = !value.is_empty() && value.iter().all(|byte| matches!(byte, b'0'..=b'7'));
    let digits = std::str::from_utf8(value).ok().filter(|_| is_octal);
    let mask = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok());
    group.options.umask = Some(mask.ok_or("it must be an octal number, such as 0027")?);
    Ok(())
}

/// Sets `supplementary-groups=`.
pub(super) fn supplementary_groups(
    daemon: &mut DaemonGroup,
    system: &dyn System,
    value: &[u8],
) -> Result<(), String> {
    let names = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
    let groups = names.map(|name| group(system, name)).collect::<Result<Vec<_>, _>>()?;
    let most = system.max_groups();
    if groups.len() > most {
        return Err(format!("this system allows at most {most} groups"));
    }
    daemon.supplementary_groups = Some(groups);
    Ok(())
}

/// Sets `script-user=` or `script-group=`.
pub(super) fn script_owner(group: &mut DaemonGroup, owner: ScriptOwner) -> Result<(), String> {
    match (group.script_owner, owner) {
        (Some(ScriptOwner::User(_)), ScriptOwner::Group(_))
        | (Some(ScriptOwner::Group(_)), ScriptOwner::User(_)) => {
            Err("only one of script-user and script-group may be given".to_owned())
        }
        _ => {
            group.script_owner = Some(owner);
            Ok(())
        }
    }
}

/// Returns the id of a user by name, or written as `#1000`.
pub(super) fn user(system: &dyn System, value: &[u8]) -> Result<u32, String> {
    id(value, |name| system.user_id(name), "user")
}

/// Returns the id of a group by name, or written as `#1000`.
pub(super) fn group(system: &dyn System, value: &[u8]) -> Result<u32, String> {
    id(value, |name| system.group_id(name), "group")
}

/// Checks that there is a user with this id.
pub(super) fn known(system: &dyn System, user: u32) -> Result<(), String> {
    if system.has_user(user) {
        Ok(())
    } else {
        Err("this system has no user of that number: add one, or name another".to_owned())
    }
}

fn id(value: &[u8], find: impl Fn(&[u8]) -> Option<u32>, what: &str) -> Result<u32, String> {
    let Some(digits) = value.strip_prefix(b"#") else {
        return match value {
            b"" => Err(format!("the name of a {what} is missing")),
            name => {
                find(name).ok_or_else(|| format!("this system has no such {what}: add it, or name another"))
            }
        };
    };
    // Not as `atoi` reads it: what is no number would be root.
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_number);
    // The highest number means "unchanged" to the system.
    let id = digits.and_then(|digits| digits.parse().ok()).filter(|&id| id != u32::MAX);
    id.ok_or_else(|| format!("behind '#' there must be the number of a {what}"))
}
