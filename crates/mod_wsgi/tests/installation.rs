//! Files that are replaced while they are in use. (The module itself cannot be linked without
//! Apache, so this compiles its file again.)
#![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]
#![allow(dead_code, reason = "where the module is, is not asked here")]

#[path = "../src/installation.rs"]
mod installation;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use installation::Installation;
use wsgi_core::wire::Schema;

const HOST: &str = "mod_wsgi_host.cpython-312.so";
const OTHER_HOST: &str = "mod_wsgi_host.cpython-313.so";

/// A directory with made-up files of this build.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.path("host")).unwrap();
        for name in ["mod_wsgi.so", "supervisor"] {
            place.put(name, &Schema::own().to_string(), "first");
        }
        place.put(&format!("host/{HOST}"), &Schema::own().to_string(), "first");
        symlink("/usr/bin/python3.12", place.path("python")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn installation(&self) -> Installation {
        Installation::of(&self.path("mod_wsgi.so")).unwrap()
    }

    /// Puts a file there, or another one in its place.
    fn put(&self, name: &str, schema: &str, rest: &str) {
        fs::write(self.path("new"), format!("\u{2}mod_wsgi schema {schema}\n{rest}")).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }
}

const ANOTHER: &str = "0123456789abcdef";

fn read(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines().last().unwrap().to_owned()
}

fn names(installation: &Installation) -> Vec<String> {
    let mut names: Vec<_> =
        installation.hosts().map(|host| host.name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn what_was_opened_is_kept() {
    let place = Place::new();
    let mut installation = place.installation();
    let host = place.path(&format!("host/{HOST}"));
    assert_eq!(installation.host(OsStr::new(HOST)).unwrap().present_path(), host.canonicalize().unwrap());
    for name in ["mod_wsgi.so", "supervisor", &format!("host/{HOST}"), &format!("host/{OTHER_HOST}")] {
        place.put(name, ANOTHER, "second");
    }
    fs::remove_file(place.path("python")).unwrap();
    let lines = installation.take_changes();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("another build") && lines[0].contains("stop and start"), "{lines:?}");
    assert_eq!(installation.take_changes(), Vec::<String>::new(), "it is said once");
    assert_eq!(names(&installation), [HOST]);
    assert_eq!(read(&installation.host(OsStr::new(HOST)).unwrap().present_path()), "first");
    assert_eq!(read(&installation.supervisor().unwrap().present_path()), "first");
    assert_eq!(installation.python(), Some(Path::new("/usr/bin/python3.12")));
    fs::remove_dir_all(place.path("")).unwrap();
    let lines = installation.take_changes();
    assert!(lines.len() == 1 && lines[0].contains("are gone"), "{lines:?}");
    assert_eq!(read(&installation.host(OsStr::new(HOST)).unwrap().present_path()), "first");
}

#[test]
fn the_same_build_may_be_installed_again_and_hosts_be_added() {
    let place = Place::new();
    let mut installation = place.installation();
    let own = Schema::own().to_string();
    for name in ["mod_wsgi.so", "supervisor"] {
        place.put(name, &own, "first");
    }
    place.put(&format!("host/{HOST}"), &own, "built again");
    place.put(&format!("host/{OTHER_HOST}"), &own, "new");
    fs::remove_file(place.path("python")).unwrap();
    symlink("/usr/bin/python3.13", place.path("python")).unwrap();
    assert_eq!(installation.take_changes(), Vec::<String>::new());
    assert_eq!(names(&installation), [HOST, OTHER_HOST]);
    fs::remove_dir_all(place.path("")).unwrap();
    assert_eq!(read(&installation.host(OsStr::new(HOST)).unwrap().present_path()), "built again");
    assert_eq!(read(&installation.host(OsStr::new(OTHER_HOST)).unwrap().present_path()), "new");
    assert_eq!(installation.python(), Some(Path::new("/usr/bin/python3.13")));
}

#[test]
fn what_is_of_another_build_is_refused_by_name() {
    let place = Place::new();
    place.put("supervisor", ANOTHER, "");
    place.put(&format!("host/{OTHER_HOST}"), ANOTHER, "");
    fs::write(place.path("host/mod_wsgi_host.cpython-310.so"), "of a time before there were numbers")
        .unwrap();
    let mut installation = place.installation();
    let refused = installation.supervisor().unwrap_err();
    assert!(refused.contains(ANOTHER) && refused.contains("make install"), "{refused}");
    let refused = installation.host(OsStr::new(OTHER_HOST)).unwrap_err();
    assert!(refused.contains(OTHER_HOST) && refused.contains(ANOTHER), "{refused}");
    assert_eq!(names(&installation), [HOST]);
    assert_eq!(installation.host_names().count(), 3, "they are known, for the error of who needs them");
    // A host that is of another build does not take the place of one that fits.
    place.put(&format!("host/{HOST}"), ANOTHER, "second");
    let lines = installation.take_changes();
    assert!(lines.len() == 1 && lines[0].contains(HOST), "{lines:?}");
    assert_eq!(read(&installation.host(OsStr::new(HOST)).unwrap().present_path()), "first");
    // But one that fits takes the place of one that does not.
    place.put(&format!("host/{OTHER_HOST}"), &Schema::own().to_string(), "");
    installation.take_changes();
    assert_eq!(names(&installation), [HOST, OTHER_HOST]);
}

#[test]
fn a_link_that_leads_to_another_build_is_noticed() {
    let (place, other) = (Place::new(), Place::new());
    let link = other.path("link");
    symlink(place.path(""), &link).unwrap();
    let mut installation = Installation::of(&link.join("mod_wsgi.so")).unwrap();
    assert_eq!(installation.directory(), place.path("").canonicalize().unwrap());
    assert_eq!(installation.take_changes(), Vec::<String>::new());
    other.put("mod_wsgi.so", ANOTHER, "second");
    fs::remove_file(&link).unwrap();
    symlink(other.path(""), &link).unwrap();
    assert_eq!(installation.take_changes().len(), 1);
    assert_eq!(read(&installation.supervisor().unwrap().present_path()), "first");
}

#[test]
fn a_missing_supervisor_is_named_and_found_later() {
    let place = Place::new();
    fs::remove_file(place.path("supervisor")).unwrap();
    let mut installation = place.installation();
    assert!(installation.supervisor().unwrap_err().contains("supervisor"));
    place.put("supervisor", &Schema::own().to_string(), "first");
    assert_eq!(installation.take_changes(), Vec::<String>::new());
    assert!(installation.supervisor().is_ok());
}
