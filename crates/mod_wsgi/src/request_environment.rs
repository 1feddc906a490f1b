//! The CGI variables of a request in Apache's own environment of it (`subprocess_env`), where log
//! formats, headers and documents for errors look for them.
//!
//! They are put there before the application runs if anything may read them
//! ([`wsgi_core::environment_readers`]), otherwise only when the request ends with an error or an
//! internal redirect, since Apache then passes them on as `REDIRECT_*`. That may also happen while
//! the request runs, if a filter fails.

use std::cell::Cell;

use bridge::{Bytes, Cgi, Field, RequestFacts};
use httpd::{Key, Request};
use wsgi_core::environment_readers::{HEADERS_FILTER, is_harmless_filter};
use wsgi_core::headers;

use crate::child;
use crate::request_facts::{FactsSource, Groups, redirect_variables};

/// The variables of a request, which can be published once.
pub(crate) struct RequestEnvironment<'a> {
    pub(crate) request: &'a Request,
    pub(crate) source: &'a FactsSource<'a>,
    pub(crate) names: Names<'a>,
    is_published: Cell<bool>,
}

/// The variables of this module.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) groups: Groups<'a>,
    pub(crate) callable_object: &'a [u8],
    pub(crate) handler_script: &'a [u8],
    pub(crate) script_name: &'a [u8],
    pub(crate) path_info: &'a [u8],
}

impl<'a> RequestEnvironment<'a> {
    /// Publishes the variables if anything may read them while the request runs.
    pub(crate) fn new(
        request: &'a Request,
        source: &'a FactsSource<'a>,
        names: Names<'a>,
        facts: &RequestFacts<'_>,
    ) -> Self {
        let environment = Self { request, source, names, is_published: Cell::new(false) };
        if is_read(request) {
            environment.is_published.set(true);
            environment.write(&facts.cgi, facts.headers.as_slice());
        }
        environment
    }

    /// Puts the variables into Apache's environment, for whatever comes after this module.
    pub(crate) fn publish(&self) {
        if !self.is_published.replace(true) {
            self.write(&self.source.cgi_variables(), self.source.headers());
        }
    }

    /// Puts the variables into Apache's environment when a filter has the request redirected, to the
    /// document for an error.
    pub(crate) fn publish_for_redirect(&self) {
        let table = self.request.subprocess_env();
        // The document is requested by GET: the method of the request is already noted there.
        let noted = table.value(c"REQUEST_METHOD");
        self.publish();
        if let Some(method) = noted {
            // It has come from there, as a C string.
            let _ = table.set(b"REQUEST_METHOD", method);
        }
    }

    fn write<'e>(&'e self, cgi: &'e [Bytes<'e>], headers: &'e [Field<'e>]) {
        let Self { request, source, names, .. } = self;
        let table = request.subprocess_env();
        match source.decided_https() {
            Some(true) => table.set_static(c"HTTPS", c"1"),
            Some(false) => table.unset(c"HTTPS"),
            None => {}
        }
        let pool = request.pool();
        let mut entries = Vec::with_capacity(headers.len() + cgi.len() + OWN_VARIABLES);
        let mut key = Vec::new();
        for field in headers {
            headers::environ_key(field.name.or_empty(), &mut key);
            entries.push((Key::Copied(pool.copy(&key)), field.value.or_empty()));
        }
        let mut set =
            |key, value: Option<&'e [u8]>| entries.extend(value.map(|value| (Key::Static(key), value)));
        for (variable, value) in Cgi::ALL.iter().zip(cgi) {
            set(variable.c_key(), value.get());
        }
        let connection = request.connection();
        set(c"mod_wsgi.script_name", Some(names.script_name));
        set(c"mod_wsgi.path_info", Some(names.path_info));
        set(c"mod_wsgi.mount_point", source.mount_point());
        set(c"mod_wsgi.process_group", Some(names.groups.process_group));
        set(c"mod_wsgi.application_group", Some(names.groups.application_group));
        set(c"mod_wsgi.callable_object", Some(names.callable_object));
        set(c"mod_wsgi.request_handler", request.handler());
        set(c"mod_wsgi.handler_script", Some(names.handler_script));
        set(c"mod_wsgi.listener_host", Some(connection.listener_host()));
        set(c"mod_wsgi.listener_port", Some(pool.decimal(u64::from(connection.listener_port()))));
        set(c"mod_wsgi.server_pid", Some(pool.decimal(u64::from(child::process_id()))));
        set(c"mod_wsgi.request_id", request.log_id());
        set(c"mod_wsgi.connection_id", connection.log_id());
        redirect_variables(request, |key, value| set(key, Some(value)));
        // A value with a NUL byte would end there as a C string. None gets that far: they come from
        // C strings.
        let _ = table.set_all(&entries);
    }
}

/// The most variables besides those of CGI and the headers.
const OWN_VARIABLES: usize = 16;

/// Returns whether anything may read the variables before the handler has done its work.
fn is_read(request: &Request) -> bool {
    let readers = child::environment_readers();
    let reads = |filter: &[u8]| {
        let is_headers = filter.eq_ignore_ascii_case(HEADERS_FILTER);
        if is_headers { readers.headers } else { !is_harmless_filter(filter) }
    };
    readers.any || request.content_filters().any(reads)
}
