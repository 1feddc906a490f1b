//! Gives the schema its identity: a number that is computed from the sources of everything that two
//! of our programs have in common: the wire format, the bridge, and the layout of the memory that they
//! share. A number that is raised by hand is forgotten at times.

use std::fs;
use std::path::{Path, PathBuf};

/// These sources, files and directories, relative to this crate.
const SOURCES: [&str; 5] =
    ["src/wire", "src/ledger", "src/tallies.rs", "../bridge/src", "../status/src/layout.rs"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let mut files = Vec::new();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
        collect(Path::new(source), &mut files);
    }
    files.sort();
    let mut hash = Fnv::new();
    for file in &files {
        let text = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        hash.add(file.as_os_str().as_encoded_bytes());
        hash.add(&text);
    }
    println!("cargo::rustc-env=MOD_WSGI_SCHEMA={:016x}", hash.0);
}

/// Adds all Rust files at or below `path`.
fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        files.push(path.to_owned());
        return;
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", path.display())).path();
        if entry.is_dir() || entry.extension().is_some_and(|extension| extension == "rs") {
            collect(&entry, files);
        }
    }
}

/// The hash function FNV-1a: the same with every compiler, which the standard library does not
/// promise of its own.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds a text and its length, so that no two lists of texts are the same.
    fn add(&mut self, text: &[u8]) {
        for &byte in text.iter().chain(&text.len().to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
