//! The directive about OpenTelemetry.

use super::arguments::{flag_value, known_options, wanted_option};
use super::{Context, Directive, Effect, FileKind, Support, Target};
use crate::opentelemetry::{Settings, Signals, check_endpoint};
use crate::quantity::Duration;
use crate::tracing::Ratio;
use crate::words::{NotAnOption, Pair, Words, display};

pub(super) const OPENTELEMETRY: Directive = Directive {
    name: c"WSGIOpenTelemetry",
    context: Context::Global,
    in_container: false,
    arguments: "On|Off|*option*=*value* ...",
    default: "Off",
    help: c"Export spans of requests and metrics to an OpenTelemetry collector.",
    doc: "\
Spans of requests to applications, and metrics of the server, are sent to a collector by OTLP over HTTP. A program of its own does \
that, which runs as Apache's `User`; requests never wait for it. What it cannot take or send in time is dropped and counted. See the \
[guide](opentelemetry.md).

Any option switches the export on; `On` is for servers whose environment has all that is to be said, in the variables `OTEL_*` \
of OpenTelemetry's specification. An option wins over the variable for the same thing. Each line replaces those before it.

| option | | without it |
|---|---|---|
| `endpoint=` | the collector's URL, `http` or `https`; `/v1/traces` and `/v1/metrics` are added | `OTEL_EXPORTER_OTLP_ENDPOINT` and \
`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and the like, or `http://localhost:4318` |
| `signals=` | `traces`, `metrics`, or both with a comma between them | `OTEL_TRACES_EXPORTER` and `OTEL_METRICS_EXPORTER`, or both |
| `sample=` | the share of requests that have spans, from 0 to 1; a request whose caller has decided (`traceparent`) is not counted | \
`OTEL_TRACES_SAMPLER`, or 1 |
| `service-name=` | the name of the service | `OTEL_SERVICE_NAME`, or `service.name` of `OTEL_RESOURCE_ATTRIBUTES` |
| `interval=` | the time between two reports of metrics, in seconds | `OTEL_METRIC_EXPORT_INTERVAL`, or 60 |
| `timeout=` | the longest time that the collector may take for a message, in seconds | `OTEL_EXPORTER_OTLP_TIMEOUT`, or 10 |
| `compression=` | `gzip` or `none` | `OTEL_EXPORTER_OTLP_COMPRESSION`, or `none` |
| `headers-file=` | a file of headers for the collector, such as a key, one `Name: value` a line; Apache opens it as root, and only the \
exporter reads it | `OTEL_EXPORTER_OTLP_HEADERS` |
| `certificate=` | a file of certificates in PEM, which Apache's `User` can read, to trust instead of those that the system trusts | \
`OTEL_EXPORTER_OTLP_CERTIFICATE` |
| `client-address=` | `On`: spans have the address of the client | `Off` |

```apache
WSGIOpenTelemetry endpoint=http://127.0.0.1:4318 service-name=shop sample=0.1
```",
    support: Support::Supported,
    effect: Effect::Raw(opentelemetry),
};

const OPTIONS: [&str; 10] = [
    "endpoint",
    "signals",
    "sample",
    "service-name",
    "interval",
    "timeout",
    "compression",
    "headers-file",
    "certificate",
    "client-address",
];

fn opentelemetry(target: &mut Target<'_>, line: &[u8]) -> Result<(), String> {
    let name = OPENTELEMETRY.text();
    let mut words = Words::new(line);
    let first = words.clone().word().and_then(|word| flag_value(&word));
    if first.is_some() {
        words.word();
    }
    let mut settings = Settings { is_on: first != Some(false), ..Settings::default() };
    let mut count = 0;
    while let Some(pair) = words.pair() {
        count += 1;
        let pair = pair.map_err(|NotAnOption(token)| {
            format!("Invalid option '{}' for {name}: {}", display(token), wanted_option(token))
        })?;
        set(&mut settings, &pair, target)?;
    }
    match (first, count) {
        (None, 0) => {
            Err(format!("{name} needs On, Off or an option, such as endpoint=http://127.0.0.1:4318"))
        }
        (Some(false), 1..) => Err(format!("{name} Off takes no options")),
        _ => {
            target.global.opentelemetry = settings;
            Ok(())
        }
    }
}

fn set(settings: &mut Settings, pair: &Pair<'_>, target: &Target<'_>) -> Result<(), String> {
    let Pair { key, value } = pair;
    let invalid = |reason: &str| {
        let (value, key, name) = (display(value), display(key), OPENTELEMETRY.text());
        format!("Invalid value '{value}' for {key} of {name}: {reason}")
    };
    let text = || match std::str::from_utf8(value) {
        Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err(invalid("it must be a text")),
    };
    let time = || match Duration::SECONDS.read(value) {
        Ok(time @ 1..=86_400_000) => Ok(time),
        _ => Err(invalid(
            "it must be a time in seconds, or with a unit, such as 10, 500ms or 1m, of at most a day",
        )),
    };
    let path = || match value.first() {
        Some(b'/') => match target.system.file_kind(value) {
            Some(FileKind::Missing) => Err(invalid("there is no such file")),
            Some(FileKind::Directory) => Err(invalid("it is a directory")),
            Some(FileKind::File) | None => Ok(value.as_ref().into()),
        },
        _ => Err(invalid("it must be an absolute path")),
    };
    match *key {
        b"endpoint" => {
            let url = text()?;
            check_endpoint(&url).map_err(invalid)?;
            settings.endpoint = Some(url);
        }
        b"signals" => {
            settings.signals =
                Some(signals(value).ok_or_else(|| invalid("write traces, metrics, or traces,metrics"))?)
        }
        b"sample" => {
            let ratio = std::str::from_utf8(value).ok().and_then(Ratio::parse);
            settings.sample =
                Some(ratio.ok_or_else(|| invalid("it must be a number from 0 to 1, such as 0.1"))?);
        }
        b"service-name" => settings.service_name = Some(text()?),
        b"interval" => settings.interval = Some(time()?),
        b"timeout" => settings.timeout = Some(time()?),
        b"compression" => {
            settings.is_compressed = Some(match &**value {
                b"gzip" => true,
                b"none" => false,
                _ => return Err(invalid("it must be gzip or none")),
            });
        }
        b"headers-file" => settings.headers_file = Some(path()?),
        b"certificate" => settings.certificate = Some(path()?),
        b"client-address" => {
            settings.client_address = flag_value(value).ok_or_else(|| invalid("it must be On or Off"))?;
        }
        _ => {
            let known = known_options(key, &OPTIONS);
            return Err(format!("Invalid option '{}' for {}: {known}", display(key), OPENTELEMETRY.text()));
        }
    }
    Ok(())
}

fn signals(value: &[u8]) -> Option<Signals> {
    let mut signals = Signals { traces: false, metrics: false };
    for word in value.split(|&byte| byte == b',') {
        match word.trim_ascii() {
            b"traces" => signals.traces = true,
            b"metrics" => signals.metrics = true,
            _ => return None,
        }
    }
    Some(signals)
}
