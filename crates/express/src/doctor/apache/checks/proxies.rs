//! Headers of proxies that everybody can forge, and those that nobody reads.

use std::net::IpAddr;

use wsgi_core::config::DirectoryConfig;

use super::on;
use crate::doctor::apache::Configuration;
use crate::doctor::apache::line::Line;
use crate::doctor::apache::model::Host;
use crate::doctor::check::Check;
use crate::doctor::finding::Finding;

pub(super) const CHECK: Check = Check {
    name: "proxy-headers",
    about: "Headers of proxies that are trusted too widely (`WSGITrustedProxyHeaders` without `WSGITrustedProxies`; \
            `RemoteIPHeader` without trusted proxies), so that every client can claim an address; and none that is trusted where a \
            proxy must be in front, since the server listens on the loopback address only.",
    run: |subject| on(subject, check),
};

fn check(configuration: &Configuration) -> Vec<Finding> {
    let is_local = is_local(configuration);
    let mut findings = Vec::new();
    for host in &configuration.model.hosts {
        let own = Scope { lines: &host.lines, settings: &host.own.defaults, outer: &host.merged.defaults };
        let sections = host.sections.iter().map(|section| Scope {
            lines: &section.lines,
            settings: &section.settings,
            outer: &host.merged.defaults,
        });
        for scope in std::iter::once(own).chain(sections) {
            findings.extend(too_wide(&scope, is_local));
        }
    }
    findings.extend(remote_ip(configuration, is_local));
    if is_local {
        // Once: it is the same proxy for all hosts.
        findings.extend(configuration.model.hosts.iter().find_map(|host| not_at_all(configuration, host)));
    }
    findings
}

/// Lines of one level, and what holds there.
struct Scope<'s> {
    lines: &'s [Line],
    settings: &'s DirectoryConfig,
    outer: &'s DirectoryConfig,
}

fn too_wide(scope: &Scope<'_>, is_local: bool) -> Option<Finding> {
    let headers = scope.lines.iter().find(|line| line.is("WSGITrustedProxyHeaders"));
    let trusted = scope.settings.trusted_proxies.as_ref().or(scope.outer.trusted_proxies.as_ref());
    let (Some(headers), None, false) = (headers, trusted, is_local) else { return None };
    Some(
        Finding::warning("the headers of proxies are believed whoever sends them")
            .at(Some(&headers.place()))
            .because(
                "there is no WSGITrustedProxies: any client can claim another address, host name or https",
            )
            .remedy("name the proxies, as in `WSGITrustedProxies 10.0.0.7`, or let only them reach the port"),
    )
}

/// Returns what is wrong with `mod_remoteip`.
fn remote_ip(configuration: &Configuration, is_local: bool) -> Vec<Finding> {
    const LISTS: [&str; 4] = [
        "RemoteIPInternalProxy",
        "RemoteIPInternalProxyList",
        "RemoteIPTrustedProxy",
        "RemoteIPTrustedProxyList",
    ];
    let model = &configuration.model;
    let list = LISTS.iter().find_map(|name| model.all(name).next());
    let header = model.all("RemoteIPHeader").next();
    let finding = match (header, list) {
        (Some(header), None) if !is_local => {
            Finding::warning("mod_remoteip believes the address that any client claims")
                .at(Some(&header.place()))
                .because("RemoteIPHeader without trusted proxies trusts everybody")
                .remedy("name the proxies with RemoteIPInternalProxy")
        }
        (None, Some(list)) => Finding::warning(format!("{} has no effect", list.name))
            .at(Some(&list.place()))
            .because("no RemoteIPHeader names the header that the proxies send")
            .remedy("add `RemoteIPHeader X-Forwarded-For`, or what the proxies send"),
        _ => return Vec::new(),
    };
    vec![finding]
}

/// Returns what an application behind a proxy does not learn.
fn not_at_all(configuration: &Configuration, host: &Host) -> Option<Finding> {
    let alias = host.own.aliases.first()?;
    let is_set = |settings: &DirectoryConfig| settings.trusted_headers.is_some();
    if is_set(&host.merged.defaults) || host.sections.iter().any(|section| is_set(&section.settings)) {
        return None;
    }
    let has_address = configuration.model.all("RemoteIPHeader").next().is_some();
    let lacks = if has_address {
        "takes each request for one by plain http to this host and port (mod_remoteip knows about addresses only)"
    } else {
        "takes the proxy for the client, and each request for one by plain http to this host and port"
    };
    Some(
        Finding::note(format!("the application of {} knows nothing of the proxy in front of it", host.shown()))
            .at(Some(&crate::doctor::apache::line::place(&alias.position)))
            .because(format!("the server listens on the loopback address only, and the application {lacks}"))
            .remedy(
                "if there is a proxy, add `WSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host` and \
                 `WSGITrustedProxies 127.0.0.1 ::1`, and let it set them",
            ),
    )
}

/// Returns whether only this machine can reach the server.
fn is_local(configuration: &Configuration) -> bool {
    let mut lines = configuration.model.all("Listen").peekable();
    lines.peek().is_some()
        && lines.all(|line| {
            let text = line.text(0).unwrap_or_default();
            let Some((address, _)) = text.rsplit_once(':') else { return false };
            let address = address.trim_matches(['[', ']']);
            address == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        })
}
