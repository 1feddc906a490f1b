//! A request on its way to Python: checked, its names expanded, described.

use httpd::{Request, Status};
use wsgi_core::codes::{EMBEDDED_RESTRICTED, PROCESS_GROUP_RESTRICTED};
use wsgi_core::groups;
use wsgi_core::path_info;

use crate::checks::{self, Refusal};
use crate::environ::{Environ, Names};
use crate::request_facts::RequestFacts;
use crate::route::Route;
use crate::{Wsgi, daemon, embedded, log};

/// Answers a request whose handler is one of ours.
pub(crate) fn handle(request: &Request) -> Status {
    let Some(route) = Route::of(request) else { return Status::Declined };
    #[cfg(debug_assertions)]
    if route.settings.debug_panic() == Some(wsgi_core::config::DebugPanic::Handler) {
        panic!("WSGIDebugPanic asked for a panic in the handler");
    }
    match checks::check(request, &route) {
        Ok(()) => run(request, &route),
        Err(refusal) => refuse(request, &refusal),
    }
}

fn refuse(request: &Request, refusal: &Refusal) -> Status {
    if let Some((code, reason)) = &refusal.reason {
        log::message(request, *code, reason);
    }
    Status::Http(refusal.status)
}

fn run(request: &Request, route: &Route<'_>) -> Status {
    let global = request.server().global::<Wsgi>();
    let uri = request.uri().unwrap_or_default();
    let (script_name, path_info) = path_info::split(uri, request.path_info().unwrap_or_default());
    let facts = RequestFacts {
        request,
        script_name: &script_name,
        case_sensitive: global.is_none_or(wsgi_core::config::Global::case_sensitive),
    };
    let (mut process_buffer, mut application_buffer, mut callable_buffer) =
        (Vec::new(), Vec::new(), Vec::new());
    let process_group = groups::process_group(route.settings.process_group(), &facts, &mut process_buffer);
    if !route.settings.permits_process_group(process_group) {
        let group = String::from_utf8_lossy(process_group);
        let text =
            format_args!("WSGIRestrictProcess does not list the process group '{group}' of the request");
        log::message(request, PROCESS_GROUP_RESTRICTED, text);
        return Status::Http(500);
    }
    let target = if process_group.is_empty() {
        None
    } else {
        match daemon::target(request, process_group) {
            Ok(target) => Some(target),
            Err(status) => return status,
        }
    };
    if target.is_none() && global.is_some_and(|global| !global.permits_embedded()) {
        let text = "WSGIRestrictEmbedded On is in force, and the request goes to no process group";
        log::message(request, EMBEDDED_RESTRICTED, text);
        return Status::Http(500);
    }
    if let Some(owner) = target.as_ref().and_then(daemon::Target::script_owner)
        && let Err(refusal) = checks::check_owner(request, owner)
    {
        return refuse(request, &refusal);
    }
    let names = Names {
        process_group,
        application_group: groups::application_group(
            route.settings.application_group(),
            &facts,
            &mut application_buffer,
        ),
        callable_object: match route.handler_script {
            Some(_) => b"handle_request",
            None => groups::callable(route.settings.callable(), &facts, &mut callable_buffer),
        },
    };
    let environ = Environ::new(request, route, &script_name, &path_info);
    let description = environ.request(&names);
    match target {
        Some(target) => daemon::serve(&target, request, &route.settings, description),
        None => embedded::serve(request, &route.settings, &description),
    }
}
