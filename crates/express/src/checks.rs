//! Checks for what would fail, before Apache is started.

use std::fs;
use std::io;
use std::net::{TcpListener, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::geteuid;

use crate::account::{Access, Account, can_be_made};
use crate::apache::{self, Mpm};
use crate::application::Application;
use crate::bounded::output;
use crate::container::Container;
use crate::general;
use crate::install::{Installation, REINSTALL};
use crate::python::Python;
use crate::server_root::ServerRoot;
use crate::service::Service;
use crate::settings::Settings;
use crate::tls::Tls;

/// Returns a text for each file or directory that the serving account needs and cannot use.
pub(crate) fn files(settings: &Settings, account: &Account) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some((path, what)) = settings.application.file() {
        problems.extend(file(path, what, &settings.application.remedy(), account));
    }
    let directory = &settings.working_directory;
    if !directory.is_dir() {
        problems.push(format!(
            "{} is not a directory; create it or check --working-directory",
            directory.display()
        ));
    } else if settings.daemon.is_some() {
        problems.extend(searchable(directory, "--working-directory", account));
    }
    problems.extend(further_files(settings, account));
    problems
}

/// Returns a text for each of these that is neither the application's file nor its working
/// directory.
pub(crate) fn further_files(settings: &Settings, account: &Account) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(directory) = settings.document_root.as_ref().filter(|directory| !can_be_made(directory)) {
        problems.extend(searchable(directory, "--document-root", account));
    }
    for include in &settings.include_files {
        if let Err(error) = fs::File::open(include) {
            problems.push(format!("cannot read {}: {error}; check --include-file", include.display()));
        }
    }
    problems.extend(
        settings.logs.problems(settings.services.iter().filter_map(|service| service.log_file.as_deref())),
    );
    for (_, script) in &settings.files.handlers {
        problems.extend(file(script, "the script of --add-handler,", "name an existing one", account));
    }
    for (script, option) in settings.access.scripts() {
        problems.extend(file(script, &format!("the script of {option},"), "name an existing one", account));
    }
    problems.extend(settings.files.problems());
    problems.extend(settings.environment.problems(&settings.server_root));
    problems.extend(settings.tls.iter().flat_map(Tls::problems));
    if settings.process_name.is_some() && !apache::on_path("bash") {
        problems.push("--process-name needs the shell bash: install it, or leave the option out".to_owned());
    }
    problems
}

/// Returns a text for each script that is no Python, by the options that name it.
pub(crate) fn syntax(settings: &Settings, python: &Python, account: &Account) -> Vec<String> {
    let mut scripts = Vec::new();
    if let Application::Script(script) = &settings.application {
        scripts.push((script.as_path(), "the WSGI script".to_owned()));
    }
    let named = |option: &str| format!("the script of {option},");
    scripts
        .extend(settings.files.handlers.iter().map(|(_, script)| (script.as_path(), named("--add-handler"))));
    scripts.extend(settings.access.scripts().map(|(script, option)| (script.as_path(), named(option))));
    if scripts.is_empty() {
        return Vec::new();
    }
    let files: Vec<&Path> = scripts.iter().map(|(script, _)| *script).collect();
    let errors = python.syntax_errors(&files, account).into_iter();
    let described = errors.filter_map(|(number, reason)| Some((scripts.get(number)?, reason)));
    described
        .map(|((script, what), reason)| {
            format!(
                "{what} {} is not valid for Python {}: {reason}; correct it, or name another Python with --python",
                script.display(),
                python.version
            )
        })
        .collect()
}

/// Returns a text for each thing that a server works without, or in another way than it looks.
pub(crate) fn warnings(
    settings: &Settings,
    account: &Account,
    installation: &Installation,
    mpm: Mpm,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if settings.http2 && mpm == Mpm::Prefork {
        warnings.push(
            "--http2 is without effect: Apache's prefork model cannot do HTTP/2; choose another with --server-mpm"
                .to_owned(),
        );
    }
    warnings.extend(settings.container.as_ref().and_then(Container::shortage));
    warnings.extend(settings.logs.exposure());
    warnings.extend(installation.exposure().filter(|_| geteuid().is_root()));
    warnings.extend(aliases(settings, account));
    warnings.extend(directories(settings, account));
    warnings
}

/// Returns a text for each target of an alias that the serving account cannot use. The server runs
/// without them: they may come later, as uploads do.
fn aliases(settings: &Settings, account: &Account) -> Vec<String> {
    let mut problems = Vec::new();
    for alias in &settings.aliases {
        if alias.target.is_file() {
            problems.extend(file(&alias.target, "--url-alias", "name an existing file", account));
        } else {
            problems.extend(searchable(&alias.target, "--url-alias", account));
        }
    }
    problems
}

/// Returns a text for each directory that something does not work without, and that may come later.
fn directories(settings: &Settings, account: &Account) -> Vec<String> {
    settings.telemetry.unreachable(account).into_iter().chain(eggs(settings, account)).collect()
}

/// Returns what prevents eggs from being unpacked: Python makes the directory, if it can.
fn eggs(settings: &Settings, account: &Account) -> Option<String> {
    let eggs = settings.python_eggs.as_deref()?;
    let existing = eggs.ancestors().find(|directory| directory.exists())?;
    let reason = if existing.is_dir() {
        account.can(Access::Write, existing).err()?
    } else {
        format!("{} is not a directory", existing.display())
    };
    Some(format!(
        "{} cannot unpack eggs into {}: {reason}; make the directory, with this account as its owner, or choose \
         another with {}",
        account.user,
        eggs.display(),
        general::PYTHON_EGGS.name
    ))
}

/// Returns what prevents services from running as their accounts.
pub(crate) fn services(
    services: &[Service],
    serving: &Account,
    own: &[(String, Account)],
    python: &Python,
) -> Vec<String> {
    let mut problems = Vec::new();
    for service in services {
        let account =
            own.iter().find(|(name, _)| *name == service.name).map_or(serving, |(_, account)| account);
        let what = format!("the script of the service {},", service.name);
        problems.extend(file(&service.script, &what, "check --service-script", account));
        if account.uid != serving.uid
            && let Some(reason) = python.closed_to(account)
        {
            problems.push(format!(
                "cannot use the Python {} as {}, the account of the service {}: {reason}; name another Python with \
                 --python, or another account with --service-user",
                python.executable.display(),
                account.user,
                service.name
            ));
        }
    }
    problems
}

/// Files of the installation that the serving account has to be able to read, and the program that
/// starts daemon processes.
pub(crate) fn installation(
    settings: &Settings,
    installation: &Installation,
    host: &Path,
    account: &Account,
) -> Vec<String> {
    let mut files = vec![installation.module(), host.to_owned()];
    if settings.reload_on_changes {
        files.push(installation.reloader());
    }
    let supervisor = installation.supervisor();
    let services =
        !settings.services.is_empty() || settings.telemetry.service(&settings.server_root).is_some();
    let daemons = settings.daemon.is_some() || services || settings.access.processes().is_some();
    let executable = || supervisor.metadata().is_ok_and(|data| data.is_file() && data.mode() & 0o111 != 0);
    let incomplete = (daemons && !executable()).then(|| {
        format!(
            "{} is missing or not executable, and starts the daemon processes; {REINSTALL}",
            supervisor.display()
        )
    });
    files
        .iter()
        .filter_map(|path| account.can(Access::Read, path).err().map(|reason| (path, reason)))
        .map(|(path, reason)| {
            format!(
                "{} is not readable for the serving account: {reason}; install it where {} can reach it, with \
                 `make install PREFIX=...` or in another virtual environment",
                path.display(),
                account.user
            )
        })
        .chain(incomplete)
        .collect()
}

/// Returns why the server root cannot be used: a server that runs has it, and would have another
/// configuration after its next restart.
pub(crate) fn root(settings: &Settings) -> Option<String> {
    let pid = running(settings)?;
    Some(format!(
        "process {pid} is a server with the server root {}; stop that or choose another root with {}",
        settings.server_root.display(),
        general::SERVER_ROOT.name
    ))
}

/// Returns the process that runs with the same server root. In a container, the id of a former one
/// may be that of any process.
pub(crate) fn running(settings: &Settings) -> Option<i32> {
    let is_it = || ServerRoot::running(&settings.environment.pid_file, &settings.server_root);
    settings.container.is_none().then(is_it).flatten()
}

/// Returns the ports that cannot be listened on, and why.
pub(crate) fn ports(settings: &Settings) -> Vec<String> {
    let ports = settings
        .ports()
        .filter_map(|(number, option)| Some(port(settings, number, option, &bind(settings, number).err()?)));
    ports.chain(settings.telemetry.problem()).collect()
}

/// Returns the ports that cannot be listened on though nobody else does.
pub(crate) fn closed_ports(settings: &Settings) -> Vec<String> {
    let ports = settings.ports().filter_map(|(number, option)| {
        let error = bind(settings, number).err().filter(|error| error.kind() != io::ErrorKind::AddrInUse)?;
        Some(port(settings, number, option, &error))
    });
    ports.collect()
}

fn port(settings: &Settings, port: u16, option: &str, error: &io::Error) -> String {
    let listen = settings.listen(port);
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let owner = running(settings).map_or_else(
                || "another program".to_owned(),
                |pid| format!("process {pid}, started from the same server root,"),
            );
            format!("port {port} is in use: {owner} listens on it; stop that or choose another with {option}")
        }
        io::ErrorKind::PermissionDenied => {
            format!("may not listen on {listen}: ports below 1024 need root; choose another with {option}")
        }
        _ => format!("cannot listen on {listen}: {error}; check --host and {option}"),
    }
}

/// Lets Apache check the generated configuration; returns its objections and the options behind
/// them.
pub(crate) fn configuration(mut control: Command, configuration: &Path) -> Vec<String> {
    let output = match output(control.arg("configtest")) {
        Ok(output) if output.status.success() => return Vec::new(),
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            return vec![format!(
                "Apache does not say whether it accepts the configuration: {error}; look for names in it that nobody \
                 answers for, and for scripts that wait (--envvars-script)"
            )];
        }
        Err(error) => {
            let shell = control.get_program().display();
            return vec![format!(
                "cannot run the shell {shell}: {error}; name another with --shell-executable"
            )];
        }
    };
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = fs::read_to_string(configuration).unwrap_or_default();
    vec![explain(&messages, &text, configuration)]
}

/// Returns Apache's messages as one, with the option behind the line that they name.
fn explain(messages: &str, configuration: &str, path: &Path) -> String {
    let said: Vec<&str> = messages.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let place = format!(" of {}:", path.display());
    let line = said.iter().find_map(|message| {
        let (before, _) = message.split_once(&place)?;
        before.rsplit(' ').next()?.parse::<usize>().ok()
    });
    let origin = line.and_then(|line| {
        configuration.lines().take(line).filter_map(|text| text.strip_prefix(crate::config::ORIGIN)).last()
    });
    let said = said.join(" ");
    match origin {
        Some(origin) => format!("Apache refuses the configuration (from {origin}): {said}"),
        None => format!("Apache refuses the configuration: {said}"),
    }
}

fn file(path: &Path, what: &str, remedy: &str, account: &Account) -> Option<String> {
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Some(format!("{what} {} does not exist; {remedy}", path.display()));
        }
        Ok(metadata) if !metadata.is_file() => {
            return Some(format!("{what} {} is not a file; {remedy}", path.display()));
        }
        _ => {}
    }
    let reason = account.can(Access::Read, path).err()?;
    Some(format!(
        "{what} {} is not readable for the serving account: {reason}; \
         change the permissions, move it, or choose another account with --user",
        path.display()
    ))
}

fn searchable(directory: &Path, option: &str, account: &Account) -> Option<String> {
    if !directory.is_dir() {
        return Some(format!("{} does not exist; create it or check {option}", directory.display()));
    }
    let reason = account.can(Access::Search, directory).err()?;
    Some(format!(
        "{option} {} is closed to the serving account: {reason}; change the permissions, or choose another account with --user",
        directory.display()
    ))
}

fn bind(settings: &Settings, port: u16) -> io::Result<()> {
    let Some(host) = &settings.host else {
        // As Apache does without an address: both families through one socket where there is IPv6.
        return match TcpListener::bind(("::", port)) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
            Err(_) => TcpListener::bind(("0.0.0.0", port)).map(drop),
        };
    };
    for address in (host.trim_matches(['[', ']']), port).to_socket_addrs()? {
        TcpListener::bind(address)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::parse::parse;

    fn settings(arguments: &[&str]) -> Settings {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Settings::new(&parse(&options::server(), arguments).unwrap()).unwrap()
    }

    #[test]
    fn a_taken_port_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = listener.local_addr().unwrap().port().to_string();
        let text = ports(&settings(&["--host", "127.0.0.1", "--port", &taken, "--server-root", "/no/such"]))
            .remove(0);
        assert!(
            text.contains(&taken) && text.contains("another program") && text.contains("--port"),
            "{text}"
        );
        drop(listener);
        assert!(ports(&settings(&["--host", "127.0.0.1", "--port", &taken])).is_empty());
    }

    #[test]
    fn an_address_of_another_machine_is_noticed() {
        let text = ports(&settings(&["--host", "192.0.2.1", "--port", "18299"])).remove(0);
        assert!(text.contains("192.0.2.1:18299") && text.contains("--host"), "{text}");
    }

    #[test]
    fn missing_files_are_named_with_their_option() {
        let account = Account::choose(None, None).unwrap();
        let arguments = [
            "/no/app.wsgi",
            "--include-file",
            "/no/include",
            "--document-root",
            "/no/root",
            "--url-alias",
            "/s",
            "/no/s",
            "--working-directory",
            "/no/work",
            "--log-directory",
            "/no/logs",
        ];
        let settings_of_all = settings(&arguments);
        let problems = [files(&settings_of_all, &account), aliases(&settings_of_all, &account)].concat();
        for part in [
            "/no/app.wsgi",
            "--include-file",
            "--document-root",
            "--url-alias",
            "--working-directory",
            "--log-directory",
        ] {
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part} in {problems:?}");
        }
        assert_eq!(problems.len(), 6);
        let problems = files(&settings(&["/etc"]), &account);
        assert!(problems[0].contains("/etc is not a file"), "{problems:?}");
        assert!(files(&settings(&["/etc/passwd", "--working-directory", "/"]), &account).is_empty());
    }

    #[test]
    fn directories_that_may_come_later_are_told_of() {
        let account = Account::choose(None, None).unwrap();
        let told = |eggs: &str| directories(&settings(&["--python-eggs", eggs]), &account);
        assert!(told("/etc/passwd/eggs")[0].contains("/etc/passwd is not a directory"));
        assert!(told("/proc/eggs")[0].contains("--python-eggs"), "{:?}", told("/proc/eggs"));
        assert_eq!(told("/tmp/no/eggs"), [""; 0]);
    }

    #[test]
    fn complaints_are_traced_to_the_option() {
        let configuration = "#: --port\nListen 1\n#: --url-alias\nAlias x\n#: --include-file\nInclude y\n";
        let messages = "AH00526: Syntax error on line 4 of /r/httpd.conf:\nAlias takes two arguments\n";
        let text = explain(messages, configuration, Path::new("/r/httpd.conf"));
        assert!(text.contains("(from --url-alias)") && text.ends_with("Alias takes two arguments"), "{text}");
        let text = explain(
            "AH00526: Syntax error on line 4 of /other.conf:\nwhat",
            configuration,
            Path::new("/r/httpd.conf"),
        );
        assert_eq!(
            text,
            "Apache refuses the configuration: AH00526: Syntax error on line 4 of /other.conf: what"
        );
    }
}
