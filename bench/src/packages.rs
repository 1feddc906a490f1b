//! The Python packages that `bench/others` installs.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns where the packages of a virtual environment are.
pub(crate) fn directory(others: &Path) -> Option<PathBuf> {
    let libraries = fs::read_dir(others.join("lib")).ok()?;
    let mut packages = libraries.flatten().map(|entry| entry.path().join("site-packages"));
    packages.find(|path| path.is_dir())?.canonicalize().ok()
}

/// Returns the version of a package, if it is installed.
pub(crate) fn version(others: &Path, package: &str) -> Option<String> {
    let names = fs::read_dir(directory(others)?).ok()?.flatten();
    let versions = names.filter_map(|entry| version_in(entry.file_name().to_str()?, package));
    versions.into_iter().next()
}

/// Reads the name of a directory of metadata.
fn version_in(name: &str, package: &str) -> Option<String> {
    let (name, version) = name.strip_suffix(".dist-info")?.split_once('-')?;
    name.eq_ignore_ascii_case(package).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_in_the_name() {
        assert_eq!(version_in("Flask-3.1.3.dist-info", "flask").as_deref(), Some("3.1.3"));
        assert_eq!(version_in("flask_cors-3.1.3.dist-info", "flask"), None);
        assert_eq!(version_in("flask", "flask"), None);
    }
}
