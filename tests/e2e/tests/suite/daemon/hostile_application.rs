//! Applications that do harm: to their own process, and as far as they can to others. Whatever they
//! do, the log says what has become of their process, their group serves again, others are served
//! throughout, and Apache is unharmed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::Needs::{Daemon, NoSanitizer, Ours, Root};
use e2e::{Cases, Interpreter, LogMark, Process, Server, Setup, Test, on_one_mpm, signal, wait_until};
use nix::sys::signal::Signal;

use super::APP;

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(
        a_process_may_end_at_any_moment,
        Daemon,
        NoSanitizer("it would report what is done on purpose"),
        Ours("such robustness")
    ),
    on_one_mpm!(
        exceptions_of_every_kind_are_survived,
        Daemon,
        NoSanitizer("it would report what is done on purpose"),
        Ours("such robustness")
    ),
    on_one_mpm!(
        signals_processes_threads_and_garbage_are_survived,
        Daemon,
        NoSanitizer("it would report what is done on purpose"),
        Ours("such robustness")
    ),
    on_one_mpm!(
        misuse_of_descriptors_is_survived,
        Daemon,
        NoSanitizer("it would report what is done on purpose"),
        Ours("such robustness")
    ),
    on_one_mpm!(
        signals_reach_no_other_process,
        Daemon,
        NoSanitizer("it would report what is done on purpose"),
        Ours("such robustness"),
        Root("send signals as other users")
    ),
];

const HOSTILE: &str = include_str!("../../../apps/hostile.wsgi");

/// The number of groups that share the deeds: each early end makes the next pause longer.
const GROUPS: usize = 12;

/// In the environment of hostile processes, and of what they leave: whose they are.
const MARK: &str = "E2E_HOSTILE";

/// The fate of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It serves on.
    Serves,
    /// It is replaced.
    Ends,
    /// Either, or nobody but the test can tell that it is of no use any more: then that ends it.
    Any,
}

use Then::{Any, Ends, Serves};

/// An act of an application.
struct Deed {
    /// Its URL, below that of the group.
    path: String,
    then: Then,
    /// The text that the log has about it; empty: none in particular.
    logged: &'static str,
}

/// Moments of a request at which an application runs.
const MOMENTS: &[&str] =
    &["before", "after_start", "after_write", "iterating", "closing", "in_thread", "in_destructor"];
/// The moment at which the script is imported.
const IMPORT: &str = "import";
/// Moments at the end of a process.
const AT_THE_END: &[&str] = &["in_exit_function", "in_stopping"];

/// Ways to end a process; what the log says.
const ENDS: &[(&str, &str)] = &[
    ("os_exit", "exit status 7"),
    ("abort", "SIGABRT"),
    ("killed", "SIGKILL"),
    ("exec_true", "exit status 0"),
    ("exec_sleep", "closed its control socket"),
];
/// Ways to try it; what the log says of them where an exception is seen by anybody.
const RAISES: &[(&str, &str)] = &[
    ("system_exit", "SystemExit"),
    ("keyboard_interrupt", "KeyboardInterrupt"),
    ("generator_exit", "GeneratorExit"),
    ("recursion", "RecursionError"),
];

/// Everything else; what the log says.
const DEEDS: &[(&str, Then, &str)] = &[
    ("to_itself/SIGTERM", Ends, "shutdown_signal"),
    ("to_itself/SIGINT", Ends, "shutdown_signal"),
    ("to_itself/SIGUSR1", Ends, "graceful_signal"),
    ("to_itself/SIGXCPU", Ends, "cpu_time_limit"),
    ("to_itself/SIGHUP", Serves, ""),
    ("to_itself/SIGUSR2", Serves, ""),
    ("to_itself/SIGPIPE", Serves, ""),
    ("to_itself/SIGCHLD", Serves, ""),
    ("to_itself/SIGSEGV", Ends, "SIGSEGV"),
    ("to_itself/SIGALRM", Ends, "SIGALRM"),
    ("to_group/SIGTERM", Ends, "shutdown_signal"),
    ("to_group/SIGKILL", Ends, "SIGKILL"),
    ("to_thread/SIGTERM", Ends, "shutdown_signal"),
    ("pause/", Serves, ""),
    ("fork_and_return/", Serves, ""),
    ("orphan/", Serves, ""),
    ("zombies/", Serves, ""),
    ("many_threads/", Serves, ""),
    ("title/", Serves, ""),
    ("limit/RLIMIT_NOFILE", Any, ""),
    ("limit/RLIMIT_FSIZE", Any, ""),
    ("limit/RLIMIT_NPROC", Any, ""),
    ("limit/RLIMIT_AS", Any, ""),
    ("limit/RLIMIT_CORE", Serves, ""),
    ("garbage/streams", Any, ""),
    ("garbage/modules", Any, ""),
    ("garbage/modules-none", Any, ""),
    ("garbage/import", Any, ""),
    ("garbage/builtins", Any, ""),
    ("garbage/package", Any, ""),
    ("garbage/hooks", Any, ""),
    ("garbage/path", Any, ""),
    ("garbage/trace", Any, ""),
    ("garbage/recursion", Any, ""),
    ("fault_handler/later", Ends, "exit status 1"),
    ("fault_handler/register", Any, ""),
    ("signals/alarm", Ends, "SIGALRM"),
    ("signals/ignore", Any, ""),
    ("signals/mask", Any, ""),
    ("signals/wakeup", Serves, ""),
    ("flood/errors", Serves, ""),
    ("flood/descriptor", Any, ""),
];

/// The hostile groups, which are another user's where that is possible, and one that is like any
/// other.
fn with_groups(setup: Setup) -> Setup {
    let user = if nix::unistd::geteuid().is_root() { "user=backup" } else { "" };
    // Those of prefork neither come nor go if there are enough from the start.
    let children = if setup.mpm().threaded() { 2 } else { 2 * GROUPS as u32 };
    // An interpreter that is a copy of another one does not find its library by itself.
    let library = Interpreter::current().home().join("lib");
    let library = format!("environment=LD_LIBRARY_PATH={}", library.display());
    let mut setup = setup
        .own_groups()
        .children(children)
        .threads(12)
        .file("apps/hostile.wsgi", HOSTILE)
        .file("apps/good.wsgi", APP)
        .file("htdocs/static.txt", "static")
        .conf(&format!("WSGIDaemonProcess good threads=3 {library}"))
        .conf(
            "WSGIApplicationGroup %{GLOBAL}\nWSGIScriptAlias /good @ROOT@/apps/good.wsgi process-group=good",
        );
    let ways = || ENDS.iter().chain(RAISES).map(|(way, _)| way);
    for way in ways() {
        setup = setup.file(&format!("apps/{way}.wsgi"), format!("{HOSTILE}\n\n{way}()\n"));
    }
    for group in 0..GROUPS {
        setup = setup.conf(&format!(
            "WSGIDaemonProcess bad{group} threads=3 shutdown-timeout=2 graceful-timeout=2 socket-timeout=10 {user} \
             environment={MARK}=@ROOT@ {library}"
        ));
        for way in ways() {
            setup = setup.conf(&format!(
                "WSGIScriptAlias /bad{group}/{IMPORT}/{way} @ROOT@/apps/{way}.wsgi process-group=bad{group}"
            ));
        }
        setup = setup
            .conf(&format!("WSGIScriptAlias /bad{group} @ROOT@/apps/hostile.wsgi process-group=bad{group}"));
    }
    setup
}

/// Waits until a group serves, and says with which process.
#[track_caller]
fn wait_for_serving_process(server: &Server, group: &str) -> Process {
    wait_until(&format!("the group {group} serves"), || {
        let response = server.get(&format!("/{group}/pid/"));
        (response.status == 200).then(|| Process(response.text().parse().unwrap_or_default()))
    })
}

/// A deed, and what becomes of its process.
fn commit_deed(server: &Server, group: &str, deed: &Deed) {
    let old = wait_for_serving_process(server, group);
    let mark = server.mark();
    let begin = Instant::now();
    // What a process sends that ends may be no response at all.
    let mut connection = server.connect();
    connection.send(&server.request("GET", &format!("/{group}/{}", deed.path)).keep_alive());
    if let Ok(response) = connection.response("GET") {
        assert!(matches!(response.status, 200 | 500 | 502 | 503 | 504), "{}", response.status);
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    match deed.then {
        Serves => {
            let new = wait_for_serving_process(server, group);
            assert_eq!(new, old, "it was to serve on");
        }
        Ends => {
            wait_until("another process", || (wait_for_serving_process(server, group) != old).then_some(()));
            wait_until("the end of the old one", || (!old.is_alive()).then_some(()));
        }
        Any => {
            // It may take requests, and answer them with errors.
            let response = server.get(&format!("/{group}/pid/"));
            assert!(matches!(response.status, 200 | 500 | 502 | 503 | 504), "{}", response.status);
            if old.is_alive() {
                signal(old, Signal::SIGTERM);
                let deadline = Instant::now() + Duration::from_secs(6);
                while old.is_alive() && Instant::now() < deadline {
                    thread::sleep(Duration::from_millis(10));
                }
                // One that ignores its signals has to be ended by others.
                if old.is_alive() {
                    signal(old, Signal::SIGKILL);
                }
            }
            wait_until("another process", || (wait_for_serving_process(server, group) != old).then_some(()));
        }
    }
    if !old.is_alive() {
        let named = format!("process {} ", old.0);
        wait_until(&format!("the end of {} in the log", old.0), || {
            let log = server.log_since(mark);
            log.lines()
                .any(|line| line.contains(&named) && ENDED.iter().any(|text| line.contains(text)))
                .then_some(())
        });
    }
    let (logged, names) = (deed.logged, [format!("process {} ", old.0), format!("[pid {}]", old.0)]);
    if !logged.is_empty() {
        wait_until(&format!("`{logged}` of {group} in the log"), || {
            let log = server.log_since(mark);
            // Others end at the same time; lines of requests do not name the process.
            let is_its =
                |line: &str| deed.then != Ends || names.iter().any(|name| line.contains(name.as_str()));
            log.lines().any(|line| line.contains(logged) && is_its(line)).then_some(())
        });
    }
}

/// The texts that the supervisor logs about a process that ends, or that it ends.
const ENDED: &[&str] =
    &["has died", "has ended", "ends (", "closed its control socket", "is killed", "gets a successor"];

/// The processes that must not change.
#[derive(Debug, PartialEq, Eq)]
struct Apache {
    children: Vec<u32>,
    supervisors: Vec<Process>,
    good: Process,
}

fn look_at_apache(server: &Server) -> Apache {
    let mut children = server.children();
    children.sort_unstable();
    Apache { children, supervisors: server.supervisors(), good: wait_for_serving_process(server, "good") }
}

/// Runs all deeds, some at a time, while others are served.
fn run_deeds(setup: Setup, deeds: &(dyn Fn(&Server) -> Vec<Deed> + Sync)) {
    let mut server = with_groups(setup).start();
    server.cases(|server, cases| {
        server.expect_crashes();
        wait_until("all groups are recognised", || (marked_processes(server).len() >= GROUPS).then_some(()));
        let deeds = deeds(server);
        let before = look_at_apache(server);
        let is_over = AtomicBool::new(false);
        let (served, failed) = (AtomicU32::new(0), Mutex::new(Vec::new()));
        let failures = thread::scope(|scope| {
            scope.spawn(|| serve_others(server, &is_over, &served, &failed));
            let failures = run_in_all_groups(server, &deeds);
            is_over.store(true, Ordering::Relaxed);
            failures
        });
        cases.check("each deed", || assert!(failures.is_empty(), "{}", failures.join("\n")));
        cases.check("others are served throughout", || {
            let failed = failed.into_inner().unwrap_or_default();
            assert!(failed.is_empty() && served.into_inner() > 20, "{failed:?}");
        });
        cases.check("nobody else has ended", || assert_eq!(look_at_apache(server), before));
        cases.check("the log is whole", || {
            let log = server.log_since(LogMark::default());
            assert!(!log.contains("panicked") && !log.contains("WSGI0208"), "{log}");
        });
    });
    server.stop();
    wait_until("nothing is left", || marked_processes(&server).is_empty().then_some(()));
}

/// Sends requests to a group that does no harm, and for a file, until it is over; counts them, and
/// keeps what has failed.
fn serve_others(server: &Server, is_over: &AtomicBool, served: &AtomicU32, failed: &Mutex<Vec<String>>) {
    while !is_over.load(Ordering::Relaxed) {
        for (target, expected) in [("/good/run?x", "ran"), ("/static.txt", "static")] {
            let response = server.get(target);
            if response.status != 200 || response.text() != expected {
                failed
                    .lock()
                    .map(|mut failed| failed.push(format!("{target}: {}", response.status)))
                    .unwrap_or_default();
            }
            served.fetch_add(1, Ordering::Relaxed);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Has each hostile group commit its share of the deeds; returns what has failed.
fn run_in_all_groups(server: &Server, deeds: &[Deed]) -> Vec<String> {
    let run_share = |number: usize| {
        let group = format!("bad{number}");
        let share = deeds.iter().skip(number).step_by(GROUPS);
        let failure = |deed: &Deed| {
            let committed = catch_unwind(AssertUnwindSafe(|| commit_deed(server, &group, deed)));
            let panic = committed.err()?;
            Some(format!("{group}/{}: {}", deed.path, panic_text(&*panic)))
        };
        share.filter_map(failure).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let run_share = &run_share;
        let workers: Vec<_> = (0..GROUPS).map(|number| scope.spawn(move || run_share(number))).collect();
        let failures =
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| vec![panic_text(&*panic)]));
        failures.flatten().collect()
    })
}

/// The processes of hostile groups, and what these have left.
fn marked_processes(server: &Server) -> Vec<u32> {
    let mark = format!("{MARK}={}", server.root().display());
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    numbers.filter(|number| Process(*number).read("environ").split('\0').any(|entry| entry == mark)).collect()
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

fn a_process_may_end_at_any_moment(setup: Setup) {
    run_deeds(setup, &|_| {
        let moments = [IMPORT].iter().chain(MOMENTS).chain(AT_THE_END);
        let all = moments.flat_map(|moment| ENDS.iter().map(move |(way, logged)| (*moment, *way, *logged)));
        all.map(|(moment, way, logged)| {
            // What ends on its way out is no loss, and the log may have another reason.
            let logged = if AT_THE_END.contains(&moment) { "" } else { logged };
            Deed { path: format!("{moment}/{way}"), then: Ends, logged }
        })
        .collect()
    });
}

fn exceptions_of_every_kind_are_survived(setup: Setup) {
    run_deeds(setup, &|_| {
        let during = [IMPORT].iter().chain(MOMENTS).map(|moment| (*moment, Serves));
        let moments = during.chain(AT_THE_END.iter().map(|moment| (*moment, Ends)));
        let all = moments
            .flat_map(|(moment, then)| RAISES.iter().map(move |(way, logged)| (moment, *way, then, *logged)));
        // Python takes this one for the wanted end of a thread.
        all.map(|(moment, way, then, logged)| {
            // Python takes this for the wanted end of a thread, or of a process.
            let is_quiet = way == "system_exit" && matches!(moment, "in_thread" | "in_exit_function");
            Deed { path: format!("{moment}/{way}"), then, logged: if is_quiet { "" } else { logged } }
        })
        .collect()
    });
}

fn signals_processes_threads_and_garbage_are_survived(setup: Setup) {
    run_deeds(setup, &|_| {
        DEEDS.iter().map(|&(path, then, logged)| Deed { path: path.to_owned(), then, logged }).collect()
    });
}

fn misuse_of_descriptors_is_survived(setup: Setup) {
    run_deeds(setup, &|server| {
        let response = server.get("/bad0/descriptors/").expect(200);
        let open: Vec<u32> = response.split(' ').filter_map(|number| number.parse().ok()).collect();
        assert!(open.len() > 8, "{open:?}");
        // All that there are, and some that there are not.
        let numbers = (0..=64).filter(|number| open.contains(number) || number % 16 == 0);
        let deeds = numbers.flat_map(|number| {
            ["close_descriptor", "write_descriptor", "replace_descriptor"]
                .map(|how| format!("{how}/{number}"))
        });
        deeds.map(|path| Deed { path, then: Any, logged: "" }).collect()
    });
}

fn signals_reach_no_other_process(setup: Setup) {
    with_groups(setup).run(|server, cases: &mut Cases<'_>| {
        let before = look_at_apache(server);
        for name in ["SIGTERM", "SIGKILL", "SIGSTOP"] {
            cases.check(name, || {
                assert_eq!(server.get(&format!("/bad0/to_parent/{name}")).expect(200), "refused")
            });
        }
        cases.check("nobody has ended", || assert_eq!(look_at_apache(server), before));
    });
}
