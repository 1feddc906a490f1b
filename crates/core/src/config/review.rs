//! Checks of a configuration once it is complete, for the administrator.

use super::{Global, GracefulTermination, NamedGroup, ServerConfig};
use crate::alias::Location;
use crate::codes::{GROUP_OF_OTHER_HOST, NO_GROUPS, NO_SUCH_GROUP};
use crate::daemon::{DaemonGroup, Inaccessible, NamedServer};
use crate::diagnostic::Diagnostic;
use crate::nearest::nearest;
use crate::words::display;

/// A server of a complete configuration.
#[derive(Debug, Clone, Copy)]
pub struct Reviewed<'a> {
    /// The server and its name.
    pub server: NamedServer<'a>,
    /// Its settings: those of a virtual host are merged with the main server's.
    pub config: &'a ServerConfig,
}

impl Global {
    /// Returns what was found at single lines, and what only the whole shows. Of `servers`, the main
    /// one comes first.
    #[must_use]
    pub fn review(&self, servers: &[Reviewed<'_>]) -> Vec<Diagnostic> {
        let lines = self.diagnostics.iter().cloned();
        let named = self.named_groups.iter().filter_map(|named| self.review_name(named, servers));
        let defined = self.daemons.iter().filter_map(|group| self.review_group(group));
        let aliases = review_aliases(servers);
        lines.chain(named).chain(defined).chain(aliases).chain(self.review_drain()).collect()
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

    /// Returns what is wrong with the place that requests are sent to.
    fn review_name(&self, named: &NamedGroup, servers: &[Reviewed<'_>]) -> Option<Diagnostic> {
        let shown = display(&named.name);
        let diagnostic = match self.daemon(&named.name) {
            Some(group) if group.options.is_service() => Diagnostic::warning(format!(
                "{NO_SUCH_GROUP}: The process group '{shown}' has threads=0: it runs service scripts, and requests that are sent to it get a 500"
            ))
            .remedy("send them to another group, or give it threads"),
            Some(group) => review_access(group, named, servers)?,
            None => {
                let code = if self.daemons.is_empty() { NO_GROUPS } else { NO_SUCH_GROUP };
                let names: Vec<_> = self.daemons.iter().map(|group| display(&group.name)).collect();
                let remedy = match nearest(&named.name, names.iter().map(AsRef::as_ref)) {
                    Some(meant) => format!("did you mean '{meant}'?"),
                    None => "define it with WSGIDaemonProcess".to_owned(),
                };
                Diagnostic::warning(format!(
                    "{code}: There is no process group '{shown}', and requests that are sent to it get a 500"
                ))
                .remedy(remedy)
            }
        };
        Some(diagnostic.at(&named.position))
    }

    /// Returns why the processes of a group have nothing to do.
    fn review_group(&self, group: &DaemonGroup) -> Option<Diagnostic> {
        let name = display(&group.name);
        if self.imports_of(&group.name).next().is_some() {
            return None;
        }
        if group.options.is_service() {
            let diagnostic =
                Diagnostic::warning(format!("The process group '{name}' has threads=0 and nothing to run"))
                    .remedy(format!("add a WSGIImportScript with process-group={name}"));
            return Some(diagnostic.at(&group.position));
        }
        let is_named = self.named_groups.iter().any(|named| named.name == group.name);
        (!is_named && !self.names_group_by_request).then(|| {
            Diagnostic::warning(format!(
                "No line sends requests to the process group '{name}', whose processes are started nevertheless"
            ))
            .remedy(format!("add WSGIProcessGroup {name}, or process-group={name} to a WSGIScriptAlias"))
            .at(&group.position)
        })
    }
}

/// Returns why the virtual host whose line names a group may not use it (§5.1). A line of the main
/// server may be for the host that has the group.
fn review_access(group: &DaemonGroup, named: &NamedGroup, servers: &[Reviewed<'_>]) -> Option<Diagnostic> {
    let find = |host| servers.iter().map(|reviewed| reviewed.server).find(|server| server.host == host);
    let here = find(Some(named.host?))?;
    let own_name = find(group.host)?.name;
    let reason = group.admits(own_name, here).err()?;
    let shown = display(&named.name);
    let whose = match (reason, own_name) {
        (Inaccessible::OtherName, Some(name)) => format!("to the virtual host {}", display(name)),
        _ => "to another virtual host, and one of both has no ServerName".to_owned(),
    };
    Some(
        Diagnostic::warning(format!(
            "{GROUP_OF_OTHER_HOST}: The process group '{shown}' belongs {whose}, and requests that are sent to it from here get a 500"
        ))
        .remedy(format!("move its WSGIDaemonProcess ({}) out of the virtual host to share it", group.position)),
    )
}

/// Returns the script aliases that no request comes to, since one that is tried before takes all of
/// their URLs.
fn review_aliases(servers: &[Reviewed<'_>]) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let main = servers.first().map(|reviewed| reviewed.config);
    for (number, Reviewed { config, .. }) in servers.iter().enumerate() {
        // A virtual host without directives of ours has the configuration of the main server.
        if number > 0 && main.is_some_and(|main| std::ptr::eq(main, *config)) {
            continue;
        }
        for (index, alias) in config.aliases.iter().enumerate() {
            let Location::Prefix(prefix) = &alias.location else { continue };
            // What a virtual host inherits, it may replace.
            let is_inherited = number > 0
                && main.is_some_and(|main| {
                    main.aliases.iter().any(|other| std::sync::Arc::ptr_eq(other, alias))
                });
            let mut file = Vec::new();
            let taken = config.aliases[..index].iter().find(|earlier| {
                matches!(earlier.location, Location::Prefix(_)) && earlier.map(prefix, &mut file)
            });
            if let Some(earlier) = taken.filter(|_| !is_inherited) {
                diagnostics.push(
                    Diagnostic::warning(format!(
                        "No request comes to the alias of {}: the one of {} is tried first",
                        display(prefix),
                        earlier.position
                    ))
                    .remedy("put this line above that one")
                    .at(&alias.position),
                );
            }
        }
    }
    diagnostics
}
