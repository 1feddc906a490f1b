//! Directives about health checks and draining.

use super::{Context, Directive, Effect, Support};
use crate::quantity::Duration;

pub(super) const DRAIN_DELAY: Directive = Directive {
    name: c"WSGIDrainDelay",
    context: Context::Global,
    in_container: false,
    arguments: "*seconds*",
    default: "0",
    help: c"Serve on for this time after SIGTERM, while health checks fail.",
    doc: "\
The time between the `SIGTERM` that `WSGIGracefulTermination` makes a graceful stop of, and that stop. Meanwhile everything is served, but \
health checks for `ready` fail (`SetHandler wsgi-health`), so that a balancer sends its requests elsewhere before this server takes none any more. \
Responses of applications close their connections then. Choose more than the balancer takes to notice: the interval of its checks, times those \
that have to fail. In seconds, or with a unit, such as `500ms`; at most an hour.

A second `SIGTERM` stops the server at once, and `SIGWINCH` (`apachectl graceful-stop`) stops it gracefully without the delay. \
See the [guide](fleet.md).",
    support: Support::Supported,
    effect: Effect::One(|target, word| {
        let delay = Duration::SECONDS.read(word).ok().filter(|delay| *delay <= LONGEST_DELAY);
        target.global.drain_delay = delay.ok_or_else(|| {
            DRAIN_DELAY
                .invalid(word, "it must be a time in seconds, or with a unit, such as 5 or 500ms, of at most an hour")
        })?;
        Ok(())
    }),
};

pub(super) const DRAIN_FILE: Directive = Directive {
    name: c"WSGIDrainFile",
    context: Context::Global,
    in_container: false,
    arguments: "*path*",
    default: "",
    help: c"Fail health checks while this file exists.",
    doc: "\
A file: while it exists, health checks for `ready` fail (`SetHandler wsgi-health`), and everything is served as before. So `touch` takes \
this server out of its balancer, and `rm` brings it back. Restarts do not change that. The path is absolute. Put it on a local disk, in a \
directory that only administrators can write to and that Apache's user (`User`) can search: if it cannot be looked for, or not within a second, \
checks fail, too.",
    support: Support::Supported,
    effect: Effect::One(|target, word| {
        if word.first() != Some(&b'/') {
            return Err(DRAIN_FILE.invalid(word, "it must be an absolute path"));
        }
        target.global.drain_file = Some(word.into());
        Ok(())
    }),
};

pub(super) const HEALTH_CLIENTS: Directive = Directive {
    name: c"WSGIHealthClients",
    context: Context::Directory,
    in_container: false,
    arguments: "local|all|*address*[/*mask*] ...",
    default: "local",
    help: c"Who may ask the handler wsgi-health.",
    doc: "\
Who gets answers of the handler `wsgi-health`; others get a 403. `Require` and the like apply before, as everywhere, and so does a \
script of `WSGIAccessScript` that is in force at the URL.

```apache
<Location \"/-\">
    SetHandler wsgi-health
    WSGIHealthClients local 10.0.0.0/8
</Location>
```

The last part of the URL's path is the question:

- `/-/ready` (or `readyz`): may requests be sent to this server? 200 if it is not draining (`WSGIDrainDelay`, `WSGIDrainFile`), and each process group has \
a process that serves and has imported the scripts of its `WSGIImportScript` lines; otherwise 503. A group that may have no process \
(`processes=0-5`) is ready unless its processes fail to start. Groups with `threads=0` are not asked. If scripts run in Apache's \
processes, Python has to run in the one that answers, with its scripts imported. A daemon process that could not import such a \
script is tried again by itself, at intervals from a second to a minute; in Apache's processes, only a request for the script does that.
- `/-/live` (or `livez`): does Apache answer? Always 200, also while it drains.

Other paths get a 404. No application is asked or waited for, and no thread of a process is needed. Local clients, and nobody else, are \
told why the server is not ready.

The words are `local` (addresses that begin with 127, `::1`, or the server's own address of the connection), `all`, and addresses and networks as for \
`WSGITrustedProxies`. Lines in one scope add up. If an inner scope has such lines, they replace the outer list. A client's \
address is that of its connection, or what mod_remoteip makes of it; it is local only if both are. A request with one of the headers \
that proxies add (`Forwarded`, `Via`, `X-Forwarded-For`, `X-Real-IP`) is never local: behind a proxy on the same machine, every client would be.",
    support: Support::Supported,
    effect: Effect::Raw(|target, line| {
        HEALTH_CLIENTS.add_clients(&mut target.settings().health_clients, line)
    }),
};

/// The longest delay, in milliseconds.
const LONGEST_DELAY: u64 = 3_600_000;
