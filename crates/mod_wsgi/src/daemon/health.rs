//! The readiness of process groups for requests, from the board: no process is asked.

use wsgi_core::config::Global;
use wsgi_core::health::{Obstacle, SlotHealth};

use super::target;

/// Returns why process groups are not ready.
pub(crate) fn obstacles(global: &Global) -> Vec<Obstacle> {
    let groups = global.daemons.iter().filter(|group| !group.options.is_service());
    let Some(client) = target::client() else {
        return groups.map(|group| Obstacle::Unknown(group.name.clone())).collect();
    };
    let generation = &client.generation;
    let of_groups = groups.filter_map(|group| {
        let Some(slots) = generation.slots_of(&group.name) else {
            return Some(Obstacle::Unknown(group.name.clone()));
        };
        let slots = slots.map(|slot| SlotHealth {
            state: generation.state(slot),
            lacks_import: generation.lacks_import(slot),
        });
        Obstacle::of_group(&group.name, group.options.least_process_count() == 0, slots)
    });
    // (A supervisor without groups is there for the exporter, which no request needs.)
    let is_unsupervised = !global.daemons.is_empty() && generation.is_unsupervised();
    is_unsupervised.then_some(Obstacle::Unsupervised).into_iter().chain(of_groups).collect()
}
