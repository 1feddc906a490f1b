//! Files and directories that the account of a group cannot reach.

use std::path::{Path, PathBuf};

use wsgi_core::codes::{SCRIPT_NOT_FOUND, SCRIPT_OUTSIDE_CHROOT};
use wsgi_core::python_home;

use super::check::{Check, Topic};
use super::finding::{Finding, Place};
use super::subject::{Group, Subject};
use crate::account::{Access, Account};

pub(super) static TOPIC: Topic = Topic {
    title: "Files",
    checks: &[Check {
        name: "unreachable-path",
        about: "A script, the home directory of a group, a directory of its Python path, its jail or its Python that its user cannot reach: \
                the component of the path that is closed is named, with its mode and owner. Where the doctor runs as root, it \
                really tries as that user, so that access control lists count; otherwise it judges by the modes.",
        run: unreachable,
    }],
};

fn unreachable(subject: &Subject) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, group) in subject.groups.iter().enumerate() {
        if let Some(root) = &group.chroot
            && let Some(blockade) = group.account.blockade(Access::Search, root)
        {
            findings.push(
                Finding::error(format!("the jail {} of {} cannot be entered", root.display(), group.shown()))
                    .at(group.place.as_ref())
                    .because(blockade.reason)
                    .remedy(blockade.remedy),
            );
            continue;
        }
        for application in subject.applications_of(number) {
            let Some(file) = application.entry.file() else { continue };
            let place = application.place.as_ref().or(group.place.as_ref());
            let found = outside_of_jail(group, file)
                .or_else(|| script(group, file))
                .or_else(|| out_of_sight(&subject.server.account, group, file));
            findings.extend(found.map(|finding| finding.at(place)));
        }
        let mut missing = Vec::new();
        let mut look = |what: &str, path: &Path, access, place: Option<&Place>| {
            let finding = closed(group, what, path, access)?;
            findings.push(finding.at(place));
            Some(())
        };
        if let Some(home) = group.home.as_deref().filter(|_| !group.is_embedded()) {
            look("the working directory", home, Access::Search, group.home_place.as_ref());
        }
        if let Some(program) = program(group).filter(|_| !group.is_embedded()) {
            look("the Python", &program, Access::Execute, group.python.place.as_ref());
        }
        for directory in &group.python_path {
            // One that cannot be looked at is found to be closed.
            if group.outside(directory).try_exists().is_ok_and(|exists| !exists) {
                let text = format!("the directory for Python {} does not exist", directory.display());
                missing.push(
                    Finding::warning(text)
                        .at(group.python_path_place.as_ref())
                        .because("Python passes over it")
                        .remedy("create it, or correct the path"),
                );
                continue;
            }
            look("the directory for Python", directory, Access::Search, group.python_path_place.as_ref());
        }
        findings.extend(missing);
    }
    findings
}

/// Returns the executable of a group's Python, as far as there is one; that it is missing is found
/// elsewhere.
fn program(group: &Group) -> Option<PathBuf> {
    let home = group.python.home.as_deref()?;
    let is_environment = group.outside(python_home::environment(home)).join("pyvenv.cfg").exists();
    let mut programs = python_home::executables(home, is_environment).into_iter();
    programs.find(|program| group.outside(program).exists())
}

/// Returns the finding of a script outside of the jail of its processes.
fn outside_of_jail(group: &Group, file: &Path) -> Option<Finding> {
    let root = group.chroot.as_deref()?;
    if group.inside(file).is_some() {
        return None;
    }
    Some(
        Finding::error(format!("the script {} is outside of the jail of {}", file.display(), group.shown()))
            .because(format!("its processes see nothing but what is below {} (chroot=)", root.display()))
            .remedy("move it below that directory, and let the alias lead there")
            .code(SCRIPT_OUTSIDE_CHROOT),
    )
}

/// Returns why the processes of a group cannot read a script.
fn script(group: &Group, file: &Path) -> Option<Finding> {
    let blockade = group.account.blockade(Access::Read, file)?;
    let text = format!(
        "the script {} is out of reach for {}, the user of {}",
        file.display(),
        group.account.user,
        group.shown()
    );
    Some(Finding::error(text).because(blockade.reason).remedy(blockade.remedy).code(SCRIPT_NOT_FOUND))
}

/// Returns why Apache, which looks whether a script is there, cannot see it.
fn out_of_sight(account: &Account, group: &Group, file: &Path) -> Option<Finding> {
    let directory = file.parent().filter(|_| account.uid != group.account.uid)?;
    let blockade = account.blockade(Access::Search, directory)?;
    let text =
        format!("the script {} is out of sight for {}, the user of Apache", file.display(), account.user);
    let why =
        format!("{}; Apache looks whether it is there, before {} may run it", blockade.reason, group.shown());
    Some(Finding::error(text).because(why).remedy(blockade.remedy).code(SCRIPT_NOT_FOUND))
}

/// Returns why the processes of a group cannot use the path of an option.
fn closed(group: &Group, what: &str, path: &Path, access: Access) -> Option<Finding> {
    let blockade = group.account.blockade(access, &group.outside(path))?;
    let user = &group.account.user;
    let text = format!("{what} {} is out of reach for {user}, the user of {}", path.display(), group.shown());
    Some(Finding::error(text).because(blockade.reason).remedy(blockade.remedy))
}
