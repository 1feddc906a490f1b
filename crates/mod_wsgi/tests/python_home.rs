//! The search for a Python, on made-up installations. (The module itself cannot be linked without
//! Apache, so this compiles its file again.)
#![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

#[path = "../src/embedded/python_home.rs"]
mod python_home;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use python_home::{Installed, faults, find, home_problem};

/// A directory with an installed module, a Python 3.12 and a virtual environment.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for directory in ["module/host", "base/bin", "base/lib", "venv/bin"] {
            fs::create_dir_all(place.path(directory)).unwrap();
        }
        for file in ["base/bin/python3.12", "base/lib/libpython3.12.so.1.0"] {
            fs::write(place.path(file), "").unwrap();
        }
        fs::write(place.path("module/host/mod_wsgi_host.cpython-312.so"), "").unwrap();
        symlink("python3.12", place.path("base/bin/python3")).unwrap();
        symlink(place.path("base/bin/python3"), place.path("venv/bin/python")).unwrap();
        symlink("python", place.path("venv/bin/python3")).unwrap();
        let home = format!("home = {}\nversion = 3.12.1\n", place.path("base/bin").display());
        fs::write(place.path("venv/pyvenv.cfg"), home).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        // Temporary directories may be below a symbolic link.
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn find(&self, home: Option<&Path>) -> Result<python_home::PythonHome, String> {
        let home = home.map(|home| home.as_os_str().as_encoded_bytes());
        let directory = self.path("module");
        let hosts: Vec<_> = fs::read_dir(directory.join("host"))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        let hosts: Vec<_> = hosts.iter().map(AsRef::as_ref).collect();
        let python = fs::read_link(directory.join("python")).ok().map(|target| directory.join(target));
        let installed = Installed { directory: &directory, hosts: &hosts, python: python.as_deref() };
        find(installed, home)
    }
}

#[test]
fn a_home_has_interpreter_library_and_host() {
    let place = Place::new();
    let base = place.path("base");
    let found = place.find(Some(&base)).unwrap();
    assert_eq!(found.program, base.join("bin/python3"));
    assert_eq!(found.home.as_deref(), Some(base.as_os_str().as_encoded_bytes()));
    assert_eq!(found.version.to_string(), "3.12");
    assert_eq!(found.library, base.join("lib/libpython3.12.so.1.0"));
    assert_eq!(found.host, "mod_wsgi_host.cpython-312.so");
}

#[test]
fn an_executable_may_be_named() {
    let place = Place::new();
    fs::write(place.path("base/bin/python3.13"), "").unwrap();
    fs::write(place.path("module/host/mod_wsgi_host.cpython-313.so"), "").unwrap();
    let named = place.path("base/bin/python3.13");
    let found = place.find(Some(&named)).unwrap();
    assert_eq!((found.program, found.home), (named.clone(), None));
    assert_eq!(
        (found.version.to_string(), found.host),
        ("3.13".into(), "mod_wsgi_host.cpython-313.so".into())
    );
    assert_eq!(home_problem(named.as_os_str().as_encoded_bytes()), None);
    // The prefix still stands for the other one.
    assert_eq!(place.find(Some(&place.path("base"))).unwrap().version.to_string(), "3.12");

    let named = place.path("venv/bin/python3");
    let found = place.find(Some(&named)).unwrap();
    assert_eq!((found.program, found.home), (named, None));
    assert_eq!(found.library, place.path("base/lib/libpython3.12.so.1.0"));
    let missing = place.path("venv/bin/python3.9");
    let error = place.find(Some(&missing)).unwrap_err();
    assert!(error.contains(&format!("{}", missing.display())), "{error}");
}

#[test]
fn a_virtual_environment_is_its_program() {
    let place = Place::new();
    let found = place.find(Some(&place.path("venv"))).unwrap();
    assert_eq!(found.program, place.path("venv/bin/python"));
    assert_eq!(found.home, None);
    assert_eq!(found.library, place.path("base/lib/libpython3.12.so.1.0"));
}

#[test]
fn a_virtual_environment_knows_its_base_without_its_links() {
    let place = Place::new();
    for link in ["venv/bin/python", "venv/bin/python3"] {
        fs::remove_file(place.path(link)).unwrap();
    }
    let found = place.find(Some(&place.path("venv"))).unwrap();
    assert_eq!(found.library, place.path("base/lib/libpython3.12.so.1.0"));
}

#[test]
fn a_broken_environment_is_warned_of() {
    let place = Place::new();
    let told = || -> Vec<String> {
        faults(place.path("venv").as_os_str().as_encoded_bytes(), b"/w/lib/python3.9/site-packages")
            .map(|fault| fault.to_string())
            .collect()
    };
    assert!(told()[0].contains("no standard library"), "{:?}", told());
    fs::create_dir_all(place.path("base/lib/python3.12/encodings")).unwrap();
    assert!(told().len() == 1 && told()[0].contains("packages for Python 3.9"), "{:?}", told());
    fs::remove_dir_all(place.path("base")).unwrap();
    assert!(told()[0].contains("which does not exist"), "{:?}", told());
}

#[test]
fn without_a_home_the_link_decides() {
    let place = Place::new();
    let error = place.find(None).unwrap_err();
    assert!(error.contains("module/python") && error.contains("Set WSGIPythonHome"), "{error}");
    symlink(place.path("venv/bin/python"), place.path("module/python")).unwrap();
    let found = place.find(None).unwrap();
    assert_eq!(found.program, place.path("venv/bin/python"));
    assert_eq!(found.home, None);
}

#[test]
fn a_missing_library_is_left_to_the_loader() {
    let place = Place::new();
    fs::remove_file(place.path("base/lib/libpython3.12.so.1.0")).unwrap();
    let found = place.find(Some(&place.path("base"))).unwrap();
    assert!(found.library.ends_with("libpython3.12.so.1.0"), "{}", found.library.display());
}

#[test]
fn a_missing_host_names_the_remedy() {
    let place = Place::new();
    fs::remove_file(place.path("module/host/mod_wsgi_host.cpython-312.so")).unwrap();
    let error = place.find(Some(&place.path("base"))).unwrap_err();
    assert!(error.contains("no host for Python 3.12") && error.contains("make host PYTHON="), "{error}");
}

#[test]
fn a_python_that_is_too_old_is_said_to_be() {
    let place = Place::new();
    fs::rename(place.path("base/bin/python3.12"), place.path("base/bin/python3.9")).unwrap();
    fs::remove_file(place.path("base/bin/python3")).unwrap();
    symlink("python3.9", place.path("base/bin/python3")).unwrap();
    let error = place.find(Some(&place.path("base"))).unwrap_err();
    assert!(error.contains("is Python 3.9") && error.contains("3.10"), "{error}");
}

#[test]
fn what_is_no_home_is_named() {
    let place = Place::new();
    let missing = place.path("missing");
    let error = place.find(Some(&missing)).unwrap_err();
    assert!(error.contains(&format!("{}", missing.display())) && error.contains("bin/python3"), "{error}");
    let complain = |path: &Path| home_problem(path.as_os_str().as_encoded_bytes()).unwrap_or_default();
    assert!(complain(&missing).starts_with("WSGI0100"));
    assert!(complain(&place.path("venv/pyvenv.cfg")).starts_with("WSGI0101"));
    assert_eq!(complain(&place.path("base")), "");
}
