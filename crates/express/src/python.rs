//! The Python interpreter that an application runs in: which one, and what has to be known about
//! it.

use std::path::{Path, PathBuf};

use wsgi_core::python_home::{self, LIBRARY_DIRECTORIES, Version};

use crate::account::Account;
use crate::bounded::output;
use crate::failure::Failure;

/// An interpreter that the serving account can execute.
#[derive(Debug)]
pub(crate) struct Python {
    /// The path it was found by.
    pub(crate) executable: PathBuf,
    /// The path that it reports of itself. It differs from the path where it was found if that is a
    /// script that starts it.
    pub(crate) program: PathBuf,
    /// `sys.prefix`: the root of the installation, or of the virtual environment.
    pub(crate) prefix: PathBuf,
    /// Such as `3.11.2`.
    pub(crate) version: String,
    /// Such as `.cpython-311-x86_64-linux-gnu.so`, the end of the name of its host.
    pub(crate) ext_suffix: String,
    /// Such as `libpython3.11.so.1.0`.
    pub(crate) library: String,
    /// True if that library can be found.
    pub(crate) shared: bool,
    /// Why this one was taken.
    pub(crate) origin: String,
}

/// Prints what [`Python`] holds, one item per line. Its arguments are the directories where the
/// library may be: those where the module looks.
const PROBE: &str = r"
import os, sys, sysconfig
value = sysconfig.get_config_var
library = 'libpython%d.%d%s.so.1.0' % (sys.version_info[0], sys.version_info[1], getattr(sys, 'abiflags', ''))
arch = value('MULTIARCH') or ''
base = sys.base_prefix
places = [place.format(base=base, arch=arch) for place in sys.argv[1:]]
shared = any(os.path.exists(os.path.join(place, library)) for place in places)
if not shared:
    try:
        import ctypes
        ctypes.CDLL(library)
        shared = True
    except (ImportError, OSError):
        pass
for item in (os.path.normpath(sys.prefix), '%d.%d.%d' % sys.version_info[:3], value('EXT_SUFFIX'), library,
             'shared' if shared else 'static', sys.executable):
    print(item)
";

/// The places to look for an interpreter.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// `--python`.
    pub(crate) option: Option<PathBuf>,
    /// `$PYTHON`.
    pub(crate) variable: Option<PathBuf>,
    /// The virtual environment whose `bin` this program was called in by its path.
    pub(crate) beside: Option<PathBuf>,
    /// `$VIRTUAL_ENV`.
    pub(crate) environment: Option<PathBuf>,
    /// The virtual environment in which a shell has found this program, or in which it lies. One that
    /// is active comes first: that of pipx has no applications.
    pub(crate) own: Option<PathBuf>,
    /// Those that the installation comes with: the one that was named when it was made, and the one
    /// that it was installed into.
    pub(crate) installed: Vec<(PathBuf, &'static str)>,
    /// The directories of `$PATH`.
    pub(crate) path: Vec<PathBuf>,
}

impl Candidates {
    /// Reads the places from the environment of the process, for the installation with this program
    /// and this default Python.
    pub(crate) fn from_environment(
        option: Option<PathBuf>,
        program: &Path,
        default: Option<PathBuf>,
    ) -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let path: Vec<PathBuf> =
            variable("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
        let name = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
        let named = default.map(|python| (python, "the default Python of this installation"));
        let beside = program.with_file_name("python3");
        Self {
            option,
            variable: variable("PYTHON").map(PathBuf::from),
            beside: called_by_path(&name).and_then(|called| environment_of(&called)),
            environment: variable("VIRTUAL_ENV").map(PathBuf::from),
            own: on_path(&name, &path, program)
                .and_then(|found| environment_of(&found))
                .or_else(|| environment_of(program)),
            installed: named.into_iter().chain([(beside, "the Python beside this command")]).collect(),
            path,
        }
    }

    /// The first that can be used: a named one has to work, those of the installation and those on
    /// the path are tried in turn.
    ///
    /// # Errors
    /// There is none that `account` can execute.
    pub(crate) fn choose(&self, account: &Account) -> Result<Python, Failure> {
        const OWN: &str = "the virtual environment of this command";
        let named = self
            .option
            .as_ref()
            .map(|python| (self.located(python), "--python".to_owned()))
            .or_else(|| self.variable.as_ref().map(|python| (self.located(python), "$PYTHON".to_owned())))
            .or_else(|| {
                let environment = self.beside.as_ref()?;
                Some((environment.join("bin/python"), OWN.to_owned()))
            })
            .or_else(|| {
                let environment = self.environment.as_ref()?;
                Some((environment.join("bin/python"), "the active virtual environment".to_owned()))
            })
            .or_else(|| {
                let environment = self.own.as_ref()?;
                Some((environment.join("bin/python"), OWN.to_owned()))
            });
        if let Some((executable, origin)) = named {
            if executable.is_dir() {
                return Err(is_directory(&executable, &origin));
            }
            return probe(account, &executable, origin.clone()).map_err(|reason| {
                Failure::machine(format!(
                    "cannot use the Python of {origin}, {}, as {}: {reason}; name one that this account can execute with \
                     --python, or put it where this account can reach it",
                    executable.display(),
                    account.user
                ))
            });
        }

        let mut skipped = Vec::new();
        let first = format!("the first python3 on PATH that {} can execute", account.user);
        let on_path = self.path.iter().map(|directory| (directory.join("python3"), &*first));
        for (executable, origin) in self.installed.iter().cloned().chain(on_path) {
            if !executable.is_file() || !executable.is_absolute() {
                continue;
            }
            let mut origin = origin.to_owned();
            if !skipped.is_empty() {
                origin = format!("{origin}; skipped {}", skipped.join(", "));
            }
            match probe(account, &executable, origin) {
                Ok(python) => return Ok(python),
                Err(reason) => skipped.push(format!("{} ({reason})", executable.display())),
            }
        }
        let tried = if skipped.is_empty() { "none found".to_owned() } else { skipped.join(", ") };
        Err(Failure::machine(format!(
            "no python3 on PATH that {} can execute: {tried}; install python3, or name one with --python",
            account.user
        )))
    }

    /// Returns the Python that somebody named, whether it works or not.
    pub(crate) fn named(&self) -> Option<PathBuf> {
        let named = self.option.as_ref().or(self.variable.as_ref()).map(|python| self.located(python));
        let environments = [&self.beside, &self.environment, &self.own].into_iter().flatten();
        named.or_else(|| environments.map(|environment| environment.join("bin/python")).next())
    }

    /// A bare name is searched on the path, as a shell would.
    fn located(&self, python: &Path) -> PathBuf {
        if python.components().count() == 1
            && !python.exists()
            && let Some(found) =
                self.path.iter().map(|directory| directory.join(python)).find(|file| file.is_file())
        {
            return found;
        }
        std::path::absolute(python).unwrap_or_else(|_| python.to_owned())
    }
}

/// Returns the failure of a Python that is named by a directory.
fn is_directory(directory: &Path, origin: &str) -> Failure {
    let programs = ["bin/python", "bin/python3", "python3"].map(|program| directory.join(program));
    let likely = programs.iter().find(|program| program.is_file()).unwrap_or(&programs[0]);
    Failure::machine(format!(
        "cannot use the Python of {origin}, {}: it is a directory; name the executable, such as {}, with --python",
        directory.display(),
        likely.display()
    ))
}

/// Returns the path that a program was called by, if it was called by a path.
fn called_by_path(name: &Path) -> Option<PathBuf> {
    std::path::absolute(name).ok().filter(|_| name.components().count() > 1)
}

/// Returns the place on the search path where a shell has found a program by its name. `program` is
/// the same with links resolved.
fn on_path(name: &Path, path: &[PathBuf], program: &Path) -> Option<PathBuf> {
    let mut places = path.iter().map(|directory| directory.join(name));
    places.find(|place| place.canonicalize().is_ok_and(|found| found == program))
}

/// Returns the virtual environment that a program lies in.
fn environment_of(program: &Path) -> Option<PathBuf> {
    let environment = program.parent()?.parent()?;
    environment.join("pyvenv.cfg").exists().then(|| environment.to_owned())
}

impl Python {
    /// Returns what prevents the interpreter from running applications, and the remedy. Only
    /// applications in Apache's own processes need its shared library.
    pub(crate) fn obstacle(&self, hosts: &Path, embedded: bool) -> Option<String> {
        let Self { version, library, .. } = self;
        let executable = self.executable.display();
        let minor: Option<u32> =
            version.strip_prefix("3.").and_then(|rest| rest.split('.').next()?.parse().ok());
        if minor.is_none_or(|minor| minor < 10) {
            return Some(format!(
                "Python {version} ({executable}) is too old: 3.10 is the first that is supported; \
                 name another with --python"
            ));
        }
        if self.is_free_threaded() {
            return Some(format!(
                "{executable} is a free-threaded build of Python {version}; those are not supported yet (3.14t will be \
                 the first): name an ordinary one with --python"
            ));
        }
        let host = hosts.join(self.host_name());
        if !host.is_file() {
            return Some(format!(
                "no host for Python {version}: {} does not exist; name another Python with --python (there are hosts for \
                 {}), install a later version of mod_wsgi-rs, or build this host from its sources with \
                 `make host PYTHON={executable} PREFIX=...`",
                host.display(),
                versions(hosts),
            ));
        }
        if embedded && !self.shared {
            let package = library.split(".so").next().unwrap_or(library);
            return Some(format!(
                "{library} was not found, and embedding Python {version} ({executable}) needs it: install the \
                 package {package} (Debian) or a Python that was built with --enable-shared, or use daemon mode"
            ));
        }
        None
    }

    /// Returns the value for `WSGIPythonHome`: the prefix, or the executable if that has several
    /// Pythons and this is not the one that it stands for.
    pub(crate) fn home(&self) -> &Path {
        if self.prefix.join("pyvenv.cfg").exists() || !python_home::is_executable(&self.program) {
            return &self.prefix;
        }
        let stands_for = python_home::executables(&self.prefix, false).into_iter();
        let stands_for = stands_for.filter_map(|program| program.canonicalize().ok()).next();
        if stands_for == self.program.canonicalize().ok() { &self.prefix } else { &self.program }
    }

    /// Returns the directories for packages and for programs.
    ///
    /// # Errors
    /// It does not say them.
    pub(crate) fn directories(&self, account: &Account) -> Result<[PathBuf; 2], Failure> {
        const PRINT: &str = "import sysconfig; print(sysconfig.get_path('purelib'), sysconfig.get_path('scripts'), sep='\\n')";
        let output = output(account.command(&self.program).args(["-I", "-c", PRINT]));
        let output = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let text = output.unwrap_or_default();
        match text.lines().collect::<Vec<_>>()[..] {
            [packages, scripts] => Ok([packages.into(), scripts.into()]),
            _ => Err(Failure::machine(format!(
                "{} does not say where its packages are (sysconfig.get_path); name another with --python",
                self.program.display()
            ))),
        }
    }

    /// Returns whether the machine has a locale.
    pub(crate) fn has_locale(&self, name: &str, account: &Account) -> bool {
        const CHECK: &str = "import locale, sys; locale.setlocale(locale.LC_ALL, sys.argv[1])";
        let output = output(account.command(&self.program).args(["-I", "-c", CHECK, name]));
        output.is_ok_and(|output| output.status.success())
    }

    /// Checks that a module can be imported with these directories first on the path. The error says
    /// what prevents it.
    pub(crate) fn imports(&self, module: &str, path: &[PathBuf], account: &Account) -> Result<(), String> {
        const CHECK: &str =
            "import importlib, sys; sys.path[:0] = sys.argv[2:]; importlib.import_module(sys.argv[1])";
        let output = output(account.command(&self.program).args(["-c", CHECK, module]).args(path))
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(text.lines().last().unwrap_or_default().trim().to_owned())
    }

    /// Returns what prevents each of these files from being compiled, with its number in the list.
    pub(crate) fn syntax_errors(&self, files: &[&Path], account: &Account) -> Vec<(usize, String)> {
        // Files that cannot be read are somebody else's concern.
        const CHECK: &str = r"
import sys
for number, path in enumerate(sys.argv[1:]):
    try:
        with open(path, 'rb') as file:
            compile(file.read(), path, 'exec')
    except SyntaxError as error:
        print(number, 'line %s: %s' % (error.lineno, error.msg), sep='\t')
    except (ValueError, RecursionError, MemoryError) as error:
        print(number, error, sep='\t')
    except OSError:
        pass
";
        let mut command = account.command(&self.program);
        let output = output(command.args(["-I", "-S", "-Wignore", "-Xutf8", "-c", CHECK]).args(files));
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.split_once('\t'))
            .filter_map(|(number, reason)| Some((number.parse().ok()?, reason.to_owned())))
            .collect()
    }

    /// Returns why an account other than the one it was chosen for cannot execute it.
    pub(crate) fn closed_to(&self, account: &Account) -> Option<String> {
        probe(account, &self.program, String::new()).err()
    }

    /// Returns whether the interpreter can run without the GIL.
    pub(crate) fn is_free_threaded(&self) -> bool {
        self.library.ends_with("t.so.1.0")
    }

    /// The file name of the original's module for it.
    pub(crate) fn module_name(&self) -> String {
        let short: String = self.version.split('.').take(2).collect();
        format!("mod_wsgi-py{short}{}", self.ext_suffix)
    }

    /// The file name of its host.
    pub(crate) fn host_name(&self) -> String {
        format!("mod_wsgi_host{}", self.ext_suffix)
    }
}

/// Returns the versions of Python that there are hosts for.
pub(crate) fn versions(hosts: &Path) -> String {
    let names = hosts.read_dir().into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut versions: Vec<Version> =
        names.filter_map(|name| Version::of_host(name.as_encoded_bytes())).collect();
    versions.sort_unstable_by_key(|version| version.minor);
    versions.dedup();
    if versions.is_empty() {
        return "none".to_owned();
    }
    versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn probe(account: &Account, executable: &Path, origin: String) -> Result<Python, String> {
    let mut command = account.command(executable);
    let output = output(command.args(["-I", "-c", PROBE]).args(LIBRARY_DIRECTORIES))
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let (Some(prefix), Some(version), Some(ext_suffix), Some(library), Some(shared), Some(program)) =
        (lines.next(), lines.next(), lines.next(), lines.next(), lines.next(), lines.next())
    else {
        let errors = String::from_utf8_lossy(&output.stderr);
        let said = errors.lines().rfind(|line| !line.trim().is_empty());
        let said = said.map(|line| format!(": {}", line.trim())).unwrap_or_default();
        return Err(format!("it does not answer like Python{said}"));
    };
    Ok(Python {
        executable: executable.to_owned(),
        program: program.into(),
        prefix: prefix.into(),
        version: version.into(),
        ext_suffix: ext_suffix.into(),
        library: library.into(),
        shared: shared == "shared",
        origin,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    /// An executable that answers like a Python.
    fn fake(directory: &Path, version: &str, shared: &str) -> PathBuf {
        fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
        let file = directory.join("python3");
        let answer =
            format!("/opt/python\n{version}\n.cpython-X.so\nlibpython3.11.so.1.0\n{shared}\n/opt/bin/python");
        // Written by another process: a descriptor that is open for writing could be inherited by a
        // program that another test starts, and then the kernel refuses to execute the file.
        let script = format!("#!/bin/sh\ncat <<END\n{answer}\nEND\n");
        let write = ["-c", "printf %s \"$1\" >\"$0\""];
        let status = std::process::Command::new("/bin/sh").args(write).arg(&file).arg(script).status();
        assert!(status.unwrap().success());
        fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
        file
    }

    fn account() -> Account {
        Account::choose(None, None).unwrap()
    }

    #[test]
    fn the_option_wins_over_the_variable() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut candidates = Candidates {
            option: Some(fake(one.path(), "3.11.1", "shared")),
            variable: Some(fake(two.path(), "3.12.2", "shared")),
            ..Candidates::default()
        };
        let python = candidates.choose(&account()).unwrap();
        assert_eq!((python.version.as_str(), python.origin.as_str()), ("3.11.1", "--python"));
        assert_eq!(python.prefix, Path::new("/opt/python"));
        assert_eq!(python.program, Path::new("/opt/bin/python"));
        candidates.option = None;
        assert_eq!(candidates.choose(&account()).unwrap().version, "3.12.2");
    }

    #[test]
    fn a_directory_is_told_from_an_executable() {
        let directory = tempfile::tempdir().unwrap();
        let option = Some(directory.path().to_owned());
        let candidates = Candidates { option, ..Candidates::default() };
        let failure = candidates.choose(&account()).unwrap_err().to_string();
        let text = format!("{}: it is a directory; name the executable", directory.path().display());
        assert!(failure.contains(&text) && failure.contains("--python"), "{failure}");
        assert!(!failure.contains("denied"), "{failure}");
        fs::create_dir(directory.path().join("bin")).unwrap();
        let python = fake(&directory.path().join("bin"), "3.11.1", "shared");
        let failure = candidates.choose(&account()).unwrap_err().to_string();
        assert!(failure.contains(&format!("such as {}", python.display())), "{failure}");
    }

    #[test]
    fn files_on_the_path_that_cannot_be_executed_are_skipped() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let unusable = fake(one.path(), "3.11.1", "shared");
        fs::set_permissions(&unusable, Permissions::from_mode(0o600)).unwrap();
        fake(two.path(), "3.12.2", "shared");
        let path = vec![one.path().to_owned(), two.path().to_owned()];
        let python = Candidates { path, ..Candidates::default() }.choose(&account()).unwrap();
        assert_eq!(python.version, "3.12.2");
        assert!(python.origin.contains("skipped"), "{}", python.origin);
    }

    #[test]
    fn one_of_several_in_a_prefix_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let python = |name: &str| Python {
            executable: bin.join(name),
            program: bin.join(name),
            prefix: directory.path().to_owned(),
            version: String::new(),
            ext_suffix: String::new(),
            library: String::new(),
            shared: true,
            origin: String::new(),
        };
        fs::write(bin.join("python3.12"), "").unwrap();
        fs::write(bin.join("python3.13"), "").unwrap();
        // Neither is what the prefix stands for.
        assert_eq!(python("python3.12").home(), bin.join("python3.12"));
        std::os::unix::fs::symlink("python3.12", bin.join("python3")).unwrap();
        assert_eq!(python("python3.12").home(), directory.path());
        assert_eq!(python("python3").home(), directory.path());
        assert_eq!(python("python3.13").home(), bin.join("python3.13"));
        fs::write(directory.path().join("pyvenv.cfg"), "").unwrap();
        assert_eq!(python("python3.13").home(), directory.path());
    }

    #[test]
    fn a_program_in_a_virtual_environment_uses_it() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("bin/mod_wsgi-express");
        assert_eq!(environment_of(&program), None);
        fs::write(directory.path().join("pyvenv.cfg"), "").unwrap();
        assert_eq!(environment_of(&program).as_deref(), Some(directory.path()));
        assert_eq!(environment_of(Path::new("mod_wsgi-express")), None);
    }

    #[test]
    fn a_program_that_was_called_by_its_name_is_found_on_the_path() {
        let directory = tempfile::tempdir().unwrap();
        let [own, other, linked] = ["own", "other", "linked"].map(|name| directory.path().join(name));
        for place in [&own, &other, &linked] {
            fs::create_dir(place).unwrap();
        }
        let name = Path::new("mod_wsgi-express");
        fs::write(own.join(name), "").unwrap();
        fs::write(other.join(name), "").unwrap();
        let program = own.join(name).canonicalize().unwrap();
        std::os::unix::fs::symlink(&program, linked.join(name)).unwrap();
        // Another installation's is not what runs.
        let path = [other.clone(), linked.clone(), own];
        assert_eq!(on_path(name, &path, &program), Some(linked.join(name)));
        assert_eq!(on_path(name, &path[..1], &program), None);
        assert_eq!(called_by_path(name), None);
        let named = linked.join(name);
        assert_eq!(called_by_path(&named), Some(named));
    }

    #[test]
    fn the_environment_comes_before_the_installation_and_that_before_the_path() {
        let (one, two, three) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let closed = fake(one.path(), "3.11.1", "shared");
        fs::set_permissions(&closed, Permissions::from_mode(0o600)).unwrap();
        let mut candidates = Candidates {
            installed: vec![(closed, "named"), (fake(two.path(), "3.12.2", "shared"), "beside")],
            path: vec![three.path().to_owned()],
            ..Candidates::default()
        };
        fake(three.path(), "3.13.3", "shared");
        let python = candidates.choose(&account()).unwrap();
        assert_eq!(python.version, "3.12.2");
        assert!(python.origin.starts_with("beside; skipped "), "{}", python.origin);
        candidates.own = Some(directory_of_environment(three.path()));
        assert_eq!(candidates.choose(&account()).unwrap().version, "3.13.3");
        // One that is active, and then one that was named by the path of the command.
        candidates.environment = Some(directory_of_environment(two.path()));
        assert_eq!(candidates.choose(&account()).unwrap().version, "3.12.2");
        candidates.beside.clone_from(&candidates.own);
        assert_eq!(candidates.choose(&account()).unwrap().version, "3.13.3");
    }

    /// Makes a directory look like a virtual environment with the fake Python in it.
    fn directory_of_environment(directory: &Path) -> PathBuf {
        fs::create_dir(directory.join("bin")).unwrap();
        std::os::unix::fs::symlink("../python3", directory.join("bin/python")).unwrap();
        directory.to_owned()
    }

    #[test]
    fn a_named_one_has_to_work() {
        let candidates = Candidates { variable: Some("/no/such/python".into()), ..Candidates::default() };
        let text = candidates.choose(&account()).unwrap_err().to_string();
        assert!(text.contains("$PYTHON") && text.contains("--python"), "{text}");
        let text = Candidates::default().choose(&account()).unwrap_err().to_string();
        assert!(text.contains("none found"), "{text}");
    }

    #[test]
    fn obstacles_name_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let hosts = tempfile::tempdir().unwrap();
        let python = |version, shared| {
            let option = Some(fake(directory.path(), version, shared));
            Candidates { option, ..Candidates::default() }.choose(&account()).unwrap()
        };
        let obstacle = |version, shared| python(version, shared).obstacle(hosts.path(), true);
        assert!(obstacle("3.9.2", "shared").unwrap().contains("too old"));
        assert!(obstacle("3.11.2", "shared").unwrap().contains("there are hosts for none)"));
        for version in ["313", "39", "310"] {
            let name = format!("mod_wsgi_host.cpython-{version}-x86_64-linux-gnu.so");
            fs::write(hosts.path().join(name), "").unwrap();
        }
        let text = obstacle("3.16.2", "shared").unwrap();
        assert!(text.contains("there are hosts for 3.9, 3.10, 3.13)") && text.contains("make host PYTHON="));
        let free = Python { library: "libpython3.14t.so.1.0".to_owned(), ..python("3.14.0", "shared") };
        assert!(free.obstacle(hosts.path(), false).unwrap().contains("free-threaded"));
        fs::write(hosts.path().join("mod_wsgi_host.cpython-X.so"), "").unwrap();
        assert!(obstacle("3.11.2", "static").unwrap().contains("the package libpython3.11 "));
        assert_eq!(obstacle("3.11.2", "shared"), None);
        assert_eq!(python("3.11.2", "static").obstacle(hosts.path(), false), None);
    }

    #[test]
    fn a_real_python_is_understood() {
        let option = Some(PathBuf::from("/usr/bin/python3"));
        let python = Candidates { option, ..Candidates::default() }.choose(&account()).unwrap();
        assert!(python.version.starts_with("3."), "{python:?}");
        assert!(python.ext_suffix.ends_with(".so"), "{python:?}");
        assert!(python.prefix.is_dir() && python.program.is_file(), "{python:?}");
        assert_eq!(python.closed_to(&account()), None);
        assert!(python.has_locale("C.UTF-8", &account()) && !python.has_locale("xx_XX", &account()));
    }
}
