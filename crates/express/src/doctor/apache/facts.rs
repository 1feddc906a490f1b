//! The facts of a configuration that all checks look at.

mod applications;
mod groups;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nix::sys::resource::getrlimit;
use wsgi_core::words::display;

use super::line::{Line, path};
use super::{Configuration, checks};
use crate::apache::Mpm;
use crate::doctor::subject::{Listen, Server, Subject};
use crate::doctor::unit::Unit;
use groups::Gathered;

/// Returns the facts of a configuration.
pub(crate) fn subject(configuration: Configuration) -> Subject {
    let mut gathered = Gathered::new(&configuration);
    gathered.applications();
    gathered.imports();
    gathered.hooks();
    let Gathered { account, groups, applications, .. } = gathered;
    let server = Server {
        program: configuration.launcher.as_ref().map(|launcher| launcher.program.clone()),
        listen: listen(&configuration),
        account,
        pid: configuration.pid(),
        unit: unit(&configuration),
        threads_per_child: u32::try_from(configuration.threads()).ok(),
        log_files: log_files(&configuration),
        files_limit: files_limit(&configuration),
        workers: configuration
            .workers()
            .map(|(workers, line)| (u32::try_from(workers).unwrap_or(u32::MAX), line.map(Line::place))),
        environment: environment(&configuration),
    };
    Subject {
        name: configuration.file.display().to_string(),
        installation: configuration.installation(),
        server,
        groups,
        applications,
        findings: checks::reading(&configuration),
        may_import: true,
        trials: OnceCell::new(),
        apache: Some(configuration),
    }
}

impl Configuration {
    /// Returns the file that the module is loaded from, and the line: the first one counts.
    pub(super) fn module(&self) -> Option<&super::LoadModule> {
        self.modules.iter().find(|module| module.name == "wsgi_module")
    }

    /// Returns the directory with all that belongs to the module, if it is ours.
    fn installation(&self) -> Option<PathBuf> {
        let file = self.module()?.file.canonicalize().ok()?;
        let directory = file.parent()?;
        directory.join("supervisor").is_file().then(|| directory.to_owned())
    }

    /// Returns the processing model.
    pub(super) fn mpm(&self) -> Option<Mpm> {
        let built_in = self.launcher.iter().flat_map(|launcher| &launcher.built_in).map(String::as_str);
        let loaded = self
            .modules
            .iter()
            .filter_map(|module| module.name.strip_prefix("mpm_")?.strip_suffix("_module"));
        built_in.chain(loaded).find_map(Mpm::named)
    }

    /// Returns the number of threads of each of Apache's children.
    pub(super) fn threads(&self) -> u64 {
        match self.mpm() {
            Some(Mpm::Prefork) => 1,
            _ => self.model.number("ThreadsPerChild").map_or(25, |(threads, _)| threads.max(1)),
        }
    }

    /// Returns the most requests at a time, and the line that says so; `None` if the processing model
    /// is not known.
    pub(super) fn workers(&self) -> Option<(u64, Option<&Line>)> {
        let named = self.model.number("MaxRequestWorkers").or_else(|| self.model.number("MaxClients"));
        if let Some((number, line)) = named {
            return Some((number, Some(line)));
        }
        let limit = |default| self.model.number("ServerLimit").map_or(default, |(limit, _)| limit);
        match self.mpm()? {
            Mpm::Prefork => Some((limit(256), None)),
            Mpm::Event | Mpm::Worker => Some((limit(16).saturating_mul(self.threads()), None)),
        }
    }

    /// Returns a path of the configuration.
    pub(super) fn path(&self, word: &[u8]) -> PathBuf {
        self.root.join(path(word))
    }

    /// Returns the file with the process id of the server.
    pub(super) fn pid_file(&self) -> Option<PathBuf> {
        let told = self.word.as_ref().and_then(|word| word.run_time("PidFile")).map(PathBuf::from);
        let line = self.model.value(self.model.main(), "PidFile").and_then(|line| line.path(0, &self.root));
        let default = || self.launcher.as_ref()?.build.pid_file.clone();
        line.or(told).or_else(default)
    }

    /// Returns the process id of the server, as its file tells it.
    pub(super) fn pid(&self) -> Option<u32> {
        let text = os::file::read_small(&self.pid_file()?).ok()?;
        display(&text).trim().parse().ok()
    }
}

/// Returns the addresses of all lines `Listen`.
fn listen(configuration: &Configuration) -> Vec<Listen> {
    let main = configuration.model.main();
    let lines = main.lines.iter().filter(|line| line.is("Listen"));
    lines
        .filter_map(|line| {
            let text = line.text(0)?;
            let (address, port) = match text.rsplit_once(':') {
                Some((address, port)) => (Some(address.trim_matches(['[', ']']).to_owned()), port),
                None => (None, text.as_str()),
            };
            let address = address.filter(|address| address != "*" && !address.is_empty());
            Some(Listen { address, port: port.parse().ok()?, place: Some(line.place()) })
        })
        .collect()
}

/// Returns the unit by which systemd starts the distribution's server.
fn unit(configuration: &Configuration) -> Option<Unit> {
    let file = configuration.file.to_str()?;
    let (name, _) = [("apache2", "/etc/apache2/apache2.conf"), ("httpd", "/etc/httpd/conf/httpd.conf")]
        .into_iter()
        .find(|(_, known)| *known == file)?;
    // Its files are also where nothing is started by them, as in containers.
    let is_in_force = Path::new("/run/systemd/system").is_dir();
    Unit::read(&format!("{name}.service"), Path::new("/")).filter(|_| is_in_force)
}

fn log_files(configuration: &Configuration) -> u32 {
    let model = &configuration.model;
    let of_requests = ["CustomLog", "TransferLog", "GlobalLog", "ForensicLog"];
    let count = of_requests.iter().map(|name| model.all(name).count()).sum::<usize>();
    // Hosts with the same one share it.
    let errors: BTreeSet<_> = model.all("ErrorLog").map(|line| &line.arguments).collect();
    u32::try_from(count + errors.len()).unwrap_or(u32::MAX)
}

/// Returns the most descriptors that the server may have: if it runs, what it was started with.
fn files_limit(configuration: &Configuration) -> Option<u64> {
    let running = || {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", configuration.pid()?)).ok()?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let own = || {
        let (soft, hard) = getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).ok()?;
        // Debian's `apache2ctl` raises it.
        let is_raised = configuration.is_root && configuration.file.with_file_name("envvars").is_file();
        Some(if is_raised { soft.max(hard.min(8192)) } else { soft })
    };
    running().or_else(own)
}

/// Returns the environment of the server.
fn environment(configuration: &Configuration) -> Vec<(String, String)> {
    let variables = configuration.launcher.iter().flat_map(|launcher| &launcher.environment);
    variables.map(|(name, value)| (display(name).into_owned(), display(value).into_owned())).collect()
}
