//! `WSGIAccessScript`: whether a client may have what it requests.

use bridge::{Answer, Bytes, Topic};
use httpd::{Order, Request, Status};
use wsgi_core::codes::ACCESS_DENIED;

use super::{ask_guard, script};
use crate::log;

/// The order of the hook: facts about TLS are known, and `Require` has not been evaluated.
pub(crate) const ORDER: Order = Order { after: &[c"mod_ssl.c"], before: &[c"mod_authz_host.c"] };

/// Asks the script, if there is one.
pub(crate) fn check(request: &Request) -> Status {
    let Some(script) = script(request, |directory| directory.access_script.as_deref()) else {
        return Status::Declined;
    };
    let host = request.client_host().or_else(|| request.useragent_ip()).unwrap_or_default();
    match ask_guard(request, script, Topic::Access, [Bytes::new(host), Bytes::ABSENT]) {
        Answer::Yes => Status::Ok,
        Answer::Unknown => Status::Declined,
        Answer::No => {
            if !request.may_be_satisfied_by_user() {
                let file = String::from_utf8_lossy(request.filename().unwrap_or_default()).into_owned();
                let host = String::from_utf8_lossy(host);
                let text =
                    format_args!("Client denied by server configuration: '{file}', for the client '{host}'");
                log::message(request, ACCESS_DENIED, text);
            }
            Status::Http(403)
        }
        Answer::TimedOut | Answer::Overdue => Status::Http(500),
        _ => Status::Http(403),
    }
}
