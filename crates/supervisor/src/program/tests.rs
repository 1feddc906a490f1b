use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use os::accounts::Entry;
use os::descriptors::{Kind, pair};
use os::spawn::{Account, variable};
use wsgi_core::wire::launch::{self, ProcessOptions};

use super::*;

fn text(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

fn group() -> Group {
    Group { programs: vec![text("/v/bin/python"), text("/v/bin/python3")], ..Group::default() }
}

fn somebody() -> Identity {
    let entry = Entry { name: "some".into(), home: PathBuf::from("/home/some") };
    let account = Some(Account { uid: 1000, gid: 1000, groups: vec![1000] });
    Identity { uid: 1000, account, entry: Ok(entry), denied: None }
}

fn context(environment: &[&str]) -> LaunchContext {
    let environment = environment.iter().map(|entry| CString::new(*entry).unwrap()).collect();
    let no_core = Some(Limit { resource: Resource::Core, soft: 0, hard: 9 });
    LaunchContext { hosts: Vec::new(), environment, no_core }
}

fn said(group: &Group, identity: &Identity, step: Step, kind: io::ErrorKind) -> (Level, String) {
    let Obstacle { level, text, .. } = obstacle(group, identity, &Failure { step, error: kind.into() });
    (level, text)
}

#[test]
fn the_environment_has_an_order() {
    let own = context(&["PATH=/bin", "HOME=/root", "USER=root", "LANG=C", "A=1"]);
    let mut group = group();
    let environment = |group: &Group| environment(group, &somebody(), &own.environment);
    let value = |group: &Group, name: &str| {
        variable(&environment(group), name.as_bytes()).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(value(&group, "HOME").unwrap(), "/home/some");
    assert_eq!(value(&group, "USER").unwrap(), "some");
    assert_eq!(value(&group, "LOGNAME"), None, "only where it exists");
    assert_eq!((value(&group, "LANG").unwrap(), value(&group, "LC_ALL")), ("C".into(), None));
    group.daemon.options.lang = Some(text("de_DE.UTF-8"));
    group.daemon.options.locale = Some(text("C.UTF-8"));
    assert_eq!(value(&group, "LANG").unwrap(), "de_DE.UTF-8");
    assert_eq!(value(&group, "LC_ALL").unwrap(), "C.UTF-8");
    group.daemon.options.environment = vec![
        (text("HOME"), text("/elsewhere")),
        (text("A"), text("2")),
        (text("A"), text("3")),
        (text("LANG"), text("")),
    ];
    assert_eq!(value(&group, "HOME").unwrap(), "/elsewhere");
    assert_eq!(value(&group, "A").unwrap(), "3");
    assert_eq!(value(&group, "LANG").unwrap(), "");
    assert_eq!(value(&group, "PATH").unwrap(), "/bin");
}

#[test]
fn a_process_starts_in_its_home_directory() {
    let mut group = Group { server_uid: 33, ..group() };
    let directory = |group: &Group, identity: &Identity| directory(group, identity).map(Option::unwrap);
    assert_eq!(directory(&group, &somebody()).unwrap(), c"/home/some".to_owned());
    group.daemon.options.home = Some(text("/srv/app"));
    assert_eq!(directory(&group, &somebody()).unwrap(), c"/srv/app".to_owned());
    group.daemon.options.home = None;
    let unknown = Identity { entry: Err("has no entry in the user database".into()), ..somebody() };
    let error = directory(&group, &unknown).unwrap_err();
    assert!(error.text.starts_with("WSGI0011: the user #1000 has no entry"), "{}", error.text);
    let server = Identity { uid: 33, ..unknown };
    assert_eq!(super::directory(&group, &server).unwrap(), None);
}

#[test]
fn a_plan_holds_the_configured_values() {
    let (control, _other) = pair(Kind::Stream).unwrap();
    let mut group = Group { hosts: text("/lib/host"), account: Some(launch::Account::default()), ..group() };
    group.daemon.options = ProcessOptions {
        priority: 5,
        umask: Some(0o77),
        cpu_time_limit: 60,
        memory_limit: 1 << 30,
        virtual_memory_limit: 1 << 31,
        ..ProcessOptions::default()
    };
    group.daemon.name = text("app");
    group.daemon.options.limits.shutdown_timeout = 5_000;
    let context = context(&[]);
    let plan = |group: &Group| {
        let plan = plan(group, &somebody(), &context, control.as_fd()).unwrap();
        (plan.programs, plan.arguments, plan.limits, plan.priority, plan.umask)
    };
    let (programs, arguments, limits, priority, umask) = plan(&group);
    assert_eq!(programs, [c"/v/bin/python".to_owned(), c"/v/bin/python3".to_owned()]);
    assert_eq!(arguments[0], c"-c".to_owned());
    assert_eq!(arguments[2..], [c"/lib/host".to_owned(), c"3".to_owned(), c"app".to_owned()]);
    assert_eq!((priority, umask), (Some(5), Some(0o77)));
    let expected = [
        // A minute for a successor, and the shutdown timeout.
        Limit { resource: Resource::Cpu, soft: 60, hard: 126 },
        Limit { resource: Resource::Data, soft: 1 << 30, hard: 1 << 30 },
        Limit { resource: Resource::AddressSpace, soft: 1 << 31, hard: 1 << 31 },
        Limit { resource: Resource::Core, soft: 0, hard: 9 },
    ];
    assert_eq!(limits, expected);
    group.dumps_core = true;
    assert_eq!(plan(&group).2, expected[..3]);
}

#[test]
fn obstacles_name_the_option_the_user_and_the_way_out() {
    use io::ErrorKind::{NotFound, PermissionDenied};
    let mut group = group();
    group.daemon.options = ProcessOptions {
        chroot: Some(text("/jail")),
        priority: -5,
        cpu_time_limit: 60,
        virtual_memory_limit: 4096,
        ..ProcessOptions::default()
    };
    group.account = Some(launch::Account { uid: 1000, gid: 1000, supplementary: None });
    let entry = somebody();
    let table: [(Step, io::ErrorKind, Level, &[&str]); 15] = [
        (Step::Priority, PermissionDenied, Level::Warning, &["WSGI0075: cpu-priority=-5"]),
        (Step::Limit(0), PermissionDenied, Level::Warning, &["WSGI0076: cpu-time-limit=60"]),
        (Step::Limit(1), PermissionDenied, Level::Warning, &["WSGI0078: virtual-memory-limit=4096"]),
        (Step::Limit(2), PermissionDenied, Level::Warning, &["WSGI0061"]),
        (Step::Chroot, NotFound, Level::Alert, &["WSGI0003: chroot=/jail"]),
        (Step::Group, PermissionDenied, Level::Alert, &["WSGI0004", "the user 'some'", "as root"]),
        (Step::Groups, PermissionDenied, Level::Alert, &["WSGI0006", "the user 'some'"]),
        (Step::User, PermissionDenied, Level::Alert, &["WSGI0007", "the user 'some'"]),
        (
            Step::Time,
            io::ErrorKind::TimedOut,
            Level::Critical,
            &["WSGI0028", "the user 'some'", "/v/bin/python", "/home/some", "a file system hangs", "home="],
        ),
        (Step::Directory, NotFound, Level::Alert, &["WSGI0010", "/home/some", "home="]),
        (
            Step::Program(0),
            NotFound,
            Level::Critical,
            &["WSGI0028", "in /jail at /v/bin/python or /v/bin/python3", "python-home="],
        ),
        (
            Step::Program(0),
            io::ErrorKind::NotADirectory,
            Level::Critical,
            &["WSGI0028", "at /v/bin/python or", "the directory above bin", "python="],
        ),
        (
            Step::Program(1),
            PermissionDenied,
            Level::Critical,
            &["WSGI0028: the user 'some' cannot run /v/bin/python3 in /jail", "python="],
        ),
        (
            Step::Program(1),
            io::ErrorKind::WouldBlock,
            Level::Critical,
            &["WSGI0028: the user 'some' has as many processes", "ulimit -u", "threads="],
        ),
        (Step::Fork, io::ErrorKind::WouldBlock, Level::Alert, &["WSGI0001", "ulimit -u"]),
    ];
    for (step, kind, level, parts) in table {
        let (said_level, text) = said(&group, &entry, step, kind);
        assert_eq!(said_level, level, "{text}");
        for part in parts {
            assert!(text.contains(part), "'{part}' is not in: {text}");
        }
    }
    group.daemon.options.home = Some(text("/srv"));
    assert!(
        said(&group, &entry, Step::Directory, NotFound)
            .1
            .starts_with("WSGI0009: the user 'some' cannot change to home, /srv")
    );
    group.account = Some(launch::Account { uid: 1000, gid: 1000, supplementary: Some(vec![]) });
    assert!(said(&group, &entry, Step::Groups, NotFound).1.starts_with("WSGI0005"));
}

#[test]
fn a_shortage_names_the_limit() {
    let mut group = group();
    assert_eq!(shortage(&group), None);
    group.daemon.options.virtual_memory_limit = 32 << 20;
    group.daemon.options.threads = 15;
    let text = shortage(&group).unwrap();
    assert!(text.contains("virtual-memory-limit=33554432 (32 MB)") && text.contains("15 threads"), "{text}");
    assert!(!text.contains(" memory-limit"), "{text}");
    group.daemon.options.memory_limit = 64 << 20;
    assert!(shortage(&group).unwrap().contains("memory-limit=67108864 (64 MB) and virtual-memory-limit="));
}
