//! Directives about server metrics and diagnostics.

use super::{Context, Diagnostic, Directive, Effect, Support, Target};
use crate::quantity::Duration;

pub(super) const SERVER_METRICS: Directive = Directive {
    name: c"WSGIServerMetrics",
    context: Context::Global,
    in_container: false,
    arguments: "On|Off",
    default: "Off",
    help: c"Enable/Disable access to server metrics.",
    doc: "\
With `On`, `mod_wsgi.server_metrics()` returns the scoreboard in embedded interpreters. Daemon processes have the option \
`server-metrics=`. With `ExtendedStatus On`, the \
scoreboard shows the clients and request lines of all virtual hosts.",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| target.global.server_metrics = Some(value)),
};

pub(super) const LOG_FORMAT: Directive = Directive {
    name: c"WSGILogFormat",
    context: Context::Global,
    in_container: false,
    arguments: "text|json",
    default: "text",
    help: c"The format of lines that applications and this module write to the error log.",
    doc: "\
With `json`, each line that applications and this module write to the error log is one JSON object, whatever `ErrorLogFormat` says: with \
time, level, message, the id of the request, process group, process and thread, and of a record of Python's `logging` with the logger, and the \
exception and its traceback as fields. Apache's own lines stay as `ErrorLogFormat` has them. Where the error log goes to syslog, or to \
another module, the lines stay text. See [the guide](logs.md).",
    support: Support::Supported,
    effect: Effect::One(log_format),
};

pub(super) const STUCK_TIMEOUT: Directive = Directive {
    name: c"WSGIStuckTimeout",
    context: Context::Global,
    in_container: false,
    arguments: "*time*",
    default: "0",
    help: c"Log requests that hold their threads for longer than this, with their stacks.",
    doc: "\
A request that has run for this long is logged once, as a warning, with the Python stack of its thread. The request goes on; \
`request-timeout=` of a group is what ends it. That holds for embedded mode, and for groups without `stuck-timeout=`. If code that is no Python holds \
Python's lock all the time, the log says so instead of the stack. Of many such requests, a process logs twenty at a stretch, and twenty a minute; then it says \
how many more there were. In seconds, or with a unit, such as `90s` or `2m`; 0 logs none.",
    support: Support::Supported,
    effect: Effect::One(stuck_timeout),
};

pub(super) const VERBOSE_DEBUGGING: Directive = Directive {
    name: c"WSGIVerboseDebugging",
    context: Context::Global,
    in_container: false,
    arguments: "On|Off",
    default: "Off",
    help: c"Without effect: use LogLevel.",
    doc: "Without effect; use `LogLevel wsgi:debug`.",
    support: Support::Supported,
    effect: Effect::Raw(verbose_debugging),
};

#[cfg(debug_assertions)]
pub(super) const DEBUG_PANIC: Directive = Directive {
    name: c"WSGIDebugPanic",
    context: Context::Directory,
    in_container: false,
    arguments: "handler|config|callback|exchange",
    default: "",
    help: c"Where to panic, for tests.",
    doc: "Panics in the request handler, while the configuration is read, when Python calls back, or while a body is read or sent.",
    support: Support::TestHook,
    effect: Effect::One(debug_panic),
};

fn log_format(target: &mut Target<'_>, word: &[u8]) -> Result<(), String> {
    target.global.json_log = match word {
        _ if word.eq_ignore_ascii_case(b"text") => false,
        _ if word.eq_ignore_ascii_case(b"json") => true,
        _ => return Err(LOG_FORMAT.invalid(word, "it must be text or json")),
    };
    Ok(())
}

fn stuck_timeout(target: &mut Target<'_>, word: &[u8]) -> Result<(), String> {
    let time = Duration::SECONDS.read(word);
    target.global.stuck_timeout = time.map_err(|text| STUCK_TIMEOUT.invalid(word, &text))?;
    Ok(())
}

fn verbose_debugging(target: &mut Target<'_>, line: &[u8]) -> Result<(), String> {
    VERBOSE_DEBUGGING.flag(line)?;
    let text =
        format!("{} is deprecated and has no effect: use LogLevel wsgi:debug", VERBOSE_DEBUGGING.text());
    target.report(Diagnostic::info(text));
    Ok(())
}

#[cfg(debug_assertions)]
fn debug_panic(target: &mut Target<'_>, word: &[u8]) -> Result<(), String> {
    use crate::config::DebugPanic;

    let place = match word {
        b"handler" => DebugPanic::Handler,
        b"callback" => DebugPanic::Callback,
        b"exchange" => DebugPanic::Exchange,
        b"config" => panic!("{} asked for a panic while the configuration is read", DEBUG_PANIC.text()),
        _ => {
            return Err(format!(
                "{} must be one of: handler | config | callback | exchange",
                DEBUG_PANIC.text()
            ));
        }
    };
    target.settings().debug_panic = Some(place);
    Ok(())
}
