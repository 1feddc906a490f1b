//! Directives about telemetry.

use super::arguments::{known_options, wanted_option};
use super::{Context, Directive, Effect, Support, Target};
use crate::quantity::Interval;
use crate::telemetry::{Options, SHORTEST_INTERVAL, Service};
use crate::words::{NotAnOption, Words, display};

pub(super) const SERVICE: Directive = Directive {
    name: c"WSGITelemetryService",
    context: Context::Global,
    in_container: false,
    arguments: "unix:*path* [interval=*seconds*]",
    default: "",
    help: c"Where to report telemetry.",
    doc: "\
The datagram socket of a collector, such as that of the package `mod_wsgi-telemetry`. Each daemon process, and each Apache child that \
runs Python, reports to it every `interval=` (1 second unless given, at least 0.5 seconds): requests and the time that they spend in \
each phase, CPU time and memory, garbage collections, slow requests, and its own start and end. Processes with `threads=0` report \
nothing. See the [guide](telemetry.md).

Users of process groups need permission to write to the socket, and a group with `chroot=` needs it inside its jail, at the same \
path. A process that cannot send goes on without: it says so in the log once, and the collector sees how many samples it has missed. \
`mod_wsgi.request_metrics()` and `mod_wsgi.process_metrics()` return `None` meanwhile, since what they give out is reported.",
    support: Support::Supported,
    effect: Effect::Raw(service),
};

pub(super) const SLOW_REQUESTS: Directive = Directive {
    name: c"WSGISlowRequests",
    context: Context::Global,
    in_container: false,
    arguments: "*seconds*",
    default: "0",
    help: c"The time from which on a request is slow.",
    doc: "\
In seconds, or with a unit, such as `500ms`; with 0, no request is slow. The [status](status.md) of the server marks requests under way \
that came longer ago, and counts those that took longer until they ended, the time in queues included.

With `WSGITelemetryService`, a request is reported once it has run for so long since a worker has taken it: with each sample while it \
runs, and once when it has ended. A report has the method, scheme, host and path of the request, the address of its client and the time \
of each phase, but no query string.",
    support: Support::Supported,
    effect: Effect::One(slow_requests),
};

pub(super) const OPTIONS: Directive = Directive {
    name: c"WSGITelemetryOptions",
    context: Context::Global,
    in_container: false,
    arguments: "[+|-]*flag* ...",
    default: "None",
    help: c"Options of telemetry.",
    doc: "\
What telemetry reports besides. The only flag is `CaptureUserAgent`: slow requests are reported with their `User-Agent`. Flags \
replace those of lines before; with `+` or `-` they are added to them or taken away. `None` and `All` stand for all flags.",
    support: Support::Supported,
    effect: Effect::Raw(options),
};

fn service(target: &mut Target<'_>, line: &[u8]) -> Result<(), String> {
    let name = SERVICE.text();
    let mut words = Words::new(line);
    let Some(place) = words.word().filter(|place| !place.is_empty()) else {
        return Err(format!("{name} needs the socket of a collector: {name} unix:/path"));
    };
    let Some(socket) = place.strip_prefix(b"unix:").filter(|socket| !socket.is_empty()) else {
        let hint = if place.starts_with(b"udp:") {
            "telemetry is sent to local sockets only, not over the network (udp:)"
        } else {
            "it must be unix: and the path of a socket"
        };
        return Err(SERVICE.invalid(&place, hint));
    };
    let mut interval = 1.0;
    if let Some(pair) = words.pair() {
        let pair = pair.map_err(|NotAnOption(token)| {
            format!("Invalid option '{}' for {name}: {}", display(token), wanted_option(token))
        })?;
        if pair.key != b"interval" {
            let known = known_options(pair.key, &["interval"]);
            return Err(format!("Invalid option '{}' for {name}: {known}", display(pair.key)));
        }
        let seconds = Interval.read(&pair.value).ok().filter(|seconds| *seconds >= SHORTEST_INTERVAL);
        interval = seconds.ok_or_else(|| {
            let value = display(&pair.value);
            format!(
                "Invalid value '{value}' for interval of {name}: it must be a time in seconds, {SHORTEST_INTERVAL} or more"
            )
        })?;
    }
    if words.word().is_some() {
        return Err(format!("{name} takes a socket and interval=, nothing else"));
    }
    target.global.telemetry.service = Some(Service { socket: socket.into(), interval });
    Ok(())
}

fn slow_requests(target: &mut Target<'_>, word: &[u8]) -> Result<(), String> {
    let is_zero = word.iter().any(u8::is_ascii_digit)
        && word.iter().all(|byte| matches!(byte, b'0' | b'.' | b'+' | b's' | b'm'));
    let threshold = if is_zero { Ok(None) } else { Interval.read(word).map(Some) };
    target.global.telemetry.slow_requests = threshold.map_err(|_| {
        SLOW_REQUESTS.invalid(
            word,
            "it must be a time in seconds, or with a unit, such as 1.5 or 500ms; 0 reports none",
        )
    })?;
    Ok(())
}

fn options(target: &mut Target<'_>, line: &[u8]) -> Result<(), String> {
    let name = OPTIONS.text();
    let words: Vec<_> = Words::new(line).collect();
    let is_change = |word: &[u8]| matches!(word.first(), Some(b'+' | b'-'));
    let changes = words.iter().filter(|word| is_change(word)).count();
    if words.is_empty() {
        return Err(format!("{name} needs at least one flag, None or All"));
    }
    if changes != 0 && changes != words.len() {
        return Err(format!("{name}: either all flags have a + or - before them, or none has"));
    }
    let mut options = if changes > 0 { target.global.telemetry.options } else { Options::default() };
    for word in &words {
        let (value, flag) = match word.split_first() {
            Some((b'+', flag)) => (true, flag),
            Some((b'-', flag)) => (false, flag),
            _ => (true, &**word),
        };
        if changes == 0 && flag.eq_ignore_ascii_case(b"None") {
            options = Options::default();
        } else if changes == 0 && flag.eq_ignore_ascii_case(b"All") {
            options = Options::ALL;
        } else if let Some(place) = options.flag(flag) {
            *place = value;
        } else {
            return Err(OPTIONS
                .invalid(word, "the flags are CaptureUserAgent, None and All, the last two without + or -"));
        }
    }
    target.global.telemetry.options = options;
    Ok(())
}
