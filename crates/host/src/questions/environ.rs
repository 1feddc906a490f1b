//! The environ of a question. It is smaller than that of an application, except for a dispatch
//! script.

use std::ptr::NonNull;

use bridge::{Cgi, Topic, flag};
use python::{Object, Result};

use super::QuestionCall;
use super::tls::{IS_HTTPS, TlsLookup, VAR_LOOKUP};
use crate::environ;
use crate::environ::cache::{CachedEnviron, LONGEST_CACHED};

/// Returns whether questions about access and users know a variable.
const fn is_about_client(variable: Cgi) -> bool {
    !matches!(
        variable,
        Cgi::ContextPrefix
            | Cgi::ContextDocumentRoot
            | Cgi::RequestScheme
            | Cgi::ScriptFilename
            | Cgi::RemoteUser
            | Cgi::AuthType
    )
}

impl QuestionCall<'_> {
    /// Builds the environ.
    pub(super) fn environ(&self, errors: &Object) -> Result<Object> {
        self.thread.question_environ.with(|cache| self.environ_with(cache, errors))
    }

    fn environ_with(&self, cache: &mut CachedEnviron, errors: &Object) -> Result<Object> {
        let (py, state, facts) = (self.py, self.state, &self.question.facts);
        let environ = py.dict()?;
        for variable in facts.variables.as_slice() {
            let key = py.latin1(variable.name.or_empty())?;
            let value = variable.value.get().map_or_else(|| Ok(py.none()), |value| py.latin1(value))?;
            environ.dict_set(&key, &value)?;
        }
        environ::add_headers(py, cache, facts, &environ)?;
        let is_route = self.topic == Topic::Route;
        for &variable in Cgi::ALL.iter().filter(|variable| is_route || is_about_client(**variable)) {
            let Some(value) = facts.variable(variable).get() else { continue };
            let last = &mut cache.cgi[variable as usize];
            let value = self.cgi_value(variable, value, last)?;
            environ.dict_set(state.names.cgi[variable as usize].get(py), &value)?;
        }
        // The items of every environ of the interpreter; a dispatch script has only the first two.
        let names = &state.names;
        let of_interpreter =
            [&names.process_group, &names.application_group, &names.apache_version, &names.version];
        for name in &of_interpreter[..if is_route { 2 } else { 4 }] {
            let name = name.get(py);
            if let Some(value) = state.environ.get(py).dict_get(name)? {
                environ.dict_set(name, &value)?;
            }
        }
        environ.dict_set(state.names.errors.get(py), errors)?;
        if let Some(request_rec) = NonNull::new(facts.request_rec) {
            environ.dict_set(state.names.request_rec.get(py), &py.capsule(request_rec)?)?;
        }
        if is_route {
            self.add_route(&environ)?
        } else {
            self.add_tls(&environ)?
        }
        Ok(environ)
    }

    /// Returns the value of a variable: `last`, that of the last question, if it is the same.
    fn cgi_value(&self, variable: Cgi, value: &[u8], last: &mut Option<Object>) -> Result<Object> {
        let is_path = matches!(variable, Cgi::DocumentRoot | Cgi::ScriptFilename);
        // Only ASCII paths can be compared with their decoded form in the file system's encoding.
        let is_last = |last: &&Object| last.as_latin1() == Some(value) && (!is_path || value.is_ascii());
        if let Some(last) = last.as_ref().filter(is_last) {
            return Ok(last.clone());
        }
        let made = if is_path { self.py.path(value)? } else { self.py.latin1(value)? };
        *last = (value.len() <= LONGEST_CACHED).then(|| made.clone());
        Ok(made)
    }

    /// Adds what a dispatch script knows beyond that.
    fn add_route(&self, environ: &Object) -> Result<()> {
        let (py, names, facts) = (self.py, &self.state.names, &self.question.facts);
        let route = &self.question.route;
        let pid = facts.server_pid.to_string();
        for (key, value) in [
            (&names.request_handler, route.request_handler),
            (&names.handler_script, route.handler_script),
            (&names.script_name, route.script_name),
            (&names.path_info, route.path_info),
            (&names.mount_point, route.mount_point),
            (&names.listener_host, facts.listener_host),
            (&names.listener_port, facts.listener_port),
            (&names.request_id, facts.request_id),
            (&names.connection_id, facts.connection_id),
            (&names.server_pid, pid.as_str().into()),
        ] {
            if let Some(value) = value.get() {
                environ.dict_set(key.get(py), &py.latin1(value)?)?;
            }
        }
        Ok(())
    }

    fn add_tls(&self, environ: &Object) -> Result<()> {
        let (py, lookups) = (self.py, &self.state.types.tls_lookup);
        let lookup = TlsLookup::new(self.lease, self.question.facts.has_flag(flag::TLS));
        let lookup = lookups.instance(py, lookup)?;
        let names = &self.state.names;
        for (key, method) in [(&names.is_https, IS_HTTPS), (&names.var_lookup, VAR_LOOKUP)] {
            environ.dict_set(key.get(py), &lookups.bound(py, &lookup, method)?)?;
        }
        Ok(())
    }
}
