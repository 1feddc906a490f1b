//! Restrictions of the system on a server: the sandbox of its service, and SELinux.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::check::{Check, Topic};
use super::finding::{Finding, Place};
use super::subject::{Group, Subject};
use super::unit::Unit;
use crate::bounded::output;

pub(super) static TOPIC: Topic = Topic {
    title: "The system",
    checks: &[
        Check {
            name: "locale",
            about: "A locale of a group that the machine does not have, that is `C` or `POSIX`, or whose encoding is not UTF-8.",
            run: locale,
        },
        Check {
            name: "systemd-sandbox",
            about: "Settings of the service that starts the server (`--unit`; that of the distribution for its Apache) which keep an \
                    application from its files, its user or its Python: `PrivateTmp`, `ProtectHome`, `ProtectSystem`, `InaccessiblePaths`, \
                    `NoExecPaths`, `MemoryDenyWriteExecute`, `CapabilityBoundingSet`.",
            run: |subject| subject.server.unit.as_ref().map_or_else(Vec::new, |unit| sandbox(subject, unit)),
        },
        Check {
            name: "selinux",
            about: "Where SELinux enforces its policy and a service starts Apache: files whose type Apache may not read, and booleans that \
                    keep an application from the network, from databases or from modules that make code (`httpd_can_network_connect`, \
                    `httpd_can_network_connect_db`, `httpd_execmem`).",
            run: |subject| selinux(subject, Path::new("/"), &context_of),
        },
    ],
};

fn locale(subject: &Subject) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, group) in subject.groups.iter().enumerate() {
        let place = group.locale_place.as_ref().or(group.place.as_ref());
        let named = group.locale.as_ref().or(group.lang.as_ref());
        let mut trials = subject.trials().filter(|(application, _)| application.group == number);
        let report = trials.find_map(|(_, trial)| trial.report());
        if let Some(missing) = report.and_then(|report| report.no_locale.as_ref()).filter(|_| named.is_some())
        {
            findings.push(
                Finding::warning(format!("this machine has no locale {missing}, which {} is to have", group.shown()))
                    .at(place)
                    .because("its processes go on with C, which has no characters but ASCII")
                    .remedy("generate it (Debian: dpkg-reconfigure locales), or name one of `locale -a`, such as C.UTF-8"),
            );
        } else if let Some(plain) = named.filter(|name| ["C", "POSIX"].contains(&name.as_str())) {
            findings.push(
                Finding::warning(format!("{} has the locale {plain}", group.shown()))
                    .at(place)
                    .because("Python itself uses UTF-8 nevertheless, but libraries in C and programs that it starts take all text for ASCII")
                    .remedy("name C.UTF-8 with locale= and lang= (--locale)"),
            );
        } else if let Some(other) = report.and_then(|report| not_utf_8(&report.encoding)) {
            findings.push(
                Finding::warning(format!("the encoding of {} is {other}", group.shown()))
                    .at(place)
                    .because("names of files and text with other characters raise UnicodeEncodeError")
                    .remedy("name a locale with UTF-8, such as C.UTF-8, with locale= and lang= (--locale)"),
            );
        }
    }
    findings
}

fn not_utf_8(encodings: &[String]) -> Option<&String> {
    encodings.iter().find(|encoding| !["utf-8", "utf8"].contains(&encoding.to_ascii_lowercase().as_str()))
}

/// A path that processes of a group need, and what it is to them.
struct Needed<'a> {
    what: &'static str,
    path: PathBuf,
    place: Option<&'a Place>,
}

/// Returns the paths that applications are read from.
fn needed<'a>(subject: &'a Subject, number: usize, group: &'a Group) -> Vec<Needed<'a>> {
    let mut needed = Vec::new();
    for application in subject.applications_of(number) {
        if let Some(file) = application.entry.file() {
            let place = application.place.as_ref().or(group.place.as_ref());
            needed.push(Needed { what: "the script", path: file.to_owned(), place });
        }
    }
    let mut add = |what, path: &Path, place: &'a Option<Place>| {
        needed.push(Needed {
            what,
            path: group.outside(path),
            place: place.as_ref().or(group.place.as_ref()),
        });
    };
    if let Some(home) = group.home.as_deref().filter(|home| *home != Path::new("/")) {
        add("the working directory", home, &group.home_place);
    }
    for directory in &group.python_path {
        add("the directory for Python", directory, &group.python_path_place);
    }
    if let Some(home) = subject.home_of(group) {
        add("the Python", &home, &group.python.place);
    }
    needed
}

fn sandbox(subject: &Subject, unit: &Unit) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, group) in subject.groups.iter().enumerate() {
        for Needed { what, path, place } in needed(subject, number, group) {
            let program = path.canonicalize().unwrap_or_else(|_| path.clone());
            if what == "the Python"
                && let Some((directory, at)) = no_exec(unit, &program)
            {
                findings.push(
                    Finding::error(format!("the service may not execute {}", program.display()))
                        .at(Some(at))
                        .because(format!("NoExecPaths={} forbids that to it", directory.display()))
                        .remedy(format!("add ExecPaths={} to the service", program.display())),
                );
            }
            let Some((setting, at, remedy)) = hidden(unit, &path) else { continue };
            findings.push(
                Finding::error(format!(
                    "{what} {} is hidden from the server by {setting} ({at})",
                    path.display()
                ))
                .at(place)
                .because(format!("{} sees another directory there, or an empty one", group.shown()))
                .remedy(remedy),
            );
        }
        if let Some((value, at)) = unit.value("ProtectSystem").filter(|(value, _)| *value == "strict")
            && let Some(home) = group.home.as_deref().filter(|home| *home != Path::new("/"))
            && !unit.paths("ReadWritePaths").any(|(path, _)| home.starts_with(path))
        {
            findings.push(
                Finding::note(format!(
                    "{} cannot write to its working directory {}",
                    group.shown(),
                    home.display()
                ))
                .at(Some(at))
                .because(format!("ProtectSystem={value} mounts everything read-only"))
                .remedy(format!(
                    "if it is to write there, add ReadWritePaths={} to the service",
                    home.display()
                )),
            );
        }
        let is_other = group.account.uid != subject.server.account.uid || !group.is_embedded();
        if let Some(at) = lacks_capability(unit, "CAP_SETUID").filter(|_| is_other) {
            findings.push(
                Finding::error(format!("the service may not start processes as {}", group.account.user))
                    .at(Some(at))
                    .because("CapabilityBoundingSet leaves out CAP_SETUID")
                    .remedy("add CAP_SETUID and CAP_SETGID"),
            );
        }
    }
    if let Some(at) = unit.is_on("MemoryDenyWriteExecute") {
        let makes_code =
            |module: &&String| ["cffi", "_cffi_backend", "numba", "llvmlite"].contains(&module.as_str());
        for (application, trial) in subject.trials() {
            let module = trial.report().and_then(|report| report.modules.iter().find(makes_code));
            let Some(module) = module else { continue };
            findings.push(
                Finding::warning(format!("{} loads {module}, which makes code while it runs", application.entry.shown()))
                    .at(Some(at))
                    .because("MemoryDenyWriteExecute forbids that: callbacks end with MemoryError, or the process does")
                    .remedy("set MemoryDenyWriteExecute=no for the service"),
            );
        }
    }
    findings
}

/// Returns the setting that hides a path from a service, its place, and the way out.
fn hidden<'a>(unit: &'a Unit, path: &Path) -> Option<(String, &'a Place, String)> {
    let is_in = |directories: &[&str]| directories.iter().any(|directory| path.starts_with(directory));
    if let Some(place) = unit.is_on("PrivateTmp").or_else(|| {
        unit.value("PrivateTmp").filter(|(value, _)| *value == "disconnected").map(|(_, place)| place)
    }) && is_in(&["/tmp", "/var/tmp"])
    {
        let remedy = "move it elsewhere, such as below /srv, or set PrivateTmp=no for the service".to_owned();
        return Some(("PrivateTmp".to_owned(), place, remedy));
    }
    if let Some((value, place)) = unit.value("ProtectHome")
        && (value == "tmpfs" || unit.is_on("ProtectHome").is_some())
        && is_in(&["/home", "/root", "/run/user"])
        && !unit
            .paths("BindPaths")
            .chain(unit.paths("BindReadOnlyPaths"))
            .any(|(bound, _)| path.starts_with(bound))
    {
        let remedy =
            "move it elsewhere, such as below /srv, or set ProtectHome=read-only for the service".to_owned();
        return Some((format!("ProtectHome={value}"), place, remedy));
    }
    if let Some((directory, place)) =
        unit.paths("InaccessiblePaths").find(|(directory, _)| path.starts_with(directory))
    {
        let setting = format!("InaccessiblePaths={}", directory.display());
        return Some((setting, place, "take that path from the service's InaccessiblePaths".to_owned()));
    }
    None
}

/// Returns the path by which a service may not execute a file, and its place: of all that hold the
/// file, the longest one counts.
fn no_exec<'a>(unit: &'a Unit, file: &Path) -> Option<(&'a Path, &'a Place)> {
    let longest = |key| {
        let holding = unit.paths(key).filter(|(path, _)| file.starts_with(path));
        holding.max_by_key(|(path, _)| path.components().count())
    };
    let (path, place) = longest("NoExecPaths")?;
    let permitted = longest("ExecPaths").map_or(0, |(path, _)| path.components().count());
    (path.components().count() > permitted).then_some((path, place))
}

/// Returns the place where a service is left without a capability.
fn lacks_capability<'a>(unit: &'a Unit, capability: &str) -> Option<&'a Place> {
    let mut permitted = None;
    let mut last = None;
    for (word, place) in unit.words("CapabilityBoundingSet") {
        last = Some(place);
        match word.strip_prefix('~') {
            Some(denied) if denied == capability => return Some(place),
            Some(_) => {}
            None => permitted = Some(permitted == Some(true) || word == capability),
        }
    }
    last.filter(|_| permitted == Some(false))
}

/// The types of files that Apache may read.
const READABLE: [&str; 10] = [
    "usr_t",
    "lib_t",
    "bin_t",
    "etc_t",
    "cert_t",
    "public_content_t",
    "public_content_rw_t",
    "textrel_shlib_t",
    "fonts_t",
    "locale_t",
];

fn selinux(subject: &Subject, root: &Path, context_of: &dyn Fn(&Path) -> Option<String>) -> Vec<Finding> {
    let policy = root.join("sys/fs/selinux");
    let text = |name: &str| fs::read_to_string(policy.join(name)).unwrap_or_default();
    if text("enforce").trim() != "1" || subject.server.unit.is_none() {
        return Vec::new();
    }
    // The value in force, and the one that is pending.
    let is_off = |name: &str| text(&format!("booleans/{name}")).starts_with('0');
    let mut findings = Vec::new();
    for (number, group) in subject.groups.iter().enumerate() {
        for Needed { what, path, place } in needed(subject, number, group) {
            let Some(kind) =
                context_of(&path).and_then(|context| context.split(':').nth(2).map(str::to_owned))
            else {
                continue;
            };
            let is_home = kind.starts_with("user_home");
            let may_read_homes = !is_off("httpd_read_user_content") || !is_off("httpd_enable_homedirs");
            if kind.starts_with("httpd_") || READABLE.contains(&kind.as_str()) || (is_home && may_read_homes)
            {
                continue;
            }
            let directory =
                if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(&path) }.display();
            let boolean = if is_home { ", or `setsebool -P httpd_read_user_content on`" } else { "" };
            findings.push(
                Finding::error(format!("{what} {} has the SELinux type {kind}, which Apache may not read", path.display()))
                    .at(place)
                    .because("SELinux enforces its policy; what it denies is in the audit log (ausearch -m avc)")
                    .remedy(format!(
                        "give it a type that it may: `semanage fcontext -a -t httpd_sys_content_t '{directory}(/.*)?'` and \
                         `restorecon -R {directory}`{boolean}"
                    )),
            );
        }
    }
    const DATABASES: [&str; 9] =
        ["psycopg", "psycopg2", "MySQLdb", "pymysql", "asyncpg", "oracledb", "cx_Oracle", "pyodbc", "mysql"];
    const CLIENTS: [&str; 8] = ["requests", "httpx", "urllib3", "redis", "pymongo", "ldap", "ldap3", "pika"];
    const MAKERS: [&str; 3] = ["_cffi_backend", "numba", "_ctypes"];
    let booleans: [(&str, &[&str], &str); 3] = [
        ("httpd_can_network_connect", &CLIENTS, "connects to other machines"),
        ("httpd_can_network_connect_db", &DATABASES, "connects to a database"),
        ("httpd_execmem", &MAKERS[..2], "makes code while it runs"),
    ];
    for (application, trial) in subject.trials() {
        let Some(report) = trial.report() else { continue };
        for (boolean, modules, does) in booleans {
            let module = report.modules.iter().find(|module| modules.contains(&module.as_str()));
            let is_permitted = !is_off(boolean)
                || (boolean == "httpd_can_network_connect_db" && !is_off("httpd_can_network_connect"));
            let Some(module) = module.filter(|_| !is_permitted) else { continue };
            findings.push(
                Finding::warning(format!("{} loads {module}, which {does}", application.entry.shown()))
                    .at(application.place.as_ref())
                    .because(format!("SELinux forbids that to Apache: {boolean} is off"))
                    .remedy(format!("`setsebool -P {boolean} on`")),
            );
        }
    }
    findings
}

/// Returns the security context of a file.
fn context_of(path: &Path) -> Option<String> {
    let output = output(Command::new("stat").args(["-L", "-c", "%C", "--"]).arg(path));
    let output = output.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::trial::Report;

    /// A policy that is enforced, with these booleans on.
    fn policy(on: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("sys/fs/selinux/booleans");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.with_file_name("enforce"), "1").unwrap();
        for name in [
            "httpd_can_network_connect",
            "httpd_can_network_connect_db",
            "httpd_read_user_content",
            "httpd_enable_homedirs",
        ] {
            fs::write(directory.join(name), if on.contains(&name) { "1 1" } else { "0 0" }).unwrap();
        }
        root
    }

    fn of_service() -> Subject {
        let mut subject = Subject::sample("/srv/app.wsgi");
        subject.server.unit = Some(Unit::default());
        subject
    }

    fn whats(subject: &Subject, root: &Path, kind: &str) -> Vec<String> {
        let context = |_: &Path| Some(format!("system_u:object_r:{kind}:s0"));
        selinux(subject, root, &context).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn files_that_selinux_closes_are_named() {
        let root = policy(&[]);
        for kind in ["httpd_sys_content_t", "usr_t", "httpd_user_content_t"] {
            assert_eq!(whats(&of_service(), root.path(), kind), [""; 0], "{kind}");
        }
        let found = whats(&of_service(), root.path(), "default_t");
        assert!(
            found.len() == 1 && found[0].starts_with("/a.conf:4: error: the script /srv/app.wsgi has"),
            "{found:?}"
        );
        assert!(found[0].contains("'/srv(/.*)?'"), "{found:?}");
        assert!(
            whats(&of_service(), root.path(), "user_home_t")[0]
                .contains("setsebool -P httpd_read_user_content on")
        );
        assert_eq!(whats(&of_service(), policy(&["httpd_read_user_content"]).path(), "user_home_t"), [""; 0]);
        // A server that somebody starts in a shell is not confined.
        assert_eq!(whats(&Subject::sample("/srv/app.wsgi"), root.path(), "default_t"), [""; 0]);
        fs::write(root.path().join("sys/fs/selinux/enforce"), "0").unwrap();
        assert_eq!(whats(&of_service(), root.path(), "default_t"), [""; 0]);
    }

    #[test]
    fn booleans_that_an_application_needs_are_named() {
        let with = |module: &str| {
            let report = Report { modules: vec![module.to_owned()], ..Report::default() };
            of_service().with_reports(vec![report])
        };
        let found = whats(&with("psycopg2"), policy(&[]).path(), "usr_t");
        assert!(
            found.len() == 1 && found[0].contains("`setsebool -P httpd_can_network_connect_db on`"),
            "{found:?}"
        );
        assert!(
            whats(&with("requests"), policy(&[]).path(), "usr_t")[0]
                .contains("httpd_can_network_connect is off")
        );
        let on = policy(&["httpd_can_network_connect"]);
        for module in ["psycopg2", "requests", "json"] {
            assert_eq!(whats(&with(module), on.path(), "usr_t"), [""; 0], "{module}");
        }
    }

    #[test]
    fn locales_that_are_plain_or_not_utf_8_are_told_of() {
        let with = |name: Option<&str>, report: Report| {
            let mut subject = Subject::sample("/srv/app.wsgi");
            subject.groups[0].locale = name.map(str::to_owned);
            let found = locale(&subject.with_reports(vec![report]));
            found.into_iter().map(|finding| finding.what).collect::<Vec<_>>()
        };
        let encoded = |encoding: &str| Report { encoding: vec![encoding.to_owned()], ..Report::default() };
        assert_eq!(with(None, encoded("utf-8")), [""; 0]);
        assert_eq!(with(Some("de_DE.UTF-8"), encoded("UTF-8")), [""; 0]);
        assert!(with(Some("C"), encoded("utf-8"))[0].ends_with("has the locale C"));
        assert!(with(Some("de_DE"), encoded("ISO-8859-1"))[0].ends_with("is ISO-8859-1"));
        let missing = Report { no_locale: Some("xx_XX".to_owned()), ..Report::default() };
        assert!(with(Some("xx_XX"), missing)[0].contains("no locale xx_XX"));
    }
}
