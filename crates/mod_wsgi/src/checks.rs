//! The checks that a request has to pass before it reaches Python (directives contract, section 3),
//! in their order.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use httpd::{FileType, Request};
use wsgi_core::codes::{
    CHUNKED_NOT_ALLOWED, CONTENT_LENGTH_MALFORMED, Code, EXECUTION_NOT_ALLOWED, GROUP_DIRECTORY_FOREIGN,
    GROUP_DIRECTORY_OPEN_TO_ALL, GROUP_DIRECTORY_UNKNOWN, GROUP_SCRIPT_FOREIGN, GROUP_SCRIPT_OPEN_TO_ALL,
    GROUP_SCRIPT_UNKNOWN, PATH_INFO_NOT_ALLOWED, SCRIPT_IS_DIRECTORY, SCRIPT_NOT_FOUND,
    TRANSFER_ENCODING_UNKNOWN, USER_DIRECTORY_FOREIGN, USER_DIRECTORY_OPEN_TO_ALL,
    USER_DIRECTORY_OPEN_TO_GROUP, USER_DIRECTORY_UNKNOWN, USER_SCRIPT_FOREIGN, USER_SCRIPT_OPEN_TO_ALL,
    USER_SCRIPT_OPEN_TO_GROUP, USER_SCRIPT_UNKNOWN,
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
    let (script_rules, directory_rules) = match owner {
        ScriptOwner::Group(_) => (&GROUP_SCRIPT, &GROUP_DIRECTORY),
        ScriptOwner::User(_) => (&USER_SCRIPT, &USER_DIRECTORY),
    };
    check_path_owner(file, owner, script_rules)?;
    let directory = file.parent().unwrap_or(file);
    check_path_owner(directory, owner, directory_rules)
}

/// The demands on a path: the codes of the messages, and the permissions that nobody may have,
/// in the order of the contract.
struct PathRules {
    unknown: Code,
    foreign: Code,
    open: &'static [(u32, &'static str, Code)],
}

const ITS_GROUP: u32 = 0o020;
const EVERYBODY: u32 = 0o002;

const GROUP_SCRIPT: PathRules = PathRules {
    unknown: GROUP_SCRIPT_UNKNOWN,
    foreign: GROUP_SCRIPT_FOREIGN,
    open: &[(EVERYBODY, "everybody", GROUP_SCRIPT_OPEN_TO_ALL)],
};

const GROUP_DIRECTORY: PathRules = PathRules {
    unknown: GROUP_DIRECTORY_UNKNOWN,
    foreign: GROUP_DIRECTORY_FOREIGN,
    open: &[(EVERYBODY, "everybody", GROUP_DIRECTORY_OPEN_TO_ALL)],
};

const USER_SCRIPT: PathRules = PathRules {
    unknown: USER_SCRIPT_UNKNOWN,
    foreign: USER_SCRIPT_FOREIGN,
    open: &[
        (ITS_GROUP, "its group", USER_SCRIPT_OPEN_TO_GROUP),
        (EVERYBODY, "everybody", USER_SCRIPT_OPEN_TO_ALL),
    ],
};

const USER_DIRECTORY: PathRules = PathRules {
    unknown: USER_DIRECTORY_UNKNOWN,
    foreign: USER_DIRECTORY_FOREIGN,
    open: &[
        (EVERYBODY, "everybody", USER_DIRECTORY_OPEN_TO_ALL),
        (ITS_GROUP, "its group", USER_DIRECTORY_OPEN_TO_GROUP),
    ],
};

fn check_path_owner(path: &Path, owner: ScriptOwner, rules: &PathRules) -> Result<(), Refusal> {
    let shown = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return reject(403, rules.unknown, format!("{shown} cannot be accessed: {error}")),
    };
    let (option, is_owned) = match owner {
        ScriptOwner::Group(gid) => ("script-group", metadata.gid() == gid),
        ScriptOwner::User(uid) => ("script-user", metadata.uid() == uid),
    };
    if !is_owned {
        let text = format!("{shown} does not belong to the account that {option} names: use chown or chgrp");
        return reject(403, rules.foreign, text);
    }
    for &(permission, who, code) in rules.open {
        if metadata.mode() & permission != 0 {
            let text = format!("{who} can write to {shown}, which {option} forbids: use chmod go-w");
            return reject(403, code, text);
        }
    }
    Ok(())
}
