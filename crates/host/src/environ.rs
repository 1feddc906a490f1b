//! The WSGI environ of a request.

use bridge::{Cgi, Request, flag};
use python::{Object, Python, Result};

use crate::process;
use crate::state::{Header, State, Sticky, Thread};

/// How many header and variable names a thread remembers. Clients choose header names, so there is a limit.
const REMEMBERED_NAMES: usize = 512;

/// The longest value that a thread keeps for the case that the next request has the same.
const REMEMBERED_VALUE: usize = 1024;

/// Whether a variable is in every environ.
pub(crate) const fn is_always_present(variable: Cgi) -> bool {
    !matches!(
        variable,
        Cgi::ServerAdmin | Cgi::ContentType | Cgi::ContentLength | Cgi::RemoteUser | Cgi::AuthType
    )
}

/// Builds the environ. `application_start` is in seconds since the epoch.
pub(crate) fn build(
    py: Python<'_>,
    state: &State,
    thread: &Thread,
    request: &Request<'_>,
    (input, errors, id): (&Object, &Object, Option<&Object>),
    application_start: f64,
) -> Result<Object> {
    let environ = state.environ.get(py).dict_copy()?;
    add_variables(py, state, thread, request, &environ)?;
    add_headers(py, thread, request, &environ)?;
    add_cgi(py, state, thread, request, &environ)?;
    add_own(py, state, thread, request, &environ, application_start)?;
    let names = &state.names;
    let scheme = if request.has(flag::HTTPS) { &names.https } else { &names.http };
    environ.dict_set(names.url_scheme.get(py), scheme.get(py))?;
    environ.dict_set(names.input.get(py), input)?;
    environ.dict_set(names.errors.get(py), errors)?;
    if let Some(id) = id {
        environ.dict_set(names.request_id.get(py), id)?;
    }
    Ok(environ)
}

fn add_variables(
    py: Python<'_>,
    state: &State,
    thread: &Thread,
    request: &Request<'_>,
    environ: &Object,
) -> Result<()> {
    for variable in request.variables.as_slice() {
        let name = variable.name.or_empty();
        let known = thread.variables.borrow().get(name).cloned();
        let key = match known {
            Some(key) => key,
            None => {
                let key = py.latin1(name)?;
                let mut variables = thread.variables.borrow_mut();
                if variables.len() < REMEMBERED_NAMES {
                    variables.insert(name.into(), key.clone());
                }
                key
            }
        };
        // The constant keys are the adapter's, whatever the configuration says.
        if name.contains(&b'.') && state.environ.get(py).dict_get(&key)?.is_some() {
            continue;
        }
        match variable.value.get() {
            Some(value) => environ.dict_set(&key, &py.latin1(value)?)?,
            None => environ.dict_set(&key, &py.none())?,
        }
    }
    Ok(())
}

fn add_headers(py: Python<'_>, thread: &Thread, request: &Request<'_>, environ: &Object) -> Result<()> {
    let mut headers = thread.headers.borrow_mut();
    for header in request.headers.as_slice() {
        let (name, value) = (header.name.or_empty(), header.value.or_empty());
        if let Some(Header { key, last }) = headers.get_mut(name) {
            let value = remembered(last, value, || py.latin1(value))?;
            environ.dict_set(key, &value)?;
        } else {
            let mut key = Vec::new();
            wsgi_core::headers::environ_key(name, &mut key);
            let key = py.latin1(&key)?;
            environ.dict_set(&key, &py.latin1(value)?)?;
            if headers.len() < REMEMBERED_NAMES {
                headers.insert(name.into(), Header { key, last: None });
            }
        }
    }
    Ok(())
}

fn add_cgi(
    py: Python<'_>,
    state: &State,
    thread: &Thread,
    request: &Request<'_>,
    environ: &Object,
) -> Result<()> {
    let mut last = thread.cgi.borrow_mut();
    for variable in Cgi::ALL {
        let slot = *variable as usize;
        let key = state.names.cgi[slot].get(py);
        match request.cgi[slot].get() {
            Some(value) if matches!(variable, Cgi::DocumentRoot | Cgi::ScriptFilename) => {
                // Only for ASCII is the file system's encoding sure to be comparable.
                let value = if value.is_ascii() {
                    remembered(&mut last[slot], value, || py.path(value))?
                } else {
                    py.path(value)?
                };
                environ.dict_set(key, &value)?;
            }
            Some(value) => {
                let value = remembered(&mut last[slot], value, || py.latin1(value))?;
                environ.dict_set(key, &value)?;
            }
            // The template has a place for it.
            None if is_always_present(*variable) => drop(environ.dict_remove(key)?),
            None => {}
        }
    }
    Ok(())
}

/// The keys of mod_wsgi itself that differ between requests.
fn add_own(
    py: Python<'_>,
    state: &State,
    thread: &Thread,
    request: &Request<'_>,
    environ: &Object,
    application_start: f64,
) -> Result<()> {
    let names = &state.names;
    let mut sticky = thread.sticky.borrow_mut();
    let mut pid = [0; 10];
    let pid = decimal(request.server_pid, &mut pid);
    let texts = [
        (Sticky::CallableObject, &names.callable_object, request.callable_object.or_empty()),
        (Sticky::RequestHandler, &names.request_handler, request.request_handler.or_empty()),
        (Sticky::HandlerScript, &names.handler_script, request.handler_script.or_empty()),
        (Sticky::ScriptName, &names.script_name, request.script_name.or_empty()),
        (Sticky::PathInfo, &names.path_info, request.path_info.or_empty()),
        (Sticky::ListenerHost, &names.listener_host, request.listener_host.or_empty()),
        (Sticky::ListenerPort, &names.listener_port, request.listener_port.or_empty()),
        (Sticky::ServerPid, &names.server_pid, pid),
    ];
    for (place, key, value) in texts {
        let value = remembered(&mut sticky[place as usize], value, || py.latin1(value))?;
        environ.dict_set(key.get(py), &value)?;
    }
    let optional = [(&names.mount_point, request.mount_point), (&names.connection_id, request.connection_id)];
    for (key, value) in optional {
        if let Some(value) = value.get() {
            environ.dict_set(key.get(py), &py.latin1(value)?)?;
        }
    }
    let times = [
        (&names.request_start, seconds(request.request_start)),
        (&names.queue_start, seconds(request.queue_start)),
        (&names.daemon_start, seconds(request.daemon_start)),
        (&names.application_start, application_start),
    ];
    for (key, value) in times {
        environ.dict_set(key.get(py), &py.float(value)?)?;
    }
    let thread_id = process::process().map_or(0, process::thread_id);
    environ.dict_set(names.thread_id.get(py), &py.int(thread_id.into())?)?;
    if let Some(request_rec) = std::ptr::NonNull::new(request.request_rec) {
        environ.dict_set(names.request_rec.get(py), &py.capsule(request_rec)?)?;
    }
    Ok(())
}

/// The last value again if it is the same, else a new one.
#[inline]
fn remembered(
    last: &mut Option<Object>,
    value: &[u8],
    make: impl FnOnce() -> Result<Object>,
) -> Result<Object> {
    if let Some(last) = last.as_ref().filter(|last| last.as_latin1() == Some(value)) {
        return Ok(last.clone());
    }
    let made = make()?;
    if value.len() <= REMEMBERED_VALUE {
        *last = Some(made.clone());
    }
    Ok(made)
}

/// Microseconds as seconds.
pub(crate) fn seconds(microseconds: i64) -> f64 {
    microseconds as f64 / 1_000_000.0
}

/// The decimal digits of `number`.
fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}
