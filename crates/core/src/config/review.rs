//! Checks of a configuration once it is complete, for the administrator.

use super::{Global, GracefulTermination, NamedGroup};
use crate::codes::{NO_GROUPS, NO_SUCH_GROUP};
use crate::daemon::DaemonGroup;
use crate::diagnostic::Diagnostic;
use crate::nearest::nearest;
use crate::words::display;

impl Global {
    /// Returns what was found at single lines, and what only the whole shows.
    #[must_use]
    pub fn review(&self) -> Vec<Diagnostic> {
        let lines = self.diagnostics.iter().cloned();
        let named = self.named_groups.iter().filter_map(|named| self.review_name(named));
        let defined = self.daemons.iter().filter_map(|group| self.review_group(group));
        lines.chain(named).chain(defined).chain(self.review_telemetry()).chain(self.review_drain()).collect()
    }

    /// Returns why nothing is drained.
    fn review_drain(&self) -> Option<Diagnostic> {
        let is_useless = self.drain_delay > 0 && self.graceful_termination == GracefulTermination::Off;
        is_useless.then(|| {
            Diagnostic::warning(
                "WSGIDrainDelay has no effect: without WSGIGracefulTermination, SIGTERM stops the server at once"
                    .to_owned(),
            )
        })
    }

    /// Returns why slow requests are not reported.
    fn review_telemetry(&self) -> Option<Diagnostic> {
        let is_useless = self.telemetry.slow_requests.is_some() && self.telemetry.service.is_none();
        is_useless.then(|| {
            Diagnostic::warning(
                "WSGISlowRequests has no effect: slow requests are reported to the collector that WSGITelemetryService \
                 names, and there is none"
                    .to_owned(),
            )
        })
    }

    /// Returns what is wrong with the place that requests are sent to.
    fn review_name(&self, named: &NamedGroup) -> Option<Diagnostic> {
        let shown = display(&named.name);
        let text = match self.daemon(&named.name) {
            Some(group) if group.options.is_service() => format!(
                "{NO_SUCH_GROUP}: The process group '{shown}' has threads=0: it runs service scripts, and requests that are sent to it get a 500. \
                 Send them to another group, or give it threads"
            ),
            Some(_) => return None,
            None => {
                let code = if self.daemons.is_empty() { NO_GROUPS } else { NO_SUCH_GROUP };
                let names: Vec<_> = self.daemons.iter().map(|group| display(&group.name)).collect();
                let remedy = match nearest(&named.name, names.iter().map(AsRef::as_ref)) {
                    Some(meant) => format!("did you mean '{meant}'?"),
                    None => "define it with WSGIDaemonProcess".to_owned(),
                };
                format!(
                    "{code}: There is no process group '{shown}', and requests that are sent to it get a 500: {remedy}"
                )
            }
        };
        Some(Diagnostic::warning(text).at(&named.position))
    }

    /// Returns why the processes of a group have nothing to do.
    fn review_group(&self, group: &DaemonGroup) -> Option<Diagnostic> {
        let name = display(&group.name);
        if self.imports_of(&group.name).next().is_some() {
            return None;
        }
        if group.options.is_service() {
            return Some(Diagnostic::warning(format!(
                "The process group '{name}' has threads=0 and nothing to run: add a WSGIImportScript with process-group={name}"
            )));
        }
        let is_named = self.named_groups.iter().any(|named| named.name == group.name);
        (!is_named && !self.names_group_by_request).then(|| {
            Diagnostic::warning(format!(
                "No line sends requests to the process group '{name}', whose processes are started nevertheless: add \
                 WSGIProcessGroup {name}, or process-group={name} to a WSGIScriptAlias"
            ))
        })
    }
}
