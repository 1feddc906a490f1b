//! Scripts that decide who may use the server.

use std::path::PathBuf;

use minijinja::{Value, context};

use crate::failure::Failure;
use crate::general;
use crate::parse::Parsed;
use crate::quote::display;
use crate::spec::{MAXIMUM, Spec, section};
use crate::values::absolute;

section! {
    ACCESS {
        title: "Access control",
        about: "Scripts that admit clients and check passwords, for the whole server. They run in Apache's own processes, which then need the shared \
                library of Python, or with `--access-processes` in processes of their own. [`WSGIAccessScript`](directives.md#wsgiaccessscript), [`WSGIAuthUserScript`](directives.md#wsgiauthuserscript) and \
                [`WSGIAuthGroupScript`](directives.md#wsgiauthgroupscript) describe their functions.",
        example: "mod_wsgi-express start-server app.wsgi --auth-user-script auth.py --auth-group-script auth.py --auth-group staff",
    }

    HOST_ACCESS_SCRIPT = Spec::text("--host-access-script", &["FILE"],
        "Script that admits clients by their addresses: allow_access(environ, host).");
    AUTH_USER_SCRIPT = Spec::text("--auth-user-script", &["FILE"],
        "Script that checks passwords: check_password(environ, user, password), or get_realm_hash(environ, user, realm) for Digest.");
    AUTH_TYPE = Spec::text("--auth-type", &["TYPE"],
        "Kind of authentication: Basic or Digest.")
        .default("Basic")
        .note("The realm is `HOST:PORT`.");
    AUTH_GROUP_SCRIPT = Spec::text("--auth-group-script", &["FILE"],
        "Script that names the groups of users: groups_for_user(environ, user).");
    AUTH_GROUP = Spec::text("--auth-group", &["NAME"],
        "Group that users have to be in, with --auth-group-script.")
        .default("wsgi");
    ACCESS_PROCESSES = Spec::integer("--access-processes",
        "Number of daemon processes that run these scripts, each with --threads threads.")
        .within(1, MAXIMUM)
        .default("none, Apache's own processes run them")
        .note("Apache's own processes then need no Python, and a script cannot do them harm; each question costs a way to another process. \
               Scripts see `access` as `mod_wsgi.process_group`. While a changed script cannot be loaded, requests are refused.");
}

/// The name of the group of these processes.
pub(crate) const GROUP: &str = "access";

/// The scripts that decide who may use the server.
#[derive(Debug)]
pub(crate) struct Access {
    hosts: Option<PathBuf>,
    users: Option<Users>,
    /// The number of their daemon processes; none: they run in Apache's own processes.
    processes: Option<i64>,
}

/// The users that are admitted.
#[derive(Debug)]
struct Users {
    kind: Kind,
    script: PathBuf,
    groups: Option<Groups>,
}

/// The group that users have to be in.
#[derive(Debug)]
struct Groups {
    script: PathBuf,
    wanted: String,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Basic,
    Digest,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Basic, Self::Digest];

    const fn name(self) -> &'static str {
        match self {
            Self::Basic => "Basic",
            Self::Digest => "Digest",
        }
    }
}

impl Access {
    /// Without daemon processes, as `in_debug_mode`, the scripts run in Apache's own.
    ///
    /// # Errors
    /// A value is not valid, or there are groups without users.
    pub(crate) fn new(parsed: &Parsed, in_debug_mode: bool) -> Result<Self, Failure> {
        let path = |spec| parsed.text(spec).map(absolute).transpose();
        let kind = kind(parsed.text(&AUTH_TYPE).unwrap_or(AUTH_TYPE.default))?;
        let wanted = parsed.text(&AUTH_GROUP).unwrap_or(AUTH_GROUP.default);
        if wanted.trim().is_empty() {
            return Err(Failure::usage(format!(
                "option {}: the name of the group is empty",
                AUTH_GROUP.name
            )));
        }
        let groups = path(&AUTH_GROUP_SCRIPT)?.map(|script| Groups { script, wanted: wanted.to_owned() });
        let users = match path(&AUTH_USER_SCRIPT)? {
            Some(script) => Some(Users { kind, script, groups }),
            // The server would be open to everybody.
            None if groups.is_some() => {
                return Err(Failure::usage(
                    "option --auth-group-script: nobody has groups without --auth-user-script, which says who the users are",
                ));
            }
            None => None,
        };
        let hosts = path(&HOST_ACCESS_SCRIPT)?;
        let is_scripted = hosts.is_some() || users.is_some();
        let processes = parsed.integer(&ACCESS_PROCESSES).filter(|_| is_scripted && !in_debug_mode);
        if processes.is_some() && parsed.text(&general::PROCESS_GROUP) == Some(GROUP) {
            return Err(Failure::usage(format!(
                "option --process-group: with {}, '{GROUP}' is the name of the group of those processes; choose another",
                ACCESS_PROCESSES.name
            )));
        }
        Ok(Self { hosts, users, processes })
    }

    /// The scripts, and the options that they come from.
    pub(crate) fn scripts(&self) -> impl Iterator<Item = (&PathBuf, &'static str)> {
        let users = self.users.as_ref();
        let groups = users.and_then(|users| users.groups.as_ref());
        [
            (self.hosts.as_ref(), HOST_ACCESS_SCRIPT.name),
            (users.map(|users| &users.script), AUTH_USER_SCRIPT.name),
            (groups.map(|groups| &groups.script), AUTH_GROUP_SCRIPT.name),
        ]
        .into_iter()
        .filter_map(|(script, option)| Some((script?, option)))
    }

    /// Returns whether Python runs in Apache's own processes.
    pub(crate) fn is_embedded(&self) -> bool {
        self.processes.is_none() && self.scripts().next().is_some()
    }

    /// Returns the number of daemon processes that run the scripts, if such do.
    pub(crate) fn processes(&self) -> Option<i64> {
        self.processes
    }

    /// Returns the values for the template; `realm` is what browsers show.
    pub(crate) fn context(&self, realm: &str) -> Value {
        let users = self.users.as_ref().map(|users| {
            let groups = users.groups.as_ref();
            context! {
                kind => users.kind.name(),
                realm,
                script => display(&users.script),
                group_script => groups.map(|groups| display(&groups.script)),
                group => groups.map(|groups| groups.wanted.as_str()),
            }
        });
        context! { hosts => self.hosts.as_deref().map(display), users, process_group => self.processes.map(|_| GROUP) }
    }

    /// The modules of Apache's that this takes.
    pub(crate) fn modules(&self) -> &'static [&'static str] {
        if self.users.is_some() { &["auth_basic", "auth_digest", "authz_user"] } else { &[] }
    }

    /// The names of an included file's `<IfDefine>` that apply.
    pub(crate) fn defines(&self) -> impl Iterator<Item = &'static str> {
        let groups = self.users.as_ref().is_some_and(|users| users.groups.is_some());
        [
            ("MOD_WSGI_HOST_ACCESS", self.hosts.is_some()),
            ("MOD_WSGI_AUTH_USER", self.users.is_some()),
            ("MOD_WSGI_AUTH_GROUP", groups),
        ]
        .into_iter()
        .filter_map(|(name, applies)| applies.then_some(name))
    }
}

/// Returns a text for each option that was given but has no effect.
pub(crate) fn without_effect(parsed: &Parsed) -> Vec<String> {
    let mut lines: Vec<String> = [(&AUTH_TYPE, &AUTH_USER_SCRIPT), (&AUTH_GROUP, &AUTH_GROUP_SCRIPT)]
        .into_iter()
        .filter(|(spec, needed)| parsed.has(spec) && !parsed.has(needed))
        .map(|(spec, needed)| format!("{} is without effect: it needs {}", spec.name, needed.name))
        .collect();
    if parsed.has(&ACCESS_PROCESSES) && !parsed.has(&HOST_ACCESS_SCRIPT) && !parsed.has(&AUTH_USER_SCRIPT) {
        lines.push(format!(
            "{} is without effect: it needs {} or {}",
            ACCESS_PROCESSES.name, HOST_ACCESS_SCRIPT.name, AUTH_USER_SCRIPT.name
        ));
    }
    lines
}

fn kind(text: &str) -> Result<Kind, Failure> {
    let found = Kind::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| {
        let valid = Kind::ALL.map(Kind::name).join(", ");
        Failure::usage(format!("option {}: '{text}' is not one of {valid}", AUTH_TYPE.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::parse::parse;

    #[test]
    fn values_and_combinations_are_checked() {
        let access = |arguments: &[&str]| {
            let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
            Access::new(&parse(&options::server(), arguments).unwrap(), false)
        };
        for arguments in [["--auth-type", "Kerberos"], ["--auth-group-script", "/g.py"], ["--auth-group", ""]]
        {
            let failure = access(&arguments).unwrap_err();
            assert!(matches!(&failure, Failure::Usage(text) if text.contains(arguments[0])), "{failure}");
        }
        let digest = access(&["--auth-user-script", "/u.py", "--auth-type", "digest"]).unwrap();
        assert!(digest.is_embedded() && matches!(digest.users.unwrap().kind, Kind::Digest));
        assert!(!access(&[]).unwrap().is_embedded());
        let apart = ["--host-access-script", "/h.py", "--access-processes", "2"];
        assert!(access(&apart).is_ok_and(|access| access.processes() == Some(2) && !access.is_embedded()));
        let failure = access(&[&apart[..], &["--process-group", "access"]].concat()).unwrap_err();
        assert!(failure.to_string().contains("--process-group"), "{failure}");
    }
}
