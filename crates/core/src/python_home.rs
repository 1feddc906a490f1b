//! The Python that a home names, judged by names and file contents alone. Nothing of a home is run,
//! as the server that reads it may be root; and nothing is read here either, the caller does that.

mod faults;
mod find;

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

pub use faults::{faults, path_faults};
pub use find::{Files, Interpreter, find, multiarch, read_environment, resolve};

/// A version of Python 3, as far as files are named after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// 11 of 3.11.
    pub minor: u8,
    /// A build that can run without the GIL.
    pub free_threaded: bool,
}

impl Version {
    /// Returns the version in the name of an executable, such as `python3.13t`.
    #[must_use]
    pub fn from_executable_name(name: &[u8]) -> Option<Self> {
        let rest = name.strip_prefix(b"python3.")?;
        let (digits, free_threaded) = match rest.strip_suffix(b"t") {
            Some(digits) => (digits, true),
            None => (rest, false),
        };
        Some(Self { minor: number(digits)?, free_threaded })
    }

    /// Returns the version in `3.11` or `3.11.2`, as `pyvenv.cfg` has it. The text does not tell a
    /// free-threaded build.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let rest = text.strip_prefix(b"3.")?;
        let minor = rest.split(|&byte| byte == b'.').next()?;
        Some(Self { minor: number(minor)?, free_threaded: false })
    }

    /// Returns whether a sub-interpreter can have a GIL of its own.
    #[must_use]
    pub const fn has_own_gils(self) -> bool {
        self.minor >= 12
    }

    /// Returns the name of the shared library, such as `libpython3.11.so.1.0`.
    #[must_use]
    pub fn library(self) -> String {
        format!("libpython{self}.so.1.0")
    }

    /// Returns the host for this version among the `names` of files:
    /// `mod_wsgi_host.cpython-311-x86_64-linux-gnu.so`, preferably for this `multiarch`
    /// (`x86_64-linux-gnu`).
    #[must_use]
    pub fn host<'a>(self, names: impl Iterator<Item = &'a [u8]>, multiarch: &str) -> Option<&'a [u8]> {
        let suffix = if self.free_threaded { "t" } else { "" };
        let prefix = format!("{HOST}.cpython-3{}{suffix}", self.minor);
        let platform = |name: &'a [u8]| {
            let rest = name.strip_prefix(prefix.as_bytes())?.strip_suffix(b".so")?;
            if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"-") }
        };
        names
            .filter(|name| platform(name).is_some())
            .min_by_key(|name| (platform(name) != Some(multiarch.as_bytes()), *name))
    }

    /// Returns the version that a host of this file name is for.
    #[must_use]
    pub fn of_host(name: &[u8]) -> Option<Self> {
        let rest = name.strip_prefix(HOST.as_bytes())?.strip_prefix(b".cpython-3")?.strip_suffix(b".so")?;
        let tag = rest.split(|&byte| byte == b'-').next()?;
        let (digits, free_threaded) = match tag.strip_suffix(b"t") {
            Some(digits) => (digits, true),
            None => (tag, false),
        };
        Some(Self { minor: number(digits)?, free_threaded })
    }

    /// Lists the paths where the shared library may be: below the installation at `base`, then in
    /// the system's directories.
    #[must_use]
    pub fn libraries(self, base: &Path, multiarch: &str) -> Vec<PathBuf> {
        let directories = LIBRARY_DIRECTORIES.map(|directory| {
            let directory = directory.replace("{arch}", multiarch);
            directory
                .strip_prefix("{base}/")
                .map_or_else(|| PathBuf::from(&directory), |rest| base.join(rest))
        });
        let mut paths: Vec<PathBuf> = Vec::with_capacity(directories.len());
        for path in directories.map(|directory| directory.join(self.library())) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }
}

/// Shows as `3.11` or `3.13t`.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "3.{}{}", self.minor, if self.free_threaded { "t" } else { "" })
    }
}

/// The directories where the shared library of a Python may be, the best first: `{base}` is its
/// installation, `{arch}` what the platform is called (`x86_64-linux-gnu`).
pub const LIBRARY_DIRECTORIES: [&str; 6] =
    ["{base}/lib", "{base}/lib64", "{base}/lib/{arch}", "/usr/lib/{arch}", "/usr/lib64", "/usr/lib"];

/// The beginning of a host's file name.
pub const HOST: &str = "mod_wsgi_host";

/// Returns whether a home names an executable, as in `/usr/bin/python3.12`, rather than the
/// directory above `bin`. The name decides: a jail may be needed to look at the file.
#[must_use]
pub fn is_executable(home: &Path) -> bool {
    let name = home.file_name().map(OsStr::as_bytes).unwrap_or_default();
    base(home).is_some() && name.starts_with(b"python")
}

/// Returns the executables of a home, the best first: the one that it names, or those of its `bin`,
/// where a virtual environment has its own tools use `python`, while that may be a Python 2 in an
/// installation. One of them, with symbolic links resolved, is called `.../bin/python3.N`.
#[must_use]
pub fn executables(home: &Path, is_environment: bool) -> Vec<PathBuf> {
    if is_executable(home) {
        return vec![home.to_owned()];
    }
    let names = if is_environment { ["bin/python", "bin/python3"] } else { ["bin/python3", "bin/python"] };
    names.map(|name| home.join(name)).into()
}

/// Returns the directory that has the `pyvenv.cfg` if a home is a virtual environment.
#[must_use]
pub fn environment(home: &Path) -> &Path {
    if is_executable(home) { base(home).unwrap_or(home) } else { home }
}

/// Returns the installation that an executable (symbolic links resolved) belongs to.
#[must_use]
pub fn base(executable: &Path) -> Option<&Path> {
    executable.parent().filter(|directory| directory.ends_with("bin"))?.parent()
}

/// Returns the prefix of a `prefix:exec_prefix`.
#[must_use]
pub fn prefix(home: &[u8]) -> &[u8] {
    home.split(|&byte| byte == b':').next().unwrap_or(home)
}

/// The content of a `pyvenv.cfg`, which marks a virtual environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// Directory of the executable it was made with (`home`).
    pub home: Option<Vec<u8>>,
    /// That executable (`executable` or `base-executable`).
    pub executable: Option<Vec<u8>>,
    /// The command that made it (`command`); its last word is where.
    pub command: Option<Vec<u8>>,
    /// The version (`version` or `version_info`).
    pub version: Option<Version>,
}

impl Environment {
    /// Reads the content of a `pyvenv.cfg`. As in CPython, a line without `=` means nothing, and of
    /// equal keys the first counts.
    #[must_use]
    pub fn parse(content: &[u8]) -> Self {
        let mut environment = Self::default();
        for line in content.split(|&byte| byte == b'\n') {
            let Some(equals) = line.iter().position(|&byte| byte == b'=') else { continue };
            let (key, value) = (line[..equals].trim_ascii(), line[equals + 1..].trim_ascii());
            match key.to_ascii_lowercase().as_slice() {
                b"home" => {
                    environment.home.get_or_insert_with(|| value.to_vec());
                }
                b"executable" | b"base-executable" => {
                    environment.executable.get_or_insert_with(|| value.to_vec());
                }
                b"command" => {
                    environment.command.get_or_insert_with(|| value.to_vec());
                }
                b"version" | b"version_info" => {
                    environment.version = environment.version.or_else(|| Version::parse(value));
                }
                _ => {}
            }
        }
        environment
    }
}

fn number(digits: &[u8]) -> Option<u8> {
    let decimal = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| decimal)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V311: Version = Version { minor: 11, free_threaded: false };
    const V313T: Version = Version { minor: 13, free_threaded: true };

    #[test]
    fn versions_are_in_file_names() {
        assert_eq!(Version::from_executable_name(b"python3.11"), Some(V311));
        assert_eq!(Version::from_executable_name(b"python3.13t"), Some(V313T));
        for name in [
            "python",
            "python3",
            "python3.",
            "python3.x",
            "python3.11-config",
            "python2.7",
            "python3.11.2",
            "python3.t",
            "python3.+1",
            "python3.999",
        ] {
            assert_eq!(Version::from_executable_name(name.as_bytes()), None, "{name}");
        }
        assert_eq!(Version::parse(b"3.11.2"), Some(V311));
        assert_eq!(Version::parse(b"3.11.0.final.0"), Some(V311));
        assert_eq!((Version::parse(b"2.7"), Version::parse(b"x")), (None, None));
        assert_eq!((V311.to_string(), V313T.to_string()), ("3.11".into(), "3.13t".into()));
    }

    #[test]
    fn hosts_are_named_after_versions() {
        let names = [
            "mod_wsgi_host.cpython-311-x86_64-linux-musl.so",
            "mod_wsgi_host.cpython-311-x86_64-linux-gnu.so",
            "mod_wsgi_host.cpython-3110-x86_64-linux-gnu.so",
            "mod_wsgi_host.cpython-313t-x86_64-linux-gnu.so",
            "mod_wsgi_host.cpython-312-x86_64-linux-gnu.so.bak",
            "mod_wsgi_host.cpython-310.so",
            "other.cpython-314-x86_64-linux-gnu.so",
        ];
        let host = |version: Version, multiarch| {
            version
                .host(names.iter().map(|name| name.as_bytes()), multiarch)
                .map(|name| String::from_utf8_lossy(name).into_owned())
        };
        assert_eq!(host(V311, "x86_64-linux-gnu").as_deref(), Some(names[1]));
        assert_eq!(host(V311, "x86_64-linux-musl").as_deref(), Some(names[0]));
        assert_eq!(host(V313T, "x86_64-linux-gnu").as_deref(), Some(names[3]));
        assert_eq!(host(Version { minor: 10, ..V311 }, "x86_64-linux-gnu").as_deref(), Some(names[5]));
        for minor in [12, 13, 14] {
            assert_eq!(host(Version { minor, ..V311 }, "x86_64-linux-gnu"), None, "{minor}");
        }
        let version = |name: &str| Version::of_host(name.as_bytes()).map(|version| version.to_string());
        let versions = [Some("3.11"), Some("3.11"), Some("3.110"), Some("3.13t"), None, Some("3.10"), None];
        assert_eq!(names.map(version), versions.map(|version| version.map(str::to_owned)));
    }

    #[test]
    fn libraries_are_looked_for_at_home_first() {
        let paths = V311.libraries(Path::new("/opt/py"), "x86_64-linux-gnu");
        assert_eq!(paths[0], Path::new("/opt/py/lib/libpython3.11.so.1.0"));
        assert!(paths.contains(&PathBuf::from("/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0")));
        let system = V313T.libraries(Path::new("/usr"), "x86_64-linux-gnu");
        assert_eq!(system.len(), 3, "each once: {system:?}");
        assert!(system.iter().all(|path| path.ends_with("libpython3.13t.so.1.0")));
    }

    #[test]
    fn installations_are_above_their_executables() {
        assert_eq!(base(Path::new("/usr/bin/python3.11")), Some(Path::new("/usr")));
        assert_eq!(base(Path::new("/opt/python3.11")), None);
        assert_eq!(executables(Path::new("/v"), false)[0], Path::new("/v/bin/python3"));
        assert_eq!(executables(Path::new("/v"), true)[0], Path::new("/v/bin/python"));
        assert_eq!((prefix(b"/a:/b"), prefix(b"/a")), (&b"/a"[..], &b"/a"[..]));
    }

    #[test]
    fn homes_may_be_executables() {
        for name in ["/usr/bin/python3.12", "/v/bin/python", "/v/bin/python3.13t"] {
            let home = Path::new(name);
            assert!(is_executable(home), "{name}");
            assert_eq!(executables(home, true), [home]);
        }
        for name in ["/usr", "/opt/python3.12", "/v/bin", "/v/bin/activate", "/x.zip", "python3", ""] {
            assert!(!is_executable(Path::new(name)), "{name}");
        }
        assert_eq!(environment(Path::new("/v/bin/python3")), Path::new("/v"));
        assert_eq!(environment(Path::new("/v")), Path::new("/v"));
    }

    #[test]
    fn environments_say_where_they_come_from() {
        let content = b"home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n\
            executable = /usr/bin/python3.11\ncommand = /usr/bin/python3 -m venv /v\nnonsense\nHome=/other\n";
        let expected = Environment {
            home: Some(b"/usr/bin".to_vec()),
            executable: Some(b"/usr/bin/python3.11".to_vec()),
            command: Some(b"/usr/bin/python3 -m venv /v".to_vec()),
            version: Some(V311),
        };
        assert_eq!(Environment::parse(content), expected);
        let virtualenv =
            b"home = /usr/bin\r\nversion_info = 3.11.2.final.0\r\nbase-executable = /usr/bin/python3.11\r\n";
        assert_eq!(Environment::parse(virtualenv), Environment { command: None, ..expected });
        assert_eq!(Environment::parse(b""), Environment::default());
    }

    proptest! {
        #[test]
        fn any_content_is_read(content in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Environment::parse(&content);
            let _ = Version::from_executable_name(&content);
        }

        #[test]
        fn names_are_read_back(minor in any::<u8>(), free_threaded in any::<bool>()) {
            let version = Version { minor, free_threaded };
            prop_assert_eq!(Version::from_executable_name(format!("python{version}").as_bytes()), Some(version));
        }
    }
}
