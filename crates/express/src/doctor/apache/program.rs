//! Apache's own answers about a configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::unistd::{Uid, geteuid};
use wsgi_core::diagnostic::Position;
use wsgi_core::words::display;

use crate::apache::Apache;
use crate::bounded::output;

/// The answer of `httpd -V`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Build {
    /// Such as `2.4.62`.
    pub(crate) version: Option<String>,
    /// The number that modules have to be built for, and the minor one.
    pub(crate) magic: Option<(u32, u32)>,
    pub(crate) root: Option<PathBuf>,
    /// The configuration that it reads by default.
    pub(crate) configuration: Option<PathBuf>,
    pub(crate) pid_file: Option<PathBuf>,
}

/// The way to run Apache for a configuration.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    /// The program.
    pub(crate) program: PathBuf,
    pub(crate) build: Build,
    /// Names of modules that are part of it.
    pub(crate) built_in: Vec<String>,
    /// Its modules' directory.
    pub(crate) modules: PathBuf,
    /// The environment that it is run with.
    pub(crate) environment: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The control script of a server that mod_wsgi-express has set up.
    control: Option<PathBuf>,
    /// Why Apache cannot be asked about this configuration.
    pub(crate) reluctance: Option<String>,
}

/// The answer of Apache about a configuration.
#[derive(Debug, Default)]
pub(crate) struct Word {
    /// The reason why it refuses the configuration.
    pub(crate) complaint: Option<Complaint>,
    /// Its output, the dump of the configuration among it.
    pub(crate) output: Vec<u8>,
    /// Its warnings.
    pub(crate) warnings: Vec<String>,
}

/// A reason why Apache refuses a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) text: String,
    pub(crate) position: Option<Position>,
}

impl Launcher {
    /// Finds out how Apache is run for `file`.
    pub(crate) fn new(apache: &Apache, file: &Path) -> Self {
        let mut build = Command::new(&apache.program);
        let build =
            output(build.arg("-V")).map(|said| parse_build(&display(&said.stdout))).unwrap_or_default();
        let directory = file.parent().unwrap_or(Path::new("/"));
        let control = Some(directory.join("apachectl")).filter(|script| is_control_script(script));
        let scripts = [Some(file.to_owned()), control.clone(), Some(directory.join("envvars"))];
        let reluctance = scripts.into_iter().flatten().find_map(|path| strangers(&path));
        let mut environment: BTreeMap<Vec<u8>, Vec<u8>> =
            std::env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec())).collect();
        if reluctance.is_none()
            && let Some(own) = environment_of(directory, control.as_deref())
        {
            environment = own;
        }
        Self {
            program: apache.program.clone(),
            build,
            built_in: apache.built_in.clone(),
            modules: apache.modules.clone(),
            environment,
            control,
            reluctance,
        }
    }

    /// Returns the names that the command line of the server defines.
    pub(crate) fn defines(&self) -> Vec<String> {
        let script = self.control.as_ref().and_then(|script| os::file::read_small(script).ok());
        let script = script.map(|script| display(&script).into_owned());
        let words = script.iter().flat_map(|script| script.split_whitespace()).map(str::to_owned);
        let words: Vec<_> = words.chain(self.arguments()).collect();
        let defined = words.windows(2).filter(|pair| pair[0] == "-D").map(|pair| pair[1].clone());
        let mut names: Vec<_> = defined.collect();
        names.sort();
        names.dedup();
        names
    }

    /// Returns the arguments that Debian's `apache2ctl` adds to those of the command line.
    fn arguments(&self) -> Vec<String> {
        let value = self.environment.get(&b"APACHE_ARGUMENTS"[..]).filter(|_| self.control.is_none());
        value.map(|value| display(value).split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
    }

    /// Asks Apache about a configuration; `None` if it cannot be asked.
    pub(crate) fn ask(&self, file: &Path) -> Option<Word> {
        if self.reluctance.is_some() {
            return None;
        }
        let info = self.modules.join("mod_info.so");
        let is_built_in = self.built_in.iter().any(|name| name == "info");
        let mut arguments = vec![OsString::from("-t")];
        if info.is_file() && !is_built_in {
            // Last, so that it changes nothing that is read before.
            arguments.extend(["-c".into(), format!("LoadModule info_module \"{}\"", info.display()).into()]);
        }
        arguments.extend(["-D", "DUMP_CONFIG", "-D", "DUMP_RUN_CFG"].map(OsString::from));
        let mut command = self.command(file);
        let Output { status, stdout, stderr } = output(command.args(&arguments)).ok()?;
        let errors = display(&stderr).into_owned();
        let complaint = (!status.success()).then(|| complaint(&errors));
        // What this module warns of, overlapping aliases and a second module have checks of their own;
        // mod_info is loaded here, too.
        let is_new = |line: &&str| {
            line.contains(":warn] ")
                && !line.contains("[wsgi:")
                && !line.contains("AH00671")
                && !line.contains("AH01574: module wsgi_module")
                && !line.contains("AH01574: module info_module")
        };
        let warnings =
            errors.lines().filter(is_new).filter_map(|line| Some(line.rsplit_once("] ")?.1.to_owned()));
        let mut warnings: Vec<String> = warnings.collect();
        // A file that is included twice gives each of them twice.
        let mut seen = BTreeSet::new();
        warnings.retain(|warning| seen.insert(warning.clone()));
        Some(Word { complaint, output: stdout, warnings })
    }

    fn command(&self, file: &Path) -> Command {
        let mut command = match &self.control {
            // Some file systems run nothing.
            Some(control) => {
                let mut command = Command::new("/bin/sh");
                command.arg(control);
                command
            }
            None => {
                let mut command = Command::new(&self.program);
                command.args(self.arguments()).arg("-f").arg(file);
                command
            }
        };
        let environment = self.environment.iter();
        command
            .env_clear()
            .envs(environment.map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value))));
        command
    }
}

impl Word {
    /// Returns a value of `DUMP_RUN_CFG`, such as that of `PidFile`.
    pub(crate) fn run_time(&self, name: &str) -> Option<String> {
        let text = display(&self.output);
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?;
        Some(line.trim_matches('"').to_owned())
    }
}

fn parse_build(text: &str) -> Build {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix("-D ")?.strip_prefix(name))?;
        line.strip_prefix("=\"")?.strip_suffix('"').map(PathBuf::from)
    };
    let after = |label: &str| text.lines().find_map(|line| line.strip_prefix(label)).map(str::trim);
    let version = after("Server version: Apache/").and_then(|rest| rest.split_whitespace().next());
    let magic = after("Server's Module Magic Number:").and_then(|numbers| {
        let (major, minor) = numbers.split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    let root = value("HTTPD_ROOT");
    let within = |path: PathBuf| root.as_ref().map_or_else(|| path.clone(), |root| root.join(&path));
    Build {
        version: version.map(str::to_owned),
        magic,
        configuration: value("SERVER_CONFIG_FILE").map(within),
        pid_file: value("DEFAULT_PIDLOG").map(within),
        root: root.clone(),
    }
}

/// Returns the reason that Apache gives, and its place.
fn complaint(errors: &str) -> Complaint {
    let lines: Vec<_> =
        errors.lines().filter(|line| !line.trim().is_empty() && !line.contains(":warn]")).collect();
    let start = lines.iter().position(|line| line.contains("yntax error on line ")).unwrap_or(0);
    let text = lines[start.min(lines.len())..].join(" ");
    // A line that includes a file comes before the one in it.
    let position = text.rsplit_once("yntax error on line ").and_then(|(_, rest)| {
        let (line, rest) = rest.split_once(" of ")?;
        let file = rest.split_once(": ").map_or(rest, |(file, _)| file).trim_end_matches(':');
        // Lines of a macro are counted from its own.
        let (file, offset) = super::dump::file_of(file.as_bytes());
        Some(Position { file, line: offset + line.parse::<u32>().ok()? })
    });
    let text = if text.is_empty() { "it says nothing about the reason".to_owned() } else { text };
    Complaint { text, position }
}

fn is_control_script(script: &Path) -> bool {
    os::file::read_small(script).is_ok_and(|text| {
        let text = String::from_utf8_lossy(&text[..text.len().min(4096)]).into_owned();
        text.contains("# Generated by mod_wsgi-express")
    })
}

/// Returns why root should run nothing that a file names: it can be changed by others.
fn strangers(path: &Path) -> Option<String> {
    if !geteuid().is_root() {
        return None;
    }
    let metadata = path.metadata().ok()?;
    let is_open = metadata.mode() & 0o002 != 0;
    if metadata.uid() == 0 && !is_open {
        return None;
    }
    let owner = || {
        let user = nix::unistd::User::from_uid(Uid::from_raw(metadata.uid())).ok().flatten();
        user.map_or_else(|| format!("#{}", metadata.uid()), |user| user.name)
    };
    let reason =
        if is_open { "everybody may write to it".to_owned() } else { format!("it belongs to {}", owner()) };
    Some(format!("{}: {reason}, and Apache would do as root what it says", path.display()))
}

/// Returns the environment that the scripts beside a configuration give Apache: Debian's `envvars`, or
/// the control script of mod_wsgi-express.
fn environment_of(directory: &Path, control: Option<&Path>) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut command = Command::new("/bin/sh");
    match control {
        Some(control) => command.arg(control).arg("environment"),
        None => {
            let file = directory.join("envvars");
            if !file.is_file() {
                return None;
            }
            command
                .env("APACHE_CONFDIR", directory)
                .arg("-c")
                .arg(". \"$0\" >/dev/null && exec env -0")
                .arg(file)
        }
    };
    let Output { status, stdout, .. } = output(&mut command).ok()?;
    let variable = |text: &[u8]| {
        let equals = text.iter().position(|&byte| byte == b'=')?;
        Some((text[..equals].to_owned(), text[equals + 1..].to_owned()))
    };
    status.success().then(|| stdout.split(|&byte| byte == 0).filter_map(variable).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_have_the_innermost_place() {
        for (errors, expected) in [
            ("AH00526: Syntax error on line 4 of /e.conf:\nInvalid command 'Foo'\n", ("/e.conf", 4)),
            (
                "[x] [core:warn] AH00111: y\napache2: Syntax error on line 225 of /a.conf: Syntax error on line 3 of /b.conf: Cannot load m.so\n",
                ("/b.conf", 3),
            ),
            (
                "AH00526: Syntax error on line 1 of macro 'm' (defined on line 14 of \"/a.conf\") used on line 21 of \"/b.conf\":\nwhat\n",
                ("/a.conf", 15),
            ),
        ] {
            let complaint = complaint(errors);
            let position = complaint.position.unwrap();
            assert_eq!((&*display(&position.file), position.line), expected, "{errors}");
            assert!(
                !complaint.text.contains('\n') && !complaint.text.contains("AH00111"),
                "{}",
                complaint.text
            );
        }
        assert_eq!(complaint("AH00534: No MPM loaded.\n").position, None);
    }

    #[test]
    fn the_build_is_read() {
        let text = "Server version: Apache/2.4.62 (Debian)\nServer's Module Magic Number: 20120211:142\n -D HTTPD_ROOT=\"/etc/apache2\"\n \
                    -D SERVER_CONFIG_FILE=\"apache2.conf\"\n -D DEFAULT_PIDLOG=\"/run/apache2.pid\"\n";
        let build = parse_build(text);
        assert_eq!(build.version.as_deref(), Some("2.4.62"));
        assert_eq!(build.magic, Some((20_120_211, 142)));
        assert_eq!(build.pid_file.as_deref(), Some(Path::new("/run/apache2.pid")));
        assert_eq!(parse_build(""), Build::default());
    }
}
