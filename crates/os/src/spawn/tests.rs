use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};

use super::*;
use crate::process::Exit;

/// Longer than a machine under any load needs for what has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

fn text(text: &str) -> CString {
    CString::new(text).unwrap()
}

fn shell(script: &str) -> Plan<'static> {
    Plan {
        programs: vec![text("/bin/sh")],
        arguments: vec![text("-c"), text(script)],
        environment: vec![text("PATH=/usr/bin:/bin"), text("GREETING=hello")],
        ..Plan::default()
    }
}

/// Starts it and waits for the end: how it ended, what it wrote.
fn run(plan: &Plan<'_>) -> (Exit, String) {
    let (mut reader, writer) = io::pipe().unwrap();
    let writer = OwnedFd::from(writer);
    let started = Plan { output: Some(writer.as_fd()), ..plan.clone() }.spawn().unwrap();
    assert!(started.warnings.is_empty(), "{:?}", started.warnings);
    drop(writer);
    let mut output = String::new();
    reader.read_to_string(&mut output).unwrap();
    (started.child.wait().unwrap(), output)
}

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can do this");
    }
    is_root
}

#[test]
fn a_program_runs_with_its_arguments_and_environment() {
    let mut plan = shell(
        "echo $0 $1 $GREETING; env | sort | cut -d= -f1 | tr '\\n' ' '; readlink /proc/self/fd/0; exit 7",
    );
    plan.arguments.extend([text("zero"), text("one")]);
    let (exit, output) = run(&plan);
    assert_eq!(exit, Exit::Status(7));
    assert_eq!(
        output,
        "zero one hello\nGREETING PATH PWD _ /dev/null\n".replace("PWD _ ", last_names(&output))
    );
}

/// Shells differ in what they add to the environment.
fn last_names(output: &str) -> &str {
    let line = output.lines().nth(1).unwrap_or_default();
    let names = line.strip_prefix("GREETING PATH ").unwrap_or_default();
    let names = names.strip_suffix("/dev/null").unwrap_or_default();
    assert!(names.split_whitespace().all(|name| ["PWD", "OLDPWD", "SHLVL", "_"].contains(&name)), "{output}");
    names
}

#[test]
fn the_first_program_that_exists_is_taken() {
    let mut plan = shell("echo $0");
    plan.programs = vec![text("/nonexistent/python"), text("/bin/sh"), text("/bin/false")];
    assert_eq!(run(&plan).1, "/bin/sh\n");
    plan.programs = vec![text("/nonexistent/one"), text("/etc/passwd"), text("/nonexistent/two")];
    let failure = plan.spawn().unwrap_err();
    assert_eq!((failure.step, failure.error.kind()), (Step::Program(1), io::ErrorKind::PermissionDenied));
    plan.programs = vec![text("/nonexistent/one")];
    let failure = plan.spawn().unwrap_err();
    assert_eq!((failure.step, failure.error.kind()), (Step::Program(0), io::ErrorKind::NotFound));
    plan.programs = vec![];
    assert_eq!(plan.spawn().unwrap_err().step, Step::Prepare);
}

#[test]
fn an_open_program_runs_without_its_path() {
    let shell = shell("echo $0 $GREETING; ls /proc/self/fd | wc -l; exit 7");
    let program =
        nix::fcntl::open("/bin/sh", nix::fcntl::OFlag::O_PATH, nix::sys::stat::Mode::empty()).unwrap();
    let programs = vec![text("/nonexistent/name")];
    let mut plan = Plan { programs, executable: Some(program.as_fd()), ..shell };
    // 0, 1, 2 and the listing's own.
    let expected = (Exit::Status(7), "/nonexistent/name hello\n4\n".to_owned());
    assert_eq!(run(&plan), expected);
    // Its number is wanted for something else.
    let null = File::open("/dev/null").unwrap();
    plan.kept = vec![(program.as_raw_fd(), null.as_fd())];
    assert_eq!(run(&plan), (Exit::Status(7), "/nonexistent/name hello\n5\n".to_owned()));
    plan.executable = Some(null.as_fd());
    let failure = plan.spawn().unwrap_err();
    assert_eq!((failure.step, failure.error.kind()), (Step::Program(0), io::ErrorKind::PermissionDenied));
}

#[test]
fn only_kept_descriptors_are_open_in_the_child() {
    let (one, other) = crate::descriptors::pair(crate::descriptors::Kind::Stream).unwrap();
    let (file, _words) = crate::shared::Words::create(c"kept", 16).unwrap();
    let (own, not_passed) = crate::descriptors::pair(crate::descriptors::Kind::Stream).unwrap();
    crate::descriptors::keep_over_exec(&not_passed, true).unwrap();
    let own_number = own.as_raw_fd();
    // No pipeline: the shell holds its pipes for a moment, and the listing would see them.
    let mut plan = shell("ls -l /proc/$$/fd; exit 0");
    // Crosswise: each takes the number of the other; one stays where it is.
    plan.kept =
        vec![(one.as_raw_fd(), other.as_fd()), (other.as_raw_fd(), file.as_fd()), (own_number, own.as_fd())];
    let (_, output) = run(&plan);
    let entry = |line: &'_ str| -> Option<(String, String)> {
        let (entry, target) = line.split_once(" -> ")?;
        Some((entry.rsplit(' ').next()?.to_owned(), target.to_owned()))
    };
    let mut lines: Vec<_> = output.lines().filter_map(entry).collect();
    lines.retain(|(_, target)| !target.starts_with("pipe:"));
    lines.sort_unstable();
    let lines: Vec<_> = lines.iter().map(|(number, target)| (number.as_str(), target.as_str())).collect();
    let link = |fd: &OwnedFd| {
        std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap().display().to_string()
    };
    let numbers = [one.as_raw_fd(), other.as_raw_fd(), own_number].map(|number| number.to_string());
    let (of_other, of_file, of_own) = (link(&other), link(&file), link(&own));
    let mut expected = vec![
        ("0", "/dev/null"),
        (numbers[0].as_str(), of_other.as_str()),
        (numbers[1].as_str(), of_file.as_str()),
        (numbers[2].as_str(), of_own.as_str()),
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
    plan.kept = vec![(2, one.as_fd())];
    assert_eq!(plan.spawn().unwrap_err().step, Step::Prepare);
    plan.kept = vec![(7, one.as_fd()), (7, other.as_fd())];
    assert_eq!(plan.spawn().unwrap_err().step, Step::Prepare);
}

#[test]
fn more_than_half_of_the_descriptors_can_be_passed() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let (one, _other) = crate::descriptors::pair(crate::descriptors::Kind::Stream).unwrap();
    // Shells keep a few for themselves, so a program that does not.
    let mut plan = shell("");
    plan.programs = vec![text("/bin/ls")];
    plan.arguments = vec![text("/proc/self/fd")];
    plan.kept = (3..603).map(|number| (number, one.as_fd())).collect();
    // The other tests of this process have enough left.
    setrlimit(Resource::RLIMIT_NOFILE, 700, hard).unwrap();
    let (exit, output) = run(&plan);
    plan.programs = vec![text("/bin/sh")];
    plan.arguments = vec![text("-c"), text("ulimit -n")];
    let (_, limit) = run(&plan);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    // And one for the directory itself.
    assert_eq!((exit, output.lines().count(), limit.as_str()), (Exit::Status(0), 604, "700\n"));
}

#[test]
fn session_directory_umask_priority_and_limits_are_set() {
    let mut plan = shell("umask; pwd; ulimit -t; ulimit -Ht; ulimit -c; nice; cut -d' ' -f1,6 /proc/$$/stat");
    plan.is_session = true;
    plan.directory = Some(text("/usr/bin"));
    plan.umask = Some(0o27);
    plan.priority = Some(7);
    plan.limits = vec![
        Limit { resource: Resource::Cpu, soft: 50, hard: 60 },
        Limit { resource: Resource::Core, soft: 0, hard: 0 },
    ];
    let (_, output) = run(&plan);
    let (settings, ids) = output.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(settings, "0027\n/usr/bin\n50\n60\n0\n7");
    let (pid, session) = ids.split_once(' ').unwrap();
    assert_eq!(pid, session);
    plan.directory = Some(text("/nonexistent"));
    let failure = plan.spawn().unwrap_err();
    assert_eq!(failure.step, Step::Directory);
    assert_eq!(failure.to_string(), "changing the working directory: No such file or directory (os error 2)");
}

#[test]
fn a_limit_that_cannot_be_set_is_a_warning() {
    let mut plan = shell("exit 0");
    plan.limits = vec![Limit { resource: Resource::Data, soft: 2, hard: 1 }];
    let started = plan.spawn().unwrap();
    assert_eq!(started.child.wait().unwrap(), Exit::Status(0));
    let warnings: Vec<_> = started.warnings.iter().map(|failure| failure.step).collect();
    assert_eq!(warnings, [Step::Limit(0)]);
}

#[test]
fn signals_are_as_a_new_process_expects_them() {
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGTERM);
    blocked.add(Signal::SIGUSR1);
    let before = blocked.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK).unwrap();
    // SIGPIPE is ignored in every Rust program, which a child would inherit.
    let (_, output) = run(&shell("exec grep -E '^Sig(Blk|Ign)' /proc/self/status"));
    let mut now = SigSet::thread_get_mask().unwrap();
    assert!(now.contains(Signal::SIGTERM) && !now.contains(Signal::SIGINT), "the mask here is as it was");
    now = before;
    now.thread_set_mask().unwrap();
    let masks: Vec<_> = output.lines().map(|line| u64::from_str_radix(&line[8..], 16).unwrap()).collect();
    // Signals 32 and 33 belong to the C library.
    assert!(masks.len() == 2 && masks[0] == 0 && masks[1] & !(0b11 << 31) == 0, "{output}");
}

#[test]
fn root_becomes_somebody_else_for_good() {
    if !is_root() {
        return;
    }
    let mut plan =
        shell("id -u; id -g; id -G; grep -E '^(Uid|Gid|CapEff)' /proc/self/status | tr -s '\\t' ' '");
    plan.account = Some(Account { uid: 33, gid: 34, groups: vec![34, 4, 27] });
    let (_, output) = run(&plan);
    let nothing = "0000000000000000";
    assert_eq!(output, format!("33\n34\n34 4 27\nUid: 33 33 33 33\nGid: 34 34 34 34\nCapEff: {nothing}\n"));
    plan.account = Some(Account { uid: 0, gid: 0, groups: vec![] });
    assert_eq!(plan.spawn().unwrap_err().step, Step::Prepare);
}

#[test]
fn a_user_other_than_root_cannot_become_another() {
    if is_root() {
        return;
    }
    let mut plan = shell("exit 0");
    plan.account = Some(Account { uid: 1, gid: 1, groups: vec![] });
    assert_eq!(plan.spawn().unwrap_err().step, Step::Group);
    plan.account = None;
    plan.chroot = Some(text("/"));
    assert_eq!(plan.spawn().unwrap_err().step, Step::Chroot);
}

#[test]
fn a_bound_process_dies_with_the_thread_that_started_it() {
    for account in [None, Some(Account { uid: 33, gid: 33, groups: vec![33] })] {
        if account.is_some() && !is_root() {
            continue;
        }
        let mut plan = Plan { is_bound: true, account, ..shell("") };
        plan.programs = vec![text("/bin/sleep")];
        plan.arguments = vec![text("30")];
        let child = std::thread::spawn(move || plan.spawn().unwrap().child).join().unwrap();
        assert_eq!(child.wait().unwrap(), Exit::Signal(9, false));
    }
}

/// Returns a program that cannot be opened for less than the time that the system gives the holder
/// of a lease, which is much. So it is with a file system that hangs.
fn hanging() -> (std::fs::File, CString) {
    let path = std::env::temp_dir().join(format!("os-spawn-hanging-{}", std::process::id()));
    std::fs::write(&path, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let set = |command: libc::c_int, value: libc::c_int| {
        // SAFETY: numbers only.
        unsafe { libc::fcntl(file.as_raw_fd(), command, value) == 0 }
    };
    // By default the holder is told with a signal that would end it.
    const F_SETSIG: libc::c_int = 10;
    assert!(set(F_SETSIG, libc::SIGURG), "{}", io::Error::last_os_error());
    // A process that another test has forked may have the file open for writing until its exec.
    let deadline = Instant::now() + PATIENCE;
    while !set(libc::F_SETLEASE, libc::F_WRLCK) {
        assert!(Instant::now() < deadline, "{}", io::Error::last_os_error());
    }
    (file, text(path.to_str().unwrap()))
}

#[test]
fn a_program_that_does_not_start_in_time_is_given_up() {
    let (file, program) = hanging();
    let plan = Plan { programs: vec![program.clone()], ..shell("") };
    let begin = Instant::now();
    let failure = plan.spawn_within(Duration::from_millis(300)).unwrap_err();
    assert_eq!((failure.step, failure.error.kind()), (Step::Time, io::ErrorKind::TimedOut));
    assert!(begin.elapsed() >= Duration::from_millis(300));
    drop(file);
    std::fs::remove_file(program.to_str().unwrap()).unwrap();
    // It is waited for later.
    let deadline = Instant::now() + PATIENCE;
    while !lock(&LATE).is_empty() {
        assert!(Instant::now() < deadline, "it is never waited for");
        shell("exit 0").spawn().unwrap().child.wait().unwrap();
    }
}

#[test]
fn a_jail_holds_program_and_directory() {
    if !is_root() {
        return;
    }
    let jail = std::env::temp_dir().join(format!("os-spawn-jail-{}", std::process::id()));
    std::fs::create_dir_all(jail.join("inside")).unwrap();
    // A program without libraries: any will do that says "not found" inside, and is found outside.
    let mut plan = shell("exit 0");
    plan.chroot = Some(text(jail.to_str().unwrap()));
    let failure = plan.spawn().unwrap_err();
    assert_eq!((failure.step, failure.error.kind()), (Step::Program(0), io::ErrorKind::NotFound));
    plan.directory = Some(text("/inside"));
    assert_eq!(plan.spawn().unwrap_err().step, Step::Program(0));
    plan.directory = Some(text("/usr"));
    assert_eq!(plan.spawn().unwrap_err().step, Step::Directory);
    std::fs::set_permissions(&jail, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::remove_dir_all(jail).unwrap();
}

#[test]
fn a_jailed_program_sees_its_jail_only() {
    if !is_root() {
        return;
    }
    let jail = std::env::temp_dir().join(format!("os-spawn-full-jail-{}", std::process::id()));
    let listed = Command::new("ldd").arg("/bin/sh").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    for path in libraries.chain(["/bin/sh"]) {
        let inside = jail.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(inside.parent().unwrap()).unwrap();
        std::fs::copy(path, inside).unwrap();
    }
    std::fs::create_dir(jail.join("only-here")).unwrap();
    let mut plan = shell("pwd; echo /*; cd ..; pwd");
    plan.chroot = Some(text(jail.to_str().unwrap()));
    plan.account = Some(Account { uid: 33, gid: 33, groups: vec![33] });
    let (_, output) = run(&plan);
    std::fs::remove_dir_all(jail).unwrap();
    let lines: Vec<_> = output.lines().collect();
    assert_eq!((lines[0], lines[2]), ("/", "/"), "{output}");
    assert!(lines[1].contains("/only-here") && !lines[1].contains("/proc"), "{output}");
}

#[test]
fn a_failed_start_leaves_no_process() {
    let plan = Plan { programs: vec![text("/nonexistent/program-of-this-test")], ..Plan::default() };
    for _ in 0..20 {
        plan.spawn().unwrap_err();
    }
    // Those of this program that have not become another one. Other tests may be about to wait for
    // theirs.
    let own = std::process::id().to_string();
    let left = || {
        let output = Command::new("ps").args(["--ppid", &own, "-o", "stat=,comm="]).output().unwrap();
        let processes = String::from_utf8(output.stdout).unwrap();
        processes.lines().filter(|line| line.starts_with('Z') && line.contains(" os-")).count()
    };
    let deadline = Instant::now() + PATIENCE;
    while left() > 0 {
        assert!(Instant::now() < deadline, "zombies");
    }
}

#[test]
fn environments_are_lists_of_entries() {
    let mut environment = vec![text("A=1"), text("AB=2"), text("A=3")];
    assert_eq!(variable(&environment, b"A"), Some(c"3"));
    assert_eq!(variable(&environment, b"B"), None);
    set_variable(&mut environment, b"A", b"x=y");
    assert_eq!(environment, [text("AB=2"), text("A=x=y")]);
    assert_eq!(variable(&environment, b"A"), Some(c"x=y"));
    assert!(variable(&own_environment(), b"PATH").is_some());
}
