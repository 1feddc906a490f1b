//! Which process group a request goes to, and what a group is.

use std::process::Command;

use e2e::Needs::{Daemon, Ours, SecondPython};
use e2e::{Interpreter, Server, Setup, Test, on_one_mpm};

use super::{APP, serving, serving_process};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(groups_are_chosen_for_each_request, Daemon),
    on_one_mpm!(groups_of_a_virtual_host_serve_only_that_host, Daemon),
    on_one_mpm!(each_group_imports_its_own_scripts, Daemon),
    on_one_mpm!(a_process_for_one_request_is_marked_run_once, Daemon),
    on_one_mpm!(
        groups_can_have_different_python_versions,
        Daemon,
        Ours("Python version for each group"),
        SecondPython
    ),
    on_one_mpm!(groups_can_have_virtual_environments, Daemon),
    on_one_mpm!(a_python_home_does_not_hold_the_server_up, Daemon, Ours("descriptions of Pythons")),
];

/// URL, line, and the group that it leads to.
const CHOSEN: &[(&str, &str, &str)] = &[
    ("/option", "", "one"),
    ("/directive", "WSGIProcessGroup two", "two"),
    ("/loses", "WSGIProcessGroup two", "one"),
    ("/env", "SetEnv NAME two\nWSGIProcessGroup %{ENV:NAME}", "two"),
    ("/global", "WSGIProcessGroup %{GLOBAL}", ""),
    ("/again", "SetEnv NAME %{GLOBAL}\nWSGIProcessGroup %{ENV:NAME}", ""),
    ("/server", "WSGIProcessGroup %{SERVER}", "localhost:@PORT@"),
    ("/host", "WSGIProcessGroup %{HOST}", "localhost:@PORT@"),
    ("/resource", "WSGIProcessGroup %{RESOURCE}", "localhost:@PORT@|/resource"),
    ("/listed", "WSGIProcessGroup two\nWSGIRestrictProcess one TWO", "two"),
    ("/embedded", "WSGIProcessGroup %{GLOBAL}\nWSGIRestrictProcess %{GLOBAL} one", ""),
];

/// URL, line, and the code of the message.
const REFUSED: &[(&str, &str, &str)] = &[
    ("/unknown", "WSGIProcessGroup nobody", "WSGI0151"),
    ("/unset", "WSGIProcessGroup %{ENV:UNKNOWN}", "WSGI0151"),
    ("/case", "WSGIProcessGroup ONE", "WSGI0151"),
    ("/unlisted", "WSGIProcessGroup two\nWSGIRestrictProcess one", "WSGI0149"),
    ("/nothing", "WSGIProcessGroup one\nWSGIRestrictProcess", "WSGI0149"),
    ("/no-embedded", "WSGIProcessGroup %{GLOBAL}\nWSGIRestrictProcess one", "WSGI0149"),
];

fn groups_are_chosen_for_each_request(setup: Setup) {
    let mut setup = setup.own_groups().file("apps/app.wsgi", APP).conf(
        "WSGIDaemonProcess one threads=2 display-name=%{GROUP}\nWSGIDaemonProcess two processes=1 threads=1 display-name=%{GROUP}\n\
         WSGIDaemonProcess localhost:@PORT@ display-name=%{GROUP}\nWSGIDaemonProcess \"localhost:@PORT@|/resource\" display-name=%{GROUP}\n\
         WSGIApplicationGroup %{GLOBAL}\n",
    );
    let lines = CHOSEN.iter().chain(REFUSED).map(|row| (row.0, row.1));
    for (url, line) in lines {
        let option = if matches!(url, "/option" | "/loses") { "process-group=one" } else { "" };
        setup = setup.conf(&format!(
            "WSGIScriptAlias {url} @ROOT@/apps/app.wsgi {option}\n<Location {url}>\n{line}\n</Location>"
        ));
    }
    setup.run(|server, cases| {
        for &(url, _, group) in CHOSEN {
            cases.check(url, || {
                let group = group.replace("@PORT@", &server.port().to_string());
                let response = server.get(&format!("{url}/state"));
                assert_eq!(response.value("process_group").as_deref(), Some(group.as_str()));
                assert_eq!(response.value("environ_group").as_deref(), Some(group.as_str()));
                let pid = response.value("pid").and_then(|pid| pid.parse().ok()).unwrap_or_default();
                assert_eq!(server.children().contains(&pid), group.is_empty(), "{pid}");
            });
        }
        for &(url, _, code) in REFUSED {
            cases.check(url, || {
                let mark = server.mark();
                assert_eq!(server.get(&format!("{url}/state")).status, 500);
                server.wait_log(mark, code);
            });
        }
        for (url, multithread, multiprocess) in
            [("/option", "True", "False"), ("/directive", "False", "True")]
        {
            cases.check(&format!("{url} flags"), || {
                let response = server.get(&format!("{url}/state"));
                assert_eq!(response.value("multithread").as_deref(), Some(multithread));
                assert_eq!(response.value("multiprocess").as_deref(), Some(multiprocess));
                assert_eq!(response.value("run_once").as_deref(), Some("False"));
            });
        }
    });
}

fn groups_of_a_virtual_host_serve_only_that_host(setup: Setup) {
    let host = |name: &str, lines: &str| {
        format!("<VirtualHost *:@PORT@>\nServerName {name}\n{lines}\n</VirtualHost>\n")
    };
    setup
        .own_groups()
        .file("apps/app.wsgi", APP)
        .conf("WSGIDaemonProcess everybodys display-name=%{GROUP}\nWSGIScriptAlias / @ROOT@/apps/app.wsgi\nWSGIApplicationGroup %{GLOBAL}")
        .conf(&host("first.example", "WSGIProcessGroup theirs"))
        .conf(&host(
            "one.example",
            "WSGIDaemonProcess theirs display-name=%{GROUP}\nErrorLog @ROOT@/logs/one.log\nWSGIProcessGroup theirs",
        ))
        .conf(&host("two.example", "WSGIProcessGroup theirs"))
        .conf(&host("three.example", "WSGIProcessGroup everybodys"))
        .conf("Listen 127.0.0.1:@TLS_PORT@")
        .conf("<VirtualHost *:@TLS_PORT@>\nServerName one.example\nWSGIProcessGroup theirs\n</VirtualHost>")
        .run(|server, cases| {
            let ask = |host: &str| server.request("GET", "/state").host(host).send();
            cases.check("its own", || {
                assert_eq!(ask("one.example").value("process_group").as_deref(), Some("theirs"));
            });
            cases.check("the main server's", || {
                assert_eq!(ask("three.example").value("process_group").as_deref(), Some("everybodys"));
            });
            for name in ["two.example", "first.example"] {
                cases.check(name, || {
                    let mark = server.mark();
                    assert_eq!(ask(name).status, 500);
                    server.wait_log(mark, "WSGI0152");
                });
            }
            cases.check("another host of the same name", || {
                let url = format!("http://127.0.0.1:{}/state", server.tls_port());
                let output = e2e::curl(["--header", "Host: one.example", &url]);
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(text.contains("process_group\ttheirs"), "{text}");
            });
            cases.check("it logs to the host's log", || {
                e2e::wait_until("a line of the group in its log", || {
                    let log = std::fs::read_to_string(server.path("logs/one.log")).unwrap_or_default();
                    log.contains("theirs").then_some(())
                });
            });
        });
}

fn each_group_imports_its_own_scripts(setup: Setup) {
    let import = |name: &str| format!("import mod_wsgi\nmod_wsgi.e2e_imported = '{name}'\n");
    setup
        .own_groups()
        .file("apps/app.wsgi", APP)
        .file("apps/one.py", import("one"))
        .file("apps/two.py", import("two"))
        .conf(
            "WSGIDaemonProcess one processes=2 display-name=%{GROUP}\nWSGIDaemonProcess two display-name=%{GROUP}\nWSGIRestrictEmbedded On\n\
             WSGIImportScript @ROOT@/apps/one.py process-group=one application-group=%{GLOBAL}\n\
             WSGIImportScript @ROOT@/apps/two.py process-group=two application-group=%{GLOBAL}\n\
             WSGIScriptAlias /one @ROOT@/apps/app.wsgi process-group=one application-group=%{GLOBAL}\n\
             WSGIScriptAlias /two @ROOT@/apps/app.wsgi process-group=two application-group=%{GLOBAL}\n",
        )
        .run(|server, cases| {
            for name in ["one", "two"] {
                cases.check(name, || {
                    for _ in 0..6 {
                        assert_eq!(
                            server.get(&format!("/{name}/state")).value("mine").as_deref(),
                            Some(name)
                        );
                    }
                });
            }
            cases.ours_only("the Apache children have no Python", "it is loaded into the parent", || {
                for child in server.children() {
                    let maps = e2e::Process(child).read("maps");
                    assert!(!maps.contains("libpython") && !maps.contains("mod_wsgi_host"), "{maps}");
                }
            });
        });
}

fn a_process_for_one_request_is_marked_run_once(setup: Setup) {
    serving(setup, "threads=1 maximum-requests=1").run(|server, cases| {
        cases.check("the flag, and another process", || {
            let old = serving_process(server);
            e2e::wait_until("another process", || {
                let response = server.get("/state");
                assert_eq!(response.value("run_once").as_deref(), Some("True"));
                (response.value("pid") != Some(old.0.to_string())).then_some(())
            });
        });
    });
}

fn groups_can_have_different_python_versions(setup: Setup) {
    let pythons = Interpreter::with_hosts();
    let mut setup = setup.own_groups().file("apps/app.wsgi", APP).conf("WSGIApplicationGroup %{GLOBAL}");
    for (number, python) in pythons.iter().enumerate() {
        let home = python.home();
        let library = home.join("lib");
        for (kind, option) in [
            ("home", format!("python-home={}", home.display())),
            ("python", format!("python={}", home.join("bin/python3").display())),
        ] {
            setup = setup.conf(&format!(
                "WSGIDaemonProcess {kind}{number} {option} display-name=%{{GROUP}} environment=LD_LIBRARY_PATH={}\n\
                 WSGIScriptAlias /{kind}{number} @ROOT@/apps/app.wsgi process-group={kind}{number}",
                library.display()
            ));
        }
    }
    setup.run(|server, cases| {
        for (number, python) in pythons.iter().enumerate() {
            for kind in ["home", "python"] {
                cases.check(&format!("{kind} of {:?}", python.version), || {
                    let response = server.get(&format!("/{kind}{number}/state"));
                    let version = format!("{}.{}", python.version.0, python.version.1);
                    assert_eq!(response.value("version"), Some(version));
                    assert_eq!(response.value("prefix").as_deref(), python.home().to_str());
                });
            }
        }
    });
}

fn groups_can_have_virtual_environments(setup: Setup) {
    let directory = tempfile::Builder::new().prefix("e2e-venv-").tempdir_in("/tmp");
    let directory = directory.unwrap_or_else(|error| panic!("no temporary directory: {error}"));
    let venv = directory.path().join("venv");
    let python = Interpreter::current();
    let made = Command::new(python.home().join("bin/python3"))
        .args(["-m", "venv", "--without-pip"])
        .arg(&venv)
        .output()
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let opened = Command::new("chmod").arg("755").arg(directory.path()).status();
    assert!(opened.is_ok_and(|status| status.success()));
    let options = format!("python-home={}", venv.display());
    serving(setup, &options).run(|server: &Server, cases| {
        cases.check("its prefix", || {
            assert_eq!(server.get("/state").value("prefix").as_deref(), venv.to_str());
        });
        cases.check("its executable", || {
            let shown = server.get("/state").value("executable").unwrap_or_default();
            assert!(shown.starts_with(&format!("{}/bin/python", venv.display())), "{shown}");
        });
        cases.check("processes that the application starts", || {
            let text = server.get("/subprocesses").expect(200);
            assert!(text.starts_with("0 "), "{text}");
        });
        let _ = serving_process(server);
    });
}

/// A group's user owns its environment, and can make anything of the files there.
fn a_python_home_does_not_hold_the_server_up(setup: Setup) {
    let group = "WSGIDaemonProcess other python-home=@ROOT@/environment\n\
                 WSGIScriptAlias /other @ROOT@/apps/app.wsgi process-group=other";
    serving(setup.file("environment/bin/keep", "").conf(group), "").run(|server, _| {
        let environment = server.root().join("environment");
        std::os::unix::fs::symlink("/usr/bin/python3", environment.join("bin/python3")).expect("a link");
        nix::unistd::mkfifo(&environment.join("pyvenv.cfg"), nix::sys::stat::Mode::all()).expect("a pipe");
        let old = serving_process(server);
        server.graceful();
        assert_ne!(serving_process(server), old);
        assert_eq!(server.get("/run").expect(200), "ran");
    });
}
