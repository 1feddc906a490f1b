//! The checks by topic, and their course.

use super::apache;
use super::application;
use super::check::Topic;
use super::finding::{Finding, Severity};
use super::limits;
use super::paths;
use super::python;
use super::subject::Subject;
use super::system;

/// All checks, in the order in which they run.
pub(crate) static TOPICS: &[&Topic] = &[
    &apache::checks::TOPIC,
    &python::TOPIC,
    &paths::TOPIC,
    &application::TOPIC,
    &limits::TOPIC,
    &system::TOPIC,
];

/// The result of all checks.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The name of the server that was looked at.
    pub(crate) subject: String,
    /// The names of the checks that were made.
    pub(crate) checks: Vec<&'static str>,
    /// Errors come first.
    pub(crate) findings: Vec<Finding>,
}

impl Outcome {
    /// Returns how many findings are of this severity.
    pub(crate) fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// Makes all checks.
pub(crate) fn run(subject: Subject) -> Outcome {
    let all = || TOPICS.iter().flat_map(|topic| topic.checks);
    let mut findings = subject.findings.clone();
    for check in all() {
        findings.extend(
            (check.run)(&subject).into_iter().map(|finding| Finding { check: check.name, ..finding }),
        );
    }
    // Equal ones keep the order of the checks: what comes first often is the cause of the rest.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Outcome { subject: subject.name, checks: all().map(|check| check.name).collect(), findings }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn checks_are_described_and_unique() {
        let mut names = BTreeSet::new();
        for check in TOPICS.iter().flat_map(|topic| topic.checks) {
            assert!(names.insert(check.name), "{} is there twice", check.name);
            assert!(check.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", check.name);
            assert!(check.about.ends_with('.') && check.about.len() > 20, "{} needs a sentence", check.name);
        }
    }
}
