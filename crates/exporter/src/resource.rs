//! The resource that spans and metrics are of: this server.

use wsgi_core::wire::exporter::ExporterPlan;

use crate::proto::{KeyValue, Resource};

/// The name of a service that nobody has named, as the specification wants it.
const UNKNOWN_SERVICE: &str = "unknown_service:mod_wsgi";

/// Returns the resource. What the plan says comes last, and wins.
pub(crate) fn of(plan: &ExporterPlan) -> Resource {
    let mut attributes = vec![
        KeyValue::text("service.name", UNKNOWN_SERVICE),
        KeyValue::text("telemetry.sdk.name", "mod_wsgi-rs"),
        KeyValue::text("telemetry.sdk.language", "rust"),
        KeyValue::text("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        KeyValue::int("process.pid", plan.server_pid.into()),
    ];
    if let Some(name) = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()) {
        attributes.push(KeyValue::text("host.name", &name));
    }
    for (key, value) in &plan.resource {
        let key = String::from_utf8_lossy(key);
        attributes.retain(|attribute| attribute.key != key);
        attributes.push(KeyValue::text(&key, &String::from_utf8_lossy(value)));
    }
    Resource { attributes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_plan_says_wins() {
        let text = |text: &str| -> Box<[u8]> { text.as_bytes().into() };
        let resource = vec![(text("service.name"), text("shop")), (text("host.name"), text("h"))];
        let Resource { attributes } =
            of(&ExporterPlan { resource, server_pid: 7, ..ExporterPlan::default() });
        for expected in [
            KeyValue::text("service.name", "shop"),
            KeyValue::text("host.name", "h"),
            KeyValue::int("process.pid", 7),
        ] {
            let found: Vec<_> = attributes.iter().filter(|attribute| attribute.key == expected.key).collect();
            assert_eq!(found, [&expected]);
        }
        let Resource { attributes } = of(&ExporterPlan::default());
        assert!(attributes.contains(&KeyValue::text("service.name", UNKNOWN_SERVICE)));
    }
}
