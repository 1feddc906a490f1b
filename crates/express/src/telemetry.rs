//! Telemetry: what is reported, where to, and the collector that shows it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use minijinja::{Value, context};

use crate::account::{Access, Account};
use crate::failure::Failure;
use crate::files::SERVER_STATUS;
use crate::parse::Parsed;
use crate::python::Python;
use crate::quote::display;
use crate::quote::render;
use crate::service::Service;
use crate::spec::{LAST_PORT, Spec, section};
use crate::values::{port, texts};

section! {
    TELEMETRY {
        title: "Telemetry",
        about: "What the processes do, reported to a collector: requests and their phases, processor time, memory, garbage collections. \
                `--enable-telemetry` runs the collector of the package `mod_wsgi-telemetry` and its page beside the application; \
                `--telemetry-service` names one that runs already. Spans of requests, and metrics, can be exported to an OpenTelemetry \
                collector besides.",
        example: "mod_wsgi-express start-server app.wsgi --enable-telemetry --slow-requests 2.5 --telemetry-ui-port 9000",
    }

    ENABLE_TELEMETRY = Spec::flag("--enable-telemetry",
        "Runs the collector of the Python package mod_wsgi-telemetry, which serves a page for browsers on this machine.");
    TELEMETRY_UI_PORT = Spec::integer("--telemetry-ui-port",
        "Port of that page, on 127.0.0.1.")
        .within(1, LAST_PORT)
        .default("8888");
    TELEMETRY_SERVICE = Spec::text("--telemetry-service", &["unix:PATH"],
        "Socket of a collector to report to.");
    TELEMETRY_INTERVAL = Spec::float("--telemetry-interval",
        "Seconds between two reports, at least 0.5.")
        .default("1.0");
    SLOW_REQUESTS = Spec::float("--slow-requests",
        "Seconds from which on a request is slow: it is reported, and marked with --server-status.")
        .default("never");
    TELEMETRY_OPTIONS = Spec::text("--telemetry-options", &["FLAGS"],
        "What else is reported, as WSGITelemetryOptions takes it, such as +CaptureUserAgent.").repeated();
    OPENTELEMETRY = Spec::text("--opentelemetry", &["OPTIONS"],
        "Exports spans of requests, and metrics, as WSGIOpenTelemetry does: its options, such as endpoint=http://127.0.0.1:4318, in one \
         argument; or On, if the variables OTEL_* of the environment say all.");
}

/// The script of the service that runs the collector.
const SCRIPT: &str = "telemetry-service.py";

/// The directory of its socket, which belongs to the account that serves.
const DIRECTORY: &str = "telemetry";

/// The name of the service.
const NAME: &str = "telemetry";

/// The bytes that the path of a socket may have.
const LONGEST: usize = 107;

/// The subjects of reports, and their receiver.
#[derive(Debug)]
pub(crate) struct Telemetry {
    /// The path of the collector's socket; none if nothing is reported.
    socket: Option<String>,
    /// In seconds.
    interval: f64,
    /// In seconds; none if no request is slow.
    slow: Option<f64>,
    options: Vec<String>,
    /// The arguments of `WSGIOpenTelemetry`.
    opentelemetry: Option<String>,
    /// The port of the page, if the collector is to be run.
    page: Option<u16>,
}

impl Telemetry {
    /// # Errors
    /// A value is not valid, or options exclude each other.
    pub(crate) fn new(parsed: &Parsed, server_root: &Path, services: &[Service]) -> Result<Self, Failure> {
        let enabled = parsed.has(&ENABLE_TELEMETRY);
        let port = port(parsed, &TELEMETRY_UI_PORT, 8888);
        let socket = match parsed.text(&TELEMETRY_SERVICE) {
            Some(_) if enabled => {
                return Err(Failure::usage(
                    "--enable-telemetry and --telemetry-service are mutually exclusive: the first runs a collector, the \
                     second names one",
                ));
            }
            Some(target) => Some(socket(target)?),
            None if enabled => Some(display(&server_root.join(DIRECTORY).join("telemetry.sock"))),
            None => None,
        };
        if let Some(socket) = socket.as_ref().filter(|socket| socket.len() > LONGEST) {
            let option = if enabled { "--server-root" } else { TELEMETRY_SERVICE.name };
            return Err(Failure::usage(format!(
                "option {option}: '{socket}' is too long for the path of a socket, which may have {LONGEST} bytes"
            )));
        }
        if enabled && services.iter().any(|service| service.name == NAME) {
            return Err(Failure::usage(
                "option --service-script: with --enable-telemetry, 'telemetry' is the name of the collector's service; \
                 rename yours",
            ));
        }
        let slow = parsed.float(&SLOW_REQUESTS);
        if slow.is_some() && socket.is_none() && !parsed.has(&SERVER_STATUS) {
            return Err(Failure::usage(
                "option --slow-requests: nothing shows them without --server-status, --telemetry-service or --enable-telemetry",
            ));
        }
        Ok(Self {
            socket,
            interval: seconds(&TELEMETRY_INTERVAL, parsed.float(&TELEMETRY_INTERVAL).unwrap_or(1.0), 0.5)?,
            slow: slow.map(|slow| seconds(&SLOW_REQUESTS, slow, 0.0)).transpose()?,
            options: texts(parsed, &TELEMETRY_OPTIONS)
                .iter()
                .map(|text| flags(text))
                .collect::<Result<_, _>>()?,
            opentelemetry: parsed.text(&OPENTELEMETRY).map(arguments).transpose()?,
            page: enabled.then_some(port),
        })
    }

    /// Checks that the collector is installed.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn check(&self, python: &Python, path: &[PathBuf], account: &Account) -> Result<(), Failure> {
        if self.page.is_none() {
            return Ok(());
        }
        let Err(reason) = python.imports("mod_wsgi.telemetry.server", path, account) else { return Ok(()) };
        let python = python.executable.display();
        Err(Failure::usage(format!(
            "--enable-telemetry needs the package mod_wsgi-telemetry in {python}, and {} cannot import it ({reason}); \
             install it with: {python} -m pip install mod_wsgi-telemetry",
            account.user
        )))
    }

    /// Returns what prevents `account` from reaching the directory of a collector's socket that runs
    /// already, or will.
    pub(crate) fn unreachable(&self, account: &Account) -> Option<String> {
        let socket = self.socket.as_deref().filter(|_| self.page.is_none())?;
        let directory = Path::new(socket).parent().filter(|directory| directory.is_absolute())?;
        let reason = if directory.is_dir() {
            account.can(Access::Search, directory).err()?
        } else {
            format!("{} is not a directory", directory.display())
        };
        Some(format!(
            "{} names a socket that {} cannot reach: {reason}; nothing is reported until it can",
            TELEMETRY_SERVICE.name, account.user
        ))
    }

    /// Returns what prevents the page from being served.
    pub(crate) fn problem(&self) -> Option<String> {
        let port = self.page?;
        let error = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).err()?;
        Some(format!(
            "cannot serve the page of telemetry on port {port} of 127.0.0.1: {error}; choose another with {}",
            TELEMETRY_UI_PORT.name
        ))
    }

    /// Returns the name of the directory of the collector's socket, and that of the script that runs
    /// it, with its text.
    ///
    /// # Errors
    /// A name cannot be written into it.
    pub(crate) fn files(&self) -> Result<Option<Files>, Failure> {
        let (Some(port), Some(socket)) = (self.page, &self.socket) else { return Ok(None) };
        let values = context! { socket => format!("unix:{socket}"), port => port.to_string() };
        let text = render(SCRIPT, include_str!("../templates/telemetry-service.py"), values)?;
        Ok(Some(Files { directory: DIRECTORY, script: SCRIPT, text }))
    }

    /// Returns the service that runs the collector.
    pub(crate) fn service(&self, server_root: &Path) -> Option<Service> {
        self.page.map(|_| Service {
            name: NAME.to_owned(),
            script: server_root.join(SCRIPT),
            user: None,
            group: None,
            log_file: None,
        })
    }

    /// Returns the values for the template.
    pub(crate) fn context(&self) -> Value {
        context! {
            target => self.socket.as_ref().map(|socket| format!("unix:{socket}")),
            interval => self.interval,
            slow => self.slow,
            options => self.options.clone(),
            opentelemetry => self.opentelemetry.clone(),
        }
    }

    /// The names of an included file's `<IfDefine>` that apply.
    pub(crate) fn defines(&self) -> impl Iterator<Item = &'static str> {
        [
            ("MOD_WSGI_TELEMETRY_SERVICE", self.socket.is_some()),
            ("MOD_WSGI_SLOW_REQUESTS", self.slow.is_some()),
            ("MOD_WSGI_TELEMETRY_OPTIONS", !self.options.is_empty()),
        ]
        .into_iter()
        .filter_map(|(name, applies)| applies.then_some(name))
    }

    /// Returns the line of the banner.
    pub(crate) fn banner(&self) -> Option<(&'static str, String)> {
        self.page.map(|port| ("Telemetry UI", format!("http://127.0.0.1:{port}/")))
    }
}

/// The files of the collector in the server root.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) directory: &'static str,
    pub(crate) script: &'static str,
    /// The text of the script.
    pub(crate) text: String,
}

/// Returns a text for each option that was given but has no effect.
pub(crate) fn without_effect(parsed: &Parsed) -> Vec<String> {
    let mut lines = Vec::new();
    if !parsed.has(&ENABLE_TELEMETRY) {
        if parsed.has(&TELEMETRY_UI_PORT) {
            lines.push("--telemetry-ui-port is without effect: it needs --enable-telemetry".to_owned());
        }
        if !parsed.has(&TELEMETRY_SERVICE) {
            let options =
                [&TELEMETRY_INTERVAL, &TELEMETRY_OPTIONS].into_iter().filter(|spec| parsed.has(spec));
            lines.extend(options.map(|spec| {
                format!("{} is without effect: it needs --enable-telemetry or --telemetry-service", spec.name)
            }));
        }
    }
    lines
}

/// The path of the socket that is meant.
fn socket(target: &str) -> Result<String, Failure> {
    let socket = target.strip_prefix("unix:").filter(|socket| !socket.is_empty());
    socket.map(str::to_owned).ok_or_else(|| {
        Failure::usage(format!(
            "option --telemetry-service: '{target}' is not unix: and the path of a socket; remote UDP targets are no \
             longer supported"
        ))
    })
}

/// The arguments of `WSGIOpenTelemetry`, which Apache checks. They may not go on in the next line.
fn arguments(text: &str) -> Result<String, Failure> {
    if text.trim().is_empty() || text.ends_with('\\') {
        return Err(Failure::usage(format!(
            "option {}: '{text}' is neither On nor options such as endpoint=http://127.0.0.1:4318",
            OPENTELEMETRY.name
        )));
    }
    Ok(text.to_owned())
}

fn seconds(spec: &Spec, value: f64, least: f64) -> Result<f64, Failure> {
    if value.is_finite() && value >= least {
        return Ok(value);
    }
    Err(Failure::usage(format!("option {}: {value} is not {least} or more", spec.name)))
}

fn flags(text: &str) -> Result<String, Failure> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let is_flag = |word: &&str| {
        let name = word.strip_prefix(['+', '-']).unwrap_or(word);
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric())
    };
    if !words.is_empty() && words.iter().all(is_flag) {
        return Ok(words.join(" "));
    }
    Err(Failure::usage(format!(
        "option --telemetry-options: '{text}' is not a list of flags such as +CaptureUserAgent, None or All"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::parse::parse;

    fn telemetry(arguments: &[&str]) -> Result<Telemetry, Failure> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let parsed = parse(&options::server(), arguments)?;
        Telemetry::new(&parsed, Path::new("/r"), &Service::all(&parsed)?)
    }

    #[test]
    fn values_and_combinations_are_checked() {
        let long = format!("unix:/{}", "x".repeat(107));
        for (arguments, said) in [
            (&["--enable-telemetry", "--telemetry-service", "unix:/s"][..], "mutually exclusive"),
            (&["--enable-telemetry", "--service-script", "telemetry", "/x.py"], "rename"),
            (&["--telemetry-service", "udp:host:1"], "no longer supported"),
            (&["--telemetry-service", "unix:"], "unix:"),
            (&["--telemetry-service", &long], "too long"),
            (&["--telemetry-service", "unix:/s", "--telemetry-interval", "0.4"], "--telemetry-interval"),
            (&["--telemetry-service", "unix:/s", "--slow-requests", "-1"], "--slow-requests"),
            (&["--telemetry-service", "unix:/s", "--slow-requests", "nan"], "--slow-requests"),
            (&["--slow-requests", "1"], "--server-status"),
            (&["--telemetry-options", "All \"x"], "--telemetry-options"),
            (&["--telemetry-options", ""], "--telemetry-options"),
            (&["--telemetry-ui-port", "0"], "--telemetry-ui-port"),
        ] {
            let text = match telemetry(arguments).unwrap_err() {
                Failure::Usage(text) => text,
                other => panic!("{arguments:?}: {other}"),
            };
            assert!(text.contains(said), "{arguments:?}: {text}");
        }
        assert!(telemetry(&["--slow-requests", "1", "--server-status"]).is_ok());
    }

    #[test]
    fn sockets_out_of_reach_are_told_of() {
        let directory = tempfile::tempdir().unwrap();
        let account = Account::choose(None, None).unwrap();
        let unreachable = |path: &str| {
            let socket = format!("unix:{path}/socket");
            telemetry(&["--telemetry-service", &socket]).unwrap().unreachable(&account)
        };
        let text = unreachable("/no/collector").unwrap();
        assert!(text.contains("--telemetry-service") && text.contains("/no/collector is not"), "{text}");
        let path = directory.path().to_string_lossy().into_owned();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(unreachable(&path), None);
    }

    #[test]
    fn the_collector_s_socket_is_in_a_directory_of_the_account() {
        let telemetry = telemetry(&["--enable-telemetry"]).unwrap();
        assert_eq!(telemetry.socket.as_deref(), Some("/r/telemetry/telemetry.sock"));
        let text = telemetry.files().unwrap().unwrap().text;
        assert!(text.contains("\"unix:/r/telemetry/telemetry.sock\"") && text.contains("\"8888\""), "{text}");
        assert_eq!(telemetry.service(Path::new("/r")).unwrap().script, Path::new("/r/telemetry-service.py"));
        assert!(super::tests::telemetry(&[]).unwrap().files().unwrap().is_none());
    }
}
