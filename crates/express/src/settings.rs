//! The meaning of a command line: defaults, absolute paths, ranges.

use std::path::PathBuf;

use crate::apache::Mpm;
use crate::application::Application;
use crate::auth::Access;
use crate::container::Container;
use crate::daemon::Daemon;
use crate::debugging::Debugging;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::files;
use crate::files::Files;
use crate::general;
use crate::health::Health;
use crate::limits::Limits;
use crate::logs::Logs;
use crate::names::{self, Names};
use crate::parse::Parsed;
use crate::proxy::Proxies;
use crate::server_root;
use crate::service::Service;
use crate::sizing::Sizing;
use crate::spec::MOST_OF_APACHE;
use crate::telemetry::Telemetry;
use crate::tls::{self, Tls};
use crate::values::{absolute, all_absolute, number, port, texts};

/// A server as it was asked for.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The address to listen on; none for all.
    pub(crate) host: Option<String>,
    pub(crate) port: u16,
    pub(crate) tls: Option<Tls>,
    pub(crate) http2: bool,
    /// None: any name will do.
    pub(crate) names: Option<Names>,
    pub(crate) proxies: Proxies,
    pub(crate) server_root: PathBuf,
    /// Nobody named the server root: it is in a directory that others may write to.
    pub(crate) default_root: bool,
    pub(crate) processes: u32,
    /// The least of `--processes` if it is a range.
    pub(crate) least_processes: Option<u32>,
    /// `--processes` was given.
    pub(crate) multiprocess: bool,
    pub(crate) threads: u32,
    /// The daemon processes that run the application; none: Apache's own do.
    pub(crate) daemon: Option<Daemon>,
    pub(crate) services: Vec<Service>,
    /// None unless the server is made for a container.
    pub(crate) container: Option<Container>,
    /// The number of Apache's processes and threads in front of daemon processes.
    pub(crate) sizing: Sizing,
    pub(crate) telemetry: Telemetry,
    pub(crate) debugging: Debugging,
    /// Requests after which a process is replaced; 0: never.
    pub(crate) maximum_requests: i64,
    /// Seconds for running requests when the server is to end; not 0, which is no limit to Apache.
    pub(crate) graceful_timeout: i64,
    /// Seconds for the application to load; 0 for no limit.
    pub(crate) startup_timeout: i64,
    /// Apache's `Timeout` in seconds.
    pub(crate) timeout: i64,
    /// `--stuck-timeout`; 0 for none.
    pub(crate) stuck_timeout: i64,
    pub(crate) health: Health,
    pub(crate) limits: Limits,
    pub(crate) application: Application,
    pub(crate) access: Access,
    pub(crate) files: Files,
    pub(crate) environment: Environment,
    /// The URL path where it is mounted: begins with a slash, and does not end with one unless it
    /// is the root.
    pub(crate) mount_point: String,
    pub(crate) callable_object: String,
    pub(crate) application_group: String,
    /// None for the one in the server root.
    pub(crate) document_root: Option<PathBuf>,
    /// URL path and target, longer paths before their prefixes.
    pub(crate) aliases: Vec<Alias>,
    pub(crate) include_files: Vec<PathBuf>,
    pub(crate) logs: Logs,
    pub(crate) working_directory: PathBuf,
    /// Nobody named the working directory: another would do.
    pub(crate) default_directory: bool,
    pub(crate) python_path: Vec<PathBuf>,
    /// None for the one in the server root.
    pub(crate) python_eggs: Option<PathBuf>,
    pub(crate) python_warnings: Vec<String>,
    /// In seconds.
    pub(crate) switch_interval: Option<f64>,
    pub(crate) free_threading: bool,
    /// True if interpreters are not finalised at the end.
    pub(crate) orphan_interpreter: bool,
    /// None for that of the environment.
    pub(crate) locale: Option<String>,
    /// The name that `ps` shows for Apache.
    pub(crate) process_name: Option<String>,
    /// True if a change of the script has it reloaded.
    pub(crate) reloading: bool,
    /// True if changes of imported modules have the process replaced.
    pub(crate) reload_on_changes: bool,
    /// URL paths whose requests are no activity.
    pub(crate) ignored_activity: Vec<String>,
    pub(crate) error_override: bool,
    pub(crate) server_metrics: bool,
    /// `--socket-prefix` was given, which included files may ask for.
    pub(crate) socket_prefix: bool,
    /// The processing models to choose from; empty for all.
    pub(crate) mpms: Vec<Mpm>,
}

/// Static files below a URL path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Alias {
    pub(crate) url: String,
    pub(crate) target: PathBuf,
}

impl Settings {
    /// # Errors
    /// Values are not valid: all of them, one line each.
    pub(crate) fn new(parsed: &Parsed) -> Result<Self, Failure> {
        let mut refusals = Refusals::default();
        Self::read(parsed, &mut refusals).ok_or_else(|| refusals.into_failure())
    }

    /// Reads every concern before the first refusal counts, so that all are named.
    fn read(parsed: &Parsed, refusals: &mut Refusals) -> Option<Self> {
        let mut parsed = parsed.clone();
        let container = Container::complete(&mut parsed);
        let parsed = &parsed;
        let host = parsed.text(&general::HOST).map(str::to_owned);
        let port = port(parsed, &general::PORT, 8000);
        let name = host.as_deref().unwrap_or("localhost");
        let server_root = match parsed.text(&general::SERVER_ROOT) {
            Some(directory) => refusals.value(absolute(directory)),
            None => Some(server_root::default_root(name, port)),
        };
        // The concerns that derive paths from it.
        let base = server_root.clone().unwrap_or_default();
        let application = refusals.value(Application::new(parsed));
        let has_application =
            application.as_ref().is_none_or(|(application, _)| *application != Application::Placeholder);
        let debugging = refusals.value(Debugging::new(parsed, &base));
        let is_debugging = debugging.as_ref().is_some_and(|debugging| debugging.is_on);
        let is_embedded = parsed.has(&general::EMBEDDED_MODE) || is_debugging;
        let daemon = if is_embedded {
            Some(None)
        } else {
            refusals.value(Daemon::new(parsed, &format!("{name}:{port}")).map(Some))
        };
        let application_group = parsed.text(&general::APPLICATION_GROUP).unwrap_or("%{GLOBAL}");
        let reload_on_changes = !is_embedded
            && parsed.has(&general::RELOAD_ON_CHANGES)
            && !parsed.has(&general::DISABLE_RELOADING);
        if reload_on_changes && !is_fixed(application_group) {
            refusals.0.push(Failure::usage(format!(
                "--reload-on-changes watches the modules of one interpreter, and '{application_group}' may be several; \
                 choose %{{GLOBAL}} or a plain name with --application-group"
            )));
        }
        let count = |spec, default| u32::try_from(number(parsed, spec, default)).unwrap_or(u32::MAX);
        let (mut processes, mut threads) = (count(&general::PROCESSES, 1), count(&general::THREADS, 5));
        let mut maximum_requests = number(parsed, &general::MAXIMUM_REQUESTS, 0);
        let least = parsed.least(&general::PROCESSES).filter(|_| !is_debugging);
        let least_processes = least.and_then(|least| u32::try_from(least).ok());
        if is_debugging {
            (processes, threads, maximum_requests) = (1, 1, 0);
        } else if is_embedded && least_processes.is_some() {
            refusals.0.push(Failure::usage(
                "option --processes: a range needs daemon processes; give one number, or leave out --embedded-mode",
            ));
        }
        let services = refusals.value(Service::all(parsed));
        let telemetry =
            refusals.value(Telemetry::new(parsed, &base, services.as_deref().unwrap_or_default()));
        let tls = refusals.value(Tls::new(parsed, port));
        let names = refusals.value(Names::new(parsed));
        let proxies = refusals.value(Proxies::new(parsed));
        let sizing = refusals.value(Sizing::new(parsed));
        let health = refusals.value(Health::new(parsed));
        let limits = refusals.value(Limits::new(parsed));
        let environment = refusals.value(Environment::new(parsed, &base));
        let access = refusals.value(Access::new(parsed, is_debugging));
        let logs = refusals.value(Logs::new(parsed, &base));
        let aliases = refusals.value(aliases(parsed, has_application));
        let files = refusals.value(Files::new(parsed, has_application));
        let document_root = refusals.value(parsed.text(&files::DOCUMENT_ROOT).map(absolute).transpose());
        let include_files = refusals.value(all_absolute(parsed, &general::INCLUDE_FILE));
        let working_directory =
            refusals.value(absolute(parsed.text(&general::WORKING_DIRECTORY).unwrap_or(".")));
        let python_path = refusals.value(all_absolute(parsed, &general::PYTHON_PATH));
        let python_eggs = refusals.value(parsed.text(&general::PYTHON_EGGS).map(absolute).transpose());
        let switch_interval = refusals.value(switch_interval(parsed));
        let mpms = refusals.value(mpms(parsed));
        if !refusals.0.is_empty() {
            return None;
        }

        let (application, served_directory) = application?;
        Some(Self {
            host,
            port,
            tls: tls?,
            http2: parsed.has(&tls::HTTP2),
            names: names?,
            proxies: proxies?,
            server_root: server_root?,
            default_root: !parsed.has(&general::SERVER_ROOT),
            processes,
            least_processes,
            multiprocess: parsed.has(&general::PROCESSES),
            threads,
            daemon: daemon?,
            services: services?,
            container: container.filter(|_| !is_debugging),
            sizing: sizing?,
            telemetry: telemetry?,
            debugging: debugging?,
            maximum_requests,
            graceful_timeout: number(parsed, &general::GRACEFUL_TIMEOUT, 15).clamp(1, MOST_OF_APACHE),
            startup_timeout: number(parsed, &general::STARTUP_TIMEOUT, 15),
            timeout: number(parsed, &general::SOCKET_TIMEOUT, 60),
            // In a debugger, a request may take as long as it likes.
            stuck_timeout: if is_debugging {
                0
            } else {
                number(parsed, &general::STUCK_TIMEOUT, number(parsed, &general::REQUEST_TIMEOUT, 60))
            },
            health: health?,
            limits: limits?,
            application,
            access: access?,
            files: files?,
            environment: environment?,
            mount_point: mount_point(parsed.text(&general::MOUNT_POINT).unwrap_or("/")),
            callable_object: parsed.text(&general::CALLABLE_OBJECT).unwrap_or("application").to_owned(),
            application_group: application_group.to_owned(),
            document_root: document_root?.or(served_directory),
            aliases: aliases?,
            include_files: include_files?,
            logs: logs?,
            working_directory: working_directory?,
            default_directory: !parsed.has(&general::WORKING_DIRECTORY),
            python_path: python_path?,
            python_eggs: python_eggs?,
            python_warnings: texts(parsed, &general::PYTHON_WARNINGS),
            switch_interval: switch_interval?,
            free_threading: parsed.has(&general::FREE_THREADING),
            orphan_interpreter: parsed.has(&general::ORPHAN_INTERPRETER) && !is_debugging,
            locale: parsed.text(&general::LOCALE).or(parsed.text(&general::LANG)).map(str::to_owned),
            process_name: parsed.text(&general::PROCESS_NAME).map(str::to_owned),
            reloading: !is_embedded && !parsed.has(&general::DISABLE_RELOADING),
            reload_on_changes,
            ignored_activity: texts(parsed, &general::IGNORE_ACTIVITY),
            error_override: parsed.has(&files::ERROR_OVERRIDE),
            server_metrics: parsed.has(&general::SERVER_METRICS),
            socket_prefix: parsed.has(&general::SOCKET_PREFIX),
            mpms: mpms?,
        })
    }

    /// The host name that the server goes by.
    pub(crate) fn name(&self) -> &str {
        self.names.as_ref().map_or_else(|| self.listener_host(), |names| &names.name)
    }

    /// The address that was asked for.
    pub(crate) fn listener_host(&self) -> &str {
        self.host.as_deref().unwrap_or("localhost")
    }

    /// Returns the URL of the server, without a trailing slash.
    pub(crate) fn url(&self) -> String {
        names::url("http", &names::bracketed(self.name()), self.port)
    }

    /// Returns the URL of the server over TLS.
    pub(crate) fn https_url(&self) -> Option<String> {
        self.tls.as_ref().map(|tls| names::url("https", &names::bracketed(self.name()), tls.port))
    }

    /// The ports to listen on, and the options that they come from.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (u16, &'static str)> {
        let tls = self.tls.as_ref().map(|tls| (tls.port, tls::HTTPS_PORT.name));
        [(self.port, general::PORT.name)].into_iter().chain(tls)
    }

    /// The argument of `Listen` for a port.
    pub(crate) fn listen(&self, port: u16) -> String {
        match &self.host {
            Some(host) => names::address(host, port),
            None => port.to_string(),
        }
    }

    /// The directory of static files.
    pub(crate) fn document_root(&self) -> PathBuf {
        self.document_root.clone().unwrap_or_else(|| self.server_root.join("htdocs"))
    }

    /// Returns whether the application is loaded before the first request: then its interpreter
    /// does not depend on one.
    pub(crate) fn is_preloaded(&self) -> bool {
        is_fixed(&self.application_group)
    }

    /// Returns the number of processes as it was given.
    pub(crate) fn process_range(&self) -> String {
        let least = self.least_processes.map(|least| format!("{least}-")).unwrap_or_default();
        format!("{least}{}", self.processes)
    }

    /// Returns the number of requests that the application handles at a time.
    pub(crate) fn capacity(&self) -> u32 {
        self.processes * self.threads
    }

    /// Returns the seconds after which a server has ended that is told to end gracefully.
    pub(crate) fn grace_period(&self) -> i64 {
        /// The time in which Apache ends its children that hang, and a second for everything else.
        const TO_END: i64 = 10 + 1;
        let daemon = self.daemon.as_ref().map_or(0, |daemon| daemon.number("shutdown-timeout"));
        self.health.drain_delay + self.graceful_timeout + daemon + TO_END
    }

    /// Returns the directory where Python eggs are unpacked.
    pub(crate) fn python_eggs(&self) -> PathBuf {
        self.python_eggs.clone().unwrap_or_else(|| self.server_root.join("python-eggs"))
    }

    /// The script to run; `None` for static files.
    pub(crate) fn script(&self) -> Option<PathBuf> {
        self.application.script(&self.server_root, self.debugging.wraps())
    }
}

/// The refusals of a server's concerns.
#[derive(Debug, Default)]
struct Refusals(Vec<Failure>);

impl Refusals {
    /// Returns the value, or takes note of the refusal.
    fn value<T>(&mut self, result: Result<T, Failure>) -> Option<T> {
        result.map_err(|failure| self.0.push(failure)).ok()
    }

    /// Returns all refusals as one; mistakes of the command line hide failures of the machine.
    fn into_failure(self) -> Failure {
        let text = |failure: &Failure| matches!(failure, Failure::Usage(_)).then(|| failure.to_string());
        let usage: Vec<String> = self.0.iter().filter_map(text).collect();
        if usage.is_empty() {
            Failure::Machine(self.0.iter().map(Failure::to_string).collect())
        } else {
            Failure::usage(usage.join("\n"))
        }
    }
}

fn switch_interval(parsed: &Parsed) -> Result<Option<f64>, Failure> {
    match parsed.float(&general::SWITCH_INTERVAL) {
        Some(value) if !(value.is_finite() && value > 0.0) => {
            Err(Failure::usage(format!("option --switch-interval: {value} is not greater than 0")))
        }
        value => Ok(value),
    }
}

fn is_fixed(application_group: &str) -> bool {
    application_group == "%{GLOBAL}" || !application_group.contains("%{")
}

fn mount_point(text: &str) -> String {
    format!("/{}", text.trim_matches('/'))
}

fn aliases(parsed: &Parsed, has_entry_point: bool) -> Result<Vec<Alias>, Failure> {
    let mut aliases = Vec::new();
    for pair in parsed.all(&files::URL_ALIAS) {
        let [url, target] = pair.as_slice() else { continue };
        if target.starts_with("--") || (!has_entry_point && target.ends_with(".wsgi")) {
            return Err(Failure::usage(format!(
                "--url-alias takes two arguments, and '{target}' was read as the second: \
                 the file or directory to serve below {url} is missing"
            )));
        }
        let url = if url.starts_with('/') { url.clone() } else { format!("/{url}") };
        let keep_slash = if target.ends_with('/') && target.len() > 1 { "/" } else { "" };
        let target = absolute(target.trim_end_matches('/'))?;
        let target = PathBuf::from(format!("{}{keep_slash}", target.display()));
        aliases.push(Alias { url, target });
    }
    aliases.sort_by(|one, other| other.url.cmp(&one.url));
    Ok(aliases)
}

fn mpms(parsed: &Parsed) -> Result<Vec<Mpm>, Failure> {
    parsed
        .all(&general::SERVER_MPM)
        .iter()
        .flatten()
        .map(|name| {
            Mpm::named(name).ok_or_else(|| {
                let valid = Mpm::ALL.map(Mpm::name).join(", ");
                Failure::usage(format!("option --server-mpm: '{name}' is not one of {valid}"))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::options;
    use crate::parse::parse;

    fn settings(arguments: &[&str]) -> Result<Settings, Failure> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        parse(&options::server(), arguments).and_then(|parsed| Settings::new(&parsed))
    }

    #[test]
    fn defaults() {
        let settings = settings(&[]).unwrap();
        assert_eq!((settings.port, settings.processes, settings.threads), (8000, 1, 5));
        assert_eq!(settings.url(), "http://localhost:8000");
        assert_eq!(settings.listen(8000), "8000");
        assert_eq!(settings.script(), Some(settings.server_root.join("default.wsgi")));
        assert!(settings.server_root.to_string_lossy().contains("mod_wsgi-localhost:8000:"));
        assert!(settings.reloading && settings.default_root && !settings.multiprocess);
        assert_eq!(settings.daemon.unwrap().name, "localhost:8000");
    }

    #[test]
    fn the_end_of_a_server_has_a_limit() {
        let period = |arguments: &[&str]| settings(arguments).unwrap().grace_period();
        assert_eq!((period(&[]), period(&["--embedded-mode"])), (31, 26));
        assert_eq!(period(&["--drain-delay", "5"]), 36);
        assert_eq!(period(&["--graceful-timeout", "1m", "--shutdown-timeout", "9"]), 80);
        assert_eq!((period(&["--container"]), period(&["--container", "--drain-delay", "9"])), (36, 40));
    }

    #[test]
    fn embedded_mode_never_reloads() {
        let settings = settings(&["--embedded-mode", "--reload-on-changes"]).unwrap();
        assert!(settings.daemon.is_none() && !settings.reloading && !settings.reload_on_changes);
    }

    #[test]
    fn changes_are_watched_in_one_interpreter() {
        let with = |group| settings(&["--reload-on-changes", "--application-group", group]);
        assert!(with("shop").unwrap().reload_on_changes);
        assert!(with("%{ENV:APP}").unwrap_err().to_string().contains("--application-group"));
        assert!(!settings(&["--reload-on-changes", "--disable-reloading"]).unwrap().reload_on_changes);
    }

    #[test]
    fn the_entry_point_option_wins() {
        let settings = settings(&["/a.wsgi", "--entry-point", "/b.wsgi"]).unwrap();
        assert_eq!(settings.script().as_deref(), Some(Path::new("/b.wsgi")));
    }

    #[test]
    fn addresses() {
        let six = settings(&["--host", "::1", "--port", "80"]).unwrap();
        assert_eq!((six.listen(80).as_str(), six.url().as_str()), ("[::1]:80", "http://[::1]"));
        let four = settings(&["--host", "127.0.0.1", "--port", "81"]).unwrap();
        assert_eq!((four.listen(81).as_str(), four.url().as_str()), ("127.0.0.1:81", "http://127.0.0.1:81"));
    }

    #[test]
    fn ranges_are_checked() {
        for arguments in [
            ["--port", "0"],
            ["--port", "65536"],
            ["--port", "-1"],
            ["--threads", "0"],
            ["--processes", "-3"],
            ["--processes", "3-2"],
            ["--processes", "0-0"],
            ["--processes", "1-30000"],
            ["--processes", "1-2-3"],
            ["--server-mpm", "itk"],
            ["--switch-interval", "0"],
            ["--switch-interval", "inf"],
            ["--socket-timeout", "0"],
        ] {
            let failure = settings(&arguments).unwrap_err();
            assert!(matches!(&failure, Failure::Usage(text) if text.contains(arguments[0])), "{failure}");
        }
    }

    #[test]
    fn all_that_is_not_valid_is_named_at_once() {
        let refusal =
            settings(&["--threads", "0", "--processes", "-1", "--port=70000"]).unwrap_err().to_string();
        for option in ["--threads: 0 is not", "--processes: -1 is not", "--port: 70000 is not"] {
            assert!(refusal.contains(option), "{option} in {refusal}");
        }
        let arguments =
            ["--server-mpm", "itk", "--application-type", "asgi", "--initial-workers", "2", "--url-alias"];
        let refusal = settings(&[&arguments[..], &["/s", "--http2"]].concat()).unwrap_err().to_string();
        for option in ["--server-mpm", "--application-type", "--initial-workers", "--url-alias"] {
            assert!(refusal.contains(option), "{option} in {refusal}");
        }
        assert_eq!(settings(&["--threads", "0", "--threads", "2"]).unwrap().threads, 2);
    }

    #[test]
    fn mount_points_are_normalised() {
        for (text, mount) in [("/", "/"), ("app", "/app"), ("/app/", "/app"), ("/a/b", "/a/b"), ("", "/")] {
            assert_eq!(mount_point(text), mount);
        }
    }

    #[test]
    fn aliases_are_sorted_longest_first_and_keep_a_trailing_slash() {
        let settings = settings(&["--url-alias", "/s", "/srv", "--url-alias", "s/deep/", "/deep/"]).unwrap();
        let written: Vec<_> =
            settings.aliases.iter().map(|alias| (&alias.url[..], alias.target.to_str())).collect();
        assert_eq!(written, [("/s/deep/", Some("/deep/")), ("/s", Some("/srv"))]);
    }

    #[test]
    fn a_swallowed_entry_point_is_noticed() {
        let failure = settings(&["--url-alias", "/static", "app.wsgi"]).unwrap_err();
        assert!(failure.to_string().contains("/static is missing"), "{failure}");
        assert!(settings(&["--url-alias", "/raw", "app.wsgi", "main.wsgi"]).is_ok());
    }
}
