//! The findings as text, and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::checks::Outcome;
use super::finding::{Finding, Place, Severity, plain};

/// The version of the form of the JSON: raised when something that is there changes its meaning or
/// goes, not when something is added.
const VERSION: u32 = 1;

/// Returns one line for each finding, and one about all of them.
pub(crate) fn text(outcome: &Outcome) -> String {
    let mut text = String::new();
    for finding in &outcome.findings {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{finding}");
    }
    let count = |severity, one: &str| match outcome.count(severity) {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {one}s")),
    };
    let counts =
        [count(Severity::Error, "error"), count(Severity::Warning, "warning"), count(Severity::Note, "note")];
    let counts: Vec<_> = counts.into_iter().flatten().collect();
    let counts = if counts.is_empty() { "nothing found".to_owned() } else { counts.join(", ") };
    let _ = writeln!(text, "{}: {counts} ({} checks)", plain(&outcome.subject), outcome.checks.len());
    text
}

/// Returns the findings as one JSON object.
pub(crate) fn json(outcome: &Outcome) -> String {
    let report = Report {
        version: VERSION,
        subject: &outcome.subject,
        checks: &outcome.checks,
        errors: outcome.count(Severity::Error),
        warnings: outcome.count(Severity::Warning),
        notes: outcome.count(Severity::Note),
        findings: outcome.findings.iter().map(Line::of).collect(),
    };
    // There is nothing in it that JSON cannot hold.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    subject: &'a str,
    checks: &'a [&'static str],
    errors: usize,
    warnings: usize,
    notes: usize,
    findings: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    severity: &'static str,
    check: &'static str,
    code: Option<String>,
    what: &'a str,
    why: &'a str,
    remedy: &'a str,
    detail: &'a str,
    file: Option<String>,
    line: Option<u32>,
    option: Option<&'static str>,
}

impl<'a> Line<'a> {
    fn of(finding: &'a Finding) -> Self {
        let (file, line, option) = match &finding.place {
            Some(Place::Line { file, line }) => {
                (Some(file.to_string_lossy().into_owned()), Some(*line), None)
            }
            Some(Place::Option(name)) => (None, None, Some(*name)),
            None => (None, None, None),
        };
        Self {
            severity: finding.severity.name(),
            check: finding.check,
            code: finding.code.map(|code| code.to_string()),
            what: &finding.what,
            why: &finding.why,
            remedy: &finding.remedy,
            detail: &finding.detail,
            file,
            line,
            option,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn outcome(findings: Vec<Finding>) -> Outcome {
        Outcome { subject: "the server".to_owned(), checks: vec!["one", "two"], findings }
    }

    #[test]
    fn a_report_ends_with_its_counts() {
        assert_eq!(text(&outcome(Vec::new())), "the server: nothing found (2 checks)\n");
        let findings = vec![Finding::error("a"), Finding::note("b"), Finding::error("c")];
        let report = text(&outcome(findings));
        assert!(report.ends_with("\nthe server: 2 errors, 1 note (2 checks)\n"), "{report}");
        assert_eq!(report.lines().count(), 4);
    }

    #[test]
    fn json_has_every_part() {
        let finding = Finding::warning("w")
            .at(Some(&Place::line(Path::new("/a \"b\".conf"), 3)))
            .because("y")
            .remedy("r")
            .code(wsgi_core::codes::PYTHON_NOT_STARTED);
        let report: serde_json::Value = serde_json::from_str(&json(&outcome(vec![finding]))).unwrap();
        let finding = &report["findings"][0];
        assert_eq!((&report["version"], &report["warnings"]), (&1.into(), &1.into()));
        assert_eq!((&finding["severity"], &finding["what"]), (&"warning".into(), &"w".into()));
        assert_eq!((&finding["file"], &finding["line"]), (&"/a \"b\".conf".into(), &3.into()));
        assert_eq!((&finding["option"], &finding["why"]), (&serde_json::Value::Null, &"y".into()));
        assert!(finding["code"].as_str().unwrap().starts_with("WSGI"), "{finding}");
    }
}
