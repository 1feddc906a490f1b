//! Directives about the status of the server.

use super::{Context, Directive, Effect, Support};
use crate::config::StatusScope;

pub(super) const STATUS_CLIENTS: Directive = Directive {
    name: c"WSGIStatusClients",
    context: Context::Directory,
    in_container: false,
    arguments: "local|all|*address*[/*mask*] ...",
    default: "local",
    help: c"Who may see the status of the handler wsgi-status.",
    doc: "\
Who gets answers of the handler `wsgi-status`, which shows the processes, requests and counts of the server; others get a 403. `Require` and the \
like apply before, as everywhere.

```apache
<Location \"/wsgi-status\">
    SetHandler wsgi-status
    WSGIStatusClients local 10.0.0.0/8
</Location>
```

The words, and who is local, are as for [`WSGIHealthClients`](#wsgihealthclients). See the [guide](status.md).",
    support: Support::Supported,
    effect: Effect::Raw(|target, line| {
        STATUS_CLIENTS.add_clients(&mut target.settings().status_clients, line)
    }),
};

pub(super) const STATUS_SCOPE: Directive = Directive {
    name: c"WSGIStatusScope",
    context: Context::Directory,
    in_container: false,
    arguments: "server|vhost",
    default: "server",
    help: c"Whether wsgi-status shows the whole server or one virtual host.",
    doc: "\
What the handler `wsgi-status` shows: the whole server, or with `vhost` only what belongs to the virtual host that answers and to those of \
the same `ServerName`: the process groups that are defined there, with their processes, counts and events, and the requests that came to \
it. Requests, paths, tracebacks and counts of others, and warnings about the configuration, are left out then. A virtual host without `ServerName` \
belongs together with no other. See the [guide](status.md).",
    support: Support::Supported,
    effect: Effect::One(|target, word| {
        let scope = match word.to_ascii_lowercase().as_slice() {
            b"server" => StatusScope::Server,
            b"vhost" => StatusScope::VirtualHost,
            _ => return Err(format!("{} must be one of: server | vhost", STATUS_SCOPE.text())),
        };
        target.settings().status_scope = Some(scope);
        Ok(())
    }),
};
