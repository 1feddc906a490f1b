//! The WSGI environ of a request.
//!
//! Most of it equals that of the thread's last request. So each thread keeps a template with the
//! last values of the keys that every environ has. A request updates it, copies it, and adds the
//! other keys.

pub(crate) mod cache;

use std::ptr::NonNull;

use bridge::{Cgi, Request, RequestFacts, flag};
use python::{Object, Python, Result};

use crate::process;
use crate::state::State;
use crate::time::seconds;
use cache::{CachedEnviron, Header, LONGEST_CACHED, OWN_TEXTS};

/// Returns whether a variable is in every environ.
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
    cache: &cache::EnvironCache,
    request: &Request<'_>,
    (input, errors, id): (&Object, &Object, Option<&Object>),
    application_start: f64,
) -> Result<Object> {
    cache.with(|cache| build_with(py, state, cache, request, (input, errors, id), application_start))
}

fn build_with(
    py: Python<'_>,
    state: &State,
    cache: &mut CachedEnviron,
    request: &Request<'_>,
    (input, errors, id): (&Object, &Object, Option<&Object>),
    application_start: f64,
) -> Result<Object> {
    let template = match &cache.template {
        Some(template) => template.clone(),
        None => cache.template.insert(template(py, state)?).clone(),
    };
    let facts = &request.facts;
    let long = update(py, state, cache, request, &template)?;
    let environ = template.dict_copy()?;
    for (key, value) in &long {
        environ.dict_set(key, value)?;
    }
    add_variables(py, cache, facts, &template, &environ)?;
    add_headers(py, cache, facts, &environ)?;
    add_optional(py, state, request, &environ)?;

    let names = &state.names;
    environ.dict_set(names.input.get(py), input)?;
    environ.dict_set(names.errors.get(py), errors)?;
    if let Some(id) = id {
        environ.dict_set(names.request_id.get(py), id)?;
    }
    environ.dict_set(names.request_start.get(py), &py.float(seconds(facts.request_start))?)?;
    environ.dict_set(names.application_start.get(py), &py.float(application_start)?)?;
    Ok(environ)
}

/// Returns a thread's template, before its first request.
fn template(py: Python<'_>, state: &State) -> Result<Object> {
    let names = &state.names;
    let template = state.environ.get(py).dict_copy()?;
    let thread_id = process::thread_id(state.process);
    template.dict_set(names.thread_id.get(py), &py.int(thread_id.into())?)?;
    template.dict_set(names.url_scheme.get(py), names.http.get(py))?;
    for key in [&names.queue_start, &names.daemon_start] {
        template.dict_set(key.get(py), &py.float(0.0)?)?;
    }
    Ok(template)
}

/// Updates the template for this request. Returns the values that are too long to be cached, with
/// their keys.
fn update(
    py: Python<'_>,
    state: &State,
    cache: &mut CachedEnviron,
    request: &Request<'_>,
    template: &Object,
) -> Result<Vec<(Object, Object)>> {
    let mut long = Vec::new();
    let facts = &request.facts;
    let names = &state.names;
    let mut set = |last: &mut Option<Object>, key: &Object, value: &[u8], is_path: bool| {
        // Only ASCII paths can be compared with their decoded form in the file system's encoding.
        let is_last = last.as_ref().is_some_and(|last| last.as_latin1() == Some(value));
        if is_last && (!is_path || value.is_ascii()) {
            return Ok(());
        }
        let object = if is_path { py.path(value)? } else { py.latin1(value)? };
        if value.len() > LONGEST_CACHED {
            long.push((key.clone(), object));
            return Ok(());
        }
        template.dict_set(key, &object)?;
        *last = Some(object);
        Ok(())
    };
    for variable in Cgi::ALL.iter().filter(|variable| is_always_present(**variable)) {
        let slot = *variable as usize;
        let is_path = matches!(variable, Cgi::DocumentRoot | Cgi::ScriptFilename);
        let value = facts.cgi[slot].or_empty();
        set(&mut cache.cgi[slot], names.cgi[slot].get(py), value, is_path)?;
    }
    let mut pid = [0; 10];
    let own: [_; OWN_TEXTS] = [
        (&names.callable_object, request.callable_object.or_empty()),
        (&names.request_handler, request.request_handler.or_empty()),
        (&names.handler_script, request.handler_script.or_empty()),
        (&names.script_name, request.script_name.or_empty()),
        (&names.path_info, request.path_info.or_empty()),
        (&names.listener_host, facts.listener_host.or_empty()),
        (&names.listener_port, facts.listener_port.or_empty()),
        (&names.server_pid, decimal(facts.server_pid, &mut pid)),
    ];
    for (last, (key, value)) in cache.own.iter_mut().zip(own) {
        set(last, key.get(py), value, false)?;
    }
    let times = [(&names.queue_start, facts.queue_start), (&names.daemon_start, facts.daemon_start)];
    for (last, (key, time)) in cache.times.iter_mut().zip(times) {
        if *last != time {
            template.dict_set(key.get(py), &py.float(seconds(time))?)?;
            *last = time;
        }
    }
    let https = facts.has_flag(flag::HTTPS);
    if cache.https != https {
        let scheme = if https { &names.https } else { &names.http };
        template.dict_set(names.url_scheme.get(py), scheme.get(py))?;
        cache.https = https;
    }
    Ok(long)
}

/// Adds the variables of the configuration and of other modules, which cannot replace keys of the
/// template.
fn add_variables(
    py: Python<'_>,
    cache: &mut CachedEnviron,
    facts: &RequestFacts<'_>,
    template: &Object,
    environ: &Object,
) -> Result<()> {
    for variable in facts.variables.as_slice() {
        let name = variable.name.or_empty();
        let known = match cache.variables.young(name) {
            Some(key) => Some(key),
            None => cache.variables.old(name),
        };
        let key = match known {
            Some(key) => key.clone(),
            None => {
                let key = Some(py.latin1(name)?);
                let key = if key.as_ref().is_some_and(|key| is_in(template, key)) { None } else { key };
                cache.variables.insert(name, key.clone());
                key
            }
        };
        let Some(key) = key else { continue };
        match variable.value.get() {
            Some(value) => environ.dict_set(&key, &py.latin1(value)?)?,
            None => environ.dict_set(&key, &py.none())?,
        }
    }
    Ok(())
}

fn is_in(template: &Object, key: &Object) -> bool {
    template
        .dict_get(key)
        .unwrap_or_else(|raised| {
            raised.clear();
            None
        })
        .is_some()
}

/// Adds the request headers.
pub(crate) fn add_headers(
    py: Python<'_>,
    cache: &mut CachedEnviron,
    facts: &RequestFacts<'_>,
    environ: &Object,
) -> Result<()> {
    for header in facts.headers.as_slice() {
        let (name, value) = (header.name.or_empty(), header.value.or_empty());
        let known = match cache.headers.young(name) {
            Some(header) => Some(header),
            None => cache.headers.old(name),
        };
        if let Some(Header { key, last }) = known {
            match last.as_ref().filter(|last| last.as_latin1() == Some(value)) {
                Some(last) => environ.dict_set(key, last)?,
                None => {
                    let made = py.latin1(value)?;
                    environ.dict_set(key, &made)?;
                    let kept = if value.len() <= LONGEST_CACHED { value.len() } else { 0 };
                    *last = (kept > 0).then_some(made);
                    cache.headers.set_size(name, kept);
                }
            }
        } else {
            let mut key = Vec::new();
            wsgi_core::headers::environ_key(name, &mut key);
            let key = py.latin1(&key)?;
            environ.dict_set(&key, &py.latin1(value)?)?;
            cache.headers.insert(name, Header { key, last: None });
        }
    }
    Ok(())
}

/// Adds the keys that not every environ has.
fn add_optional(py: Python<'_>, state: &State, request: &Request<'_>, environ: &Object) -> Result<()> {
    let facts = &request.facts;
    for variable in Cgi::ALL.iter().filter(|variable| !is_always_present(**variable)) {
        if let Some(value) = facts.variable(*variable).get() {
            environ.dict_set(state.names.cgi[*variable as usize].get(py), &py.latin1(value)?)?;
        }
    }
    let names = &state.names;
    // Files outside of the process's jail have no name there.
    if facts.variable(Cgi::DocumentRoot).get().is_none() {
        environ.dict_remove(names.cgi[Cgi::DocumentRoot as usize].get(py))?;
    }
    for (key, value) in
        [(&names.mount_point, request.mount_point), (&names.connection_id, facts.connection_id)]
    {
        if let Some(value) = value.get() {
            environ.dict_set(key.get(py), &py.latin1(value)?)?;
        }
    }
    if let Some(request_rec) = NonNull::new(facts.request_rec) {
        environ.dict_set(names.request_rec.get(py), &py.capsule(request_rec)?)?;
    }
    Ok(())
}

/// Returns the decimal digits of `number`.
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
