//! The part of a server's state that the administrator of one virtual host may see.

use std::mem;

use crate::snapshot::{EventKind, Group, Mode, Snapshot};

/// The beginning of what stands for the name of a virtual host without `ServerName`; its addresses follow.
/// (No name has a space.)
pub const UNNAMED: &str = "VirtualHost ";

/// Leaves in a snapshot only what belongs to `virtual_host` (as `name:port`; empty for the main
/// server): the groups that are defined there, and the requests that came to it. Of the groups of
/// others, which its requests may go to, their names and these requests alone are left.
///
/// An event belongs to its group. One about a request has its path: those of groups that any virtual
/// host may use, since the main server defines them, are for nobody here.
///
/// Virtual hosts of the same name belong together, as they do for the use of process groups. Those
/// without a name belong to nobody else.
pub fn restrict(snapshot: &mut Snapshot, virtual_host: &str) {
    snapshot.scope = Some(virtual_host.to_owned());
    snapshot.warnings.clear();
    snapshot.server.dropped_spans = 0;
    snapshot.groups.retain_mut(|group| {
        group.requests.retain(|request| are_together(&request.virtual_host, virtual_host));
        if is_own(group, virtual_host) {
            return true;
        }
        *group = Group {
            name: mem::take(&mut group.name),
            mode: group.mode,
            virtual_host: mem::take(&mut group.virtual_host),
            is_partial: true,
            requests: mem::take(&mut group.requests),
            ..Group::default()
        };
        !group.requests.is_empty()
    });
    let own = snapshot.groups.iter().filter(|group| is_own(group, virtual_host));
    // (Not by name: another virtual host may have had a group of that name.)
    let own: Vec<_> = own.map(|group| (group.number, group.virtual_host.is_empty())).collect();
    snapshot.events.retain(|event| {
        let found = own.iter().find(|(number, _)| *number == event.group_number && *number != 0);
        found.is_some_and(|(_, is_shared)| !(*is_shared && event.kind == EventKind::Stuck))
    });
}

/// Returns whether a group belongs to a virtual host. Apache's children belong to all.
fn is_own(group: &Group, virtual_host: &str) -> bool {
    group.mode == Mode::Daemon && are_together(&group.virtual_host, virtual_host)
}

fn are_together(one: &str, other: &str) -> bool {
    owner(one) == owner(other)
}

/// Returns what virtual hosts that belong together have in common: the name, with the colon before
/// the port; nothing for the main server.
#[must_use]
pub fn owner(virtual_host: &str) -> &str {
    if virtual_host.starts_with(UNNAMED) {
        return virtual_host;
    }
    virtual_host.rfind(':').map_or(virtual_host, |colon| &virtual_host[..=colon])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Ended, Event, Process, Request, Server};

    fn number(name: &str) -> u64 {
        name.bytes().next().unwrap_or(0).into()
    }

    fn group(name: &str, mode: Mode, virtual_host: &str) -> Group {
        let requests: &[&str] =
            if name == "b" { &["b.test:80"] } else { &["", "a.test:80", "a.test:443", "b.test:80"] };
        let request = |virtual_host: &&str| Request {
            virtual_host: (*virtual_host).to_owned(),
            path: format!("/of/{virtual_host}"),
            ..Request::default()
        };
        Group {
            name: name.to_owned(),
            number: number(name),
            mode,
            virtual_host: virtual_host.to_owned(),
            user: "somebody".to_owned(),
            scripts: vec!["/srv/app.wsgi".to_owned()],
            queued: 7,
            http: vec![Ended::default()],
            processes: vec![Process::default()],
            requests: requests.iter().map(request).collect(),
            ..Group::default()
        }
    }

    fn snapshot() -> Snapshot {
        let event =
            |group: &str| Event { group: group.to_owned(), group_number: number(group), ..Event::default() };
        let stuck = |group: &str| Event { kind: EventKind::Stuck, ..event(group) };
        let groups = ["", "shared", "a", "b", "gone"];
        let of_another = Event { group_number: number("gone"), ..event("a") };
        Snapshot {
            server: Server { dropped_spans: 3, ..Server::default() },
            groups: vec![
                group("", Mode::Embedded, ""),
                group("shared", Mode::Daemon, ""),
                group("a", Mode::Daemon, "a.test:443"),
                group("b", Mode::Daemon, "b.test:80"),
            ],
            events: [&groups.map(event)[..], &groups.map(stuck), &[of_another]].concat(),
            warnings: vec!["of the server".to_owned()],
            ..Snapshot::default()
        }
    }

    #[test]
    fn nothing_of_others_is_left() {
        let mut snapshot = snapshot();
        restrict(&mut snapshot, "a.test:80");
        assert_eq!(snapshot.groups.iter().map(|group| &*group.name).collect::<Vec<_>>(), ["", "shared", "a"]);
        for group in &snapshot.groups {
            let paths: Vec<_> = group.requests.iter().map(|request| &*request.path).collect();
            assert_eq!(paths, ["/of/a.test:80", "/of/a.test:443"]);
            let counts = (group.http.len(), group.processes.len(), group.queued, group.scripts.len());
            let expected = if group.name == "a" { (1, 1, 7, 1) } else { (0, 0, 0, 0) };
            assert_eq!(counts, expected, "{}", group.name);
        }
        let events: Vec<_> = snapshot.events.iter().map(|event| (&*event.group, event.kind)).collect();
        assert_eq!(events, [("a", EventKind::Crash), ("a", EventKind::Stuck)]);
        assert_eq!((snapshot.warnings.len(), snapshot.server.dropped_spans), (0, 0));
        assert_eq!(snapshot.scope.as_deref(), Some("a.test:80"));
        let text = crate::json::render(&snapshot);
        assert!(!text.contains("b.test"), "{text}");
    }

    #[test]
    fn a_virtual_host_without_requests_sees_its_groups_alone() {
        let mut snapshot = snapshot();
        restrict(&mut snapshot, "c.test:80");
        assert_eq!((snapshot.groups.len(), snapshot.events.len()), (0, 0));
        restrict(&mut snapshot, ":80");
        assert_eq!(snapshot.groups.len(), 0, "a host without a name is not the main server");
    }

    #[test]
    fn virtual_hosts_without_a_name_are_no_other() {
        let [one, other] = ["VirtualHost *:8001", "VirtualHost *:8002"];
        assert!(are_together(one, one) && !are_together(one, other) && !are_together(one, ""));
        assert!(!are_together(one, "*:8001") && !are_together("VirtualHost a.test:80", "a.test:80"));
    }

    #[test]
    fn the_main_server_is_no_virtual_host() {
        let mut snapshot = snapshot();
        restrict(&mut snapshot, "");
        assert_eq!(snapshot.groups.iter().map(|group| &*group.name).collect::<Vec<_>>(), ["", "shared", "a"]);
        assert!(snapshot.groups.iter().all(|group| group.requests.len() == 1));
        assert_eq!(snapshot.groups[2].processes.len(), 0);
        assert_eq!(snapshot.groups[1].processes.len(), 1);
        let events: Vec<_> = snapshot.events.iter().map(|event| (&*event.group, event.kind)).collect();
        assert_eq!(events, [("shared", EventKind::Crash)], "whose stuck requests those are is not known");
    }
}
