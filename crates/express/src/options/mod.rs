//! The options of each command.
//!
//! The options of a concern are defined in its module, in a [`section`](crate::spec::section); the
//! others in [`general`].

mod reference;

use crate::spec::{Section, Spec};
use crate::{
    auth, container, debugging, environment, files, general, health, limits, logs, names, proxy, telemetry,
    tls,
};

pub use reference::reference;

/// All options of `start-server` and `setup-server`, in the order of the help and the manual.
pub(crate) static SECTIONS: &[&Section] = &[
    &general::APPLICATION,
    &general::SERVER,
    &container::option::CONTAINERS,
    &names::NAMES,
    &tls::TLS,
    &proxy::PROXIES,
    &files::FILES,
    &auth::ACCESS,
    &logs::LOGS,
    &telemetry::TELEMETRY,
    &general::PROCESSES_AND_THREADS,
    &general::REQUESTS,
    &limits::LIMITS,
    &health::HEALTH,
    &general::RELOADING,
    &debugging::DEBUGGING,
    &general::INTERPRETERS,
    &general::FRONT,
    &general::SERVICES,
    &environment::ENVIRONMENT,
];

/// All options of `start-server` and `setup-server`.
pub(crate) fn server() -> Vec<&'static Spec> {
    SECTIONS.iter().flat_map(|section| section.options).copied().collect()
}

/// The options of `module-config`.
pub(crate) fn module_config() -> Vec<&'static Spec> {
    vec![&general::PYTHON]
}

/// The options of `install-module`.
pub(crate) fn install_module() -> Vec<&'static Spec> {
    vec![&general::MODULES_DIRECTORY, &general::PYTHON]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Kind;
    use std::collections::BTreeSet;

    #[test]
    fn the_contract_s_152_spellings_are_known() {
        // These options are our own additions.
        let ours = [
            general::PYTHON.name,
            general::SCALE_UP_WAIT.name,
            general::SCALE_DOWN_IDLE.name,
            logs::MAX_LOG_FILES.name,
            general::RESTART_JITTER.name,
            general::MEMORY_RECYCLE.name,
            general::UMASK.name,
            general::STUCK_TIMEOUT.name,
            general::MEMORY_LIMIT.name,
            general::VIRTUAL_MEMORY_LIMIT.name,
            general::STRICT.name,
            auth::ACCESS_PROCESSES.name,
            container::option::CONTAINER.name,
            health::HEALTH_PATH.name,
            health::HEALTH_CLIENT.name,
            health::GRACEFUL_STOP.name,
            health::DRAIN_DELAY.name,
            telemetry::OPENTELEMETRY.name,
        ];
        assert_eq!(server().iter().filter(|spec| !ours.contains(&spec.name)).count(), 152);
    }

    #[test]
    fn definitions_are_complete_and_unique() {
        let mut names = BTreeSet::new();
        for spec in server() {
            assert!(names.insert(spec.name), "{} is defined twice", spec.name);
            assert!(spec.name.starts_with("--"), "{}", spec.name);
            assert!(
                spec.help.ends_with('.') && spec.help.len() > 10,
                "{} needs a sentence of help",
                spec.name
            );
            assert_eq!(spec.kind == Kind::Flag, spec.arguments.is_empty(), "{}", spec.name);
        }
    }
}
