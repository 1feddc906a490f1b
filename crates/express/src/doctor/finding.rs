//! Findings of the doctor, one a line.

use std::fmt;
use std::path::{Path, PathBuf};

use wsgi_core::codes::Code;
use wsgi_core::fault::{Fault, Weight};

/// Something that is wrong, or may become so.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// The name of the check; set when the checks run.
    pub(crate) check: &'static str,
    /// The fault, as a sentence without its full stop.
    pub(crate) what: String,
    /// The place that it comes from.
    pub(crate) place: Option<Place>,
    /// The cause or the consequence; may be empty.
    pub(crate) why: String,
    /// The way out, as an imperative; may be empty.
    pub(crate) remedy: String,
    /// The code that the server logs for this fault.
    pub(crate) code: Option<Code>,
    /// Lines that say more, such as a traceback; may be empty.
    pub(crate) detail: String,
}

/// The importance of a finding, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Worth knowing; nothing need be done.
    Note,
    /// Works, but not always, or not as it looks.
    Warning,
    /// Requests fail, or the server does not start.
    Error,
}

/// The place that a finding is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A line of a configuration.
    Line {
        /// The file.
        file: PathBuf,
        /// The number of the line, from 1.
        line: u32,
    },
    /// An option of the command line.
    Option(&'static str),
}

impl Finding {
    fn new(severity: Severity, what: impl Into<String>) -> Self {
        Self {
            severity,
            check: "",
            what: what.into(),
            place: None,
            why: String::new(),
            remedy: String::new(),
            code: None,
            detail: String::new(),
        }
    }

    /// Creates a finding of something that fails.
    pub(crate) fn error(what: impl Into<String>) -> Self {
        Self::new(Severity::Error, what)
    }

    /// Creates a finding of something that may fail.
    pub(crate) fn warning(what: impl Into<String>) -> Self {
        Self::new(Severity::Warning, what)
    }

    /// Creates a finding for information.
    pub(crate) fn note(what: impl Into<String>) -> Self {
        Self::new(Severity::Note, what)
    }

    /// Adds the place; none leaves it open.
    pub(crate) fn at(mut self, place: Option<&Place>) -> Self {
        self.place = place.cloned();
        self
    }

    /// Adds the cause or the consequence.
    pub(crate) fn because(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// Adds the way out.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// Adds lines that say more.
    pub(crate) fn detail(mut self, detail: &str) -> Self {
        detail.trim_end().clone_into(&mut self.detail);
        self
    }

    /// Adds the code that the server logs for this fault.
    pub(crate) fn code(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }
}

/// The finding of a fault that the server looks for, too.
impl From<Fault> for Finding {
    fn from(fault: Fault) -> Self {
        let severity = match fault.weight {
            Weight::Fatal => Severity::Error,
            Weight::Doubtful => Severity::Warning,
            Weight::Harmless => Severity::Note,
        };
        Self::new(severity, fault.what).because(fault.why).remedy(fault.remedy)
    }
}

impl Severity {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Place {
    /// Creates the place of a line.
    pub(crate) fn line(file: &Path, line: u32) -> Self {
        Self::Line { file: file.to_owned(), line }
    }
}

/// Shows as `/etc/apache2/shop.conf:12`, which editors can jump to, or `--python`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(f, "{}:{line}", file.display()),
            Self::Option(name) => f.write_str(name),
        }
    }
}

/// Shows as one line: `PLACE: error: CODE: WHAT: WHY; REMEDY [CHECK]`. What comes from outside may
/// hold anything, also line breaks.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        if let Some(place) = &self.place {
            text += &format!("{place}: ");
        }
        text += &format!("{}: ", self.severity.name());
        if let Some(code) = &self.code {
            text += &format!("{code}: ");
        }
        text += &self.what;
        if !self.why.is_empty() {
            text += &format!(": {}", self.why);
        }
        if !self.remedy.is_empty() {
            text += &format!("; {}", self.remedy);
        }
        text += &format!(" [{}]", self.check);
        f.write_str(&plain(&text))
    }
}

/// Returns a text as a line that does nothing to a terminal, and reads in the order in which it is
/// written.
pub(super) fn plain(text: &str) -> String {
    let is_seen = |character: char| {
        !character.is_control()
            && !matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if is_seen(character) {
            line.push(character);
        } else {
            line.extend(character.escape_default());
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use wsgi_core::codes::PYTHON_NOT_STARTED;

    use super::*;

    #[test]
    fn findings_are_one_line() {
        let finding = Finding::error("it is\nbroken")
            .at(Some(&Place::line(Path::new("/a.conf"), 7)))
            .because("someone moved it")
            .remedy("move it back")
            .code(PYTHON_NOT_STARTED);
        let expected = format!(
            "/a.conf:7: error: {PYTHON_NOT_STARTED}: it is\\nbroken: someone moved it; move it back []"
        );
        assert_eq!(finding.to_string(), expected);
        assert_eq!(plain("\u{1b}[31m \u{202e}\u{2028}\u{9b} ü€"), "\\u{1b}[31m \\u{202e}\\u{2028}\\u{9b} ü€");
        let plain = Finding::note("so be it").at(Some(&Place::Option("--port")));
        assert_eq!(plain.to_string(), "--port: note: so be it []");
        assert_eq!(Finding::warning("x").to_string(), "warning: x []");
        assert!(Severity::Error > Severity::Warning && Severity::Warning > Severity::Note);
    }
}
