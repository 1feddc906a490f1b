//! The handler: checks a request, expands its names, describes it, and passes it to Python.

use bridge::{Bytes, Cgi, ChosenRoute, QuestionRoute, Tag, flag};
use httpd::{Request, Status};
use wsgi_core::codes::{EMBEDDED_RESTRICTED, PROCESS_GROUP_RESTRICTED};
use wsgi_core::config::{Effective, Global};
use wsgi_core::groups;
use wsgi_core::path_info;

use crate::access::dispatch;
use crate::checks::{self, Refusal};
use crate::expansion::Expansion;
use crate::ledger::Entry;
use crate::request_body::RequestBody;
use crate::request_environment::{Names, RequestEnvironment};
use crate::request_facts::{FactsSource, Groups};
use crate::route::Route;
use crate::tracing::{self, ServerSpan};
use crate::{Wsgi, daemon, embedded, health, log, status, termination};

/// Handles a request if its handler is one of this module's.
pub(crate) fn handle(request: &Request) -> Status {
    let Some(route) = Route::of(request) else { return handle_inquiry(request) };
    if termination::is_draining() {
        // The client's next request is to go elsewhere, while there is time to open a connection.
        request.connection().close_after_response();
    }
    #[cfg(debug_assertions)]
    if route.settings.debug_panic() == Some(wsgi_core::config::DebugPanic::Handler) {
        panic!("WSGIDebugPanic asked for a panic in the handler");
    }
    let span = tracing::begin(request);
    let status = match checks::check(request, &route) {
        Ok(()) => run(request, &route, span.as_ref()),
        Err(refusal) => respond_with_error(request, &refusal),
    };
    if let Some(span) = span {
        span.end(request, status);
    }
    status
}

/// Handles a request about the server itself, which reaches no application.
fn handle_inquiry(request: &Request) -> Status {
    match health::handle(request) {
        Status::Declined => status::handle(request),
        status => status,
    }
}

fn respond_with_error(request: &Request, refusal: &Refusal) -> Status {
    if let Some((code, reason)) = &refusal.reason {
        log::message(request, *code, reason);
    }
    Status::Http(refusal.status)
}

fn run<'r>(request: &'r Request, route: &Route<'_>, span: Option<&ServerSpan<'r>>) -> Status {
    let settings = &route.settings;
    let global = request.server().global::<Wsgi>();
    let uri = request.uri().unwrap_or_default();
    let url_path = route.handler_script.and_then(|handler| handler.options.url_path.as_deref());
    let (script_name, path_info) = match url_path {
        Some(url_path) => path_info::below(uri, url_path),
        None => path_info::split(uri, request.path_info().unwrap_or_default()),
    };
    let expansion = Expansion {
        request,
        script_name: &script_name,
        is_case_sensitive: global.is_none_or(Global::case_sensitive),
    };
    let handler_script = route.handler_script.map(|handler| &*handler.script);
    let source = FactsSource::new(request, settings, handler_script, &script_name, &path_info);
    // Documents for refusals see the variables, too.
    let (chosen, refusal) = match chosen(settings, &expansion, &source, handler_script, &path_info) {
        Ok(chosen) => (chosen, None),
        Err(status) => (ChosenRoute::default(), Some(status)),
    };
    let (mut process_buffer, mut application_buffer, mut callable_buffer) =
        (Vec::new(), Vec::new(), Vec::new());
    let process_group = match &chosen.process_group {
        Some(name) => name,
        None => groups::process_group(settings.process_group(), &expansion, &mut process_buffer),
    };
    let application_group = match &chosen.application_group {
        Some(name) => name,
        None => groups::application_group(settings.application_group(), &expansion, &mut application_buffer),
    };
    let callable_object = match &chosen.callable_object {
        Some(name) => name,
        None => groups::callable(settings.callable(), &expansion, &mut callable_buffer),
    };
    let groups = Groups { process_group, application_group };
    if let Some(span) = span {
        span.set_groups(request, groups);
    }
    let target = refusal.map_or_else(|| target(request, settings, process_group), Err);
    let entry = target.as_ref().ok().map(|target| Entry::begin(request, target.as_ref()));
    let entry = entry.unwrap_or_else(|| Entry::none(request));
    let mut body = RequestBody::new(request, &entry);
    // Before the description: the filters of a body may change the headers.
    let target = target.and_then(|target| {
        let of_group = target.as_ref().map_or(0, daemon::Target::spool_body);
        body.spool(settings.spool_request_body().unwrap_or(of_group)).map(|()| target)
    });
    let mut description = bridge::Request {
        tag: Tag::of::<bridge::Request<'_>>(),
        facts: source.facts(groups),
        callable_object: Bytes::new(callable_object),
        request_handler: Bytes::optional(request.handler()),
        handler_script: Bytes::new(handler_script.unwrap_or_default()),
        script_name: Bytes::new(&script_name),
        path_info: Bytes::new(&path_info),
        mount_point: Bytes::optional(source.mount_point()),
    };
    let is_https = description.facts.flags & flag::HTTPS != 0;
    entry.set_https(is_https);
    if let Some(span) = span {
        span.set_https(is_https);
    }
    let is_announced = body.is_announced();
    if let Some(whole) = body.whole() {
        description.facts.flags |= flag::SEEKABLE_BODY;
        if is_announced {
            let length = request.pool().decimal(whole.length());
            description.facts.cgi[Cgi::ContentLength as usize] = Bytes::new(length);
        }
    }
    // (Not before the description, in which variables of others stand apart.)
    let names = Names {
        groups,
        callable_object,
        handler_script: handler_script.unwrap_or_default(),
        script_name: &script_name,
        path_info: &path_info,
    };
    let environment = RequestEnvironment::new(request, &source, names, &description.facts);
    let on_redirect = || environment.publish_for_redirect();
    let status = request.with_redirects_announced::<Wsgi, _>(&on_redirect, || match target {
        Ok(Some(target)) => daemon::serve(&target, request, settings, &environment, description, body),
        Ok(None) => embedded::serve(request, settings, &description, body),
        Err(status) => status,
    });
    if matches!(status, Status::Http(_)) {
        environment.publish();
    }
    if let Some(span) = span {
        span.set_served(&entry);
    }
    entry.finish(status)
}

/// Returns the names that a dispatch script has chosen for the request; none without a script.
///
/// # Errors
/// The status to respond with. The reason is logged.
fn chosen(
    settings: &Effective<'_>,
    expansion: &Expansion<'_>,
    source: &FactsSource<'_>,
    handler_script: Option<&[u8]>,
    path_info: &[u8],
) -> Result<ChosenRoute, Status> {
    let Some(script) = settings.dispatch_script() else { return Ok(ChosenRoute::default()) };
    let route = QuestionRoute {
        request_handler: Bytes::optional(expansion.request.handler()),
        handler_script: Bytes::new(handler_script.unwrap_or_default()),
        script_name: Bytes::new(expansion.script_name),
        path_info: Bytes::new(path_info),
        mount_point: Bytes::optional(source.mount_point()),
    };
    dispatch::choose(expansion, script, source, route)
}

/// Returns the process group of the request, or `None` for embedded mode.
///
/// # Errors
/// The request may not go there: the status to respond with. The reason is logged.
fn target<'r>(
    request: &'r Request,
    settings: &Effective<'_>,
    process_group: &[u8],
) -> Result<Option<daemon::Target<'r>>, Status> {
    if !settings.permits_process_group(process_group) {
        let group = String::from_utf8_lossy(process_group);
        let text = format_args!(
            "WSGIRestrictProcess does not list the process group '{group}' of the request: add it"
        );
        log::message(request, PROCESS_GROUP_RESTRICTED, text);
        return Err(Status::Http(500));
    }
    if process_group.is_empty() {
        if request.server().global::<Wsgi>().is_some_and(|global| !global.permits_embedded()) {
            let text = "the request goes to no process group, and WSGIRestrictEmbedded On is in force: use WSGIProcessGroup";
            log::message(request, EMBEDDED_RESTRICTED, text);
            return Err(Status::Http(500));
        }
        return Ok(None);
    }
    let target = daemon::target(request, process_group)?;
    if let Some(owner) = target.script_owner() {
        let script = request.filename().unwrap_or_default();
        checks::check_owner(script, owner).map_err(|refusal| respond_with_error(request, &refusal))?;
    }
    Ok(Some(target))
}
