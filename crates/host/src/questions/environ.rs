//! The environ of a question. It is smaller than that of an application, except for a dispatch
//! script.

use std::ptr::NonNull;

use bridge::{Cgi, Topic, flag};
use python::{Object, Result};

use super::QuestionCall;
use super::tls::{IS_HTTPS, TlsLookup, VAR_LOOKUP};

/// The items of every environ of the interpreter that questions have, too; a dispatch script only
/// the first two.
const OF_INTERPRETER: [&str; 4] =
    ["mod_wsgi.process_group", "mod_wsgi.application_group", "apache.version", "mod_wsgi.version"];

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
        let (py, state, facts) = (self.py, self.state, &self.question.facts);
        let environ = py.dict()?;
        for variable in facts.variables.as_slice() {
            let key = py.latin1(variable.name.or_empty())?;
            let value = variable.value.get().map_or_else(|| Ok(py.none()), |value| py.latin1(value))?;
            environ.dict_set(&key, &value)?;
        }
        let mut key = Vec::new();
        for header in facts.headers.as_slice() {
            wsgi_core::headers::environ_key(header.name.or_empty(), &mut key);
            environ.dict_set(&py.latin1(&key)?, &py.latin1(header.value.or_empty())?)?;
        }
        let is_route = self.topic == Topic::Route;
        for &variable in Cgi::ALL.iter().filter(|variable| is_route || is_about_client(**variable)) {
            let Some(value) = facts.variable(variable).get() else { continue };
            let is_path = matches!(variable, Cgi::DocumentRoot | Cgi::ScriptFilename);
            let value = if is_path { py.path(value)? } else { py.latin1(value)? };
            environ.dict_set(state.names.cgi[variable as usize].get(py), &value)?;
        }
        for name in &OF_INTERPRETER[..if is_route { 2 } else { 4 }] {
            let name = py.name(name)?;
            if let Some(value) = state.environ.get(py).dict_get(&name)? {
                environ.dict_set(&name, &value)?;
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
        for (key, method) in [("mod_ssl.is_https", IS_HTTPS), ("mod_ssl.var_lookup", VAR_LOOKUP)] {
            environ.dict_set(&py.name(key)?, &lookups.bound(py, &lookup, method)?)?;
        }
        Ok(())
    }
}
