//! The checks that a request has to pass before it reaches Python (directives contract, section 3),
//! in their order.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use httpd::{FileType, Request};
use wsgi_core::codes::{
    CHUNKED_NOT_ALLOWED, CONTENT_LENGTH_MALFORMED, Code, EXECUTION_NOT_ALLOWED, GROUP_DIRECTORY_FOREIGN,
    GROUP_DIRECTORY_UNKNOWN, GROUP_DIRECTORY_WRITABLE, GROUP_SCRIPT_ADRIFT, GROUP_SCRIPT_FOREIGN,
    GROUP_SCRIPT_UNKNOWN, GROUP_SCRIPT_WRITABLE, PATH_INFO_NOT_ALLOWED, SCRIPT_IS_DIRECTORY,
    SCRIPT_NOT_FOUND, TRANSFER_ENCODING_UNKNOWN, USER_DIRECTORY_FOREIGN, USER_DIRECTORY_UNKNOWN,
    USER_DIRECTORY_WRITABLE, USER_SCRIPT_ADRIFT, USER_SCRIPT_FOREIGN, USER_SCRIPT_UNKNOWN,
    USER_SCRIPT_WRITABLE,
};
use wsgi_core::daemon::ScriptOwner;

use crate::route::Route;

/// The refusal of a request that must not reach Python.
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The message for the log, or `None` if only the client is concerned.
    pub(crate) reason: Option<(Code, String)>,
}

/// Checks whether the request may go on.
pub(crate) fn check(request: &Request, route: &Route<'_>) -> Result<(), Refusal> {
    if route.handler_script.is_none() {
        check_script(request, route)?;
    }
    if request.rejects_path_info() && request.path_info().is_some_and(|info| !info.is_empty()) {
        let file = lossy(request.filename());
        return reject(
            404,
            PATH_INFO_NOT_ALLOWED,
            format!("the URL has a path after the script '{file}', and AcceptPathInfo Off is in force"),
        );
    }
    check_body(request, route)
}

fn check_script(request: &Request, route: &Route<'_>) -> Result<(), Refusal> {
    let file = || lossy(request.filename());
    if !route.is_aliased && !request.may_execute() {
        let file = file();
        return reject(
            403,
            EXECUTION_NOT_ALLOWED,
            format!(
                "the script '{file}' may not run: let WSGIScriptAlias lead to it, or set Options +ExecCGI there"
            ),
        );
    }
    match request.file_type() {
        FileType::None => reject(
            404,
            SCRIPT_NOT_FOUND,
            format!("the script '{}' does not exist, or is not accessible to Apache's user", file()),
        ),
        FileType::Directory => {
            reject(403, SCRIPT_IS_DIRECTORY, format!("the script '{}' is a directory", file()))
        }
        FileType::Regular | FileType::Other => Ok(()),
    }
}

fn check_body(request: &Request, route: &Route<'_>) -> Result<(), Refusal> {
    let headers = request.headers_in();
    if let Some(encoding) = headers.value(c"Transfer-Encoding") {
        if !encoding.eq_ignore_ascii_case(b"chunked") {
            let encoding = lossy(Some(encoding));
            return reject(
                501,
                TRANSFER_ENCODING_UNKNOWN,
                format!("the transfer encoding '{encoding}' is not supported"),
            );
        }
        if !route.settings.chunked_request() {
            return reject(
                411,
                CHUNKED_NOT_ALLOWED,
                "the request's body is chunked: set WSGIChunkedRequest On to permit that".to_owned(),
            );
        }
        return Ok(());
    }
    let Some(text) = headers.value(c"Content-Length") else { return Ok(()) };
    let Some(length) = decimal(text) else {
        let text = lossy(Some(text));
        return reject(400, CONTENT_LENGTH_MALFORMED, format!("the content length '{text}' is not a number"));
    };
    match request.body_limit() {
        Some(limit) if length > limit => Err(Refusal { status: 413, reason: None }),
        _ => Ok(()),
    }
}

fn reject(status: u16, code: Code, reason: String) -> Result<(), Refusal> {
    Err(Refusal { status, reason: Some((code, reason)) })
}

fn lossy(text: Option<&[u8]>) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text.unwrap_or_default())
}

/// Parses a number of bytes. Returns `None` if it is not one, or the server cannot count so far.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits =
        std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|&length| i64::try_from(length).is_ok())
}

/// Checks that a script and its directory belong to the account that `script-user=` or
/// `script-group=` names, and that nobody else can write to them.
pub(crate) fn check_owner(script: &[u8], owner: ScriptOwner) -> Result<(), Refusal> {
    let file = Path::new(OsStr::from_bytes(script));
    let codes = OwnerCodes::of(owner);
    check_path_owner(file, owner, &codes.script)?;
    match file.parent() {
        Some(directory) => check_path_owner(directory, owner, &codes.directory),
        None => reject(403, codes.adrift, format!("the script '{}' is in no directory", file.display())),
    }
}

/// The codes of messages about the owner of a script.
struct OwnerCodes {
    script: PathCodes,
    directory: PathCodes,
    adrift: Code,
}

/// The codes of messages about the owner of a path.
struct PathCodes {
    unknown: Code,
    foreign: Code,
    writable: Code,
}

impl OwnerCodes {
    const fn of(owner: ScriptOwner) -> Self {
        match owner {
            ScriptOwner::Group(_) => Self {
                script: PathCodes {
                    unknown: GROUP_SCRIPT_UNKNOWN,
                    foreign: GROUP_SCRIPT_FOREIGN,
                    writable: GROUP_SCRIPT_WRITABLE,
                },
                directory: PathCodes {
                    unknown: GROUP_DIRECTORY_UNKNOWN,
                    foreign: GROUP_DIRECTORY_FOREIGN,
                    writable: GROUP_DIRECTORY_WRITABLE,
                },
                adrift: GROUP_SCRIPT_ADRIFT,
            },
            ScriptOwner::User(_) => Self {
                script: PathCodes {
                    unknown: USER_SCRIPT_UNKNOWN,
                    foreign: USER_SCRIPT_FOREIGN,
                    writable: USER_SCRIPT_WRITABLE,
                },
                directory: PathCodes {
                    unknown: USER_DIRECTORY_UNKNOWN,
                    foreign: USER_DIRECTORY_FOREIGN,
                    writable: USER_DIRECTORY_WRITABLE,
                },
                adrift: USER_SCRIPT_ADRIFT,
            },
        }
    }
}

fn check_path_owner(path: &Path, owner: ScriptOwner, codes: &PathCodes) -> Result<(), Refusal> {
    let shown = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return reject(403, codes.unknown, format!("{shown} cannot be accessed: {error}")),
    };
    let (option, is_owned, others) = match owner {
        ScriptOwner::Group(gid) => ("script-group", metadata.gid() == gid, 0o002),
        ScriptOwner::User(uid) => ("script-user", metadata.uid() == uid, 0o022),
    };
    if !is_owned {
        let text = format!("{shown} does not belong to the account that {option} names: use chown or chgrp");
        return reject(403, codes.foreign, text);
    }
    if metadata.mode() & others != 0 {
        let text = format!("others can write to {shown}, which {option} forbids: use chmod go-w");
        return reject(403, codes.writable, text);
    }
    Ok(())
}
