//! The route of a request: its settings and its script.

use httpd::Request;
use wsgi_core::config::{Effective, HandlerScript, ServerConfig};

use crate::{Wsgi, translate};

/// The route of a request to this module.
pub(crate) struct Route<'r> {
    /// The settings in force.
    pub(crate) settings: Effective<'r>,
    /// The handler script, if the request goes to one.
    pub(crate) handler_script: Option<&'r HandlerScript>,
    /// Set if a script alias mapped the request.
    pub(crate) is_aliased: bool,
}

/// Returns the settings of a request, if the module has any in its server.
pub(crate) fn settings(request: &Request) -> Option<Effective<'_>> {
    let server: &ServerConfig = request.server().settings::<Wsgi>()?;
    // Without a directive in any section, the server's settings apply.
    Some(Effective::new(server, request.directory::<Wsgi>().unwrap_or(&server.defaults)))
}

impl<'r> Route<'r> {
    /// Returns the route of `request`, or `None` if its handler is not one of this module's.
    pub(crate) fn of(request: &'r Request) -> Option<Self> {
        let handler = request.handler()?;
        let server = request.server().settings::<Wsgi>()?;
        let settings = settings(request)?;
        if !matches!(handler, b"wsgi-script" | b"application/x-httpd-wsgi") {
            let script = settings.handler_script(handler)?;
            return Some(Self {
                settings: settings.via(&script.options),
                handler_script: Some(script),
                is_aliased: false,
            });
        }
        let alias = translate::alias(request, server);
        Some(Self {
            settings: alias.map_or(settings, |alias| settings.via(&alias.options)),
            handler_script: None,
            is_aliased: translate::is_mapped(request),
        })
    }
}
