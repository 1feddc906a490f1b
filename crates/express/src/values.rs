//! The values of options: numbers in their ranges, paths, texts.

use std::path::{Component, Path, PathBuf};

use crate::failure::Failure;
use crate::parse::Parsed;
use crate::spec::Spec;

/// Returns the number that an option was given, which is in its range.
pub(crate) fn number(parsed: &Parsed, spec: &Spec, default: i64) -> i64 {
    parsed.integer(spec).unwrap_or(default)
}

/// Returns the port that an option was given.
pub(crate) fn port(parsed: &Parsed, spec: &Spec, default: u16) -> u16 {
    parsed.integer(spec).and_then(|port| u16::try_from(port).ok()).unwrap_or(default)
}

/// The path as seen from the current directory.
///
/// # Errors
/// There is no current directory.
pub(crate) fn absolute(path: &str) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map(|path| without_parents(&path)).map_err(|error| {
        Failure::machine(format!("cannot make the path '{path}' absolute: {error}; name another"))
    })
}

/// Returns an absolute path without `..`, as Python's `os.path.abspath`: applications see these
/// paths, above all as `__file__`.
fn without_parents(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            // The root has no parent.
            result.pop();
        } else {
            result.push(component);
        }
    }
    result
}

pub(crate) fn all_absolute(parsed: &Parsed, spec: &Spec) -> Result<Vec<PathBuf>, Failure> {
    parsed.all(spec).iter().flatten().map(|path| absolute(path)).collect()
}

/// The arguments of each occurrence of an option that takes one.
pub(crate) fn texts(parsed: &Parsed, spec: &Spec) -> Vec<String> {
    parsed.all(spec).iter().flatten().cloned().collect()
}

/// The URL paths that an option was given, longer ones before their prefixes.
pub(crate) fn url_paths(parsed: &Parsed, spec: &Spec) -> Vec<String> {
    let mut paths: Vec<String> = parsed.all(spec).iter().flatten().map(|path| url_path(path)).collect();
    paths.sort_by(|one, other| other.cmp(one));
    paths.dedup();
    paths
}

/// The URL path with a slash at its beginning.
pub(crate) fn url_path(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// The arguments of each occurrence of an option that takes two.
pub(crate) fn pairs<'p>(parsed: &'p Parsed, spec: &Spec) -> impl Iterator<Item = (&'p String, &'p String)> {
    parsed.all(spec).iter().filter_map(|pair| Some((pair.first()?, pair.get(1)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_no_parents() {
        for (path, expected) in
            [("/a/b/../c/./d", "/a/c/d"), ("/../a", "/a"), ("/a/..", "/"), ("/a//b/", "/a/b"), ("/", "/")]
        {
            assert_eq!(absolute(path).unwrap(), Path::new(expected), "{path}");
        }
        assert!(absolute("../app.wsgi").unwrap().ends_with("app.wsgi"));
    }
}
