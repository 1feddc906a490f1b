//! URLs that another line takes than the one that is meant.

use std::path::Path;

use wsgi_core::words::display;

use super::on;
use crate::doctor::apache::Configuration;
use crate::doctor::apache::line::place;
use crate::doctor::apache::mapping::{Kind, Mapping, taking};
use crate::doctor::apache::model::document_root;
use crate::doctor::check::Check;
use crate::doctor::finding::Finding;

pub(super) const SHADOWED: Check = Check {
    name: "shadowed-url",
    about: "A `WSGIScriptAlias`, `Alias` or exclusion of `ProxyPass` that no request reaches, because another line takes its URLs: requests come \
            first to `ProxyPass`, then to `Redirect`, then to `Alias` and `ScriptAlias`, and last to `WSGIScriptAlias`, wherever the lines stand; \
            among equals, the first line that fits decides, and a virtual host's come before the main server's.",
    run: |subject| on(subject, shadowed),
};

pub(super) const UNSERVED: Check = Check {
    name: "unserved-files",
    about: "Static files in `DocumentRoot` that are never served, because `WSGIScriptAlias /` takes their URLs.",
    run: |subject| on(subject, unserved),
};

pub(super) const SLASHES: Check = Check {
    name: "alias-slash",
    about: "An `Alias` whose URL ends with a slash and whose directory does not: the name of the file is glued to the directory's.",
    run: |subject| on(subject, slashes),
};

fn shadowed(configuration: &Configuration) -> Vec<Finding> {
    let model = &configuration.model;
    let mut findings = Vec::new();
    for host in &model.hosts {
        let mappings = model.mappings(host);
        for (index, mapping) in mappings.iter().enumerate() {
            let is_own = host.lines.iter().any(|line| line.position == mapping.position);
            let Some(url) = mapping.prefix().filter(|_| is_own && mapping.kind != Kind::Redirect) else {
                continue;
            };
            let mut before = mappings[..index].iter();
            let before = if mapping.is_exclusion {
                before.find(|other| other.kind == Kind::Proxy && !other.is_exclusion && other.takes(url))
            } else {
                taking(before, url)
            };
            let Some(other) = before else { continue };
            // What the module itself says of its aliases is in its own review.
            let is_reviewed = mapping.kind == Kind::Wsgi && other.kind == Kind::Wsgi;
            let is_same = mapping.kind == other.kind && mapping.target == other.target;
            // Those who send all requests elsewhere mean it.
            if !is_reviewed && !is_same {
                findings.push(shadow(mapping, other));
            }
        }
    }
    findings
}

fn shadow(mapping: &Mapping, other: &Mapping) -> Finding {
    let what = format!("no request reaches {}", mapping.shown());
    let finding = match (mapping.kind, other.kind) {
        (_, Kind::Redirect) => Finding::note(what),
        (Kind::Wsgi, _) => Finding::error(what),
        _ => Finding::warning(what),
    };
    let line = place(&other.position);
    let why = format!("{} ({line}) takes its URLs", other.shown());
    let remedy = match (mapping.kind, other.kind) {
        _ if mapping.is_exclusion => "put the exclusion above it",
        (Kind::Proxy, _) | (Kind::Alias, Kind::Alias) => "put this line above that one",
        (_, Kind::Redirect) => "remove this line, or exclude its URLs with RedirectMatch",
        (_, Kind::Proxy) => "exclude its URLs above that line, as in `ProxyPass URL !`",
        (Kind::Wsgi, _) => {
            "an Alias comes before each WSGIScriptAlias, whatever the order of the lines: let the directory of that alias be DocumentRoot, or \
             give it a URL of its own"
        }
        _ => "give it another URL",
    };
    finding.at(Some(&place(&mapping.position))).because(why).remedy(remedy)
}

/// Names in a document root by which static files are expected to be served.
const STATIC: [&str; 6] = ["static", "media", "assets", "favicon.ico", "robots.txt", ".well-known"];

fn unserved(configuration: &Configuration) -> Vec<Finding> {
    let model = &configuration.model;
    let mut findings = Vec::new();
    for host in &model.hosts {
        let Some((root, position)) = document_root(model, host, &configuration.root) else { continue };
        // The files of the main server need not be meant for a virtual host.
        if host.position.is_some() && !host.lines.iter().any(|line| line.is("DocumentRoot")) {
            continue;
        }
        let mappings = model.mappings(host);
        for name in STATIC {
            let path = root.join(name);
            let is_filled =
                |directory: &Path| directory.read_dir().is_ok_and(|mut entries| entries.next().is_some());
            if !(path.is_file() || is_filled(&path)) {
                continue;
            }
            let url = format!("/{name}");
            // An alias may have a slash at its end.
            let asked = if path.is_dir() { format!("{url}/") } else { url.clone() };
            let Some(taker) =
                taking(mappings.iter(), asked.as_bytes()).filter(|taker| taker.kind == Kind::Wsgi)
            else {
                continue;
            };
            // Whoever rewrites chooses between files and application, such as mod_wsgi-express.
            if host.lines.iter().any(|line| line.is("RewriteRule"))
                || mappings.iter().any(Mapping::is_uncertain)
            {
                continue;
            }
            findings.push(
                Finding::warning(format!("{} is not served at {url} of {}", path.display(), host.shown()))
                    .at(Some(&place(&taker.position)))
                    .because(format!(
                        "{} takes all URLs below it, also those of files in the DocumentRoot of {}",
                        taker.shown(),
                        place(&position)
                    ))
                    .remedy(format!("add `Alias {url} {}`", path.display())),
            );
        }
    }
    findings
}

fn slashes(configuration: &Configuration) -> Vec<Finding> {
    let mut findings = Vec::new();
    for host in &configuration.model.hosts {
        for mapping in host.lines.iter().filter_map(Mapping::of).filter(|mapping| mapping.kind == Kind::Alias)
        {
            let Some(url) = mapping.prefix() else { continue };
            let ends = |text: &[u8]| text.ends_with(b"/");
            if url != b"/"
                && ends(url)
                && !ends(&mapping.target)
                && configuration.path(&mapping.target).is_dir()
            {
                let (url, target) = (display(url), display(&mapping.target));
                findings.push(
                    Finding::warning(format!("{url}x is looked for as {target}x, and not in {target}"))
                        .at(Some(&place(&mapping.position)))
                        .because("the URL ends with a slash, and the directory does not")
                        .remedy(format!("write `Alias {url} {target}/`")),
                );
            }
        }
    }
    findings
}
