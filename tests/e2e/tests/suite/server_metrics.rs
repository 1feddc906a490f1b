//! `mod_wsgi.server_metrics()`: Apache's scoreboard.

use std::fs;

use e2e::Needs::{Daemon, Embedded, OneProcess, Ours};
use e2e::{Cases, LogMark, Mode, Process, Server, Setup, Test, on_each_mpm, on_one_mpm, signal, wait_until};
use nix::sys::signal::Signal;

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(the_scoreboard_is_shown),
    on_one_mpm!(no_client_is_named_without_extended_status, OneProcess),
    on_one_mpm!(the_scoreboard_is_shown_only_where_it_is_enabled),
    on_each_mpm!(the_scoreboard_outlives_its_publisher, Daemon),
    on_each_mpm!(nothing_is_published_unless_enabled, Daemon, Ours("promise of what a process holds (W31)")),
    on_each_mpm!(
        children_end_as_usual_while_they_publish,
        Embedded("the end of Apache's children"),
        Ours("thread that publishes")
    ),
];

const APP: &str = include_str!("../../apps/server_metrics.wsgi");
const HANDLER: &str = include_str!("../../apps/exit_handler.wsgi");

/// The thread that publishes the scoreboard.
const PUBLISHER: &str = "wsgi-scoreboard";

fn serving(setup: Setup) -> Setup {
    setup.app("/", "app.wsgi", APP).conf("WSGIApplicationGroup %{GLOBAL}")
}

/// With the setting that shows it to the application.
fn serving_with_metrics(setup: Setup, extended: &str) -> Setup {
    let setup = serving(setup).conf(&format!("ExtendedStatus {extended}"));
    match setup.mode() {
        Mode::Embedded => setup.conf("WSGIServerMetrics On"),
        Mode::Daemon => setup.group("server-metrics=On"),
    }
}

/// An overview, once there is one: the first request of all may come before anything is published.
fn wait_for_scoreboard(server: &Server) -> e2e::Response {
    wait_until("the scoreboard", || {
        let response = server.get("/");
        (response.value("metrics").as_deref() != Some("None")).then_some(response)
    })
}

/// Returns the time at which the shown scoreboard was read.
fn scoreboard_time(server: &Server) -> f64 {
    wait_for_scoreboard(server).value("current_time").and_then(|time| time.parse().ok()).unwrap_or_default()
}

fn the_scoreboard_is_shown(setup: Setup) {
    serving_with_metrics(setup, "On").run(|server, cases| {
        let response = wait_for_scoreboard(server);
        for (name, value) in [
            (
                "metrics",
                "server_limit:int thread_limit:int running_generation:int restart_time:float \
                 current_time:float running_time:int processes:list",
            ),
            ("process", "process_num:int pid:int generation:int quiescing:bool workers:list"),
            (
                "worker",
                "thread_num:int generation:int status:str access_count:int bytes_served:int start_time:float \
                 stop_time:float last_used:float client:str request:str vhost:str",
            ),
            ("limits", "True"),
            ("numbers", "True"),
            ("generation", "0"),
            ("running", "True"),
            (
                "empty",
                "{'thread_num': 0, 'generation': 0, 'status': '.', 'access_count': 0, 'bytes_served': 0, \
                 'start_time': 0.0, 'stop_time': 0.0, 'last_used': 0.0, 'client': '', 'request': '', 'vhost': ''}",
            ),
        ] {
            cases.check(name, || assert_eq!(response.value(name).as_deref(), Some(value)));
        }
        cases.check("the children are there", || {
            wait_until("all children", || {
                let shown = wait_for_scoreboard(server).value("pids").unwrap_or_default();
                let shown: Vec<_> = shown.split(' ').collect();
                server.children().iter().all(|pid| shown.contains(&pid.to_string().as_str())).then_some(())
            });
        });
        cases.check("a request that runs", || {
            let target = "/running?a=b%20c";
            let response = server.get(target);
            let value = |name: &str| response.value(name).unwrap_or_default();
            assert_eq!((value("client"), value("quiescing")), ("127.0.0.1".into(), "False".into()));
            assert_eq!(value("vhost"), format!("localhost:{}", server.port()));
            assert_eq!((value("times"), value("age")), ("True".into(), "True".into()), "{}", response.text());
            let pid = value("pid").parse().unwrap_or(0);
            assert!(server.children().contains(&pid), "{pid} of {:?}", server.children());
        });
        cases.check("requests are counted", || {
            let served = |response: &e2e::Response| response.value("served").and_then(|text| text.parse().ok());
            let before: Option<u32> = served(&wait_for_scoreboard(server));
            wait_until("another one", || (served(&wait_for_scoreboard(server)) > before).then_some(()));
        });
    });
}

fn no_client_is_named_without_extended_status(setup: Setup) {
    serving_with_metrics(setup, "Off").run(|server, cases| {
        cases.check("what threads do", || {
            wait_for_scoreboard(server);
            // It comes when the thread that serves it is shown.
            let response = server.get("/busy");
            let states = response.value("states").unwrap_or_default();
            assert!(states.contains('W') && states.contains('_'), "{states}");
            assert_eq!(response.value("texts").as_deref(), Some("['']"));
        });
    });
}

fn the_scoreboard_is_shown_only_where_it_is_enabled(setup: Setup) {
    // What is said for the other mode does not count.
    let setup = match setup.mode() {
        Mode::Embedded => {
            serving(setup).conf("WSGIDaemonProcess other server-metrics=On display-name=%{GROUP}")
        }
        Mode::Daemon => serving(setup).conf("WSGIServerMetrics On"),
    };
    setup.run(|server, cases| {
        cases.check("None", || assert_eq!(server.get("/").value("metrics").as_deref(), Some("None")));
    });
}

fn the_scoreboard_outlives_its_publisher(setup: Setup) {
    serving_with_metrics(setup, "On").children(2).run(|server, cases| {
        let renewed = |what: &str| {
            let before = scoreboard_time(server);
            wait_until(what, || (scoreboard_time(server) > before).then_some(()));
        };
        cases.check("it is renewed", || renewed("another publication"));
        cases.check("children that are killed", || {
            let killed = server.children();
            for &child in &killed {
                signal(Process(child), Signal::SIGKILL);
                wait_until("a request", || {
                    let mut connection = server.connect();
                    connection.try_send(&server.request("GET", "/").keep_alive()).ok()?;
                    connection.response("GET").ok().filter(|response| response.status == 200)
                });
                renewed("a publication of another child");
            }
            // (With event, a child that has just been started may miss what a restart tells it.)
            let is_listening = |child: &u32| !Process(*child).listening_sockets().is_empty();
            wait_until("others in their places", || {
                let children = server.children();
                let are_others = children.iter().all(|child| !killed.contains(child) && is_listening(child));
                (are_others && !children.is_empty()).then_some(())
            });
            renewed("a publication");
        });
        cases.check("graceful restarts", || {
            for generation in ["1", "2"] {
                let before = server.children();
                server.graceful();
                wait_until("the new generation", || {
                    (wait_for_scoreboard(server).value("generation").as_deref() == Some(generation))
                        .then_some(())
                });
                renewed("a publication of a new child");
                wait_until("the end of the old children", || {
                    (!server.children().iter().any(|child| before.contains(child))).then_some(())
                });
            }
        });
        cases.check("a restart", || {
            server.restart();
            wait_until("the new generation", || {
                (wait_for_scoreboard(server).value("generation").as_deref() == Some("3")).then_some(())
            });
            renewed("a publication of a new child");
        });
    });
}

fn nothing_is_published_unless_enabled(setup: Setup) {
    let user = if nix::unistd::geteuid().is_root() { "user=backup" } else { "" };
    let setup = setup.own_groups().file("apps/app.wsgi", APP).conf("WSGIApplicationGroup %{GLOBAL}");
    let groups = |options: &str| {
        format!(
            "WSGIDaemonProcess asked threads=2 display-name=%{{GROUP}} {options}\n\
             WSGIDaemonProcess not threads=2 display-name=%{{GROUP}} {user}\n\
             WSGIScriptAlias /asked @ROOT@/apps/app.wsgi process-group=asked\n\
             WSGIScriptAlias /not @ROOT@/apps/app.wsgi process-group=not"
        )
    };
    setup.clone().conf(&groups("server-metrics=On")).run(|server, cases| {
        wait_until("the scoreboard", || {
            (server.get("/asked/").value("metrics").as_deref() != Some("None")).then_some(())
        });
        cases.check("None", || assert_eq!(server.get("/not/").value("metrics").as_deref(), Some("None")));
        let daemons = server.daemons();
        assert_eq!(daemons.len(), 2, "{daemons:?}");
        check_mappings(daemons, cases);
        cases.check("a thread of each child", || {
            for child in server.children() {
                wait_until("the thread", || {
                    thread_names(child).iter().any(|name| name == PUBLISHER).then_some(())
                });
            }
        });
        cases.check("none of the parent", || assert_eq!(thread_names(server.pid()).len(), 1));
    });
    setup.conf(&groups("")).run(|server, cases| {
        cases.check("nothing where nobody has asked", || {
            assert_eq!(server.get("/asked/").value("metrics").as_deref(), Some("None"));
            for child in server.children() {
                assert!(
                    !thread_names(child).iter().any(|name| name == PUBLISHER),
                    "{:?}",
                    thread_names(child)
                );
                assert!(!Process(child).read("maps").contains("mod_wsgi scoreboard"));
            }
        });
    });
}

fn check_mappings(daemons: Vec<Process>, cases: &mut Cases<'_>) {
    for daemon in daemons {
        let has_asked = daemon.command_line() == "(wsgi:asked)";
        let maps = daemon.read("maps");
        if maps.is_empty() {
            e2e::skipped("the system shows the memory of such a process to root only");
            continue;
        }
        cases.check("what is mapped", || {
            let lines: Vec<_> = maps.lines().filter(|line| line.contains("scoreboard")).collect();
            assert_eq!(!lines.is_empty(), has_asked, "{daemon:?}: {lines:?}");
            assert!(lines.iter().all(|line| line.contains(" r--s ")), "{lines:?}");
        });
        cases.check("no descriptor", || {
            let held = daemon.descriptors();
            let shown = held.iter().any(|(_, path)| path.display().to_string().contains("scoreboard"));
            assert!(!shown && !held.is_empty(), "{daemon:?}: {held:?}");
        });
    }
}

fn children_end_as_usual_while_they_publish(setup: Setup) {
    let setup = setup.children(1).app("/", "app.wsgi", HANDLER);
    let mut server = setup.conf("WSGIDaemonProcess other server-metrics=On display-name=%{GROUP}").start();
    for round in 0..5 {
        let mark = server.mark();
        assert_eq!(server.get("/").expect(200), "registered");
        assert!(server.children().into_iter().flat_map(thread_names).any(|name| name == PUBLISHER));
        server.restart();
        // A child with a thread left would not run it.
        let log = server.log_since(mark);
        assert!(log.contains("the exit handler runs"), "round {round}: {log}");
    }
    assert!(server.stop().success());
    let log = server.log_since(LogMark::default());
    assert!(!log.contains("exit signal") && !log.contains("SIGKILL"), "{log}");
}

/// The names of the threads of a process.
fn thread_names(process: u32) -> Vec<String> {
    let tasks = fs::read_dir(Process(process).path("task")).into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim_end().to_owned()).collect()
}
