//! Tests of the definitions, through [`Directive::apply`] as the server calls it.

mod daemon;
mod fixtures;
mod groups;
mod hook_scripts;
mod opentelemetry;
mod real;
mod telemetry;

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::alias::{Captures, Location};
use crate::config::{Callable, Effective, GracefulTermination, MapHead, PythonStart, Reviewed, StatusScope};
use crate::daemon::NamedServer;
use fixtures::{DefinedServers, Machine};

/// A server while its configuration is read.
#[derive(Default)]
struct Server {
    global: Global,
    main: ServerConfig,
    host: ServerConfig,
    directory: DirectoryConfig,
    names: Vec<(Option<ServerId>, &'static str)>,
    is_unprivileged: bool,
    is_htaccess: bool,
}

#[derive(Debug)]
struct MatchAll;

impl Pattern for MatchAll {
    fn captures(&self, subject: &[u8]) -> Option<Captures> {
        let mut captures = Captures::default();
        captures[0] = Some(0..subject.len());
        Some(captures)
    }
}

fn compile(source: &[u8]) -> Option<Arc<dyn Pattern>> {
    (source != b"(").then(|| Arc::new(MatchAll) as Arc<dyn Pattern>)
}

impl Server {
    fn diagnostic(&mut self, scope: Scope, line: &str) -> Result<Option<Diagnostic>, String> {
        let host = (scope == Scope::VirtualHost).then_some(ServerId(1));
        self.diagnostic_at(scope, host, line)
    }

    fn diagnostic_at(
        &mut self,
        scope: Scope,
        host: Option<ServerId>,
        line: &str,
    ) -> Result<Option<Diagnostic>, String> {
        let (name, arguments) = line.split_once(' ').unwrap_or((line, ""));
        let directive = Directive::find(name).unwrap_or_else(|| panic!("{name}"));
        let server = if scope == Scope::VirtualHost { &mut self.host } else { &mut self.main };
        let directory = (scope == Scope::Directory).then_some(&mut self.directory);
        let system = Machine { is_root: !self.is_unprivileged };
        let servers = DefinedServers { host, names: self.names.clone() };
        let mut target = Target {
            scope,
            global: &mut self.global,
            server,
            directory,
            is_htaccess: self.is_htaccess,
            compile: &compile,
            system: &system,
            servers: &servers,
            position: &Position { file: b"/conf"[..].into(), line: 7 },
        };
        directive.apply(&mut target, arguments.as_bytes())?;
        Ok(self.global.diagnostics.pop())
    }

    fn line(&mut self, line: &str) {
        assert_eq!(self.diagnostic(Scope::Main, line), Ok(None), "{line}");
    }

    /// Applies a line that is accepted with a warning.
    fn warned(&mut self, line: &str, gist: &str) {
        let diagnostic = self.diagnostic(Scope::Main, line).expect(line).expect(line);
        assert_eq!(diagnostic.severity, Severity::Warning);
        assert!(diagnostic.to_string().contains(gist), "{line}: {diagnostic:?}");
        assert!(diagnostic.to_string().ends_with(" (line 7 of /conf)"), "{diagnostic:?}");
    }

    fn line_in(&mut self, scope: Scope, line: &str) {
        assert_eq!(self.diagnostic(scope, line), Ok(None), "{line}");
    }

    fn review(&self) -> Vec<Diagnostic> {
        let name = |host| self.names.iter().find(|(id, _)| *id == host).map(|(_, name)| name.as_bytes());
        let host = ServerConfig::merged(&self.main, &self.host);
        let nothing = ServerConfig::default();
        let reviewed = |id, config| Reviewed { server: NamedServer { host: id, name: name(id) }, config };
        let servers = [
            reviewed(None, &self.main),
            reviewed(Some(ServerId(1)), &host),
            reviewed(Some(ServerId(2)), &nothing),
            // One without directives of ours.
            reviewed(Some(ServerId(3)), &self.main),
        ];
        self.global.review(&servers)
    }

    fn error(&mut self, line: &str) -> String {
        self.diagnostic(Scope::Main, line).expect_err(line)
    }
}

#[test]
fn all_directives_of_the_contract_exist() {
    let names: Vec<_> =
        DIRECTIVES.iter().filter(|d| d.support != Support::TestHook).map(Directive::text).collect();
    // And some of our own.
    assert_eq!(names.len(), 49 + 10);
    let mut unique: Vec<_> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), names.len());
    assert!(Directive::find("wsgiscriptALIAS").is_some());
    for removed in ["WSGILazyInitialization", "WSGIUserAuthoritative", "WSGIPy3kWarningFlag"] {
        assert!(Directive::find(removed).is_none(), "{removed}");
    }
}

#[test]
fn termination_is_graceful_where_that_is_asked_for() {
    for (word, expected) in [
        ("On", GracefulTermination::On),
        ("OFF", GracefulTermination::Off),
        ("init", GracefulTermination::Init),
    ] {
        let mut server = Server::default();
        server.line(&format!("WSGIGracefulTermination {word}"));
        assert_eq!(server.global.graceful_termination, expected);
    }
    assert!(Server::default().error("WSGIGracefulTermination 1").contains("On | Off | Init"));
}

#[test]
fn draining_takes_a_while_that_is_bounded() {
    for (word, delay) in [("0", 0), ("5", 5_000), ("500ms", 500), ("1h", 3_600_000)] {
        let mut server = Server::default();
        server.line(&format!("WSGIDrainDelay {word}"));
        assert_eq!(server.global.drain_delay, delay, "{word}");
    }
    for word in ["-1", "soon", "61m"] {
        assert!(Server::default().error(&format!("WSGIDrainDelay {word}")).contains("at most an hour"));
    }
    let mut server = Server::default();
    server.line("WSGIDrainDelay 5");
    assert!(server.review().iter().any(|line| line.what.contains("WSGIDrainDelay has no effect")));
    server.line("WSGIGracefulTermination Init");
    assert_eq!(server.review().len(), 0);
    let mut server = Server::default();
    server.line("WSGIDrainFile /run/drained");
    assert_eq!(server.global.drain_file.as_deref(), Some(&b"/run/drained"[..]));
    assert!(Server::default().error("WSGIDrainFile drained").contains("absolute"));
}

#[test]
fn clients_add_up_in_a_scope() {
    for directive in ["WSGIHealthClients", "WSGIStatusClients"] {
        let mut server = Server::default();
        server.line(&format!("{directive} 192.0.2.1"));
        server.line(&format!("{directive} local 10.0.0.0/8"));
        let client = |address: &'static str| crate::clients::Client {
            address: address.as_bytes(),
            peer: address.as_bytes(),
            own_address: b"",
            is_forwarded: false,
        };
        let defaults = &server.main.defaults;
        let clients = match directive {
            "WSGIHealthClients" => defaults.health_clients.as_deref(),
            _ => defaults.status_clients.as_deref(),
        };
        for (address, is_included) in
            [("192.0.2.1", true), ("10.9.9.9", true), ("127.0.0.1", true), ("192.0.2.2", false)]
        {
            assert_eq!(crate::clients::Clients::include(clients, &client(address)), is_included);
        }
        assert!(Server::default().error(directive).contains("needs"));
        let error = Server::default().error(&format!("{directive} localhost"));
        assert!(error.contains("'localhost'") && error.contains(directive), "{error}");
    }
}

#[test]
fn the_status_is_of_the_server_unless_a_virtual_host_is_asked_for() {
    let mut server = Server::default();
    assert_eq!(server.main.defaults.status_scope, None);
    server.line("WSGIStatusScope VHost");
    assert_eq!(server.main.defaults.status_scope, Some(StatusScope::VirtualHost));
    server.line("WSGIStatusScope server");
    assert_eq!(server.main.defaults.status_scope, Some(StatusScope::Server));
    assert!(Server::default().error("WSGIStatusScope all").contains("must be one of: server | vhost"));
}

#[test]
fn global_directives_stay_out_of_virtual_hosts() {
    let mut server = Server::default();
    for directive in DIRECTIVES {
        let result = server.diagnostic(Scope::VirtualHost, &format!("{} >", directive.text()));
        let refused = result.is_err_and(|text| text.contains("cannot occur within <VirtualHost>"));
        assert_eq!(refused, directive.context == Context::Global, "{}", directive.text());
    }
    let text = server.diagnostic(Scope::VirtualHost, "<WSGIInterpreterOptions >").unwrap_err();
    assert!(text.starts_with("<WSGIInterpreterOptions> "), "{text}");
}

#[test]
fn one_argument_is_one_argument() {
    let mut server = Server::default();
    for directive in DIRECTIVES.iter().filter(|d| matches!(d.effect, Effect::One(_) | Effect::Flag(_))) {
        let name = directive.text();
        let expected = format!("{name} takes one argument, {}", directive.help.to_str().unwrap());
        for arguments in ["", " a b", " \"\""] {
            assert_eq!(server.error(&format!("{name}{arguments}")), expected);
        }
    }
}

#[test]
fn flags_are_on_or_off() {
    let mut server = Server::default();
    for directive in DIRECTIVES.iter().filter(|d| matches!(d.effect, Effect::Flag(_))) {
        let name = directive.text();
        for word in ["1", "yes", "true", "Auto"] {
            assert_eq!(server.error(&format!("{name} {word}")), format!("{name} must be one of: Off | On"));
        }
        for word in ["On", "off", "\"ON\""] {
            server.line(&format!("{name} {word}"));
        }
    }
    assert_eq!(server.error("WSGIMapHEADToGET x"), "WSGIMapHEADToGET must be one of: Off | On | Auto");
}

#[test]
fn settings_resolve_from_directory_to_host_to_main() {
    let mut server = Server::default();
    server.line("WSGIApplicationGroup main");
    server.line("WSGICallableObject main");
    server.line("WSGIScriptReloading Off");
    server.line("WSGIMapHEADToGET on");
    server.line_in(Scope::VirtualHost, "WSGIApplicationGroup host");
    server.line_in(Scope::VirtualHost, "WSGICallableObject host");
    server.line_in(Scope::Directory, "WSGIApplicationGroup directory");
    server.line_in(Scope::Directory, "WSGIPassAuthorization On");
    let host = ServerConfig::merged(&server.main, &server.host);
    let settings = Effective::new(&host, &server.directory);
    assert_eq!(settings.application_group(), Some(&b"directory"[..]));
    assert_eq!(settings.callable(), Callable::Expand(b"host"));
    assert_eq!(settings.map_head_to_get(), MapHead::On);
    assert!(!settings.script_reloading() && settings.pass_authorization());
    let unset = DirectoryConfig::default();
    let main = Effective::new(&server.main, &unset).application_group();
    assert_eq!(main, Some(&b"main"[..]));
}

#[test]
fn defaults_are_the_contracts() {
    let server = Server::default();
    let settings = Effective::new(&server.main, &server.directory);
    assert_eq!((settings.process_group(), settings.application_group()), (None, None));
    assert_eq!(settings.callable(), Callable::Literal(b"application"));
    assert_eq!(settings.map_head_to_get(), MapHead::Auto);
    assert!(settings.script_reloading());
    assert!(!settings.pass_authorization() && !settings.pass_apache_request() && !settings.error_override());
    assert!(!settings.chunked_request() && !settings.enable_sendfile());
    assert!(settings.trusted_headers().is_none() && settings.trusted_proxies().is_none());
    assert!(server.global.permits_embedded() && server.global.destroys_interpreters());
    assert_eq!(server.global.python_start(), PythonStart::AtFirstRequest);
}

#[test]
fn bodies_are_spooled_as_the_innermost_line_says() {
    let mut server = Server::default();
    assert_eq!(Effective::new(&server.main, &server.directory).spool_request_body(), None);
    for (line, size) in [("10M", 10 << 20), ("1", 1), ("0", 0), ("off", 0)] {
        server.line_in(Scope::Directory, &format!("WSGISpoolRequestBody {line}"));
        let settings = Effective::new(&server.main, &server.directory);
        assert_eq!(settings.spool_request_body(), Some(size), "{line}");
    }
    for line in ["On", "-1", "10X", ""] {
        let error = server.error(&format!("WSGISpoolRequestBody {line}"));
        assert!(error.contains("WSGISpoolRequestBody"), "{line}: {error}");
    }
}

#[test]
fn inner_directories_go_first() {
    let mut outer = Server::default();
    outer.line_in(Scope::Directory, "WSGIEnableSendfile On");
    outer.line_in(Scope::Directory, "WSGIChunkedRequest On");
    outer.line_in(Scope::Directory, "WSGITrustedProxies 10.0.0.1");
    outer.line_in(Scope::Directory, "WSGIHandlerScript a /outer-a");
    outer.line_in(Scope::Directory, "WSGIHandlerScript b /outer-b");
    let mut inner = Server::default();
    inner.line_in(Scope::Directory, "WSGIEnableSendfile Off");
    inner.line_in(Scope::Directory, "WSGITrustedProxies");
    inner.line_in(Scope::Directory, "WSGIHandlerScript a /inner-a");
    let merged = DirectoryConfig::merged(&outer.directory, &inner.directory);
    let server = ServerConfig::default();
    let settings = Effective::new(&server, &merged);
    assert!(!settings.enable_sendfile() && settings.chunked_request());
    assert!(!settings.trusted_proxies().unwrap().trusts(b"10.0.0.1"), "replaced whole");
    assert_eq!(*settings.handler_script(b"a").unwrap().script, *b"/inner-a");
    assert_eq!(*settings.handler_script(b"b").unwrap().script, *b"/outer-b");
    assert!(settings.handler_script(b"A").is_none());
}

#[test]
fn alias_options_override_directives() {
    let mut server = Server::default();
    server.line("WSGIPassAuthorization On");
    server.line("WSGIApplicationGroup inherited");
    server.line("WSGICallableObject inherited");
    server.line(
        "WSGIScriptAlias /a \"/w/a b.wsgi\" application-group=x application-group=y callable-object=%{ENV:X} \
         pass-authorization=off process-group=%{GLOBAL}",
    );
    server.line("WSGIScriptAlias /b /w/b.wsgi");
    let mut file = Vec::new();
    let alias = server.main.script_alias(b"/a/x", &mut file).unwrap();
    assert_eq!(file, b"/w/a b.wsgi/x");
    let settings = Effective::new(&server.main, &server.directory).via(&alias.options);
    assert_eq!(settings.application_group(), Some(&b"y"[..]));
    assert_eq!(settings.process_group(), Some(&b""[..]));
    assert_eq!(settings.callable(), Callable::Literal(b"%{ENV:X}"));
    assert!(!settings.pass_authorization());
    let plain = server.main.script_alias(b"/b", &mut file).unwrap();
    let settings = Effective::new(&server.main, &server.directory).via(&plain.options);
    assert_eq!(settings.application_group(), Some(&b"inherited"[..]));
    assert_eq!(settings.callable(), Callable::Expand(b"inherited"));
    assert!(settings.pass_authorization());
}

#[test]
fn aliases_of_a_host_go_before_those_of_the_main_server() {
    let mut server = Server::default();
    server.line("WSGIScriptAlias /x /main-x");
    server.line("WSGIScriptAlias /y /main-y");
    server.line_in(Scope::VirtualHost, "WSGIScriptAlias / /host");
    server.line_in(Scope::VirtualHost, "WSGIScriptAlias /x /never");
    let host = ServerConfig::merged(&server.main, &server.host);
    let targets: Vec<_> = host.aliases.iter().map(|alias| String::from_utf8_lossy(&alias.target)).collect();
    assert_eq!(targets, ["/host", "/never", "/main-x", "/main-y"]);
    let mut file = Vec::new();
    host.script_alias(b"/y", &mut file).unwrap();
    assert_eq!(file, b"/host/y");
}

#[test]
fn alias_errors() {
    let mut server = Server::default();
    for (line, gist) in [
        ("WSGIScriptAlias", "at least two arguments"),
        ("WSGIScriptAlias /", "at least two arguments"),
        ("WSGIScriptAlias / /w stray", "Invalid option 'stray'"),
        ("WSGIScriptAlias / /w =x", "Invalid option '=x'"),
        ("WSGIScriptAlias / /w home=/x", "Invalid option 'home'"),
        ("WSGIScriptAlias / /w Process-Group=x", "Invalid option 'Process-Group'"),
        ("WSGIScriptAlias / /w process-group=", "process group"),
        ("WSGIScriptAlias / /w application-group=\"\"", "application group"),
        ("WSGIScriptAlias / /w callable-object=", "callable object"),
        ("WSGIScriptAlias / /w pass-authorization=1", "pass-authorization"),
        ("WSGIScriptAlias \"\" /w", "at least two arguments"),
        ("WSGIScriptAlias / \"\"", "at least two arguments"),
        ("WSGIScriptAliasMatch ( /w", "Regular expression could not be compiled: '('"),
        ("WSGIScriptAlias / /w process-group=g application-group=a", "'g' not yet configured"),
    ] {
        let text = server.error(line);
        assert!(text.contains(gist), "{line}: {text}");
    }
    assert!(server.main.aliases.is_empty());
}

#[test]
fn handler_scripts() {
    let mut server = Server::default();
    server.line("WSGIHandlerScript name /first");
    server.line("WSGIHandlerScript name /w/h.py application-group=%{HOST} pass-authorization=On");
    let settings = Effective::new(&server.main, &server.directory);
    let handler = settings.handler_script(b"name").unwrap();
    assert_eq!(*handler.script, *b"/w/h.py");
    let settings = settings.via(&handler.options);
    assert_eq!(settings.callable(), Callable::Literal(b"handle_request"));
    assert_eq!(settings.application_group(), Some(&b"%{HOST}"[..]));
    assert!(settings.pass_authorization());
    assert_eq!(server.main.defaults.handlers.len(), 1);
    server.line("WSGIHandlerScript name /h callable-object=app url-path=/shop/ module-name=__shop__");
    let named = &server.global.named_scripts[0];
    assert_eq!((&*named.script, &*named.module), (&b"/h"[..], &b"__shop__"[..]));
    let settings = Effective::new(&server.main, &server.directory);
    let options = &settings.handler_script(b"name").unwrap().options;
    assert_eq!(
        (options.callable_object.as_deref(), options.url_path.as_deref()),
        (Some(&b"app"[..]), Some(&b"/shop"[..]))
    );
    for (line, gist) in [
        ("WSGIHandlerScript", "Name for handler script"),
        ("WSGIHandlerScript name", "Location of handler script"),
        ("WSGIHandlerScript name /h url-path=app", "url-path of handler script"),
        ("WSGIHandlerScript name /h module-name=os", "begin with an underscore"),
        ("WSGIHandlerScript name /h module-name=_a.b", "begin with an underscore"),
        ("WSGIHandlerScript name /h callable-object=", "callable object"),
        ("WSGIHandlerScript name /h process-group=", "process group"),
        ("WSGIHandlerScript name /h pass-authorization=x", "pass-authorization"),
    ] {
        let text = server.error(line);
        assert!(text.contains(gist), "{line}: {text}");
    }
}

#[test]
fn trusted_lists_add_up_in_one_scope() {
    let mut server = Server::default();
    server.line("WSGITrustedProxies 10.0.0.1 192.168");
    server.line("WSGITrustedProxies ::1");
    server.line("WSGITrustedProxyHeaders X-Forwarded-For x-unknown");
    for wide in ["0.0.0.0/0.0.0.0", "128.0.0.0/1", "10.0.0.1 2000::/3"] {
        Server::default().warned(&format!("WSGITrustedProxies {wide}"), "a network of millions of addresses");
    }
    Server::default().line("WSGITrustedProxies 10.0.0.0/8 fc00::/7 127");
    let diagnostic =
        server.diagnostic(Scope::Main, "WSGITrustedProxyHeaders X_Real_IP X-Real-IP").unwrap().unwrap();
    assert!(
        diagnostic.severity == Severity::Warning && diagnostic.to_string().contains("'X_Real_IP'"),
        "{diagnostic:?}"
    );
    let proxies = server.main.defaults.trusted_proxies.as_deref().unwrap();
    for address in ["10.0.0.1", "192.168.3.4", "::1"] {
        assert!(proxies.trusts(address.as_bytes()), "{address}");
    }
    let headers = server.main.defaults.trusted_headers.as_deref().unwrap();
    let overrides = headers.overrides(Some(proxies), b"::1", |_| Some(b"8.8.8.8"));
    assert!(!overrides.withholds(b"X-Real-IP") && overrides.withholds(b"X-Forwarded-For"));
    assert!(server.error("WSGITrustedProxies host.example").contains("'host.example'"));
}

#[test]
fn python_settings() {
    let mut server = Server::default();
    server.line("WSGIPythonHome /venv");
    server.line("WSGIPythonEggs /eggs");
    server.line("WSGIPythonWarnings ignore");
    server.line("WSGIPythonWarnings \"error::A B\"");
    let global = &server.global;
    assert_eq!(global.python_home.as_deref(), Some(&b"/venv"[..]));
    assert_eq!(global.python_eggs.as_deref(), Some(&b"/eggs"[..]));
    assert_eq!(global.python_warnings, [b"ignore"[..].into(), Box::from(&b"error::A B"[..])]);
    for (level, result) in [("2", 2), ("9", 9), ("-1", 0), ("+1", 1)] {
        server.line(&format!("WSGIPythonOptimize {level}"));
        assert_eq!(server.global.python_optimize, result, "{level}");
    }
    for level in ["x", "1x", "1.5"] {
        let text = server.error(&format!("WSGIPythonOptimize {level}"));
        assert!(
            text.contains(&format!("'{level}' for WSGIPythonOptimize: it must be a whole number")),
            "{text}"
        );
    }
    for (seed, result) in [("0", Some(0)), ("4294967295", Some(u32::MAX)), ("random", None)] {
        server.line(&format!("WSGIPythonHashSeed {seed}"));
        assert_eq!(server.global.python_hash_seed, result, "{seed}");
    }
    for seed in ["4294967296", "-1", "+1", "Random", "1x"] {
        assert!(server.error(&format!("WSGIPythonHashSeed {seed}")).contains("4294967295"), "{seed}");
    }
    for interval in ["0", "-1", "x", "0.1h", "nan"] {
        let text = server.error(&format!("WSGISwitchInterval {interval}"));
        assert!(text.contains("WSGISwitchInterval") && text.contains("positive"), "{text}");
    }
}

#[test]
fn sections_take_the_interpreter_settings() {
    let mut server = Server::default();
    server.line("WSGIPythonPath top");
    server.line("<WSGIInterpreterOptions process-group=%{GLOBAL} \"Application-Group=a b\">");
    server.line("WSGIPythonPath first");
    server.line("WSGIPythonPath last");
    server.line("WSGIPythonHome /outside");
    server.line("<WSGIInterpreterOptions");
    server.line("WSGISwitchInterval 0.5");
    server.global.close_container();
    server.line("WSGIRestrictStdout On");
    let diagnostic = server.diagnostic(Scope::Main, "WSGIFreeThreading On").unwrap().unwrap();
    assert!(diagnostic.to_string().starts_with("WSGI0201: "), "{diagnostic:?}");
    server.global.close_container();
    server.line("WSGIRestrictSignal Off");
    let global = &server.global;
    let [outer, inner] = &global.containers[..] else { panic!("{:?}", global.containers) };
    assert_eq!(outer.process_group.as_deref(), Some(&b""[..]));
    assert_eq!(outer.application_group.as_deref(), Some(&b"a b"[..]));
    assert_eq!(outer.python_path.as_deref(), Some(&b"last"[..]));
    assert_eq!(
        (outer.restrict_stdout, outer.free_threading, outer.switch_interval),
        (Some(true), None, None)
    );
    assert_eq!((inner.process_group.clone(), inner.application_group.clone()), (None, None));
    assert_eq!(inner.switch_interval, Some(0.5));
    assert_eq!(global.interpreter.python_path.as_deref(), Some(&b"top"[..]));
    assert_eq!(global.interpreter.restrict_signal, Some(false));
    assert_eq!(global.python_home.as_deref(), Some(&b"/outside"[..]));
}

#[test]
fn section_errors() {
    let mut server = Server::default();
    for (line, gist) in [
        ("<WSGIInterpreterOptions process-group=a", "missing closing '>'"),
        ("<WSGIInterpreterOptions stray>", "'stray'"),
        ("<WSGIInterpreterOptions process-group = x >", "'process-group'"),
        ("<WSGIInterpreterOptions home=x>", "'home'"),
        ("<WSGIInterpreterOptions process-group=a PROCESS-GROUP=b>", "twice"),
    ] {
        let text = server.error(line);
        assert!(text.contains(gist), "{line}: {text}");
    }
    assert!(server.global.containers.is_empty());
}

#[test]
fn paths_without_effect_are_reported() {
    let mut server = Server::default();
    server
        .warned("WSGIPythonPath /usr:/none:/x.zip:rel:/nor", "WSGIPythonPath: '/none', '/nor' do not exist");
    server.line("WSGIPythonPath /usr:/x.zip:rel:/hidden");
    server.warned("WSGIPythonHome /usr/bin/idle", "a directory is wanted: the directory above bin, /usr");
    server.warned("WSGIPythonHome /x.zip", "a directory is wanted: the directory that contains bin/python3");
    for home in ["/usr", "/usr/bin/python3", "/none", "/hidden", "/usr:/elsewhere"] {
        server.line(&format!("WSGIPythonHome {home}"));
    }
}

#[test]
fn unexpanded_names_are_reported() {
    let mut server = Server::default();
    for (line, gist) in [
        ("WSGIApplicationGroup %{global}", "WSGIApplicationGroup %{global} is not expanded"),
        ("WSGIProcessGroup %{Global}", "did you mean %{GLOBAL}?"),
        (
            "WSGICallableObject %{GLOBAL}",
            "WSGICallableObject %{GLOBAL} is not expanded, and the name 'application'",
        ),
        ("WSGIRestrictProcess a %{global}", "WSGIRestrictProcess %{global} is"),
        ("WSGIScriptAlias / /w application-group=%{global}", "application-group=%{global} is"),
        ("WSGIScriptAlias / /w process-group=%{ENV}", "process-group=%{ENV} is"),
        (
            "WSGIImportScript /w process-group=%{GLOBAL} application-group=%{SERVER}",
            "application-group=%{SERVER}",
        ),
        ("<WSGIInterpreterOptions process-group=%{global}>", "> process-group=%{global} is"),
        ("WSGIDaemonProcess g display-name=%{Group}", "display-name=%{Group} is not expanded"),
    ] {
        server.warned(line, gist);
    }
}

#[test]
fn the_nearest_option_is_suggested() {
    let mut server = Server::default();
    for (line, gist) in [
        (
            "WSGIDaemonProcess g thread=5",
            "'thread' to WSGI daemon process definition: did you mean threads=?",
        ),
        ("WSGIDaemonProcess g Processes=5", "did you mean processes=?"),
        ("WSGIDaemonProcess g request_timeout=5", "did you mean request-timeout=?"),
        ("WSGIDaemonProcess g newrelic-config-file=/x", "the options are processes=, threads="),
        (
            "WSGIDaemonProcess g threads = 5",
            "'threads' to WSGI daemon process definition: write it as key=value",
        ),
        ("WSGIDaemonProcess g \"home=/a b\"", "key=\"a value\""),
        ("WSGIScriptAlias / /w processgroup=x", "did you mean process-group=?"),
        (
            "WSGIScriptAlias / /w user=x",
            "are process-group=, application-group=, callable-object=, pass-authorization=",
        ),
        ("WSGIImportScript /w pass-authorization=On", "the options are process-group=, application-group="),
        ("<WSGIInterpreterOptions proces-group=x>", "did you mean process-group=?"),
    ] {
        let text = server.error(line);
        assert!(text.contains(gist), "{line}: {text}");
    }
}

#[test]
fn obsolete_directives_say_so() {
    let mut server = Server::default();
    let diagnostic = server.diagnostic(Scope::Main, "WSGIVerboseDebugging On").unwrap().unwrap();
    assert_eq!(diagnostic.severity, Severity::Info);
    assert!(server.error("WSGIVerboseDebugging maybe").contains("Off | On"));
}

#[test]
fn regular_expressions_are_compiled() {
    let mut server = Server::default();
    server.line("WSGIScriptAliasMatch ^/x /w");
    assert!(matches!(server.main.aliases[0].location, Location::Match(_)));
    let mut file = Vec::new();
    assert!(server.main.script_alias(b"/anything", &mut file).is_some());
    assert_eq!(file, b"/w");
}

#[cfg(debug_assertions)]
#[test]
fn the_test_hook_panics_on_demand() {
    use crate::config::DebugPanic;

    let mut server = Server::default();
    server.line("WSGIDebugPanic handler");
    server.line_in(Scope::Directory, "WSGIDebugPanic callback");
    assert_eq!(server.main.defaults.debug_panic, Some(DebugPanic::Handler));
    assert_eq!(server.directory.debug_panic, Some(DebugPanic::Callback));
    assert!(server.error("WSGIDebugPanic other").contains("handler | config | callback | exchange"));
    let config =
        std::panic::AssertUnwindSafe(|| Server::default().diagnostic(Scope::Main, "WSGIDebugPanic config"));
    assert!(std::panic::catch_unwind(config).is_err());
}

proptest! {
    #[test]
    fn any_line_is_accepted_or_refused(arguments in proptest::collection::vec(any::<u8>(), 0..40), near in "[ a-z=\"'%{}>/-]{0,40}") {
        for directive in DIRECTIVES.iter().filter(|directive| directive.support != Support::TestHook) {
            for line in [&arguments[..], near.as_bytes()] {
                let mut server = Server::default();
                let mut target = Target {
                    scope: Scope::Main,
                    global: &mut server.global,
                    server: &mut server.main,
                    directory: None,
                    is_htaccess: false,
                    compile: &compile,
                    system: &Machine { is_root: true },
                    servers: &DefinedServers { host: None, names: Vec::new() },
                    position: &Position::default(),
                };
                let result = directive.apply(&mut target, line);
                prop_assert!(result.is_ok_and(|()| true) || server.global.daemons.is_empty());
                for diagnostic in server.review() {
                    prop_assert!(!diagnostic.what.is_empty());
                }
            }
        }
    }
}
