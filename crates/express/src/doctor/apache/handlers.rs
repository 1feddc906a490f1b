//! Files that a handler makes scripts of (`AddHandler wsgi-script .wsgi`), and those that an alias for
//! a directory leads to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use wsgi_core::alias::Location;
use wsgi_core::route::RouteOptions;
use wsgi_core::words::display;

use super::Configuration;
use super::authorization::{Access, access};
use super::line::{Line, place};
use super::mapping::{Kind, taking};
use super::model::{Host, Model};
use super::overrides::{below, served};
use super::section::Section;
use super::system::Expression;
use crate::doctor::finding::Place;

/// The most files in one directory that are looked at.
const MOST_FILES: usize = 1_000;
/// The most scripts of a host that are looked at: each of them is imported.
const MOST_SCRIPTS: usize = 16;

/// A script that the URL names.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) file: PathBuf,
    pub(crate) url: String,
    /// The line that makes it one.
    pub(crate) place: Place,
    pub(crate) options: RouteOptions,
    /// `Options ExecCGI` is in force, or need not be.
    pub(crate) may_run: bool,
}

/// Returns the handler of a file and the line that says so; `None`: its content is served.
pub(crate) fn handler<'m>(
    model: &'m Model,
    host: &'m Host,
    sections: &[&'m Section],
    name: &[u8],
) -> Option<(String, &'m Line)> {
    let mut by_extension: BTreeMap<String, Option<(String, &Line)>> = BTreeMap::new();
    let mut forced = None;
    for line in lines(model, host, sections) {
        let extension = |word: &[u8]| display(word).trim_start_matches('.').to_ascii_lowercase();
        if line.is("SetHandler") {
            let name = line.text(0).filter(|name| !name.eq_ignore_ascii_case("none"));
            forced = name.map(|name| (name, line));
        } else if line.is("AddHandler") {
            let mut words = line.words();
            let Some(handler) = words.next() else { continue };
            by_extension
                .extend(words.map(|word| (extension(&word), Some((display(&handler).into_owned(), line)))));
        } else if line.is("RemoveHandler") {
            by_extension.extend(line.words().map(|word| (extension(&word), None)));
        }
    }
    let extensions = name.split(|&byte| byte == b'.').skip(1).map(|part| display(part).to_ascii_lowercase());
    let added = extensions.filter_map(|extension| by_extension.get(&extension).cloned().flatten()).last();
    forced.or(added)
}

/// Returns the lines that apply to a file, in the order in which they are merged.
fn lines<'m>(model: &'m Model, host: &'m Host, sections: &[&'m Section]) -> Vec<&'m Line> {
    let main = host.position.is_some().then(|| &model.main().lines);
    let of_servers = main.into_iter().flatten().chain(&host.lines);
    of_servers.chain(sections.iter().flat_map(|section| &section.lines)).collect()
}

/// Returns whether `Options ExecCGI` is in force.
fn may_run(model: &Model, host: &Host, sections: &[&Section]) -> bool {
    let main = host.position.is_some().then(|| &model.main().lines);
    let levels = main.into_iter().chain([&host.lines]).chain(sections.iter().map(|section| &section.lines));
    let mut is_on = false;
    for lines in levels {
        for line in lines.iter().filter(|line| line.is("Options")) {
            let words: Vec<String> = line.words().map(|word| display(&word).to_ascii_lowercase()).collect();
            // Without signs, they are all that is on.
            if words.iter().any(|word| !word.starts_with(['+', '-'])) {
                is_on = false;
            }
            for word in words {
                match word.trim_start_matches('+') {
                    "execcgi" | "all" => is_on = true,
                    "-execcgi" | "-all" => is_on = false,
                    _ => {}
                }
            }
        }
    }
    is_on
}

/// Returns the scripts of a host that URLs name.
pub(crate) fn scripts(configuration: &Configuration, host: &Host) -> Vec<Script> {
    let mut scripts = of_aliases(configuration, host);
    let model = &configuration.model;
    // Most servers have none.
    let is_made = |line: &&Line| {
        (line.is("AddHandler") || line.is("SetHandler")) && line.words().any(|word| is_wsgi(&display(&word)))
    };
    let sections = || model.main().sections.iter().chain(&host.sections).chain(&host.overrides);
    let nested = sections().flat_map(|section| std::iter::once(section).chain(&section.nested));
    let mut all =
        model.main().lines.iter().chain(&host.lines).chain(nested.flat_map(|section| &section.lines));
    if !all.any(|line| is_made(&line)) {
        return scripts;
    }
    let mappings = model.mappings(host);
    for root in served(model, host, &configuration.root) {
        for directory in below(&root) {
            for name in names(&directory) {
                let file = directory.join(&name);
                let Some((url, is_alias)) = url_of(configuration, host, &root, &file) else { continue };
                let taker = taking(mappings.iter(), url.as_bytes());
                if taker.is_some() != is_alias || taker.is_some_and(|taker| taker.kind != Kind::Alias) {
                    continue;
                }
                let sections = model.sections(host, &directory, Some(name.as_bytes()), url.as_bytes());
                let Some((handler, line)) = handler(model, host, &sections, name.as_bytes()) else {
                    continue;
                };
                if !is_wsgi(&handler) || access(&sections) != Access::Open || !is_script(&file) {
                    continue;
                }
                scripts.push(Script {
                    file,
                    url,
                    place: place(&line.position),
                    options: RouteOptions::default(),
                    may_run: may_run(model, host, &sections),
                });
            }
        }
    }
    scripts.truncate(MOST_SCRIPTS);
    scripts
}

/// Returns the scripts in the directories that aliases lead to.
fn of_aliases(configuration: &Configuration, host: &Host) -> Vec<Script> {
    let mut scripts = Vec::new();
    for alias in &host.own.aliases {
        let Location::Prefix(url) = &alias.location else { continue };
        let directory = configuration.path(&alias.target);
        if !directory.is_dir() {
            continue;
        }
        let url = display(url.strip_suffix(b"/").unwrap_or(url)).into_owned();
        let files = names(&directory).into_iter().map(|name| (directory.join(&name), name));
        let files = files.filter(|(file, _)| {
            file.extension().is_some_and(|end| end == "wsgi" || end == "py") && is_script(file)
        });
        scripts.extend(files.map(|(file, name)| Script {
            file,
            url: format!("{url}/{name}"),
            place: place(&alias.position),
            options: alias.options.clone(),
            may_run: true,
        }));
    }
    scripts.truncate(MOST_SCRIPTS);
    scripts
}

/// Returns the URL of a file that a served directory has, and whether an alias leads there.
fn url_of(configuration: &Configuration, host: &Host, root: &Path, file: &Path) -> Option<(String, bool)> {
    let rest = file.strip_prefix(root).ok()?.to_str()?;
    let mut aliases = host.lines.iter().filter(|line| line.is("Alias"));
    let alias = aliases.find(|line| line.path(1, &configuration.root).is_some_and(|target| target == root));
    Some(match alias.and_then(|line| line.text(0)) {
        Some(url) => (format!("{}/{rest}", url.trim_end_matches('/')), true),
        None => (format!("/{rest}"), false),
    })
}

fn is_wsgi(handler: &str) -> bool {
    ["wsgi-script", "application/x-httpd-wsgi"].iter().any(|name| handler.eq_ignore_ascii_case(name))
}

/// Returns the names of the files in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = directory.read_dir().into_iter().flatten().flatten().take(MOST_FILES);
    let files = entries.filter(|entry| entry.path().is_file());
    let mut names: Vec<String> = files.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Returns whether a file looks like a script, which gives something the name `application`: others
/// beside it may be modules, or data.
fn is_script(file: &Path) -> bool {
    static BINDING: LazyLock<Expression> = LazyLock::new(|| {
        Expression::new(
            br"(?m-u)^(?:application\s*[=:]|(?:def|class)\s+application\b|\s*(?:from|import)\s[^\n#]*\bapplication\b)",
        )
    });
    BINDING.matches(&os::file::read_small(file).unwrap_or_default())
}
