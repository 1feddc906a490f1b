//! All that the generated files are made from.

use crate::account::Account;
use crate::apache::{Apache, Mpm};
use crate::install::Installation;
use crate::logs::Targets;
use crate::python::Python;
use crate::quote::display;
use crate::settings::Settings;

/// All that the files are made from.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) account: &'a Account,
    pub(crate) apache: &'a Apache,
    pub(crate) mpm: Mpm,
    pub(crate) python: &'a Python,
    pub(crate) installation: &'a Installation,
    /// The accounts of services that have their own, by the names of those.
    pub(crate) service_accounts: Vec<(String, Account)>,
    /// The locale to set.
    pub(crate) locale: String,
    pub(crate) logs: Targets,
    /// The command line, to be found again in the control script.
    pub(crate) command_line: &'a str,
}

impl Inputs<'_> {
    /// The directories of `sys.path` that are ours to add.
    pub(crate) fn python_path(&self) -> Vec<String> {
        let settings = self.settings;
        // A daemon process has its working directory there anyway.
        let first = settings.daemon.is_none().then_some(&settings.working_directory);
        let packages = self.installation.packages();
        let paths = first.into_iter().chain(&settings.python_path).chain([&packages]);
        paths.map(|path| display(path)).collect()
    }
}
