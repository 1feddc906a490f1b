//! Whom daemon processes run as, and where.

use std::path::PathBuf;

use e2e::Needs::{Daemon, NoSanitizer, Ours, Root};
use e2e::{LogMark, Setup, Target, Test, on_one_mpm, wait_until};

use super::{APP, serving, serving_process};
use crate::upgrade::replace_by_another_build;

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(a_process_has_its_user_and_groups, Daemon, Root("become somebody else")),
    on_one_mpm!(
        a_process_has_its_configured_surroundings,
        Daemon,
        NoSanitizer("it needs more address space than the limits that are tested")
    ),
    on_one_mpm!(
        a_home_that_cannot_be_entered_is_explained,
        Daemon,
        Ours("answer before its own timeout where a process cannot start")
    ),
    on_one_mpm!(a_python_that_cannot_be_run_is_explained, Daemon, Ours("Python for each group")),
    on_one_mpm!(scripts_of_others_are_not_run, Daemon, Root("become somebody else")),
    on_one_mpm!(
        a_process_can_be_jailed,
        Daemon,
        Root("become somebody else"),
        NoSanitizer("its library is not in the jail"),
        Ours("need of Python inside the jail")
    ),
];

fn a_process_has_its_user_and_groups(setup: Setup) {
    let mut setup = setup.own_groups().file("apps/app.wsgi", APP).conf("WSGIApplicationGroup %{GLOBAL}");
    let table = [
        ("default", "", "(33, 33, 33) (33, 33, 33)", "[33]", "", "/var/www"),
        ("other", "user=backup", "(34, 34, 34) (33, 33, 33)", "[33]", "/var/backups", "/var/backups"),
        ("number", "user=#34 group=#1", "(34, 34, 34) (1, 1, 1)", "[1]", "/var/backups", "/var/backups"),
        (
            "more",
            "user=games group=backup supplementary-groups=daemon,www-data home=/usr/share",
            "(5, 5, 5) (34, 34, 34)",
            "[1, 33, 34]",
            "/usr/share",
            "/usr/games",
        ),
        (
            "none",
            "user=games group=games home=/ supplementary-groups=",
            "(5, 5, 5) (60, 60, 60)",
            "[60]",
            "/",
            "/usr/games",
        ),
    ];
    for (name, options, ..) in table {
        setup = setup.conf(&format!(
            "WSGIDaemonProcess {name} display-name=%{{GROUP}} {options}\nWSGIScriptAlias /{name} @ROOT@/apps/app.wsgi process-group={name}"
        ));
    }
    setup.run(|server, cases| {
        for (name, _, ids, groups, directory, home) in table {
            cases.check(name, || {
                let response = server.get(&format!("/{name}/state"));
                assert_eq!(response.value("ids").as_deref(), Some(ids));
                // The primary group may be listed or not.
                let primary = ids.rsplit([' ', ')']).nth(1).unwrap_or_default();
                let list = response.value("groups").unwrap_or_default();
                let list =
                    if list.contains(primary) { list } else { list.replace('[', &format!("[{primary}, ")) };
                assert_eq!(list, groups);
                // Where nothing is said, that of Apache.
                let directory = if directory.is_empty() {
                    std::fs::read_link(e2e::Process(server.pid()).path("cwd")).unwrap_or_default()
                } else {
                    directory.into()
                };
                assert_eq!(response.value("directory").as_deref(), directory.to_str());
                assert_eq!(response.value("HOME").as_deref(), Some(home));
            });
        }
    });
}

fn a_process_has_its_configured_surroundings(setup: Setup) {
    let is_ours = !Target::current().is_reference();
    let new = if is_ours {
        "environment=PLAIN=1 environment=\"BLANKS=a b\" environment=PLAIN=last \
         environment-file=@ROOT@/secrets environment=LATER=option"
    } else {
        ""
    };
    let options = format!(
        "home=@ROOT@/home umask=0027 lang=C locale=C.UTF-8 display-name=%{{GROUP}} cpu-priority=3 \
         cpu-time-limit=100 shutdown-timeout=4 memory-limit=900000000 virtual-memory-limit=2000000000 \
         switch-interval=0.02 python-eggs=/tmp/eggs python-path=@ROOT@/modules {new}"
    );
    serving(setup, &options)
        .file("home/keep", "")
        .file("modules/keep", "")
        .file("secrets", "# what nobody should read\nFROM_FILE=a = b\n\nLATER=file\n")
        .run(|server, cases| {
            let response = server.get("/state");
            let root = server.root().display();
            for (name, value) in [
                ("umask", "0027".to_owned()),
                ("directory", format!("{root}/home")),
                ("path", format!("{root}/home")),
                ("LANG", "C".to_owned()),
                ("LC_ALL", "C.UTF-8".to_owned()),
                ("nice", "3".to_owned()),
                ("interval", "0.0200".to_owned()),
                ("data-limit", "(900000000, 900000000)".to_owned()),
                ("address-limit", "(2000000000, 2000000000)".to_owned()),
                ("PYTHON_EGG_CACHE", "/tmp/eggs".to_owned()),
            ] {
                cases.check(name, || assert_eq!(response.value(name), Some(value)));
            }
            cases.deviates("cpu-limit", "it is ended while its successor is made", || {
                let limits = response.value("cpu-limit").unwrap_or_default();
                let hard = limits.strip_prefix("(100, ").and_then(|rest| rest.strip_suffix(')'));
                let hard: u64 = hard.and_then(|hard| hard.parse().ok()).unwrap_or_default();
                // At least a minute for the successor, and the shutdown timeout.
                assert!(hard >= 165, "{limits}");
            });
            for (name, value) in
                [("PLAIN", "last"), ("BLANKS", "a b"), ("FROM_FILE", "a = b"), ("LATER", "option")]
            {
                cases.ours_only(name, "there is no option environment", || {
                    assert_eq!(response.value(name).as_deref(), Some(value));
                });
            }
            cases.check("display-name", || {
                let shown = serving_process(server).command_line();
                assert!(shown.starts_with("(wsgi:e2e)"), "{shown}");
            });
            cases.ours_only("argv and executable", "it is Apache", || {
                assert_eq!(response.value("argv").as_deref(), Some("['mod_wsgi']"));
                let executable = response.value("executable").unwrap_or_default();
                assert!(executable.contains("python"), "{executable}");
            });
        });
}

fn a_home_that_cannot_be_entered_is_explained(setup: Setup) {
    serving(setup, "home=/nonexistent/home connect-timeout=3").run(|server, cases| {
        cases.check("clients", || assert_eq!(server.get("/run").status, 503));
        cases.check("the log", || {
            let log = server.wait_log(LogMark::default(), "/nonexistent/home");
            let line = log.lines().find(|line| line.contains("/nonexistent/home")).unwrap_or_default();
            assert!(line.contains("home") && line.contains("WSGI0009"), "{line}");
            let log = server.wait_log(LogMark::default(), "WSGI0025: ");
            assert!(log.lines().any(|line| line.contains("e2e") && line.contains("WSGI00")), "{log}");
        });
    });
}

fn a_python_that_cannot_be_run_is_explained(setup: Setup) {
    let setup = setup
        .own_groups()
        .file("apps/app.wsgi", APP)
        .file("broken/bin/python3", "#!/bin/sh\necho this is no Python >&2\nexit 7\n")
        .file("private/bin/python3", "#!/bin/sh\nexit 0\n")
        .conf(
            "WSGIDaemonProcess missing python-home=/nonexistent/python\n\
             WSGIDaemonProcess broken python=@ROOT@/broken/bin/python3\n\
             WSGIDaemonProcess private python=@ROOT@/private/bin/python3\n\
             WSGIDaemonProcess sound threads=2\n\
             WSGIApplicationGroup %{GLOBAL}\n\
             WSGIScriptAlias /missing @ROOT@/apps/app.wsgi process-group=missing\n\
             WSGIScriptAlias /broken @ROOT@/apps/app.wsgi process-group=broken\n\
             WSGIScriptAlias /private @ROOT@/apps/app.wsgi process-group=private\n\
             WSGIScriptAlias /sound @ROOT@/apps/app.wsgi process-group=sound",
        );
    setup.run(|server, cases| {
        // What is not executable can be made so only now.
        let changed =
            std::process::Command::new("chmod").arg("755").arg(server.path("broken/bin/python3")).status();
        assert!(changed.is_ok_and(|status| status.success()));
        for (group, words) in [
            ("missing", &["/nonexistent/python", "python-home"][..]),
            ("broken", &["exit status 7"][..]),
            ("private", &["private/bin/python3", "python="][..]),
        ] {
            cases.check(group, || {
                assert_eq!(server.get(&format!("/{group}/run")).status, 503);
                let line = wait_until("a line in the log", || {
                    let log = server.log_since(LogMark::default());
                    let is_it = |line: &&str| {
                        line.contains(&format!("'{group}'")) && words.iter().all(|word| line.contains(word))
                    };
                    log.lines().find(is_it).map(str::to_owned)
                });
                assert!(
                    ["wsgi:crit", "wsgi:alert", "wsgi:error"].iter().any(|level| line.contains(level)),
                    "{line}"
                );
            });
        }
        cases.check("what it says itself is in the log", || {
            server.wait_log(LogMark::default(), "this is no Python");
        });
        cases.check("others are served", || assert_eq!(server.get("/sound/run").expect(200), "ran"));
    });
}

fn scripts_of_others_are_not_run(setup: Setup) {
    let setup = setup.own_groups().file("apps/app.wsgi", APP).file("theirs/app.wsgi", APP).conf(
        "WSGIDaemonProcess owned display-name=%{GROUP} script-user=backup\n\
             WSGIDaemonProcess grouped display-name=%{GROUP} script-group=backup\n\
             WSGIApplicationGroup %{GLOBAL}\n\
             WSGIScriptAlias /owned/mine @ROOT@/theirs/app.wsgi process-group=owned\n\
             WSGIScriptAlias /owned/other @ROOT@/apps/app.wsgi process-group=owned\n\
             WSGIScriptAlias /grouped/mine @ROOT@/theirs/app.wsgi process-group=grouped\n\
             WSGIScriptAlias /grouped/other @ROOT@/apps/app.wsgi process-group=grouped\n",
    );
    setup.run(|server, cases| {
        let change = |program: &str, arguments: &[&str]| {
            let done =
                std::process::Command::new(program).args(arguments).arg(server.path("theirs")).status();
            assert!(done.is_ok_and(|status| status.success()), "{program}");
        };
        change("chown", &["-R", "backup:backup"]);
        // The code is that of the message, if the script is not run.
        let mut check = |name: &str, target: &str, code: &str| {
            cases.check(&format!("{target}, {name}"), || {
                let mark = server.mark();
                let status = server.get(&format!("{target}/run")).status;
                assert_eq!(status, if code.is_empty() { 200 } else { 403 });
                if !code.is_empty() {
                    server.wait_log(mark, code);
                }
            });
        };
        check("their own", "/owned/mine", "");
        check("their own", "/grouped/mine", "");
        check("another's", "/owned/other", "WSGI0164");
        check("another's", "/grouped/other", "WSGI0155");
        change("chown", &["root:root"]);
        check("a directory of another", "/owned/mine", "WSGI0171");
        check("a directory of another", "/grouped/mine", "WSGI0160");
        change("chown", &["backup:backup"]);
        change("chmod", &["775"]);
        check("a directory for its group", "/owned/mine", "WSGI0173");
        check("a directory for its group", "/grouped/mine", "");
        change("chmod", &["777"]);
        check("a directory for all", "/owned/mine", "WSGI0172");
        check("a directory for all", "/grouped/mine", "WSGI0161");
        change("chmod", &["-R", "o+w"]);
        check("a script for all", "/owned/mine", "WSGI0168");
        check("a script for all", "/grouped/mine", "WSGI0157");
        change("chmod", &["-R", "g+w"]);
        check("a script for its group", "/owned/mine", "WSGI0166");
    });
}

fn a_process_can_be_jailed(setup: Setup) {
    let jail = Jail::new();
    let root = jail.0.path().display().to_string();
    let access = "def allow_access(environ, host):\n    return __file__ == '/srv/access.wsgi' and 'DOCUMENT_ROOT' not in environ\n";
    std::fs::write(jail.0.path().join("srv/access.wsgi"), access).unwrap_or_else(|error| panic!("{error}"));
    setup
        .file("htdocs/page", "the page")
        .conf(&format!(
            "<Location /page>\nWSGIAccessScript {root}/srv/access.wsgi process-group=jail\n</Location>\n\
             <Location /page/outside>\nWSGIAccessScript @ROOT@/outside.wsgi process-group=jail\n</Location>"
        ))
        .own_groups()
        .python_home(None)
        .file("outside.wsgi", APP)
        .conf(&format!(
            "WSGIDaemonProcess jail chroot={root} python=/usr/bin/python3 home=/srv display-name=%{{GROUP}} memory-recycle=1G\n\
             WSGIProcessGroup jail\nWSGIApplicationGroup %{{GLOBAL}}\n\
             WSGIScriptAlias /inside {root}/srv/app.wsgi\nWSGIScriptAlias /outside @ROOT@/outside.wsgi\n\
             <Directory {root}>\nRequire all granted\n</Directory>",
        ))
        .run(|server, cases| {
            cases.check("paths are those of the jail", || {
                let response = server.get("/inside/state");
                for (name, value) in
                    [("script", "/srv/app.wsgi"), ("directory", "/srv"), ("document-root", "None")]
                {
                    assert_eq!(response.value(name).as_deref(), Some(value), "{name}");
                }
                assert_eq!(response.value("ids").as_deref(), Some("(33, 33, 33) (33, 33, 33)"));
            });
            cases.check("users and groups are those of the jail", || {
                let response = server.get("/inside/state");
                assert_eq!(response.value("HOME").as_deref(), Some("/srv/home"));
                let groups = response.value("groups");
                assert_eq!(groups.as_deref(), Some("[33, 4711]"), "and not that of root");
            });
            cases.check("the doctor looks inside", || {
                let text = std::fs::read_to_string(server.root().join("httpd.conf")).unwrap_or_default();
                let place = |url: &str| {
                    let is_it = |line: &str| line.starts_with(&format!("WSGIScriptAlias {url} "));
                    format!("httpd.conf:{}: ", 1 + text.lines().position(is_it).unwrap_or_default())
                };
                let module = Target::current().module();
                let program = module.ancestors().nth(3).map(|prefix| prefix.join("bin/mod_wsgi-express"));
                let mut doctor = std::process::Command::new(program.unwrap_or_default());
                let output = doctor.args(["doctor", "--config"]).arg(server.root().join("httpd.conf")).output();
                let found =
                    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
                let about = |url: &str| -> Vec<&str> {
                    let place = place(url);
                    found.lines().filter(|line| line.contains(&place) && line.contains(": error: ")).collect()
                };
                assert_eq!(about("/inside"), [""; 0], "{found}");
                let outside = about("/outside");
                assert!(outside.len() == 1 && outside[0].contains("error: WSGI0081: the script "), "{found}");
            });
            cases.check("it is its root", || {
                let process = process_at(server, "/inside");
                let root = std::fs::read_link(process.path("root"));
                assert_eq!(root.ok().as_deref(), Some(jail.0.path()));
            });
            cases.check("without proc, its memory is not known", || {
                let log = server.wait_log(LogMark::default(), "WSGI1011");
                assert!(log.contains("mount proc in the jail"), "{log}");
            });
            cases.check("a script outside", || {
                let mark = server.mark();
                assert_eq!(server.get("/outside/run").status, 502);
                server.wait_log(mark, "WSGI0081");
            });
            cases.check("a script of access control", || {
                assert_eq!(server.get("/page").expect(200), "the page");
                let mark = server.mark();
                assert_eq!(server.get("/page/outside").status, 403);
                server.wait_log(mark, "WSGI0081");
            });
            cases.check("a host of another build inside", || {
                jail.hosts().iter().for_each(|host| replace_by_another_build(host));
                let mark = server.mark();
                server.graceful();
                let log = server.wait_log(mark, "is of another build");
                assert!(log.contains("the host in the jail"), "{log}");
                wait_until("a refusal", || (server.get("/inside/run").status == 503).then_some(()));
            });
        });
}

fn process_at(server: &e2e::Server, url: &str) -> e2e::Process {
    e2e::Process(server.get(&format!("{url}/pid")).expect(200).parse().unwrap_or_default())
}

/// A directory with the system's Python, the hosts, and [`APP`].
struct Jail(tempfile::TempDir);

impl Jail {
    fn hosts(&self) -> Vec<PathBuf> {
        let Target::Ours { directory } = Target::current() else { return Vec::new() };
        let hosts = directory.join("host");
        let hosts = std::fs::read_dir(self.0.path().join(hosts.strip_prefix("/").unwrap_or(&hosts)));
        hosts.into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }

    fn new() -> Self {
        let made = tempfile::Builder::new().prefix("e2e-jail-").tempdir_in("/tmp");
        let jail = Self(made.unwrap_or_else(|error| panic!("no temporary directory: {error}")));
        let Target::Ours { directory } = Target::current() else { return jail };
        let script = r#"
            set -eu
            hosts=$1 jail=$2
            chmod 755 .
            mkdir -p usr/bin usr/lib srv etc dev "./$hosts"
            python=$(readlink -f /usr/bin/python3)
            cp "$python" usr/bin/python3
            library=$("$python" -c 'import os; print(os.path.dirname(os.__file__))')
            mkdir -p "./$library"
            tar -C "$library" --exclude=test --exclude='*.pyc' -cf - . | tar -C "./$library" -xf -
            for file in "$hosts"/*; do cp "$file" "./$hosts/"; done
            # What they are linked to, and the linker itself.
            for file in "$python" "$hosts"/* "$library"/lib-dynload/*.so; do ldd "$file"; done 2>/dev/null |
                grep -o '/[^ ]*' | sort -u | while read -r file; do
                    mkdir -p "./$(dirname "$file")"
                    cp -L "$file" "./$file"
                done
            sed 's|^\(www-data:.*\):/var/www:|\1:/srv/home:|' /etc/passwd >etc/passwd
            { cat /etc/group; echo 'jailed:x:4711:www-data'; echo 'kings:x:0:www-data'; } >etc/group
            mkdir srv/home
            chmod go-w . etc etc/*
            mknod -m 666 dev/null c 1 3 2>/dev/null || true
        "#;
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", script, "sh"])
            .arg(directory.join("host"))
            .arg(jail.0.path())
            .current_dir(jail.0.path())
            .output()
            .unwrap_or_else(|error| panic!("/bin/sh: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let written = std::fs::write(jail.0.path().join("srv/app.wsgi"), APP);
        assert!(written.is_ok());
        jail
    }
}
