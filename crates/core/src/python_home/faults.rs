//! Faults of a home that Python itself reports badly, or not at all: it says `No module named
//! 'encodings'` for most of them.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use super::find::{Files, Interpreter, find, read_environment};
use super::{Environment, Version, environment, executables, is_executable};
use crate::fault::{Fault, Weight};

/// Finds the faults of a home. That its path is closed to a user is not among them.
#[must_use]
pub fn faults(home: &Path, files: Files<'_>) -> Vec<Fault> {
    let found = find(home, files);
    let mut faults = Vec::new();
    match read_environment(home, files) {
        Some(settings) => {
            let root = environment(home);
            let fault = no_base(root, &settings, files)
                .or_else(|| dangling(root, home, files))
                .or_else(|| other_version(root, &settings, found.as_ref().ok(), files));
            faults.extend(fault);
            if faults.is_empty() {
                faults.extend(moved(root, &settings, files));
            }
        }
        None => faults.extend(several(home, found.as_ref().ok(), files)),
    }
    if let Ok(found) = found {
        // A base that is gone has been reported.
        faults.extend(no_library(&found, files).filter(|_| (files.resolve)(&found.base).is_ok()));
    }
    faults
}

/// Finds directories of a Python path that are for another version.
#[must_use]
pub fn path_faults<'a>(version: Version, path: impl IntoIterator<Item = &'a Path>) -> Vec<Fault> {
    let other = |directory: &Path| {
        // The innermost one counts.
        directory
            .components()
            .rev()
            .find_map(|component| match component {
                Component::Normal(name) => Version::from_executable_name(name.as_bytes()),
                _ => None,
            })
            .filter(|other| *other != version)
    };
    let fault = |directory: &Path| {
        let other = other(directory)?;
        Some(Fault {
            weight: Weight::Doubtful,
            what: format!("the directory {} has packages for Python {other}", directory.display()),
            why: format!("Python {version} is what imports from it, and cannot load their extension modules"),
            remedy: format!(
                "name the packages of a Python {version}, or the Python {other} that they were installed for"
            ),
        })
    };
    path.into_iter().filter_map(fault).collect()
}

/// Returns the fault of a virtual environment whose Python is gone.
fn no_base(root: &Path, settings: &Environment, files: Files<'_>) -> Option<Fault> {
    let directory = settings.directory()?;
    let error = (files.resolve)(directory).err()?;
    (error.kind() == ErrorKind::NotFound).then(|| Fault {
        weight: Weight::Fatal,
        what: format!("the Python that the virtual environment {} was made with is gone", root.display()),
        why: format!("its pyvenv.cfg says home = {}, which does not exist", directory.display()),
        remedy: make_again(root),
    })
}

/// Returns the fault of a virtual environment whose executable is a link that leads nowhere.
fn dangling(root: &Path, home: &Path, files: Files<'_>) -> Option<Fault> {
    let programs = executables(home, true);
    let names = (files.names)(&root.join("bin"));
    let is_there = |program: &Path| names.iter().any(|name| program.file_name() == Some(name));
    let is_lost = |program: &Path| {
        is_there(program) && (files.resolve)(program).is_err_and(|error| error.kind() == ErrorKind::NotFound)
    };
    let works = programs.iter().any(|program| (files.resolve)(program).is_ok());
    let program = programs.iter().find(|program| is_lost(program)).filter(|_| !works)?;
    Some(Fault {
        weight: Weight::Fatal,
        what: format!("{} is a link that leads nowhere", program.display()),
        why: format!(
            "the Python that the virtual environment {} was made with has been removed or replaced",
            root.display()
        ),
        remedy: make_again(root),
    })
}

/// Returns the fault of a virtual environment with packages for another version than that of its
/// executable, as after an upgrade of the system's Python.
fn other_version(
    root: &Path,
    settings: &Environment,
    found: Option<&Interpreter>,
    files: Files<'_>,
) -> Option<Fault> {
    let version = found?.version;
    let names = (files.names)(&root.join("lib"));
    let libraries: Vec<Version> =
        names.iter().filter_map(|name| Version::from_executable_name(name.as_bytes())).collect();
    if libraries.contains(&version) {
        return None;
    }
    let of_settings = settings.version.filter(|made| made.minor != version.minor);
    let made = libraries.first().copied().or(of_settings)?;
    Some(Fault {
        weight: Weight::Fatal,
        what: format!(
            "the virtual environment {} is of Python {made}, and its executable is Python {version}",
            root.display()
        ),
        why: format!("its packages are in lib/python{made}, where Python {version} does not look"),
        remedy: make_again(root),
    })
}

/// Returns the fault of a virtual environment that was made at another place.
fn moved(root: &Path, settings: &Environment, files: Files<'_>) -> Option<Fault> {
    let made = settings.made_at()?;
    if made == root || (files.resolve)(made).ok() == (files.resolve)(root).ok() {
        return None;
    }
    Some(Fault {
        weight: Weight::Harmless,
        what: format!(
            "the virtual environment {} was made as {}, and has been moved or copied",
            root.display(),
            made.display()
        ),
        why: "applications run in it, but the programs in its bin, such as pip, belong to the former place"
            .to_owned(),
        remedy: "install packages with `bin/python -m pip`, or make it again at its place".to_owned(),
    })
}

/// Returns the fault of an installation without its standard library, without which Python does not
/// start.
fn no_library(found: &Interpreter, files: Files<'_>) -> Option<Fault> {
    let Interpreter { base, version, .. } = found;
    let digits = version.to_string().replace('.', "");
    let places = ["lib", "lib64"].map(|lib| base.join(lib).join(format!("python{version}/encodings")));
    let archives = ["lib", "lib64"].map(|lib| base.join(lib).join(format!("python{digits}.zip")));
    if places.iter().chain(&archives).any(|place| (files.resolve)(place).is_ok()) {
        return None;
    }
    Some(Fault {
        weight: Weight::Fatal,
        what: format!("{} has no standard library for Python {version}", base.display()),
        why: format!(
            "there is no {}; Python ends at once with \"No module named 'encodings'\"",
            places[0].display()
        ),
        remedy: format!(
            "install all of Python {version} (Debian: libpython{version}-stdlib), or name another Python"
        ),
    })
}

/// Returns the fault of a home that has several Pythons, of which one stands for all.
fn several(home: &Path, found: Option<&Interpreter>, files: Files<'_>) -> Option<Fault> {
    let found = found.filter(|_| !is_executable(home))?;
    let names = (files.names)(&home.join("bin"));
    let mut versions: Vec<Version> =
        names.iter().filter_map(|name| Version::from_executable_name(name.as_bytes())).collect();
    versions.sort_unstable_by_key(|version| (version.minor, version.free_threaded));
    versions.dedup();
    let [first, .., last] = versions[..] else { return None };
    let used = found.version;
    let other = if used == last { first } else { last };
    let listed: Vec<_> = versions.iter().map(ToString::to_string).collect();
    Some(Fault {
        weight: Weight::Harmless,
        what: format!("{} has several Pythons: {}", home.display(), listed.join(", ")),
        why: format!("{} is Python {used}, and is used", found.program.display()),
        remedy: format!(
            "if that is not meant, name the executable in place of the directory, such as {}",
            home.join(format!("bin/python{other}")).display()
        ),
    })
}

fn make_again(root: &Path) -> String {
    let shown = root.display();
    format!(
        "make it again (`python3 -m venv --clear {shown}`) and install its packages, or name another Python"
    )
}

impl Environment {
    /// Returns the directory of the executable that it was made with.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.home.as_deref().map(|home| Path::new(OsStr::from_bytes(home)))
    }

    /// Returns the path that it was made at, where that is known: the last word of the command.
    fn made_at(&self) -> Option<&Path> {
        let command = self.command.as_deref()?;
        let (_, place) = command.split_at(command.windows(2).rposition(|pair| pair == b" /")?);
        Some(Path::new(OsStr::from_bytes(place.trim_ascii())))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsString;
    use std::io;
    use std::path::PathBuf;

    use super::*;

    const V311: Version = Version { minor: 11, free_threaded: false };

    /// A file system: files by their paths, links as such.
    #[derive(Clone)]
    struct Disk(BTreeMap<PathBuf, Node>);

    #[derive(Clone)]
    enum Node {
        File(&'static str),
        Link(&'static str),
    }

    impl Disk {
        /// A Python 3.11 in /opt/py, and a virtual environment of it in /v.
        fn new() -> Self {
            let mut disk = Self(BTreeMap::new());
            disk.file("/opt/py/bin/python3.11", "").link("/opt/py/bin/python3", "/opt/py/bin/python3.11");
            disk.file("/opt/py/lib/python3.11/encodings/__init__.py", "");
            disk.link("/v/bin/python", "/opt/py/bin/python3").link("/v/bin/python3", "/v/bin/python");
            disk.file("/v/lib/python3.11/site-packages/x.py", "");
            let settings = "home = /opt/py/bin\nversion = 3.11.2\ncommand = /opt/py/bin/python3 -m venv /v\n";
            disk.file("/v/pyvenv.cfg", settings);
            disk
        }

        fn file(&mut self, path: &str, content: &'static str) -> &mut Self {
            self.0.insert(path.into(), Node::File(content));
            self
        }

        fn link(&mut self, path: &str, target: &'static str) -> &mut Self {
            self.0.insert(path.into(), Node::Link(target));
            self
        }

        fn without(&self, below: &str) -> Self {
            Self(self.0.clone().into_iter().filter(|(path, _)| !path.starts_with(below)).collect())
        }

        fn whats(&self, home: &str) -> Vec<String> {
            self.faults(home).into_iter().map(|fault| fault.to_string()).collect()
        }

        fn faults(&self, home: &str) -> Vec<Fault> {
            let (read, resolve) = (|path: &Path| self.read(path), |path: &Path| self.resolve(path));
            let names = |path: &Path| self.names(path);
            faults(Path::new(home), Files { read: &read, resolve: &resolve, names: &names })
        }

        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            match self.0.get(path) {
                Some(Node::File(content)) => Ok(content.as_bytes().to_vec()),
                _ => Err(ErrorKind::NotFound.into()),
            }
        }

        fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
            match self.0.get(path) {
                Some(Node::Link(target)) => self.resolve(Path::new(target)),
                Some(Node::File(_)) => Ok(path.to_owned()),
                None if self.0.keys().any(|file| file.starts_with(path)) => Ok(path.to_owned()),
                None => Err(ErrorKind::NotFound.into()),
            }
        }

        fn names(&self, path: &Path) -> Vec<OsString> {
            let below = self.0.keys().filter_map(|file| file.strip_prefix(path).ok());
            below.filter_map(|rest| Some(rest.components().next()?.as_os_str().to_owned())).collect()
        }
    }

    #[test]
    fn healthy_homes_have_none() {
        for home in ["/v", "/v/bin/python", "/opt/py", "/opt/py/bin/python3.11"] {
            assert_eq!(Disk::new().whats(home), [""; 0], "{home}");
        }
    }

    #[test]
    fn an_environment_whose_python_is_gone_says_so_once() {
        let faults = Disk::new().without("/opt/py").whats("/v");
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            faults[0].contains("home = /opt/py/bin, which does not exist")
                && faults[0].contains("venv --clear /v")
        );
    }

    #[test]
    fn a_link_that_leads_nowhere_is_named() {
        let mut disk = Disk::new();
        disk.link("/v/bin/python", "/opt/py/bin/python3.10");
        let faults = disk.whats("/v");
        assert!(
            faults.len() == 1 && faults[0].starts_with("/v/bin/python is a link that leads nowhere"),
            "{faults:?}"
        );
        assert_eq!(disk.whats("/v/bin/python"), faults);
    }

    #[test]
    fn an_environment_of_another_version_is_noticed() {
        let mut disk = Disk::new();
        disk.file("/opt/py/bin/python3.12", "").link("/opt/py/bin/python3", "/opt/py/bin/python3.12");
        disk.file("/opt/py/lib/python3.12/encodings/__init__.py", "");
        let faults = disk.whats("/v");
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains("is of Python 3.11, and its executable is Python 3.12"), "{faults:?}");
        // An environment may have none of its own.
        assert!(disk.without("/v/lib").whats("/v")[0].contains("is of Python 3.11"));
    }

    #[test]
    fn an_environment_that_was_moved_is_told_of() {
        let mut disk = Disk::new();
        disk.file(
            "/v/pyvenv.cfg",
            "home = /opt/py/bin\ncommand = /opt/py/bin/python3 -m venv --copies /old\n",
        );
        let found = disk.faults("/v");
        assert!(
            found[0].what.contains("was made as /old") && found[0].weight == Weight::Harmless,
            "{found:?}"
        );
        disk.link("/old", "/v");
        assert_eq!(disk.whats("/v"), [""; 0]);
    }

    #[test]
    fn a_python_without_its_library_does_not_start() {
        let faults = Disk::new().without("/opt/py/lib").whats("/opt/py");
        assert!(faults.len() == 1 && faults[0].contains("no standard library for Python 3.11"), "{faults:?}");
        let mut archived = Disk::new().without("/opt/py/lib");
        archived.file("/opt/py/lib/python311.zip", "");
        assert_eq!(archived.whats("/opt/py"), [""; 0]);
    }

    #[test]
    fn several_pythons_in_one_home_are_listed() {
        let mut disk = Disk::new();
        disk.file("/opt/py/bin/python3.12", "").file("/opt/py/bin/python3.12-config", "");
        let faults = disk.whats("/opt/py");
        assert!(
            faults.len() == 1
                && faults[0].contains("3.11, 3.12")
                && faults[0].contains("/opt/py/bin/python3.12")
        );
        assert_eq!(disk.whats("/opt/py/bin/python3.11"), [""; 0]);
    }

    #[test]
    fn packages_for_another_version_are_noticed() {
        let path =
            ["/srv/lib", "/v/lib/python3.11/site-packages", "/w/lib/python3.9/site-packages"].map(Path::new);
        let faults = path_faults(V311, path);
        assert!(faults.len() == 1 && faults[0].what.contains("for Python 3.9"), "{faults:?}");
    }
}
