//! The handler `wsgi-status`, which shows the state of the server. It reads shared memory alone, so
//! any child answers for the whole server, whatever its applications do.

use std::sync::OnceLock;

use httpd::{Child, Request, Scoreboard, Server, Status};
use status::query::Query;
use status::snapshot::{self, SCHEMA};
use status::{Snapshot, html, json, printable, prometheus, scope};
use wsgi_core::config::{Effective, ServerConfig, StatusScope};
use wsgi_core::diagnostic::Severity;

use crate::{Wsgi, config, daemon, inquiry};

/// The name of the handler, for `SetHandler`.
const HANDLER: &[u8] = b"wsgi-status";

/// What does not change in the life of a child.
struct Constants {
    server: snapshot::Server,
    warnings: Vec<String>,
}

static CONSTANTS: OnceLock<Constants> = OnceLock::new();

/// Notes what does not change in the life of a child.
pub(crate) fn child_init(child: &Child<'_>) {
    CONSTANTS.get_or_init(|| {
        let info = child.info();
        let mpm = info.mpm();
        let [major, minor, patch] = info.version();
        let server = snapshot::Server {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            apache: format!("{major}.{minor}.{patch}"),
            host: nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned(),
            pid: if info.is_single_process() {
                std::process::id()
            } else {
                std::os::unix::process::parent_id()
            },
            capacity: u64::from(mpm.processes) * u64::from(mpm.threads),
            mpm: mpm.name,
            ..snapshot::Server::default()
        };
        let diagnostics = config::diagnostics(child.server()).into_iter();
        let warnings = diagnostics.filter(|diagnostic| diagnostic.severity == Severity::Warning);
        Constants { server, warnings: warnings.map(|diagnostic| diagnostic.to_string()).collect() }
    });
}

/// Answers with the state of the server, if the request asks for it.
pub(crate) fn handle(request: &Request) -> Status {
    if request.handler() != Some(HANDLER) {
        return Status::Declined;
    }
    let Some(server) = request.server().settings::<Wsgi>() else { return Status::Declined };
    let server: &ServerConfig = server;
    let settings = Effective::new(server, request.directory::<Wsgi>().unwrap_or(&server.defaults));
    let client = inquiry::client(request);
    if let Err(status) = inquiry::admit(request, settings.status_clients(), &client) {
        return status;
    }
    let mut snapshot = self::snapshot(request.server());
    if settings.status_scope() == StatusScope::VirtualHost {
        scope::restrict(&mut snapshot, &virtual_host(request.server()));
    }
    printable::make(&mut snapshot);
    respond(request, &snapshot)
}

fn snapshot(server: &Server) -> Snapshot {
    let Some(constants) = CONSTANTS.get() else { return Snapshot::default() };
    let restarted = Scoreboard::find().map_or(0, |scoreboard| scoreboard.restart_time());
    Snapshot {
        schema: SCHEMA,
        time: seconds(os::clock::microseconds()),
        server: snapshot::Server { configured: seconds(restarted), ..constants.server.clone() },
        groups: server.global::<Wsgi>().map(daemon::groups).unwrap_or_default(),
        warnings: constants.warnings.clone(),
        ..Snapshot::default()
    }
}

fn seconds(microseconds: i64) -> f64 {
    microseconds as f64 / 1e6
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

/// Returns the name by which the status knows a server: empty for the main one.
pub(crate) fn virtual_host(server: &Server) -> String {
    if !server.is_virtual() {
        return String::new();
    }
    format!("{}:{}", String::from_utf8_lossy(server.name()), server.port())
}
