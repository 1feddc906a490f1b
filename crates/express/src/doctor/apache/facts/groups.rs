//! The groups of processes.

use std::path::PathBuf;

use os::spawn::{Limit, Resource};
use wsgi_core::daemon::DaemonGroup;
use wsgi_core::words::display;

use crate::account::Account;
use crate::doctor::apache::Configuration;
use crate::doctor::apache::line::{Line, path, place};
use crate::doctor::finding::Place;
use crate::doctor::subject::{Application, Group, PythonChoice};

/// The groups and applications that have been found.
pub(super) struct Gathered<'c> {
    pub(super) configuration: &'c Configuration,
    pub(super) account: Account,
    pub(super) groups: Vec<Group>,
    pub(super) applications: Vec<Application>,
}

impl<'c> Gathered<'c> {
    /// Finds the groups of a configuration.
    pub(super) fn new(configuration: &'c Configuration) -> Self {
        let account = account(configuration);
        let mut gathered = Self { configuration, account, groups: Vec::new(), applications: Vec::new() };
        let model = &configuration.model;
        // Of one whose line is refused, nothing but the name is known.
        let is_refused =
            |daemon: &DaemonGroup| model.refused.iter().any(|(_, position)| *position == daemon.position);
        let daemons = model.global.daemons.iter().filter(|daemon| !is_refused(daemon));
        gathered.groups = daemons.map(|daemon| gathered.group(daemon)).collect();
        gathered
    }

    fn place_of(&self, name: &str) -> Option<Place> {
        self.configuration.model.value(self.configuration.model.main(), name).map(Line::place)
    }

    fn group(&self, daemon: &DaemonGroup) -> Group {
        let options = &daemon.options;
        let own = Some(place(&daemon.position));
        let global = &self.configuration.model.global;
        let account = match (daemon.user, daemon.group) {
            (None, None) => self.account.clone(),
            (user, group) => {
                let uid = user.unwrap_or(self.account.uid.as_raw());
                Account::of_ids(
                    uid,
                    group.unwrap_or(self.account.gid.as_raw()),
                    daemon.supplementary_groups.clone(),
                )
            }
        };
        let named = daemon.python.as_deref().or(daemon.python_home.as_deref());
        let python = match (named, global.python_home.as_deref()) {
            (Some(home), _) => PythonChoice { home: Some(path(home).to_owned()), place: own.clone() },
            (None, Some(home)) => {
                PythonChoice { home: Some(path(home).to_owned()), place: self.place_of("WSGIPythonHome") }
            }
            (None, None) => PythonChoice { home: None, place: own.clone() },
        };
        let limit = |resource, value: u64| Limit { resource, soft: value, hard: value };
        let limits = [
            limit(Resource::Data, options.memory_limit),
            limit(Resource::AddressSpace, options.virtual_memory_limit),
        ];
        let environment = options
            .environment
            .iter()
            .map(|variable| (display(&variable.0).into_owned(), display(&variable.1).into_owned()));
        Group {
            name: Some(display(&daemon.name).into_owned()),
            place: own.clone(),
            account,
            python,
            python_path: paths(options.python_path.as_deref()),
            python_path_place: own.clone(),
            home: options.home.as_deref().map(|home| path(home).to_owned()),
            home_place: own.clone(),
            chroot: options.chroot.as_deref().map(|root| path(root).to_owned()),
            processes: options.process_count(),
            threads: options.threads,
            limits: limits.into_iter().filter(|limit| limit.soft > 0).collect(),
            environment: environment.collect(),
            lang: options.lang.as_deref().map(|name| display(name).into_owned()),
            locale: options.locale.as_deref().map(|name| display(name).into_owned()),
            locale_place: own,
            request_timeout: options.limits.request_timeout / 1000,
            memory_recycle: options.limits.memory_recycle,
            umask: options.umask,
        }
    }

    /// Returns the index of Apache's children among the groups.
    pub(super) fn embedded(&mut self) -> usize {
        if let Some(index) = self.groups.iter().position(Group::is_embedded) {
            return index;
        }
        let global = &self.configuration.model.global;
        let threads = self.configuration.threads();
        let workers = self.configuration.workers().map_or(threads, |(workers, _)| workers);
        let to_u32 = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let place = self.place_of("WSGIPythonHome");
        self.groups.push(Group {
            name: None,
            place: None,
            account: self.account.clone(),
            python: PythonChoice {
                home: global.python_home.as_deref().map(|home| path(home).to_owned()),
                place,
            },
            python_path: paths(global.interpreter.python_path.as_deref()),
            python_path_place: self.place_of("WSGIPythonPath"),
            home: None,
            home_place: None,
            chroot: None,
            processes: to_u32((workers / threads).max(1)),
            threads: to_u32(threads),
            limits: Vec::new(),
            environment: Vec::new(),
            lang: None,
            locale: None,
            locale_place: None,
            request_timeout: 0,
            memory_recycle: 0,
            umask: None,
        });
        self.groups.len() - 1
    }
}

/// Returns the account of Apache's children.
fn account(configuration: &Configuration) -> Account {
    let value =
        |name| configuration.model.value(configuration.model.main(), name).and_then(|line| line.text(0));
    let id = |name: String, of: fn(&str) -> Option<u32>| match name.strip_prefix('#') {
        Some(number) => number.parse().ok(),
        None => of(&name),
    };
    let user = value("User").and_then(|name| id(name, os::accounts::user_id));
    let group = value("Group").and_then(|name| id(name, os::accounts::group_id));
    match user {
        Some(uid) if configuration.is_root => {
            let own = || Account::of_ids(uid, 0, None).gid.as_raw();
            Account::of_ids(uid, group.unwrap_or_else(own), None)
        }
        _ => Account::invoking(None, None),
    }
}

fn paths(joined: Option<&[u8]>) -> Vec<PathBuf> {
    let joined = joined.unwrap_or_default();
    wsgi_core::interpreter::path_entries(joined).map(|entry| path(entry).to_owned()).collect()
}
