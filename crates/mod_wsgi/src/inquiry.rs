//! Requests about the server itself, which a handler answers by itself: who may ask, and the
//! response.

use std::ffi::CStr;

use httpd::{InteriorNul, Output, Request, Status};
use wsgi_core::clients::{Client, Clients};

use crate::termination;

/// The headers by which proxies say that a request is another client's.
const FORWARDED: [&CStr; 4] = [c"Forwarded", c"Via", c"X-Forwarded-For", c"X-Real-IP"];

/// Returns the client that asks.
pub(crate) fn client(request: &Request) -> Client<'_> {
    Client {
        address: request.useragent_ip().unwrap_or_default(),
        peer: request.connection().peer_ip(),
        own_address: request.connection().local_ip(),
        is_forwarded: FORWARDED.into_iter().any(|name| request.headers_in().value(name).is_some()),
    }
}

/// Admits a request for reading, of one of `clients`.
///
/// # Errors
/// The status to respond with.
pub(crate) fn admit(request: &Request, clients: Option<&Clients>, client: &Client<'_>) -> Result<(), Status> {
    if !Clients::include(clients, client) {
        return Err(Status::Http(403));
    }
    if !matches!(request.method(), Some(b"GET" | b"HEAD")) {
        request.allow_reading_alone();
        return Err(Status::Http(405));
    }
    Ok(())
}

/// Sends a response, which no cache keeps.
pub(crate) fn respond(
    request: &Request,
    status: u16,
    content_type: &'static CStr,
    headers: &[(&CStr, &str)],
    body: &[u8],
) -> Status {
    match send(request, status, content_type, headers, body) {
        Ok(()) => Status::Ok,
        Err(InteriorNul) => Status::Http(500),
    }
}

fn send(
    request: &Request,
    status: u16,
    content_type: &'static CStr,
    headers: &[(&CStr, &str)],
    body: &[u8],
) -> Result<(), InteriorNul> {
    let status = request.prepare_status(status, None)?;
    request.set_content_type(content_type.to_bytes())?;
    let sent = request.headers_out();
    sent.set_static(c"Cache-Control", c"no-store");
    for (name, value) in headers {
        sent.set(name.to_bytes(), value.as_bytes())?;
    }
    request.set_content_length(body.len() as u64);
    if termination::is_draining() {
        request.connection().close_after_response();
    }
    status.apply();
    // A client that is gone has no use for it.
    let _ = Output::new(request).send_last(body);
    Ok(())
}
