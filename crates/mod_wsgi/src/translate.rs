//! From a URL to a script: `WSGIScriptAlias` and `WSGIScriptAliasMatch`.

use httpd::{Level, Order, Request, Status};
use wsgi_core::alias::ScriptAlias;
use wsgi_core::config::ServerConfig;

use crate::{Wsgi, log};

/// The order of the hook: an `Alias` that matches beats a script alias, wherever they stand.
pub(crate) const ORDER: Order =
    Order { after: &[c"mod_alias.c"], before: &[c"mod_userdir.c", c"mod_vhost_alias.c"] };

/// Maps a request that one of the server's script aliases matches.
pub(crate) fn translate(request: &Request) -> Status {
    let (Some(settings), Some(uri)) = (request.server().settings::<Wsgi>(), request.uri()) else {
        return Status::Declined;
    };
    let mut file = Vec::new();
    let Some(index) = settings.aliases.iter().position(|alias| alias.map(uri, &mut file)) else {
        return Status::Declined;
    };
    let pool = request.pool();
    let noted = request
        .set_filename(&file)
        .and_then(|()| request.notes().set(ALIAS.to_bytes(), pool.decimal(index as u64)));
    if noted.is_err() {
        log::request(request, Level::Error, "a script alias maps to a path with a NUL byte");
        return Status::Http(404);
    }
    request.set_handler(c"wsgi-script");
    request.notes().set_static(FORCED_TYPE, c"wsgi-script");
    Status::Ok
}

/// Returns the script alias that mapped this request, or `None` if none did.
pub(crate) fn alias<'s>(request: &Request, settings: &'s ServerConfig) -> Option<&'s ScriptAlias> {
    if settings.aliases.is_empty() || !is_mapped(request) {
        return None;
    }
    let index = request.notes().value(ALIAS)?;
    let index: usize = std::str::from_utf8(index).ok()?.parse().ok()?;
    settings.aliases.get(index).map(std::convert::AsRef::as_ref)
}

/// Returns whether a script alias mapped this request, be it of this module or of another one that
/// sets the same note.
pub(crate) fn is_mapped(request: &Request) -> bool {
    request.notes().value(FORCED_TYPE).is_some_and(|forced| forced.eq_ignore_ascii_case(b"wsgi-script"))
}

/// The note that mod_alias sets for `ScriptAlias` and other modules read.
const FORCED_TYPE: &std::ffi::CStr = c"alias-forced-type";
/// The note with the index of the alias among those of the server. (When mod_dir or mod_rewrite
/// replace one request by another, settings of a request are lost, but notes are kept.)
const ALIAS: &std::ffi::CStr = c"mod_wsgi.script-alias";
