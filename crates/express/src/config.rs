//! The generated files: Apache's configuration and the control script.

use std::path::Path;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, context};

use crate::account::Account;
use crate::apache::{Apache, Mpm};
use crate::failure::Failure;
use crate::install::Installation;
use crate::python::Python;
use crate::settings::{Alias, Settings};

/// Begins a comment in the configuration that names the options which the following lines come from.
pub(crate) const ORIGIN: &str = "#: ";

/// Loaded if they are not built into Apache.
const MODULES: [&str; 13] = [
    "unixd",
    "access_compat",
    "authn_core",
    "authz_core",
    "authz_host",
    "mime",
    "rewrite",
    "alias",
    "dir",
    "env",
    "headers",
    "filter",
    "reqtimeout",
];

/// All that the files are made from.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) account: &'a Account,
    pub(crate) apache: &'a Apache,
    pub(crate) mpm: Mpm,
    pub(crate) python: &'a Python,
    pub(crate) installation: &'a Installation,
    /// The `ErrorLog` and, if there is one, the access log.
    pub(crate) logs: (String, Option<String>),
    /// The command line, to be found again in the control script.
    pub(crate) command_line: &'a str,
}

impl Inputs<'_> {
    /// The text of `httpd.conf`.
    ///
    /// # Errors
    /// A value can not be written into it, or a module is missing.
    pub(crate) fn configuration(&self) -> Result<String, Failure> {
        let settings = self.settings;
        let root = &settings.server_root;
        let documents = settings.document_root();
        let script = settings.script();
        let mount = &settings.mount_point;
        let directory = script.parent().unwrap_or(Path::new("/"));
        let name = script.file_name().unwrap_or_default();
        let below_documents = format!("{}%{{REQUEST_URI}}", escape_substitution(&display(&documents)));
        let existing = [
            ("^/", "-f", ""),
            // mod_dir adds the slash.
            ("[^/]$", "-d", ""),
            ("/$", "-f", "index.html"),
        ];
        let existing: Vec<Value> = existing
            .iter()
            .map(|&(pattern, kind, tail)| context! { pattern, kind, test => format!("{below_documents}{tail}") })
            .collect();
        let python_path: Vec<String> = std::iter::once(&settings.working_directory)
            .chain(&settings.python_path)
            .map(|path| display(path))
            .collect();
        if let Some(path) = python_path.iter().find(|path| path.contains(':')) {
            return Err(Failure::usage(format!(
                "'{path}' contains a colon, which separates the directories of Python's path; \
                 check --python-path and --working-directory"
            )));
        }
        render(
            "httpd.conf",
            include_str!("../templates/httpd.conf"),
            context! {
                server_root => display(root),
                pid_file => display(&root.join("httpd.pid")),
                modules => self.modules()?,
                server_name => settings.name(),
                listen => settings.listen(),
                sizing => sizing(self.mpm, settings.processes, settings.threads),
                mime_types => mime_types(),
                log_level => settings.log_level.as_str(),
                error_log => self.logs.0.as_str(),
                access_log => self.logs.1.as_deref(),
                wsgi_module => display(&self.installation.module()),
                python_home => display(&self.python.prefix),
                python_path => python_path.join(":"),
                callable_object => settings.callable_object.as_str(),
                application_group => settings.application_group.as_str(),
                reloading => settings.reloading,
                document_root => display(&documents),
                aliases => settings.aliases.iter().map(alias).collect::<Vec<_>>(),
                existing => existing,
                rewrite_target => below_documents,
                mount_point => mount,
                mount_redirect => (mount != "/").then(|| format!("^{}$", escape_pattern(mount))),
                mount_target => format!("{}/", escape_substitution(mount)),
                script => display(&script),
                script_directory => display(directory),
                script_name => name.to_string_lossy(),
                include_files => settings.include_files.iter().map(|path| display(path)).collect::<Vec<_>>(),
            },
        )
    }

    /// The text of `apachectl`.
    ///
    /// # Errors
    /// A value can not be written into it.
    pub(crate) fn control_script(&self) -> Result<String, Failure> {
        let settings = self.settings;
        let root = &settings.server_root;
        render(
            "apachectl",
            include_str!("../templates/apachectl"),
            context! {
                command_line => self.command_line.replace(char::is_control, " "),
                modules => display(&self.apache.modules),
                server_root => display(root),
                server_name => settings.name(),
                port => settings.port,
                user => self.account.user.as_str(),
                group => self.account.group.as_str(),
                working_directory => display(&settings.working_directory),
                envvars => display(&root.join("envvars")),
                program => display(&self.apache.program),
                configuration => display(&root.join("httpd.conf")),
                defines => self.defines(),
            },
        )
    }

    fn modules(&self) -> Result<Vec<Value>, Failure> {
        let mut modules = Vec::new();
        if !self.apache.has_built_in(self.mpm.name()) {
            let name = format!("mpm_{}", self.mpm.name());
            if let Some(file) = self.apache.module(&name)? {
                modules.push(context! { name, file => display(&file) });
            }
        }
        let log_config = self.settings.access_log.then_some("log_config");
        for name in MODULES.into_iter().chain(log_config) {
            if let Some(file) = self.apache.module(name)? {
                modules.push(context! { name, file => display(&file) });
            }
        }
        Ok(modules)
    }

    /// The names that an included file may ask for with `<IfDefine>`.
    fn defines(&self) -> Vec<String> {
        let settings = self.settings;
        let mpm = |verb: &str, mpm: Mpm| format!("MOD_WSGI_MPM_{verb}_{}_MODULE", mpm.name().to_uppercase());
        let mut defines =
            vec!["EMBEDDED_MODE".to_owned(), "MOD_WSGI_WITH_PYTHON_PATH".to_owned(), mpm("ENABLE", self.mpm)];
        defines.extend(
            Mpm::ALL
                .into_iter()
                .filter(|&each| self.apache.mpm(&[each]).is_ok())
                .map(|each| mpm("EXISTS", each)),
        );
        for (name, applies) in [
            ("MOD_WSGI_ACCESS_LOG", settings.access_log),
            ("MOD_WSGI_KEEP_ALIVE", true),
            ("MOD_WSGI_MULTIPROCESS", settings.multiprocess),
            ("MOD_WSGI_WITH_LISTENER_HOST", settings.host.is_some()),
            ("MOD_WSGI_DISABLE_RELOADING", !settings.reloading),
        ] {
            if applies {
                defines.push(name.to_owned());
            }
        }
        defines
    }
}

/// A word of an Apache configuration that reads back as `value`.
///
/// # Errors
/// No notation does, and why.
pub(crate) fn quote(value: &str) -> Result<String, String> {
    if value.chars().any(char::is_control) {
        return Err("contains a control character, which an Apache configuration can not hold".into());
    }
    if value.contains("${") {
        return Err("contains ${, which Apache would take for a variable".into());
    }
    Ok(format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\"")))
}

/// As [`quote`], for the sections whose argument is a wildcard pattern.
fn quote_directory(value: &str) -> Result<String, String> {
    if value.contains(['*', '?', '[', ']']) {
        return Err("contains one of * ? [ ], which Apache takes for wildcards".into());
    }
    quote(value)
}

/// As [`quote`], for mod_rewrite, which splits its lines itself and leaves backslashes alone.
fn quote_rewrite(value: &str) -> Result<String, String> {
    quote(value)?;
    match ['"', '\''].into_iter().find(|&mark| !value.contains(mark)) {
        Some(mark) => Ok(format!("{mark}{value}{mark}")),
        None => Err("contains both kinds of quotes, which a rewrite rule can not hold".into()),
    }
}

fn quote_for_shell(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

fn render(name: &str, template: &str, values: Value) -> Result<String, Failure> {
    let refuse = |text: String| minijinja::Error::new(ErrorKind::InvalidOperation, text);
    let about = move |value: &str, result: Result<String, String>| {
        result.map_err(|reason| refuse(format!("'{}' {reason}; use another name", value.escape_debug())))
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("quote", move |value: String| about(&value, quote(&value)));
    environment.add_filter("quote_directory", move |value: String| about(&value, quote_directory(&value)));
    environment.add_filter("quote_rewrite", move |value: String| about(&value, quote_rewrite(&value)));
    environment.add_filter("shell", |value: String| quote_for_shell(&value));
    environment
        .render_named_str(name, template, values)
        .map(|text| text + "\n")
        .map_err(|error| Failure::usage(error.detail().map_or_else(|| error.to_string(), str::to_owned)))
}

fn display(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn alias(alias: &Alias) -> Value {
    let Alias { url, target } = alias;
    let is_file = target.is_file();
    let directory = if is_file { target.parent().unwrap_or(target) } else { target };
    let pattern = format!("^{}{}", escape_pattern(url), if url.ends_with('/') { "" } else { "(/|$)" });
    context! {
        url,
        target => display(target),
        directory => display(directory),
        file => is_file.then(|| target.file_name().unwrap_or_default().to_string_lossy()),
        pattern,
    }
}

/// How many processes and threads: embedded, what the application asks for is what Apache has.
fn sizing(mpm: Mpm, processes: u32, threads: u32) -> Vec<Value> {
    let capacity = processes * threads;
    let settings: Vec<(&str, u32)> = match mpm {
        Mpm::Prefork => vec![
            ("ServerLimit", capacity),
            ("StartServers", capacity),
            ("MaxRequestWorkers", capacity),
            ("MinSpareServers", capacity),
            ("MaxSpareServers", capacity),
            ("MaxKeepAliveRequests", 100),
        ],
        Mpm::Worker | Mpm::Event => vec![
            ("ThreadLimit", threads),
            ("ThreadsPerChild", threads),
            // Twice as many places as processes: a graceful restart needs some for the new before the old are gone.
            ("ServerLimit", 2 * processes),
            ("StartServers", processes),
            ("MaxRequestWorkers", capacity),
            ("MinSpareThreads", capacity),
            ("MaxSpareThreads", capacity),
            ("MaxKeepAliveRequests", if mpm == Mpm::Event { 0 } else { 100 }),
        ],
    };
    settings.into_iter().map(|(name, value)| context! { name, value }).collect()
}

/// Python's own list of where tables of media types are.
fn mime_types() -> &'static str {
    const KNOWN: [&str; 6] = [
        "/etc/mime.types",
        "/etc/httpd/mime.types",
        "/etc/httpd/conf/mime.types",
        "/etc/apache/mime.types",
        "/etc/apache2/mime.types",
        "/usr/local/etc/httpd/conf/mime.types",
    ];
    KNOWN.into_iter().find(|file| Path::new(file).is_file()).unwrap_or("/dev/null")
}

/// A regular expression that matches `text`.
fn escape_pattern(text: &str) -> String {
    escape(text, |c| r"\.+*?()|[]{}^$#".contains(c))
}

/// A rewrite substitution that yields `text`.
fn escape_substitution(text: &str) -> String {
    escape(text, |c| r"\$%".contains(c))
}

fn escape(text: &str, special: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if special(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::parse::parse;

    /// The configuration for a command line, and the control script.
    fn generate(arguments: &[&str]) -> Result<(String, String), Failure> {
        let arguments =
            ["--server-root", "/r"].iter().chain(arguments).map(|&argument| argument.to_owned()).collect();
        let parsed = parse(&options::server(), arguments).unwrap();
        let built_in = MODULES.iter().chain(&["event", "log_config"]).map(|&name| name.to_owned()).collect();
        let inputs = Inputs {
            settings: &Settings::new(&parsed).unwrap(),
            account: &Account::choose(None, None).unwrap(),
            apache: &Apache { program: "/usr/sbin/apache2".into(), modules: "/modules".into(), built_in },
            mpm: Mpm::Event,
            python: &Python {
                executable: "/opt/bin/python3".into(),
                prefix: "/opt".into(),
                version: "3.11.2".into(),
                ext_suffix: ".cpython-X.so".into(),
                library: "libpython3.11.so.1.0".into(),
                shared: true,
                origin: "--python".into(),
            },
            installation: &Installation { directory: "/usr/lib/mod_wsgi".into() },
            logs: ("/r/error_log".into(), Some("/dev/stdout".into())),
            command_line: "mod_wsgi-express start-server\nrm",
        };
        Ok((inputs.configuration()?, inputs.control_script()?))
    }

    fn configuration(arguments: &[&str]) -> String {
        generate(arguments).unwrap().0
    }

    fn has(text: &str, line: &str) -> bool {
        text.lines().any(|each| each.trim() == line)
    }

    #[test]
    fn the_application_is_mounted_and_granted() {
        let text = configuration(&["/srv/app/main.wsgi", "--host", "127.0.0.1", "--port", "81"]);
        for line in [
            "Listen \"127.0.0.1:81\"",
            "ServerName \"127.0.0.1\"",
            "LoadModule wsgi_module \"/usr/lib/mod_wsgi/mod_wsgi.so\"",
            "WSGIPythonHome \"/opt\"",
            "WSGIScriptAlias \"/\" \"/srv/app/main.wsgi\" process-group=%{GLOBAL} application-group=\"%{GLOBAL}\"",
            "<Directory \"/srv/app\">",
            "<Files \"main.wsgi\">",
            "DocumentRoot \"/r/htdocs\"",
            "ErrorLog \"/r/error_log\"",
            "CustomLog \"/dev/stdout\" common",
            "LogLevel warn",
            "WSGIScriptReloading On",
        ] {
            assert!(has(&text, line), "{line}\n{text}");
        }
        assert!(!text.contains("R=301") && !text.contains("Include"), "{text}");
    }

    #[test]
    fn a_mount_point_redirects_to_its_slash() {
        let text = configuration(&["/a.wsgi", "--mount-point", "/a.b", "--embedded-mode"]);
        assert!(has(&text, r#"RewriteRule "^/a\.b$" "/a.b/" [R=301,L]"#), "{text}");
        assert!(text.contains("WSGIScriptAlias \"/a.b\" \"/a.wsgi\""), "{text}");
        assert!(has(&text, "WSGIScriptReloading Off"));
    }

    #[test]
    fn files_go_before_the_application_and_aliases_before_files() {
        let text = configuration(&["/a.wsgi", "--document-root", "/srv/100%", "--url-alias", "/s", "/srv/s"]);
        let position = |line: &str| {
            text.lines().position(|each| each == line).unwrap_or_else(|| panic!("{line}\n{text}"))
        };
        let alias = position(r#"RewriteRule "^/s(/|$)" - [L]"#);
        let file = position(r#"RewriteCond "/srv/100\%%{REQUEST_URI}" -f"#);
        assert!(alias < file, "{text}");
        assert!(has(&text, "Alias \"/s\" \"/srv/s\""));
        assert!(has(&text, "<Directory \"/srv/s\">"));
    }

    #[test]
    fn an_alias_for_a_file_grants_that_file_only() {
        let text = configuration(&["/a.wsgi", "--url-alias", "/p", "/etc/passwd"]);
        assert!(has(&text, "<Directory \"/etc\">") && has(&text, "<Files \"passwd\">"), "{text}");
    }

    #[test]
    fn includes_are_last_and_in_order() {
        let text = configuration(&["/a.wsgi", "--include-file", "/z", "--include-file", "/b"]);
        assert!(text.ends_with("#: --include-file\nInclude \"/z\"\nInclude \"/b\"\n"), "{text}");
    }

    #[test]
    fn values_can_not_inject_directives() {
        assert_eq!(quote(r#"a "b" c\d"#).unwrap(), r#""a \"b\" c\\d""#);
        for value in ["a\nb", "a\0", "${HOME}", "a\tb"] {
            assert!(quote(value).is_err(), "{value:?}");
        }
        assert_eq!(quote_rewrite(r#"a "b" c\d"#).unwrap(), r#"'a "b" c\d'"#);
        assert!(quote_rewrite("a'b\"c").is_err() && quote_rewrite("a\nb").is_err());
        for value in ["a*", "b?", "[c]"] {
            assert!(quote_directory(value).is_err(), "{value}");
        }
        for arguments in [
            ["/a.wsgi", "--callable-object", "x\nInclude /etc/passwd"],
            ["/a\n.wsgi", "--port", "1"],
            ["/a.wsgi", "--document-root", "/srv/*"],
            ["/a.wsgi", "--python-path", "/a:/b"],
        ] {
            assert!(matches!(generate(&arguments), Err(Failure::Usage(_))), "{arguments:?}");
        }
    }

    #[test]
    fn the_control_script_is_one_command_per_line() {
        let (_, script) = generate(&["/it's.wsgi", "--host", "it's"]).unwrap();
        assert!(script.contains("#   mod_wsgi-express start-server rm\n"), "{script}");
        assert!(has(&script, r"export MOD_WSGI_LISTENER_HOST='it'\''s'"), "{script}");
        assert!(script.contains(" -D EMBEDDED_MODE -D "), "{script}");
        assert!(script.contains("-D MOD_WSGI_MPM_ENABLE_EVENT_MODULE"), "{script}");
    }

    #[test]
    fn embedded_capacity_is_what_was_asked_for() {
        let written = |mpm| {
            let values = sizing(mpm, 3, 4);
            let line = |value: &Value| {
                let item = |name| value.get_attr(name).map(|item| item.to_string()).unwrap_or_default();
                format!("{} {}", item("name"), item("value"))
            };
            values.iter().map(line).collect::<Vec<_>>()
        };
        for line in ["ThreadsPerChild 4", "StartServers 3", "MaxRequestWorkers 12", "MaxKeepAliveRequests 0"]
        {
            assert!(written(Mpm::Event).iter().any(|each| each == line), "{line}");
        }
        for line in ["ServerLimit 12", "StartServers 12", "MaxRequestWorkers 12", "MaxKeepAliveRequests 100"]
        {
            assert!(written(Mpm::Prefork).iter().any(|each| each == line), "{line}");
        }
    }
}
