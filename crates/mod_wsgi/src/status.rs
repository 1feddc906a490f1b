//! The handler `wsgi-status`, which shows the state of the server. It reads shared memory alone, so
//! any child answers for the whole server, whatever its applications do.

use httpd::{Request, Status, StatusForm};
use status::query::Query;
use status::{Snapshot, html, json, printable, prometheus, scope};
use wsgi_core::config::{Effective, StatusScope};

use crate::{inquiry, ledger, route};

/// The name of the handler, for `SetHandler`.
const HANDLER: &[u8] = b"wsgi-status";

/// Answers with the state of the server, if the request asks for it.
pub(crate) fn handle(request: &Request) -> Status {
    if request.handler() != Some(HANDLER) {
        return Status::Declined;
    }
    let Some(settings) = route::settings(request) else { return Status::Declined };
    let client = inquiry::client(request);
    if let Err(status) = inquiry::admit(request, settings.status_clients(), &client) {
        return status;
    }
    match visible(request, &settings) {
        Some(snapshot) => respond(request, &snapshot),
        // The log says why there is none, where it should have been made.
        None => Status::Http(503),
    }
}

/// Returns what mod_status is to show of the state of the server.
pub(crate) fn extend(request: &Request, form: StatusForm) -> String {
    let Some(settings) = route::settings(request) else { return String::new() };
    let form = match form {
        StatusForm::Table => html::Form::Table,
        StatusForm::Lines => html::Form::Lines,
        StatusForm::Auto => html::Form::Auto,
    };
    visible(request, &settings).map(|snapshot| html::mod_status(&snapshot, form)).unwrap_or_default()
}

/// Returns the state of the server as far as `WSGIStatusScope` lets it be seen; `None` if there is no
/// shared memory.
fn visible(request: &Request, settings: &Effective<'_>) -> Option<Snapshot> {
    let mut snapshot = ledger::snapshot()?;
    if settings.status_scope() == StatusScope::VirtualHost {
        scope::restrict(&mut snapshot, &ledger::virtual_host(request.server()));
    }
    printable::make(&mut snapshot);
    Some(snapshot)
}

fn respond(request: &Request, snapshot: &Snapshot) -> Status {
    let query = Query::parse(request.query().unwrap_or_default());
    let sniffing = (c"X-Content-Type-Options", "nosniff");
    match query.format.as_deref() {
        None | Some("html") => {
            let nonce = format!("{:016x}{:016x}", os::random::number(), os::random::number());
            let page = html::render(snapshot, &html::View { filter: query.filter }, &nonce);
            let headers = [
                sniffing,
                (c"Content-Security-Policy", &*html::policy(&nonce)),
                (c"Referrer-Policy", "no-referrer"),
            ];
            inquiry::respond(request, 200, c"text/html; charset=utf-8", &headers, page.as_bytes())
        }
        Some("json") => {
            let text = json::render(snapshot);
            inquiry::respond(request, 200, c"application/json", &[sniffing], text.as_bytes())
        }
        Some("prometheus") => {
            let text = prometheus::render(snapshot);
            inquiry::respond(request, 200, prometheus::CONTENT_TYPE, &[sniffing], text.as_bytes())
        }
        Some(_) => Status::Http(404),
    }
}
