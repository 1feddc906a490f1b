//! The places where scripts run, as far as the configuration tells.

use crate::daemon::ServerId;
use crate::groups;

/// Places where the lines of the configuration let scripts run.
///
/// It decides when an Apache child starts Python. If everything goes to daemon processes, it never
/// should; but a request may turn out to be for the child all the same, so this need not be right,
/// and in doubt it says no: Python then starts with the first such request.
#[derive(Debug, Default)]
pub struct Mounts {
    servers: Vec<Server>,
    /// A line names the Apache children.
    is_named: bool,
    /// A line names a group that depends on the request.
    is_variable: bool,
    /// Set if a directory section names another group, since nobody knows which requests it gets.
    is_uncertain: bool,
}

#[derive(Debug, Default)]
struct Server {
    host: Option<ServerId>,
    /// Has a script that goes where `WSGIProcessGroup` says.
    inherits: bool,
    process_group: Option<Box<[u8]>>,
}

/// The place of the processes of a configured name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Destination {
    ApacheChildren,
    Daemons,
    Variable,
}

impl Mounts {
    /// Records that `host` (`None`: the main server) leads requests to a script, with this option
    /// `process-group=`.
    pub(crate) fn mount(&mut self, host: Option<ServerId>, process_group: Option<&[u8]>) {
        match process_group.map(Destination::of) {
            None => self.server(host).inherits = true,
            Some(Destination::ApacheChildren) => self.is_named = true,
            Some(Destination::Variable) => self.is_variable = true,
            Some(Destination::Daemons) => {}
        }
    }

    /// Records `WSGIProcessGroup` at the level of a server.
    pub(crate) fn server_group(&mut self, host: Option<ServerId>, process_group: &[u8]) {
        self.server(host).process_group = Some(process_group.into());
    }

    /// Records `WSGIProcessGroup` in a directory section.
    pub(crate) fn section_group(&mut self, process_group: &[u8]) {
        match Destination::of(process_group) {
            Destination::ApacheChildren => self.is_named = true,
            Destination::Daemons | Destination::Variable => self.is_uncertain = true,
        }
    }

    /// Returns whether the Apache children run scripts. Without groups of daemon processes
    /// (`has_daemons`), nobody else can.
    #[must_use]
    pub fn are_in_apache_children(&self, has_daemons: bool) -> bool {
        let main = self.servers.iter().find(|server| server.host.is_none());
        let runs_there = |place| match place {
            Destination::ApacheChildren => !(self.is_uncertain && has_daemons),
            Destination::Daemons => false,
            Destination::Variable => !has_daemons,
        };
        // A virtual host has the scripts of the main server, too.
        let mut in_force = self
            .servers
            .iter()
            .filter(|server| server.inherits || main.is_some_and(|main| main.inherits))
            .map(|server| {
                let inherited = main.and_then(|main| main.process_group.as_deref());
                server
                    .process_group
                    .as_deref()
                    .or(inherited)
                    .map_or(Destination::ApacheChildren, Destination::of)
            });
        self.is_named || (self.is_variable && !has_daemons) || in_force.any(runs_there)
    }

    fn server(&mut self, host: Option<ServerId>) -> &mut Server {
        let index = self.servers.iter().position(|server| server.host == host).unwrap_or_else(|| {
            self.servers.push(Server { host, ..Server::default() });
            self.servers.len() - 1
        });
        &mut self.servers[index]
    }
}

impl Destination {
    fn of(process_group: &[u8]) -> Self {
        match process_group {
            b"" | b"%{GLOBAL}" => Self::ApacheChildren,
            name if groups::is_constant(name) => Self::Daemons,
            _ => Self::Variable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: Option<ServerId> = None;
    const HOST: Option<ServerId> = Some(ServerId(1));
    const OTHER: Option<ServerId> = Some(ServerId(2));

    fn mounts(build: impl Fn(&mut Mounts)) -> (bool, bool) {
        let mut mounts = Mounts::default();
        build(&mut mounts);
        (mounts.are_in_apache_children(true), mounts.are_in_apache_children(false))
    }

    #[test]
    fn without_mounts_no_mode_is_used() {
        assert_eq!(mounts(|_| {}), (false, false));
        assert_eq!(mounts(|mounts| mounts.server_group(MAIN, b"g")), (false, false));
    }

    #[test]
    fn options_of_the_line_decide() {
        assert_eq!(mounts(|mounts| mounts.mount(MAIN, None)), (true, true));
        assert_eq!(mounts(|mounts| mounts.mount(HOST, Some(b""))), (true, true));
        assert_eq!(mounts(|mounts| mounts.mount(HOST, Some(b"g"))), (false, false));
        assert_eq!(mounts(|mounts| mounts.mount(HOST, Some(b"%{ENV:G}"))), (false, true));
    }

    #[test]
    fn servers_inherit_the_group() {
        let to_daemons = |mounts: &mut Mounts| {
            mounts.mount(HOST, None);
            mounts.server_group(MAIN, b"g");
        };
        assert_eq!(mounts(to_daemons), (false, false));
        let host_goes_back = |mounts: &mut Mounts| {
            to_daemons(mounts);
            mounts.server_group(HOST, b"%{GLOBAL}");
        };
        assert_eq!(mounts(host_goes_back), (true, true));
        let one_of_two = |mounts: &mut Mounts| {
            mounts.mount(HOST, None);
            mounts.server_group(HOST, b"g");
            mounts.mount(OTHER, None);
        };
        assert_eq!(mounts(one_of_two), (true, true));
    }

    #[test]
    fn servers_inherit_the_scripts() {
        let host_embeds_main = |mounts: &mut Mounts| {
            mounts.server_group(HOST, b"%{GLOBAL}");
            mounts.mount(MAIN, None);
            mounts.server_group(MAIN, b"g");
        };
        assert_eq!(mounts(host_embeds_main), (true, true));
    }

    #[test]
    fn sections_make_it_uncertain() {
        let section = |group: &'static [u8]| {
            move |mounts: &mut Mounts| {
                mounts.mount(HOST, None);
                mounts.section_group(group);
            }
        };
        assert_eq!(mounts(section(b"g")), (false, true));
        assert_eq!(mounts(section(b"%{ENV:G}")), (false, true));
        assert_eq!(mounts(section(b"%{GLOBAL}")), (true, true));
    }
}
