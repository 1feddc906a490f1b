//! `preload=fork`: processes that are forked from one that has imported the scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use e2e::Needs::{Daemon, Ours};
use e2e::{LogMark, Process, Server, Setup, Test, on_one_mpm, signal, wait_until};

use nix::sys::signal::Signal;

use super::{finish, open_gate, serving_process, start_held_request, wait_ended};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(processes_are_forked_from_one_that_has_imported, Daemon, Ours("option preload=")),
    on_one_mpm!(a_script_that_starts_threads_is_not_forked, Daemon, Ours("option preload=")),
    on_one_mpm!(a_template_that_cannot_fork_any_more_stops_nobody, Daemon, Ours("option preload=")),
    on_one_mpm!(a_script_that_cannot_be_imported_is_not_forked, Daemon, Ours("option preload=")),
    on_one_mpm!(scripts_of_other_interpreters_are_not_forked, Daemon, Ours("option preload=")),
    on_one_mpm!(a_changed_script_brings_a_new_template, Daemon, Ours("option preload=")),
    on_one_mpm!(a_change_that_cannot_be_forked_is_not_taken_back, Daemon, Ours("option preload=")),
    on_one_mpm!(a_script_that_leaves_processes_running_is_not_forked, Daemon, Ours("option preload=")),
    on_one_mpm!(a_script_that_makes_interpreters_is_not_forked, Daemon, Ours("option preload=")),
    on_one_mpm!(a_copy_that_a_function_for_forks_makes_is_none_of_the_group, Daemon, Ours("option preload=")),
    on_one_mpm!(the_template_of_a_group_that_rests_ends, Daemon, Ours("option preload=")),
    on_one_mpm!(a_template_that_dies_is_replaced, Daemon, Ours("option preload=")),
    on_one_mpm!(restarts_of_the_server_bring_new_templates, Daemon, Ours("option preload=")),
    on_one_mpm!(templates_run_as_the_users_of_their_groups, Daemon, Ours("option preload=")),
    on_one_mpm!(replacements_under_load_fail_no_request, Daemon, Ours("option preload=")),
];

const APP: &str = include_str!("../../../apps/preload.wsgi");

/// [`APP`], with something in front, at `/`, imported before there are requests, in a group with
/// `preload=fork` and these options.
fn preloading(setup: Setup, options: &str, before: &str) -> Setup {
    let mount = "WSGIScriptAlias / @ROOT@/apps/app.wsgi process-group=@GROUP@ application-group=%{GLOBAL}";
    with_gates(setup)
        .group(&format!("preload=fork {options}"))
        .file("apps/app.wsgi", format!("{before}\n{APP}"))
        .conf(mount)
}

fn with_gates(setup: Setup) -> Setup {
    setup.file("htdocs/gates/keep", "").conf("SetEnv test.gates @ROOT@/htdocs/gates")
}

fn is_template(process: Process) -> bool {
    process.command_line().ends_with(" template")
}

/// The templates of a server.
fn templates(server: &Server) -> Vec<Process> {
    server.daemons().into_iter().filter(|process| is_template(*process)).collect()
}

/// The processes that serve.
fn processes(server: &Server) -> BTreeSet<Process> {
    server.daemons().into_iter().filter(|process| !is_template(*process)).collect()
}

/// The processes that were forked since then, each with the number of its template.
fn forked(server: &Server, mark: LogMark) -> BTreeMap<Process, u32> {
    let log = server.log_since(mark);
    let found = log.lines().filter_map(|line| {
        let (_, rest) = line.split_once("] process ")?;
        let (pid, rest) = rest.split_once(" is forked from template ")?;
        let (template, _) = rest.split_once(',')?;
        Some((Process(pid.parse().ok()?), template.parse().ok()?))
    });
    found.collect()
}

/// Waits until there is one template, and so many processes that were forked from it.
#[track_caller]
fn wait_forked(server: &Server, mark: LogMark, count: usize) -> (Process, BTreeSet<Process>) {
    wait_until("a template and its processes", || {
        let (templates, processes) = (templates(server), processes(server));
        let forked = forked(server, mark);
        let is_forked = processes.iter().all(|process| forked.contains_key(process));
        (templates.len() == 1 && processes.len() == count && is_forked).then(|| (templates[0], processes))
    })
}

/// Returns the number of imports of the script since `mark`.
fn imports(server: &Server, mark: LogMark) -> usize {
    server.log_since(mark).matches("imported by ").count()
}

/// Reaches so many processes, of one thread each, with a request. Returns the answers.
#[track_caller]
fn reach_all(server: &Server, gate: &str, count: usize) -> Vec<String> {
    let held: Vec<_> = (0..count).map(|_| start_held_request(server, gate)).collect();
    open_gate(server, gate);
    held.into_iter().map(|request| finish(request).expect(200)).collect()
}

/// Returns the rest of the line of the text that begins with this word.
fn value<'a>(text: &'a str, word: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {word} in {text}"))
}

fn processes_are_forked_from_one_that_has_imported(setup: Setup) {
    preloading(setup, "processes=3 threads=1", "").run(|server, cases| {
        cases.check("the script is imported once, by the template", || {
            let start = LogMark::default();
            let (template, processes) = wait_forked(server, start, 3);
            let answers = reach_all(server, "all", 3);
            let numbers = |word| answers.iter().map(|answer| value(answer, word)).collect::<BTreeSet<_>>();
            let pids = numbers("pid").into_iter().filter_map(|pid| pid.parse().ok().map(Process));
            assert_eq!(pids.collect::<BTreeSet<_>>(), processes, "each serves");
            assert_eq!(numbers("template"), BTreeSet::from([&*template.0.to_string()]));
            assert_eq!((imports(server, start), numbers("random").len(), numbers("uuid").len()), (1, 3, 3));
            for answer in &answers {
                let pid = value(answer, "pid");
                let supervisor = server.supervisors()[0].0.to_string();
                assert_eq!(value(answer, "parent"), supervisor);
                assert_eq!((value(answer, "session"), value(answer, "frozen")), ("True", "True"));
                // The functions for forks ran, once.
                let events = value(answer, "events");
                let here = [format!("before {}", template.0), format!("child {pid}")];
                assert!(here.iter().all(|event| events.matches(event).count() >= 1), "{events}");
                assert_eq!(events.matches("child").count(), 1, "{events}");
            }
        });
        cases.check("a process has nothing of the template's", || {
            let template = templates(server)[0];
            let process = serving_process(server);
            let sockets = |process: Process| {
                let all = process.descriptors().into_iter();
                all.map(|(_, target)| target.display().to_string())
                    .filter(|target| target.starts_with("socket:") || target.starts_with("pipe:"))
                    .collect::<BTreeSet<_>>()
            };
            let shared: Vec<_> = sockets(template).intersection(&sockets(process)).cloned().collect();
            assert_eq!(shared, [""; 0], "{:?} {:?}", template.descriptors(), process.descriptors());
            let threads = template.status("Threads");
            assert_eq!(threads, "1");
        });
        cases.check("a copy that the application forks is one", || {
            let mark = server.mark();
            assert_eq!(server.get("/forked").expect(200), "7");
            server.wait_log(mark, "from the copy");
        });
    });
}

fn a_script_that_starts_threads_is_not_forked(setup: Setup) {
    let before = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), name='ticker', daemon=True).start()";
    preloading(setup, "processes=2 threads=1", before).run(|server, cases| {
        cases.check("it works, and the log says why, once", || {
            let _ = server.get("/pid").expect(200);
            wait_until("two processes, and no template", || {
                let is_imported = imports(server, LogMark::default()) == 3;
                (processes(server).len() == 2 && templates(server).is_empty() && is_imported).then_some(())
            });
            let log = server.wait_log(LogMark::default(), "preload=fork has no effect");
            assert_eq!(log.matches("preload=fork has no effect").count(), 1, "{log}");
            assert!(log.contains("'ticker' (daemon)"), "{log}");
            assert_eq!(forked(server, LogMark::default()).len(), 0);
        });
        cases.check("a change without threads is forked", || {
            let mark = server.mark();
            server.write("apps/app.wsgi", APP);
            reach_all(server, "without", 2);
            wait_forked(server, mark, 2);
            assert_eq!(imports(server, mark), 1, "{}", server.log_since(mark));
        });
    });
}

fn a_template_that_cannot_fork_any_more_stops_nobody(setup: Setup) {
    let before = "import os, threading, time\nos.register_at_fork(after_in_parent=lambda: threading.Thread(\
                  target=time.sleep, args=(600,), name='exporter', daemon=True).start())";
    preloading(setup, "processes=2 threads=1", before).run(|server, cases| {
        cases.check("what it does not fork starts by itself, and the log says why", || {
            let answers = reach_all(server, "both", 2);
            let pids: BTreeSet<_> = answers.iter().map(|answer| value(answer, "pid")).collect();
            assert_eq!((pids.len(), forked(server, LogMark::default()).len()), (2, 1));
            let log = server.wait_log(LogMark::default(), "no process can be forked from the template");
            assert!(log.contains("'exporter' (daemon)") && log.contains("after_in_parent"), "{log}");
        });
        cases.check("also in place of those that die", || {
            let old = processes(server);
            old.iter().for_each(|process| signal(*process, Signal::SIGKILL));
            old.iter().copied().for_each(wait_ended);
            let answers = reach_all(server, "again", 2);
            let pids: BTreeSet<_> = answers.iter().map(|answer| value(answer, "pid")).collect();
            assert_eq!(pids.len(), 2);
        });
    });
}

fn a_script_that_cannot_be_imported_is_not_forked(setup: Setup) {
    let before = "import os\nif not os.path.exists('@ROOT@/htdocs/database'):\n    raise ConnectionError('the database is down')";
    preloading(setup, "processes=2", before).run(|server, cases| {
        cases.check("requests fail with the cause, as without the option", || {
            let log = server.wait_log(LogMark::default(), "preload=fork has no effect");
            assert!(log.contains("ConnectionError"), "{log}");
            assert_eq!(server.get("/pid").status, 500);
        });
        cases.check("and then processes are forked", || {
            let mark = server.mark();
            server.write("htdocs/database", "");
            wait_until("forked processes", || {
                let _ = server.get("/pid");
                (!forked(server, mark).is_empty()).then_some(())
            });
            wait_until("an answer", || (server.get("/pid").status == 200).then_some(()));
        });
    });
}

fn scripts_of_other_interpreters_are_not_forked(setup: Setup) {
    let setup = with_gates(setup).group("preload=fork").file("apps/app.wsgi", APP);
    let mount = "WSGIScriptAlias / @ROOT@/apps/app.wsgi process-group=@GROUP@ application-group=other";
    setup.conf(mount).run(|server, cases| {
        cases.check("the log says what can be", || {
            let _ = server.get("/pid").expect(200);
            let log = server.wait_log(LogMark::default(), "preload=fork has no effect");
            assert!(log.contains("%{GLOBAL}") && log.contains("WSGIImportScript"), "{log}");
        });
    });
}

/// [`APP`] in another version.
fn app_of_version(text: &str) -> String {
    APP.replace("\"one\"", &format!("\"{text}\""))
}

fn a_changed_script_brings_a_new_template(setup: Setup) {
    preloading(setup, "processes=3 threads=1", "").run(|server, cases| {
        let (template, old) = wait_forked(server, LogMark::default(), 3);
        cases.check("which imports it once for all processes", || {
            let mark = server.mark();
            server.write("apps/app.wsgi", app_of_version("two"));
            reach_all(server, "two", 3);
            let (new, processes) = wait_forked(server, mark, 3);
            assert!(new != template && processes.is_disjoint(&old));
            assert_eq!((server.get("/version").text(), imports(server, mark)), ("two".to_owned(), 1));
            wait_ended(template);
        });
        let (template, old) = wait_forked(server, LogMark::default(), 3);
        cases.check("a broken one changes nothing", || {
            let mark = server.mark();
            server.write("apps/app.wsgi", "import no_such_module\n");
            for _ in 0..10 {
                assert_eq!(server.get("/version").expect(200), "two");
            }
            let log = server.wait_log(mark, "its successor could not import its scripts");
            assert!(log.contains("no_such_module"), "{log}");
            assert_eq!((templates(server), processes(server)), (vec![template], old.clone()));
        });
        cases.check("a process that dies meanwhile comes back as it was", || {
            let mark = server.mark();
            let victim = serving_process(server);
            signal(victim, Signal::SIGKILL);
            wait_until("another one", || {
                assert_eq!(server.get("/version").expect(200), "two");
                (!forked(server, mark).is_empty()).then_some(())
            });
        });
        cases.check("a mended one is served", || {
            server.write("apps/app.wsgi", app_of_version("three"));
            wait_until("three", || (server.get("/version").expect(200) == "three").then_some(()));
        });
        cases.check("a process that is told to restart has new code, too", || {
            let (mark, old) = (server.mark(), serving_process(server));
            signal(old, Signal::SIGUSR1);
            wait_ended(old);
            assert_eq!(imports(server, mark), 1);
        });
    });
}

fn a_change_that_cannot_be_forked_is_not_taken_back(setup: Setup) {
    let before = "import os, threading, time\nif os.path.exists('@ROOT@/htdocs/second'):\n    \
                  threading.Thread(target=time.sleep, args=(600,), daemon=True).start()";
    preloading(setup, "processes=2 threads=1", before).run(|server, cases| {
        cases.check("a process that dies comes back with the new code", || {
            let (template, old) = wait_forked(server, LogMark::default(), 2);
            // Nobody notices this by the script.
            server.write("htdocs/second", "");
            old.iter().for_each(|process| signal(*process, Signal::SIGUSR1));
            old.iter().copied().for_each(wait_ended);
            let new = wait_until("two processes", || Some(processes(server)).filter(|new| new.len() == 2));
            let mark = server.mark();
            new.iter().for_each(|process| signal(*process, Signal::SIGKILL));
            new.iter().copied().for_each(wait_ended);
            for answer in reach_all(server, "died", 2) {
                assert_eq!(
                    value(&answer, "template"),
                    value(&answer, "pid"),
                    "the old one was {}",
                    template.0
                );
            }
            assert_eq!(forked(server, mark).len(), 0);
            wait_ended(template);
        });
        cases.check("until it can be forked again", || {
            let mark = server.mark();
            assert!(std::fs::remove_file(server.path("htdocs/second")).is_ok());
            processes(server).into_iter().for_each(|process| signal(process, Signal::SIGUSR1));
            wait_until("forked processes", || (forked(server, mark).len() == 2).then_some(()));
        });
    });
}

fn a_script_that_leaves_processes_running_is_not_forked(setup: Setup) {
    // Nobody but the template, so that no other process is left by the test.
    let before = "import subprocess\nif open('/proc/self/cmdline').read().rstrip('\\0').endswith(' template'):\n    \
                  helper = subprocess.Popen(['sleep', '600'])";
    preloading(setup, "processes=2 threads=1", before).run(|server, cases| {
        cases.check("the log names it, and it ends with the template", || {
            reach_all(server, "both", 2);
            let log = server.wait_log(LogMark::default(), "preload=fork has no effect");
            let name = "'sleep' with the process id ";
            let pid = log.split_once(name).and_then(|(_, rest)| rest.split(';').next()?.parse().ok());
            wait_ended(pid.map(Process).unwrap_or_else(|| panic!("no {name} in {log}")));
            assert_eq!((forked(server, LogMark::default()).len(), templates(server)), (0, vec![]));
        });
        cases.check("one that has ended does not matter", || {
            let mark = server.mark();
            server.write("apps/app.wsgi", format!("import subprocess\nsubprocess.Popen(['true'])\n{APP}"));
            reach_all(server, "ended", 2);
            let (template, _) = wait_forked(server, mark, 2);
            assert_eq!(template.children(), [], "and is not left");
        });
    });
}

fn a_script_that_makes_interpreters_is_not_forked(setup: Setup) {
    let before = "try:\n    import _interpreters\nexcept ImportError:\n    import _xxsubinterpreters as _interpreters\n\
                  another = _interpreters.create()";
    preloading(setup, "processes=2 threads=1", before).run(|server, cases| {
        cases.check("it works, and the log says why", || {
            let log = server.wait_log(LogMark::default(), "preload=fork has no effect");
            assert!(log.contains("have created interpreters"), "{log}");
            reach_all(server, "both", 2);
            assert_eq!(forked(server, LogMark::default()).len(), 0);
        });
    });
}

fn a_copy_that_a_function_for_forks_makes_is_none_of_the_group(setup: Setup) {
    // The copy returns from the function as the process does.
    let before = "import os\ndef copy():\n    global copy_of\n    if copy_of is None:\n        \
                  copy_of = os.getpid()\n        os.fork()\ncopy_of = None\n\
                  os.register_at_fork(after_in_child=copy)";
    preloading(setup, "processes=2 threads=1", before).run(|server, cases| {
        cases.check("it ends", || {
            let (_, processes) = wait_forked(server, LogMark::default(), 2);
            reach_all(server, "both", 2);
            for process in processes {
                wait_until("no copy", || {
                    let running = |child: &Process| !child.status("State").starts_with('Z');
                    (!process.children().iter().any(running)).then_some(())
                });
            }
        });
    });
}

fn the_template_of_a_group_that_rests_ends(setup: Setup) {
    let options = "processes=0-2 threads=1 scale-up-wait=0 scale-down-idle=1s";
    preloading(setup, options, "").run(|server, cases| {
        let rest = || wait_until("no daemon process", || server.daemons().is_empty().then_some(()));
        cases.check("there is nothing before the first request", rest);
        cases.check("nor when there have been none for a while", || {
            let mark = server.mark();
            reach_all(server, "first", 2);
            assert_eq!((imports(server, mark), templates(server).len()), (1, 1));
            rest();
            assert!(!server.log_since(mark).contains("another one is started"), "{}", server.log_since(mark));
        });
        cases.check("and another one is made for the next request", || {
            let mark = server.mark();
            reach_all(server, "second", 2);
            assert_eq!((imports(server, mark), templates(server).len()), (1, 1));
        });
        cases.check("one that dies while nobody needs it is not replaced", || {
            wait_until("no processes", || processes(server).is_empty().then_some(()));
            templates(server).into_iter().for_each(|template| signal(template, Signal::SIGKILL));
            let mark = server.mark();
            rest();
            assert_eq!(imports(server, mark), 0);
            let _ = server.get("/pid").expect(200);
        });
    });
}

fn a_template_that_dies_is_replaced(setup: Setup) {
    let status = "<Location /wsgi-status>\nSetHandler wsgi-status\n</Location>";
    preloading(setup, "processes=2", "").conf(status).run(|server, cases| {
        let (template, old) = wait_forked(server, LogMark::default(), 2);
        cases.check("processes are not disturbed", || {
            let mark = server.mark();
            signal(template, Signal::SIGKILL);
            wait_until("another template", || {
                let _ = server.get("/pid").expect(200);
                templates(server).into_iter().find(|new| *new != template)
            });
            server.wait_log(mark, "template 1 has ended");
            assert_eq!(processes(server), old);
            let events = server.get("/wsgi-status?format=json").expect(200);
            assert!(events.contains("template 1 has ended: signal 9"), "{events}");
        });
        cases.check("and new ones are forked from the new template", || {
            let mark = server.mark();
            wait_until("its import", || (imports(server, LogMark::default()) == 2).then_some(()));
            signal(serving_process(server), Signal::SIGKILL);
            wait_until("a process of the new template", || {
                forked(server, mark).values().any(|number| *number == 2).then_some(())
            });
            let _ = server.get("/pid").expect(200);
        });
    });
}

fn restarts_of_the_server_bring_new_templates(setup: Setup) {
    // Where it runs is said in lines of their own.
    let setup = with_gates(setup).group("preload=fork processes=2").conf("WSGIApplicationGroup %{GLOBAL}");
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        let (template, old) = wait_forked(server, LogMark::default(), 2);
        cases.check("graceful", || {
            let mark = server.mark();
            let held = start_held_request(server, "graceful");
            server.graceful();
            wait_ended(template);
            wait_until("processes of the new generation", || (forked(server, mark).len() == 2).then_some(()));
            assert_ne!(serving_process(server), old.first().copied().unwrap_or(template));
            open_gate(server, "graceful");
            assert!(old.contains(&Process(value(&finish(held).expect(200), "pid").parse().unwrap_or(0))));
            old.iter().copied().for_each(wait_ended);
        });
        cases.check("restart", || {
            let (mark, template) = (server.mark(), templates(server)[0]);
            server.restart();
            wait_ended(template);
            wait_forked(server, mark, 2);
            let _ = server.get("/pid").expect(200);
        });
    });
}

fn templates_run_as_the_users_of_their_groups(setup: Setup) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let group = |name: &str, user: &str| {
        format!(
            "WSGIDaemonProcess {name} preload=fork processes=2 user={user} group=nogroup home=/\n\
             WSGIScriptAlias /{name} @ROOT@/apps/app.wsgi process-group={name} application-group=%{{GLOBAL}}"
        )
    };
    let setup = with_gates(setup).own_groups().file("apps/app.wsgi", APP);
    setup.conf(&group("one", "games")).conf(&group("two", "mail")).run(|server, cases| {
        cases.check("each with its own", || {
            let uids = wait_until("two templates and four processes", || {
                let (templates, processes) = (templates(server), processes(server));
                let uid = |process: &Process| process.status("Uid");
                let uids: Vec<_> = templates.iter().map(uid).collect();
                let all = processes.iter().map(uid).collect::<BTreeSet<_>>();
                let is_complete = forked(server, LogMark::default()).len() == 4 && processes.len() == 4;
                (templates.len() == 2 && is_complete && all.len() == 2).then_some((uids, all))
            });
            assert_eq!(uids.0.into_iter().collect::<BTreeSet<_>>(), uids.1);
            let of =
                |group: &str| value(&server.get(&format!("/{group}/facts")).expect(200), "uid").to_owned();
            assert_ne!(of("one"), of("two"));
        });
        cases.check("and the name of their group without display-name=", || {
            let names =
                |all: Vec<Process>| all.into_iter().map(Process::command_line).collect::<BTreeSet<_>>();
            let processes = names(processes(server).into_iter().collect());
            let of_templates = processes.iter().map(|name| format!("{name} template"));
            assert_eq!((processes.len(), names(templates(server))), (2, of_templates.collect()));
        });
    });
}

fn replacements_under_load_fail_no_request(setup: Setup) {
    const ENOUGH: usize = 12;
    preloading(setup, "processes=3 maximum-requests=20", "").run(|server, cases| {
        cases.check("each process serves a few", || {
            let (is_over, answered) = (AtomicBool::new(false), AtomicU32::new(0));
            thread::scope(|scope| {
                let load: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            while !is_over.load(Ordering::Relaxed) {
                                let _ = server.get("/pid").expect(200);
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                        })
                    })
                    .collect();
                wait_until("many processes", || {
                    let is_stuck = load.iter().any(thread::ScopedJoinHandle::is_finished);
                    (is_stuck || forked(server, LogMark::default()).len() >= ENOUGH).then_some(())
                });
                is_over.store(true, Ordering::Relaxed);
            });
            assert!(answered.load(Ordering::Relaxed) as usize >= (ENOUGH - 3) * 20);
            assert_eq!(imports(server, LogMark::default()), 1);
        });
    });
}
