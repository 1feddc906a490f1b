//! Scripts that run in daemon processes of their own, beside the application.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::general;
use crate::parse::Parsed;
use crate::spec::Spec;
use crate::values::{absolute, pairs};

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
    /// A service has no name, or two have the same.
    pub(crate) fn all(parsed: &Parsed) -> Result<Vec<Self>, Failure> {
        let mut services: Vec<Self> = Vec::new();
        for (name, file) in pairs(parsed, &general::SERVICE_SCRIPT) {
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
        detail(parsed, &general::SERVICE_USER, all, |service, user| service.user = Some(user));
        detail(parsed, &general::SERVICE_GROUP, all, |service, group| service.group = Some(group));
        detail(parsed, &general::SERVICE_LOG_FILE, all, |service, file| service.log_file = Some(file));
        Ok(services)
    }
}

/// Adds a detail to a service that another option has declared.
fn detail(parsed: &Parsed, spec: &Spec, services: &mut [Service], set: impl Fn(&mut Service, String)) {
    for (name, value) in pairs(parsed, spec) {
        if let Some(service) = services.iter_mut().find(|service| service.name == *name) {
            set(service, value.clone());
        }
    }
}

/// Returns a text for each option about a service that no other option has declared.
pub(crate) fn without_effect(parsed: &Parsed) -> Vec<String> {
    let is_declared =
        |name: &str| pairs(parsed, &general::SERVICE_SCRIPT).any(|(declared, _)| *declared == *name);
    let details = [&general::SERVICE_USER, &general::SERVICE_GROUP, &general::SERVICE_LOG_FILE];
    let details = details.into_iter().flat_map(|spec| pairs(parsed, spec).map(move |(name, _)| (spec, name)));
    details
        .filter(|(_, name)| !is_declared(name))
        .map(|(spec, name)| {
            format!(
                "{} is without effect for the service '{name}': there is none; add --service-script {name} FILE",
                spec.name
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
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
    fn doubled_names_are_refused_and_unknown_ones_said() {
        let arguments = ["--service-user", "x", "nobody"].map(str::to_owned).to_vec();
        let lines = without_effect(&parse(&options::server(), arguments).unwrap());
        assert!(lines.len() == 1 && lines[0].contains("--service-script x"), "{lines:?}");
        let twice = ["--service-script", "a", "/a", "--service-script", "a", "/b"];
        assert!(services(&twice).unwrap_err().to_string().contains("'a'"));
    }
}
