//! Logs: where they go, their formats, and their rotation.

mod targets;

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use minijinja::{Value, context};
use nix::unistd::{AccessFlags, access, geteuid};

use crate::account::can_be_made;
use crate::container::option::CONTAINER;
use crate::failure::Failure;
use crate::general::{INCLUDE_FILE, SERVICE_LOG_FILE};
use crate::json_logs::{self, Log};
use crate::parse::Parsed;
use crate::quote::display;
use crate::quote::quote_for_shell;
use crate::spec::{Spec, section};
use crate::values::{absolute, number};

pub(crate) use targets::Targets;
use targets::{Rotator, Target};

section! {
    LOGS {
        title: "Logs",
        about: "There is an error log, and, if asked for, a log of requests (the access log) and one of what Apache says while it starts, \
                before its error log is open.",
        example: "mod_wsgi-express start-server app.wsgi --log-to-terminal --access-log --log-level \"warn wsgi:info\"",
    }

    LOG_TO_TERMINAL = Spec::flag("--log-to-terminal",
        "Writes the logs to standard error and standard output instead of files.");
    LOG_LEVEL = Spec::text("--log-level", &["LEVEL"],
        "Apache's log level, such as info or \"warn wsgi:debug\".")
        .default("warn")
        .note("`--verbose-debugging` is accepted, and without effect: `wsgi:debug` takes its place.");
    LOG_DIRECTORY = Spec::text("--log-directory", &["DIRECTORY"],
        "Directory for log files, which is created if it is missing.")
        .default("the server root");
    ERROR_LOG_NAME = Spec::text("--error-log-name", &["NAME"],
        "File name of the error log.")
        .default("error_log");
    ERROR_LOG_FORMAT = Spec::text("--error-log-format", &["FORMAT"],
        "Format of the error log, as ErrorLogFormat takes it, such as \"[%t] [%l] %M\".")
        .default("the one of Apache")
        .note("`json`: each line is an object with `time`, `module`, `level`, `pid`, `tid`, `client`, `id` and `message`; what is not known \
               is left out. Lines of the application have further fields, such as `logger`, `exception` and `traceback` (`WSGILogFormat`). A \
               program that mod_wsgi-express brings along converts the log, which Apache writes to a pipe.");
    ACCESS_LOG = Spec::flag("--access-log",
        "Logs each request.");
    ACCESS_LOG_NAME = Spec::text("--access-log-name", &["NAME"],
        "File name of the access log.")
        .default("access_log");
    ACCESS_LOG_FORMAT = Spec::text("--access-log-format", &["FORMAT"],
        "Format of the access log: common, combined, json, or a format as LogFormat takes it, such as \"%h %>s %D %U\".")
        .default("common")
        .note("`json`: each line is an object with `time`, `client`, `user`, `method`, `host`, `path`, `query`, `protocol`, `status`, `bytes`, \
               `microseconds`, `referer`, `user_agent` and `id`, by which lines of the error log are found; what is not known is left out. \
               A format `json` that an `--include-file` defines wins over it. As with every program that Apache writes a log to, lines of more \
               than 4096 bytes may be mixed where more than a megabyte of them waits for the program.");
    STARTUP_LOG = Spec::flag("--startup-log",
        "Logs what Apache says while it starts to a file of its own.");
    STARTUP_LOG_NAME = Spec::text("--startup-log-name", &["NAME"],
        "File name of that log.")
        .default("startup_log");
    ROTATE_LOGS = Spec::flag("--rotate-logs",
        "Begins a new file when an error log or access log has grown to --max-log-size.")
        .note("The time (UTC) when a file was begun is added to its name: `error_log.2024-02-29-23_59_59`.");
    MAX_LOG_SIZE = Spec::integer("--max-log-size",
        "Megabytes that a file may have with --rotate-logs.")
        .within(1, 2047)
        .default("5");
    MAX_LOG_FILES = Spec::integer("--max-log-files",
        "Number of files that --rotate-logs keeps of each log.")
        .within(1, 10_000)
        .default("no limit")
        .note("The files are then called `error_log`, `error_log.1` and so on, and the oldest one is overwritten.");
    ROTATELOGS_EXECUTABLE = Spec::text("--rotatelogs-executable", &["FILE"],
        "Apache's program rotatelogs.")
        .default("the one on PATH");
    VERBOSE_DEBUGGING = Spec::flag("--verbose-debugging",
        "Accepted, and without effect: use --log-level \"warn wsgi:debug\".").hidden();
}

/// The logs of a server.
#[derive(Debug)]
pub(crate) struct Logs {
    directory: PathBuf,
    /// The directory is not that of the server root, but was named.
    named: bool,
    to_terminal: bool,
    pub(crate) level: String,
    error: PathBuf,
    error_format: Option<String>,
    /// The logs that are converted to JSON.
    json: Vec<Log>,
    /// None unless there is one.
    access: Option<PathBuf>,
    access_format: String,
    /// None unless there is one.
    startup: Option<PathBuf>,
    rotation: Option<Rotation>,
}

/// The size of log files, and their number.
#[derive(Debug)]
struct Rotation {
    /// None for the one on the path.
    program: Option<PathBuf>,
    megabytes: i64,
    /// 0 for no limit.
    files: i64,
}

impl Logs {
    /// # Errors
    /// A value is not valid.
    pub(crate) fn new(parsed: &Parsed, server_root: &Path) -> Result<Self, Failure> {
        let named = parsed.text(&LOG_DIRECTORY).map(absolute).transpose()?;
        let to_terminal = parsed.has(&LOG_TO_TERMINAL) && named.is_none();
        let directory = named.clone().unwrap_or_else(|| server_root.to_owned());
        let file = |spec| Ok::<_, Failure>(directory.join(text(parsed, spec)?));
        let (error, access, startup) =
            (file(&ERROR_LOG_NAME)?, file(&ACCESS_LOG_NAME)?, file(&STARTUP_LOG_NAME)?);
        let rotation = Rotation {
            program: parsed.text(&ROTATELOGS_EXECUTABLE).map(PathBuf::from),
            // What is more overflows in rotatelogs.
            megabytes: number(parsed, &MAX_LOG_SIZE, 5),
            files: number(parsed, &MAX_LOG_FILES, 0),
        };
        let (mut access_format, mut error_format) = (
            access_format(parsed)?.to_owned(),
            parsed
                .has(&ERROR_LOG_FORMAT)
                .then(|| text(parsed, &ERROR_LOG_FORMAT).map(str::to_owned))
                .transpose()?,
        );
        let mut json = Vec::new();
        if access_format == json_logs::NAME && !includes_format(parsed, json_logs::NAME) {
            access_format = Log::Access.format();
            json.push(Log::Access);
        }
        if let Some(format) = error_format.as_mut().filter(|format| *format == json_logs::NAME) {
            *format = Log::Error.format();
            json.push(Log::Error);
        }
        Ok(Self {
            directory,
            named: named.is_some(),
            to_terminal,
            level: log_level(text(parsed, &LOG_LEVEL)?)?,
            error,
            error_format,
            json,
            access: parsed.has(&ACCESS_LOG).then_some(access),
            access_format,
            startup: parsed.has(&STARTUP_LOG).then_some(startup),
            rotation: (parsed.has(&ROTATE_LOGS) && !to_terminal).then_some(rotation),
        })
    }

    /// Makes the directory, if it is missing; if that fails, [`Self::problems`] reports it.
    pub(crate) fn make_directory(&self) {
        if self.named {
            // Whoever may write there can have root, who writes the logs, write elsewhere.
            let _ = fs::DirBuilder::new().mode(0o755).create(&self.directory);
        }
    }

    /// Returns a text for each log that cannot be written, `further` ones included.
    pub(crate) fn problems<'f>(&self, further: impl Iterator<Item = &'f str>) -> Vec<String> {
        let logs = [
            (!self.to_terminal, Some(&self.error), &ERROR_LOG_NAME),
            (!self.to_terminal, self.access.as_ref(), &ACCESS_LOG_NAME),
            (!self.to_terminal, self.startup.as_ref(), &STARTUP_LOG_NAME),
        ];
        let mut problems = Vec::new();
        if self.named && can_be_made(&self.directory) {
            return Vec::new();
        }
        if self.named && !self.directory.is_dir() {
            return vec![missing(&self.directory, &LOG_DIRECTORY)];
        }
        for (written, file, spec) in logs {
            let Some(file) = file.filter(|_| written) else { continue };
            problems.extend(self.obstacle(file, spec));
        }
        for name in further {
            problems.extend(self.obstacle(&self.directory.join(name), &SERVICE_LOG_FILE));
        }
        // Several logs may be in one place.
        problems.dedup();
        problems
    }

    /// Returns a warning if somebody other than root may write to the directory where root writes logs.
    pub(crate) fn exposure(&self) -> Option<String> {
        let metadata = self.directory.metadata().ok().filter(|_| self.named && !self.to_terminal)?;
        let is_open = metadata.uid() != 0 || metadata.mode() & 0o022 != 0;
        (geteuid().is_root() && is_open).then(|| {
            format!(
                "others than root may write to {}, where root writes the logs: by a link there, they can have root write \
                 anywhere; make it root's own (mode 755), or choose another with {}",
                self.directory.display(),
                LOG_DIRECTORY.name
            )
        })
    }

    /// Returns what prevents this user, who starts Apache, from writing a log.
    fn obstacle(&self, file: &Path, spec: &'static Spec) -> Option<String> {
        let parent = file.parent().unwrap_or(file);
        // The server root is made later.
        if parent == self.directory && !self.named {
            return None;
        }
        let spec = if parent == self.directory { &LOG_DIRECTORY } else { spec };
        if !parent.is_dir() {
            return Some(missing(parent, spec));
        }
        if file.is_dir() {
            return Some(format!(
                "the log {} is a directory; name a file with {}",
                file.display(),
                spec.name
            ));
        }
        let counted = self.rotation.as_ref().is_some_and(|rotation| rotation.files > 0);
        if counted && file.file_name().is_some_and(|name| name.to_string_lossy().contains('%')) {
            return Some(format!(
                "the log {} has a percent sign in its name, which rotatelogs takes for a part of a time: rename it, or \
                 leave {} out",
                file.display(),
                MAX_LOG_FILES.name
            ));
        }
        // With rotation, other files are written beside this one.
        let written = if file.exists() && self.rotation.is_none() { file } else { parent };
        let error = access(written, AccessFlags::W_OK).err()?;
        Some(format!("cannot write to {}: {}; check {}", written.display(), error.desc(), spec.name))
    }

    /// Returns where the logs go. `program` is this one, which converts them.
    ///
    /// # Errors
    /// There is no program to rotate them.
    pub(crate) fn targets(&self, program: &Path) -> Result<Targets, Failure> {
        let converter = |log: Log| {
            let program = quote_for_shell(&display(program));
            self.json.contains(&log).then(|| format!("{program} {} {}", json_logs::COMMAND, log.name()))
        };
        let (error_converter, access_converter) = (converter(Log::Error), converter(Log::Access));
        if self.to_terminal {
            let access = || Target::device("/dev/stdout", "", access_converter.as_deref());
            return Ok(Targets {
                error: Target::device("/dev/stderr", " >&2", error_converter.as_deref()),
                access: self.access.is_some().then(access),
                startup: None,
                rotator: None,
                error_converter,
            });
        }
        let rotator = self.rotation.as_ref().map(Rotator::find).transpose()?;
        let target = |file: &PathBuf, converter: &Option<String>| {
            Target::file(file, rotator.as_ref(), converter.as_deref())
        };
        Ok(Targets {
            error: target(&self.error, &error_converter),
            access: self.access.as_ref().map(|file| target(file, &access_converter)),
            startup: self.startup.clone(),
            rotator,
            error_converter,
        })
    }

    /// Returns the values for the template.
    pub(crate) fn context(&self, targets: &Targets) -> Value {
        context! {
            level => self.level.as_str(),
            error => targets.error.argument.as_str(),
            error_format => self.error_format.as_deref(),
            json => self.json.contains(&Log::Error),
            access => targets.access.as_ref().map(|target| target.argument.as_str()),
            access_format => self.access_format.as_str(),
        }
    }

    /// Returns the argument of `ErrorLog` for a file with a log of its own.
    pub(crate) fn further(&self, name: &str, targets: &Targets) -> String {
        let converter = targets.error_converter.as_deref();
        Target::file(&self.directory.join(name), targets.rotator.as_ref(), converter).argument
    }

    /// Returns the file for what Apache says while it starts; `None` for standard error.
    pub(crate) fn startup<'t>(&self, targets: &'t Targets) -> Option<&'t Path> {
        targets.startup.as_deref()
    }

    /// Returns the lines of the banner.
    pub(crate) fn banner(&self, targets: &Targets) -> Vec<(&'static str, String)> {
        let mut lines =
            vec![("Error Log File", format!("{} ({})", targets.error.file.display(), self.level))];
        if let Some(access) = &targets.access {
            lines.push(("Access Log File", access.file.display().to_string()));
        }
        if self.startup.is_some() {
            let file = targets.startup.as_deref().unwrap_or(Path::new("/dev/stderr"));
            lines.push(("Startup Log File", file.display().to_string()));
        }
        lines
    }

    /// The modules of Apache's that this takes.
    pub(crate) fn modules(&self) -> Option<&'static str> {
        self.access.is_some().then_some("log_config")
    }

    /// The names of an included file's `<IfDefine>` that apply.
    pub(crate) fn defines(&self) -> impl Iterator<Item = &'static str> {
        [
            ("MOD_WSGI_ERROR_LOG_FORMAT", self.error_format.is_some()),
            ("MOD_WSGI_ACCESS_LOG", self.access.is_some()),
            ("MOD_WSGI_ROTATE_LOGS", self.rotation.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, applies)| applies.then_some(name))
    }
}

/// Returns a text for each option that was given but has no effect.
pub(crate) fn without_effect(parsed: &Parsed) -> Vec<String> {
    let mut lines: Vec<String> = [
        (&ACCESS_LOG_FORMAT, &ACCESS_LOG),
        (&ACCESS_LOG_NAME, &ACCESS_LOG),
        (&STARTUP_LOG_NAME, &STARTUP_LOG),
        (&MAX_LOG_SIZE, &ROTATE_LOGS),
        (&MAX_LOG_FILES, &ROTATE_LOGS),
        (&ROTATELOGS_EXECUTABLE, &ROTATE_LOGS),
    ]
    .into_iter()
    .filter(|(spec, needed)| parsed.has(spec) && !parsed.has(needed))
    .map(|(spec, needed)| format!("{} is without effect: it needs {}", spec.name, needed.name))
    .collect();
    if parsed.has(&LOG_TO_TERMINAL) {
        if parsed.has(&LOG_DIRECTORY) {
            lines.push("--log-to-terminal is without effect: --log-directory wins over it".to_owned());
        } else if parsed.has(&ROTATE_LOGS) {
            lines.push("--rotate-logs is without effect: --log-to-terminal writes no files".to_owned());
        }
    } else if parsed.has(&CONTAINER) && parsed.has(&ROTATE_LOGS) && !parsed.has(&LOG_DIRECTORY) {
        lines.push(
            "--rotate-logs is without effect: --container writes no files without --log-directory".to_owned(),
        );
    }
    if parsed.has(&VERBOSE_DEBUGGING) {
        lines.push("--verbose-debugging is without effect: use --log-level \"warn wsgi:debug\"".to_owned());
    }
    lines
}

/// The text that an option was given, else its default.
fn text<'p>(parsed: &'p Parsed, spec: &'static Spec) -> Result<&'p str, Failure> {
    match parsed.text(spec) {
        Some(text) if text.trim().is_empty() => {
            Err(Failure::usage(format!("option {}: its argument is empty", spec.name)))
        }
        text => Ok(text.unwrap_or(spec.default)),
    }
}

/// The name of a format, or the format itself. One without an item is most likely a name that is
/// misspelt, unless a file that is included defines it.
fn access_format(parsed: &Parsed) -> Result<&str, Failure> {
    const NAMES: [&str; 3] = ["common", "combined", json_logs::NAME];
    let format = text(parsed, &ACCESS_LOG_FORMAT)?;
    if NAMES.contains(&format) || format.contains('%') || parsed.has(&INCLUDE_FILE) {
        return Ok(format);
    }
    Err(Failure::usage(format!(
        "option {}: '{format}' is neither common, combined, json, nor a format, such as '%h %t \"%r\" %>s'",
        ACCESS_LOG_FORMAT.name
    )))
}

/// Returns whether a file that is included defines a format of this name.
fn includes_format(parsed: &Parsed, name: &str) -> bool {
    let defines = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        words.next().is_some_and(|word| word.eq_ignore_ascii_case("LogFormat"))
            && words.next_back().is_some_and(|word| word.trim_matches('"') == name)
    };
    let files = parsed.all(&INCLUDE_FILE).iter().flatten();
    files.filter_map(|file| fs::read_to_string(file).ok()).any(|text| text.lines().any(defines))
}

fn missing(directory: &Path, spec: &Spec) -> String {
    format!("{} is not a directory; create it or check {}", directory.display(), spec.name)
}

fn log_level(text: &str) -> Result<String, Failure> {
    const LEVELS: [&str; 9] =
        ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug", "trace1 to trace8"];
    let known = |level: &str| {
        let level = level.to_ascii_lowercase();
        LEVELS[..8].contains(&level.as_str())
            || level.strip_prefix("trace").is_some_and(|digit| matches!(digit.as_bytes(), [b'1'..=b'8']))
    };
    let is_name =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c));
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let valid = !words.is_empty()
        && words.iter().all(|word| match word.split_once(':') {
            Some((module, level)) => is_name(module) && known(level),
            None => known(word),
        });
    if valid {
        return Ok(words.join(" "));
    }
    Err(Failure::usage(format!("option --log-level: '{text}' is not one of {}", LEVELS.join(", "))))
}

#[cfg(test)]
mod tests {
    use std::iter::empty;

    use super::targets::piped;
    use super::*;
    use crate::options;
    use crate::parse::parse;

    fn logs(arguments: &[&str]) -> Result<Logs, Failure> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Logs::new(&parse(&options::server(), arguments)?, Path::new("/r"))
    }

    #[test]
    fn a_log_directory_switches_the_terminal_off() {
        assert!(logs(&["--log-to-terminal"]).unwrap().to_terminal);
        let files = logs(&["--log-to-terminal", "--log-directory", "/tmp"]).unwrap();
        assert_eq!(files.targets(Path::new("/p")).unwrap().error.argument, "/tmp/error_log");
    }

    #[test]
    fn a_directory_where_others_can_lay_links_is_told_of() {
        let directory = tempfile::tempdir().unwrap();
        let with = || logs(&["--log-directory", &directory.path().to_string_lossy()]).unwrap().exposure();
        assert_eq!(with(), None);
        fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert_eq!(with().is_some_and(|text| text.contains("--log-directory")), geteuid().is_root());
    }

    #[test]
    fn the_program_that_rotates_is_named_in_a_shell_s_words() {
        let rotator = Rotator { program: "/opt/it's".into(), megabytes: 7, files: 0 };
        let timed = "|$\"exec '/opt/it'\\\\''s' '/100%%/a b.%Y-%m-%d-%H_%M_%S' 7M\"";
        assert_eq!(piped(&rotator.command(Path::new("/100%/a b"))), timed);
        let counted = Rotator { files: 3, ..rotator }.command(Path::new("/100%/a"));
        let counted = piped(&counted);
        assert_eq!(counted, "|$\"cd '/100%' && exec '/opt/it'\\\\''s' -n 3 './a' 7M\"");
        let text = logs(&["--rotate-logs", "--rotatelogs-executable", "/no/rotatelogs"])
            .unwrap()
            .targets(Path::new("/p"));
        let text = text.unwrap_err().to_string();
        assert!(text.contains("/no/rotatelogs") && text.contains("--rotatelogs-executable"), "{text}");
    }

    #[test]
    fn values_are_checked() {
        for arguments in [
            ["--log-level", "loud"],
            ["--log-level", ""],
            ["--log-level", "${A}:info"],
            ["--log-level", "trace9"],
            ["--error-log-name", ""],
            ["--error-log-format", " "],
            ["--access-log-format", ""],
            ["--access-log-format", "combine"],
            ["--max-log-size", "0"],
            ["--max-log-size", "4096"],
            ["--max-log-files", "-1"],
        ] {
            let failure = logs(&arguments).unwrap_err();
            assert!(matches!(&failure, Failure::Usage(text) if text.contains(arguments[0])), "{failure}");
        }
        assert_eq!(logs(&["--log-level", "warn\nwsgi:trace8"]).unwrap().level, "warn wsgi:trace8");
        let problems = logs(&["--log-directory", "/no/logs"]).unwrap().problems(empty());
        assert!(problems.len() == 1 && problems[0].contains("--log-directory"), "{problems:?}");
        let problems = logs(&["--error-log-name", "/no/logs/x"]).unwrap().problems(empty());
        assert!(problems.len() == 1 && problems[0].contains("--error-log-name"), "{problems:?}");
        assert_eq!(logs(&[]).unwrap().problems(empty()), [""; 0]);
        let own = logs(&["--access-log-format", "own", "--include-file", "/f"]).unwrap();
        assert_eq!(own.access_format, "own");
    }

    #[test]
    fn logs_of_services_are_checked_as_others_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_string_lossy().into_owned();
        let options = ["--log-directory", &path, "--rotate-logs", "--max-log-files", "2"];
        let logs = logs(&options).unwrap();
        assert_eq!(logs.problems(["mail.log"].into_iter()), [""; 0]);
        for (name, said) in
            [("mail%d", "--max-log-files"), ("/no/logs/mail", "--service-log-file"), (".", "is a directory")]
        {
            let problems = logs.problems([name].into_iter());
            assert!(problems.len() == 1 && problems[0].contains(said), "{problems:?}");
        }
    }

    #[test]
    fn logs_that_cannot_be_written_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_string_lossy().into_owned();
        let problems = |options: &[&str]| logs(options).unwrap().problems(empty());
        let named = ["--log-directory", &path, "--access-log"];
        assert_eq!(problems(&named), [""; 0]);
        fs::create_dir(directory.path().join("error_log")).unwrap();
        assert!(problems(&named)[0].contains("is a directory; name a file with"), "{:?}", problems(&named));
        // To root, nothing is closed, but a file system that takes no files at all.
        for options in [&["--log-directory", "/proc"][..], &["--log-directory", "/proc", "--rotate-logs"]] {
            let problems = problems(options);
            let is_root = nix::unistd::geteuid().is_root();
            assert!(is_root || problems[0].contains("cannot write to /proc"), "{problems:?}");
        }
    }
}
