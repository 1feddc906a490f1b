//! The reader of a configuration with all the files that it includes.
//!
//! It follows `ap_build_config` of Apache's `server/config.c`: what Apache executes while it reads
//! (`Include`, `Define`, `<IfModule>`, ...) is executed here, and the rest becomes a tree.

mod conditions;
mod includes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use wsgi_core::diagnostic::Position;
use wsgi_core::words::{Words, display};

use super::line::{Line, Raw, path, split};
use super::macros::Macros;

/// As deep as Apache follows includes (`AP_MAX_INCLUDE_DEPTH` and `AP_MAX_INCLUDE_DIR_DEPTH` are
/// more than anybody nests).
const DEPTH: usize = 20;

/// More than any configuration has: files, sections in each other, lines, bytes in all files, bytes
/// in one line.
const MOST_FILES: usize = 5_000;
const DEEPEST: usize = 100;
const MOST_LINES: usize = 1_000_000;
const MOST_BYTES: u64 = 64 << 20;
const LONGEST_LINE: usize = 1 << 20;

/// The most problems that anybody reads.
const MOST_PROBLEMS: usize = 20;

/// The facts about Apache that conditions ask for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    /// The directory that paths are relative to before `ServerRoot` is read.
    pub(crate) root: PathBuf,
    /// Such as `2.4.62`.
    pub(crate) version: Option<String>,
    /// The names of the modules that are part of the program, such as `unixd`.
    pub(crate) built_in: Vec<String>,
    /// The environment that Apache runs with.
    pub(crate) environment: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The names that its command line defines (`-D`).
    pub(crate) defines: Vec<String>,
}

/// A line `LoadModule`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoadModule {
    /// Such as `wsgi_module`.
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    pub(crate) position: Position,
}

/// Everything that was read.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) lines: Vec<Line>,
    pub(crate) modules: Vec<LoadModule>,
    /// `ServerRoot`, the last one.
    pub(crate) root: PathBuf,
    /// Each file, with the line that includes it.
    pub(crate) files: Vec<PathBuf>,
    /// Things that could not be read.
    pub(crate) problems: Vec<Problem>,
    /// Apache would read without end, or nearly.
    pub(crate) is_endless: bool,
    /// Variables, and the names that `<IfModule>` knows, at the end.
    defines: BTreeMap<Vec<u8>, Vec<u8>>,
    known: BTreeSet<String>,
}

/// A reason why a part of the configuration was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) text: String,
    /// `None` for the first file.
    pub(crate) position: Option<Position>,
}

/// Reads a file `.htaccess`, with what is known once the configuration is read. `None` if there is none.
pub(crate) fn read_override(file: &Path, conditions: &Conditions, content: &Content) -> Option<Vec<Line>> {
    if !file.is_file() {
        return None;
    }
    let mut reader = Reader::new(conditions);
    reader.content.root.clone_from(&content.root);
    reader.defines.clone_from(&content.defines);
    reader.known.clone_from(&content.known);
    let mut lines = Vec::new();
    reader.file(file, None, 0, &mut lines);
    Some(lines)
}

/// Reads a configuration.
pub(crate) fn read(file: &Path, conditions: &Conditions) -> Content {
    let mut reader = Reader::new(conditions);
    reader.content.root = conditions.root.clone();
    let mut lines = Vec::new();
    reader.file(file, None, 0, &mut lines);
    reader.content.lines = lines;
    reader.content.defines = reader.defines;
    reader.content.known = reader.known;
    reader.content
}

struct Reader<'a> {
    conditions: &'a Conditions,
    defines: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The names that `<IfModule>` knows: identifiers and sources.
    known: BTreeSet<String>,
    macros: Macros,
    /// The files and the macros that are being read, the outer ones first.
    reading: Vec<Source>,
    lines: usize,
    bytes: u64,
    content: Content,
}

/// Something that lines come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    File(PathBuf),
    Macro(String),
}

/// A section that is open.
enum Open {
    /// One that stays.
    Section(Line),
    /// One whose condition holds, and whose content stands for it.
    Transparent(String),
}

impl<'a> Reader<'a> {
    fn new(conditions: &'a Conditions) -> Self {
        let mut known = BTreeSet::new();
        for name in &conditions.built_in {
            known.extend(match name.as_str() {
                "core" | "http_core" => {
                    [format!("{}_module", name.trim_start_matches("http_")), format!("{name}.c")]
                }
                "event" | "worker" | "prefork" => [format!("mpm_{name}_module"), format!("{name}.c")],
                name => [format!("{name}_module"), format!("mod_{name}.c")],
            });
        }
        let defines = conditions.defines.iter().map(|name| (name.clone().into_bytes(), Vec::new())).collect();
        Self {
            conditions,
            defines,
            known,
            macros: Macros::default(),
            reading: Vec::new(),
            lines: 0,
            bytes: 0,
            content: Content::default(),
        }
    }

    fn problem(&mut self, text: String, position: Option<&Position>) {
        let problem = Problem { text, position: position.cloned() };
        if self.content.problems.len() < MOST_PROBLEMS && !self.content.problems.contains(&problem) {
            self.content.problems.push(problem);
        }
    }

    /// Reports something that would have Apache read without end.
    fn endless(&mut self, text: String, position: Option<&Position>) {
        if !std::mem::replace(&mut self.content.is_endless, true) {
            self.problem(text, position);
        }
    }

    fn file(&mut self, file: &Path, position: Option<&Position>, depth: usize, out: &mut Vec<Line>) {
        let source = Source::File(file.to_owned());
        // One that does something else the second time is not likely, but may be.
        if self.reading.iter().filter(|outer| **outer == source).count() > 1 {
            self.endless(format!("{} includes itself", file.display()), position);
            return;
        }
        if depth > DEPTH || self.content.files.len() > MOST_FILES {
            self.endless(format!("{} is not read: too many files are included", file.display()), position);
            return;
        }
        let content = if file == Path::new("/dev/null") {
            Ok(Vec::new())
        } else {
            os::file::read_regular(file, MOST_BYTES - self.bytes)
        };
        match content {
            Ok(content) => {
                self.bytes += content.len() as u64;
                self.content.files.push(file.to_owned());
                self.reading.push(source);
                let raw = split(file, &content);
                self.lines(&raw, depth, out);
                self.reading.pop();
            }
            Err(error) => self.problem(format!("{} cannot be read: {error}", file.display()), position),
        }
    }

    fn lines(&mut self, raw: &[Raw], depth: usize, out: &mut Vec<Line>) {
        let mut open: Vec<Open> = Vec::new();
        let mut at = 0;
        while let Some(Raw { text, position }) = raw.get(at) {
            at += 1;
            self.lines += 1;
            if self.lines > MOST_LINES {
                self.endless("too many lines are read".to_owned(), Some(position));
            }
            if self.content.is_endless {
                break;
            }
            let Some(text) = self.expanded(text) else {
                self.problem("the line is too long".to_owned(), Some(position));
                continue;
            };
            let (mut name, mut arguments) = Raw::divide(&text);
            if let Some(closed) = name.strip_prefix("</") {
                self.close(&mut open, closed.trim_end_matches('>'), position, out);
                continue;
            }
            let is_section = name.starts_with('<');
            if is_section {
                name.truncate(name.trim_end_matches('>').len());
                if arguments.ends_with(b">") {
                    arguments.pop();
                }
                arguments.truncate(arguments.trim_ascii_end().len());
            }
            let holds = self.holds(&name, &arguments);
            match (name.to_ascii_lowercase().as_str(), holds) {
                (_, Some(true)) => open.push(Open::Transparent(name)),
                (_, Some(false)) => at = end_of_section(raw, at),
                ("<macro", _) => {
                    let end = end_of_section(raw, at);
                    self.macros.define(&arguments, &raw[at..end.saturating_sub(1).max(at)]);
                    at = end;
                }
                ("<perl" | "<lua", _) => at = end_of_section(raw, at),
                ("undefmacro", _) => self.macros.remove(&arguments),
                ("use", _) => self.macro_lines(&arguments, position, depth, innermost(&mut open, out)),
                ("include", _) => {
                    self.include(&arguments, false, position, depth, innermost(&mut open, out));
                }
                ("includeoptional", _) => {
                    self.include(&arguments, true, position, depth, innermost(&mut open, out));
                }
                _ if self.executed(&name, &arguments, position) => {}
                _ => {
                    let line = Line { name, arguments, position: position.clone(), children: Vec::new() };
                    if is_section && open.len() >= DEEPEST {
                        self.problem("sections are nested too deeply".to_owned(), Some(position));
                        at = end_of_section(raw, at);
                    } else if is_section {
                        open.push(Open::Section(line));
                    } else {
                        innermost(&mut open, out).push(line);
                    }
                }
            }
        }
        while let Some(last) = open.pop() {
            if let Open::Section(line) = last {
                if !self.content.is_endless {
                    self.problem(format!("{}> is not closed", line.name), Some(&line.position));
                }
                innermost(&mut open, out).push(line);
            }
        }
    }

    /// Reads the lines that a `Use` stands for.
    fn macro_lines(&mut self, arguments: &[u8], position: &Position, depth: usize, out: &mut Vec<Line>) {
        let body = match self.macros.instantiate(arguments) {
            Ok(body) => body,
            Err(reason) => return self.problem(reason, Some(position)),
        };
        let name = Words::new(arguments).next().unwrap_or_default();
        let source = Source::Macro(display(&name).to_ascii_lowercase());
        if depth > DEPTH || self.reading.contains(&source) {
            let text = format!("The macro '{}' uses itself, or macros are nested too deeply", display(&name));
            return self.problem(text, Some(position));
        }
        self.reading.push(source);
        self.lines(&body, depth + 1, out);
        self.reading.pop();
    }

    fn close(&mut self, open: &mut Vec<Open>, name: &str, position: &Position, out: &mut Vec<Line>) {
        let is_it = open.last().is_some_and(|last| match last {
            Open::Section(Line { name: opened, .. }) | Open::Transparent(opened) => {
                opened.trim_start_matches('<').eq_ignore_ascii_case(name)
            }
        });
        if !is_it {
            self.problem(format!("</{name}> closes no section"), Some(position));
            return;
        }
        if let Some(Open::Section(line)) = open.pop() {
            innermost(open, out).push(line);
        }
    }

    /// Executes a directive that is none of the tree; returns whether it is one.
    fn executed(&mut self, name: &str, arguments: &[u8], position: &Position) -> bool {
        let mut words = Words::new(arguments);
        let (first, second) = (words.next(), words.next());
        match (name.to_ascii_lowercase().as_str(), first, second) {
            ("define", Some(variable), value) => {
                self.defines.insert(variable.into_owned(), value.unwrap_or_default().into_owned());
            }
            ("undefine", Some(variable), _) => {
                self.defines.remove(&*variable);
            }
            ("serverroot", Some(root), _) => self.content.root = path(&root).to_owned(),
            ("loadmodule", Some(module), Some(file)) => {
                let name = display(&module).into_owned();
                let file = self.content.root.join(path(&file));
                let base = name.strip_suffix("_module").unwrap_or(&name);
                self.known.insert(match base.strip_prefix("mpm_") {
                    Some(mpm) => format!("{mpm}.c"),
                    None => format!("mod_{base}.c"),
                });
                if let Some(stem) = file.file_stem().and_then(|stem| stem.to_str()) {
                    self.known.insert(format!("{stem}.c"));
                }
                self.known.insert(name.clone());
                self.content.modules.push(LoadModule { name, file, position: position.clone() });
            }
            ("loadfile" | "defaultruntimedir" | "error", ..) => {}
            _ => return false,
        }
        true
    }

    /// Returns the text with the values of `${...}`; what is not defined is left as it is. `None` if
    /// that is longer than any line.
    fn expanded(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.windows(2).position(|pair| pair == b"${") {
            let Some(length) = rest[start..].iter().position(|&byte| byte == b'}') else { break };
            let name = &rest[start + 2..start + length];
            // What is empty is not defined, to Apache.
            let given = |value: &&Vec<u8>| !value.is_empty();
            let defined = self.defines.get(name).filter(given);
            let value = defined.or_else(|| self.conditions.environment.get(name).filter(given));
            out.extend_from_slice(&rest[..start]);
            match value {
                Some(value) => out.extend_from_slice(value),
                None => out.extend_from_slice(&rest[start..=start + length]),
            }
            rest = &rest[start + length + 1..];
            if out.len() > LONGEST_LINE {
                return None;
            }
        }
        out.extend_from_slice(rest);
        (out.len() <= LONGEST_LINE).then_some(out)
    }
}

/// Returns the content of the innermost section that stays.
fn innermost<'o>(open: &'o mut [Open], out: &'o mut Vec<Line>) -> &'o mut Vec<Line> {
    let section = open.iter_mut().rev().find_map(|each| match each {
        Open::Section(line) => Some(&mut line.children),
        Open::Transparent(_) => None,
    });
    section.unwrap_or(out)
}

/// Returns the index behind the end of the section whose content begins at `start`.
fn end_of_section(raw: &[Raw], start: usize) -> usize {
    let mut depth = 1_usize;
    for (index, line) in raw.iter().enumerate().skip(start) {
        if line.text.starts_with(b"</") {
            depth -= 1;
        } else if line.text.starts_with(b"<") {
            depth += 1;
        }
        if depth == 0 {
            return index + 1;
        }
    }
    raw.len()
}
