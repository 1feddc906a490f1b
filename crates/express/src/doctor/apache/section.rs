//! Sections of a configuration, and which of them apply to a file and a URL.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use wsgi_core::config::DirectoryConfig;
use wsgi_core::words::Words;

use super::line::Line;
use super::pattern::{is_pattern, matches};
use super::system::Expression;

/// A section for some of the files or URLs.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) kind: Kind,
    subject: Subject,
    /// Its lines, without sections for files in it.
    pub(crate) lines: Vec<Line>,
    /// The meaning of the lines of the module.
    pub(crate) settings: DirectoryConfig,
    /// Sections for files in it.
    pub(crate) nested: Vec<Self>,
}

/// The kind of a section, in the order in which Apache merges them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Directory,
    DirectoryMatch,
    Files,
    Location,
    /// One with a condition (`<If>`), which may hold or not.
    If,
}

#[derive(Debug)]
enum Subject {
    Path(Vec<u8>),
    Match(Expression),
}

impl Section {
    /// Returns the section that a line opens, without its content; `None`: it opens none of these.
    pub(crate) fn open(line: &Line) -> Option<Self> {
        let mut words = Words::new(&line.arguments);
        let mut first = words.next().unwrap_or_default();
        let is_match = &*first == b"~";
        if is_match {
            first = words.next().unwrap_or_default();
        }
        let (kind, is_match) = match line.name.to_ascii_lowercase().as_str() {
            "<directory" if is_match => (Kind::DirectoryMatch, true),
            "<directory" => (Kind::Directory, false),
            "<directorymatch" => (Kind::DirectoryMatch, true),
            "<files" => (Kind::Files, is_match),
            "<filesmatch" => (Kind::Files, true),
            "<location" => (Kind::Location, is_match),
            "<locationmatch" => (Kind::Location, true),
            "<if" | "<elseif" | "<else" => (Kind::If, true),
            _ => return None,
        };
        let subject = if is_match {
            Subject::Match(Expression::new(&first))
        } else {
            Subject::Path(first.into_owned())
        };
        Some(Self {
            kind,
            subject,
            lines: Vec::new(),
            settings: DirectoryConfig::default(),
            nested: Vec::new(),
        })
    }

    /// Returns the section of a directory without its content, as `.htaccess` in it is one.
    pub(crate) fn of_directory(directory: &Path) -> Self {
        Self {
            kind: Kind::Directory,
            subject: Subject::Path(directory.as_os_str().as_bytes().to_owned()),
            lines: Vec::new(),
            settings: DirectoryConfig::default(),
            nested: Vec::new(),
        }
    }

    /// Returns the URL of a location, if it is no pattern.
    pub(crate) fn location(&self) -> Option<&[u8]> {
        match &self.subject {
            Subject::Path(path) if self.kind == Kind::Location && !is_pattern(path) => Some(path),
            _ => None,
        }
    }

    /// Returns whether it is the one for all directories.
    pub(crate) fn is_root(&self) -> bool {
        self.kind == Kind::Directory && matches!(&self.subject, Subject::Path(path) if &**path == b"/")
    }

    /// Returns whether it is not known which requests it is for: they have to meet a condition, or an
    /// expression whose meaning is not known.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.kind == Kind::If || matches!(&self.subject, Subject::Match(expression) if !expression.is_known())
    }

    fn depth(&self) -> usize {
        match &self.subject {
            Subject::Path(path) => components(path).len(),
            Subject::Match(_) => 0,
        }
    }

    /// Returns whether it applies to files in `directory`, which begins with what a section names.
    fn is_of_directory(&self, directory: &[u8]) -> bool {
        match &self.subject {
            Subject::Match(expression) => ancestors(directory)
                .any(|path| expression.matches(path) || expression.matches(&[path, b"/"].concat())),
            Subject::Path(path) => {
                let (wanted, there) = (components(path), components(directory));
                wanted.len() <= there.len()
                    && wanted.iter().zip(&there).all(|(pattern, name)| {
                        pattern == name || (is_pattern(pattern) && matches(pattern, name))
                    })
            }
        }
    }

    fn is_of_file(&self, name: &[u8]) -> bool {
        match &self.subject {
            Subject::Match(expression) => expression.matches(name),
            Subject::Path(pattern) => *pattern == name || (is_pattern(pattern) && matches(pattern, name)),
        }
    }

    fn is_of_url(&self, url: &[u8]) -> bool {
        match &self.subject {
            Subject::Match(expression) => expression.matches(url),
            Subject::Path(path) if is_pattern(path) => matches(path, url),
            Subject::Path(path) => url
                .strip_prefix(path.as_slice())
                .is_some_and(|rest| rest.is_empty() || path.ends_with(b"/") || rest.starts_with(b"/")),
        }
    }
}

/// Returns the sections that apply to a file (or a directory, if `name` is `None`) and a URL, in the
/// order in which Apache merges them. `sections` are those of the main server, then those of the
/// virtual host.
pub(crate) fn applying<'s>(
    sections: impl Iterator<Item = &'s Section>,
    directory: &Path,
    name: Option<&[u8]>,
    url: &[u8],
) -> Vec<&'s Section> {
    let directory = directory.as_os_str().as_bytes();
    let mut found: Vec<(Kind, usize, &Section)> = Vec::new();
    for section in sections {
        let applies = match section.kind {
            Kind::Directory | Kind::DirectoryMatch => section.is_of_directory(directory),
            Kind::Files => name.is_some_and(|name| section.is_of_file(name)),
            Kind::Location => section.is_of_url(url),
            Kind::If => false,
        };
        if !applies {
            continue;
        }
        found.push((section.kind, section.depth() * usize::from(section.kind == Kind::Directory), section));
        if matches!(section.kind, Kind::Directory | Kind::DirectoryMatch) {
            let nested = section.nested.iter().filter(|nested| {
                nested.kind == Kind::Files && name.is_some_and(|name| nested.is_of_file(name))
            });
            found.extend(nested.map(|nested| (Kind::Files, 0, nested)));
        }
    }
    // Stable: the order of the lines among equals.
    found.sort_by_key(|(kind, depth, _)| (*kind, *depth));
    found.into_iter().map(|(_, _, section)| section).collect()
}

fn components(path: &[u8]) -> Vec<&[u8]> {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).collect()
}

/// Returns a path and all above it.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at.max(1));
    ends.chain([path.len()]).map(|end| &path[..end])
}

#[cfg(test)]
mod tests {
    use wsgi_core::diagnostic::Position;

    use super::*;

    fn section(name: &str, arguments: &str) -> Section {
        let line = Line {
            name: name.to_owned(),
            arguments: arguments.as_bytes().to_owned(),
            position: Position::default(),
            children: Vec::new(),
        };
        Section::open(&line).unwrap()
    }

    #[test]
    fn sections_apply_in_the_order_of_apache() {
        let sections = [
            section("<Location", "/app"),
            section("<Directory", "/srv/app/"),
            section("<Files", "a.wsgi"),
            section("<DirectoryMatch", "^/srv/[a-z]+$"),
            section("<Directory", "/"),
            section("<Directory", "\"/s*\""),
            section("<Directory", "~ ^/other"),
            section("<Location", "/apple"),
            section("<LocationMatch", "^/a"),
            section("<Directory", "/srv/app/deeper"),
        ];
        let found = applying(sections.iter(), Path::new("/srv/app"), Some(b"a.wsgi"), b"/app/x");
        let indices: Vec<_> = found
            .iter()
            .map(|&one| sections.iter().position(|other| std::ptr::eq(one, other)).unwrap())
            .collect();
        assert_eq!(indices, [4, 5, 1, 3, 2, 0, 8]);
    }
}
