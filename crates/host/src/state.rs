//! The state of each interpreter, and of each thread in it.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use bridge::Cgi;
use python::{Object, Py, Python, Result, Type};

use crate::adapter::Adapter;
use crate::callables::Callables;
use crate::environ::cache::EnvironCache;
use crate::input::{Input, SeekableInput};
use crate::loading::LoadLock;
use crate::locked::Locked;
use crate::log::Log;
use crate::process::Process;
use crate::questions::TlsLookup;
use crate::stream::Stream;
use crate::telemetry::GcWatch;

/// An interpreter with its state.
pub(crate) type Interpreter = python::Interpreter<State>;

/// The state of an interpreter. Its objects belong to that interpreter.
pub(crate) struct State {
    pub(crate) process: &'static Process,
    /// Such as "sub-interpreter 'x' in embedded mode".
    pub(crate) wording: String,
    /// The application group.
    pub(crate) group: Vec<u8>,
    pub(crate) names: Names,
    pub(crate) types: Types,
    pub(crate) helpers: Helpers,
    /// The parts of every environ that are the same for all requests.
    pub(crate) environ: Py,
    /// The locks for the loading of scripts, by module name.
    pub(crate) loading: Locked<HashMap<Vec<u8>, Arc<LoadLock>>>,
    /// Set if telemetry is reported.
    pub(crate) gc: Option<GcWatch>,
}

impl python::State for State {
    type Thread = ThreadState;
}

/// The state of a thread in an interpreter: values that its next request is likely to need again.
#[derive(Default)]
pub(crate) struct ThreadState {
    pub(crate) environ: EnvironCache,
    /// For the environs of questions about clients and users.
    pub(crate) guard_environ: EnvironCache,
    /// For those of questions about routes, which have no template.
    pub(crate) route_environ: EnvironCache,
    /// The paths of the last scripts, and their modules' names.
    pub(crate) script: LastObjects,
    /// The last callables as they are configured, and their names in a module. (The environ has
    /// them in another encoding.)
    pub(crate) callable: LastObjects,
    /// The callables that its requests have found, in a daemon process.
    pub(crate) callables: Callables,
    /// `wsgi.errors` of the last request.
    pub(crate) errors: Cell<Option<ErrorsStream>>,
}

/// The objects that were last made for two texts: a thread may ask a script about each request of
/// an application.
#[derive(Default)]
pub(crate) struct LastObjects(Cell<[Option<Known>; 2]>);

/// A text, and its object.
type Known = (Vec<u8>, Object);

impl LastObjects {
    /// Returns the object for `text`: one that is known, or a new one from `make`.
    pub(crate) fn get(&self, text: &[u8], make: impl FnOnce() -> Result<Object>) -> Result<Object> {
        let [first, second] = self.0.take();
        let is_text = |known: &Option<Known>| known.as_ref().is_some_and(|(known, _)| known == text);
        let (found, other) = if is_text(&first) {
            (first, second)
        } else if is_text(&second) {
            (second, first)
        } else {
            (None, first)
        };
        let (text, object) = match found {
            Some(found) => found,
            None => (text.to_owned(), make()?),
        };
        self.0.set([Some((text, object.clone())), other]);
        Ok(object)
    }
}

/// A `wsgi.errors` object, reused if the application has neither kept nor changed it.
pub(crate) struct ErrorsStream {
    pub(crate) wrapper: Object,
    /// Its `buffer`, a [`Log`].
    pub(crate) buffer: Object,
    pub(crate) stream: Arc<Stream>,
}

/// The Python types that are implemented here.
pub(crate) struct Types {
    pub(crate) adapter: Type<Adapter>,
    pub(crate) input: Type<Input>,
    pub(crate) seekable_input: Type<SeekableInput>,
    pub(crate) log: Arc<Type<Log>>,
    pub(crate) tls_lookup: Type<TlsLookup>,
}

impl Types {
    pub(crate) fn create(py: Python<'_>) -> Result<Self> {
        Ok(Self {
            adapter: Type::create(py)?,
            input: Type::create(py)?,
            seekable_input: Type::create(py)?,
            log: Arc::new(Type::create(py)?),
            tls_lookup: Type::create(py)?,
        })
    }
}

macro_rules! objects {
    ($(#[$doc:meta])* $name:ident { $($field:ident,)* }) => {
        $(#[$doc])*
        pub(crate) struct $name { $(pub(crate) $field: Py,)* }
    };
}

objects! {
    /// The definitions of bootstrap.py, and the classes that requests use.
    Helpers {
        describe,
        publish,
        publish_stopping,
        file_wrapper,
        file_region,
        restore_position,
        event_callbacks,
        active_requests,
        covered_requests,
        cover_request,
        uncover_request,
        request_timeout,
        publish_signal,
        dump_stacks,
        stack_of,
        wind_down,
        threads_left,
        text_io_wrapper,
        encoding,
        replace,
    }
}

macro_rules! names {
    ($($field:ident = $text:literal,)*) => {
        /// Interned names.
        pub(crate) struct Names {
            $(pub(crate) $field: Py,)*
            pub(crate) cgi: Vec<Py>,
        }

        impl Names {
            pub(crate) fn create(py: Python<'_>) -> Result<Self> {
                let cgi = Cgi::ALL.iter().map(|variable| py.name(variable.key()).map(Py::new));
                Ok(Self { $($field: Py::new(py.name($text)?),)* cgi: cgi.collect::<Result<_>>()? })
            }
        }
    };
}

names! {
    dict = "__dict__",
    mtime = "__mtime__",
    reload_required = "reload_required",
    close = "close",
    url_scheme = "wsgi.url_scheme",
    input = "wsgi.input",
    errors = "wsgi.errors",
    callable_object = "mod_wsgi.callable_object",
    request_handler = "mod_wsgi.request_handler",
    handler_script = "mod_wsgi.handler_script",
    script_name = "mod_wsgi.script_name",
    path_info = "mod_wsgi.path_info",
    mount_point = "mod_wsgi.mount_point",
    listener_host = "mod_wsgi.listener_host",
    listener_port = "mod_wsgi.listener_port",
    server_pid = "mod_wsgi.server_pid",
    request_id = "mod_wsgi.request_id",
    connection_id = "mod_wsgi.connection_id",
    thread_id = "mod_wsgi.thread_id",
    request_start = "mod_wsgi.request_start",
    queue_start = "mod_wsgi.queue_start",
    daemon_start = "mod_wsgi.daemon_start",
    application_start = "mod_wsgi.application_start",
    request_rec = "apache.request_rec",
    apache_version = "apache.version",
    version = "mod_wsgi.version",
    process_group = "mod_wsgi.process_group",
    application_group = "mod_wsgi.application_group",
    is_https = "mod_ssl.is_https",
    var_lookup = "mod_ssl.var_lookup",
    http = "http",
    https = "https",
}
