//! Runs the host in a real Python process, and plays the supervisor and the Apache children for it.

#![allow(clippy::disallowed_types, reason = "no Python runs in tests")]
#![allow(clippy::unwrap_used, reason = "a test fails where anything does")]

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bridge::{Bytes, Cgi, Field, Fields, Head, List, Request, RequestFacts, Settings, Tag, Times, flag};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use os::descriptors::{Kind as Socket, Wait, is_readable, keep_over_exec, pair, send_with};
use os::shared::Words;
use wsgi_core::wire::OwnSchema;
use wsgi_core::wire::board::page;
use wsgi_core::wire::control::{Order, Report, Script};
use wsgi_core::wire::frame::{Frame, HEADER, Header, Kind, append, flag as frame_flag};
use wsgi_core::wire::launch::{Daemon, Limits, ProcessOptions};
use wsgi_core::wire::{Reader, Schema, Writer};

use super::{NO_OPTIONS, settings};

/// The program that the supervisor has Python run.
const BOOTSTRAP: &str = "
import sys, importlib.machinery, importlib.util
path, control = sys.argv[1:]
sys.path[:] = [entry for entry in sys.path if entry]
sys.argv = ['mod_wsgi']
loader = importlib.machinery.ExtensionFileLoader('mod_wsgi_host', path)
module = importlib.util.module_from_spec(importlib.util.spec_from_loader('mod_wsgi_host', loader))
module.serve(int(control))
";

/// Held while a process is started.
static STARTING: Mutex<()> = Mutex::new(());

/// The longest time that anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The settings to start a process with.
pub(crate) struct Plan {
    pub(crate) threads: u32,
    pub(crate) limits: Limits,
    /// Imported by configuration.
    pub(crate) imports: Vec<(PathBuf, &'static str)>,
    /// The scripts that a predecessor had loaded.
    pub(crate) scripts: Vec<Script>,
    pub(crate) daemon: Daemon,
    /// The descriptor of the server's scoreboard, if it is passed on.
    pub(crate) scoreboard: Option<OwnedFd>,
    pub(crate) destroy: bool,
}

impl Default for Plan {
    fn default() -> Self {
        let limits = Limits {
            listen_backlog: 100,
            graceful_timeout: 5_000,
            shutdown_timeout: 3_000,
            deadlock_timeout: 300_000,
            socket_timeout: 20_000,
            ..Limits::default()
        };
        Self {
            threads: 3,
            limits,
            imports: Vec::new(),
            scripts: Vec::new(),
            daemon: Daemon::default(),
            scoreboard: None,
            destroy: true,
        }
    }
}

/// A daemon process.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) control: Option<OwnedFd>,
    /// The pipe that reports come from, and the bytes of the next report so far.
    reports: RefCell<(File, Vec<u8>)>,
    /// The scripts that it could not import, as far as its reports have been read: text and detail.
    pub(crate) failed_imports: RefCell<Vec<(String, String)>>,
    pub(crate) channel: Option<OwnedFd>,
    pub(crate) page: Words,
    log: PathBuf,
}

impl Plan {
    /// Starts a process and has it serve.
    pub(crate) fn serve(self) -> Process {
        let process = self.start();
        assert_eq!(process.report(), Some(Report::Ready(true)), "{}", process.log());
        process.order(&Order::Serve);
        process
    }

    /// Starts a process.
    pub(crate) fn start(self) -> Process {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let python = std::env::var("PYO3_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".to_owned());
        let host = std::env::current_exe().unwrap().with_file_name("libmod_wsgi_host.so");
        let (control, other) = pair(Socket::Sequence).unwrap();
        let (channel, theirs) = pair(Socket::Sequence).unwrap();
        let (reports, writer) = os::descriptors::pipe().unwrap();
        let (file, page) = Words::create(c"page", page::WORDS).unwrap();
        let name = format!("daemon-{}.log", NUMBER.fetch_add(1, Ordering::Relaxed));
        let log = super::script(&name, "");
        let output = File::options().append(true).open(&log).unwrap();
        // Else a process that another test starts meanwhile would have it too.
        let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        keep_over_exec(&other, true).unwrap();
        let mut command = Command::new(&python);
        // As the supervisor does.
        // SAFETY: a system call that takes a number, and nothing else.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
        let child = command
            .args(["-c", BOOTSTRAP, &host.to_string_lossy(), &other.as_raw_fd().to_string()])
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output.try_clone().unwrap())
            .spawn()
            .unwrap();
        drop(other);
        drop(starting);

        let start = os::message::file(c"start", &self.start_order()).unwrap();
        let lines = os::descriptors::reopen_for_append(&output).unwrap();
        let mut parts = vec![start.as_fd(), theirs.as_fd(), file.as_fd(), writer.as_fd(), lines.as_fd()];
        parts.extend(self.scoreboard.as_ref().map(AsFd::as_fd));
        send_with(&control, &Order::announcement(), &parts, Wait::Allowed).unwrap();
        let reports = RefCell::new((reports.into(), Vec::new()));
        let failed_imports = RefCell::default();
        Process { child, control: Some(control), reports, failed_imports, channel: Some(channel), page, log }
    }

    /// Returns the order to start that the supervisor would send.
    fn start_order(&self) -> Vec<u8> {
        let options = [NO_OPTIONS];
        let imports: Vec<_> = self
            .imports
            .iter()
            .map(|(path, group)| bridge::Import {
                script: path.as_os_str().as_encoded_bytes().into(),
                application_group: (*group).into(),
            })
            .collect();
        let settings = Settings {
            process_group: "group".into(),
            threads: self.threads,
            destroy_interpreters: self.destroy,
            multiprocess: true,
            ..settings(&options, &imports)
        };
        let mut message = Vec::new();
        settings.encode(&mut message);
        let daemon = Daemon {
            name: b"group"[..].into(),
            options: ProcessOptions {
                threads: self.threads,
                limits: self.limits,
                ..self.daemon.options.clone()
            },
            log_level: 7,
            scripts: self.scripts.clone(),
            settings: message.into(),
            ..self.daemon.clone()
        };
        Order::Start { schema: OwnSchema, word: 5, daemon: Box::new(daemon) }.encode()
    }
}

impl Process {
    pub(crate) fn order(&self, order: &Order) {
        send_with(self.control.as_ref().unwrap(), &order.encode(), &[], Wait::Allowed).unwrap();
    }

    /// The next report, besides those of failed imports; nothing at the end.
    pub(crate) fn report(&self) -> Option<Report> {
        let (reports, heard) = &mut *self.reports.borrow_mut();
        loop {
            match Report::take(heard).unwrap() {
                Some(Report::ImportFailed { text, detail }) => {
                    let texts = [text, detail].map(|text| String::from_utf8_lossy(&text).into_owned());
                    self.failed_imports.borrow_mut().push(texts.into());
                    continue;
                }
                // None, unless a test asks for it.
                Some(Report::Stuck { .. }) => continue,
                Some(report) => return Some(report),
                None => {}
            }
            let mut block = [0; 4096];
            match is_readable(&*reports, PATIENCE).unwrap().then(|| reports.read(&mut block).unwrap()) {
                None | Some(0) => return None,
                Some(count) => heard.extend_from_slice(&block[..count]),
            }
        }
    }

    /// A connection that the process may take.
    pub(crate) fn pass(&self) -> Connection {
        let (ours, theirs) = UnixStream::pair().unwrap();
        send_with(self.channel.as_ref().unwrap(), b"c", &[theirs.as_fd()], Wait::Allowed).unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        Connection { stream: ours }
    }

    /// A connection that the process has taken.
    pub(crate) fn connect(&self) -> Connection {
        let mut connection = self.pass();
        let (kind, _, payload) = connection.frame().expect("a hello");
        assert_eq!(kind, Kind::Hello);
        let mut hello = Reader::new(&payload);
        assert_eq!(Schema::decode(&mut hello), Ok(Schema::own()));
        assert_eq!(hello.u32(), Ok(self.child.id()));
        assert_eq!(hello.end(), Ok(()));
        connection
    }

    pub(crate) fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Returns whether nobody takes connections from the channel any more.
    pub(crate) fn is_channel_closed(&self) -> bool {
        os::descriptors::has_hung_up(self.channel.as_ref().unwrap())
    }

    pub(crate) fn busy(&self) -> u32 {
        page::sum(|word| self.page.load(word))
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for a text in the log.
    pub(crate) fn wait_for(&self, text: &str) {
        self.wait_until(text, || self.log().contains(text));
    }

    /// Waits for something.
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < end, "not so: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end of the process.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the process ---\n{}", self.log());
        }
    }
}

/// A connection to a daemon process.
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
}

/// A request.
pub(crate) struct Ask<'a> {
    pub(crate) script: &'a Path,
    pub(crate) group: &'a str,
    pub(crate) callable: &'a str,
    pub(crate) path_info: &'a str,
    pub(crate) inline: &'a [u8],
    /// The inline body is all of it.
    pub(crate) is_whole: bool,
    pub(crate) request_start: i64,
    pub(crate) queue_ticks: u32,
    pub(crate) flags: u32,
}

/// The answer to a request.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) log: Vec<String>,
    /// The outcome in `End`; nothing if the connection was closed or the request rejected.
    pub(crate) outcome: Option<u32>,
    pub(crate) times: Times,
    pub(crate) rejection: Option<u8>,
    /// The reads of the connection ended with an error.
    pub(crate) is_reset: bool,
    /// The bodies asked for.
    pub(crate) pulls: Vec<u32>,
    pub(crate) files: u32,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(script: &'a Path) -> Self {
        Self {
            script,
            group: "",
            callable: "application",
            path_info: "/",
            inline: b"",
            is_whole: true,
            request_start: micros(),
            queue_ticks: os::clock::ticks(),
            flags: flag::SCRIPT_RELOADING | flag::CALLABLE_REQUIRED,
        }
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        let script = self.script.as_os_str().as_encoded_bytes();
        let mut cgi = super::cgi(script, self.path_info);
        cgi[Cgi::DocumentRoot as usize] = "/".into();
        let headers = [Field { name: "Host".into(), value: "localhost".into() }];
        let facts = RequestFacts {
            cgi,
            headers: List::new(&headers),
            variables: List::new(&[]),
            process_group: "group".into(),
            application_group: self.group.into(),
            script: script.into(),
            listener_host: "".into(),
            listener_port: "80".into(),
            request_id: "id".into(),
            connection_id: Bytes::ABSENT,
            script_mtime: 0,
            request_start: self.request_start,
            queue_start: self.request_start,
            queue_ticks: self.queue_ticks,
            daemon_start: 0,
            daemon_connects: 0,
            daemon_restarts: 0,
            server_pid: std::process::id(),
            log_level: 6,
            flags: self.flags,
            request_rec: std::ptr::null_mut(),
        };
        let request = Request {
            tag: Tag::of::<Request<'_>>(),
            facts,
            callable_object: self.callable.into(),
            request_handler: "wsgi-script".into(),
            handler_script: "".into(),
            script_name: "".into(),
            path_info: self.path_info.into(),
            mount_point: Bytes::ABSENT,
        };
        let mut frame = Vec::new();
        append(&mut frame, Kind::Request, 0, |payload| {
            request.encode(payload);
            let mut writer = Writer::new(payload);
            writer.bool(self.is_whole);
            writer.optional((!self.inline.is_empty()).then_some(self.inline));
            writer.u64(0);
        });
        frame
    }
}

/// Now, in microseconds since the epoch.
pub(crate) fn micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

impl Connection {
    pub(crate) fn send(&mut self, ask: &Ask<'_>) {
        self.stream.write_all(&ask.frame()).unwrap();
    }

    /// Returns the number of sent bytes that the process has not read, as the kernel counts them.
    pub(crate) fn unread(&self) -> i32 {
        let mut count = 0;
        // SAFETY: it writes a number to where the pointer says.
        assert_eq!(unsafe { libc::ioctl(self.stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) }, 0);
        count
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(&mut self, ask: &Ask<'_>) -> Answer {
        self.send(ask);
        self.answer(&[])
    }

    /// The answer to the request that was sent; the application gets `body` as it asks for it.
    pub(crate) fn answer(&mut self, mut body: &[u8]) -> Answer {
        let mut answer = Answer::default();
        loop {
            let (kind, _flags, payload) = match self.frame() {
                Ok(frame) => frame,
                Err(is_reset) => {
                    answer.is_reset = is_reset;
                    return answer;
                }
            };
            match kind {
                Kind::Head => {
                    let mut fields = Fields::default();
                    let head = Head::decode(&payload, &mut fields).unwrap();
                    answer.status = head.status;
                    let texts = head.headers.as_slice().iter();
                    answer.headers =
                        texts.map(|field| (field.name.to_text(), field.value.to_text())).collect();
                }
                Kind::Data => answer.body.extend_from_slice(&payload),
                Kind::Log => answer.log.push(String::from_utf8_lossy(&payload[1..]).into_owned()),
                Kind::Pull => {
                    let wanted = u32::from_le_bytes(payload.try_into().unwrap());
                    answer.pulls.push(wanted);
                    if wanted > 0 {
                        // Less than what was asked for, as clients do.
                        let (piece, rest) = body.split_at(body.len().min(wanted as usize * 2 / 3));
                        body = rest;
                        let last = if rest.is_empty() { frame_flag::LAST } else { 0 };
                        let mut frame = Vec::new();
                        append(&mut frame, Kind::Body, last, |payload| payload.extend_from_slice(piece));
                        self.stream.write_all(&frame).unwrap();
                    }
                }
                Kind::End => {
                    let mut reader = Reader::new(&payload);
                    answer.outcome = Some(reader.u32().unwrap());
                    answer.times = Times::decode(&mut reader).unwrap();
                    reader.end().unwrap();
                    return answer;
                }
                Kind::Reject => {
                    answer.rejection = Some(payload[0]);
                    return answer;
                }
                other => panic!("a daemon process does not send {other:?}"),
            }
        }
    }

    /// The next frame; `Err` at the end, whether that was a reset.
    pub(crate) fn frame(&mut self) -> Result<(Kind, u8, Vec<u8>), bool> {
        let mut header = [0; HEADER];
        if let Err(error) = self.stream.read_exact(&mut header) {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "no answer");
            return Err(error.kind() == std::io::ErrorKind::ConnectionReset);
        }
        let Header { kind, flags, length } = Header::parse(&header).unwrap().unwrap();
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).map_err(|_| false)?;
        let whole = [&header[..], &payload].concat();
        assert!(Frame::parse(&whole).unwrap().is_some());
        Ok((kind, flags, payload))
    }
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
