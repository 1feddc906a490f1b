//! The generated files: Apache's configuration and the control script.

use std::path::Path;

use minijinja::{Value, context};

use crate::apache::Mpm;
use crate::application::Application;
use crate::debugging;
use crate::failure::Failure;
use crate::files;
use crate::groups;
use crate::hosts;
use crate::inputs::Inputs;
use crate::names::Names;
use crate::quote::display;
use crate::quote::{escape_pattern, escape_substitution, render};
use crate::settings::Alias;
use crate::sizing;
use crate::tls::Tls;

/// Begins a comment in the configuration that names the options which the following lines come
/// from.
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

impl Inputs<'_> {
    /// The text of `httpd.conf`.
    ///
    /// # Errors
    /// A value cannot be written into it, or a module is missing.
    pub(crate) fn configuration(&self) -> Result<String, Failure> {
        let settings = self.settings;
        let root = &settings.server_root;
        let documents = settings.document_root();
        let script = settings.script();
        let mount = &settings.mount_point;
        let rules = settings.files.rewrite_rules.clone().unwrap_or_else(|| root.join("rewrite.conf"));
        let embedded = settings.daemon.is_none();
        let in_children = embedded || settings.access.is_embedded();
        let python_path = self.python_path();
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
                modules => self.modules()?,
                server_name => settings.listener_host(),
                listen => settings.ports().map(|(port, _)| settings.listen(port)).collect::<Vec<_>>(),
                http2 => settings.http2 && self.mpm != Mpm::Prefork,
                proxies => settings.proxies.configuration()?,
                rewriting => settings.proxies.rewrites(),
                hosts => hosts::configuration(self)?,
                sizing => self.sizing(),
                maximum_requests => if embedded { settings.maximum_requests } else { 0 },
                timeout => settings.timeout,
                stuck_timeout => settings.stuck_timeout,
                graceful_timeout => settings.graceful_timeout,
                health => settings.health.context(root),
                limits => settings.limits.context(),
                environment => settings.environment.context(),
                files => settings.files.context(&self.installation.docs()),
                resources => display(&root.join(files::RESOURCES)),
                rewrite_rules => display(&rules),
                logs => settings.logs.context(&self.logs),
                wsgi_module => display(&self.installation.module()),
                python_home => display(self.python.home()),
                embedded,
                python_path => in_children.then(|| python_path.join(":")),
                python_eggs => in_children.then(|| display(&settings.python_eggs())),
                in_children,
                debug => settings.debugging.is_on,
                python_warnings => settings.python_warnings.clone(),
                switch_interval => settings.switch_interval,
                free_threading => settings.free_threading,
                orphan_interpreter => settings.orphan_interpreter,
                server_metrics => settings.server_metrics,
                error_override => settings.error_override && !embedded,
                ignored_activity => settings.ignored_activity.clone(),
                group => groups::application(self),
                process_group => settings.daemon.as_ref().map(|daemon| daemon.name.as_str()),
                reloader => settings.reload_on_changes.then(|| display(&self.installation.reloader())),
                services => self.services(),
                access_group => groups::access(self),
                telemetry => settings.telemetry.context(),
                access => settings.access.context(&format!("{}:{}", settings.listener_host(), settings.port)),
                callable_object => settings.callable_object.as_str(),
                application_group => settings.application_group.as_str(),
                reloading => settings.reloading,
                document_root => display(&documents),
                aliases => settings.aliases.iter().map(alias).collect::<Vec<_>>(),
                mount_point => mount,
                mount_redirect => (mount != "/").then(|| format!("^{}$", escape_pattern(mount))),
                mount_pattern => (mount != "/").then(|| format!("^{}/", escape_pattern(mount))),
                mount_target => format!("{}/", escape_substitution(mount)),
                script => script.as_deref().map(display),
                script_callable => settings.application.callable_object(&settings.callable_object, settings.debugging.wraps()),
                module_name => settings.application.module_name(settings.debugging.wraps()),
                preloaded => settings.is_preloaded(),
                include_files => settings.include_files.iter().map(|path| display(path)).collect::<Vec<_>>(),
            },
        )
    }

    /// The text of `apachectl`. It takes its environment from the script `envvars`, too.
    ///
    /// # Errors
    /// A value cannot be written into it.
    pub(crate) fn control_script(&self, envvars: Option<&Path>) -> Result<String, Failure> {
        let settings = self.settings;
        let root = &settings.server_root;
        render(
            "apachectl",
            include_str!("../templates/apachectl"),
            context! {
                shell => display(&settings.environment.shell),
                python => display(&self.python.executable),
                status_url => settings.files.status.then(|| format!("{}/server-status", settings.url())),
                command_line => self.command_line.replace(char::is_control, " "),
                modules => display(&self.apache.modules),
                server_root => display(root),
                server_name => settings.name(),
                server_aliases => settings.names.as_ref().map(|names| names.aliases.join(" ")).unwrap_or_default(),
                listener_host => settings.listener_host(),
                port => settings.port,
                https_port => settings.tls.as_ref().map(|tls| tls.port.to_string()).unwrap_or_default(),
                user => self.account.user.as_str(),
                group => self.account.group.as_str(),
                working_directory => display(&settings.working_directory),
                container => settings.container.is_some(),
                locale => self.locale.as_str(),
                reload_on_changes => settings.reload_on_changes,
                debug_variables => settings.debugging.variables(),
                gdb => settings.debugging.gdb().map(|program| display(&program)),
                gdb_commands => display(&root.join(debugging::GDB_COMMANDS)),
                process_name => settings.process_name.as_deref(),
                startup_log => settings.logs.startup(&self.logs).map(display),
                envvars => envvars.map(display),
                program => display(&self.apache.program),
                configuration => display(&root.join("httpd.conf")),
                defines => self.defines(),
            },
        )
    }

    fn services(&self) -> Vec<Value> {
        let collector = self.settings.telemetry.service(&self.settings.server_root);
        let services = self.settings.services.iter().chain(&collector);
        services.map(|service| groups::service(service, self)).collect()
    }

    fn sizing(&self) -> Vec<Value> {
        let settings = self.settings;
        let directives = match settings.daemon {
            Some(_) => settings.sizing.front(self.mpm, settings.capacity()),
            None => sizing::embedded(self.mpm, settings.processes, settings.threads),
        };
        directives.into_iter().map(|(name, value)| context! { name, value }).collect()
    }

    fn modules(&self) -> Result<Vec<Value>, Failure> {
        let mut modules = Vec::new();
        if !self.apache.has_built_in(self.mpm.name()) {
            let name = format!("mpm_{}", self.mpm.name());
            if let Some(file) = self.apache.module(&name)? {
                modules.push(context! { name, file => display(&file) });
            }
        }
        let status = (self.settings.server_metrics || self.settings.files.status).then_some("status");
        let settings = self.settings;
        let http2 = (settings.http2 && self.mpm != Mpm::Prefork).then_some("http2");
        let ssl = (settings.tls.is_some() || settings.proxies.speaks_tls()).then_some("ssl");
        let proxies = settings.proxies.modules().iter().chain(settings.access.modules()).copied();
        let files = settings.files.modules(self.apache);
        let optional = settings
            .logs
            .modules()
            .into_iter()
            .chain(status)
            .chain(http2)
            .chain(ssl)
            .chain(proxies)
            .chain(files);
        for name in MODULES.into_iter().chain(optional) {
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
        let embedded = settings.daemon.is_none();
        let mut defines = vec![mpm("ENABLE", self.mpm)];
        defines.extend(self.apache.candidates(&settings.mpms).map(|each| mpm("EXISTS", each)));
        for (name, applies) in [
            ("EMBEDDED_MODE", embedded),
            ("ORPHAN_INTERPRETER", settings.orphan_interpreter),
            ("MOD_WSGI_IMPORT_HANDLER_SCRIPT", settings.is_preloaded()),
            ("MOD_WSGI_SERVER_METRICS", settings.server_metrics),
            ("MOD_WSGI_SWITCH_INTERVAL", settings.switch_interval.is_some()),
            ("MOD_WSGI_FREE_THREADING", settings.free_threading),
            ("MOD_WSGI_WITH_SOCKET_PREFIX", settings.socket_prefix),
            ("MOD_WSGI_ERROR_OVERRIDE", settings.error_override),
            ("MOD_WSGI_WITH_PYTHON_PATH", embedded || !settings.python_path.is_empty()),
            ("MOD_WSGI_MULTIPROCESS", settings.multiprocess),
            ("MOD_WSGI_WITH_LISTENER_HOST", settings.host.is_some()),
            ("MOD_WSGI_DISABLE_RELOADING", !settings.reloading),
        ] {
            if applies {
                defines.push(name.to_owned());
            }
        }
        if settings.application == Application::Static {
            defines.push("MOD_WSGI_STATIC_ONLY".to_owned());
        }
        let files = settings.files.defines(self.apache);
        defines.extend(
            files
                .chain(settings.limits.defines())
                .chain(settings.logs.defines())
                .chain(settings.telemetry.defines())
                .chain(settings.access.defines())
                .chain(settings.debugging.defines())
                .map(str::to_owned),
        );
        if settings.http2 {
            defines.push("MOD_WSGI_WITH_HTTP2".to_owned());
        }
        let tls = settings.tls.iter().flat_map(Tls::defines);
        let names = settings.names.iter().flat_map(Names::defines);
        defines.extend(tls.chain(names).chain(settings.proxies.defines()).map(str::to_owned));
        defines
    }
}

fn alias(alias: &Alias) -> Value {
    let Alias { url, target } = alias;
    let is_file = target.is_file();
    let directory = if is_file { target.parent().unwrap_or(target) } else { target };
    context! {
        url,
        target => display(target),
        directory => display(directory),
        file => is_file.then(|| target.file_name().unwrap_or_default().to_string_lossy()),
    }
}

#[cfg(test)]
mod tests;
