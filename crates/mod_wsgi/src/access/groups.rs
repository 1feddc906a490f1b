//! `WSGIAuthGroupScript`: whether a user is in a group (`Require wsgi-group`).

use bridge::{Answer, Bytes, Topic};
use httpd::{Authorization, AuthzProvider, Request};
use wsgi_core::codes::{NO_GROUP_SCRIPT, USER_HAS_NO_GROUPS, USER_NOT_IN_GROUP};
use wsgi_core::words::Words;

use super::{ask_guard, script};
use crate::log;

/// The provider `wsgi-group`.
pub(crate) const PROVIDER: AuthzProvider = AuthzProvider { name: c"wsgi-group", check };

/// Checks whether the user is in one of the groups of the line.
fn check(request: &Request, line: &[u8]) -> Authorization {
    let Some(user) = request.user() else { return Authorization::NeedsUser };
    let Some(script) = script(request, |directory| directory.auth_group_script.as_deref()) else {
        let text = "'Require wsgi-group' has no script: name one with WSGIAuthGroupScript";
        log::message(request, NO_GROUP_SCRIPT, text);
        return Authorization::Failed;
    };
    let answer = ask_guard(request, script, Topic::Groups, [Bytes::new(user), Bytes::ABSENT]);
    let (groups, are_all) = match answer {
        Answer::Groups(groups) => (groups, true),
        Answer::SomeGroups(groups) => (groups, false),
        _ => return Authorization::Failed,
    };
    // Others may follow of which nobody knows.
    let denied = if are_all { Authorization::Denied } else { Authorization::Failed };
    let shown = String::from_utf8_lossy(user);
    if groups.is_empty() {
        log::message(request, USER_HAS_NO_GROUPS, format_args!("the user '{shown}' has no groups"));
        return denied;
    }
    if Words::new(line).any(|word| groups.iter().any(|group| group.eq_ignore_ascii_case(&word))) {
        return Authorization::Granted;
    }
    let line = String::from_utf8_lossy(line);
    log::message(
        request,
        USER_NOT_IN_GROUP,
        format_args!("the user '{shown}' is in no group of 'Require wsgi-group {line}'"),
    );
    denied
}
