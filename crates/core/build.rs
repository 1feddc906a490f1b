//! Gives the schema its identity: a number that is computed from the sources of everything that two
//! of our programs have in common, the wire format and the bridge. A number that is raised by hand
//! is forgotten at times.

use std::fs;
use std::path::{Path, PathBuf};

/// The directories of these sources, relative to this crate.
const SOURCES: [&str; 2] = ["src/wire", "../bridge/src"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let mut files = Vec::new();
    for directory in SOURCES {
        println!("cargo::rerun-if-changed={directory}");
        collect(Path::new(directory), &mut files);
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

/// All Rust files below `directory`.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("{}: {error}", directory.display())).path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
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
