//! The target of the tests: which module, which MPM, which mode.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skipped;

/// The implementation under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Ours, installed at a prefix.
    Ours {
        /// The directory that holds `mod_wsgi.so` and `host/`.
        directory: PathBuf,
    },
    /// The original, version 6.1.1.
    Reference {
        /// Its Apache module.
        module: PathBuf,
    },
}

impl Target {
    /// The target that `E2E_TARGET` names.
    ///
    /// # Panics
    /// A variable is missing or names something that does not exist.
    #[must_use]
    pub fn current() -> Self {
        match env::var("E2E_TARGET").as_deref() {
            Ok("reference") => Self::Reference {
                module: required_file(
                    "E2E_REFERENCE",
                    "",
                    "the original's module; `scripts/reference DIR` installs it and prints its path",
                ),
            },
            Ok("ours") | Err(_) => {
                let module = required_file(
                    "E2E_PREFIX",
                    "lib/mod_wsgi/mod_wsgi.so",
                    "the prefix of an installed mod_wsgi; `make install PREFIX=dir` makes one",
                );
                Self::Ours { directory: module.parent().unwrap_or(Path::new("/")).to_path_buf() }
            }
            Ok(other) => panic!("E2E_TARGET is `{other}`: set it to `ours` or `reference`"),
        }
    }

    /// Returns whether this is the original.
    #[must_use]
    pub const fn is_reference(&self) -> bool {
        matches!(self, Self::Reference { .. })
    }

    /// The Apache module.
    #[must_use]
    pub fn module(&self) -> PathBuf {
        match self {
            Self::Ours { directory } => directory.join("mod_wsgi.so"),
            Self::Reference { module } => module.clone(),
        }
    }
}

/// Apache's multi-processing modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mpm {
    /// One process per request.
    Prefork,
    /// Processes with threads.
    Worker,
    /// Processes with threads and an event loop for idle connections.
    Event,
}

impl Mpm {
    const ALL: [Self; 3] = [Self::Prefork, Self::Worker, Self::Event];

    /// As in `mod_mpm_<name>.so`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prefork => "prefork",
            Self::Worker => "worker",
            Self::Event => "event",
        }
    }

    /// Returns whether several requests share a process.
    #[must_use]
    pub const fn threaded(self) -> bool {
        !matches!(self, Self::Prefork)
    }

    /// Returns those that `E2E_MPM` allows, the preferred one last.
    ///
    /// # Panics
    /// It names something else.
    #[must_use]
    pub fn wanted() -> Vec<Self> {
        let Ok(names) = env::var("E2E_MPM") else { return Self::ALL.to_vec() };
        let names: Vec<_> = names.split(',').map(str::trim).collect();
        let is_known = |name: &&str| Self::ALL.iter().any(|mpm| mpm.name() == *name);
        assert!(names.iter().all(is_known), "E2E_MPM is `{}`: name prefork, worker, event", names.join(","));
        Self::ALL.into_iter().filter(|mpm| names.contains(&mpm.name())).collect()
    }
}

/// The place where Python runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the Apache children.
    Embedded,
    /// In daemon processes.
    Daemon,
}

impl Mode {
    /// The mode that `E2E_MODE` names.
    ///
    /// # Panics
    /// It names something else.
    #[must_use]
    pub fn current() -> Self {
        match env::var("E2E_MODE").as_deref() {
            Ok("embedded") | Err(_) => Self::Embedded,
            Ok("daemon") => Self::Daemon,
            Ok(other) => panic!("E2E_MODE is `{other}`: set it to `embedded` or `daemon`"),
        }
    }

    /// Returns the value for this mode, where the contract differs between the modes.
    #[must_use]
    pub fn pick<T>(self, embedded: T, daemon: T) -> T {
        match self {
            Self::Embedded => embedded,
            Self::Daemon => daemon,
        }
    }
}

/// Has a program that is or starts Apache load the library that `E2E_PRELOAD` names. What it starts
/// does so, too.
pub fn preload(command: &mut Command) {
    if let Some(library) = env::var_os(PRELOAD) {
        command.env("LD_PRELOAD", library);
    }
}

/// Returns whether ours is built for a sanitizer.
pub(crate) fn is_sanitized() -> bool {
    env::var_os(PRELOAD).is_some()
}

/// Skips a part of a test that a sanitizer does not allow for, for `reason`, where ours is built
/// for one; says so.
#[must_use]
pub fn sanitized(reason: &str) -> bool {
    let skips = is_sanitized();
    if skips {
        skipped(&format!("not with a sanitizer: {reason}"));
    }
    skips
}

const PRELOAD: &str = "E2E_PRELOAD";

fn required_file(variable: &str, below: &str, what: &str) -> PathBuf {
    let value = env::var_os(variable).unwrap_or_else(|| panic!("set {variable} to {what}"));
    let base = PathBuf::from(value);
    let path = if below.is_empty() { base } else { base.join(below) };
    path.canonicalize()
        .unwrap_or_else(|error| panic!("{variable}: {}: {error}; it must be {what}", path.display()))
}
