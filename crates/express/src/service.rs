//! Scripts that run in daemon processes of their own, beside the application.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::options::{self, Spec, pairs};
use crate::parse::Parsed;
use crate::settings::absolute;

/// A script with daemon processes of its own.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) script: PathBuf,
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
    /// A name in the directory of the logs.
    pub(crate) log_file: Option<String>,
}

impl Service {
    /// Returns all services that were asked for.
    ///
    /// # Errors
    /// An option names a service that does not exist, or two services have the same name.
    pub(crate) fn all(parsed: &Parsed) -> Result<Vec<Self>, Failure> {
        let mut services: Vec<Self> = Vec::new();
        for (name, file) in pairs(parsed, &options::SERVICE_SCRIPT) {
            if name.is_empty() || services.iter().any(|service| service.name == *name) {
                return Err(Failure::usage(format!(
                    "option --service-script: the name '{name}' is empty or used twice; choose another"
                )));
            }
            services.push(Self {
                name: name.clone(),
                script: absolute(file)?,
                user: None,
                group: None,
                log_file: None,
            });
        }
        let all = &mut services;
        detail(parsed, &options::SERVICE_USER, all, |service, user| service.user = Some(user))?;
        detail(parsed, &options::SERVICE_GROUP, all, |service, group| service.group = Some(group))?;
        detail(parsed, &options::SERVICE_LOG_FILE, all, |service, file| service.log_file = Some(file))?;
        Ok(services)
    }
}

/// Adds a detail to a service that another option has declared.
fn detail(
    parsed: &Parsed,
    spec: &Spec,
    services: &mut [Service],
    set: impl Fn(&mut Service, String),
) -> Result<(), Failure> {
    for (name, value) in pairs(parsed, spec) {
        let Some(service) = services.iter_mut().find(|service| service.name == *name) else {
            return Err(Failure::usage(format!(
                "option {}: there is no service '{name}'; add --service-script {name} FILE",
                spec.name
            )));
        };
        set(service, value.clone());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn services(arguments: &[&str]) -> Result<Vec<Service>, Failure> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Service::all(&parse(&options::server(), arguments).unwrap())
    }

    #[test]
    fn details_belong_to_their_service() {
        let services = services(&[
            "--service-user",
            "b",
            "nobody",
            "--service-script",
            "a",
            "/a.py",
            "--service-script",
            "b",
            "/b.py",
            "--service-log-file",
            "a",
            "a.log",
        ])
        .unwrap();
        let [a, b] = &services[..] else { panic!("{services:?}") };
        assert_eq!((a.log_file.as_deref(), a.user.as_deref()), (Some("a.log"), None));
        assert_eq!((b.log_file.as_deref(), b.user.as_deref()), (None, Some("nobody")));
    }

    #[test]
    fn unknown_and_doubled_names_are_refused() {
        let text = services(&["--service-user", "x", "nobody"]).unwrap_err().to_string();
        assert!(text.contains("--service-script x"), "{text}");
        let twice = ["--service-script", "a", "/a", "--service-script", "a", "/b"];
        assert!(services(&twice).unwrap_err().to_string().contains("'a'"));
    }
}
