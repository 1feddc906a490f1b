//! The handler `wsgi-health`, which answers health checks: from shared words and the file of
//! `WSGIDrainFile` alone, so that it never waits for an application.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use httpd::{Request, Status};
use os::patience::Questions;
use wsgi_core::config::Global;
use wsgi_core::health::{Check, Obstacle};

use crate::{Wsgi, daemon, embedded, inquiry, route, termination};

/// The name of the handler, for `SetHandler`.
const HANDLER: &[u8] = b"wsgi-health";

/// The time that a look for the file of `WSGIDrainFile` may take. Without a limit, checks would take
/// all of Apache's threads if the file system hangs.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// Answers a health check, if the request is one.
pub(crate) fn handle(request: &Request) -> Status {
    if request.handler() != Some(HANDLER) {
        return Status::Declined;
    }
    let Some(settings) = route::settings(request) else { return Status::Declined };
    let client = inquiry::client(request);
    if let Err(status) = inquiry::admit(request, settings.health_clients(), &client) {
        return status;
    }
    let (status, text) = match Check::of_path(request.uri().unwrap_or_default()) {
        None => return Status::Http(404),
        Some(Check::Live) => (200, "live\n".to_owned()),
        Some(Check::Ready) => {
            let obstacles = request.server().global::<Wsgi>().map(obstacles).unwrap_or_default();
            let status = if obstacles.is_empty() { 200 } else { 503 };
            (status, body(&obstacles, client.is_local()))
        }
    };
    inquiry::respond(request, status, c"text/plain; charset=utf-8", &[], text.as_bytes())
}

/// Returns why the server is not ready.
fn obstacles(global: &Global) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    obstacles.extend(termination::is_draining().then_some(Obstacle::Ending));
    obstacles.extend(global.drain_file.as_deref().and_then(drain_file));
    obstacles.extend(daemon::obstacles(global));
    obstacles.extend(embedded::obstacle());
    obstacles
}

fn drain_file(path: &[u8]) -> Option<Obstacle> {
    static LOOKS: Questions = Questions::new();
    let path = PathBuf::from(OsStr::from_bytes(path));
    let look = move || std::fs::symlink_metadata(path).map(drop);
    match LOOKS.ask(LONGEST_LOOK, look).and_then(|found| found) {
        Ok(()) => Some(Obstacle::Drained),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Obstacle::DrainFileUnknown(error.to_string())),
    }
}

/// Returns the text of an answer. Names are for this machine alone.
fn body(obstacles: &[Obstacle], is_local: bool) -> String {
    if obstacles.is_empty() {
        return "ready\n".to_owned();
    }
    let shown = if is_local { obstacles } else { &[] };
    std::iter::once("not ready\n".to_owned())
        .chain(shown.iter().map(|obstacle| format!("{obstacle}\n")))
        .collect()
}
