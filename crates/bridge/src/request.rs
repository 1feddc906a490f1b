//! The records of a request before the application runs, and its possible outcomes.

use std::ffi::{CStr, c_void};

use crate::tag::tagged;
use crate::{Bytes, Field, List, Tag};

macro_rules! cgi_variables {
    ($($(#[$doc:meta])* $variant:ident = $key:literal,)*) => {
        /// The CGI variables that the server computes, each with a slot of its own in
        /// [`RequestFacts::cgi`].
        #[repr(usize)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Cgi { $($(#[$doc])* $variant,)* }

        impl Cgi {
            /// All variables, in slot order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the key in the environ.
            #[must_use]
            pub const fn key(self) -> &'static str {
                match self { $(Self::$variant => $key,)* }
            }

            /// Returns the key for tables of C strings.
            #[must_use]
            pub const fn c_key(self) -> &'static CStr {
                match self {
                    $(Self::$variant => const {
                        match CStr::from_bytes_with_nul(concat!($key, "\0").as_bytes()) {
                            Ok(key) => key,
                            Err(_) => panic!("a key contains a NUL byte"),
                        }
                    },)*
                }
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
    /// The mount point of the application; percent-decoded, slashes collapsed.
    ScriptName = "SCRIPT_NAME",
    /// The rest of the URL's path.
    PathInfo = "PATH_INFO",
    /// Only if the client sent one.
    ContentType = "CONTENT_TYPE",
    /// Only if the client sent one.
    ContentLength = "CONTENT_LENGTH",
    /// The authenticated user.
    RemoteUser = "REMOTE_USER",
    /// The method by which that user was authenticated.
    AuthType = "AUTH_TYPE",
}

/// The part of a request that every kind of call about a request has.
#[repr(C)]
#[derive(Debug)]
pub struct RequestFacts<'a> {
    /// CGI variables by [`Cgi`] slot; an absent one gets no key. They win over
    /// [`RequestFacts::variables`].
    pub cgi: [Bytes<'a>; Cgi::ALL.len()],
    /// Request headers that become `HTTP_*` keys, names as the client wrote them (ASCII letters,
    /// digits and `-` only). Those that an application must not see have been left out. They win
    /// over [`RequestFacts::variables`].
    pub headers: List<'a, Field<'a>>,
    /// Other environ variables (`SetEnv`, `SSL_*`, `REDIRECT_*` ...), names verbatim. An absent
    /// value is `None`.
    pub variables: List<'a, Field<'a>>,
    /// Name of the process group; empty in embedded mode.
    pub process_group: Bytes<'a>,
    /// Name of the application group; empty is the main interpreter.
    pub application_group: Bytes<'a>,
    /// Path of the Python source file to load.
    pub script: Bytes<'a>,
    /// Address that the listener is bound to; empty for all.
    pub listener_host: Bytes<'a>,
    /// Port that the listener is bound to.
    pub listener_port: Bytes<'a>,
    /// The server's id of this request.
    pub request_id: Bytes<'a>,
    /// The server's id of this connection.
    pub connection_id: Bytes<'a>,
    /// Modification time of [`RequestFacts::script`], if the server knows it already; else 0.
    pub script_mtime: i64,
    /// The time when the server read the request.
    pub request_start: i64,
    /// The time when the request was put into a daemon's queue; 0 in embedded mode.
    pub queue_start: i64,
    /// The time when a daemon took it from there; 0 in embedded mode.
    pub daemon_start: i64,
    /// `queue_start` in milliseconds of the monotonic clock; wraps around after seven weeks.
    pub queue_ticks: u32,
    /// The number of attempts to reach a daemon process for it; 0 in embedded mode.
    pub daemon_connects: u32,
    /// The number of daemon processes that have passed it on because they are being replaced.
    pub daemon_restarts: u32,
    /// Process id of the Apache child that accepted the request.
    pub server_pid: u32,
    /// The number of the highest level of lines that the error log takes of this request.
    pub log_level: u32,
    /// A set of `flag` values.
    pub flags: u32,
    /// Apache's `request_rec`, for `apache.request_rec`; null unless it was asked for.
    pub request_rec: *mut c_void,
}

/// A request for a WSGI application: its facts, and further items of the environ.
#[repr(C)]
#[derive(Debug)]
pub struct Request<'a> {
    /// [`Tag::of`] this.
    pub tag: Tag,
    /// The facts that every kind of call has.
    pub facts: RequestFacts<'a>,
    /// Name of the callable in the script.
    pub callable_object: Bytes<'a>,
    /// The Apache handler that was selected, such as `wsgi-script`.
    pub request_handler: Bytes<'a>,
    /// Path of the handler script; empty unless the request goes to one.
    pub handler_script: Bytes<'a>,
    /// `SCRIPT_NAME` before a trusted proxy's header replaced it.
    pub script_name: Bytes<'a>,
    /// `PATH_INFO` before a trusted proxy's header replaced it.
    pub path_info: Bytes<'a>,
    /// The mount point that a trusted proxy named.
    pub mount_point: Bytes<'a>,
}

tagged!(Request<'_>);

// SAFETY: it is plain data; `request_rec` is an address that is passed on, not followed.
unsafe impl Sync for RequestFacts<'_> {}

impl<'a> RequestFacts<'a> {
    /// Returns the value of a CGI variable.
    #[must_use]
    #[inline]
    pub fn variable(&self, cgi: Cgi) -> Bytes<'a> {
        self.cgi[cgi as usize]
    }

    /// Returns whether `bit` of [`flag`] is set.
    #[must_use]
    #[inline]
    pub const fn has_flag(&self, bit: u32) -> bool {
        self.flags & bit != 0
    }
}

/// Bits of [`RequestFacts::flags`].
pub mod flag {
    /// `wsgi.url_scheme` is `https`.
    pub const HTTPS: u32 = 1;
    /// Compare the script's modification time, and ask its `reload_required`.
    pub const SCRIPT_RELOADING: u32 = 1 << 1;
    /// A callable that is missing from the script is the server's failure (500), not a missing page
    /// (404).
    pub const CALLABLE_REQUIRED: u32 = 1 << 2;
    /// The request does not count as activity of the process (`WSGIIgnoreActivity`).
    pub const IGNORE_ACTIVITY: u32 = 1 << 3;
    /// The connection uses TLS (`mod_ssl.is_https()`).
    pub const TLS: u32 = 1 << 4;
    /// All of the body has been read: [`Serve::seek`](crate::Serve::seek) works.
    pub const SEEKABLE_BODY: u32 = 1 << 5;
    /// Test hook: panic when a daemon process reads the request's body, or sends a block.
    pub const DEBUG_PANIC_EXCHANGE: u32 = 1 << 30;
    /// Test hook: panic when Python calls back while the request runs.
    pub const DEBUG_PANIC: u32 = 1 << 31;
}

/// The values of [`WsgiReply::outcome`](crate::WsgiReply::outcome).
///
/// A value from 400 on is an HTTP status: nothing was sent, and the server answers with its own
/// page.
pub mod outcome {
    /// The response was given whole; the server ends it (if [`write::LAST`](crate::write::LAST) has
    /// not).
    pub const COMPLETE: u32 = 0;
    /// The response was begun and cannot be completed: the client must be able to tell.
    pub const ABORTED: u32 = 1;
}

/// A checked outcome of a request: see [`mod@outcome`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// See [`outcome::COMPLETE`].
    Complete,
    /// See [`outcome::ABORTED`].
    Aborted,
    /// The server answers with its own page of this status, 400 to 599.
    Failed(u16),
}

impl Outcome {
    /// Parses an outcome. Returns `None` if `value` is none.
    #[must_use]
    pub fn parse(value: u32) -> Option<Self> {
        match (value, u16::try_from(value)) {
            (outcome::COMPLETE, _) => Some(Self::Complete),
            (outcome::ABORTED, _) => Some(Self::Aborted),
            (_, Ok(status @ 400..=599)) => Some(Self::Failed(status)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_few() {
        assert_eq!([0, 1].map(Outcome::parse), [Some(Outcome::Complete), Some(Outcome::Aborted)]);
        assert_eq!([400, 599].map(Outcome::parse), [Some(Outcome::Failed(400)), Some(Outcome::Failed(599))]);
        for value in [2, 100, 101, 200, 302, 399, 600, 65_536 + 500, u32::MAX] {
            assert_eq!(Outcome::parse(value), None, "{value}");
        }
    }

    #[test]
    fn cgi_slots_are_in_order() {
        for (slot, variable) in Cgi::ALL.iter().enumerate() {
            assert_eq!(*variable as usize, slot);
        }
    }

    #[test]
    fn readers_of_cgi_variables_are_recognized() {
        for variable in Cgi::ALL {
            assert_eq!(variable.c_key().to_bytes(), variable.key().as_bytes());
            assert!(wsgi_core::environment_readers::may_be_published(variable.key().as_bytes()));
        }
    }
}
