//! The choice of a process in a group whose number of processes follows the load.
//!
//! Requests fill the processes in the order of their slots, each up to half of its threads; beyond
//! that, one goes to the least busy process. So the first ones keep their caches warm, and the last
//! ones have nothing to do when there is little, and end. Filled up to the last thread, one process
//! would compute on one processor (with Python's lock) while another one is idle.

use wsgi_core::wire::board::State;

/// A slot of the group, as a child sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) slot: usize,
    pub(super) state: State,
    /// The number of requests that its process has.
    pub(super) load: u32,
    /// It is tried only after the others.
    pub(super) is_avoided: bool,
}

/// The choice for a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// The slots worth connecting to, best first.
    pub(super) slots: Vec<usize>,
    /// The dormant slot through which to tell the supervisor that all processes are busy.
    pub(super) sign: Option<usize>,
}

/// Chooses among the slots of a group, whose processes serve so many requests at a time.
pub(super) fn choose(mut slots: Vec<Slot>, threads: u32) -> Choice {
    let dormant = slots.iter().find(|slot| slot.state == State::Dormant).map(|slot| slot.slot);
    let failing = slots.iter().find(|slot| slot.state == State::Failing).map(|slot| slot.slot);
    // Only one that starts is waited for, rather than that another one is started: and that only if
    // none serves.
    let wanted = [State::Serving, State::Starting];
    let wanted = wanted.into_iter().find(|state| slots.iter().any(|slot| slot.state == *state));
    let Some(wanted) = wanted else {
        // What cannot start fails in one slot, not in one after the other. Those in front of that one
        // have served: it was to be one process more.
        let is_tried = |slot: &usize| failing.is_none_or(|failing| *slot < failing);
        return Choice { slots: dormant.filter(is_tried).into_iter().collect(), sign: None };
    };
    slots.retain(|slot| slot.state == wanted);
    let beyond_half = |slot: &Slot| slot.load.saturating_add(1).saturating_sub(threads.div_ceil(2));
    slots.sort_by_key(|slot| (slot.is_avoided, beyond_half(slot), slot.slot));
    let are_busy = wanted == State::Serving && slots.iter().all(|slot| slot.load >= threads);
    Choice { slots: slots.iter().map(|slot| slot.slot).collect(), sign: dormant.filter(|_| are_busy) }
}

#[cfg(test)]
mod tests {
    use State::{Cut, Dormant, Failing, Serving, Starting};

    use super::*;

    fn chosen<const N: usize>(slots: [(State, u32); N]) -> (Vec<usize>, Option<usize>) {
        let slot = |(slot, (state, load))| Slot { slot, state, load, is_avoided: false };
        let Choice { slots, sign } = choose(slots.into_iter().enumerate().map(slot).collect(), 5);
        (slots, sign)
    }

    #[test]
    fn processes_are_filled_in_the_order_of_their_slots() {
        assert_eq!(chosen([(Serving, 0), (Serving, 0), (Dormant, 0)]), (vec![0, 1], None));
        assert_eq!(chosen([(Serving, 2), (Serving, 0), (Dormant, 0)]), (vec![0, 1], None));
        assert_eq!(chosen([(Serving, 3), (Serving, 0), (Dormant, 0)]), (vec![1, 0], None));
        assert_eq!(chosen([(Serving, 3), (Serving, 3), (Dormant, 0)]), (vec![0, 1], None));
        assert_eq!(chosen([(Serving, 4), (Serving, 3), (Dormant, 0)]), (vec![1, 0], None));
        assert_eq!(chosen([(Serving, 9), (Serving, 5), (Serving, 7)]), (vec![1, 2, 0], None));
    }

    #[test]
    fn the_supervisor_is_told_that_all_are_busy() {
        assert_eq!(chosen([(Serving, 5), (Serving, 6), (Dormant, 0), (Dormant, 0)]), (vec![0, 1], Some(2)));
        assert_eq!(chosen([(Serving, 5), (Starting, 0), (Dormant, 0)]), (vec![0], Some(2)));
        assert_eq!(chosen([(Serving, 5), (Starting, 0)]), (vec![0], None), "all run");
    }

    #[test]
    fn the_first_request_wakes_the_first_process() {
        assert_eq!(chosen([(Dormant, 0), (Dormant, 0)]), (vec![0], None));
        assert_eq!(chosen([(Starting, 0), (Dormant, 0)]), (vec![0], None), "and the next one waits for that");
        assert_eq!(chosen([(Cut, 0), (Dormant, 0)]), (vec![1], None));
    }

    #[test]
    fn failures_are_not_multiplied() {
        assert_eq!(chosen([(Failing, 0), (Dormant, 0)]), (vec![], None));
        assert_eq!(chosen([(Dormant, 0), (Failing, 0)]), (vec![0], None), "the first one has not failed");
        assert_eq!(chosen([(Failing, 0), (Serving, 0), (Dormant, 0)]), (vec![1], None));
        assert_eq!(chosen([(Cut, 0), (Cut, 0)]), (vec![], None));
    }

    #[test]
    fn a_process_that_closes_connections_is_tried_last() {
        let slot = |slot, load, is_avoided| Slot { slot, state: Serving, load, is_avoided };
        let slots = vec![slot(7, 0, true), slot(8, 20, false)];
        assert_eq!(choose(slots, 5), Choice { slots: vec![8, 7], sign: None });
    }
}
