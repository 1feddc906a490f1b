//! The files that this module is installed with.
//!
//! The parent opens them when Apache loads the module first, and keeps them open. So all that it
//! starts later is of its own build, even if another one was installed meanwhile or the files are
//! gone. Apache keeps this module in memory over a restart; only a stop and a start loads another
//! build.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use os::lock::lock;
use wsgi_core::codes::PYTHON_NOT_STARTED;
use wsgi_core::wire::{Schema, SchemaSearch};

/// The size of the blocks in which files are read.
const BLOCK: usize = 64 << 10;

/// The files of one build.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    directory: PathBuf,
    module: Arc<InstalledFile>,
    supervisor: Result<Arc<InstalledFile>, String>,
    exporter: Result<Arc<InstalledFile>, String>,
    hosts: Vec<Arc<InstalledFile>>,
    /// The target of the link to the default Python.
    python: Option<PathBuf>,
    /// The files of the last other build in their place that was reported in the log.
    reported: Option<[Option<FileIdentity>; 2]>,
}

/// A program or library.
#[derive(Debug)]
pub(crate) struct InstalledFile {
    path: PathBuf,
    file: OwnedFd,
    identity: FileIdentity,
    digest: u64,
    /// The build that it belongs to; `None` if the file does not name it.
    schema: Option<Schema>,
}

/// The identity of a file and its state. As long as it is open, no other file has its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// The installation of this process, and of the children that it forks from now on.
static INSTALLATION: Mutex<Option<Arc<Installation>>> = Mutex::new(None);

/// Opens the files, unless they are open.
pub(crate) fn open() {
    let mut installation = lock(&INSTALLATION);
    if installation.is_none()
        && let Some(module) = os::library::file_of(open as *const ())
        && let Ok(opened) = Installation::of(&module)
    {
        *installation = Some(Arc::new(opened));
    }
}

/// Returns the files that were opened.
pub(crate) fn current() -> Result<Arc<Installation>, String> {
    lock(&INSTALLATION)
        .clone()
        .ok_or_else(|| format!("{PYTHON_NOT_STARTED}: the path of mod_wsgi.so is not known"))
}

/// Takes files that were added, before a new configuration is used. Files of another build are not
/// taken. Returns lines for the log.
pub(crate) fn refresh() -> Vec<String> {
    let mut installation = lock(&INSTALLATION);
    let Some(before) = &*installation else { return Vec::new() };
    let mut after = Installation::clone(before);
    let lines = after.take_changes();
    *installation = Some(Arc::new(after));
    lines
}

impl Installation {
    /// Opens the files beside a module, with symbolic links resolved.
    ///
    /// # Errors
    /// The module is not there.
    pub(crate) fn of(module: &Path) -> io::Result<Self> {
        let directory = module.canonicalize()?.parent().unwrap_or(Path::new("/")).to_owned();
        let supervisor = InstalledFile::open(&directory.join(SUPERVISOR)).map(Arc::new);
        let exporter = InstalledFile::open(&directory.join(EXPORTER)).map(Arc::new);
        let mut installation = Self {
            // By the name that Apache has loaded, without resolving links: they may lead to another
            // build one day.
            module: Arc::new(InstalledFile::open(module)?),
            supervisor: supervisor.map_err(|error| error.to_string()),
            exporter: exporter.map_err(|error| error.to_string()),
            hosts: Vec::new(),
            python: None,
            reported: None,
            directory,
        };
        installation.python = installation.linked_python();
        // Files of another build are reported when they are needed.
        installation.add_hosts();
        Ok(installation)
    }

    /// Returns the directory of the files.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the interpreter for configurations that name none.
    pub(crate) fn python(&self) -> Option<&Path> {
        self.python.as_deref()
    }

    /// Returns the supervisor.
    pub(crate) fn supervisor(&self) -> Result<&InstalledFile, String> {
        let path = self.directory.join(SUPERVISOR);
        let shown = path.display();
        match &self.supervisor {
            Ok(file) if file.schema == Some(Schema::own()) => Ok(file),
            Ok(file) => Err(another_build(file)),
            Err(error) => Err(format!(
                "the supervisor of the daemon processes, {shown}, cannot be opened: {error}. It is installed beside \
                 mod_wsgi.so by `make install`"
            )),
        }
    }

    /// Returns the exporter of OpenTelemetry.
    pub(crate) fn exporter(&self) -> Result<&InstalledFile, String> {
        let path = self.directory.join(EXPORTER);
        let shown = path.display();
        match &self.exporter {
            Ok(file) if file.schema == Some(Schema::own()) => Ok(file),
            Ok(file) => Err(another_build(file)),
            Err(error) => Err(format!(
                "the exporter of OpenTelemetry, {shown}, cannot be opened: {error}. It is installed beside mod_wsgi.so by \
                 `make install`"
            )),
        }
    }

    /// Returns the names of all hosts.
    pub(crate) fn host_names(&self) -> impl Iterator<Item = &OsStr> {
        self.hosts.iter().map(|host| host.name())
    }

    /// Returns the hosts of this module's build.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &InstalledFile> {
        self.hosts.iter().map(AsRef::as_ref).filter(|host| host.schema == Some(Schema::own()))
    }

    /// Returns the host of this name.
    pub(crate) fn host(&self, name: &OsStr) -> Result<&InstalledFile, String> {
        let host = self.hosts.iter().find(|host| host.name() == name);
        let host = host.ok_or_else(|| format!("there is no host {}", name.display()))?;
        if host.schema == Some(Schema::own()) { Ok(host) } else { Err(another_build(host)) }
    }

    /// Takes files that were added since, unless they are of another build. Returns lines for the
    /// log.
    pub(crate) fn take_changes(&mut self) -> Vec<String> {
        if self.supervisor.is_err() {
            let supervisor = InstalledFile::open(&self.directory.join(SUPERVISOR)).map(Arc::new);
            self.supervisor = supervisor.map_err(|error| error.to_string());
        }
        if self.exporter.is_err() {
            let exporter = InstalledFile::open(&self.directory.join(EXPORTER)).map(Arc::new);
            self.exporter = exporter.map_err(|error| error.to_string());
        }
        let Err(found) = self.check_in_place() else {
            self.reported = None;
            self.python = self.linked_python().or_else(|| self.python.take());
            return self.add_hosts();
        };
        if self.reported.replace(found) == Some(found) {
            return Vec::new();
        }
        let what = if found.contains(&None) { "are gone" } else { "are those of another build" };
        vec![format!(
            "The files of mod_wsgi in {} {what}. The server goes on with those that it was started with, which it has kept \
             open. A restart does not change that: to run another build, install all of it, then stop and start the server",
            self.directory.display()
        )]
    }

    /// Checks that module and supervisor are still in their places. The error names the files that
    /// are there instead.
    fn check_in_place(&mut self) -> Result<(), [Option<FileIdentity>; 2]> {
        let Self { module, supervisor: Ok(supervisor), .. } = self else { return Ok(()) };
        let found = [&*module, &*supervisor].map(|file| FileIdentity::of(&file.path));
        let is_same = [module, supervisor].map(InstalledFile::is_in_place);
        if is_same == [true, true] { Ok(()) } else { Err(found) }
    }

    /// Takes hosts that are new, or were built again. Returns lines about those that cannot be
    /// taken.
    fn add_hosts(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let entries = fs::read_dir(self.directory.join(HOSTS)).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()).filter(|path| is_host(path)) {
            let known = self.hosts.iter_mut().find(|host| host.path == path);
            if known.as_ref().is_some_and(|host| Some(host.identity) == FileIdentity::of(&path)) {
                continue;
            }
            let Ok(file) = InstalledFile::open(&path) else { continue };
            match known {
                Some(host) if file.schema == Some(Schema::own()) => *host = Arc::new(file),
                Some(host) if host.schema == Some(Schema::own()) => lines.push(another_build(&file)),
                Some(host) => *host = Arc::new(file),
                None => {
                    if file.schema != Some(Schema::own()) {
                        lines.push(another_build(&file));
                    }
                    self.hosts.push(Arc::new(file));
                }
            }
        }
        lines
    }

    fn linked_python(&self) -> Option<PathBuf> {
        // Python is found by its own name, not by that of the link.
        fs::read_link(self.directory.join(PYTHON)).ok().map(|target| self.directory.join(target))
    }
}

const SUPERVISOR: &str = "supervisor";
const EXPORTER: &str = "exporter";
const HOSTS: &str = "host";
const PYTHON: &str = "python";

fn is_host(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"mod_wsgi_host."))
}

fn another_build(file: &InstalledFile) -> String {
    let path = file.path.display();
    let theirs = file.schema.map_or_else(|| "none".to_owned(), |schema| schema.to_string());
    format!(
        "{path} is of another build (schema {theirs}) than mod_wsgi.so (schema {}), and is not used: install both from the \
         same sources with `make install`, every further host with `make host`, then stop and start the server",
        Schema::own()
    )
}

impl InstalledFile {
    fn open(path: &Path) -> io::Result<Self> {
        // A pipe in its place must not block the server.
        let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let (digest, schema) = examine(&mut file)?;
        Ok(Self {
            path: path.to_owned(),
            identity: FileIdentity::from(&metadata),
            digest,
            schema,
            file: as_reference(file),
        })
    }

    /// Returns the path at which it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its file name.
    pub(crate) fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// Returns a path that leads to it now: its own, which debuggers understand, too, as long as
    /// the file is there; else that of its descriptor.
    pub(crate) fn present_path(&self) -> PathBuf {
        if FileIdentity::of(&self.path) == Some(self.identity) {
            return self.path.clone();
        }
        let path = descriptor_path(&self.file);
        // Without /proc there is nothing better. The builds are compared after loading.
        if path.exists() { path } else { self.path.clone() }
    }

    /// Returns whether its path still leads to it, or to a file with the same contents, which is
    /// taken then.
    fn is_in_place(this: &mut Arc<Self>) -> bool {
        if FileIdentity::of(&this.path) == Some(this.identity) {
            return true;
        }
        match Self::open(&this.path) {
            Ok(file) if (file.digest, file.identity.size) == (this.digest, this.identity.size) => {
                *this = Arc::new(file);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }
}

impl AsFd for InstalledFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl FileIdentity {
    fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().as_ref().map(Self::from)
    }
}

impl From<&fs::Metadata> for FileIdentity {
    fn from(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// Returns a mere reference to the same file. A process that inherits it needs the file's
/// permissions to read it.
fn as_reference(file: File) -> OwnedFd {
    let path = File::options().read(true).custom_flags(libc::O_PATH).open(descriptor_path(&file));
    path.map_or_else(|_| file.into(), OwnedFd::from)
}

fn descriptor_path(descriptor: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd()).into()
}

/// Returns the digest of a file, and the schema that it says it has.
///
/// It is not read as a whole: the heap would keep that size for the life of the server, in the parent
/// and in each child.
fn examine(file: &mut File) -> io::Result<(u64, Option<Schema>)> {
    let mut hasher = DefaultHasher::new();
    let mut search = SchemaSearch::default();
    let mut block = vec![0; BLOCK];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok((hasher.finish(), search.found())),
            Ok(length) => {
                hasher.write(&block[..length]);
                search.feed(&block[..length]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
