//! The Python package `mod_wsgi`: its installation, and what it asks this program for.

use std::fs;
use std::io;
use std::path::Path;

use crate::account::Account;
use crate::failure::Failure;
use crate::install::{Installation, relink};
use crate::options;
use crate::python::Python;
use crate::spec::{Kind, Spec};
use crate::terminal::warn;

/// The command line that the control script shows.
pub(crate) static COMMAND_LINE: Spec =
    Spec::text("--command-line", &["TEXT"], "Command line to show in the control script.").hidden();

/// The options of `prepare-server`.
pub(crate) fn prepare_server() -> Vec<&'static Spec> {
    let mut specs = options::server();
    specs.push(&COMMAND_LINE);
    specs
}

/// Lists the options of `start-server`, one a line: name, type, names of the arguments, marks and
/// help, with tabs in between.
pub(crate) fn option_list() -> String {
    let line = |spec: &'static Spec| {
        let kind = match spec.kind {
            Kind::Flag => "flag",
            Kind::Float => "float",
            Kind::Integer => "int",
            // These may have units, or be a range.
            Kind::Text | Kind::Range | Kind::Count | Kind::Seconds | Kind::Milliseconds | Kind::Bytes => {
                "string"
            }
        };
        let marks = [("repeated", spec.repeated), ("hidden", spec.hidden)];
        let marks: Vec<&str> = marks.iter().filter(|(_, has)| *has).map(|(mark, _)| *mark).collect();
        let fields =
            [spec.name, kind, &spec.arguments.join(" "), &marks.join(" "), &spec.full_help()].join("\t");
        fields + "\n"
    };
    options::server().into_iter().map(line).collect()
}

/// Makes the package known to a Python, and in a virtual environment also the program; the text to
/// print.
///
/// The packages stay where they are, beside the program and of its version: a `.pth` file leads to
/// them. What leads there already, as pip installs it, is left as it is.
///
/// # Errors
/// The directories of that Python cannot be found, or not written to.
pub(crate) fn install(
    installation: &Installation,
    python: &Python,
    account: &Account,
) -> Result<String, Failure> {
    let [packages, scripts] = python.directories(account)?;
    let refuse = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| {
            Failure::file(
                "write",
                &path,
                &error,
                "run this as the owner of that Python, or name another with --python",
            )
        }
    };
    let pth = packages.join("mod_wsgi.pth");
    if !leads_to(&pth, &installation.packages()) {
        fs::create_dir_all(&packages).map_err(refuse(&packages))?;
        fs::write(&pth, format!("{}\n", installation.packages().display())).map_err(refuse(&pth))?;
    }
    let mut text = format!("{}\n", pth.display());
    if packages.join("mod_wsgi/server").exists() {
        warn(&format!(
            "{} has another package mod_wsgi, which comes first; remove it with `{} -m pip uninstall mod_wsgi`",
            packages.display(),
            python.executable.display()
        ));
    }
    if python.prefix.join("pyvenv.cfg").exists() {
        let link = scripts.join("mod_wsgi-express");
        let program = installation.program();
        if link.canonicalize().ok() != Some(program.clone()) {
            relink(&program, &link).map_err(refuse(&link))?;
        }
        text += &format!("{}\n", link.display());
    }
    Ok(text)
}

/// Returns whether a `.pth` file consists of one line for a directory, which exists.
fn leads_to(pth: &Path, directory: &Path) -> bool {
    let Ok(line) = fs::read_to_string(pth) else { return false };
    // Relative ones are taken from the directory of the file.
    let found = pth.with_file_name(line.trim()).canonicalize();
    found.is_ok_and(|found| directory.canonicalize().is_ok_and(|directory| directory == found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use crate::python::Candidates;

    #[test]
    fn options_are_listed_in_five_fields() {
        let list = option_list();
        assert_eq!(list.lines().count(), options::server().len());
        for line in list.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            assert!(fields.len() == 5 && fields[0].starts_with("--") && !fields[4].is_empty(), "{line}");
        }
        assert!(list.contains("\n--url-alias\tstring\tURL-PATH FILE-OR-DIRECTORY\trepeated\t"), "{list}");
        assert!(list.contains("\n--setup-only\tflag\t\t\t"), "{list}");
    }

    /// A virtual environment and its Python.
    fn environment(account: &Account) -> (tempfile::TempDir, PathBuf, Python) {
        let directory = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).unwrap();
        let venv = directory.path().canonicalize().unwrap().join("venv");
        let made = std::process::Command::new("/usr/bin/python3")
            .args(["-m", "venv", "--without-pip"])
            .arg(&venv)
            .status();
        assert!(made.unwrap().success());
        let option = Some(venv.join("bin/python"));
        let python = Candidates { option, ..Candidates::default() }.choose(account).unwrap();
        (directory, venv, python)
    }

    /// Pip puts the program itself there, and a relative line, with which an environment can be
    /// moved.
    #[test]
    fn what_pip_has_installed_is_left() {
        let account = Account::choose(None, None).unwrap();
        let (_directory, venv, python) = environment(&account);
        let installation = Installation { directory: venv.join("lib/mod_wsgi") };
        fs::create_dir_all(installation.packages()).unwrap();
        fs::write(installation.program(), "program").unwrap();
        let [packages, _] = python.directories(&account).unwrap();
        let line = "../../mod_wsgi/python-packages\n";
        fs::write(packages.join("mod_wsgi.pth"), line).unwrap();
        let text = install(&installation, &python, &account).unwrap();
        assert_eq!(fs::read_to_string(installation.program()).unwrap(), "program");
        assert_eq!(fs::read_to_string(packages.join("mod_wsgi.pth")).unwrap(), line);
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn virtual_environments_get_package_and_program() {
        let account = Account::choose(None, None).unwrap();
        let (_directory, venv, python) = environment(&account);
        let installation = Installation { directory: PathBuf::from("/opt/x/lib/mod_wsgi") };
        // Twice: an update.
        for _ in 0..2 {
            let text = install(&installation, &python, &account).unwrap();
            let paths: Vec<&str> = text.lines().collect();
            assert_eq!(fs::read_to_string(paths[0]).unwrap(), "/opt/x/lib/mod_wsgi/python-packages\n");
            assert_eq!(fs::read_link(paths[1]).unwrap(), Path::new("/opt/x/bin/mod_wsgi-express"));
            assert!(paths.iter().all(|path| Path::new(path).starts_with(&venv)), "{text}");
        }
    }
}
