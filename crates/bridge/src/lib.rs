//! The C ABI between `mod_wsgi.so` (Apache, no Python) and the host (Python, no Apache).
//!
//! Both sides are built from this crate, but not always together: the host is built once per Python ABI and
//! may be older or newer than the module that loads it. So everything here is `repr(C)`, the first field of
//! every table is its version, and a side that reads another [`ABI`] than its own refuses to go on.
//!
//! The module finds the symbol [`ENTRY`] in the host, calls it, and gets a [`Host`]. For each request it calls
//! [`Host::handle`] with a [`Request`] (what is known before the application runs) and an [`Exchange`] (what
//! can be done while it runs: read the body, answer, log).
//!
//! Borrowed data ([`Bytes`], [`List`]) is valid for the duration of the call that it is an argument of, unless
//! said otherwise. Times are microseconds since the Unix epoch, as in APR; 0 means "not known".

use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The version of this interface. Raised by every change of a type in this crate.
pub const ABI: u32 = 1;

/// The symbol that a host exports, of type [`Entry`].
pub const ENTRY: &CStr = c"mod_wsgi_host";

/// The type of the function behind [`ENTRY`].
pub type Entry = unsafe extern "C" fn() -> *const Host;

/// A borrowed byte string, or nothing at all (which is not the same as an empty one).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    pointer: *const u8,
    length: usize,
    borrow: PhantomData<&'a [u8]>,
}

// SAFETY: a `Bytes` is a shared borrow of plain bytes, as `&[u8]` is.
unsafe impl Send for Bytes<'_> {}
// SAFETY: as above.
unsafe impl Sync for Bytes<'_> {}

impl<'a> Bytes<'a> {
    /// No value.
    pub const ABSENT: Self = Self { pointer: std::ptr::null(), length: 0, borrow: PhantomData };

    /// The bytes of `value`.
    #[must_use]
    pub const fn new(value: &'a [u8]) -> Self {
        Self { pointer: value.as_ptr(), length: value.len(), borrow: PhantomData }
    }

    /// The bytes of `value`, or [`Bytes::ABSENT`].
    #[must_use]
    pub fn optional(value: Option<&'a [u8]>) -> Self {
        value.map_or(Self::ABSENT, Self::new)
    }

    /// The bytes, if there is a value.
    #[must_use]
    #[inline]
    pub fn get(self) -> Option<&'a [u8]> {
        if self.pointer.is_null() {
            return None;
        }
        // SAFETY: a non-null pointer comes from `new` only, on this or the other side of the bridge, and so
        // points at `length` bytes that are borrowed for `'a`.
        Some(unsafe { std::slice::from_raw_parts(self.pointer, self.length) })
    }

    /// The bytes; an absent value reads as empty.
    #[must_use]
    #[inline]
    pub fn or_empty(self) -> &'a [u8] {
        self.get().unwrap_or_default()
    }

    /// The text, with anything that is not UTF-8 replaced; an absent value reads as empty.
    #[must_use]
    pub fn to_text(self) -> String {
        String::from_utf8_lossy(self.or_empty()).into_owned()
    }
}

impl<'a> From<&'a [u8]> for Bytes<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::new(value)
    }
}

impl<'a> From<&'a str> for Bytes<'a> {
    fn from(value: &'a str) -> Self {
        Self::new(value.as_bytes())
    }
}

impl std::fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.get() {
            Some(bytes) => write!(f, "{:?}", String::from_utf8_lossy(bytes)),
            None => f.write_str("absent"),
        }
    }
}

/// A borrowed array.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct List<'a, T> {
    pointer: *const T,
    length: usize,
    borrow: PhantomData<&'a [T]>,
}

// SAFETY: a `List` is a shared borrow, as `&[T]` is.
unsafe impl<T: Sync> Send for List<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for List<'_, T> {}

impl<'a, T> List<'a, T> {
    /// The elements of `items`.
    #[must_use]
    pub const fn new(items: &'a [T]) -> Self {
        Self { pointer: items.as_ptr(), length: items.len(), borrow: PhantomData }
    }

    /// The elements.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &'a [T] {
        // SAFETY: made by `new` only, so the pointer (never null) and the length are a slice's, borrowed for `'a`.
        unsafe { std::slice::from_raw_parts(self.pointer, self.length) }
    }
}

/// A name and its value: a header, an environ variable.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The name, as received or configured.
    pub name: Bytes<'a>,
    /// The value.
    pub value: Bytes<'a>,
}

macro_rules! cgi_variables {
    ($($(#[$doc:meta])* $variant:ident = $key:literal,)*) => {
        /// The CGI variables that the server computes, each with a slot of its own in [`Request::cgi`].
        #[repr(usize)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Cgi { $($(#[$doc])* $variant,)* }

        impl Cgi {
            /// All variables, in slot order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The key in the environ.
            #[must_use]
            pub const fn key(self) -> &'static str {
                match self { $(Self::$variant => $key,)* }
            }
        }
    };
}

cgi_variables! {
    /// The server's banner.
    ServerSoftware = "SERVER_SOFTWARE",
    /// URL form of the server's name, HTML-escaped.
    ServerName = "SERVER_NAME",
    /// Local IP address of the connection.
    ServerAddr = "SERVER_ADDR",
    /// The server's port, decimal.
    ServerPort = "SERVER_PORT",
    /// IP address of the client.
    RemoteAddr = "REMOTE_ADDR",
    /// TCP port of the client, decimal.
    RemotePort = "REMOTE_PORT",
    /// The document root (a file system path).
    DocumentRoot = "DOCUMENT_ROOT",
    /// The prefix of the URL that a context (`Alias`) replaced.
    ContextPrefix = "CONTEXT_PREFIX",
    /// The document root of that context.
    ContextDocumentRoot = "CONTEXT_DOCUMENT_ROOT",
    /// The server administrator's address; absent if there is none.
    ServerAdmin = "SERVER_ADMIN",
    /// `http` or `https`, as the server sees the connection.
    RequestScheme = "REQUEST_SCHEME",
    /// The file that the URL mapped to (a file system path).
    ScriptFilename = "SCRIPT_FILENAME",
    /// Such as `HTTP/1.1`.
    ServerProtocol = "SERVER_PROTOCOL",
    /// Such as `GET`.
    RequestMethod = "REQUEST_METHOD",
    /// Undecoded; empty if there is none.
    QueryString = "QUERY_STRING",
    /// The raw target of the request line.
    RequestUri = "REQUEST_URI",
    /// Where the application is mounted; percent-decoded, slashes collapsed.
    ScriptName = "SCRIPT_NAME",
    /// The rest of the URL's path.
    PathInfo = "PATH_INFO",
    /// Only if the client sent one.
    ContentType = "CONTENT_TYPE",
    /// Only if the client sent one.
    ContentLength = "CONTENT_LENGTH",
    /// The authenticated user.
    RemoteUser = "REMOTE_USER",
    /// How that user was authenticated.
    AuthType = "AUTH_TYPE",
}

/// All that is known of a request before the application runs.
#[repr(C)]
pub struct Request<'a> {
    /// CGI variables by [`Cgi`] slot; an absent one gets no key. They win over [`Request::variables`].
    pub cgi: [Bytes<'a>; Cgi::ALL.len()],
    /// Request headers that become `HTTP_*` keys, names as the client wrote them (ASCII letters, digits and `-`
    /// only). Those that an application must not see have been left out. They win over [`Request::variables`].
    pub headers: List<'a, Field<'a>>,
    /// Other environ variables (`SetEnv`, `SSL_*`, `REDIRECT_*` ...), names verbatim. An absent value is `None`.
    pub variables: List<'a, Field<'a>>,
    /// Name of the process group; empty in embedded mode.
    pub process_group: Bytes<'a>,
    /// Name of the application group; empty is the main interpreter.
    pub application_group: Bytes<'a>,
    /// Name of the callable in the script.
    pub callable_object: Bytes<'a>,
    /// The Apache handler that was selected, such as `wsgi-script`.
    pub request_handler: Bytes<'a>,
    /// Path of the handler script; empty unless the request goes to one.
    pub handler_script: Bytes<'a>,
    /// Path of the Python source file to load.
    pub script: Bytes<'a>,
    /// `SCRIPT_NAME` before a trusted proxy's header replaced it.
    pub script_name: Bytes<'a>,
    /// `PATH_INFO` before a trusted proxy's header replaced it.
    pub path_info: Bytes<'a>,
    /// The mount point that a trusted proxy named.
    pub mount_point: Bytes<'a>,
    /// Address that the listener is bound to; empty for all.
    pub listener_host: Bytes<'a>,
    /// Port that the listener is bound to.
    pub listener_port: Bytes<'a>,
    /// The server's id of this request.
    pub request_id: Bytes<'a>,
    /// The server's id of this connection.
    pub connection_id: Bytes<'a>,
    /// Modification time of [`Request::script`], if the server knows it already; else 0.
    pub script_mtime: i64,
    /// When the server read the request.
    pub request_start: i64,
    /// When the request was put into a daemon's queue; 0 in embedded mode.
    pub queue_start: i64,
    /// When a daemon took it from there; 0 in embedded mode.
    pub daemon_start: i64,
    /// Process id of the Apache child that accepted the request.
    pub server_pid: u32,
    /// A set of `flag` values.
    pub flags: u32,
    /// Apache's `request_rec`, for `apache.request_rec`; null unless it was asked for.
    pub request_rec: *mut c_void,
}

// SAFETY: it is plain data; `request_rec` is an address that is passed on, not followed.
unsafe impl Sync for Request<'_> {}

impl<'a> Request<'a> {
    /// The value of a CGI variable.
    #[must_use]
    #[inline]
    pub fn variable(&self, cgi: Cgi) -> Bytes<'a> {
        self.cgi[cgi as usize]
    }

    /// Whether `bit` of [`flag`] is set.
    #[must_use]
    #[inline]
    pub const fn has(&self, bit: u32) -> bool {
        self.flags & bit != 0
    }
}

/// Bits of [`Request::flags`].
pub mod flag {
    /// `wsgi.url_scheme` is `https`.
    pub const HTTPS: u32 = 1;
    /// Compare the script's modification time, and ask its `reload_required`.
    pub const SCRIPT_RELOADING: u32 = 1 << 1;
    /// A callable that is missing from the script is the server's failure (500), not a missing page (404).
    pub const CALLABLE_REQUIRED: u32 = 1 << 2;
    /// Test hook: panic when Python calls back while the request runs.
    pub const DEBUG_PANIC: u32 = 1 << 31;
}

/// How [`Host::handle`] ended.
///
/// A value from 400 on is an HTTP status: nothing was sent, and the server answers with its own page.
pub mod outcome {
    /// The response was given whole; the server ends it (if [`write::LAST`](super::write::LAST) has not).
    pub const COMPLETE: u32 = 0;
    /// The response was begun and can not be completed: the client must be able to tell.
    pub const ABORTED: u32 = 1;
}

/// Bits of the last argument of [`ExchangeApi::write`].
pub mod write {
    /// Send it now: the application may take its time for the next block.
    pub const FLUSH: u32 = 1;
    /// The response ends with this block.
    pub const LAST: u32 = 1 << 1;
}

/// What a host can do with a request while it runs. All functions get the `context` of [`Host::handle`], are
/// called before that returns and by one thread at a time (mostly the one that called it), and not while the
/// thread is attached to Python if the call can block (all but `start` and `log` can).
///
/// A failure (negative result) means that the client is gone or can not be reached; the reason has been
/// logged where it is worth it.
#[repr(C)]
#[derive(Debug)]
pub struct ExchangeApi {
    /// Reads at most the given number of bytes of the request's body, blocking until there are some. 0 is the
    /// end of the body; negative a failure. Reading 0 bytes only says that the application wants the body, so
    /// that a waiting client is told to continue.
    pub read: unsafe extern "C" fn(context: *mut c_void, buffer: *mut u8, capacity: usize) -> isize,
    /// Sets status (three digits), reason (absent: the standard one) and headers; sent with the first `write`, or at the end.
    /// Called once, before any `write`. The headers have been checked.
    pub start: unsafe extern "C" fn(
        context: *mut c_void,
        status: u16,
        reason: Bytes<'_>,
        headers: List<'_, Field<'_>>,
    ) -> c_int,
    /// Sends a block of the response's body; the last argument is a set of [`write`] bits.
    pub write: unsafe extern "C" fn(context: *mut c_void, block: Bytes<'_>, how: u32) -> c_int,
    /// Sends `length` bytes of a regular file from `offset`, and returns when they are read: the descriptor is
    /// duplicated if it is kept, and its file position may have changed.
    pub send_file:
        unsafe extern "C" fn(context: *mut c_void, descriptor: c_int, offset: u64, length: u64) -> c_int,
    /// Logs a line with the request's context; `level` is Apache's (3 error ... 7 debug).
    pub log: unsafe extern "C" fn(context: *mut c_void, level: c_int, line: Bytes<'_>),
}

/// A running request, as the host sees it: an [`ExchangeApi`] and its context.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    api: &'a ExchangeApi,
    context: *mut c_void,
}

// SAFETY: the functions of the table may be called on any thread, one at a time.
unsafe impl Send for Exchange<'_> {}

/// The client is gone or can not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnected;

impl<'a> Exchange<'a> {
    /// # Safety
    /// `context` must be what the functions of `api` expect, for as long as `'a`, on this thread.
    #[must_use]
    pub const unsafe fn new(api: &'a ExchangeApi, context: *mut c_void) -> Self {
        Self { api, context }
    }

    /// See [`ExchangeApi::read`].
    ///
    /// # Errors
    /// The body can not be read.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Disconnected> {
        // SAFETY: by the contract of `new`; the buffer is valid for its length.
        let count = unsafe { (self.api.read)(self.context, buffer.as_mut_ptr(), buffer.len()) };
        usize::try_from(count).map(|count| count.min(buffer.len())).map_err(|_| Disconnected)
    }

    /// See [`ExchangeApi::start`].
    ///
    /// # Errors
    /// The server can not take the head.
    pub fn start(&self, status: u16, reason: Bytes<'_>, headers: &[Field<'_>]) -> Result<(), Disconnected> {
        // SAFETY: by the contract of `new`.
        checked(unsafe { (self.api.start)(self.context, status, reason, List::new(headers)) })
    }

    /// See [`ExchangeApi::write`].
    ///
    /// # Errors
    /// The client is gone.
    pub fn write(&self, block: &[u8], how: u32) -> Result<(), Disconnected> {
        // SAFETY: by the contract of `new`.
        checked(unsafe { (self.api.write)(self.context, Bytes::new(block), how) })
    }

    /// See [`ExchangeApi::send_file`].
    ///
    /// # Errors
    /// The client is gone.
    pub fn send_file(&self, descriptor: c_int, offset: u64, length: u64) -> Result<(), Disconnected> {
        // SAFETY: by the contract of `new`.
        checked(unsafe { (self.api.send_file)(self.context, descriptor, offset, length) })
    }

    /// See [`ExchangeApi::log`].
    pub fn log(&self, level: Level, line: &[u8]) {
        // SAFETY: by the contract of `new`.
        unsafe { (self.api.log)(self.context, level as c_int, Bytes::new(line)) }
    }
}

/// An [`Exchange`] lent to objects of the application, which may outlive the request and reach other threads.
///
/// It gives the exchange out to one thread at a time, and to nobody once the request is over.
#[derive(Debug, Default)]
pub struct Lease(Mutex<Option<Exchange<'static>>>);

impl Lease {
    /// Lends `exchange` for as long as `work` runs.
    pub fn lend<R>(exchange: Exchange<'_>, work: impl FnOnce(&Arc<Self>) -> R) -> R {
        /// Ends the lease, also when `work` panics; waits for a thread that still uses the exchange.
        struct End<'a>(&'a Lease);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                *self.0.lock() = None;
            }
        }
        // SAFETY: the exchange is taken back before this function returns, and until then is only given out
        // for the duration of `with`, under the lock.
        let exchange = unsafe { std::mem::transmute::<Exchange<'_>, Exchange<'static>>(exchange) };
        let lease = Arc::new(Self(Mutex::new(Some(exchange))));
        let _end = End(&lease);
        work(&lease)
    }

    /// Runs `work` with the exchange, unless the request is over. Waits while another thread uses it.
    #[inline]
    pub fn with<R>(&self, work: impl FnOnce(&Exchange<'_>) -> R) -> Option<R> {
        self.lock().as_ref().map(work)
    }

    /// As [`with`](Self::with), but gives up while another thread uses the exchange.
    pub fn try_with<R>(&self, work: impl FnOnce(&Exchange<'_>) -> R) -> Option<R> {
        self.0.try_lock().ok()?.as_ref().map(work)
    }

    /// Whether the request is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        // Who holds the lock uses the exchange, so it exists.
        self.0.try_lock().is_ok_and(|exchange| exchange.is_none())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Exchange<'static>>> {
        // A panic while the lock was held leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn checked(status: c_int) -> Result<(), Disconnected> {
    if status < 0 { Err(Disconnected) } else { Ok(()) }
}

/// Apache's log levels, as far as we use them.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Critical.
    Crit = 2,
    /// Error.
    Error = 3,
    /// Warning.
    Warn = 4,
    /// Normal but significant.
    Notice = 5,
    /// Informational.
    Info = 6,
    /// For debugging.
    Debug = 7,
    /// First trace level.
    Trace1 = 8,
}

/// What a host can ask of the server outside requests, from any thread, at any time between
/// [`Host::start`] and the end of the process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Server {
    /// [`ABI`].
    pub abi: u32,
    /// Logs a line without a request's context.
    pub log: unsafe extern "C" fn(level: c_int, line: Bytes<'_>),
    /// Whether the error log records lines of this level.
    pub logs: unsafe extern "C" fn(level: c_int) -> bool,
}

impl Server {
    /// Logs a line without a request's context.
    pub fn log(&self, level: Level, line: &[u8]) {
        // SAFETY: the function has no precondition but the validity of its arguments.
        unsafe { (self.log)(level as c_int, Bytes::new(line)) }
    }

    /// Whether the error log records lines of this level.
    #[must_use]
    pub fn logs(&self, level: Level) -> bool {
        // SAFETY: as above.
        unsafe { (self.logs)(level as c_int) }
    }
}

/// A yes or no that may not have been said.
pub type Tristate = i8;

/// A [`Tristate`] from what was configured: -1 unset, 0 off, 1 on.
#[must_use]
pub const fn tristate(value: Option<bool>) -> Tristate {
    match value {
        None => -1,
        Some(false) => 0,
        Some(true) => 1,
    }
}

/// What was configured, from a [`Tristate`].
#[must_use]
pub const fn from_tristate(value: Tristate) -> Option<bool> {
    match value {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// One `<WSGIInterpreterOptions>` block, or (with no selector) the server-level directives.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct InterpreterOptions<'a> {
    /// Process group it applies to; absent: any.
    pub process_group: Bytes<'a>,
    /// Application group it applies to; absent: any.
    pub application_group: Bytes<'a>,
    /// `WSGIPythonPath`.
    pub python_path: Bytes<'a>,
    /// `WSGISwitchInterval` in seconds; 0 unset.
    pub switch_interval: f64,
    /// `WSGIPerInterpreterGIL`.
    pub per_interpreter_gil: Tristate,
    /// `WSGIFreeThreading`.
    pub free_threading: Tristate,
    /// `WSGIRestrictStdin`.
    pub restrict_stdin: Tristate,
    /// `WSGIRestrictStdout`.
    pub restrict_stdout: Tristate,
    /// `WSGIRestrictSignal`.
    pub restrict_signal: Tristate,
}

/// A script to load when the process starts (`WSGIImportScript`, preloading aliases).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Import<'a> {
    /// Path of the Python source file.
    pub script: Bytes<'a>,
    /// Where to load it; empty is the main interpreter.
    pub application_group: Bytes<'a>,
}

/// What a host needs to know once, when the process starts.
#[repr(C)]
pub struct Settings<'a> {
    /// [`ABI`].
    pub abi: u32,
    /// Path of the Python executable to be (`sys.executable`), from which CPython finds its library or virtual
    /// environment; absent: CPython's own default.
    pub program: Bytes<'a>,
    /// `PYTHONHOME`, `prefix[:exec_prefix]`; absent for virtual environments.
    pub home: Bytes<'a>,
    /// The process group; empty in embedded mode.
    pub process_group: Bytes<'a>,
    /// `WSGIPythonEggs`; absent if unset.
    pub python_eggs: Bytes<'a>,
    /// One `-W` option each.
    pub warnings: List<'a, Bytes<'a>>,
    /// The server-level interpreter settings first, then each container in file order.
    pub interpreters: List<'a, InterpreterOptions<'a>>,
    /// Loaded in order before the first request.
    pub imports: List<'a, Import<'a>>,
    /// Apache's full version, such as `2.4.71`.
    pub server_version: [u32; 3],
    /// Apache's banner with all components.
    pub server_description: Bytes<'a>,
    /// When Apache was built.
    pub server_built: Bytes<'a>,
    /// Name of the MPM.
    pub mpm_name: Bytes<'a>,
    /// Processes that may serve requests; at least 1.
    pub processes: u32,
    /// Threads of each that serve requests; at least 1.
    pub threads: u32,
    /// `processes` and `threads` of the MPM, which differ from the above in a daemon.
    pub mpm_processes: u32,
    /// See [`Settings::mpm_processes`].
    pub mpm_threads: u32,
    /// `WSGIPythonOptimize`.
    pub optimize: u32,
    /// `WSGIPythonHashSeed`; negative: random.
    pub hash_seed: i64,
    /// `WSGIDontWriteBytecode`.
    pub dont_write_bytecode: bool,
    /// `WSGIDestroyInterpreter`.
    pub destroy_interpreters: bool,
    /// `WSGICaseSensitivity`.
    pub case_sensitive: bool,
    /// `WSGIScriptReloading` of the main server, for imports.
    pub script_reloading: bool,
    /// The value of `wsgi.multithread`.
    pub multithread: bool,
    /// The value of `wsgi.multiprocess`.
    pub multiprocess: bool,
    /// The value of `wsgi.run_once`.
    pub run_once: bool,
    /// The process is the server itself (`httpd -X`): leave its standard streams alone.
    pub single_process: bool,
}

/// A host: Python and all that runs in it.
#[repr(C)]
pub struct Host {
    /// [`ABI`].
    pub abi: u32,
    /// Initialises Python and loads the imports. Called once, from the thread that is to be Python's main
    /// thread. Failures are logged through `server`; after a negative result `handle` must not be called.
    pub start: unsafe extern "C" fn(settings: *const Settings<'_>, server: *const Server) -> c_int,
    /// Runs the application for one request, on any thread; see [`outcome`] for the result.
    pub handle: unsafe extern "C" fn(
        request: *const Request<'_>,
        exchange: *const ExchangeApi,
        context: *mut c_void,
    ) -> u32,
    /// Tells the application (`process_stopping`), then ends the interpreters if that was asked for. No
    /// `handle` may start after it; those that still run are waited for, at most `grace` milliseconds, and if
    /// they do not end in time the interpreters are left alone.
    pub stop: unsafe extern "C" fn(reason: Bytes<'_>, grace: u32),
}

// SAFETY: a table of functions that may be called on any thread.
unsafe impl Sync for Host {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_is_not_empty() {
        assert_eq!(Bytes::ABSENT.get(), None);
        assert_eq!(Bytes::new(b"").get(), Some(&b""[..]));
        assert_eq!(Bytes::optional(None).get(), None);
        assert_eq!(Bytes::from("x").or_empty(), b"x");
    }

    #[test]
    fn empty_lists_are_slices() {
        assert!(List::<Field<'_>>::new(&[]).as_slice().is_empty());
    }

    #[test]
    fn cgi_slots_are_in_order() {
        for (slot, variable) in Cgi::ALL.iter().enumerate() {
            assert_eq!(*variable as usize, slot);
        }
    }

    #[test]
    fn tristates_survive_the_crossing() {
        for value in [None, Some(false), Some(true)] {
            assert_eq!(from_tristate(tristate(value)), value);
        }
    }
}
