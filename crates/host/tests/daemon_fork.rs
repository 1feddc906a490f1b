//! Programs that applications start from a daemon process: they get nothing of the process.

mod support;

use std::time::Duration;

use support::daemon::{Ask, Plan, Process};
use support::script;

/// Does what the path says. A descriptor is described by its number and what it is.
const APPLICATION: &str = "
import multiprocessing, os, signal, subprocess, sys, time

LIST = '''
import os
for number in sorted(int(name) for name in os.listdir('/proc/self/fd')):
    try:
        print(number, os.readlink('/proc/self/fd/%d' % number))
    except OSError:
        pass
'''

def child(work):
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(writer, 1)
        try:
            work()
        finally:
            os._exit(7)
    os.close(writer)
    with open(reader, 'rb') as pipe:
        output = pipe.read()
    return output + b'status %d' % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def worker(queue):
    queue.put(sum(range(100)))

def application(environ, start_response):
    what = environ['PATH_INFO'][1:]
    body = b'hello'
    if what == 'fork':
        def work():
            import io
            sys.stdout = io.TextIOWrapper(open(1, 'wb', buffering=0, closefd=False), write_through=True)
            exec(LIST, {})
        body = child(work)
    if what == 'signal':
        body = child(lambda: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(10)))
    if what == 'subprocess':
        body = subprocess.run([sys.executable, '-c', LIST], stdout=subprocess.PIPE, close_fds=False).stdout
    if what == 'multiprocessing':
        context = multiprocessing.get_context('fork')
        queue = context.SimpleQueue()
        process = context.Process(target=worker, args=(queue,))
        process.start()
        body = b'%d' % queue.get()
        process.join()
        body += b' %d' % process.exitcode
    if what == 'return':
        if pid := os.fork():
            body = b'status %d' % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if what == 'linger':
        if not os.fork():
            time.sleep(30)
            os._exit(0)
        os._exit(9)
    start_response('200 OK', [])
    return [body]
";

fn ask(process: &Process, name: &str, path_info: &str) -> String {
    let path = script(name, APPLICATION);
    process.connect().ask(&Ask { path_info, ..Ask::new(&path) }).text()
}

/// Returns the sockets, pipes and the like that the process has open and the test has not.
fn opened(process: &Process) -> Vec<String> {
    let links = |pid: &str| -> Vec<String> {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process");
        let links = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.map(|link| link.to_string_lossy().into_owned()).collect()
    };
    let own = links("self");
    let is_object = |link: &String| link.contains(':') && !own.contains(link);
    // All event files have one name.
    let opened = links(&process.child.id().to_string()).into_iter().filter(is_object);
    opened.chain(["anon_inode:[eventpoll]".to_owned(), "anon_inode:[eventfd]".to_owned()]).collect()
}

/// Checks that none of that is in a listing.
fn assert_nothing_of(process: &Process, listing: &str) {
    let opened = opened(process);
    assert!(opened.iter().filter(|link| link.starts_with("socket:")).count() >= 4, "{opened:?}");
    for link in &opened {
        assert!(!listing.contains(&**link), "{link} of {opened:?} in {listing}");
    }
}

#[test]
fn a_forked_copy_has_nothing_of_the_process() {
    let process = Plan::default().serve();
    let _idle = [process.connect(), process.connect()];
    let listing = ask(&process, "fork_descriptors.py", "/fork");
    assert!(listing.ends_with("status 7") && listing.contains("2 "), "{listing}");
    assert_nothing_of(&process, &listing);
    assert_eq!(ask(&process, "fork_descriptors.py", "/"), "hello");
}

#[test]
fn a_program_has_nothing_of_the_process() {
    let process = Plan::default().serve();
    let _idle = [process.connect(), process.connect()];
    let listing = ask(&process, "fork_program.py", "/subprocess");
    assert!(listing.contains("2 "), "{listing}");
    assert_nothing_of(&process, &listing);
}

#[test]
fn forked_workers_work() {
    let process = Plan::default().serve();
    assert_eq!(ask(&process, "fork_workers.py", "/multiprocessing"), "4950 0");
    assert_eq!(ask(&process, "fork_workers.py", "/signal"), "status 255", "it does not act as the original");
    assert_eq!(ask(&process, "fork_workers.py", "/return"), "status 255", "nor answer the request");
    assert_eq!(ask(&process, "fork_workers.py", "/"), "hello");
}

#[test]
fn a_death_is_noticed_though_a_copy_lives() {
    let path = script("fork_linger.py", APPLICATION);
    let mut process = Plan::default().serve();
    let (mut connection, mut idle) = (process.connect(), process.connect());
    let answer = connection.ask(&Ask { path_info: "/linger", ..Ask::new(&path) });
    assert_eq!(answer.outcome, None);
    // The copy lives for longer.
    idle.stream.set_read_timeout(Some(Duration::from_secs(15))).expect("a socket");
    assert!(idle.frame().is_err());
    assert_eq!(process.report(), None, "the supervisor sees it too");
    assert_eq!(process.ended().code(), Some(9));
}
