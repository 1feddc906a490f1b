//! The checks that a request has to pass on its way to Python (directives contract, section 3).

use httpd::{FileType, Level, Logger, Request, Status};
use wsgi_core::groups;
use wsgi_core::path_info;

use crate::Wsgi;
use crate::embedded;
use crate::environ::{Environ, Names};
use crate::facts::Facts;
use crate::route::Route;

/// Answers a request whose handler is one of ours.
pub(crate) fn handle(request: &Request) -> Status {
    let Some(route) = Route::of(request) else { return Status::Declined };
    #[cfg(debug_assertions)]
    if route.settings.debug_panic() == Some(wsgi_core::config::DebugPanic::Handler) {
        panic!("WSGIDebugPanic asked for a panic in the handler");
    }
    match check(request, &route) {
        Ok(()) => run(request, &route),
        Err(Refusal { status, reason: Some(reason) }) => {
            log(request, Level::Error, &reason);
            Status::Http(status)
        }
        Err(Refusal { status, reason: None }) => Status::Http(status),
    }
}

/// Why a request does not get to Python.
struct Refusal {
    status: u16,
    reason: Option<String>,
}

impl Refusal {
    fn new(status: u16, reason: impl Into<String>) -> Self {
        Self { status, reason: Some(reason.into()) }
    }
}

fn check(request: &Request, route: &Route<'_>) -> Result<(), Refusal> {
    if route.handler_script.is_none() {
        check_script(request, route)?;
    }
    if request.rejects_path_info() && request.path_info().is_some_and(|info| !info.is_empty()) {
        return Err(Refusal::new(
            404,
            "WSGI0137: AcceptPathInfo Off is in force, and the URL goes on behind the script",
        ));
    }
    check_body(request, route)
}

fn check_script(request: &Request, route: &Route<'_>) -> Result<(), Refusal> {
    if !route.is_aliased && !request.may_execute() {
        return Err(Refusal::new(
            403,
            "WSGI0134: Options ExecCGI is not in force for this script, and no WSGIScriptAlias leads to it",
        ));
    }
    match request.file_type() {
        FileType::None => {
            Err(Refusal::new(404, "WSGI0135: the script does not exist or can not be looked at"))
        }
        FileType::Directory => Err(Refusal::new(403, "WSGI0136: the script is a directory")),
        FileType::Regular | FileType::Other => Ok(()),
    }
}

fn check_body(request: &Request, route: &Route<'_>) -> Result<(), Refusal> {
    let headers = request.headers_in();
    if let Some(encoding) = headers.value(c"Transfer-Encoding") {
        if !encoding.eq_ignore_ascii_case(b"chunked") {
            let encoding = String::from_utf8_lossy(encoding);
            return Err(Refusal::new(
                501,
                format!("WSGI0138: the transfer encoding '{encoding}' is not known"),
            ));
        }
        if !route.settings.chunked_request() {
            return Err(Refusal::new(
                411,
                "WSGI0139: the request's body is chunked, and WSGIChunkedRequest On is not in force",
            ));
        }
        return Ok(());
    }
    let Some(length) = headers.value(c"Content-Length") else { return Ok(()) };
    let Some(length) = decimal(length) else {
        let length = String::from_utf8_lossy(length);
        return Err(Refusal::new(400, format!("WSGI0141: the content length '{length}' is not a number")));
    };
    match request.body_limit() {
        Some(limit) if length > limit => Err(Refusal { status: 413, reason: None }),
        _ => Ok(()),
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    let digits =
        std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|&length| i64::try_from(length).is_ok())
}

fn run(request: &Request, route: &Route<'_>) -> Status {
    let global = request.server().global::<Wsgi>();
    let uri = request.uri().unwrap_or_default();
    let (script_name, path_info) = path_info::split(uri, request.path_info().unwrap_or_default());
    let facts = Facts {
        request,
        script_name: &script_name,
        case_sensitive: global.is_none_or(wsgi_core::config::Global::case_sensitive),
    };
    let (mut process_buffer, mut application_buffer, mut callable_buffer) =
        (Vec::new(), Vec::new(), Vec::new());
    let process_group = groups::process_group(route.settings.process_group(), &facts, &mut process_buffer);
    if !process_group.is_empty() {
        let group = String::from_utf8_lossy(process_group);
        let text = format!(
            "WSGI0150: the request goes to the process group '{group}', and there is no such group: this version \
             has no daemon processes yet"
        );
        log(request, Level::Error, &text);
        return Status::Http(500);
    }
    if global.is_some_and(|global| !global.permits_embedded()) {
        log(
            request,
            Level::Error,
            "WSGI0143: WSGIRestrictEmbedded On is in force, and the request goes to no process group",
        );
        return Status::Http(500);
    }
    let names = Names {
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
    embedded::serve(request, &route.settings, &environ.request(&names))
}

pub(crate) fn log(request: &Request, level: Level, line: &str) {
    Logger::of::<Wsgi>().request(request, level, line);
}
