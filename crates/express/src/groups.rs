//! The `WSGIDaemonProcess` lines of the generated configuration.

use minijinja::{Value, context};

use crate::application::Application;
use crate::auth;
use crate::inputs::Inputs;
use crate::quote::display;
use crate::service::Service;

/// Options of a group, in the order in which they are written.
struct Options(Vec<(&'static str, String)>);

/// The group of the application: its name and its options; none in embedded mode.
pub(crate) fn application(inputs: &Inputs<'_>) -> Option<Value> {
    let settings = inputs.settings;
    let daemon = settings.daemon.as_ref()?;
    if settings.application == Application::Static && settings.files.handlers.is_empty() {
        return None;
    }
    let mut options = Options(Vec::new());
    if settings.multiprocess {
        // Not written otherwise: that it is given is seen by applications as wsgi.multiprocess.
        options.add("processes", settings.process_range());
    }
    options.add("threads", settings.threads);
    options.add("display-name", &daemon.display_name);
    options.add_common(inputs);
    if let Some(umask) = &daemon.umask {
        options.add("umask", umask);
    }
    let is_of_range = |name: &str| name.starts_with("scale-");
    for (name, value) in &daemon.numbers {
        if settings.least_processes.is_some() || !is_of_range(name) {
            options.add(name, value);
        }
    }
    Some(options.group(&daemon.name))
}

/// The group of the scripts that decide who may use the server, if it has processes for them.
pub(crate) fn access(inputs: &Inputs<'_>) -> Option<Value> {
    let mut options = Options(Vec::new());
    options.add("processes", inputs.settings.access.processes()?);
    options.add("threads", inputs.settings.threads);
    options.add("display-name", format!("(wsgi:{})", auth::GROUP));
    options.add_common(inputs);
    Some(options.group(auth::GROUP))
}

/// The group of a service.
pub(crate) fn service(service: &Service, inputs: &Inputs<'_>) -> Value {
    let name = format!("service:{}", service.name);
    let mut options = Options(Vec::new());
    options.add("threads", 0);
    options.add("display-name", format!("(wsgi:{name})"));
    let account = inputs.service_accounts.iter().find(|(owner, _)| *owner == service.name);
    if let Some((_, account)) = account {
        options.add("user", &account.user);
        options.add("group", &account.group);
    }
    options.add_common(inputs);
    context! {
        script => display(&service.script),
        log => service.log_file.as_ref().map(|file| inputs.settings.logs.further(file, &inputs.logs)),
        ..options.group(&name)
    }
}

impl Options {
    fn add(&mut self, name: &'static str, value: impl ToString) {
        self.0.push((name, value.to_string()));
    }

    /// Adds the options that an application and its services share.
    fn add_common(&mut self, inputs: &Inputs<'_>) {
        let settings = inputs.settings;
        self.add("home", display(&settings.working_directory));
        self.add("python", display(&inputs.python.program));
        self.add("python-path", inputs.python_path().join(":"));
        self.add("python-eggs", display(&settings.python_eggs()));
        self.add("lang", &inputs.locale);
        self.add("locale", &inputs.locale);
        if let Some(interval) = settings.switch_interval {
            self.add("switch-interval", interval);
        }
        self.add("server-metrics", if settings.server_metrics { "On" } else { "Off" });
    }

    fn group(self, name: &str) -> Value {
        let options = self.0.into_iter().map(|(name, value)| context! { name, value });
        context! { name, options => options.collect::<Vec<_>>() }
    }
}
