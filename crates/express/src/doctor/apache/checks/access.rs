//! Files that nobody may have, because no line grants it.

use std::path::Path;

use wsgi_core::words::display;

use super::on;
use crate::doctor::apache::Configuration;
use crate::doctor::apache::authorization::{Access, access, old_permission};
use crate::doctor::apache::line::place;
use crate::doctor::apache::mapping::{Kind, taking};
use crate::doctor::apache::model::Host;
use crate::doctor::check::Check;
use crate::doctor::finding::{Finding, Place};

pub(super) const CHECK: Check = Check {
    name: "access-denied",
    about: "A script, or a directory of an `Alias`, that every request for gets a 403, because `Require all granted` is missing for its \
            directory: the usual `<Directory />` denies everything else. Also `Allow from all`, which grants nothing since Apache 2.4.",
    run: |subject| on(subject, check),
};

fn check(configuration: &Configuration) -> Vec<Finding> {
    let model = &configuration.model;
    let mut findings: Vec<Finding> = Vec::new();
    for host in &model.hosts {
        let mappings = model.mappings(host);
        for alias in &host.own.aliases {
            let Some((file, url)) = configuration.script_of(alias) else { continue };
            // What another line takes is found elsewhere.
            if taking(mappings.iter(), url.as_bytes()).is_some_and(|taking| taking.position == alias.position)
            {
                let directory = file.parent().unwrap_or(&file);
                let name = file.file_name().map(std::os::unix::ffi::OsStrExt::as_bytes);
                let what =
                    format!("nobody may have {url} of {}: the script {}", host.shown(), file.display());
                let position = place(&alias.position);
                findings.extend(denied(
                    configuration,
                    host,
                    directory,
                    name,
                    url.as_bytes(),
                    what,
                    &position,
                ));
            }
        }
        let own = mappings.iter().filter(|mapping| mapping.kind == Kind::Alias);
        for alias in own.filter(|alias| host.lines.iter().any(|line| line.position == alias.position)) {
            let Some(url) = alias.prefix() else { continue };
            let target = configuration.path(&alias.target);
            if !target.is_absolute()
                || taking(mappings.iter(), url).is_none_or(|taking| taking.position != alias.position)
            {
                continue;
            }
            let is_file = target.is_file();
            let directory = if is_file { target.parent().unwrap_or(&target) } else { &target };
            let name = target.file_name().filter(|_| is_file).map(std::os::unix::ffi::OsStrExt::as_bytes);
            let what = format!("nobody may have {} of {}: {}", display(url), host.shown(), target.display());
            let found = denied(configuration, host, directory, name, url, what, &place(&alias.position));
            findings.extend(
                found.map(|finding| Finding {
                    severity: crate::doctor::finding::Severity::Warning,
                    ..finding
                }),
            );
        }
    }
    findings
}

fn denied(
    configuration: &Configuration,
    host: &Host,
    directory: &Path,
    name: Option<&[u8]>,
    url: &[u8],
    what: String,
    at: &Place,
) -> Option<Finding> {
    let model = &configuration.model;
    let sections = model.sections(host, directory, name, url);
    let Access::Denied { position, is_old, is_default } = access(&sections) else { return None };
    // Conditions of a request may let it in.
    if model.is_conditional("Require") {
        return None;
    }
    let line = place(&position);
    let remedy = format!(
        "add `<Directory \"{}\">` with `Require all granted` (or what else you require)",
        directory.display()
    );
    let denied = Finding::error(what).at(Some(at));
    if is_old {
        return Some(
            denied.because(format!("{line} denies it to all, in the words of Apache 2.2")).remedy(remedy),
        );
    }
    if let Some(old) = sections.iter().rev().find_map(|section| old_permission(section)) {
        return Some(
            denied
                .because(format!(
                    "{} lets all in by `Allow from all`, which grants nothing since Apache 2.4: {line} denies it",
                    old.place()
                ))
                .remedy("write `Require all granted` in place of Order, Allow and Deny"),
        );
    }
    let why = if is_default {
        format!("{line} denies everything, and nothing grants this")
    } else {
        format!("{line} denies it to all")
    };
    Some(denied.because(why).remedy(remedy))
}
