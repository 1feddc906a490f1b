//! The variables of the environment, as the specification of OpenTelemetry names them.

use super::url::{check_endpoint, of_signal, percent_decoded};
use super::{Resolved, Settings, Signals};
use crate::tracing::{Ratio, Sampler};
use crate::wire::exporter::{Collector, ExporterPlan};
use crate::wire::launch::Variable;

/// The collector that is meant if nobody names one.
const DEFAULT_ENDPOINT: &str = "http://localhost:4318";
/// Of a request to a collector, in milliseconds.
const DEFAULT_TIMEOUT: u64 = 10_000;
/// Of metrics, in milliseconds.
const DEFAULT_INTERVAL: u64 = 60_000;
const DEFAULT_DELAY: u64 = 5_000;
const DEFAULT_QUEUE: u32 = 2_048;
const DEFAULT_BATCH: u32 = 512;
/// The most spans that may be kept: they take about a kilobyte each.
const LARGEST_QUEUE: u32 = 100_000;

/// The resolution of settings with an environment.
pub(super) struct Resolver<'a> {
    pub(super) settings: &'a Settings,
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    pub(super) warn: &'a mut dyn FnMut(String),
}

/// A signal, with the word for it in the names of variables and in URLs.
#[derive(Clone, Copy)]
struct Signal {
    variables: &'static str,
    path: &'static str,
}

const TRACES: Signal = Signal { variables: "TRACES", path: "traces" };
const METRICS: Signal = Signal { variables: "METRICS", path: "metrics" };

impl Resolver<'_> {
    pub(super) fn resolve(mut self) -> Option<Resolved> {
        if self.flag("OTEL_SDK_DISABLED") {
            return None;
        }
        let signals = self.settings.signals;
        let wanted = signals.unwrap_or(Signals { traces: true, metrics: true });
        // A line that names the signals wins.
        let is_left = signals.is_none();
        let traces = wanted.traces && !(is_left && self.is_excluded("OTEL_TRACES_EXPORTER"));
        let metrics = wanted.metrics && !(is_left && self.is_excluded("OTEL_METRICS_EXPORTER"));
        if !traces && !metrics {
            return None;
        }
        self.check_unsupported();
        let batch = self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1..=LARGEST_QUEUE.into());
        let queue = self.number("OTEL_BSP_MAX_QUEUE_SIZE", 1..=LARGEST_QUEUE.into());
        let count =
            |number: Option<u64>, default| number.and_then(|it| u32::try_from(it).ok()).unwrap_or(default);
        let queue = count(queue, DEFAULT_QUEUE);
        if let Some(batch) = batch.filter(|batch| *batch > queue.into()) {
            self.ignore::<()>(
                "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
                &batch.to_string(),
                &format!("at most OTEL_BSP_MAX_QUEUE_SIZE, {queue}, which counts instead"),
            );
        }
        let interval = self.settings.interval.or_else(|| self.milliseconds("OTEL_METRIC_EXPORT_INTERVAL"));
        let delay = self.milliseconds("OTEL_BSP_SCHEDULE_DELAY");
        let sampler = traces.then(|| self.sampler());
        let plan = ExporterPlan {
            traces: traces.then(|| self.collector(TRACES)),
            metrics: metrics.then(|| self.collector(METRICS)),
            has_headers_file: self.settings.headers_file.is_some(),
            interval: interval.unwrap_or(DEFAULT_INTERVAL),
            queue,
            batch: count(batch, DEFAULT_BATCH).min(queue),
            delay: delay.unwrap_or(DEFAULT_DELAY),
            resource: self.resource(),
            ..ExporterPlan::default()
        };
        Some(Resolved { plan, sampler })
    }

    fn collector(&mut self, signal: Signal) -> Collector {
        let Settings { timeout, is_compressed, certificate, .. } = self.settings;
        let (timeout, is_compressed, certificate) = (*timeout, *is_compressed, certificate.clone());
        let url = self.url(signal);
        let headers = self.of_signal(signal, "HEADERS").map(|(name, text)| self.pairs(&name, &text));
        let timeout = timeout.or_else(|| {
            let (name, text) = self.of_signal(signal, "TIMEOUT")?;
            self.parsed_milliseconds(&name, &text)
        });
        let is_compressed = is_compressed.or_else(|| {
            let (name, text) = self.of_signal(signal, "COMPRESSION")?;
            match text.as_str() {
                "gzip" => Some(true),
                "none" => Some(false),
                _ => self.ignore(&name, &text, "gzip or none"),
            }
        });
        let certificate = certificate.or_else(|| {
            let (_, path) = self.of_signal(signal, "CERTIFICATE")?;
            Some(path.into_bytes().into())
        });
        if let Some((name, text)) =
            self.of_signal(signal, "PROTOCOL").filter(|(_, text)| text != "http/protobuf")
        {
            self.ignore::<()>(&name, &text, "http/protobuf, the only protocol that is supported");
        }
        Collector {
            url: url.into_bytes().into(),
            headers: headers.unwrap_or_default(),
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            is_compressed: is_compressed.unwrap_or(false),
            certificate,
        }
    }

    fn url(&mut self, signal: Signal) -> String {
        if let Some(endpoint) = &self.settings.endpoint {
            return of_signal(endpoint, signal.path);
        }
        let own = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.variables);
        if let Some(url) = self.endpoint(&own) {
            return url;
        }
        let common = self.endpoint("OTEL_EXPORTER_OTLP_ENDPOINT");
        of_signal(common.as_deref().unwrap_or(DEFAULT_ENDPOINT), signal.path)
    }

    fn endpoint(&mut self, name: &str) -> Option<String> {
        let url = self.variable(name)?;
        match check_endpoint(&url) {
            Ok(()) => Some(url),
            Err(reason) => {
                // (There may be a key in it.)
                (self.warn)(format!(
                    "the variable {name} is ignored: {reason}. Without another one, the collector is {DEFAULT_ENDPOINT}"
                ));
                None
            }
        }
    }

    fn sampler(&mut self) -> Sampler {
        if let Some(ratio) = self.settings.sample {
            return Sampler { follows_parent: true, ratio };
        }
        let name = self.variable("OTEL_TRACES_SAMPLER");
        let argument = |this: &mut Self| {
            let text = this.variable("OTEL_TRACES_SAMPLER_ARG")?;
            let ratio = Ratio::parse(&text);
            ratio.or_else(|| this.ignore("OTEL_TRACES_SAMPLER_ARG", &text, "a number from 0 to 1"))
        };
        let (follows_parent, ratio) = match name.as_deref() {
            None | Some("parentbased_always_on") => (true, Ratio::ALL),
            Some("parentbased_always_off") => (true, Ratio::NONE),
            Some("parentbased_traceidratio") => (true, argument(self).unwrap_or(Ratio::ALL)),
            Some("always_on") => (false, Ratio::ALL),
            Some("always_off") => (false, Ratio::NONE),
            Some("traceidratio") => (false, argument(self).unwrap_or(Ratio::ALL)),
            Some(other) => {
                let known = "one of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off \
                             and parentbased_traceidratio";
                self.ignore::<()>("OTEL_TRACES_SAMPLER", other, known);
                return Sampler::default();
            }
        };
        Sampler { follows_parent, ratio }
    }

    /// Returns the attributes that the configuration and the environment give the resource.
    fn resource(&mut self) -> Vec<Variable> {
        let mut attributes = match self.variable("OTEL_RESOURCE_ATTRIBUTES") {
            Some(text) => self.pairs("OTEL_RESOURCE_ATTRIBUTES", &text),
            None => Vec::new(),
        };
        let name = self.settings.service_name.clone().or_else(|| self.variable("OTEL_SERVICE_NAME"));
        if let Some(name) = name {
            attributes.retain(|(key, _)| **key != *b"service.name");
            attributes.push((b"service.name"[..].into(), name.into_bytes().into()));
        }
        attributes
    }

    /// Returns `key=value` pairs with commas between them.
    fn pairs(&mut self, name: &str, text: &str) -> Vec<Variable> {
        let mut pairs = Vec::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let pair = item.split_once('=').and_then(|(key, value)| {
                let (key, value) = (percent_decoded(key.trim())?, percent_decoded(value.trim())?);
                let is_plain = |text: &str| !text.chars().any(char::is_control);
                (!key.is_empty() && is_plain(&key) && is_plain(&value)).then_some((key, value))
            });
            match pair {
                Some((key, value)) => {
                    pairs.retain(|(other, _): &Variable| **other != *key.as_bytes());
                    pairs.push((key.into_bytes().into(), value.into_bytes().into()));
                }
                // It may be a secret.
                None => (self.warn)(format!(
                    "a part of the variable {name} is ignored, since it is no key=value (special characters of the value \
                     as %xx)"
                )),
            }
        }
        pairs
    }

    fn flag(&mut self, name: &str) -> bool {
        let Some(text) = self.variable(name) else { return false };
        let is_true = text.eq_ignore_ascii_case("true");
        if !is_true && !text.eq_ignore_ascii_case("false") {
            self.ignore::<()>(name, &text, "true or false");
        }
        is_true
    }

    /// Says of variables that would change what is sent, and are not supported, that they do not.
    fn check_unsupported(&mut self) {
        let supported = |name: &str, text: &str| match name {
            "OTEL_PROPAGATORS" => text.split(',').any(|name| name.trim() == "tracecontext"),
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE" => text.eq_ignore_ascii_case("cumulative"),
            _ => text.eq_ignore_ascii_case("explicit_bucket_histogram"),
        };
        for (name, expected) in [
            ("OTEL_PROPAGATORS", "with tracecontext: traces are followed by traceparent only"),
            (
                "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
                "cumulative: let the collector convert the metrics",
            ),
            ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram"),
        ] {
            if let Some(text) = self.variable(name).filter(|text| !supported(name, text)) {
                self.ignore::<()>(name, &text, expected);
            }
        }
        for what in ["CLIENT_CERTIFICATE", "CLIENT_KEY"] {
            for signal in [TRACES, METRICS] {
                if let Some((name, _)) = self.of_signal(signal, what) {
                    (self.warn)(format!(
                        "the variable {name} is ignored: certificates of clients are not supported. Name a collector that takes \
                         another key, by headers-file=, or one on this machine that passes on"
                    ));
                }
            }
        }
    }

    /// Returns whether the variable of a signal's exporter says that there is none.
    fn is_excluded(&mut self, name: &str) -> bool {
        let Some(text) = self.variable(name) else { return false };
        let exporters: Vec<_> = text.split(',').map(str::trim).collect();
        if exporters.contains(&"otlp") {
            return false;
        }
        if exporters != ["none"] {
            (self.warn)(format!(
                "the variable {name} is '{text}', and there is no exporter but otlp: nothing is sent"
            ));
        }
        true
    }

    fn milliseconds(&mut self, name: &str) -> Option<u64> {
        let text = self.variable(name)?;
        self.parsed_milliseconds(name, &text)
    }

    fn parsed_milliseconds(&mut self, name: &str, text: &str) -> Option<u64> {
        let number = text.parse().ok().filter(|number| (1..=86_400_000).contains(number));
        number.or_else(|| self.ignore(name, text, "a number of milliseconds, of at most a day"))
    }

    fn number(&mut self, name: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let text = self.variable(name)?;
        let number = text.parse().ok().filter(|number| range.contains(number));
        number
            .or_else(|| self.ignore(name, &text, &format!("a number, {} to {}", range.start(), range.end())))
    }

    /// Returns the variable of a signal, or that of all, with its name.
    fn of_signal(&self, signal: Signal, what: &str) -> Option<(String, String)> {
        [format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.variables), format!("OTEL_EXPORTER_OTLP_{what}")]
            .into_iter()
            .find_map(|name| self.variable(&name).map(|text| (name, text)))
    }

    /// Returns a variable; one that is empty counts as none.
    fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn ignore<T>(&mut self, name: &str, text: &str, expected: &str) -> Option<T> {
        (self.warn)(format!("the variable {name} is ignored, which is '{text}': it must be {expected}"));
        None
    }
}
