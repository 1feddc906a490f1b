//! Directories of servers: their files, ports and configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::python::{open, open_to_all};
use crate::{Setup, Target, certificate, free_port, preload};

/// A server's directory, complete.
pub(crate) struct Staged {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) ports: [u16; 2],
}

impl Staged {
    pub(crate) fn new(setup: &Setup) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("e2e-")
            .tempdir_in("/tmp")
            .unwrap_or_else(|error| panic!("no temporary directory in /tmp: {error}"));
        let root = directory.path();
        open(root);
        for name in ["logs", "run", "htdocs", "apps"] {
            make_directory(&root.join(name));
        }
        let ports = [free_port(), free_port()];
        let replace = |text: &str| {
            text.replace("@ROOT@", &root.to_string_lossy())
                .replace("@PORT@", &ports[0].to_string())
                .replace("@TLS_PORT@", &ports[1].to_string())
                .replace("@GROUP@", setup.group_name())
        };
        for (path, content) in &setup.files {
            match std::str::from_utf8(content) {
                Ok(text) => write(&root.join(path), replace(text).as_bytes()),
                Err(_) => write(&root.join(path), content),
            }
        }
        if setup.tls {
            let directory = root.join("tls");
            make_directory(&directory);
            certificate::make(&directory, "localhost", &[]);
        }
        write(&root.join("mime.types"), b"text/html html\ntext/plain txt\ntext/x-python py wsgi\n");
        let apache = Apache::find();
        let module = readable_module(&Target::current(), root, setup.own_module);
        write(&root.join("httpd.conf"), replace(&setup.httpd_conf(&apache.modules, &module)).as_bytes());
        Self { directory, ports }
    }
}

/// Apache as it is installed.
struct Apache {
    program: PathBuf,
    modules: PathBuf,
}

impl Apache {
    fn find() -> &'static Self {
        static FOUND: OnceLock<Apache> = OnceLock::new();
        FOUND.get_or_init(|| {
            let ask = |what: &str| {
                let apxs = std::env::var_os("APXS").unwrap_or_else(|| "apxs".into());
                let output = Command::new(&apxs).args(["-q", what]).output();
                let output = output.unwrap_or_else(|error| {
                    panic!("{}: {error}; install apache2-dev or set APXS", apxs.display())
                });
                PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
            };
            Self { program: ask("sbindir").join(ask("progname")), modules: ask("libexecdir") }
        })
    }
}

/// Apache with the configuration of a directory.
pub(crate) fn command(root: &Path, launcher: &[&str]) -> Command {
    // A test that is killed takes its server with it. What launches that may block the milder
    // signal.
    let mut command = Command::new("setpriv");
    let signal = if launcher.is_empty() { "TERM" } else { "KILL" };
    command.args(["--pdeathsig", signal, "--"]).args(launcher).arg(&Apache::find().program).arg("-f");
    command.arg(root.join("httpd.conf"));
    command.env("LC_ALL", "C.UTF-8").env_remove("PYTHONHOME").env_remove("PYTHONPATH");
    // A test that has such a directory wants the server's files there.
    if root.join("temporary").exists() {
        command.env("TMPDIR", root.join("temporary"));
    }
    // Variables of the server's environment, one NAME=value a line.
    let variables = fs::read_to_string(root.join("environment")).unwrap_or_default();
    command.envs(variables.lines().filter_map(|line| line.split_once('=')));
    preload(&mut command);
    command
}

/// The module where every user may read it, with its companions: where it is, or a copy.
fn readable_module(target: &Target, root: &Path, is_copied: bool) -> PathBuf {
    let module = target.module();
    if open_to_all(&module) && !is_copied {
        return module;
    }
    let source = match target {
        Target::Ours { directory } => directory.clone(),
        Target::Reference { .. } => module.clone(),
    };
    let copy = root.join("module");
    let copied = Command::new("cp").args(["-r", "--preserve=links,mode"]).arg(&source).arg(&copy).status();
    assert!(
        copied.is_ok_and(|status| status.success()),
        "cannot copy {} to {}",
        source.display(),
        copy.display()
    );
    match target {
        Target::Ours { .. } => copy.join("mod_wsgi.so"),
        Target::Reference { .. } => copy,
    }
}

fn make_directory(path: &Path) {
    fs::create_dir_all(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    open(path);
}

pub(crate) fn write(path: &Path, content: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    if let Some(parent) = path.parent()
        && !parent.exists()
    {
        make_directory(parent);
    }
    fs::write(path, content)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o644)))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
