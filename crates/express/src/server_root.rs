//! The directory that holds everything generated for one server.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::account::Account;
use crate::failure::Failure;

/// A server root that is ours alone to write to.
#[derive(Debug)]
pub(crate) struct ServerRoot {
    path: PathBuf,
}

const REMEDY: &str = "choose another directory with --server-root";

impl ServerRoot {
    /// Makes the directory, or takes one that is already there if nobody else can have meddled with
    /// it.
    ///
    /// # Errors
    /// It cannot be made, or it is not safe to use.
    pub(crate) fn create(path: &Path, predictable: bool, account: &Account) -> Result<Self, Failure> {
        // The serving account needs to get through to what is served from here, but not to list it.
        let mode = if account.uid == geteuid() { 0o700 } else { 0o711 };
        match DirBuilder::new().mode(mode).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => inspect(path, predictable)?,
            Err(error) => return Err(Failure::file("create the server root", path, &error, REMEDY)),
        }
        let root = Self { path: path.to_owned() };
        root.make_directory("htdocs")?;
        Ok(root)
    }

    /// Writes a file, replacing an older one. With no moment at which it has more permissions than
    /// `mode`.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, name: &str, mode: u32, content: &str) -> Result<PathBuf, Failure> {
        let path = self.path.join(name);
        let fresh = self.path.join(format!(".{name}.new"));
        let written = remove(&fresh).and_then(|()| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode & 0o700).open(&fresh)?;
            file.write_all(content.as_bytes())?;
            file.set_permissions(Permissions::from_mode(mode))?;
            fs::rename(&fresh, &path)
        });
        written.map_err(|error| Failure::file("write", &path, &error, REMEDY))?;
        Ok(path)
    }

    /// Makes an empty file unless it is there; what a user wrote into it survives.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn touch(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.path.join(name);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Failure::file("create", &path, &error, REMEDY))
            }
            _ => Ok(path),
        }
    }

    /// Makes a directory that the serving account may write to.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn make_directory_for(&self, name: &str, account: &Account) -> Result<(), Failure> {
        self.make_directory(name)?;
        if !geteuid().is_root() {
            return Ok(());
        }
        let path = self.path.join(name);
        // Not what a link leads to: the account may have put it there since.
        lchown(&path, Some(account.uid.as_raw()), Some(account.gid.as_raw()))
            .map_err(|error| Failure::file("change the owner of", &path, &error, REMEDY))
    }

    /// The process that the pid file of an earlier run names, if it still runs, and is not another
    /// one that has got the same id since.
    pub(crate) fn running(pid_file: &Path, server_root: &Path) -> Option<i32> {
        let pid = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).ok()?;
        let configuration = server_root.join("httpd.conf");
        let is_ours = |line: Vec<u8>| {
            line.split(|byte| *byte == 0).any(|word| word == configuration.as_os_str().as_encoded_bytes())
        };
        // Where nobody sees it, it may be ours.
        fs::read(format!("/proc/{pid}/cmdline")).map_or(true, is_ours).then_some(pid)
    }

    fn make_directory(&self, name: &str) -> Result<(), Failure> {
        let path = self.path.join(name);
        let made = match DirBuilder::new().mode(0o755).create(&path) {
            // Not left to the umask: the serving account has to get in.
            Ok(()) => fs::set_permissions(&path, Permissions::from_mode(0o755)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        };
        made.map_err(|error| Failure::file("create", &path, &error, REMEDY))
    }
}

/// Accepts a server root that is this user's alone; `predictable` if anybody could have made it.
///
/// # Errors
/// It is another one's, or others may write to it.
pub(crate) fn inspect(path: &Path, predictable: bool) -> Result<(), Failure> {
    // A link in a directory that others may write to could be anybody's.
    let metadata = if predictable { path.symlink_metadata() } else { path.metadata() };
    let metadata = metadata.map_err(|error| Failure::file("use the server root", path, &error, REMEDY))?;
    let refuse = |reason: &str| {
        Err(Failure::machine(format!("cannot use the server root {}: {reason}; {REMEDY}", path.display())))
    };
    if !metadata.is_dir() {
        return refuse("it is not a directory");
    }
    if metadata.uid() != geteuid().as_raw() {
        return refuse("it belongs to another user");
    }
    if metadata.mode() & 0o022 != 0 {
        return refuse("others may write to it");
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns the server root of a server that was given none.
pub(crate) fn default_root(host: &str, port: u16) -> PathBuf {
    let temporary = std::env::var("TMPDIR").unwrap_or_default();
    let temporary = match temporary.trim_end_matches('/') {
        "" => "/tmp",
        directory => directory,
    };
    Path::new(temporary).join(format!("mod_wsgi-{host}:{port}:{}", geteuid()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn account() -> Account {
        Account::choose(None, None).unwrap()
    }

    fn refusal(path: &Path, predictable: bool) -> String {
        ServerRoot::create(path, predictable, &account()).unwrap_err().to_string()
    }

    #[test]
    fn a_root_is_made_and_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root");
        for content in ["one", "two"] {
            let root = ServerRoot::create(&path, true, &account()).unwrap();
            let file = root.write("httpd.conf", 0o600, content).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
            assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(path.join("htdocs").metadata().unwrap().mode() & 0o777, 0o755);
    }

    #[test]
    fn the_account_s_directory_is_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let root = ServerRoot::create(&directory.path().join("root"), true, &account()).unwrap();
        for _ in 0..2 {
            root.make_directory_for("eggs", &account()).unwrap();
            let owner = directory.path().join("root/eggs").metadata().unwrap().uid();
            assert_eq!(owner, account().uid.as_raw());
        }
    }

    #[test]
    fn files_of_the_user_survive() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root");
        let root = ServerRoot::create(&path, true, &account()).unwrap();
        let envvars = root.touch("envvars").unwrap();
        fs::write(&envvars, "export A=1").unwrap();
        root.touch("envvars").unwrap();
        assert_eq!(fs::read_to_string(envvars).unwrap(), "export A=1");
    }

    #[test]
    fn unsafe_roots_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let parent = directory.path();
        assert!(refusal(&parent.join("missing/root"), false).contains("--server-root"));

        let file = parent.join("file");
        fs::write(&file, "").unwrap();
        assert!(refusal(&file, true).contains("not a directory"));

        let open = parent.join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        assert!(refusal(&open, false).contains("others may write"));

        let link = parent.join("link");
        let target = parent.join("target");
        fs::create_dir(&target).unwrap();
        symlink(&target, &link).unwrap();
        assert!(refusal(&link, true).contains("not a directory"));
        assert!(ServerRoot::create(&link, false, &account()).is_ok());
    }

    #[test]
    fn a_stale_pid_file_names_no_process() {
        let directory = tempfile::tempdir().unwrap();
        let (root, file) = (directory.path(), directory.path().join("httpd.pid"));
        let running = |pid: u32| {
            fs::write(&file, format!("{pid}\n")).unwrap();
            ServerRoot::running(&file, root)
        };
        assert_eq!(ServerRoot::running(&file, root), None);
        assert_eq!(running(999_999_999), None);
        assert_eq!(running(std::process::id()), None);
        let mut server = std::process::Command::new("sh")
            .args(["-c", "echo; read line", "httpd", "-f"])
            .arg(root.join("httpd.conf"))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        io::Read::read_exact(server.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        assert_eq!(running(server.id()), i32::try_from(server.id()).ok());
        drop(server.stdin.take());
        server.wait().unwrap();
    }
}
