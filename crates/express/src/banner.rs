//! What is said before the server runs.

use std::fmt::Write;

use crate::config::Inputs;

/// The banner; `setup` adds what is of use to someone who will start the server by hand.
pub(crate) fn banner(inputs: &Inputs<'_>, setup: bool) -> String {
    let settings = inputs.settings;
    let root = settings.server_root.display();
    let (error_log, access_log) = &inputs.logs;
    let (processes, threads) = (settings.processes, settings.threads);
    let mut lines = vec![
        ("Server URL", format!("{}/", settings.url())),
        ("Server Root", root.to_string()),
        ("Server Conf", format!("{root}/httpd.conf")),
        ("Error Log File", format!("{error_log} ({})", settings.log_level)),
    ];
    if let Some(access_log) = access_log {
        lines.push(("Access Log File", access_log.clone()));
    }
    if setup {
        lines.push(("Environ Variables", format!("{root}/envvars")));
        lines.push(("Control Script", format!("{root}/apachectl")));
    }
    let account = inputs.account;
    let chosen = if account.by_default { " (started as root without --user)" } else { "" };
    let python = inputs.python;
    lines.extend([
        ("Operating Mode", "embedded (this version has no daemon mode yet)".to_owned()),
        ("Python", format!("{} {} ({})", python.executable.display(), python.version, python.origin)),
        ("Serving Account", format!("{}:{}{chosen}", account.user, account.group)),
        (
            "Request Capacity",
            format!(
                "{} ({} * {})",
                processes * threads,
                count(processes, "process", "processes"),
                count(threads, "thread", "threads")
            ),
        ),
        ("Server MPM", inputs.mpm.name().to_owned()),
        ("Server Backlog", "500".to_owned()),
        ("Locale Setting", locale(|name| std::env::var(name).ok())),
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

/// What the control script ends up with.
fn locale(variable: impl Fn(&str) -> Option<String>) -> String {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| variable(name).filter(|value| !value.is_empty()));
    set.filter(|name| name != "C" && name != "POSIX").unwrap_or_else(|| "C.UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_locales_become_utf_8() {
        let with = |value: &'static str| locale(move |name| (name == "LANG").then(|| value.to_owned()));
        assert_eq!(with("de_DE.UTF-8"), "de_DE.UTF-8");
        for plain in ["", "C", "POSIX"] {
            assert_eq!(with(plain), "C.UTF-8");
        }
    }

    #[test]
    fn counts_are_grammatical() {
        assert_eq!(count(1, "process", "processes"), "1 process");
        assert_eq!(count(2, "process", "processes"), "2 processes");
    }
}
