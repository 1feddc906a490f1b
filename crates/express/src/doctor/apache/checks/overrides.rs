//! Files `.htaccess` that have requests answered with an error, and scripts that may not run.

use wsgi_core::codes::EXECUTION_NOT_ALLOWED;

use super::on;
use crate::doctor::apache::Configuration;
use crate::doctor::apache::handlers::scripts;
use crate::doctor::apache::line::place;
use crate::doctor::check::Check;
use crate::doctor::finding::{Finding, Severity};

pub(super) const REFUSED: Check = Check {
    name: "htaccess",
    about: "A line of `.htaccess` that Apache does not permit there, by `AllowOverride` or at all, or that the module objects to: every request \
            below its directory gets a 500. Looked at are the directories of scripts and those above, and those whose files are served.",
    run: |subject| on(subject, refused),
};

pub(super) const EXEC_CGI: Check = Check {
    name: "exec-cgi",
    about: "A script that `AddHandler` or `SetHandler` makes one (`wsgi-script`), in a directory without `Options ExecCGI`: every request for \
            it gets a 403.",
    run: |subject| on(subject, not_run),
};

fn refused(configuration: &Configuration) -> Vec<Finding> {
    let finding = |refusal: &crate::doctor::apache::overrides::Refusal| {
        let remedy = match refusal.class {
            Some(class) => format!(
                "permit it: `AllowOverride {class}` in <Directory \"{}\">; or move the line there",
                refusal.directory.display()
            ),
            None => "remove the line, or move it to the configuration of the server".to_owned(),
        };
        let finding = Finding::error(&refusal.what)
            .at(Some(&place(&refusal.position)))
            .because(format!(
                "every request below {} is answered with status 500",
                refusal.directory.display()
            ))
            .remedy(remedy);
        // Nothing may ever be asked for below other directories.
        let severity = if refusal.has_script { Severity::Error } else { Severity::Warning };
        Finding { severity, ..finding }
    };
    configuration.model.refusals.iter().map(finding).collect()
}

fn not_run(configuration: &Configuration) -> Vec<Finding> {
    let all = configuration.model.hosts.iter().flat_map(|host| scripts(configuration, host));
    let mut findings: Vec<Finding> = Vec::new();
    for script in all.filter(|script| !script.may_run) {
        let finding = Finding::error(format!("the script {} may not run", script.file.display()))
            .at(Some(&script.place))
            .because(format!(
                "Options ExecCGI is not in force in its directory, so {} gets a 403",
                script.url
            ))
            .remedy("add `Options +ExecCGI` to its <Directory>, or let a WSGIScriptAlias lead to it")
            .code(EXECUTION_NOT_ALLOWED);
        if !findings.iter().any(|other| other.what == finding.what) {
            findings.push(finding);
        }
    }
    findings
}
