//! `start-server` and `setup-server`.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::account::{self, Access, Account};
use crate::apache::Apache;
use crate::application;
use crate::auth;
use crate::banner::banner;
use crate::checks;
use crate::daemon;
use crate::debugging;
use crate::failure::Failure;
use crate::files;
use crate::general;
use crate::health;
use crate::inputs::Inputs;
use crate::install::Installation;
use crate::locale;
use crate::logs;
use crate::names;
use crate::parse::Parsed;
use crate::proxy;
use crate::quote::display;
use crate::quote::quote_for_shell;
use crate::run;
use crate::server_root::ServerRoot;
use crate::service;
use crate::settings::Settings;
use crate::status;
use crate::telemetry;
use crate::terminal::{say, warn};
use crate::tls;
use crate::trial;

/// The use that a server root is generated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Somebody starts the server later.
    SetUp,
    /// The server is started by [`run()`] next.
    Prepare,
    /// The server is started at once.
    Start,
}

/// Generates the server root and, if that is the purpose, runs the server; its exit status.
///
/// # Errors
/// The server cannot work as asked for.
pub(crate) fn serve(parsed: &Parsed, purpose: Purpose, command_line: &str) -> Result<u8, Failure> {
    if parsed.positional.len() > 1 {
        warn(&format!("ignored after the script: {}", parsed.positional[1..].join(" ")));
    }
    parsed.warnings.iter().for_each(|warning| warn(warning));
    let setup_only = purpose == Purpose::SetUp;
    let mut settings = Settings::new(parsed)?;
    let account = account(parsed)?;
    say_what_has_no_effect(parsed, &settings);
    if setup_only && parsed.has(&general::STRICT) {
        warn("--strict is without effect: the server is not started now");
    }
    leave_closed_directory(&mut settings, &account, &mut warn);
    let path = |spec| parsed.text(spec).map(Path::new);
    let apache = Apache::find(path(&general::HTTPD_EXECUTABLE), path(&general::MODULES_DIRECTORY))?;
    let mpm = settings.debugging.mpm(&apache, &settings.mpms)?;
    let installation = Installation::own()?;
    let option = path(&general::PYTHON).map(Path::to_owned);
    let python = installation.candidates(option).choose(&account)?;

    if settings.free_threading && !python.is_free_threaded() {
        return Err(Failure::usage(format!(
            "{} was not built without the GIL (PEP 703), which --free-threading needs; such builds are not supported yet \
             (3.14t will be the first): leave the option out",
            python.executable.display()
        )));
    }
    settings.telemetry.check(&python, &settings.python_path, &account)?;
    let service_accounts = service_accounts(&settings)?;
    let (locale, replaced) = locale::choose(
        settings.locale.as_deref(),
        |name| std::env::var(name).ok(),
        |name| python.has_locale(name, &account),
    );
    replaced.iter().for_each(|warning| warn(warning));

    if let Some(directory) = &settings.document_root {
        // If this fails, the checks below report it.
        let _ = std::fs::DirBuilder::new().mode(0o755).create(directory);
    }
    settings.logs.make_directory();
    checks::warnings(&settings, &account, &installation, mpm).iter().for_each(|warning| warn(warning));
    // If this fails, the checks below report it.
    let _ = settings.debugging.make_directories(true, &account);
    let mut problems = checks::files(&settings, &account);
    problems.extend(checks::services(&settings.services, &account, &service_accounts, &python));
    problems.extend(settings.debugging.problems(&python, &settings.python_path, &account));
    match python.obstacle(&installation.hosts(), settings.daemon.is_none() || settings.access.is_embedded()) {
        Some(obstacle) => problems.push(obstacle),
        None => {
            let host = installation.hosts().join(python.host_name());
            problems.extend(checks::installation(&settings, &installation, &host, &account));
            problems.extend(checks::syntax(&settings, &python, &account));
        }
    }
    if setup_only {
        // A missing file may be there when the server starts, such as in a volume of a container.
        for problem in problems.drain(..) {
            warn(&problem);
        }
    } else {
        let ports = checks::ports(&settings);
        problems.extend(if ports.is_empty() { checks::root(&settings).into_iter().collect() } else { ports });
    }
    if !problems.is_empty() {
        return Err(Failure::Machine(problems));
    }

    let root = ServerRoot::create(&settings.server_root, settings.default_root, &account)?;
    let inputs = Inputs {
        settings: &settings,
        account: &account,
        apache: &apache,
        mpm,
        python: &python,
        installation: &installation,
        logs: settings.logs.targets(&installation.program())?,
        command_line,
        service_accounts,
        locale,
    };
    let (configuration, control) = generate(&inputs, &root)?;
    settings.health.warn_if_drained(&settings.server_root);
    settings.debugging.make_directories(false, &account)?;

    let complaints = checks::configuration(settings.environment.control(&control), &configuration);
    if setup_only {
        complaints.iter().for_each(|complaint| warn(complaint));
    } else if !complaints.is_empty() {
        return Err(Failure::Machine(complaints));
    }
    if parsed.has(&general::STRICT) && !setup_only {
        trial::load(&inputs, &control)?;
    }
    say(&banner(&inputs, setup_only))?;
    if purpose == Purpose::Start { run::foreground(&settings) } else { Ok(0) }
}

/// Writes the files of a server root; returns the paths of the configuration and of the control
/// script.
///
/// # Errors
/// A file cannot be made.
pub(crate) fn generate(inputs: &Inputs<'_>, root: &ServerRoot) -> Result<(PathBuf, PathBuf), Failure> {
    let Inputs { settings, account, .. } = *inputs;
    let (configuration, control) =
        (inputs.configuration()?, inputs.control_script(Some(&settings.server_root.join("envvars")))?);
    match &settings.environment.script {
        Some(script) => {
            root.write("envvars", 0o600, &format!(". {}\n", quote_for_shell(&display(script))))?
        }
        None => root.touch("envvars")?,
    };
    if settings.files.rewrite_rules.is_none() {
        root.touch("rewrite.conf")?;
    }
    root.write(
        application::HANDLER,
        0o644,
        &settings.application.handler_script(
            &settings.callable_object,
            &settings.server_root,
            settings.debugging.context().as_ref(),
        )?,
    )?;
    if let Some(collector) = settings.telemetry.files()? {
        root.make_directory_for(collector.directory, account)?;
        root.write(collector.script, 0o644, &collector.text)?;
    }
    root.write(files::RESOURCES, 0o644, &settings.files.resource_script()?)?;
    if settings.python_eggs.is_none() {
        root.make_directory_for("python-eggs", account)?;
    }
    root.write(health::PLACE, 0o644, &settings.health.place(settings.host.as_deref(), settings.port))?;
    root.write(status::PLACE, 0o644, &status::place(settings))?;
    root.write(application::DEFAULT, 0o644, include_str!("../templates/default.wsgi"))?;
    if settings.debugging.gdb().is_some() {
        root.write(debugging::GDB_COMMANDS, 0o644, include_str!("../templates/gdb.cmds"))?;
    }
    let configuration = root.write("httpd.conf", 0o600, &configuration)?;
    // The command line may hold passwords.
    Ok((configuration, root.write("apachectl", 0o700, &control)?))
}

/// Runs the server whose root has been generated for these options; its exit status.
///
/// # Errors
/// It cannot be started.
pub(crate) fn run(parsed: &Parsed) -> Result<u8, Failure> {
    let settings = Settings::new(parsed)?;
    run::foreground(&settings)
}

/// Returns the account that the control script uses. Variables take precedence over options there.
pub(crate) fn account(parsed: &Parsed) -> Result<Account, Failure> {
    let variable = |names: [&str; 2]| {
        names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    };
    let user = variable(["MOD_WSGI_USER", "WSGI_RUN_USER"]);
    let group = variable(["MOD_WSGI_GROUP", "WSGI_RUN_GROUP"]);
    Account::choose(
        user.as_deref().or(parsed.text(&general::USER)),
        group.as_deref().or(parsed.text(&general::GROUP)),
    )
}

/// Returns the accounts of the services that have one of their own. Unless the user is root, there
/// is only one account.
pub(crate) fn service_accounts(settings: &Settings) -> Result<Vec<(String, Account)>, Failure> {
    if !geteuid().is_root() {
        return Ok(Vec::new());
    }
    let own = settings.services.iter().filter(|service| service.user.is_some() || service.group.is_some());
    own.map(|service| {
        let account = Account::choose_for_service(service.user.as_deref(), service.group.as_deref())?;
        Ok((service.name.clone(), account))
    })
    .collect()
}

fn say_what_has_no_effect(parsed: &Parsed, settings: &Settings) {
    let mut options = Vec::new();
    if settings.daemon.is_none() {
        options = daemon::without_effect(parsed);
        let front = [&general::MAX_CLIENTS, &general::INITIAL_WORKERS, &general::MINIMUM_SPARE_WORKERS];
        let front = front.into_iter().chain([&general::MAXIMUM_SPARE_WORKERS]);
        options.extend(front.filter(|spec| parsed.has(spec)).map(|spec| spec.name));
        if settings.debugging.is_on {
            options.extend(
                debugging::ELSEWHERE.into_iter().filter(|spec| parsed.has(spec)).map(|spec| spec.name),
            );
        }
    }
    if !options.is_empty() {
        let mode = if settings.debugging.is_on { "debug" } else { "embedded" };
        warn(&format!("without effect in {mode} mode: {}", options.join(", ")));
    }
    let concerns = [
        auth::without_effect,
        account::without_effect,
        logs::without_effect,
        telemetry::without_effect,
        debugging::without_effect,
        names::without_effect,
        tls::without_effect,
        proxy::without_effect,
        service::without_effect,
        health::without_effect,
    ];
    for line in concerns.iter().flat_map(|of| of(parsed)) {
        warn(&line);
    }
    if let Some(line) = files::without_effect(parsed) {
        warn(&line);
    }
    if parsed.has(&general::SOCKET_PREFIX) {
        warn("--socket-prefix is without effect: daemon processes have no socket files");
    }
}

/// Chooses another working directory if nobody named one and the account cannot use it.
pub(crate) fn leave_closed_directory(settings: &mut Settings, account: &Account, warn: &mut dyn FnMut(&str)) {
    if settings.daemon.is_none() || !settings.default_directory {
        return;
    }
    let Err(reason) = account.can(Access::Search, &settings.working_directory) else { return };
    let script = settings.application.file().and_then(|(script, _)| script.parent());
    let directory = script
        .filter(|directory| account.can(Access::Search, directory).is_ok())
        .unwrap_or(Path::new("/"))
        .to_owned();
    warn(&format!(
        "{reason}: the application works in {}, not in the current directory; name another with --working-directory",
        directory.display()
    ));
    settings.working_directory = directory;
}
