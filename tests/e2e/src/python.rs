//! Python interpreters, and copies of what the serving user may not read.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Target;

/// The beginning of the names of copies.
const COPY: &str = "python-";

/// A Python interpreter.
#[derive(Clone, Debug)]
pub struct Interpreter {
    /// Its executable, as it was named.
    pub executable: PathBuf,
    /// Major and minor version.
    pub version: (u32, u32),
    /// The value of `sys.prefix`.
    pub prefix: PathBuf,
    /// Suffix of its extension modules, which names its ABI.
    pub extension_suffix: String,
}

impl Interpreter {
    /// The interpreter of `E2E_PYTHON`.
    ///
    /// # Panics
    /// It cannot be run.
    #[must_use]
    pub fn current() -> Self {
        let executable = env::var_os("E2E_PYTHON").map_or_else(|| "/usr/bin/python3".into(), PathBuf::from);
        Self::at(&executable).unwrap_or_else(|error| {
            panic!("{}: {error}; set E2E_PYTHON to a Python interpreter", executable.display())
        })
    }

    /// Returns one with a host whose ctypes works in interpreters with a GIL of their own, if there
    /// is one.
    #[must_use]
    pub fn with_own_gil() -> Option<Self> {
        let has_it = |python: &Self| python.version >= (3, 13) && !python.extension_suffix.contains("t-");
        Self::with_hosts().into_iter().find(has_it)
    }

    /// The interpreters on this machine that ours has a host for, one for each ABI, oldest first.
    #[must_use]
    pub fn with_hosts() -> Vec<Self> {
        let Target::Ours { directory } = Target::current() else { return Vec::new() };
        let mut found = BTreeMap::new();
        for executable in candidates() {
            let Ok(interpreter) = Self::at(&executable) else { continue };
            let host = format!("host/mod_wsgi_host{}", interpreter.extension_suffix);
            if directory.join(host).exists() {
                let key = (interpreter.version, interpreter.extension_suffix.clone());
                found.entry(key).or_insert(interpreter);
            }
        }
        found.into_values().collect()
    }

    /// The directory for `WSGIPythonHome`: the prefix, or a copy of it that every user may read.
    ///
    /// # Panics
    /// The copy cannot be made.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        if open_to_all(&self.prefix) {
            return self.prefix.clone();
        }
        let name = format!("{COPY}{:016x}", fingerprint(&self.prefix.to_string_lossy()));
        made_once(&name, |copy| {
            let script = "tar -C \"$0\" --exclude=test --exclude='*.a' -cf - . \
                          | tar -C \"$1\" -xf - && chmod 755 \"$1\"";
            run(Command::new("/bin/sh").args(["-c", script]).arg(&self.prefix).arg(copy));
        })
    }

    /// Returns the directory where the dynamic linker has to look for the library if `home` is a
    /// copy (see [`Self::home`]): the path in its executable leads to the original.
    pub(crate) fn library_path(home: &Path) -> Option<PathBuf> {
        let executable = if home.is_file() { home.to_owned() } else { home.join("bin/python3") };
        let executable = executable.canonicalize().ok()?;
        let base = executable.parent()?.parent()?;
        base.file_name()?.to_str()?.starts_with(COPY).then(|| base.join("lib"))
    }

    /// A virtual environment of this interpreter with the packages of a requirements file, made
    /// once and kept.
    ///
    /// # Panics
    /// It cannot be made; installing packages needs the network or a package mirror.
    #[must_use]
    pub fn environment(&self, requirements: &Path) -> PathBuf {
        let wanted = fs::read_to_string(requirements)
            .unwrap_or_else(|error| panic!("{}: {error}", requirements.display()));
        let home = self.home();
        let python = home.join(format!("bin/python{}.{}", self.version.0, self.version.1));
        let name = format!("venv-{:016x}", fingerprint(&format!("{}\n{wanted}", python.display())));
        made_once(&name, |directory| {
            run(Command::new(&python).args(["-m", "venv"]).arg(directory));
            let pip = directory.join("bin/python");
            run(Command::new(pip)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
                .arg(requirements));
        })
    }

    /// Makes a prefix with several interpreters, of which `bin/python3` is the first, and keeps it.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn common_prefix(interpreters: &[Self]) -> PathBuf {
        let homes: Vec<PathBuf> = interpreters.iter().map(Self::home).collect();
        let name = format!("{COPY}several-{:016x}", fingerprint(&format!("{homes:?}")));
        let script = "mkdir -p \"$0/bin\" \"$0/lib\"\n\
                      cp \"$1/bin/python$2\" \"$0/bin/\"\nln -s \"$1/lib/python$2\" \"$0/lib/\"\n\
                      for library in \"$1/lib/\"*/\"libpython$2.so.1.0\" \"$1/lib/libpython$2.so.1.0\"; do\n\
                      if [ -e \"$library\" ]; then ln -sf \"$library\" \"$0/lib/\"; fi\ndone\n\
                      [ -e \"$0/bin/python3\" ] || ln -s \"python$2\" \"$0/bin/python3\"";
        made_once(&name, |directory| {
            for (interpreter, home) in interpreters.iter().zip(&homes) {
                let version = format!("{}.{}", interpreter.version.0, interpreter.version.1);
                let mut shell = Command::new("/bin/sh");
                run(shell.args(["-e", "-c", script]).arg(directory).arg(home).arg(version));
            }
        })
    }

    fn at(executable: &Path) -> Result<Self, String> {
        const FACTS: &str = "import sys, sysconfig\n\
            print(*sys.version_info[:2])\nprint(sys.prefix)\nprint(sysconfig.get_config_var('EXT_SUFFIX'))";
        let output = Command::new(executable)
            .args(["-c", FACTS])
            .output()
            .map_err(|error| format!("cannot be run: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines();
        let version = lines.next().and_then(|line| line.split_once(' '));
        let version = version.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let (Some(version), Some(prefix), Some(suffix)) = (version, lines.next(), lines.next()) else {
            return Err(format!("does not work: {}", String::from_utf8_lossy(&output.stderr)));
        };
        Ok(Self {
            executable: executable.to_path_buf(),
            version,
            prefix: prefix.into(),
            extension_suffix: suffix.to_owned(),
        })
    }
}

/// A directory for what is made once and kept between runs, readable by every user: `build/e2e` of
/// the checkout, or one below `/tmp` if the checkout is private.
///
/// # Panics
/// It cannot be made, or somebody else made it.
#[must_use]
pub fn cache_directory() -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let checkout = checkout.canonicalize().unwrap_or(checkout);
    let me = nix::unistd::geteuid().as_raw();
    let directory = if open_to_all(&checkout) {
        checkout.join("build/e2e")
    } else {
        format!("/tmp/e2e-cache-{me}").into()
    };
    let made = fs::create_dir_all(&directory).and_then(|()| fs::symlink_metadata(&directory));
    let metadata = made.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    assert!(
        metadata.is_dir() && metadata.uid() == me,
        "{} belongs to somebody else: remove it",
        directory.display()
    );
    directory
}

/// Returns whether every user may search `path` and the directories above it.
pub(crate) fn open_to_all(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    path.ancestors().all(|part| {
        fs::metadata(part)
            .is_ok_and(|metadata| metadata.mode() & if metadata.is_dir() { 0o005 } else { 0o004 } != 0)
    })
}

/// Makes a directory in the cache, unless it is there. Made under another name first, so that one
/// which is there is complete, and so that two tests may try at the same time.
fn made_once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let cache = cache_directory();
    let directory = cache.join(name);
    if directory.exists() {
        return directory;
    }
    let draft = tempfile::Builder::new()
        .prefix(name)
        .tempdir_in(&cache)
        .unwrap_or_else(|error| panic!("{}: {error}", cache.display()));
    make(draft.path());
    open(draft.path());
    match fs::rename(draft.path(), &directory) {
        Ok(()) => drop(draft.keep()),
        Err(_) if directory.exists() => {}
        Err(error) => panic!("{}: {error}", directory.display()),
    }
    directory
}

/// Lets every user search a directory (temporary ones are private when made).
pub(crate) fn open(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
}

fn candidates() -> Vec<PathBuf> {
    let mut found = vec![Interpreter::current().executable];
    for directory in ["/usr/bin", "/usr/local/bin"] {
        for minor in 10..=14 {
            found.push(format!("{directory}/python3.{minor}").into());
            found.push(format!("{directory}/python3.{minor}t").into());
        }
    }
    if let Some(home) = env::var_os("HOME") {
        let versions = fs::read_dir(Path::new(&home).join(".pyenv/versions")).into_iter().flatten().flatten();
        found.extend(versions.map(|version| version.path().join("bin/python3")));
    }
    found.retain(|executable| executable.exists());
    found
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
}

fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
