//! Files `.htaccess`: which of them apply, and which of their lines the server permits.
//!
//! Apache reads them when a request comes, and not when it starts: a line that it does not permit
//! has every request below that directory answered with status 500.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use wsgi_core::diagnostic::Position;
use wsgi_core::directive::{Context, Directive};

use super::line::{Line, path};
use super::model::{Host, Model};
use super::section::{Kind, Section};

/// As deep as directories are looked at for further files.
const DEPTH: usize = 3;
/// The most directories below one that are looked at.
const MOST_DIRECTORIES: usize = 200;

/// A line of `.htaccess` that Apache does not permit, or objects to.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) position: Position,
    /// The reason.
    pub(crate) what: String,
    /// The class that `AllowOverride` would have to name; `None`: the line may not be there at all.
    pub(crate) class: Option<&'static str>,
    pub(crate) directory: PathBuf,
    /// The directory has a script of an alias, or is above one.
    pub(crate) has_script: bool,
}

/// The classes of `AllowOverride`, and directives of each.
const CLASSES: [(&str, &[&str]); 5] = [
    (
        "FileInfo",
        &[
            "AddHandler",
            "SetHandler",
            "RemoveHandler",
            "AddType",
            "RemoveType",
            "ForceType",
            "AddEncoding",
            "AddCharset",
            "AddDefaultCharset",
            "AddLanguage",
            "ErrorDocument",
            "Header",
            "RequestHeader",
            "RewriteEngine",
            "RewriteCond",
            "RewriteRule",
            "RewriteBase",
            "RewriteOptions",
            "SetEnv",
            "UnsetEnv",
            "PassEnv",
            "SetEnvIf",
            "SetEnvIfNoCase",
            "Redirect",
            "RedirectMatch",
            "RedirectPermanent",
            "RedirectTemp",
            "SetOutputFilter",
            "AddOutputFilter",
        ],
    ),
    (
        "AuthConfig",
        &[
            "AuthType",
            "AuthName",
            "AuthUserFile",
            "AuthGroupFile",
            "AuthBasicProvider",
            "AuthDigestProvider",
            "AuthMerging",
            "Require",
            "<RequireAll",
            "<RequireAny",
            "<RequireNone",
            "Satisfy",
        ],
    ),
    (
        "Indexes",
        &[
            "DirectoryIndex",
            "FallbackResource",
            "ExpiresActive",
            "ExpiresByType",
            "ExpiresDefault",
            "IndexOptions",
            "IndexIgnore",
        ],
    ),
    ("Limit", &["Order", "Allow", "Deny"]),
    ("Options", &["Options"]),
];

/// Directives that are permitted in no such file.
const NEVER: [&str; 22] = [
    "LoadModule",
    "Listen",
    "DocumentRoot",
    "ServerName",
    "ServerAlias",
    "ServerAdmin",
    "Alias",
    "AliasMatch",
    "ScriptAlias",
    "ProxyPass",
    "RewriteMap",
    "AllowOverride",
    "CustomLog",
    "TransferLog",
    "ErrorLog",
    "PidFile",
    "User",
    "Group",
    "Timeout",
    "<Directory",
    "<Location",
    "<VirtualHost",
];

/// The place of a directive with regard to `.htaccess`.
enum Class {
    /// Permitted by this word of `AllowOverride`.
    Of(&'static str),
    Never,
    /// It is not known.
    Unknown,
}

fn class(line: &Line) -> Class {
    if let Some(directive) = Directive::find(&line.name) {
        return match directive.context {
            Context::Anywhere => Class::Of("FileInfo"),
            Context::Authorization => Class::Of("AuthConfig"),
            Context::Global | Context::Server | Context::Directory => Class::Never,
        };
    }
    let is_one = |names: &[&str]| names.iter().any(|name| line.is(name));
    if is_one(&NEVER) {
        return Class::Never;
    }
    CLASSES.iter().find(|(_, names)| is_one(names)).map_or(Class::Unknown, |(class, _)| Class::Of(class))
}

/// The lines that are permitted in a directory.
#[derive(Debug, Default)]
struct Permission {
    is_all: bool,
    classes: BTreeSet<String>,
    names: BTreeSet<String>,
    /// Directives that are not permitted are passed over.
    is_lenient: bool,
}

impl Permission {
    /// Reads what sections say, in the order in which they are merged.
    fn of(sections: &[&Section]) -> Self {
        let mut permission = Self::default();
        for line in sections
            .iter()
            .filter(|section| section.kind == Kind::Directory)
            .flat_map(|section| &section.lines)
        {
            let words = || line.words().map(|word| String::from_utf8_lossy(&word).to_ascii_lowercase());
            if line.is("AllowOverride") {
                permission = Self { names: permission.names, ..Self::default() };
                for word in words() {
                    match word.split_once('=').map_or(&*word, |(class, _)| class) {
                        "all" => permission.is_all = true,
                        "none" => {}
                        "nonfatal" => permission.is_lenient = true,
                        class => {
                            permission.classes.insert(class.to_owned());
                        }
                    }
                }
            } else if line.is("AllowOverrideList") {
                permission.names = words().filter(|word| word != "none").collect();
            }
        }
        permission
    }

    fn is_nothing(&self) -> bool {
        !self.is_all && self.classes.is_empty() && self.names.is_empty()
    }

    fn permits(&self, line: &Line, class: &str) -> bool {
        self.is_all
            || self.classes.contains(&class.to_ascii_lowercase())
            || self.names.contains(&line.name.to_ascii_lowercase())
    }
}

/// A file that applies, with the lines in it that are permitted.
#[derive(Debug)]
pub(crate) struct Override {
    pub(crate) directory: PathBuf,
    pub(crate) lines: Vec<Line>,
    pub(crate) refusals: Vec<Refusal>,
}

/// Returns the files that apply to a host, outer directories first. `read` reads one.
pub(crate) fn find(
    model: &Model,
    host: &Host,
    root: &Path,
    read: &dyn Fn(&Path) -> Option<Vec<Line>>,
) -> Vec<Override> {
    let name = model
        .value(host, "AccessFileName")
        .and_then(|line| line.text(0))
        .unwrap_or_else(|| ".htaccess".to_owned());
    // Whether a script is below.
    let mut directories: BTreeMap<PathBuf, bool> = BTreeMap::new();
    let mut add = |directory: &Path, has_script: bool| {
        for directory in directory.ancestors() {
            *directories.entry(directory.to_owned()).or_default() |= has_script;
        }
    };
    for alias in &host.own.aliases {
        let target = root.join(path(&alias.target));
        let directory = if target.is_dir() { Some(&*target) } else { target.parent() };
        directory.into_iter().for_each(|directory| add(directory, true));
    }
    for served in served(model, host, root) {
        below(&served).iter().for_each(|directory| add(directory, false));
    }
    let mut found = Vec::new();
    for (directory, has_script) in directories {
        let permission = Permission::of(&model.sections(host, &directory, None, b""));
        if permission.is_nothing() {
            continue;
        }
        let Some(lines) = read(&directory.join(&name)) else { continue };
        let mut file = Override { directory: directory.clone(), lines: Vec::new(), refusals: Vec::new() };
        for line in lines {
            let (is_permitted, class) = match class(&line) {
                Class::Of(class) => (permission.permits(&line, class), Some(class)),
                Class::Never => (false, None),
                Class::Unknown => (true, None),
            };
            if is_permitted {
                file.lines.push(line);
            } else if !permission.is_lenient {
                file.refusals.push(Refusal {
                    what: format!("{} is not allowed here", line.name),
                    position: line.position,
                    class,
                    directory: directory.clone(),
                    has_script,
                });
            }
        }
        found.push(file);
    }
    found
}

/// Returns the directories whose files a host serves: its document root, and those of aliases.
pub(crate) fn served(model: &Model, host: &Host, root: &Path) -> Vec<PathBuf> {
    let lines = host.lines.iter().filter(|line| line.is("Alias"));
    let aliases = lines.filter_map(|line| line.path(1, root));
    let document_root = super::model::document_root(model, host, root).map(|(directory, _)| directory);
    let mut directories: Vec<PathBuf> = document_root.into_iter().chain(aliases).collect();
    directories.retain(|directory| directory.is_absolute() && directory.is_dir());
    directories.dedup();
    directories
}

/// Returns a directory and those below it that files are served from.
pub(crate) fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    let mut level = vec![directory.to_owned()];
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for directory in level {
            for entry in directory.read_dir().into_iter().flatten().flatten() {
                let is_hidden =
                    entry.file_name().as_bytes().starts_with(b".") || entry.file_name() == "node_modules";
                // Links may lead anywhere, also up.
                if found.len() + next.len() < MOST_DIRECTORIES
                    && !is_hidden
                    && entry.file_type().is_ok_and(|kind| kind.is_dir())
                {
                    next.push(entry.path());
                }
            }
        }
        found.extend(next.iter().cloned());
        level = next;
    }
    found
}
