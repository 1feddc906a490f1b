//! Loads the host into this process as the Apache module does, and plays the server for it.
//!
//! Python can be started only once in a process, so all tests of a file share one host. The
//! interpreter is `PYO3_PYTHON`, the one that the host was built for.

#![allow(clippy::disallowed_types, reason = "no Python runs in tests")]
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod daemon;
pub(crate) mod ending;

use std::any::Any;
use std::ffi::{CStr, CString, c_int, c_void};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicU32;
use std::sync::{LazyLock, Mutex, OnceLock};
use std::task::Poll;
use std::time::Duration;

use bridge::{
    Bytes, Cgi, Disconnected, ENTRY, Entry, Exchange, ExchangeServer, Field, Host, InterpreterOptions, List,
    Request, RequestFacts, Serve, Server, Settings, Sink, Tag, Times, Wait, checked, flag, write,
};

/// The host of this process, started.
pub(crate) static HOST: LazyLock<&'static Host> = LazyLock::new(start);

/// The lines that were logged without a request's context.
pub(crate) static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The scripts that could not be imported: text and detail.
pub(crate) static FAILED_IMPORTS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// The server's scoreboard, encoded; empty: there is none.
pub(crate) static SCOREBOARD: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// The words of the server's permits, if it has any; set before the host is started.
pub(crate) static PERMITS: OnceLock<&'static [AtomicU32]> = OnceLock::new();

/// A request to be made of the host.
pub(crate) struct Call<'a> {
    pub(crate) script: &'a Path,
    pub(crate) group: &'a str,
    pub(crate) callable: &'a str,
    pub(crate) path_info: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) variables: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
    pub(crate) flags: u32,
}

/// The response to a request.
#[derive(Default, Debug)]
pub(crate) struct Response {
    pub(crate) outcome: u32,
    pub(crate) status: u16,
    pub(crate) reason: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The `how` of each write.
    pub(crate) writes: Vec<u32>,
    pub(crate) log: Vec<String>,
    pub(crate) times: Times,
    pub(crate) unread: Vec<u8>,
    /// Writes fail once this many have succeeded.
    pub(crate) hang_up_after: Option<usize>,
    /// Runs with each write, as the server's filters do.
    pub(crate) during_write: Option<fn()>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(script: &'a Path) -> Self {
        Self {
            script,
            group: "",
            callable: "application",
            path_info: "/",
            headers: &[],
            variables: &[],
            body: b"",
            flags: flag::SCRIPT_RELOADING,
        }
    }

    pub(crate) fn run(&self) -> Response {
        self.run_with(Response::default())
    }

    pub(crate) fn run_with(&self, mut response: Response) -> Response {
        response.unread = self.body.to_vec();
        let fields = |pairs: &'a [(&'a str, &'a str)]| -> Vec<Field<'a>> {
            pairs.iter().map(|(name, value)| Field { name: (*name).into(), value: (*value).into() }).collect()
        };
        let (headers, variables) = (fields(self.headers), fields(self.variables));
        let script = self.script.as_os_str().as_encoded_bytes();
        let facts = RequestFacts {
            headers: List::new(&headers),
            variables: List::new(&variables),
            application_group: self.group.into(),
            flags: self.flags,
            ..facts(script, self.path_info)
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
        let exchange = ExchangeServer::new(response, NoWait);
        // SAFETY: the host is started.
        let outcome = unsafe { HOST.serve(&request, Exchange::new(&exchange)) };
        let (mut response, has_panicked) = exchange.end();
        assert!(!has_panicked, "{response:?}");
        (response.outcome, response.times) = outcome.expect("a host of this build");
        response
    }
}

/// Returns the facts of a request for a script, without headers.
pub(crate) fn facts<'a>(script: &'a [u8], path_info: &'a str) -> RequestFacts<'a> {
    RequestFacts {
        cgi: cgi(script, path_info),
        headers: List::new(&[]),
        variables: List::new(&[]),
        process_group: "".into(),
        application_group: "".into(),
        script: script.into(),
        listener_host: "".into(),
        listener_port: "80".into(),
        request_id: "id".into(),
        connection_id: Bytes::ABSENT,
        script_mtime: 0,
        request_start: 1_500_000,
        queue_start: 0,
        queue_ticks: 0,
        daemon_start: 0,
        daemon_connects: 0,
        daemon_restarts: 0,
        server_pid: std::process::id(),
        log_level: 6,
        flags: flag::SCRIPT_RELOADING,
        request_rec: std::ptr::null_mut(),
    }
}

impl Response {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn has_logged(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.contains(text))
    }
}

/// The directory of this process, among Cargo's own temporary files.
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(std::process::id().to_string());
    // Another process may have had this number.
    let _ = std::fs::remove_dir_all(&directory);
    directory
});

/// A script for this process.
pub(crate) fn script(name: &str, source: &str) -> PathBuf {
    let path = DIRECTORY.join(name);
    let place = path.parent().expect("a directory");
    std::fs::create_dir_all(place).expect("a directory for the script");
    std::fs::write(&path, source).expect("a script");
    path
}

/// Lets the request go on that waits until `<script>.<gate>` exists.
pub(crate) fn open_gate(script: &Path, gate: &str) {
    std::fs::write(format!("{}.{gate}", script.display()), "").expect("a gate");
}

fn start() -> &'static Host {
    let python = std::env::var("PYO3_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".to_owned());
    let host = load(&python);
    let own_gil =
        InterpreterOptions { application_group: "own".into(), per_interpreter_gil: 1, ..NO_OPTIONS };
    // The path of a group is put together from those that have its name.
    let names = ["broken", "path", "path-two", "failing", "failing-two", "siteless", "siteless-two"];
    let directories = names.map(|name| script(&format!("{name}/keep"), "").with_file_name(""));
    let with_path = names.iter().zip(&directories).map(|(name, directory)| InterpreterOptions {
        application_group: name.trim_end_matches("-two").into(),
        python_path: directory.as_os_str().as_encoded_bytes().into(),
        ..NO_OPTIONS
    });
    let interpreters: Vec<_> = [NO_OPTIONS, own_gil].into_iter().chain(with_path).collect();
    let settings = Settings { program: python.as_str().into(), ..settings(&interpreters, &[]) };
    let server = Server {
        tag: Tag::of::<Server>(),
        log: log_in_server,
        is_logged: logs,
        scoreboard,
        import_failed,
        stuck,
    };
    // SAFETY: both are valid during the call.
    let status = unsafe { (host.start)(&settings, &server) };
    assert_eq!(status, 0, "{:?}", LOG.lock());
    host
}

extern "C" fn import_failed(text: Bytes<'_>, detail: Bytes<'_>) {
    FAILED_IMPORTS.lock().expect("no panic").push((text.to_text(), detail.to_text()));
}

extern "C" fn stuck(_: u32, _: Bytes<'_>, _: Bytes<'_>) {}

/// Loads the libpython of an interpreter, and the host.
fn load(python: &str) -> &'static Host {
    let query =
        "import sysconfig as s; print(s.get_config_var('LIBDIR') + '/' + s.get_config_var('INSTSONAME'))";
    let output = Command::new(python).args(["-c", query]).output().expect("the interpreter of PYO3_PYTHON");
    let library = String::from_utf8(output.stdout).expect("a path");
    let test = std::env::current_exe().expect("the path of the test");
    let host = test.with_file_name("libmod_wsgi_host.so");
    // SAFETY: libpython and the host are made to be loaded so; the symbol has the type that the
    // bridge says.
    unsafe {
        open(library.trim(), libc::RTLD_GLOBAL);
        let handle = open(&host.to_string_lossy(), libc::RTLD_LOCAL);
        let symbol = libc::dlsym(handle, ENTRY.as_ptr());
        assert!(!symbol.is_null(), "the host has no entry");
        checked(std::mem::transmute::<*mut c_void, Entry>(symbol)()).expect("a host of this build")
    }
}

/// The options of an interpreter for which nothing is configured.
pub(crate) const NO_OPTIONS: InterpreterOptions<'static> = InterpreterOptions {
    process_group: Bytes::ABSENT,
    application_group: Bytes::ABSENT,
    python_path: Bytes::ABSENT,
    switch_interval: 0.0,
    per_interpreter_gil: -1,
    free_threading: -1,
    restrict_stdin: -1,
    restrict_stdout: -1,
    restrict_signal: -1,
};

/// The settings of embedded mode, of a server for which nothing else is configured.
pub(crate) fn settings<'a>(
    interpreters: &'a [InterpreterOptions<'a>],
    imports: &'a [bridge::Import<'a>],
) -> Settings<'a> {
    Settings {
        tag: Tag::of::<Settings<'_>>(),
        program: Bytes::ABSENT,
        home: Bytes::ABSENT,
        process_group: "".into(),
        python_eggs: Bytes::ABSENT,
        warnings: List::new(&[]),
        interpreters: List::new(interpreters),
        imports: List::new(imports),
        named_scripts: List::new(&[]),
        packages: Bytes::ABSENT,
        permits: List::new(PERMITS.get().copied().unwrap_or_default()),
        server_version: [2, 4, 99],
        server_description: "Test".into(),
        server_built: "today".into(),
        mpm_name: "test".into(),
        processes: 1,
        threads: 4,
        mpm_processes: 1,
        mpm_threads: 4,
        server_parent: 1,
        telemetry_socket: Bytes::ABSENT,
        telemetry_interval: 0.0,
        slow_requests: 0.0,
        telemetry_user_agent: false,
        optimize: 0,
        hash_seed: -1,
        dont_write_bytecode: true,
        destroy_interpreters: true,
        case_sensitive: true,
        script_reloading: true,
        log_records: false,
        stuck_timeout: 0,
        multithread: true,
        multiprocess: false,
        run_once: false,
        single_process: false,
    }
}

/// # Safety
/// As `dlopen`.
unsafe fn open(path: &str, scope: c_int) -> *mut c_void {
    let name = CString::new(path).expect("a path without NUL");
    // SAFETY: by the caller's promise.
    unsafe {
        let handle = libc::dlopen(name.as_ptr(), libc::RTLD_NOW | scope);
        assert!(!handle.is_null(), "{:?}", CStr::from_ptr(libc::dlerror()));
        handle
    }
}

/// The CGI variables of a plain `GET`.
fn cgi<'a>(script: &'a [u8], path_info: &'a str) -> [Bytes<'a>; Cgi::ALL.len()] {
    let mut cgi = [Bytes::new(b""); Cgi::ALL.len()];
    for absent in [Cgi::ServerAdmin, Cgi::ContentType, Cgi::ContentLength, Cgi::RemoteUser, Cgi::AuthType] {
        cgi[absent as usize] = Bytes::ABSENT;
    }
    cgi[Cgi::RequestMethod as usize] = "GET".into();
    cgi[Cgi::ServerName as usize] = "localhost".into();
    cgi[Cgi::ServerPort as usize] = "80".into();
    cgi[Cgi::ServerProtocol as usize] = "HTTP/1.1".into();
    cgi[Cgi::PathInfo as usize] = path_info.into();
    cgi[Cgi::ScriptFilename as usize] = script.into();
    cgi
}

impl Serve for Response {
    /// Reads less than what is asked for, as networks do.
    fn poll_read(&mut self, buffer: &mut [u8]) -> Result<Poll<usize>, Disconnected> {
        let count = buffer.len().min(self.unread.len()).min(3);
        for (place, byte) in buffer.iter_mut().zip(self.unread.drain(..count)) {
            *place = byte;
        }
        Ok(Poll::Ready(count))
    }

    fn is_gone(&mut self) -> bool {
        self.hang_up_after.is_some_and(|most| self.writes.len() >= most)
    }

    fn start(&mut self, status: u16, reason: Bytes<'_>, headers: &[Field<'_>]) -> Result<(), Disconnected> {
        self.status = status;
        self.reason = reason.get().map(|_| reason.to_text());
        self.headers = headers.iter().map(|field| (field.name.to_text(), field.value.to_text())).collect();
        Ok(())
    }

    fn write(&mut self, block: &[u8], how: u32) -> Result<(), Disconnected> {
        if self.hang_up_after == Some(self.writes.len()) {
            return Err(Disconnected);
        }
        assert!(!self.writes.iter().any(|how| how & write::LAST != 0), "a block after the last one");
        self.body.extend_from_slice(block);
        self.writes.push(how);
        if let Some(run) = self.during_write {
            run();
        }
        Ok(())
    }

    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<(), Disconnected> {
        let start = self.body.len();
        self.body.resize(start + usize::try_from(length).expect("a small file"), 0);
        let count = os::file::read_at(file, &mut self.body[start..], offset).expect("a readable file");
        self.body.truncate(start + count);
        Ok(())
    }

    fn log(&mut self, level: c_int, line: &[u8]) {
        self.log.push(format!("{level} {}", String::from_utf8_lossy(line)));
    }

    fn report_panic(&mut self, during: &str, _: &(dyn Any + Send)) {
        self.log.push(format!("panic in {during}"));
    }
}

pub(crate) struct NoWait;

impl Wait for NoWait {
    fn wait(&self, _: Duration) {}
    fn interrupt(&self) {}
}

unsafe extern "C" fn log_in_server(level: c_int, line: Bytes<'_>) {
    LOG.lock().expect("no panic while it is locked").push(format!("{level} {}", line.to_text()));
}

unsafe extern "C" fn logs(_level: c_int) -> bool {
    true
}

unsafe extern "C" fn scoreboard(mut sink: Sink<'_>) {
    sink.put(&SCOREBOARD.lock().expect("no panic while it is locked"));
}
