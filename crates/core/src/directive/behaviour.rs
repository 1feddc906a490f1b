//! Directives about how a request is served.

use std::sync::Arc;

use super::{Context, Diagnostic, Directive, Effect, Support, Target};
use crate::config::MapHead;
use crate::proxies::{TrustedHeaders, TrustedProxies};
use crate::quantity::Size;
use crate::words::{Words, display};

pub(super) const PASS_APACHE_REQUEST: Directive = Directive {
    name: c"WSGIPassApacheRequest",
    context: Context::Directory,
    in_container: false,
    arguments: "On|Off",
    default: "Off",
    help: c"Enable/Disable Apache request object.",
    doc: "With `On`, the environ of embedded applications holds Apache's request structure as the capsule `apache.request_rec`.",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| target.settings().pass_apache_request = Some(value)),
};

pub(super) const PASS_AUTHORIZATION: Directive = Directive {
    name: c"WSGIPassAuthorization",
    context: Context::Anywhere,
    in_container: false,
    arguments: "On|Off",
    default: "Off",
    help: c"Enable/Disable WSGI authorization.",
    doc: "\
With `On`, the application sees the `Authorization` header as `HTTP_AUTHORIZATION`. `Off` does not hide what Apache itself \
passes (`CGIPassAuth On`).",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| target.settings().pass_authorization = Some(value)),
};

pub(super) const SCRIPT_RELOADING: Directive = Directive {
    name: c"WSGIScriptReloading",
    context: Context::Anywhere,
    in_container: false,
    arguments: "On|Off",
    default: "On",
    help: c"Enable/Disable script reloading mechanism.",
    doc: "\
With `On`, a script is loaded again before the request if its modification time has changed, or if its function \
`reload_required(path)` returns true. Modules that the script imports are not loaded again.",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| target.settings().script_reloading = Some(value)),
};

pub(super) const ERROR_OVERRIDE: Directive = Directive {
    name: c"WSGIErrorOverride",
    context: Context::Anywhere,
    in_container: false,
    arguments: "On|Off",
    default: "Off",
    help: c"Enable/Disable overriding of error pages.",
    doc: "\
With `On`, Apache replaces a response with status 400 to 599 by its own error page. It has no effect on \
applications in embedded mode.",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| target.settings().error_override = Some(value)),
};

pub(super) const CHUNKED_REQUEST: Directive = Directive {
    name: c"WSGIChunkedRequest",
    context: Context::Anywhere,
    in_container: false,
    arguments: "On|Off",
    default: "Off",
    help: c"Enable/Disable support for chunked requests.",
    doc: "\
With `On`, requests with a chunked body, which has no `Content-Length`, are accepted; with `Off` they get a 411. The application \
has to read `wsgi.input` to its end, since there is no `CONTENT_LENGTH`.",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| target.settings().chunked_request = Some(value)),
};

pub(super) const SPOOL_REQUEST_BODY: Directive = Directive {
    name: c"WSGISpoolRequestBody",
    context: Context::Anywhere,
    in_container: false,
    arguments: "*size*|Off",
    default: "`spool-body=` of the process group; `Off` in embedded mode",
    help: c"Set the length up to which bodies of requests are read before the application is called.",
    doc: "\
The length up to which Apache reads the body of a request before it calls the application, such as `10M`. So a client that sends \
slowly takes up no thread of Python and no connection to a daemon process, and `wsgi.input` can also `seek` and `tell`. `CONTENT_LENGTH` \
is the length of what was read, also for a chunked body (which `WSGIChunkedRequest` permits) or a compressed one. If the body cannot be read, \
the application is not called.

- 64 KB are kept in memory, and more in a file without a name, in the directory of the variable `TMPDIR` of Apache's environment, or else in \
`/var/tmp`. If the disk is full, the client gets a 507, and a 500 if the directory is missing or Apache's user cannot write there.
- A body whose `Content-Length` is greater than the size is passed on as it comes, as with `Off` or 0. Of a body that turns out to be longer, \
the beginning has been read, and `wsgi.input` cannot `seek`.
- A client that waits for `100 Continue` gets it before the application is called. `LimitRequestBody` and `RequestReadTimeout` are in force.
- A thread of Apache waits for the client, with the event MPM, too. Set `MaxRequestWorkers` to the number of slow clients that you expect, and \
limit them by `RequestReadTimeout` (mod_reqtimeout).",
    support: Support::Supported,
    effect: Effect::One(spool_request_body),
};

pub(super) const MAP_HEAD_TO_GET: Directive = Directive {
    name: c"WSGIMapHEADToGET",
    context: Context::Anywhere,
    in_container: false,
    arguments: "On|Off|Auto",
    default: "Auto",
    help: c"Enable/Disable mapping of HEAD to GET.",
    doc: "\
With `On`, the application sees `GET` for a `HEAD` request; with `Auto`, only if an output filter such as `DEFLATE` needs the \
body to compute the headers. The client never receives a body.",
    support: Support::Supported,
    effect: Effect::One(map_head_to_get),
};

pub(super) const ENABLE_SENDFILE: Directive = Directive {
    name: c"WSGIEnableSendfile",
    context: Context::Anywhere,
    in_container: false,
    arguments: "On|Off",
    default: "Off",
    help: c"Enable/Disable support for kernel sendfile.",
    doc: "\
With `On`, files that an application returns through `wsgi.file_wrapper` may be sent by the kernel's `sendfile`, whatever \
`EnableSendfile` says.",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| target.settings().enable_sendfile = Some(value)),
};

pub(super) const TRUSTED_PROXY_HEADERS: Directive = Directive {
    name: c"WSGITrustedProxyHeaders",
    context: Context::Anywhere,
    in_container: false,
    arguments: "[*header* ...]",
    default: "none",
    help: c"Specify a list of trusted proxy headers.",
    doc: "\
The headers of proxies that are trusted. Lines in one scope add up. If an inner scope has such lines, they replace the outer list.

| Header | Sets |
|---|---|
| `X-Forwarded-For`, `X-Client-IP`, `X-Real-IP` | `REMOTE_ADDR` |
| `X-Forwarded-Host`, `X-Host` | `HTTP_HOST` |
| `X-Forwarded-Server` | `SERVER_NAME` |
| `X-Forwarded-Port` | `SERVER_PORT` |
| `X-Script-Name`, `X-Forwarded-Script-Name` | `SCRIPT_NAME`, `mod_wsgi.mount_point` |
| `X-Forwarded-Proto`, `X-Forwarded-Scheme`, `X-Scheme` | `wsgi.url_scheme` (`https` or `http`) |
| `X-Forwarded-HTTPS`, `X-Forwarded-SSL`, `X-HTTPS` | `wsgi.url_scheme` (`On`, `true`, `1` or `Off`, `false`, `0`) |

The headers of one row are of one kind; the last two rows are one kind together. If a request has several headers of a kind, the \
last of them in this table is used, and the others are withheld from the application. If the peer is not one of \
`WSGITrustedProxies`, all of them are withheld. Other names have no effect.",
    support: Support::Supported,
    effect: Effect::Raw(trusted_proxy_headers),
};

pub(super) const TRUSTED_PROXIES: Directive = Directive {
    name: c"WSGITrustedProxies",
    context: Context::Anywhere,
    in_container: false,
    arguments: "[*address*[/*mask*] ...]",
    default: "none: every peer is trusted",
    help: c"Specify a list of trusted proxies.",
    doc: "\
The addresses and networks whose `WSGITrustedProxyHeaders` are trusted: `127.0.0.1`, `10.1` (the network 10.1.0.0/16), \
`192.168.0.0/16`, `192.168.0.0/255.255.0.0`, `fd00::/8`. Lines in one scope add up. If an inner scope has \
such lines, they replace the outer list. A line without addresses trusts nobody. The directive has no effect without \
`WSGITrustedProxyHeaders`.",
    support: Support::Supported,
    effect: Effect::Raw(trusted_proxies),
};

fn spool_request_body(target: &mut Target<'_>, word: &[u8]) -> Result<(), String> {
    let size = if word.eq_ignore_ascii_case(b"off") {
        0
    } else {
        let size = Size::zero_or(1).read(word);
        size.map_err(|error| {
            format!("Invalid {} '{}': {error}, or Off", SPOOL_REQUEST_BODY.text(), display(word))
        })?
    };
    target.settings().spool_request_body = Some(size);
    Ok(())
}

fn map_head_to_get(target: &mut Target<'_>, word: &[u8]) -> Result<(), String> {
    let value = match word.to_ascii_lowercase().as_slice() {
        b"on" => MapHead::On,
        b"off" => MapHead::Off,
        b"auto" => MapHead::Auto,
        _ => return Err(format!("{} must be one of: Off | On | Auto", MAP_HEAD_TO_GET.text())),
    };
    target.settings().map_head_to_get = Some(value);
    Ok(())
}

fn trusted_proxy_headers(target: &mut Target<'_>, line: &[u8]) -> Result<(), String> {
    let headers = target.settings().trusted_headers.get_or_insert_default();
    let headers: &mut TrustedHeaders = Arc::make_mut(headers);
    let invalid: Vec<_> = Words::new(line).filter(|name| !headers.add(name)).collect();
    if invalid.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = invalid.iter().map(|name| format!("'{}'", display(name))).collect();
    target.report(Diagnostic::warning(format!(
        "{} ignores {}: a header name here consists of letters, digits and '-'",
        TRUSTED_PROXY_HEADERS.text(),
        names.join(", ")
    )));
    Ok(())
}

fn trusted_proxies(target: &mut Target<'_>, line: &[u8]) -> Result<(), String> {
    let proxies = target.settings().trusted_proxies.get_or_insert_default();
    let proxies: &mut TrustedProxies = Arc::make_mut(proxies);
    for item in Words::new(line) {
        if !proxies.add(&item) {
            return Err(format!(
                "Unable to parse trusted proxy IP address/subnet of '{}': write an address, or a network as address/mask",
                display(&item)
            ));
        }
    }
    if proxies.is_wide() {
        target.report(
            Diagnostic::warning(format!(
                "{} has a network of millions of addresses: whoever has one of them can claim to be any client",
                TRUSTED_PROXIES.text()
            ))
            .remedy("name the addresses of the proxies only"),
        );
    }
    Ok(())
}
