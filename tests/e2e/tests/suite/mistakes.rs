//! Mistakes in the configuration: each is refused, or told, with what was written and what to write
//! instead.

use e2e::Needs::{Daemon, NoSanitizer, Ours};
use e2e::{LogMark, Setup, Test, on_one_mpm, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(mistakes_are_refused, Ours("such messages")),
    on_one_mpm!(a_configuration_test_warns_of_mistakes, Ours("such warnings")),
    on_one_mpm!(a_restart_into_a_mistake_leaves_no_process, Daemon),
    on_one_mpm!(a_running_server_survives_the_test_of_a_mistake, Ours("such messages")),
    on_one_mpm!(
        limits_that_are_too_small_are_named,
        Daemon,
        Ours("word about that"),
        NoSanitizer("it takes more address space than that itself")
    ),
    on_one_mpm!(a_locale_that_is_missing_is_named, Daemon, Ours("remedy for that")),
];

const APP: &str = "def application(e, s):\n    s('200 OK', [])\n    return [b'served']\n";

/// Lines that are refused, and what the message says beside file and line.
const REFUSED: &[(&str, &[&str])] = &[
    ("WSGIDaemonProcess g threads=ten", &["threads", "'ten'", "'g'", "0 to 65533"]),
    ("WSGIDaemonProcess g processes=2,", &["processes", "'2,'", "1 to 65535"]),
    ("WSGIDaemonProcess g processes=0", &["processes", "'0'", "1 to 65535"]),
    ("WSGIDaemonProcess g threads=", &["threads", "''", "a number"]),
    ("WSGIDaemonProcess g request-timeout=30x", &["request-timeout", "'30x'", "90s, 5m or 2h"]),
    ("WSGIDaemonProcess g graceful-timeout=-1", &["graceful-timeout", "'-1'", "0 or more"]),
    ("WSGIDaemonProcess g response-flush-delay=fast", &["response-flush-delay", "milliseconds"]),
    ("WSGIDaemonProcess g cpu-time-limit=0.5", &["cpu-time-limit", "whole seconds"]),
    ("WSGIDaemonProcess g maximum-requests=1q", &["maximum-requests", "'1q'", "10k"]),
    ("WSGIDaemonProcess g memory-limit=512", &["memory-limit", "'512'", "16777216", "512M"]),
    ("WSGIDaemonProcess g virtual-memory-limit=1X", &["virtual-memory-limit", "'1X'", "512M"]),
    ("WSGIDaemonProcess g header-buffer-size=1K", &["header-buffer-size", "8192"]),
    ("WSGIDaemonProcess g stack-size=8", &["stack-size", "32768"]),
    ("WSGIDaemonProcess g cpu-priority=low", &["cpu-priority", "'low'", "whole number"]),
    ("WSGIDaemonProcess g switch-interval=1h", &["switch-interval", "5ms"]),
    ("WSGISwitchInterval 1h", &["WSGISwitchInterval", "'1h'", "5ms"]),
    ("WSGIPythonOptimize two", &["WSGIPythonOptimize", "'two'", "whole number"]),
    ("WSGIDaemonProcess g thread=5", &["'thread'", "did you mean threads=?"]),
    ("WSGIDaemonProcess g Threads=5", &["'Threads'", "did you mean threads=?"]),
    ("WSGIDaemonProcess g threads = 5", &["'threads'", "without blanks around the ="]),
    ("WSGIDaemonProcess g \"home=/a b\"", &["home", "key=\"a value\""]),
    ("WSGIScriptAlias / /x process_group=g", &["'process_group'", "did you mean process-group=?"]),
    (
        "WSGIDaemonProcess g python-home=@ROOT@/apps/app.wsgi",
        &["python-home", "app.wsgi", "a directory", "python="],
    ),
    ("WSGIDaemonProcess g python=@ROOT@/apps", &["python", "an executable", "python-home="]),
    ("WSGIDaemonProcess g home=apps", &["home", "'apps'", "absolute"]),
    ("WSGIDaemonProcess g umask=9", &["umask", "'9'", "0027"]),
    ("WSGIDaemonProcess g user=nobody-here", &["user", "'nobody-here'", "no such user"]),
    ("WSGIDaemonProcess g server-metrics=yes", &["server-metrics", "'yes'", "Off | On"]),
    ("WSGIScriptAlias / /x process-group=none application-group=a", &["'none'", "above this line"]),
];

/// Lines that are accepted, and what the warning says beside file and line.
const TOLD: &[(&str, &[&str])] = &[
    ("WSGIDaemonProcess processes=6", &["'processes=6'", "the name comes first"]),
    (
        "WSGIDaemonProcess g python-path=@ROOT@/apps:@ROOT@/none",
        &["python-path=", "'g'", "/none'", "does not exist"],
    ),
    ("WSGIPythonPath @ROOT@/none", &["WSGIPythonPath", "/none'", "does not exist"]),
    (
        "WSGIDaemonProcess g python-home=@ROOT@/venv",
        &["/venv was made with is gone", "home = /opt/removed/bin, which does not exist", "venv --clear"],
    ),
    (
        "WSGIDaemonProcess g python=/usr/bin/python3 python-path=/srv/lib/python3.2/site-packages",
        &["/srv/lib/python3.2/site-packages has packages for Python 3.2"],
    ),
    ("WSGIPythonHome @ROOT@/apps/app.wsgi", &["WSGIPythonHome", "a directory is wanted"]),
    ("WSGIApplicationGroup %{global}", &["WSGIApplicationGroup", "%{global}", "did you mean %{GLOBAL}?"]),
    ("WSGIScriptAlias /x /x application-group=%{Server}", &["application-group=", "did you mean %{SERVER}?"]),
    ("WSGICallableObject %{env:APP}", &["WSGICallableObject", "did you mean %{ENV:APP}?"]),
    ("WSGIDaemonProcess g display-name=%{group}", &["display-name=", "did you mean %{GROUP}?"]),
    ("WSGIDaemonProcess shop\nWSGIScriptAlias /x /x process-group=shpo", &["'shpo'", "did you mean 'shop'?"]),
    ("WSGIDaemonProcess g threads=0\nWSGIScriptAlias /x /x process-group=g", &["'g'", "threads=0"]),
    (
        "WSGITrustedProxies 0.0.0.0/0.0.0.0",
        &["WSGITrustedProxies", "a network of millions", "name the addresses"],
    ),
    (
        "WSGIScriptAlias /x /x\nWSGIScriptAlias /x/y /y",
        &["No request comes to the alias of /x/y", "put this line above"],
    ),
];

fn with_mistake(setup: &Setup, lines: &str) -> Setup {
    setup
        .clone()
        .file("apps/app.wsgi", APP)
        .file("venv/pyvenv.cfg", "home = /opt/removed/bin\nversion = 3.11.2\n")
        .file("mistake.conf", format!("# A comment.\n{lines}\n"))
        .conf("Include @ROOT@/mistake.conf")
}

/// Returns the line of `text` that has everything in `words`.
fn find_line<'t>(text: &'t str, words: &[&str]) -> Option<&'t str> {
    let joined = |line: &str| words.iter().all(|word| line.contains(word));
    text.lines().find(|line| joined(line))
}

fn mistakes_are_refused(setup: Setup) {
    for &(line, words) in REFUSED {
        let output = with_mistake(&setup, line).test_configuration();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{line:?} is accepted");
        assert!(text.contains("line 2 of") && text.contains("mistake.conf"), "{line:?}: {text}");
        assert!(find_line(&text, words).is_some(), "{line:?}: {words:?} are not in {text}");
    }
}

fn a_configuration_test_warns_of_mistakes(setup: Setup) {
    for &(lines, words) in TOLD {
        let output = with_mistake(&setup, lines).test_configuration();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{lines:?} is refused: {text}");
        let number = 1 + lines.lines().count();
        let place = format!("(line {number} of ");
        let words: Vec<_> = words.iter().copied().chain([place.as_str(), "mistake.conf)"]).collect();
        assert!(find_line(&text, &words).is_some(), "{lines:?}: {words:?} are not in {text}");
    }
    let idle = with_mistake(&setup, "WSGIDaemonProcess idle").test_configuration();
    let text = String::from_utf8_lossy(&idle.stderr);
    assert!(
        find_line(&text, &["No line sends requests", "'idle'", "WSGIProcessGroup idle"]).is_some(),
        "{text}"
    );
    let foreign = "<VirtualHost 192.0.2.1:9>\nServerName a\nWSGIDaemonProcess shop\n</VirtualHost>\n\
                   <VirtualHost 192.0.2.2:9>\nServerName b\nWSGIProcessGroup shop\n</VirtualHost>";
    let text = with_mistake(&setup, foreign).test_configuration().stderr;
    let text = String::from_utf8_lossy(&text);
    let words = ["WSGI0152", "'shop' belongs to the virtual host a", "(line 4 of ", "(line 8 of "];
    assert!(find_line(&text, &words).is_some(), "{text}");
    let sound = with_mistake(&setup, "WSGIScriptAlias / @ROOT@/apps/app.wsgi").test_configuration();
    let text = String::from_utf8_lossy(&sound.stderr);
    assert!(!text.contains("mistake.conf"), "nothing is wrong with it: {text}");
}

fn a_restart_into_a_mistake_leaves_no_process(setup: Setup) {
    with_mistake(&setup, "").app("/", "app.wsgi", APP).run(|server, cases| {
        cases.check("Apache ends, and so do its processes", || {
            assert_eq!(server.get("/").expect(200), "served");
            let processes = server.daemons();
            assert!(!processes.is_empty());
            server.write("mistake.conf", "WSGIDaemonProcess g processes=0\n");
            let pid = i32::try_from(server.pid()).map(Pid::from_raw);
            assert!(pid.is_ok_and(|pid| kill(pid, Signal::SIGUSR1).is_ok()));
            wait_until("the end of all processes", || {
                processes.iter().all(|process| !process.is_alive()).then_some(())
            });
        });
    });
}

/// Apache ends when it is told to restart with a configuration that it cannot read, which is why
/// its tools test it first.
fn a_running_server_survives_the_test_of_a_mistake(setup: Setup) {
    let setup = with_mistake(&setup, "").app("/", "app.wsgi", APP);
    setup.run(|server, cases| {
        let test = || {
            let output = server.test();
            (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        for &(line, words) in REFUSED {
            cases.check(line, || {
                server.write("mistake.conf", line.replace("@ROOT@", &server.root().to_string_lossy()));
                let (is_accepted, text) = test();
                assert!(!is_accepted && find_line(&text, words).is_some(), "{text}");
            });
        }
        cases.check("it serves", || assert_eq!(server.get("/").expect(200), "served"));
        let lines = "WSGIDaemonProcess processes=6\nWSGIApplicationGroup %{global}";
        cases.check("a restart with warnings", || {
            server.write("mistake.conf", lines);
            assert!(test().0);
            let mark = server.mark();
            server.graceful();
            let log = server.log_since(mark);
            for words in [&["processes=6", "(line 1 of "][..], &["%{global}", "(line 2 of "]] {
                let line = find_line(&log, words).unwrap_or_else(|| panic!("{words:?} are not in {log}"));
                assert!(line.contains("wsgi:warn"), "{line}");
            }
            assert_eq!(server.get("/").expect(200), "served");
        });
    });
}

fn limits_that_are_too_small_are_named(setup: Setup) {
    let setup = setup.own_groups().app("/", "app.wsgi", APP).conf(
        "WSGIDaemonProcess small virtual-memory-limit=20M\nWSGIDaemonProcess scant memory-limit=16M threads=50\n\
         WSGIProcessGroup small",
    );
    setup.run(|server, cases| {
        server.expect_crashes();
        for (group, option) in
            [("small", "virtual-memory-limit=20971520"), ("scant", " memory-limit=16777216")]
        {
            cases.check(group, || {
                let line = wait_until("the limit in the log", || {
                    let log = server.log_since(LogMark::default());
                    find_line(&log, &["WSGI1003", option, "too little memory"]).map(str::to_owned)
                });
                assert!(line.contains(&format!("'{group}'")) && line.contains("wsgi:error"), "{line}");
            });
        }
    });
}

fn a_locale_that_is_missing_is_named(setup: Setup) {
    setup.group("locale=xx_YY.UTF-8").app("/", "app.wsgi", APP).run(|server, cases| {
        cases.check("group and remedy", || {
            let log = server.wait_log(LogMark::default(), "WSGI0079");
            assert!(
                find_line(&log, &["WSGI0079", "'xx_YY.UTF-8'", "'e2e'", "locale=C.UTF-8"]).is_some(),
                "{log}"
            );
        });
    });
}
