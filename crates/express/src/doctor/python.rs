//! The Python of each group: whether it is one, and fits the module.

use std::fs;
use std::path::{Path, PathBuf};

use wsgi_core::codes::PYTHON_NOT_STARTED;
use wsgi_core::python_home::{self, Files, Interpreter, Version};

use super::check::{Check, Topic};
use super::finding::Finding;
use super::subject::{Group, Subject};

/// The files of this system.
pub(super) const FILES: Files<'_> =
    Files { read: &os::file::read_small, resolve: &Path::canonicalize, names: &os::file::names };

pub(super) static TOPIC: Topic = Topic {
    title: "Python",
    checks: &[
        Check {
            name: "python-home",
            about: "A Python that does not start, and says little about it: a virtual environment whose Python is gone, whose `bin/python` leads \
                    nowhere, which is of another version than its executable, or which was moved; an installation without its standard \
                    library (`encodings`); several Pythons in one prefix. The server logs these, too, when it starts a Python.",
            run: home,
        },
        Check {
            name: "python-version",
            about: "No host for the version of a Python: which versions there are hosts for, and how to get one.",
            run: version,
        },
        Check {
            name: "python-library",
            about: "In embedded mode, a Python whose shared library (libpython) is missing.",
            run: library,
        },
        Check {
            name: "python-path-version",
            about: "A directory of a Python path with packages for another version than that of the group's Python.",
            run: path_version,
        },
    ],
};

/// The oldest 3.N that a host can be built for.
const OLDEST: u8 = 10;

/// Gives findings about the Python of each group, of groups with the same one once.
fn of_each(subject: &Subject, find: impl Fn(&Group, &Path) -> Vec<Finding>) -> Vec<Finding> {
    let mut seen: Vec<(PathBuf, bool)> = Vec::new();
    let mut findings = Vec::new();
    for group in &subject.groups {
        let Some(home) = subject.home_of(group) else { continue };
        let key = (home.clone(), group.is_embedded());
        if !seen.contains(&key) {
            seen.push(key);
            let place = group.python.place.as_ref().or(group.place.as_ref());
            findings.extend(find(group, &home).into_iter().map(|finding| finding.at(place)));
        }
    }
    findings
}

fn home(subject: &Subject) -> Vec<Finding> {
    of_each(subject, |group, home| {
        let faults = python_home::faults(home, FILES);
        let mut findings: Vec<Finding> = faults.into_iter().map(Finding::from).collect();
        // What is out of reach for the user is found by its own check.
        if findings.is_empty()
            && let Err(reasons) = python_home::find(home, FILES)
        {
            findings.push(
                Finding::error(format!("there is no Python in {}, for {}", home.display(), group.shown()))
                    .because(reasons.join(", "))
                    .remedy("name the directory above bin/python3, or the executable"),
            );
        }
        findings
            .into_iter()
            .map(|finding| if group.is_embedded() { finding.code(PYTHON_NOT_STARTED) } else { finding })
            .collect()
    })
}

fn version(subject: &Subject) -> Vec<Finding> {
    let Some(hosts) = subject.installation.as_ref().map(|directory| directory.join("host")) else {
        return Vec::new();
    };
    let names = os::file::names(&hosts);
    of_each(subject, |_, home| {
        let Ok(Interpreter { program, version, .. }) = python_home::find(home, FILES) else {
            return Vec::new();
        };
        let candidates = names.iter().map(|name| name.as_encoded_bytes());
        if version.host(candidates, &python_home::multiarch()).is_some() {
            return Vec::new();
        }
        let what = format!("there is no host for Python {version} ({})", program.display());
        let finding = if version.minor < OLDEST {
            Finding::error(what)
                .because(format!("3.{OLDEST} is the oldest that can be used"))
                .remedy("name a later Python")
        } else if version.free_threaded {
            Finding::error(what)
                .because("free-threaded builds are not supported yet")
                .remedy("name an ordinary build of Python")
        } else {
            Finding::error(what)
                .because(format!("{} has hosts for {}", hosts.display(), crate::python::versions(&hosts)))
                .remedy(format!(
                    "name one of those, install a later version of mod_wsgi-rs, or build this host from its sources with \
                     `make host PYTHON={} PREFIX=...`",
                    program.display()
                ))
        };
        vec![finding.code(PYTHON_NOT_STARTED)]
    })
}

fn library(subject: &Subject) -> Vec<Finding> {
    of_each(subject, |group, home| {
        let found = python_home::find(home, FILES).ok().filter(|_| group.is_embedded());
        let Some(Interpreter { program, base, version, .. }) = found else { return Vec::new() };
        let places = version.libraries(&base, &python_home::multiarch());
        if places.iter().any(|place| place.exists()) || loader_knows(version) {
            return Vec::new();
        }
        let name = version.library();
        vec![
            Finding::error(format!("{name} is missing, and embedding Python {version} ({}) takes it", program.display()))
                .because("this Python is a static one, or its library is packaged by itself")
                .remedy(format!(
                    "install libpython{version} (Debian) or a Python that was built with --enable-shared, or use daemon mode"
                ))
                .code(PYTHON_NOT_STARTED),
        ]
    })
}

/// Returns whether the cache of the dynamic loader has a Python's library.
fn loader_knows(version: Version) -> bool {
    let name = version.library();
    let cache = fs::read("/etc/ld.so.cache").unwrap_or_default();
    cache.windows(name.len()).any(|text| text == name.as_bytes())
}

fn path_version(subject: &Subject) -> Vec<Finding> {
    let mut findings = Vec::new();
    for group in &subject.groups {
        let found = subject.home_of(group).and_then(|home| python_home::find(&home, FILES).ok());
        let Some(found) = found else { continue };
        let path = group.python_path.iter().map(PathBuf::as_path);
        let faults = python_home::path_faults(found.version, path);
        findings.extend(
            faults.into_iter().map(|fault| Finding::from(fault).at(group.python_path_place.as_ref())),
        );
    }
    findings
}
