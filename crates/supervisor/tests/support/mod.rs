//! Plays the server: Apache's parent process and its children.

#![allow(clippy::unwrap_used, reason = "what cannot be done ends the test")]
#![allow(dead_code, reason = "each test program uses its own part of it")]

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use os::descriptors::{self, Kind, Wait};
use os::process::{Child, Exit};
use os::shared::{LongWords, Words};
use os::snapshot::SnapshotWriter;
use os::spawn::{Limit, Plan, Resource};
use wsgi_core::ledger::{Ledger, LedgerEvent};
use wsgi_core::tallies::{EVENTS, Tallies, TallyRow};
use wsgi_core::wire::Schema;
use wsgi_core::wire::board::{State, page, slot, words};
use wsgi_core::wire::launch::{Daemon, Group, LaunchPlan, Limits, ProcessOptions, Syslog};

/// The longest time that anything may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// The number of descriptors that the supervisor may have at first: as servers usually have.
pub(crate) const FILES: u64 = 1_024;

/// A supervisor and what its parent keeps.
pub(crate) struct Server {
    pub(crate) child: Child,
    control: Option<OwnedFd>,
    clients: Vec<OwnedFd>,
    pub(crate) board: Words,
    directory: tempfile::TempDir,
    is_over: bool,
    /// The words of tallies and events, if groups have rows.
    record: Option<LongWords>,
    rows: Vec<TallyRow>,
}

/// A group of one process, the stand-in, with these variables.
pub(crate) fn group(name: &str, variables: &[(&str, &str)]) -> Group {
    let limits = Limits { graceful_timeout: 5_000, shutdown_timeout: 2_000, ..Limits::default() };
    let environment = variables.iter().map(|(name, value)| (text(name), text(value))).collect();
    let options = ProcessOptions { threads: 5, limits, environment, ..ProcessOptions::default() };
    let daemon = Daemon { name: text(name), options, log_level: 7, ..Daemon::default() };
    let server_uid = nix::unistd::geteuid().as_raw();
    Group {
        programs: vec![text("/nonexistent/python"), stand_in()],
        hosts: text("/hosts"),
        server_uid,
        daemon,
        ..Group::default()
    }
}

pub(crate) fn text(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

/// Returns whether a test that needs root can run, and says so if it cannot.
pub(crate) fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can do this");
    }
    is_root
}

/// Waits until there is something.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns whether a process lives. A dead one that nobody has waited for does not.
pub(crate) fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])))
}

/// The stand-in, made once: what is open for writing cannot be executed.
fn stand_in() -> Box<[u8]> {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        // Each test program has its own, since they run side by side.
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = directory.join(format!("stand-in-{}", std::process::id()));
        install(&path);
        path
    });
    text(path.to_str().unwrap())
}

/// Puts the stand-in there, for everybody to run.
pub(crate) fn install(path: &Path) {
    fs::write(path, include_str!("../daemon.py")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Server {
    /// Starts a supervisor for these groups.
    pub(crate) fn start(groups: Vec<Group>) -> Self {
        Self::start_with(groups, &[])
    }

    /// Starts a supervisor with these variables in its own environment.
    pub(crate) fn start_with(groups: Vec<Group>, variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = File::options().append(true).create(true).open(directory.path().join("error.log")).unwrap();
        Self::start_in(generation_of(groups), directory, log.into(), variables, None)
    }

    /// Starts a supervisor of a server with `ErrorLog syslog`.
    pub(crate) fn start_with_syslog(groups: Vec<Group>, syslog: Syslog) -> Self {
        let log = File::options().append(true).open("/dev/null").unwrap();
        let generation = LaunchPlan { syslog: Some(syslog), ..generation_of(groups) };
        Self::start_in(generation, tempfile::tempdir().unwrap(), log.into(), &[], None)
    }

    /// Starts a supervisor whose log is the writing end of a pipe, as with `ErrorLog "|program"`.
    pub(crate) fn start_with_pipe(groups: Vec<Group>, log: OwnedFd) -> Self {
        Self::start_in(generation_of(groups), tempfile::tempdir().unwrap(), log, &[], None)
    }

    /// Starts a supervisor whose record is in the file of a former one.
    pub(crate) fn start_with_record(groups: Vec<Group>, record: &OwnedFd) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = File::options().append(true).create(true).open(directory.path().join("error.log")).unwrap();
        let record = record.try_clone().unwrap();
        Self::start_in(generation_of(groups), directory, log.into(), &[], Some(record))
    }

    /// Returns the tallies of a slot.
    pub(crate) fn tallies(&self, slot: usize) -> Tallies {
        let record = Ledger::new(self.record.as_ref().unwrap().as_slice());
        self.rows[slot].tallies(&|index| record.load(index))
    }

    /// Returns the events, newest first.
    pub(crate) fn events(&self) -> Vec<LedgerEvent> {
        let record = Ledger::new(self.record.as_ref().unwrap().as_slice());
        EVENTS.last(&|index| record.load(index))
    }

    fn start_in(
        generation: LaunchPlan,
        directory: tempfile::TempDir,
        log: OwnedFd,
        variables: &[(&str, &str)],
        former: Option<OwnedFd>,
    ) -> Self {
        let slots = generation.slots();
        let (control, theirs) = descriptors::pair(Kind::Sequence).unwrap();
        let (board, words) = Words::create(c"board", words(slots)).unwrap();
        let (mut clients, mut passed, mut list) = (vec![], vec![], vec![1_u32]);
        list.push(log.as_raw_fd() as u32);
        for _ in 0..slots {
            let (client, end) = descriptors::pair(Kind::Sequence).unwrap();
            let (page, _) = Words::create(c"page", page::WORDS).unwrap();
            list.extend([end.as_raw_fd() as u32, page.as_raw_fd() as u32]);
            clients.push(client);
            passed.extend([end, page]);
        }
        if generation.has_scoreboard() {
            let (scoreboard, _) = SnapshotWriter::create(c"scoreboard", 100).unwrap();
            list.push(scoreboard.as_raw_fd() as u32);
            passed.push(scoreboard);
        }
        let (rows, mut record) = (generation.tallies(), None);
        if !rows.is_empty() {
            let count = wsgi_core::tallies::words_for(&rows);
            let file = former.unwrap_or_else(|| LongWords::create_for_writers(c"tallies", count).unwrap());
            record = Some(LongWords::map(&file, count).unwrap());
            list.push(file.as_raw_fd() as u32);
            passed.push(file);
        }
        let list: Vec<_> = list.into_iter().flat_map(u32::to_le_bytes).collect();
        let generation = file(&directory.path().join("generation"), &generation.encode());
        let descriptors = file(&directory.path().join("descriptors"), &list);
        let mut all =
            vec![theirs.as_fd(), generation.as_fd(), board.as_fd(), descriptors.as_fd(), log.as_fd()];
        all.extend(passed.iter().map(AsFd::as_fd));
        // What the supervisor knows nothing of, it must not pass on either.
        let (stray, _) = Words::create(c"stray", 1).unwrap();
        all.push(stray.as_fd());
        let argument = |fd: &dyn AsRawFd| CString::new(fd.as_raw_fd().to_string()).unwrap();
        let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
        let mut environment = os::spawn::own_environment();
        for (name, value) in variables {
            os::spawn::set_variable(&mut environment, name.as_bytes(), value.as_bytes());
        }
        let plan = Plan {
            programs: vec![CString::new(env!("CARGO_BIN_EXE_supervisor")).unwrap()],
            arguments: vec![
                CString::new(Schema::own().to_string()).unwrap(),
                argument(&theirs),
                argument(&generation),
                argument(&board),
                argument(&descriptors),
            ],
            kept: all.into_iter().map(|fd| (fd.as_raw_fd(), fd)).collect(),
            output: Some(log.as_fd()),
            is_session: true,
            environment,
            limits: vec![Limit { resource: Resource::Files, soft: FILES, hard }],
            ..Plan::default()
        };
        let child = plan.spawn().unwrap().child;
        Self { child, control: Some(control), clients, board: words, directory, is_over: false, record, rows }
    }

    /// Returns what the process in the slot answers to a command, once there is a process. Returns
    /// `None` if the connection is closed without an answer.
    pub(crate) fn try_ask(&self, slot: usize, command: &str) -> Option<String> {
        let (mut own, theirs) = UnixStream::pair().unwrap();
        descriptors::send_with(&self.clients[slot], b"c", &[theirs.as_fd()], Wait::Allowed).unwrap();
        drop(theirs);
        own.set_read_timeout(Some(PATIENCE)).unwrap();
        // Who has hung up already says so by the missing answer.
        let _ = own.write_all(format!("{command}\n").as_bytes());
        let mut answer = String::new();
        match BufReader::new(own).read_line(&mut answer) {
            Ok(1..) => Some(answer.trim_end().to_owned()),
            Ok(0) => None,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{}", self.log());
                None
            }
        }
    }

    pub(crate) fn ask(&self, slot: usize, command: &str) -> String {
        self.try_ask(slot, command).unwrap_or_else(|| panic!("{command}: no answer\n{}", self.log()))
    }

    pub(crate) fn pid(&self, slot: usize) -> i32 {
        self.ask(slot, "pid").parse().unwrap()
    }

    /// A word of a slot on the board.
    pub(crate) fn word(&self, index: usize, word: usize) -> u32 {
        self.board.load(index * slot::WORDS + word)
    }

    pub(crate) fn state(&self, slot: usize) -> State {
        State::from_word(self.word(slot, slot::STATE))
    }

    /// The exits on the board, as many as it remembers, by process id.
    pub(crate) fn exit_of(&self, index: usize, pid: i32) -> Exit {
        until("an exit on the board", || {
            (0..slot::EXITS)
                .map(|exit| slot::EXIT + 2 * exit)
                .find(|at| self.word(index, *at) == pid as u32)
                .map(|at| Exit::from_status(self.word(index, at + 1)))
        })
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.log_bytes()).into_owned()
    }

    /// The log; empty if it is not a file.
    pub(crate) fn log_bytes(&self) -> Vec<u8> {
        fs::read(self.directory.path().join("error.log")).unwrap_or_default()
    }

    pub(crate) fn logs(&self, part: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(part) {
            assert!(Instant::now() < deadline, "'{part}' is not in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn retire(&mut self) {
        let control = self.control.take().unwrap();
        descriptors::send_with(&control, b"R", &[], Wait::Allowed).unwrap();
    }

    /// As when the parent is killed.
    pub(crate) fn abandon(&mut self) {
        self.control = None;
    }

    /// As when the last Apache child ends.
    pub(crate) fn hang_up(&mut self) {
        self.clients.clear();
    }

    /// Waits for the end of the supervisor, which has to come soon, and returns how it ended.
    pub(crate) fn end(&mut self) -> Exit {
        let exit = until("the end of the supervisor", || self.child.try_wait().unwrap());
        self.is_over = true;
        exit
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.is_over {
            let _ = self.child.signal(Signal::SIGKILL);
            let _ = self.child.wait();
            for index in 0..self.clients.len() {
                let pid = self.word(index, slot::PID) as i32;
                if pid != 0 {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
        }
    }
}

fn generation_of(groups: Vec<Group>) -> LaunchPlan {
    LaunchPlan { groups, ..LaunchPlan::default() }
}

fn file(path: &Path, contents: &[u8]) -> File {
    fs::write(path, contents).unwrap();
    File::open(path).unwrap()
}
