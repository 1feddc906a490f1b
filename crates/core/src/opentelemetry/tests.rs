use super::*;
use crate::wire::exporter::Collector;

/// The outcome with these variables, and the warnings.
fn resolved(settings: &Settings, variables: &[(&str, &str)]) -> (Option<Resolved>, Vec<String>) {
    let mut warnings = Vec::new();
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let resolved = settings.resolve(&variable, &mut |text| warnings.push(text));
    (resolved, warnings)
}

/// The outcome where nothing is warned of.
fn plan(settings: &Settings, variables: &[(&str, &str)]) -> Resolved {
    let (resolved, warnings) = resolved(settings, variables);
    assert_eq!(warnings, [""; 0], "{variables:?}");
    resolved.expect("something is exported")
}

fn on() -> Settings {
    Settings { is_on: true, ..Settings::default() }
}

fn url(collector: &Option<Collector>) -> &str {
    collector.as_ref().map_or("", |collector| std::str::from_utf8(&collector.url).unwrap())
}

#[test]
fn without_variables_the_defaults_of_the_specification_hold() {
    let Resolved { plan, sampler } = plan(&on(), &[]);
    assert_eq!(url(&plan.traces), "http://localhost:4318/v1/traces");
    assert_eq!(url(&plan.metrics), "http://localhost:4318/v1/metrics");
    assert_eq!((plan.interval, plan.queue, plan.batch, plan.delay), (60_000, 2_048, 512, 5_000));
    let traces = plan.traces.unwrap();
    assert_eq!((traces.timeout, traces.is_compressed), (10_000, false));
    assert_eq!(sampler, Some(Sampler::default()));
}

#[test]
fn nothing_is_exported_unless_wanted() {
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")];
    assert_eq!(resolved(&Settings::default(), &variables).0, None, "no directive");
    assert_eq!(resolved(&on(), &[("OTEL_SDK_DISABLED", "True")]).0, None);
    assert_ne!(resolved(&on(), &[("OTEL_SDK_DISABLED", "yes")]).0, None);
    let none = [("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")];
    assert_eq!(resolved(&on(), &none).0, None);
    let metrics = plan(&on(), &none[..1]);
    assert!(metrics.plan.traces.is_none() && metrics.plan.metrics.is_some() && metrics.sampler.is_none());
    let signals = Some(Signals { traces: true, metrics: false });
    let traces = plan(&Settings { signals, ..on() }, &none);
    assert!(traces.plan.traces.is_some() && traces.plan.metrics.is_none(), "the directive wins");
}

#[test]
fn endpoints_of_variables_are_those_of_the_specification() {
    let common = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/base/");
    let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/path");
    let both = plan(&on(), &[common, own]).plan;
    assert_eq!(
        (url(&both.traces), url(&both.metrics)),
        ("https://traces/path", "http://collector:4318/base/v1/metrics")
    );
    let settings = Settings { endpoint: Some("http://[::1]:4318/".to_owned()), ..on() };
    let directive = plan(&settings, &[common, own]).plan;
    assert_eq!(url(&directive.traces), "http://[::1]:4318/v1/traces");
    let (empty, _) = resolved(&on(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]);
    assert_eq!(url(&empty.unwrap().plan.traces), "http://localhost:4318/v1/traces");
}

#[test]
fn variables_of_a_signal_come_before_common_ones_and_the_directive_before_both() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1, b = x%20y ,c=%3D"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "d=2"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "7000"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "8000"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ];
    let Resolved { plan: both, .. } = plan(&on(), &variables);
    let (traces, metrics) = (both.traces.unwrap(), both.metrics.unwrap());
    let pairs = |collector: &Collector| {
        let text = |bytes: &[u8]| String::from_utf8(bytes.into()).unwrap();
        collector.headers.iter().map(|(key, value)| (text(key), text(value))).collect::<Vec<_>>()
    };
    let of = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(pairs(&traces), of(&[("a", "1"), ("b", "x y"), ("c", "=")]));
    assert_eq!(pairs(&metrics), of(&[("d", "2")]));
    assert_eq!((traces.timeout, metrics.timeout), (7_000, 8_000));
    assert_eq!((traces.is_compressed, metrics.is_compressed), (false, true));
    assert_eq!(traces.certificate.as_deref(), Some(&b"/ca.pem"[..]));
    let settings = Settings {
        timeout: Some(500),
        is_compressed: Some(true),
        certificate: Some(b"/own.pem"[..].into()),
        ..on()
    };
    let traces = plan(&settings, &variables).plan.traces.unwrap();
    assert_eq!((traces.timeout, traces.is_compressed), (500, true));
    assert_eq!(traces.certificate.as_deref(), Some(&b"/own.pem"[..]));
}

#[test]
fn samplers_have_the_names_of_the_specification() {
    let half = Ratio::parse("0.5").unwrap();
    for (name, follows_parent, ratio) in [
        ("always_on", false, Ratio::ALL),
        ("always_off", false, Ratio::NONE),
        ("traceidratio", false, half),
        ("parentbased_always_on", true, Ratio::ALL),
        ("parentbased_always_off", true, Ratio::NONE),
        ("parentbased_traceidratio", true, half),
    ] {
        let variables = [("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", "0.5")];
        assert_eq!(plan(&on(), &variables).sampler, Some(Sampler { follows_parent, ratio }), "{name}");
        let sample = Settings { sample: Some(half), ..on() };
        let sampler = Some(Sampler { follows_parent: true, ratio: half });
        assert_eq!(plan(&sample, &variables).sampler, sampler, "the directive wins over {name}");
    }
    let ratio = [("OTEL_TRACES_SAMPLER", "traceidratio")];
    assert_eq!(plan(&on(), &ratio).sampler, Some(Sampler { follows_parent: false, ratio: Ratio::ALL }));
}

#[test]
fn the_service_is_named_by_the_most_special() {
    let attributes =
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,deployment.environment.name=test,service.name=b");
    let own = ("OTEL_SERVICE_NAME", "c");
    let settings = Settings { service_name: Some("d".to_owned()), ..on() };
    for (settings, variables, name) in [
        (&on(), &[attributes][..], "b"),
        (&on(), &[attributes, own], "c"),
        (&settings, &[attributes, own], "d"),
    ] {
        let resource = plan(settings, variables).plan.resource;
        let names: Vec<_> = resource.iter().filter(|(key, _)| **key == *b"service.name").collect();
        assert!(matches!(names[..], [(_, value)] if **value == *name.as_bytes()), "{resource:?}");
        assert!(
            resource
                .iter()
                .any(|(key, value)| **key == *b"deployment.environment.name" && **value == *b"test")
        );
    }
}

#[test]
fn values_that_mean_nothing_are_reported_and_ignored() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=%zz"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=x%0Ay"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "many"),
        ("OTEL_BSP_SCHEDULE_DELAY", ""),
        ("OTEL_RESOURCE_ATTRIBUTES", "x"),
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@127.0.0.1:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/?key=secret"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2049"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/etc/key.pem"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "/etc/client.pem"),
    ] {
        let (resolved, warnings) = resolved(&on(), &[(name, value)]);
        assert_eq!(warnings.len(), usize::from(!value.is_empty()), "{name}={value}: {warnings:?}");
        assert!(warnings.iter().all(|text| text.contains(name) && !text.contains("secret")), "{warnings:?}");
        let usual = match name {
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE" if value == "2049" => {
                plan(&on(), &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2048")])
            }
            _ => plan(&on(), &[]),
        };
        assert_eq!(resolved, Some(usual), "{name}={value}");
    }
    for supported in [
        ("OTEL_SDK_DISABLED", "False"),
        ("OTEL_PROPAGATORS", "tracecontext, baggage"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Cumulative"),
    ] {
        plan(&on(), &[supported]);
    }
    let (excluded, warnings) = resolved(&on(), &[("OTEL_TRACES_EXPORTER", "zipkin")]);
    assert!(excluded.unwrap().plan.traces.is_none() && warnings.len() == 1);
}

#[test]
fn a_batch_is_no_larger_than_the_queue() {
    let Resolved { plan, .. } = plan(&on(), &[("OTEL_BSP_MAX_QUEUE_SIZE", "100")]);
    assert_eq!((plan.queue, plan.batch), (100, 100));
}

#[test]
fn an_endpoint_is_a_url() {
    for url in [
        "http://127.0.0.1:4318",
        "HTTPS://collector.example.org/path/",
        "http://[::1]:4318",
        "http://[::1]",
        "http://a",
    ] {
        assert_eq!(check_endpoint(url), Ok(()), "{url}");
    }
    for url in [
        "",
        "127.0.0.1:4318",
        "grpc://a",
        "http://",
        "http://:4318",
        "http:///path",
        "http://a:port",
        "http://a:99999",
        "http://[::1",
        "http://[::1]4318",
        "http://a b",
        "http://a/?x",
        "http://a/#x",
        "http://user:secret@a",
        "http://grüße",
    ] {
        assert!(check_endpoint(url).is_err(), "{url}");
    }
}
