//! The files that `Include` names.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use wsgi_core::diagnostic::Position;
use wsgi_core::words::Words;

use super::{DEPTH, Reader};
use crate::doctor::apache::line::{Line, path};
use crate::doctor::apache::pattern::{is_pattern, matches};

impl Reader<'_> {
    /// Reads the files that the arguments of a line name.
    pub(super) fn include(
        &mut self,
        arguments: &[u8],
        is_optional: bool,
        position: &Position,
        depth: usize,
        out: &mut Vec<Line>,
    ) {
        let Some(word) = Words::new(arguments).next() else { return };
        let named = self.content.root.join(path(&word));
        let is_several = is_pattern(named.as_os_str().as_bytes());
        let files = if is_several { expand(&named) } else { files_of(&named, 0) };
        if files.is_empty() && !is_optional {
            let reason = if is_several { "there is no such file" } else { "it cannot be read, or is empty" };
            self.problem(format!("{} is not included: {reason}", named.display()), Some(position));
        }
        for file in files {
            if !is_optional || file.exists() {
                self.file(&file, Some(position), depth + 1, out);
            }
        }
    }
}

/// Returns the files of a pattern, in Apache's order.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for component in pattern.components().skip(1) {
        let component = component.as_os_str();
        found = found
            .into_iter()
            .flat_map(|directory| {
                if is_pattern(component.as_bytes()) {
                    let is_hidden =
                        |name: &[u8]| name.starts_with(b".") && !component.as_bytes().starts_with(b".");
                    let mut entries = entries(&directory);
                    entries.retain(|entry| {
                        let name = entry.file_name().unwrap_or_default().as_bytes();
                        matches(component.as_bytes(), name) && !is_hidden(name)
                    });
                    entries
                } else {
                    vec![directory.join(component)]
                }
            })
            .filter(|entry| entry.exists())
            .collect();
    }
    found.iter().flat_map(|entry| files_of(entry, 0)).collect()
}

/// Returns a file, or all files in a directory and below it.
fn files_of(named: &Path, depth: usize) -> Vec<PathBuf> {
    if !named.is_dir() {
        return vec![named.to_owned()];
    }
    if depth > DEPTH {
        return Vec::new();
    }
    entries(named).iter().flat_map(|entry| files_of(entry, depth + 1)).collect()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}
