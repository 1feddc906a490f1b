//! The settings of the daemon processes that run the application.

use wsgi_core::daemon::MIN_MEMORY;

use crate::failure::Failure;
use crate::files;
use crate::general;
use crate::parse::Parsed;
use crate::spec::Spec;
use crate::values::number;

/// The group of these processes.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) name: String,
    /// The name that `ps` shows.
    pub(crate) display_name: String,
    /// The mask in the form of `umask=` of `WSGIDaemonProcess`.
    pub(crate) umask: Option<String>,
    /// Options of `WSGIDaemonProcess` that are numbers.
    pub(crate) numbers: Vec<(&'static str, i64)>,
}

impl Daemon {
    /// # Errors
    /// A value is out of range.
    pub(crate) fn new(parsed: &Parsed, default_name: &str) -> Result<Self, Failure> {
        let (name, display_name) = match parsed.text(&general::PROCESS_GROUP) {
            Some(name) => (name, format!("(wsgi:{name})")),
            None => (default_name, format!("(wsgi:{default_name}:{})", nix::unistd::geteuid())),
        };
        if name.is_empty() || name.contains("%{") {
            return Err(Failure::usage(format!(
                "option --process-group: '{name}' cannot be the name of a group; choose a plain word"
            )));
        }
        Ok(Self {
            name: name.to_owned(),
            display_name,
            umask: parsed.text(&general::UMASK).map(umask).transpose()?,
            numbers: NUMBERS
                .iter()
                .map(|number| number.read(parsed))
                .filter_map(Result::transpose)
                .collect::<Result<_, _>>()?,
        })
    }

    /// The value of an option of `WSGIDaemonProcess`; 0 if it is not written.
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.numbers.iter().find(|number| number.0 == name).map_or(0, |number| number.1)
    }
}

/// The options that were given although they mean nothing without daemon processes.
pub(crate) fn without_effect(parsed: &Parsed) -> Vec<&'static str> {
    const ELSEWHERE: [&str; 3] = ["maximum-requests", "graceful-timeout", "socket-timeout"];
    let is_elsewhere =
        |name| ELSEWHERE.contains(&name) || (name == "startup-timeout" && parsed.has(&general::STRICT));
    let numbers = NUMBERS.iter().filter(|number| !is_elsewhere(number.name)).map(|number| number.spec);
    numbers.chain(DAEMON_ONLY).filter(|spec| parsed.has(spec)).map(|spec| spec.name).collect()
}

/// An option of ours, and the option of `WSGIDaemonProcess` that its number goes to.
struct Number {
    spec: &'static Spec,
    name: &'static str,
    default: i64,
    /// The least value but for 0.
    least: i64,
    /// Not written if it is 0, which then means the module's default.
    optional: bool,
}

static NUMBERS: [Number; 27] = [
    count(&general::SCALE_UP_WAIT, "scale-up-wait", 100),
    count(&general::SCALE_DOWN_IDLE, "scale-down-idle", 60),
    count(&general::STARTUP_TIMEOUT, "startup-timeout", 15),
    count(&general::SHUTDOWN_TIMEOUT, "shutdown-timeout", 5),
    count(&general::GRACEFUL_TIMEOUT, "graceful-timeout", 15),
    count(&general::EVICTION_TIMEOUT, "eviction-timeout", 0),
    count(&general::RESTART_INTERVAL, "restart-interval", 0),
    count(&general::MAXIMUM_REQUESTS, "maximum-requests", 0),
    count(&general::RESTART_JITTER, "restart-jitter", 0),
    count(&general::INACTIVITY_TIMEOUT, "inactivity-timeout", 0),
    count(&general::DEADLOCK_TIMEOUT, "deadlock-timeout", 60),
    count(&general::REQUEST_TIMEOUT, "request-timeout", 60),
    count(&general::INTERRUPT_TIMEOUT, "interrupt-timeout", 0),
    count(&general::QUEUE_TIMEOUT, "queue-timeout", 45),
    count(&general::CONNECT_TIMEOUT, "connect-timeout", 15),
    count(&general::SOCKET_TIMEOUT, "socket-timeout", 60),
    count(&general::RESPONSE_SOCKET_TIMEOUT, "response-socket-timeout", 0),
    count(&general::RESPONSE_FLUSH_DELAY, "response-flush-delay", 5),
    count(&general::DAEMON_BACKLOG, "listen-backlog", 100),
    count(&general::CPU_TIME_LIMIT, "cpu-time-limit", 0),
    size(&general::MEMORY_RECYCLE, "memory-recycle", MIN_MEMORY as i64),
    size(&general::MEMORY_LIMIT, "memory-limit", MIN_MEMORY as i64),
    size(&general::VIRTUAL_MEMORY_LIMIT, "virtual-memory-limit", MIN_MEMORY as i64),
    size(&general::HEADER_BUFFER_SIZE, "header-buffer-size", 8192),
    size(&general::RESPONSE_BUFFER_SIZE, "response-buffer-size", 65_536),
    size(&general::SEND_BUFFER_SIZE, "send-buffer-size", 512),
    size(&general::RECEIVE_BUFFER_SIZE, "receive-buffer-size", 512),
];

static DAEMON_ONLY: [&Spec; 5] = [
    &general::PROCESS_GROUP,
    &general::UMASK,
    &files::ERROR_OVERRIDE,
    &general::IGNORE_ACTIVITY,
    &general::RELOAD_ON_CHANGES,
];

const fn count(spec: &'static Spec, name: &'static str, default: i64) -> Number {
    Number { spec, name, default, least: 0, optional: false }
}

const fn size(spec: &'static Spec, name: &'static str, least: i64) -> Number {
    Number { spec, name, default: 0, least, optional: true }
}

impl Number {
    fn read(&self, parsed: &Parsed) -> Result<Option<(&'static str, i64)>, Failure> {
        let value = number(parsed, self.spec, self.default);
        if value != 0 && value < self.least {
            return Err(Failure::usage(format!(
                "option {}: {value} is neither 0 (for the default) nor at least {}",
                self.spec.name, self.least
            )));
        }
        Ok((value != 0 || !self.optional).then_some((self.name, value)))
    }
}

fn umask(text: &str) -> Result<String, Failure> {
    if !text.is_empty() && u32::from_str_radix(text, 8).is_ok_and(|mask| mask <= 0o777) {
        return Ok(text.to_owned());
    }
    Err(Failure::usage(format!("option --umask: '{text}' is not an octal number such as 0027")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::parse::parse;

    fn read(arguments: &[&str]) -> Result<Parsed, Failure> {
        parse(&options::server(), arguments.iter().map(|&argument| argument.to_owned()).collect())
    }

    fn daemon(arguments: &[&str]) -> Result<Daemon, Failure> {
        Daemon::new(&read(arguments)?, "localhost:8000")
    }

    #[test]
    fn every_number_has_its_option() {
        for number in &NUMBERS {
            let value = number.spec.range.1.min(70_000_000);
            let daemon = daemon(&[number.spec.name, &value.to_string()]).unwrap();
            assert_eq!(daemon.number(number.name), value, "{}", number.name);
        }
    }

    #[test]
    fn sizes_are_written_if_they_are_given() {
        let plain = daemon(&["--send-buffer-size", "0"]).unwrap();
        assert!(plain.numbers.iter().all(|number| number.0 != "send-buffer-size"), "{plain:?}");
        assert_eq!((plain.number("request-timeout"), plain.number("restart-interval")), (60, 0));
        assert!(plain.numbers.iter().any(|number| number.0 == "restart-interval"), "{plain:?}");
    }

    #[test]
    fn names_of_the_group() {
        let own = daemon(&["--process-group", "shop"]).unwrap();
        assert_eq!((own.name.as_str(), own.display_name.as_str()), ("shop", "(wsgi:shop)"));
        let plain = daemon(&[]).unwrap();
        assert_eq!(plain.name, "localhost:8000");
        assert!(plain.display_name.starts_with("(wsgi:localhost:8000:"), "{}", plain.display_name);
    }

    #[test]
    fn values_are_checked() {
        for arguments in [
            ["--queue-timeout", "-1"],
            ["--header-buffer-size", "8000"],
            ["--send-buffer-size", "1"],
            ["--memory-limit", "9999999999999"],
            ["--memory-recycle", "1M"],
            ["--restart-jitter", "101"],
            ["--umask", "8"],
            ["--umask", "1000"],
            ["--umask", ""],
            ["--process-group", ""],
            ["--process-group", "%{ENV:GROUP}"],
        ] {
            let text = daemon(&arguments).unwrap_err().to_string();
            assert!(text.contains(arguments[0]), "{text}");
        }
        assert_eq!(daemon(&["--umask", "0027"]).unwrap().umask.as_deref(), Some("0027"));
    }

    #[test]
    fn daemon_mode_options_are_told_from_common_ones() {
        let parsed =
            read(&["--queue-timeout", "1", "--maximum-requests", "2", "--umask", "0", "--threads", "3"])
                .unwrap();
        assert_eq!(without_effect(&parsed), ["--queue-timeout", "--umask"]);
    }
}
