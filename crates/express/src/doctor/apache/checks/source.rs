//! Applications whose source can be fetched.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use wsgi_core::words::display;

use super::on;
use crate::doctor::apache::Configuration;
use crate::doctor::apache::authorization::{Access, access};
use crate::doctor::apache::handlers::handler;
use crate::doctor::apache::line::place;
use crate::doctor::apache::mapping::{Kind, Mapping, taking};
use crate::doctor::apache::model::{Host, document_root};
use crate::doctor::check::Check;
use crate::doctor::finding::{Finding, Place};

pub(super) const CHECK: Check = Check {
    name: "exposed-source",
    about: "A script in a directory whose files are served, through `DocumentRoot` or an `Alias` of any virtual host: whoever knows its name \
            can read the source, and with it perhaps passwords.",
    run: |subject| on(subject, check),
};

fn check(configuration: &Configuration) -> Vec<Finding> {
    let model = &configuration.model;
    let mut scripts: Vec<PathBuf> = model
        .hosts
        .iter()
        .flat_map(|host| host.own.aliases.iter())
        .filter_map(|alias| Some(configuration.script_of(alias)?.0))
        .collect();
    scripts.sort();
    scripts.dedup();
    let mut findings: Vec<Finding> = Vec::new();
    for host in model.hosts.iter().filter(|host| model.is_reached(host)) {
        let mappings = model.mappings(host);
        let root = document_root(model, host, &configuration.root).map(|(directory, position)| Served {
            directory,
            prefix: b"/".to_vec(),
            line: place(&position),
            is_alias: false,
        });
        let aliases = mappings.iter().filter(|mapping| mapping.kind == Kind::Alias).filter_map(|mapping| {
            let prefix = mapping.prefix()?;
            Some(Served {
                directory: configuration.path(&mapping.target),
                prefix: [prefix.strip_suffix(b"/").unwrap_or(prefix), b"/"].concat(),
                line: place(&mapping.position),
                is_alias: true,
            })
        });
        for served in root.into_iter().chain(aliases) {
            let exposed = scripts.iter().filter_map(|script| {
                let url = served
                    .url_of(script)
                    .filter(|url| is_served(configuration, host, &mappings, &served, script, url))?;
                Some((script, url))
            });
            let exposed: Vec<_> = exposed.collect();
            let Some((script, url)) = exposed.first() else { continue };
            let more = match exposed.len() - 1 {
                0 => String::new(),
                more => format!(" (and of {more} more)"),
            };
            // What the main server serves, each host may serve, too.
            if findings.iter().any(|finding| finding.place.as_ref() == Some(&served.line)) {
                continue;
            }
            findings.push(
                Finding::warning(format!(
                    "the source of {}{more} can be fetched from {}",
                    script.display(),
                    host.shown()
                ))
                .at(Some(&served.line))
                .because(format!(
                    "the files of {} are served, this one at {}",
                    served.directory.display(),
                    display(url)
                ))
                .remedy(
                    "move the application out of that directory: it needs no place where files are served",
                ),
            );
        }
    }
    findings
}

/// A directory whose files are served.
struct Served {
    directory: PathBuf,
    /// The URL of it, with a slash at the end.
    prefix: Vec<u8>,
    line: Place,
    is_alias: bool,
}

impl Served {
    fn url_of(&self, file: &Path) -> Option<Vec<u8>> {
        let rest = file.strip_prefix(&self.directory).ok()?;
        Some([&self.prefix, rest.as_os_str().as_bytes()].concat())
    }
}

fn is_served(
    configuration: &Configuration,
    host: &Host,
    mappings: &[Mapping],
    served: &Served,
    script: &Path,
    url: &[u8],
) -> bool {
    if mappings.iter().any(Mapping::is_uncertain) {
        return false;
    }
    // An application that takes the URL keeps its source to itself.
    let is_reached = match taking(mappings.iter(), url) {
        Some(taker) => served.is_alias && taker.kind == Kind::Alias && place(&taker.position) == served.line,
        None => !served.is_alias,
    };
    let name = script.file_name().map(OsStr::as_bytes);
    let sections = configuration.model.sections(host, script.parent().unwrap_or(script), name, url);
    let is_handled = handler(&configuration.model, host, &sections, name.unwrap_or_default()).is_some();
    is_reached && access(&sections) == Access::Open && !is_handled
}
