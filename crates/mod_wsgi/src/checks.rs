//! The checks that a request has to pass before Python sees it (directives contract, section 3), in their order.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use httpd::{FileType, Request};
use wsgi_core::daemon::ScriptOwner;

use crate::route::Route;

/// Why a request does not get to Python.
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u16,
    /// What the log says; nothing for what is the client's affair alone.
    pub(crate) reason: Option<String>,
}

/// Whether the request may go on.
pub(crate) fn check(request: &Request, route: &Route<'_>) -> Result<(), Refusal> {
    if route.handler_script.is_none() {
        check_script(request, route)?;
    }
    if request.rejects_path_info() && request.path_info().is_some_and(|info| !info.is_empty()) {
        let file = shown(request.filename());
        return refused(
            404,
            format!(
                "WSGI0137: AcceptPathInfo Off is in force, and the URL goes on behind the script '{file}'"
            ),
        );
    }
    check_body(request, route)
}

fn check_script(request: &Request, route: &Route<'_>) -> Result<(), Refusal> {
    let file = || shown(request.filename());
    if !route.is_aliased && !request.may_execute() {
        let file = file();
        return refused(
            403,
            format!(
                "WSGI0134: Options ExecCGI is not in force for the script '{file}', and no WSGIScriptAlias leads to it"
            ),
        );
    }
    match request.file_type() {
        FileType::None => {
            refused(404, format!("WSGI0135: the script '{}' does not exist, or can not be looked at", file()))
        }
        FileType::Directory => refused(403, format!("WSGI0136: the script '{}' is a directory", file())),
        FileType::Regular | FileType::Other => Ok(()),
    }
}

fn check_body(request: &Request, route: &Route<'_>) -> Result<(), Refusal> {
    let headers = request.headers_in();
    if let Some(encoding) = headers.value(c"Transfer-Encoding") {
        if !encoding.eq_ignore_ascii_case(b"chunked") {
            let encoding = shown(Some(encoding));
            return refused(501, format!("WSGI0138: the transfer encoding '{encoding}' is not known"));
        }
        if !route.settings.chunked_request() {
            return refused(
                411,
                "WSGI0139: the request's body is chunked, and WSGIChunkedRequest On is not in force"
                    .to_owned(),
            );
        }
        return Ok(());
    }
    let Some(text) = headers.value(c"Content-Length") else { return Ok(()) };
    let Some(length) = decimal(text) else {
        let text = shown(Some(text));
        return refused(400, format!("WSGI0141: the content length '{text}' is not a number"));
    };
    match request.body_limit() {
        Some(limit) if length > limit => Err(Refusal { status: 413, reason: None }),
        _ => Ok(()),
    }
}

fn refused(status: u16, reason: String) -> Result<(), Refusal> {
    Err(Refusal { status, reason: Some(reason) })
}

fn shown(text: Option<&[u8]>) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text.unwrap_or_default())
}

/// A number that the server can count to.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits =
        std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|&length| i64::try_from(length).is_ok())
}

/// Whether the script and the directory that it is in belong to whom `script-user=` or `script-group=` names, and nobody
/// else can write to them.
pub(crate) fn check_owner(request: &Request, owner: ScriptOwner) -> Result<(), Refusal> {
    let file = Path::new(OsStr::from_bytes(request.filename().unwrap_or_default()));
    let (option, codes) = match owner {
        ScriptOwner::Group(_) => ("script-group", [153, 154, 155, 157, 158, 159, 160]),
        ScriptOwner::User(_) => ("script-user", [162, 163, 164, 166, 167, 168, 169]),
    };
    let [script_unknown, script_foreign, script_writable, no_directory, unknown, foreign, writable] = codes;
    check_one(file, owner, option, [script_unknown, script_foreign, script_writable])?;
    match file.parent() {
        Some(directory) => check_one(directory, owner, option, [unknown, foreign, writable]),
        None => {
            refused(403, format!("WSGI0{no_directory}: the script '{}' is in no directory", file.display()))
        }
    }
}

fn check_one(path: &Path, owner: ScriptOwner, option: &str, codes: [u32; 3]) -> Result<(), Refusal> {
    let [unknown, foreign, writable] = codes;
    let shown = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return refused(403, format!("WSGI0{unknown}: {shown} can not be looked at: {error}")),
    };
    let (is_owned, others) = match owner {
        ScriptOwner::Group(gid) => (metadata.gid() == gid, 0o002),
        ScriptOwner::User(uid) => (metadata.uid() == uid, 0o022),
    };
    if !is_owned {
        return refused(403, format!("WSGI0{foreign}: {shown} does not belong to what {option} names"));
    }
    if metadata.mode() & others != 0 {
        return refused(
            403,
            format!("WSGI0{writable}: others can write to {shown}, which {option} forbids: use chmod go-w"),
        );
    }
    Ok(())
}
