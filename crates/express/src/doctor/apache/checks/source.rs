//! Applications whose source can be fetched.

use std::os::unix::ffi::OsStrExt as _;

use wsgi_core::words::display;

use super::on;
use crate::doctor::apache::Configuration;
use crate::doctor::apache::authorization::{Access, access};
use crate::doctor::apache::line::place;
use crate::doctor::apache::mapping::{Kind, taking};
use crate::doctor::apache::model::document_root;
use crate::doctor::checks::Check;
use crate::doctor::finding::Finding;

pub(super) const CHECK: Check = Check {
    name: "exposed-source",
    about: "A script in a directory whose files are served, through `DocumentRoot` or an `Alias` of any virtual host: whoever knows its name \
            can read the source, and with it perhaps passwords.",
    run: |subject| on(subject, check),
};

fn check(configuration: &Configuration) -> Vec<Finding> {
    let model = &configuration.model;
    let scripts: Vec<_> = model
        .hosts
        .iter()
        .flat_map(|host| host.own.aliases.iter())
        .filter_map(|alias| Some((configuration.script_of(alias)?.0, place(&alias.position))))
        .collect();
    let mut findings: Vec<Finding> = Vec::new();
    for host in &model.hosts {
        let mappings = model.mappings(host);
        let root = document_root(model, host, &configuration.root);
        let root = root.map(|(root, position)| (root, b"/".to_vec(), place(&position), false));
        let aliases = mappings.iter().filter(|mapping| mapping.kind == Kind::Alias).filter_map(|mapping| {
            let url = [mapping.prefix()?.strip_suffix(b"/").unwrap_or(mapping.prefix()?), b"/"].concat();
            Some((configuration.path(&mapping.target), url, place(&mapping.position), true))
        });
        for (directory, prefix, line, is_alias) in root.into_iter().chain(aliases) {
            for (script, mount) in &scripts {
                let Ok(rest) = script.strip_prefix(&directory) else { continue };
                let url = [&prefix, rest.as_os_str().as_bytes()].concat();
                // An application that takes the URL keeps its source to itself.
                let taker = taking(mappings.iter(), &url);
                let is_served = match taker {
                    Some(taker) => is_alias && taker.kind == Kind::Alias && place(&taker.position) == line,
                    None => !is_alias,
                };
                let name = script.file_name().map(std::ffi::OsStr::as_bytes);
                let sections = model.sections(host, script.parent().unwrap_or(script), name, &url);
                let is_handled = sections.iter().any(|section| {
                    section.lines.iter().any(|line| line.is("SetHandler") || line.is("AddHandler"))
                });
                if !is_served || access(&sections) != Access::Open || is_handled {
                    continue;
                }
                let what = format!("the source of {} can be fetched from {}", script.display(), host.shown());
                if findings.iter().any(|finding| finding.what == what) {
                    continue;
                }
                findings.push(
                    Finding::warning(what)
                        .at(Some(mount))
                        .because(format!("{line} serves the files of {}, this one at {}", directory.display(), display(&url)))
                        .remedy("move the application out of that directory: it needs no place where files are served"),
                );
            }
        }
    }
    findings
}
