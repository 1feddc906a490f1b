//! A configuration that cannot be read as it stands, and what the module objects to.

use nix::unistd::geteuid;
use wsgi_core::codes::CODES;
use wsgi_core::diagnostic::{Diagnostic, Severity};

use super::on;
use crate::doctor::apache::Configuration;
use crate::doctor::apache::line::place;
use crate::doctor::check::Check;
use crate::doctor::finding::Finding;

pub(super) const CHECK: Check = Check {
    name: "syntax",
    about: "A configuration that Apache refuses (`httpd -t`), with Apache's own message, file and line. Where Apache cannot be asked, files \
            that cannot be read, sections that are not closed and lines of this module with a mistake.",
    run: |_| Vec::new(),
};

pub(super) const REVIEW: Check = Check {
    name: "directives",
    about: "What the module warns of when the server starts: process groups that no request goes to, that are not defined, or that belong to \
            another virtual host; names that are not expanded; aliases that others take; directives without effect.",
    run: |subject| {
        on(subject, |configuration| configuration.model.review().into_iter().map(finding).collect())
    },
};

/// Returns what was found when the configuration was read.
pub(in crate::doctor::apache) fn reading(configuration: &Configuration) -> Vec<Finding> {
    let mut findings = Vec::new();
    let word = configuration.word.as_ref();
    if let Some(complaint) = word.and_then(|word| word.complaint.as_ref()) {
        let finding = if is_of_user(configuration, &complaint.text) {
            Finding::warning(
                "Apache refuses the configuration to the present user, who may not read all of it",
            )
        } else {
            Finding::error("Apache refuses the configuration")
        };
        findings.push(
            finding
                .at(complaint.position.as_ref().map(place).as_ref())
                .because(&complaint.text)
                .remedy(remedy(&complaint.text, configuration.module().is_some())),
        );
    }
    let warnings = word.iter().flat_map(|word| &word.warnings);
    findings.extend(
        warnings.map(|warning| Finding::warning("Apache warns of the configuration").because(warning)),
    );
    let is_accepted = word.is_some_and(|word| word.complaint.is_none());
    if !is_accepted {
        for problem in &configuration.problems {
            let remedy =
                if problem.position.is_none() { "check --config, and who may read the file" } else { "" };
            let place = problem.position.as_ref().map(place);
            let is_of_user = place.is_some() && is_of_user(configuration, &problem.text);
            let finding = if is_of_user { Finding::warning } else { Finding::error };
            findings.push(finding(problem.text.clone()).at(place.as_ref()).remedy(remedy));
        }
        // Apache names the first of them only, and stops there.
        for (reason, position) in &configuration.model.refused {
            let is_named = word
                .and_then(|word| word.complaint.as_ref())
                .is_some_and(|complaint| complaint.position.as_ref() == Some(position));
            if !is_named {
                findings.push(Finding::error(reason).at(Some(&place(position))));
            }
        }
    }
    let launcher = configuration.launcher.as_ref();
    if launcher.is_none() {
        findings.push(
            Finding::note("no Apache was found that could say what it thinks of the configuration")
                .remedy("install it, or name it with --httpd-executable"),
        );
    } else if let Some(reluctance) = launcher.and_then(|launcher| launcher.reluctance.as_ref()) {
        findings.push(
            Finding::note("Apache is not asked about the configuration")
                .because(reluctance)
                .remedy("run the doctor as the owner of the file"),
        );
    } else if word.is_none() && configuration.is_readable {
        findings.push(
            Finding::warning("Apache could not be asked about the configuration")
                .because("it could not be run, or did not end in time"),
        );
    }
    for finding in &mut findings {
        finding.check = CHECK.name;
    }
    findings
}

/// Returns whether a message of Apache's may be about what only root can read, and nobody else has it
/// checked here.
fn is_of_user(configuration: &Configuration, text: &str) -> bool {
    let signs = ["Permission denied", "does not exist or is empty"];
    configuration.is_root && !geteuid().is_root() && signs.iter().any(|sign| text.contains(sign))
}

/// Returns what to do about a message of Apache's.
fn remedy(text: &str, has_module: bool) -> &'static str {
    if has_module && text.contains("Invalid command 'WSGI") {
        return "correct the name; or the module that is loaded is another one, or an older one, which has no such directive";
    }
    for (sign, remedy) in [
        (
            "Invalid command 'WSGI",
            "load the module above this line: `mod_wsgi-express module-config` prints the line LoadModule",
        ),
        ("Invalid command", "correct the name, or load the module that defines it"),
        ("cannot open shared object file", "correct the path of LoadModule, or install the module"),
        ("version `GLIBC", "install a build of the module for this system, or build it here"),
        ("undefined symbol", "build the module for this Apache, with its own headers"),
        (
            "is not compatible with this version of Apache",
            "build the module for this Apache, with its own headers",
        ),
        ("perhaps this is not an Apache module", "name the file mod_wsgi.so in LoadModule"),
        ("Permission denied", "run the doctor as root, as the server is started, or permit the access"),
        (
            "does not exist or is empty",
            "run the doctor as root, as the server is started, or correct the path",
        ),
        ("bad user name", "name an existing user, or create it"),
        (
            "No MPM loaded",
            "load a processing model, such as mpm_event_module; a file that others include is checked with the file that includes it",
        ),
        ("DefaultRuntimeDir must be", "create that directory, as the script that starts the server does"),
        ("bad group name", "name an existing group, or create it"),
    ] {
        if text.contains(sign) {
            return remedy;
        }
    }
    "correct the line; Apache does not start, and a running one ends when it is told to restart"
}

/// Returns the finding of something that the module logs, too.
fn finding(diagnostic: Diagnostic) -> Finding {
    let coded = diagnostic.what.split_once(": ").and_then(|(id, rest)| {
        let code = CODES.iter().find(|code| code.id == id)?;
        Some((*code, rest.to_owned()))
    });
    let (code, what) = coded.map_or((None, diagnostic.what), |(code, what)| (Some(code), what));
    let finding = match diagnostic.severity {
        Severity::Warning => Finding::warning(what),
        Severity::Info => Finding::note(what),
    };
    let finding = finding.at(diagnostic.position.as_ref().map(place).as_ref()).remedy(diagnostic.remedy);
    match code {
        Some(code) => finding.code(code),
        None => finding,
    }
}
