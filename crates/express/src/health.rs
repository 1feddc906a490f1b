//! Health checks of a server, and its way out of a balancer.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use minijinja::{Value, context};
use nix::fcntl::OFlag;

use crate::container::option::CONTAINER;
use crate::failure::Failure;
use crate::general;
use crate::inquiry::{self, Place, PlaceFile};
use crate::parse::Parsed;
use crate::quote::{display, escape_pattern};
use crate::spec::{Spec, section};
use crate::terminal::{say, warn};
use crate::values::{number, texts, url_path};

section! {
    HEALTH {
        title: "Health checks and the end",
        about: "With `--health-path /-`, the URLs `/-/ready` and `/-/live` are health checks for a balancer, which never reach the application: \
                `ready` fails while the application is not loaded, and before the server ends. `mod_wsgi-express health` asks, \
                `mod_wsgi-express drain` has `ready` fail until `mod_wsgi-express undrain`. See the [guide](fleet.md).",
        example: "mod_wsgi-express start-server app.wsgi --health-path /- --graceful-stop --drain-delay 5",
    }

    HEALTH_PATH = Spec::text("--health-path", &["URL-PATH"],
        "Answers health checks at ready and live below this path, in place of the application.")
        .default("none");
    HEALTH_CLIENT = Spec::text("--health-client", &["ADDRESS"],
        "Address or network (10.0.0.0/8) that may ask, besides this machine; all for everybody.").repeated();
    GRACEFUL_STOP = Spec::flag("--graceful-stop",
        "Lets running requests end at the first SIGTERM, within --graceful-timeout.")
        .note("Without it, that is so only where the server is the main process of a container. The second `SIGTERM` stops the server at once.");
    DRAIN_DELAY = Spec::seconds("--drain-delay",
        "Seconds for which everything is served on after that SIGTERM, while health checks fail.")
        .within(0, 3_600)
        .default("0")
        .note("Choose more than the balancer takes to notice: the interval of its checks, times those that have to fail. \
               A container has to be given as much time more to stop.");
}

/// An option of the command `health` alone.
static LIVE: Spec =
    Spec::flag("--live", "Asks whether the server answers at all, and not whether it is ready.");

/// The options of `health`.
pub(crate) fn health_options() -> Vec<&'static Spec> {
    [drain_options(), vec![&LIVE]].concat()
}

/// The options of `drain` and `undrain`, which tell the server.
pub(crate) fn drain_options() -> Vec<&'static Spec> {
    vec![&general::SERVER_ROOT, &general::HOST, &general::PORT]
}

/// The file of the server root that exists while the server is drained.
const DRAINED: &str = "drained";
/// The file of the server root with the address and the path of health checks; empty without them.
pub(crate) const PLACE: &str = "health";
const FILE: PlaceFile = PlaceFile { name: PLACE, lacks: "has no health checks; start it with --health-path" };
/// The longest answer, in bytes.
const LONGEST: u64 = 64 << 10;
/// The health checks and the end of a server.
#[derive(Debug)]
pub(crate) struct Health {
    /// The URL path, without a slash at its end; none without health checks.
    path: Option<String>,
    clients: Vec<String>,
    /// The first SIGTERM is a graceful stop, wherever the server runs.
    pub(crate) is_graceful: bool,
    /// In seconds.
    pub(crate) drain_delay: i64,
}

impl Health {
    /// # Errors
    /// A value is not valid.
    pub(crate) fn new(parsed: &Parsed) -> Result<Self, Failure> {
        let path = parsed.text(&HEALTH_PATH).map(|path| url_path(path.trim_end_matches('/')));
        let is_plain = |path: &String| {
            path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte))
                && !path.contains("//")
        };
        if let Some(path) = path.as_ref().filter(|path| !is_plain(path)) {
            return Err(Failure::usage(format!(
                "option {}: '{path}' is no path that needs no escapes; write one such as /-",
                HEALTH_PATH.name
            )));
        }
        let clients = texts(parsed, &HEALTH_CLIENT);
        if let Some(client) =
            clients.iter().find(|client| client.is_empty() || client.contains(char::is_whitespace))
        {
            return Err(Failure::usage(format!("option {}: '{client}' is no address", HEALTH_CLIENT.name)));
        }
        Ok(Self {
            path,
            clients,
            is_graceful: parsed.has(&GRACEFUL_STOP),
            drain_delay: number(parsed, &DRAIN_DELAY, 0),
        })
    }

    /// Returns the values for the templates.
    pub(crate) fn context(&self, server_root: &Path) -> Value {
        let pattern = self
            .path
            .as_deref()
            .map(|path| format!("^{}/(?:ready|live)$", escape_pattern(path.trim_end_matches('/'))));
        context! {
            pattern => pattern,
            clients => self.clients.clone(),
            drained => display(&server_root.join(DRAINED)),
            graceful => self.is_graceful,
            delay => self.drain_delay,
        }
    }

    /// Returns the content of the file that tells the command `health` where to ask.
    pub(crate) fn place(&self, host: Option<&str>, port: u16) -> String {
        let Some(path) = &self.path else { return String::new() };
        inquiry::place(host, port, path.trim_end_matches('/'), None)
    }

    /// Returns the line of the banner.
    pub(crate) fn banner(&self, url: &str) -> Option<(&'static str, String)> {
        let path = self.path.as_deref()?.trim_end_matches('/');
        Some(("Health Checks", format!("{url}{path}/ready, {url}{path}/live")))
    }

    /// Warns of a server that is not ready from its start.
    pub(crate) fn warn_if_drained(&self, server_root: &Path) {
        if self.path.is_some() && server_root.join(DRAINED).exists() {
            warn("the server was drained, and its health checks fail until 'mod_wsgi-express undrain'");
        }
    }
}

/// Returns the options of health checks that have no effect.
pub(crate) fn without_effect(parsed: &Parsed) -> Vec<String> {
    let mut lines = Vec::new();
    if parsed.has(&HEALTH_CLIENT) && !parsed.has(&HEALTH_PATH) && !parsed.has(&CONTAINER) {
        lines.push(
            "--health-client is without effect: there are no health checks without --health-path".to_owned(),
        );
    }
    lines
}

/// Asks a server whether it is ready, and prints what it says; 0 if it is.
///
/// # Errors
/// It cannot be asked.
pub(crate) fn ask(parsed: &Parsed) -> Result<u8, Failure> {
    let place = match &parsed.positional[..] {
        [] => {
            let mut place = Place::of(parsed, &FILE)?;
            place.path += if parsed.has(&LIVE) { "/live" } else { "/ready" };
            place
        }
        [url] => Place::at(url)?,
        _ => return Err(Failure::usage("Incorrect number of arguments.")),
    };
    let (status, body) = place.ask(LONGEST)?;
    let is_healthy = status == 200;
    let body = body.trim_end();
    let is_answer = ["ready", "live", "not ready"].iter().any(|word| body.lines().next() == Some(word));
    let text = if is_answer {
        body.replace('\n', "; ")
    } else {
        format!("status {status} at {}{}", place.address, place.path)
    };
    say(&format!("{text}\n"))?;
    Ok(u8::from(!is_healthy))
}

/// Has the health checks of a server fail, or no longer.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn drain(parsed: &Parsed, is_drained: bool) -> Result<u8, Failure> {
    let file = Place::of(parsed, &FILE)?.root.join(DRAINED);
    let remedy = "run it as the user who has started the server";
    if is_drained {
        // A link of whoever has the directory is not followed.
        let mut options = fs::File::options();
        options.write(true).create(true).custom_flags(OFlag::O_NOFOLLOW.bits());
        options.open(&file).map_err(|error| Failure::file("create", &file, &error, remedy))?;
        say("drained: health checks fail until 'mod_wsgi-express undrain'\n")?;
    } else {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::file("remove", &file, &error, remedy));
            }
            _ => say("not drained\n")?,
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::parse::parse;

    fn health(arguments: &[&str]) -> Result<Health, Failure> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Health::new(&parse(&options::server(), arguments).unwrap())
    }

    #[test]
    fn links_to_files_of_others_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path(FILE.name), "127.0.0.1:1\n/-\n").unwrap();
        fs::write(path("precious"), "text").unwrap();
        std::os::unix::fs::symlink(path("precious"), path(DRAINED)).unwrap();
        let arguments = vec!["--server-root".to_owned(), directory.path().display().to_string()];
        let parsed = parse(&drain_options(), arguments).unwrap();
        assert!(drain(&parsed, true).is_err());
        assert_eq!(fs::read_to_string(path("precious")).unwrap(), "text");
        drain(&parsed, false).unwrap();
        drain(&parsed, true).unwrap();
        assert!(path(DRAINED).symlink_metadata().unwrap().is_file() && path("precious").exists());
    }

    #[test]
    fn paths_are_plain() {
        for (path, place) in [("/-", "/-"), ("-/", "/-"), ("/a/b", "/a/b"), ("/", "")] {
            let health = health(&["--health-path", path]).unwrap();
            assert_eq!(health.place(None, 80), format!("127.0.0.1:80\n{place}\n"), "{path}");
        }
        for path in ["/a b", "/a\"", "/%2d", "/a//b", "/a?b"] {
            assert!(
                health(&["--health-path", path]).unwrap_err().to_string().contains("--health-path"),
                "{path}"
            );
        }
        assert!(health(&["--health-path", "/-", "--health-client", "a b"]).is_err());
        assert_eq!(health(&[]).unwrap().place(None, 80), "");
        assert_eq!(health(&["--health-path", "/-"]).unwrap().place(Some("::"), 80), "[::1]:80\n/-\n");
    }
}
