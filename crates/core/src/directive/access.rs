//! Directives about authentication, authorisation and access control by scripts.

use super::{Context, Directive, Effect, Support, hook_script};

pub(super) const ACCESS_SCRIPT: Directive = Directive {
    name: c"WSGIAccessScript",
    context: Context::Authorization,
    in_container: false,
    arguments: "*file* [*option*=*value* ...]",
    default: "",
    help: c"Location of WSGI host access script file.",
    doc: "\
A script whose function `allow_access(environ, host)` decides whether a request is served, before users are authenticated. `host` \
is the client's name if `HostnameLookups` finds it, else the address.

| Result | Effect |
|---|---|
| `True` | the request is allowed |
| `None` | others decide |
| `False` | 403 |
| anything else, or an exception | 403, and a line in the error log |

The options are those of [`WSGIAuthUserScript`](#wsgiauthuserscript).",
    support: Support::Supported,
    effect: Effect::Raw(|target, line| {
        let script = hook_script::parse(target, line, "access script")?;
        target.settings().access_script = Some(script);
        Ok(())
    }),
};

pub(super) const AUTH_USER_SCRIPT: Directive = Directive {
    name: c"WSGIAuthUserScript",
    context: Context::Authorization,
    in_container: false,
    arguments: "*file* [*option*=*value* ...]",
    default: "",
    help: c"Location of WSGI user auth script file.",
    doc: USER_DOC,
    support: Support::Supported,
    effect: Effect::Raw(|target, line| {
        let script = hook_script::parse(target, line, "user auth script")?;
        target.settings().auth_user_script = Some(script);
        Ok(())
    }),
};

const USER_DOC: &str = "\
A script that authenticates users, for the provider `wsgi` of Apache's modules. Its functions run in the Apache children, whatever \
runs the application, unless `process-group=` says otherwise. They get an environ of their own, which has the headers of the request but not its credentials. With \
`AuthBasicProvider wsgi` or `AuthFormProvider wsgi`, `check_password(environ, user, password)` is called:

| Result | Effect |
|---|---|
| `True` | the password is right |
| `False` | it is wrong: 401 |
| `None` | the user is unknown: the next provider is asked |
| a text that is not empty | the password is right, and `REMOTE_USER` is this text |
| anything else, or an exception | 500, and a line in the error log |

With `AuthDigestProvider wsgi`, `get_realm_hash(environ, user, realm)` returns the MD5 of `user:realm:password` as hexadecimal text \
or bytes, or `None` if the user is unknown.

| Option | Meaning |
|---|---|
| `application-group=` | the interpreter that runs the script: the main one by default. `%{GLOBAL}`, `%{SERVER}` and `%{HOST}` are \
expanded, as for `WSGIApplicationGroup` |
| `process-group=` | the process group (`WSGIDaemonProcess`) that runs the script, as its user and with its Python: Apache's children \
need no Python then, and `WSGIRestrictEmbedded On` can be set. Let no application run in that group: it would share \
the threads, and could change who is let in. `%{SERVER}` and `%{HOST}` are expanded. Limits of the group hold, and so \
do `WSGIRestrictProcess`, `script-user=` and `script-group=`. If no process answers, the request is refused. A changed script is loaded \
by a new process, as an application is; until then, the former version is asked. If it cannot be loaded, requests are refused. Not allowed in `.htaccess` |
| `timeout=` | the longest time for an answer, the loading of the script included: 60 seconds by default. After that the request is \
refused. Some calls run on Apache's own threads, at most as many at a time as there are processors (at least two, but no more than a third of the threads) in the whole server. \
There, Python code is interrupted with `RequestTimeout`; what hangs in a library (a database) keeps the thread and its request until it returns, so \
give it a time limit of its own. Other calls are left to themselves. In a process group the script is interrupted with `RequestTimeout`, and if that is of no use, the \
process is replaced |

Options may stand before the file, too. A script that has changed is loaded again (`WSGIScriptReloading`).";

pub(super) const AUTH_GROUP_SCRIPT: Directive = Directive {
    name: c"WSGIAuthGroupScript",
    context: Context::Authorization,
    in_container: false,
    arguments: "*file* [*option*=*value* ...]",
    default: "",
    help: c"Location of WSGI group auth script file.",
    doc: "\
A script whose function `groups_for_user(environ, user)` returns the groups of a user, for `Require wsgi-group` *name* ...: any of \
these names suffices, in any case of letters. The groups are text or bytes; without any, or after an exception, the request is \
denied. If the groups cannot be determined where a group is excluded (`Require not wsgi-group`, `<RequireNone>`), the request gets \
500, since a denial would let it in there; so it does with a provider of `<AuthzProviderAlias>`.

The options are those of [`WSGIAuthUserScript`](#wsgiauthuserscript).",
    support: Support::Supported,
    effect: Effect::Raw(|target, line| {
        let script = hook_script::parse(target, line, "group auth script")?;
        target.settings().auth_group_script = Some(script);
        Ok(())
    }),
};

pub(super) const GROUP_AUTHORITATIVE: Directive = Directive {
    name: c"WSGIGroupAuthoritative",
    context: Context::Authorization,
    in_container: false,
    arguments: "On|Off",
    default: "On",
    help: c"Enable/Disable as being authoritative on groups.",
    doc: "It has had no effect since Apache 2.4.",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| target.settings().group_authoritative = Some(value)),
};
