//! The state of process groups, from the board and the pages: no process is asked.

use status::snapshot::{Group, Mode, Process, State};
use wsgi_core::config::Global;
use wsgi_core::daemon::DaemonGroup;
use wsgi_core::wire::board;

use super::generation::Generation;
use super::target;
use crate::{config, status as handler};

/// Returns the state of the process groups, in the order of the configuration.
pub(crate) fn groups(global: &Global) -> Vec<Group> {
    let generation = target::client().map(|client| &*client.generation);
    global.daemons.iter().map(|group| self::group(group, generation)).collect()
}

fn group(group: &DaemonGroup, generation: Option<&Generation>) -> Group {
    let main = httpd::main_server();
    let host = main.and_then(|main| main.all().find(|server| Some(config::id(server)) == group.host));
    let options = &group.options;
    let processes = generation.and_then(|generation| {
        let slots = generation.slots_of(&group.name)?;
        Some(
            slots
                .enumerate()
                .map(|(slot, index)| process(generation, slot, index, options.threads))
                .collect(),
        )
    });
    let processes: Vec<Process> = processes.unwrap_or_default();
    Group {
        name: String::from_utf8_lossy(&group.name).into_owned(),
        mode: Mode::Daemon,
        virtual_host: host.map(handler::virtual_host).unwrap_or_default(),
        threads: options.threads,
        least_processes: options.least_process_count(),
        most_processes: options.process_count(),
        queued: processes.iter().map(|process| process.queued).sum(),
        processes,
        ..Group::default()
    }
}

fn process(generation: &Generation, slot: usize, index: usize, threads: u32) -> Process {
    let under_way = generation.busy(index);
    let busy = under_way.min(threads);
    Process {
        slot: u32::try_from(slot).unwrap_or(u32::MAX),
        state: match generation.state(index) {
            board::State::Starting => State::Starting,
            board::State::Serving => State::Serving,
            board::State::Failing => State::Failing,
            board::State::Dormant => State::Dormant,
            board::State::Cut => State::Cut,
        },
        pid: generation.pid(index),
        busy: busy.into(),
        queued: (under_way - busy).into(),
        lacks_import: generation.lacks_import(index),
        ..Process::default()
    }
}
