//! The facts of a server that `mod_wsgi-express` would start.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::resource::getrlimit;
use nix::unistd::mkdtemp;
use os::spawn::{Limit, Resource};
use wsgi_core::fault::{Fault, Weight};
use wsgi_core::python_home;

use super::finding::{Finding, Place, Severity};
use super::python::FILES;
use super::subject::{Application, Entry, Group, Listen, Purpose, PythonChoice, Server, Subject};
use super::unit::Unit;
use crate::account::{Access, Account};
use crate::apache::{Apache, Mpm};
use crate::application;
use crate::checks;
use crate::ending;
use crate::failure::Failure;
use crate::general;
use crate::inputs::Inputs;
use crate::install::Installation;
use crate::locale;
use crate::parse::Parsed;
use crate::python::{Candidates, Python};
use crate::quote::display;
use crate::server::{account, generate, service_accounts};
use crate::server_root::ServerRoot;
use crate::settings::Settings;
use crate::sizing;
use crate::trial;

/// The check that everything is for which `start-server` would not start, and its text.
pub(super) const START: (&str, &str) = (
    "start",
    "Everything that `start-server` refuses to start with, or warns of: missing files, a script that is no Python, a configuration that Apache refuses, \
     services and tools that are not there.",
);

/// Gathers the facts of the server that a command line describes.
///
/// # Errors
/// The command line makes no sense.
pub(super) fn subject(parsed: &Parsed) -> Result<Subject, Failure> {
    let mut settings = Settings::new(parsed)?;
    let mut findings: Vec<Finding> = parsed.warnings.iter().map(Finding::warning).collect();
    let account = match account(parsed) {
        Ok(account) => account,
        Err(failure) => {
            findings.extend(errors(&failure));
            Account::invoking(None, None)
        }
    };
    crate::server::leave_closed_directory(&mut settings, &account, &mut |text| {
        findings.push(Finding::warning(text).at(option(&general::WORKING_DIRECTORY).as_ref()));
    });
    let path = |spec| parsed.text(spec).map(Path::new);
    let apache = Apache::find(path(&general::HTTPD_EXECUTABLE), path(&general::MODULES_DIRECTORY));
    findings.extend(apache.as_ref().err().iter().flat_map(|failure| errors(failure)));
    let installation = Installation::own()?;
    let candidates = installation.candidates(path(&general::PYTHON).map(Path::to_owned));
    let python = candidates.choose(&account);
    match &python {
        Ok(python) => findings.extend(problems(&settings, &installation, python, &account)),
        // The checks say more about one that was named.
        Err(failure) => {
            findings.extend(errors(failure).into_iter().filter(|_| !is_explained(&candidates, &account)))
        }
    }
    findings.extend(checks::further_files(&settings, &account).into_iter().map(Finding::error));
    let mpm = apache.as_ref().ok().and_then(|apache| settings.debugging.mpm(apache, &settings.mpms).ok());
    let warnings = checks::warnings(&settings, &account, &installation, mpm.unwrap_or(Mpm::Event));
    findings.extend(warnings.into_iter().map(Finding::warning));
    if let Some(ignored) = parsed.positional.get(1..).filter(|ignored| !ignored.is_empty()) {
        findings.push(Finding::warning(format!("ignored after the script: {}", ignored.join(" "))));
    }
    findings.extend(checks::closed_ports(&settings).into_iter().map(Finding::error));

    let home = match &python {
        Ok(python) => Some(python.home().to_owned()),
        Err(_) => candidates.named(),
    };
    let has_locale = |name: &str| python.as_ref().is_ok_and(|python| python.has_locale(name, &account));
    let (locale, replaced) =
        locale::choose(settings.locale.as_deref(), |name| std::env::var(name).ok(), has_locale);
    findings.extend(replaced.map(|text| Finding::warning(text).at(option(&general::LOCALE).as_ref())));
    // As at the start, Apache only checks what nothing else is wrong with.
    if let (Ok(apache), Ok(python)) = (&apache, &python)
        && findings.iter().all(|finding| finding.severity != Severity::Error)
    {
        let refused = refusals(parsed, &account, apache, python, &installation, &locale);
        findings.extend(refused.unwrap_or_else(|failure| errors(&failure)));
    }
    let unit = unit(parsed, &mut findings);
    let program = apache.as_ref().ok().map(|apache| apache.program.clone());
    let capacity = Capacity::of(&settings, apache.as_ref().ok());
    let group = group(&settings, &account, &installation, home, locale);
    for finding in &mut findings {
        finding.check = START.0;
    }
    Ok(Subject {
        name: settings.url(),
        installation: Some(installation.directory.clone()),
        server: Server {
            program,
            listen: listen(&settings),
            account: account.clone(),
            pid: checks::running(&settings).and_then(|pid| u32::try_from(pid).ok()),
            unit,
            environment: server_environment(
                &settings,
                &account,
                apache.ok(),
                python.ok(),
                &installation,
                &group,
            ),
            workers: Some((capacity.workers, option(&general::MAX_CLIENTS))),
            threads_per_child: Some(capacity.threads_per_child),
            log_files: 2,
            files_limit: getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
        },
        applications: application(&settings).into_iter().collect(),
        groups: vec![group],
        findings,
        apache: None,
        may_import: true,
        trials: OnceCell::new(),
    })
}

/// Returns whether checks find out why the Python that was named cannot be used.
fn is_explained(candidates: &Candidates, account: &Account) -> bool {
    let is_fatal = |fault: &Fault| fault.weight == Weight::Fatal;
    candidates.named().is_some_and(|python| {
        python_home::faults(&python, FILES).iter().any(is_fatal)
            || python_home::find(&python, FILES).is_err()
            || account.blockade(Access::Execute, &python).is_some()
    })
}

/// Returns what `start-server` objects to, once it has a Python.
fn problems(
    settings: &Settings,
    installation: &Installation,
    python: &Python,
    account: &Account,
) -> Vec<Finding> {
    let mut problems = Vec::new();
    // A host that is not there is found by its own check.
    let host = installation.hosts().join(python.host_name());
    if host.exists() {
        problems.extend(checks::installation(settings, installation, &host, account));
    }
    problems.extend(checks::syntax(settings, python, account));
    problems.extend(settings.debugging.problems(python, &settings.python_path, account));
    match service_accounts(settings) {
        Ok(accounts) => problems.extend(checks::services(&settings.services, account, &accounts, python)),
        Err(failure) => problems.extend(failure.to_string().lines().map(str::to_owned)),
    }
    if let Err(failure) = settings.telemetry.check(python, &settings.python_path, account) {
        problems.push(failure.to_string());
    }
    problems.into_iter().map(Finding::error).collect()
}

fn group(
    settings: &Settings,
    account: &Account,
    installation: &Installation,
    home: Option<PathBuf>,
    locale: String,
) -> Group {
    let number = |name| settings.daemon.as_ref().map_or(0, |daemon| daemon.number(name));
    let limit = |resource, name| {
        let value = u64::try_from(number(name)).ok().filter(|value| *value > 0)?;
        Some(Limit { resource, soft: value, hard: value })
    };
    let limits =
        [limit(Resource::Data, "memory-limit"), limit(Resource::AddressSpace, "virtual-memory-limit")];
    let first = settings.daemon.is_none().then_some(&settings.working_directory);
    let umask = settings.daemon.as_ref().and_then(|daemon| daemon.umask.as_deref());
    Group {
        name: settings.daemon.as_ref().map(|daemon| daemon.name.clone()),
        place: None,
        account: account.clone(),
        python: PythonChoice { home, place: option(&general::PYTHON) },
        python_path: first
            .into_iter()
            .chain(&settings.python_path)
            .cloned()
            .chain([installation.packages()])
            .collect(),
        python_path_place: option(&general::PYTHON_PATH),
        home: Some(settings.working_directory.clone()),
        home_place: option(&general::WORKING_DIRECTORY),
        chroot: None,
        processes: settings.processes,
        threads: settings.threads,
        limits: limits.into_iter().flatten().collect(),
        environment: Vec::new(),
        lang: Some(locale.clone()),
        locale: Some(locale),
        locale_place: option(&general::LOCALE),
        request_timeout: u64::try_from(number("request-timeout")).unwrap_or(0),
        memory_recycle: u64::try_from(number("memory-recycle")).unwrap_or(0),
        umask: umask.and_then(|umask| u32::from_str_radix(umask, 8).ok()),
    }
}

fn application(settings: &Settings) -> Option<Application> {
    let entry = match &settings.application {
        application::Application::Script(file) => Entry::Script(file.clone()),
        application::Application::Module(name, _) => Entry::Module(name.clone()),
        application::Application::Paste(file) => Entry::Paste(file.clone()),
        application::Application::Placeholder | application::Application::Static => return None,
    };
    let callable =
        settings.application.loader(&settings.callable_object).and_then(|loader| loader.callable_object);
    let group = settings.application_group.as_str();
    Some(Application {
        purpose: Purpose::Requests,
        group: 0,
        interpreter: match group {
            "%{GLOBAL}" => Some(String::new()),
            group if group.contains("%{") => None,
            group => Some(group.to_owned()),
        },
        has_own_gil: false,
        module: settings.application.module_name(false).map(str::to_owned),
        entry,
        callable: callable.unwrap_or_default(),
        place: None,
        // The generated configuration passes it on.
        has_authorization: true,
        startup_timeout: u64::try_from(settings.startup_timeout).unwrap_or(0),
        variables: settings
            .environment
            .variables()
            .map(|(name, option)| (name.to_owned(), Some(Place::Option(option))))
            .collect(),
    })
}

fn listen(settings: &Settings) -> Vec<Listen> {
    let address =
        |(port, name)| Listen { address: settings.host.clone(), port, place: Some(Place::Option(name)) };
    settings.ports().map(address).collect()
}

/// The number of Apache's threads.
struct Capacity {
    workers: u32,
    threads_per_child: u32,
}

impl Capacity {
    fn of(settings: &Settings, apache: Option<&Apache>) -> Self {
        let mpm = apache
            .and_then(|apache| settings.debugging.mpm(apache, &settings.mpms).ok())
            .unwrap_or(Mpm::Event);
        let directives = match settings.daemon {
            Some(_) => settings.sizing.front(mpm, settings.capacity()),
            None => sizing::embedded(mpm, settings.processes, settings.threads),
        };
        let value =
            |name| directives.iter().find(|directive| directive.0 == name).map_or(1, |directive| directive.1);
        Self { workers: value("MaxRequestWorkers"), threads_per_child: value("ThreadsPerChild") }
    }
}

/// Returns what Apache objects to in the configuration that would be generated. It is, in a
/// directory of its own.
fn refusals(
    parsed: &Parsed,
    account: &Account,
    apache: &Apache,
    python: &Python,
    installation: &Installation,
    locale: &str,
) -> Result<Vec<Finding>, Failure> {
    let scratch = Scratch::new()?;
    let mut parsed = parsed.clone();
    parsed.replace(&general::SERVER_ROOT, display(&scratch.0.join("root")));
    let settings = Settings::new(&parsed)?;
    let inputs = Inputs {
        settings: &settings,
        account,
        apache,
        mpm: settings.debugging.mpm(apache, &settings.mpms)?,
        python,
        installation,
        service_accounts: service_accounts(&settings)?,
        locale: locale.to_owned(),
        logs: settings.logs.targets(&installation.program())?,
        command_line: "",
    };
    let root = ServerRoot::create(&settings.server_root, false, account)?;
    let (configuration, control) = generate(&inputs, &root)?;
    let refused = checks::configuration(settings.environment.control(&control), &configuration);
    Ok(refused.into_iter().map(Finding::error).collect())
}

/// A directory that is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let template = std::env::temp_dir().join("mod_wsgi-doctor-XXXXXX");
        let made = mkdtemp(&template).map_err(|error| {
            Failure::file("create", &template, &error.into(), "name another directory with TMPDIR")
        })?;
        ending::add_scratch(&made);
        Ok(Self(made))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        ending::remove_scratch(&self.0);
    }
}

/// Returns the environment that the control script gives Apache, or that of this process if there
/// can be no such script.
fn server_environment(
    settings: &Settings,
    account: &Account,
    apache: Option<Apache>,
    python: Option<Python>,
    installation: &Installation,
    group: &Group,
) -> Vec<(String, String)> {
    let of_script = || {
        let (apache, python) = (apache.as_ref()?, python.as_ref()?);
        let inputs = Inputs {
            settings,
            account,
            apache,
            mpm: Mpm::Event,
            python,
            installation,
            service_accounts: Vec::new(),
            locale: group.lang.clone().unwrap_or_default(),
            logs: settings.logs.targets(&installation.program()).ok()?,
            command_line: "",
        };
        let text = inputs.control_script(settings.environment.script.as_deref()).ok()?;
        let mut command = Command::new(&settings.environment.shell);
        command.args(["-c", &text, "apachectl"]);
        trial::environment(command, Path::new("apachectl")).ok()
    };
    let pair =
        |variable: String| variable.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    match of_script() {
        Some(variables) => {
            variables.into_iter().filter_map(|variable| pair(variable.into_string().ok()?)).collect()
        }
        None => std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
    }
}

/// Returns the unit that an option names.
pub(super) fn unit(parsed: &Parsed, findings: &mut Vec<Finding>) -> Option<Unit> {
    let name = parsed.text(&super::UNIT)?;
    let unit = Unit::read(name, Path::new("/"));
    if unit.is_none() {
        findings.push(
            Finding::error(format!("there is no unit {name}"))
                .at(option(&super::UNIT).as_ref())
                .remedy("name one of `systemctl list-units --type=service`, or the path of its file"),
        );
    }
    unit
}

fn option(spec: &crate::spec::Spec) -> Option<Place> {
    Some(Place::Option(spec.name))
}

fn errors(failure: &Failure) -> Vec<Finding> {
    failure.to_string().lines().map(Finding::error).collect()
}
