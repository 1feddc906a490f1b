//! The environ of a question. It is smaller than that of an application, except for a dispatch
//! script.

use std::ptr::NonNull;

use bridge::{Cgi, Topic, flag};
use python::{Object, Py, Result};

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

/// Returns whether a variable is in the template of questions about access and users.
const fn is_in_template(variable: Cgi) -> bool {
    is_about_client(variable) && environ::is_always_present(variable)
}

const fn is_path(variable: Cgi) -> bool {
    matches!(variable, Cgi::DocumentRoot | Cgi::ScriptFilename)
}

/// Returns whether a value is that of the last question.
fn is_last(variable: Cgi, value: &[u8], last: &Option<Object>) -> bool {
    // Only ASCII paths can be compared with their decoded form in the file system's encoding.
    let is_comparable = !is_path(variable) || value.is_ascii();
    last.as_ref().is_some_and(|last| last.as_latin1() == Some(value)) && is_comparable
}

impl QuestionCall<'_> {
    /// Builds the environ.
    pub(super) fn environ(&self, errors: &Object) -> Result<Object> {
        // The template of one has other keys, whose values the other would not bring up to date.
        let cache = match self.topic {
            Topic::Route => &self.thread.route_environ,
            _ => &self.thread.guard_environ,
        };
        cache.with(|cache| self.environ_with(cache, errors))
    }

    fn environ_with(&self, cache: &mut CachedEnviron, errors: &Object) -> Result<Object> {
        let (py, state, facts) = (self.py, self.state, &self.question.facts);
        let is_route = self.topic == Topic::Route;
        let environ = if is_route { py.dict()? } else { self.copy_of_template(cache)? };
        for variable in facts.variables.as_slice() {
            let key = py.latin1(variable.name.or_empty())?;
            let value = variable.value.get().map_or_else(|| Ok(py.none()), |value| py.latin1(value))?;
            environ.dict_set(&key, &value)?;
        }
        environ::add_headers(py, cache, facts, &environ)?;
        let is_other = |variable| is_about_client(variable) && !is_in_template(variable);
        for &variable in Cgi::ALL.iter().filter(|variable| is_route || is_other(**variable)) {
            let Some(value) = facts.variable(variable).get() else { continue };
            let last = &mut cache.cgi[variable as usize];
            let value = self.cgi_value(variable, value, last)?;
            environ.dict_set(state.names.cgi[variable as usize].get(py), &value)?;
        }
        let names = &state.names;
        if is_route {
            self.add_items_of_interpreter(&environ, &[&names.process_group, &names.application_group])?;
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

    /// Returns the keys that every environ about clients and users has: a copy of the thread's
    /// template, which is brought up to date.
    fn copy_of_template(&self, cache: &mut CachedEnviron) -> Result<Object> {
        let (py, state, facts) = (self.py, self.state, &self.question.facts);
        let template = match &cache.template {
            Some(template) => template.clone(),
            None => {
                let (template, names) = (py.dict()?, &state.names);
                let items =
                    [&names.process_group, &names.application_group, &names.apache_version, &names.version];
                self.add_items_of_interpreter(&template, &items)?;
                cache.template.insert(template).clone()
            }
        };
        // A value that is too long to be kept, or is not there, is none of the template's.
        let mut others = Vec::new();
        for &variable in Cgi::ALL.iter().filter(|variable| is_in_template(**variable)) {
            let (key, last) = (state.names.cgi[variable as usize].get(py), &mut cache.cgi[variable as usize]);
            match facts.variable(variable).get() {
                Some(value) if is_last(variable, value, last) => {}
                Some(value) if value.len() <= LONGEST_CACHED => {
                    let made = self.make(variable, value)?;
                    template.dict_set(key, &made)?;
                    *last = Some(made);
                }
                Some(value) => others.push((key, Some(self.make(variable, value)?))),
                None => others.push((key, None)),
            }
        }
        let environ = template.dict_copy()?;
        for (key, value) in others {
            match value {
                Some(value) => environ.dict_set(key, &value)?,
                None => _ = environ.dict_remove(key)?,
            }
        }
        Ok(environ)
    }

    /// Adds what every environ of the interpreter has under these names.
    fn add_items_of_interpreter(&self, environ: &Object, names: &[&Py]) -> Result<()> {
        for name in names {
            let name = name.get(self.py);
            if let Some(value) = self.state.environ.get(self.py).dict_get(name)? {
                environ.dict_set(name, &value)?;
            }
        }
        Ok(())
    }

    /// Returns the value of a variable: `last`, that of the last question, if it is the same.
    fn cgi_value(&self, variable: Cgi, value: &[u8], last: &mut Option<Object>) -> Result<Object> {
        if let Some(last) = last.as_ref().filter(|_| is_last(variable, value, last)) {
            return Ok(last.clone());
        }
        let made = self.make(variable, value)?;
        *last = (value.len() <= LONGEST_CACHED).then(|| made.clone());
        Ok(made)
    }

    fn make(&self, variable: Cgi, value: &[u8]) -> Result<Object> {
        if is_path(variable) { self.py.path(value) } else { self.py.latin1(value) }
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
