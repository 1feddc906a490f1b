//! The text that is printed before the server runs.

use std::fmt::Write;

use crate::inputs::Inputs;
use crate::status;

/// The banner; `setup` adds what is of use to someone who will start the server by hand.
pub(crate) fn banner(inputs: &Inputs<'_>, setup: bool) -> String {
    let settings = inputs.settings;
    let root = settings.server_root.display();
    let (processes, threads) = (settings.processes, settings.threads);
    let mut lines = vec![("Server URL", format!("{}/", settings.url()))];
    lines.extend(settings.https_url().map(|url| ("Server URL (HTTPS)", format!("{url}/"))));
    if settings.files.status {
        lines.push(("Server Status", format!("{}/server-status", settings.url())));
        lines.push(("Process Status", format!("{}{}", settings.url(), status::PATH)));
    }
    lines.extend(settings.health.banner(&settings.url()));
    lines.extend(settings.telemetry.banner());
    lines.extend([("Server Root", root.to_string()), ("Server Conf", format!("{root}/httpd.conf"))]);
    lines.extend(settings.logs.banner(&inputs.logs));
    let [output, debug_mode] = settings.debugging.banner();
    lines.extend(output);
    if setup {
        let rules = settings.files.rewrite_rules.clone();
        let rules = rules.unwrap_or_else(|| settings.server_root.join("rewrite.conf"));
        lines.push(("Rewrite Rules", rules.display().to_string()));
        let variables = settings.environment.script.clone();
        let variables = variables.unwrap_or_else(|| settings.server_root.join("envvars"));
        lines.push(("Environ Variables", variables.display().to_string()));
        lines.push(("Control Script", format!("{root}/apachectl")));
    }
    let account = inputs.account;
    let chosen = if account.by_default { " (started as root without --user)" } else { "" };
    let python = inputs.python;
    let mode = match &settings.daemon {
        Some(_) => "daemon",
        None if settings.debugging.is_on => "debug",
        None => "embedded",
    };
    lines.push(("Operating Mode", mode.to_owned()));
    lines.extend(debug_mode);
    lines.extend([
        ("Python", format!("{} {} ({})", python.executable.display(), python.version, python.origin)),
        ("Serving Account", format!("{}:{}{chosen}", account.user, account.group)),
        (
            "Request Capacity",
            format!(
                "{} ({} * {})",
                settings.capacity(),
                match settings.least_processes {
                    Some(least) => format!("{least} to {}", count(processes, "process", "processes")),
                    None => count(processes, "process", "processes"),
                },
                count(threads, "thread", "threads")
            ),
        ),
    ]);
    if let Some(container) = &settings.container {
        lines.push(container.banner());
    }
    if settings.container.is_some() || settings.health.is_graceful {
        lines.push(("Grace Period", format!("{} (seconds)", settings.grace_period())));
    }
    if let Some(daemon) = &settings.daemon {
        for (label, name) in [
            ("Request Timeout", "request-timeout"),
            ("Interrupt Timeout", "interrupt-timeout"),
            ("Startup Timeout", "startup-timeout"),
        ] {
            if daemon.number(name) > 0 {
                lines.push((label, format!("{} (seconds)", daemon.number(name))));
            }
        }
        lines.push(("Queue Backlog", format!("{} (connections)", daemon.number("listen-backlog"))));
        lines.push(("Queue Timeout", format!("{} (seconds)", daemon.number("queue-timeout"))));
        let (threaded, prefork) = settings.sizing.capacities(settings.capacity());
        lines.push(("Server Capacity", format!("{threaded} (event/worker), {prefork} (prefork)")));
    }
    lines.extend([
        ("Server MPM", inputs.mpm.name().to_owned()),
        ("Server Backlog", format!("{} (connections)", settings.limits.backlog)),
        ("Locale Setting", inputs.locale.clone()),
    ]);
    lines.iter().fold(String::new(), |mut text, (label, value)| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{label:<19}: {value}");
        text
    })
}

fn count(number: u32, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grammatical() {
        assert_eq!(count(1, "process", "processes"), "1 process");
        assert_eq!(count(2, "process", "processes"), "2 processes");
    }
}
