//! The virtual hosts of the generated configuration.

use minijinja::{Value, context};

use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::names::url;
use crate::quote::{escape_substitution, render};

/// The virtual hosts of the configuration.
///
/// # Errors
/// A value cannot be written.
pub(crate) fn configuration(inputs: &Inputs<'_>) -> Result<String, Failure> {
    let settings = inputs.settings;
    let tls = settings.tls.as_ref();
    let ports = [Some(("http", settings.port)), tls.map(|tls| ("https", tls.port))];
    let mut hosts = Vec::new();
    for (scheme, port) in ports.into_iter().flatten() {
        let host =
            |name: Option<&str>, rest: Value| context! { port, name, tls => scheme == "https", ..rest };
        let to_tls = tls.filter(|tls| tls.only && scheme == "http");
        let served = |name| match to_tls {
            Some(tls) => context! { redirect => escape_substitution(&url("https", name, tls.port)) },
            None => context! {},
        };
        match &settings.names {
            // The first host of a port is the one for all names that no other has.
            None => {
                // The name that was asked for; a variable of Apache's, which escape_substitution
                // would take the meaning from.
                let any = to_tls.map(|tls| url("https", "%{SERVER_NAME}", tls.port));
                hosts.push(host(None, context! { redirect => any }));
            }
            Some(names) => {
                let local = names.allow_localhost;
                hosts.push(host(Some(NOBODY), context! { closed => !local, local }));
                let aliases = names.aliases.clone();
                hosts.push(host(Some(&names.name), context! { aliases, ..served(&names.name) }));
                if let Some(parent) = names.parent() {
                    let (scheme, port) = to_tls.map_or((scheme, port), |tls| ("https", tls.port));
                    let redirect = escape_substitution(&url(scheme, &names.name, port));
                    hosts.push(host(Some(parent), context! { redirect }));
                }
            }
        }
        if scheme == "http" {
            hosts.extend(settings.proxies.hosts(port)?);
        }
    }
    let tls = tls.map(crate::tls::Tls::context);
    render(
        "hosts",
        include_str!("../templates/hosts.conf"),
        context! { hosts, tls, rewriting => settings.proxies.rewrites(), health => settings.health.context(&settings.server_root),
        status => settings.files.status },
    )
}

/// The name of the host for all names but the known ones: none that can be asked for (RFC 6761).
const NOBODY: &str = "other-names.invalid";
