//! The state of an Apache child, from its start to its end.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use httpd::{Child, Server};
use wsgi_core::environment_readers::{Readers, Survey};

/// The facts that a child keeps about itself.
struct ChildFacts {
    server: &'static Server,
    environment: HashMap<OsString, OsString>,
    process_id: u32,
    environment_readers: Readers,
}

// Set in a child only: the parent's statics survive its reading of the configuration again.
static CHILD: OnceLock<ChildFacts> = OnceLock::new();

/// Notes the facts of a child that has just started, before any application runs in it.
pub(crate) fn init(child: &Child<'_>) {
    CHILD.get_or_init(|| ChildFacts {
        server: child.server(),
        environment: std::env::vars_os().collect(),
        process_id: std::process::id(),
        environment_readers: readers(child),
    });
}

fn readers(child: &Child<'_>) -> Readers {
    let mut survey = Survey::default();
    child.modules().for_each(|module| survey.module(module));
    child.visit_directives(|name, arguments| survey.directive(name, arguments));
    survey.readers()
}

/// Returns the main server, or `None` if this process is not a child.
pub(crate) fn server() -> Option<&'static Server> {
    CHILD.get().map(|child| child.server)
}

/// Returns the id of this process, or 0 if it is not a child.
pub(crate) fn process_id() -> u32 {
    CHILD.get().map_or(0, |child| child.process_id)
}

/// Returns what may read the environments of requests.
pub(crate) fn environment_readers() -> Readers {
    CHILD.get().map_or(Readers::UNKNOWN, |child| child.environment_readers)
}

/// Returns a variable of the environment that the child was started with. (Applications change the
/// environment through Python, in any thread: it cannot be read safely later.)
pub(crate) fn environment_variable(name: &[u8]) -> Option<&'static OsStr> {
    CHILD.get()?.environment.get(OsStr::from_bytes(name)).map(OsString::as_os_str)
}
