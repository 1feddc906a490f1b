//! Directives about authentication, authorisation and access control by scripts.

use super::{Context, Directive, Effect, Support};

pub(super) const ACCESS_SCRIPT: Directive = Directive {
    name: c"WSGIAccessScript",
    context: Context::Authorization,
    in_container: false,
    arguments: "*file* [application-group=*name*]",
    default: "",
    help: c"Location of WSGI host access script file.",
    doc: "A script whose `allow_access(environ, host)` decides whether a request is served.",
    support: Support::Planned,
    effect: Effect::Unsupported,
};

pub(super) const AUTH_USER_SCRIPT: Directive = Directive {
    name: c"WSGIAuthUserScript",
    context: Context::Authorization,
    in_container: false,
    arguments: "*file* [application-group=*name*]",
    default: "",
    help: c"Location of WSGI user auth script file.",
    doc: "A script whose `check_password` or `get_realm_hash` authenticates users (`AuthBasicProvider wsgi`, `AuthDigestProvider wsgi`).",
    support: Support::Planned,
    effect: Effect::Unsupported,
};

pub(super) const AUTH_GROUP_SCRIPT: Directive = Directive {
    name: c"WSGIAuthGroupScript",
    context: Context::Authorization,
    in_container: false,
    arguments: "*file* [application-group=*name*]",
    default: "",
    help: c"Location of WSGI group auth script file.",
    doc: "A script whose `groups_for_user` names the groups of a user (`Require wsgi-group`).",
    support: Support::Planned,
    effect: Effect::Unsupported,
};

pub(super) const GROUP_AUTHORITATIVE: Directive = Directive {
    name: c"WSGIGroupAuthoritative",
    context: Context::Authorization,
    in_container: false,
    arguments: "On|Off",
    default: "On",
    help: c"Enable/Disable as being authoritative on groups.",
    doc: "It has had no effect since Apache 2.4.",
    support: Support::Planned,
    effect: Effect::Unsupported,
};
