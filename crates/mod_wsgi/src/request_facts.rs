//! The facts of a request that any hook can pass to Python, taken from Apache's structures.
//!
//! Apache's own `ap_add_common_vars` and `ap_add_cgi_vars` first put them into a table, with a copy
//! of each key and value. Leaving that out saves much time. Their rules are followed (section 3 of
//! the Python contract).

use std::ffi::CStr;

use bridge::{Bytes, Cgi, Field, List, RequestFacts, flag};
use httpd::Request;
use wsgi_core::config::{Effective, MapHead};
use wsgi_core::headers::{self, Credentials};
use wsgi_core::proxies::Overrides;

use crate::{child, log};

/// The source of the facts of a request. It knows neither routes nor the WSGI environ, so that a
/// hook of any phase can make one.
pub(crate) struct FactsSource<'r> {
    request: &'r Request,
    settings: &'r Effective<'r>,
    /// The script that is configured; `None` if it is the file that the request is mapped to.
    configured_script: Option<&'r [u8]>,
    script_name: &'r [u8],
    path_info: &'r [u8],
    overrides: Overrides<'r>,
    audience: Audience,
}

/// The recipient of the facts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// An application, or a script that chooses one.
    Application,
    /// A script that controls access. It sees the client as the server does, and no credentials.
    Guard,
}

/// The groups that a request belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Groups<'a> {
    pub(crate) process_group: &'a [u8],
    pub(crate) application_group: &'a [u8],
}

impl<'r> FactsSource<'r> {
    /// Prepares the facts of `request`: removes ambiguous headers from it, and applies those of
    /// trusted proxies.
    pub(crate) fn new(
        request: &'r Request,
        settings: &'r Effective<'r>,
        configured_script: Option<&'r [u8]>,
        script_name: &'r [u8],
        path_info: &'r [u8],
    ) -> Self {
        remove_ambiguous_headers(request);
        let overrides = settings.trusted_headers().map_or_else(Overrides::default, |trusted| {
            let peer = request.useragent_ip().unwrap_or_default();
            trusted.overrides(settings.trusted_proxies(), peer, |header| {
                let name = request.pool().c_string(header.name().as_bytes()).ok()?;
                request.headers_in().value(name)
            })
        });
        let audience = Audience::Application;
        Self { request, settings, configured_script, script_name, path_info, overrides, audience }
    }

    /// Prepares the facts of `request` for a script that controls access to it.
    pub(crate) fn for_guard(
        request: &'r Request,
        settings: &'r Effective<'r>,
        script: &'r [u8],
        script_name: &'r [u8],
        path_info: &'r [u8],
    ) -> Self {
        Self {
            request,
            settings,
            configured_script: Some(script),
            script_name,
            path_info,
            overrides: Overrides::default(),
            audience: Audience::Guard,
        }
    }

    /// Returns the mount point that a trusted proxy has named, or `None` if none has.
    pub(crate) fn mount_point(&self) -> Option<&[u8]> {
        self.overrides.script_name
    }

    /// Returns the facts in the form of the bridge.
    pub(crate) fn facts<'a>(&'a self, groups: Groups<'a>) -> RequestFacts<'a> {
        let request = self.request;
        let connection = request.connection();
        RequestFacts {
            cgi: self.cgi_variables(),
            headers: List::new(self.headers()),
            variables: List::new(self.variables()),
            process_group: Bytes::new(groups.process_group),
            application_group: Bytes::new(groups.application_group),
            script: Bytes::optional(self.configured_script.or_else(|| request.filename())),
            listener_host: Bytes::new(connection.listener_host()),
            listener_port: self.number(connection.listener_port()),
            request_id: Bytes::optional(request.log_id()),
            connection_id: Bytes::optional(connection.log_id()),
            // Apache has looked at the file, unless it is a configured script.
            script_mtime: if self.configured_script.is_some() { 0 } else { request.file_modified() },
            request_start: request.time(),
            queue_start: 0,
            queue_ticks: 0,
            daemon_start: 0,
            daemon_connects: 0,
            daemon_restarts: 0,
            server_pid: child::process_id(),
            log_level: log::level_of_request(request),
            flags: self.flags(),
            request_rec: if self.settings.pass_apache_request() {
                request.as_opaque()
            } else {
                std::ptr::null_mut()
            },
        }
    }

    /// Returns the CGI variables, each in its slot.
    pub(crate) fn cgi_variables<'a>(&'a self) -> [Bytes<'a>; Cgi::ALL.len()] {
        let request = self.request;
        let connection = request.connection();
        let overrides = &self.overrides;
        let headers = request.headers_in();
        let mut cgi = [Bytes::ABSENT; Cgi::ALL.len()];
        let mut set =
            |variable: Cgi, value: Option<&'a [u8]>| cgi[variable as usize] = Bytes::optional(value);
        set(Cgi::ServerSoftware, Some(request.server_banner()));
        set(
            Cgi::ServerName,
            Some(overrides.server_name.unwrap_or_else(|| request.escape_html(request.server_name_for_url()))),
        );
        set(Cgi::ServerAddr, Some(connection.local_ip()));
        set(
            Cgi::ServerPort,
            Some(overrides.server_port.unwrap_or_else(|| self.digits(request.server_port()))),
        );
        set(Cgi::RemoteAddr, overrides.remote_addr.or_else(|| request.useragent_ip()));
        set(Cgi::RemotePort, Some(self.digits(connection.client_port())));
        set(Cgi::DocumentRoot, request.document_root());
        set(Cgi::ContextPrefix, request.context_prefix());
        set(Cgi::ContextDocumentRoot, request.context_document_root());
        set(Cgi::ServerAdmin, request.server().admin());
        set(Cgi::RequestScheme, Some(request.scheme()));
        set(Cgi::ScriptFilename, script_filename(request));
        set(Cgi::ServerProtocol, request.protocol());
        set(Cgi::RequestMethod, Some(self.method()));
        set(Cgi::QueryString, Some(request.query().unwrap_or_default()));
        set(Cgi::RequestUri, Some(request_uri(request)));
        set(Cgi::ScriptName, Some(overrides.script_name.unwrap_or(self.script_name)));
        set(Cgi::PathInfo, Some(self.path_info));
        set(Cgi::ContentType, headers.value(c"Content-Type"));
        set(Cgi::ContentLength, headers.value(c"Content-Length"));
        set(Cgi::RemoteUser, request.user());
        set(Cgi::AuthType, request.auth_type());
        cgi
    }

    /// Returns the method. `HEAD` becomes `GET` if a filter needs the body, so that it treats the
    /// headers as it would for `GET`.
    fn method(&self) -> &'r [u8] {
        let method = self.request.method().unwrap_or_default();
        let as_get = method == b"HEAD"
            && match self.settings.map_head_to_get() {
                MapHead::On => true,
                MapHead::Off => false,
                MapHead::Auto => self.request.has_content_filter(),
            };
        if as_get { b"GET" } else { method }
    }

    /// Returns the headers that become variables, under the client's names.
    pub(crate) fn headers(&self) -> &[Field<'_>] {
        let request = self.request;
        let overrides = &self.overrides;
        let credentials = match self.audience {
            Audience::Application => Credentials {
                cgi_pass_auth: request.cgi_pass_auth(),
                pass_authorization: self.settings.pass_authorization(),
            },
            Audience::Guard => Credentials::default(),
        };
        let mut fields = request.pool().vec(request.headers_in().len() + 1);
        let mut has_host = false;
        for (name, value) in request.headers_in().iter() {
            let name = name.to_bytes();
            if !headers::is_visible(name, credentials) || overrides.withholds(name) {
                continue;
            }
            let value = match (&overrides.http_host, &overrides.forwarded_for) {
                (Some(host), _) if name.eq_ignore_ascii_case(b"host") => {
                    has_host = true;
                    Some(*host)
                }
                (_, Some(client)) if name.eq_ignore_ascii_case(b"x-forwarded-for") => Some(client.as_slice()),
                _ => value,
            };
            fields.push(Field { name: Bytes::new(name), value: Bytes::optional(value) });
        }
        if let Some(host) = overrides.http_host.filter(|_| !has_host) {
            fields.push(Field { name: Bytes::new(b"Host"), value: Bytes::new(host) });
        }
        fields.into_slice()
    }

    fn variables(&self) -> &[Field<'_>] {
        match self.audience {
            Audience::Application => self.all_variables(),
            Audience::Guard => self.guard_variables(),
        }
    }

    /// Returns the variables about the server and the client that only scripts which control access
    /// have.
    fn guard_variables(&self) -> &[Field<'_>] {
        let request = self.request;
        let mut fields = request.pool().vec(2);
        let signature = request.server_signature();
        for (name, value) in [("SERVER_SIGNATURE", Some(signature)), ("REMOTE_HOST", request.client_host())] {
            if let Some(value) = value {
                fields.push(Field { name: Bytes::from(name), value: Bytes::new(value) });
            }
        }
        fields.into_slice()
    }

    fn all_variables(&self) -> &[Field<'_>] {
        let request = self.request;
        let table = request.subprocess_env();
        let mut fields = request.pool().vec(table.len() + REDIRECT_VARIABLES);
        for (name, value) in table.iter() {
            let name = name.to_bytes();
            if !headers::is_hidden_variable(name) {
                fields.push(Field { name: Bytes::new(name), value: Bytes::optional(value) });
            }
        }
        redirect_variables(request, |name, value| {
            fields.push(Field { name: Bytes::new(name.to_bytes()), value: Bytes::new(value) });
        });
        fields.into_slice()
    }

    fn flags(&self) -> u32 {
        let request = self.request;
        let overrides = &self.overrides;
        let said = || request.subprocess_env().value(c"HTTPS").is_some_and(headers::is_https);
        let https = overrides.https.unwrap_or_else(said) || self.is_tls();
        let mut flags = if https { flag::HTTPS } else { 0 };
        if self.settings.script_reloading() {
            flags |= flag::SCRIPT_RELOADING;
        }
        #[cfg(debug_assertions)]
        match self.settings.debug_panic() {
            Some(wsgi_core::config::DebugPanic::Callback) => flags |= flag::DEBUG_PANIC,
            Some(wsgi_core::config::DebugPanic::Exchange) => flags |= flag::DEBUG_PANIC_EXCHANGE,
            _ => {}
        }
        flags
    }

    /// Returns whether the client's connection is encrypted, if no trusted proxy has said anything
    /// about it.
    fn is_tls(&self) -> bool {
        !self.overrides.scheme_decided && self.request.connection().is_tls()
    }

    /// Returns the scheme that Apache's variable `HTTPS` has to say, or `None` if it may stay.
    pub(crate) fn decided_https(&self) -> Option<bool> {
        if self.is_tls() { Some(true) } else { self.overrides.https }
    }

    fn number(&self, number: u16) -> Bytes<'r> {
        Bytes::new(self.digits(number))
    }

    fn digits(&self, number: u16) -> &'r [u8] {
        self.request.pool().decimal(u64::from(number))
    }
}

/// Removes headers such as `X_A`, which in an environ has the same name as `X-A`: a proxy in front
/// may have checked only one of them.
fn remove_ambiguous_headers(request: &Request) {
    let headers = request.headers_in();
    while let Some((name, _)) = headers.iter().find(|(name, _)| !headers::is_plain_name(name.to_bytes())) {
        headers.unset(name);
    }
}

fn script_filename(request: &Request) -> Option<&[u8]> {
    let filename = request.filename()?;
    // mod_proxy_fcgi and mod_rewrite may leave a query after the name, and then set this note.
    if request.notes().value(c"proxy-noquery").is_none() {
        return Some(filename);
    }
    filename.split(|&byte| byte == b'?').next()
}

/// Returns the target of the request line, which internal redirects do not change.
fn request_uri(request: &Request) -> &[u8] {
    if request.cgi_variable_rule(c"REQUEST_URI") == Some(b"current-uri") {
        return request.uri().unwrap_or_default();
    }
    let line = request.request_line().unwrap_or_default();
    let Some(target) = line.splitn(2, |&byte| byte == b' ').nth(1) else { return b"" };
    let target = target.trim_ascii_start();
    target.split(u8::is_ascii_whitespace).next().unwrap_or_default()
}

const REDIRECT_VARIABLES: usize = 3;

/// Passes the variables about the request that this one was redirected from to `set`.
pub(crate) fn redirect_variables<'r>(request: &'r Request, mut set: impl FnMut(&'static CStr, &'r [u8])) {
    let Some(previous) = request.previous() else { return };
    let mut set = |name, value: Option<&'r [u8]>| {
        if let Some(value) = value {
            set(name, value);
        }
    };
    if request.user().is_none() {
        let user =
            std::iter::successors(Some(previous), |request| request.previous()).find_map(Request::user);
        set(c"REDIRECT_REMOTE_USER", user);
    }
    let url = if request.qualifies_redirect_url() { previous.full_url() } else { previous.uri() };
    set(c"REDIRECT_URL", url);
    set(c"REDIRECT_QUERY_STRING", previous.query());
}
