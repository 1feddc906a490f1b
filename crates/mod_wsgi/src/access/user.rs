//! `WSGIAuthUserScript`: whether a user is who it says.

use bridge::{Answer, Bytes, Topic};
use httpd::{Authentication, AuthnProvider, Level, RealmHash, Request};
use wsgi_core::codes::{NO_HASH_SCRIPT, NO_USER_SCRIPT};
use wsgi_core::config::HookScript;

use super::{ask_guard, script};
use crate::log;

/// The provider `wsgi`.
pub(crate) const PROVIDER: AuthnProvider = AuthnProvider { name: c"wsgi", check_password, realm_hash };

fn check_password(request: &Request, user: &[u8], password: &[u8]) -> Authentication {
    let Some(script) = user_script(request) else {
        let text = "the provider 'wsgi' has no script: name one with WSGIAuthUserScript";
        log::message(request, NO_USER_SCRIPT, text);
        return Authentication::Failed;
    };
    match ask_guard(request, script, Topic::Password, [Bytes::new(user), Bytes::new(password)]) {
        Answer::Yes => Authentication::Granted,
        Answer::No => Authentication::Denied,
        Answer::Unknown => Authentication::UserUnknown,
        Answer::Text(user) => match request.set_user(&user) {
            Ok(()) => Authentication::Granted,
            Err(httpd::InteriorNul) => {
                let text =
                    "check_password() has returned a user with a NUL byte in it: the request is refused";
                log::request(request, Level::Error, text);
                Authentication::Failed
            }
        },
        _ => Authentication::Failed,
    }
}

fn realm_hash(request: &Request, user: &[u8], realm: &[u8]) -> RealmHash {
    let Some(script) = user_script(request) else {
        let text = "the provider 'wsgi' has no script: name one with WSGIAuthUserScript";
        log::message(request, NO_HASH_SCRIPT, text);
        return RealmHash::Failed;
    };
    match ask_guard(request, script, Topic::RealmHash, [Bytes::new(user), Bytes::new(realm)]) {
        Answer::Text(hash) => RealmHash::Found(hash),
        Answer::Unknown => RealmHash::UserUnknown,
        _ => RealmHash::Failed,
    }
}

fn user_script(request: &Request) -> Option<&HookScript> {
    script(request, |directory| directory.auth_user_script.as_deref())
}
