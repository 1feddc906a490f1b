//! Properties that hold for any sequence of events.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// An event of one of the processes that run, chosen by number.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Ready(usize),
    Replace(usize),
    Stopping(usize),
    Lost(usize),
    Exited(usize, u8),
    Idle(usize),
    Wake,
    Grow,
    Retire,
    Unused,
    Wait(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..4_usize).prop_map(Happening::Ready),
        3 => (0..4_usize).prop_map(Happening::Replace),
        1 => (0..4_usize).prop_map(Happening::Stopping),
        1 => (0..4_usize).prop_map(Happening::Lost),
        3 => (0..4_usize, 0..4_u8).prop_map(|(which, status)| Happening::Exited(which, status)),
        2 => (0..4_usize).prop_map(Happening::Idle),
        1 => Just(Happening::Wake),
        1 => Just(Happening::Grow),
        1 => Just(Happening::Retire),
        1 => Just(Happening::Unused),
        2 => (0..70_000_u64).prop_map(Happening::Wait),
        4 => (0..700_u64).prop_map(Happening::Wait),
    ]
}

/// The processes that a slot has asked for and that have not ended.
#[derive(Default)]
struct Running {
    starts: Vec<u64>,
    keys: BTreeSet<Key>,
    served: BTreeSet<Key>,
    told_to_go: BTreeSet<Key>,
    killed: BTreeSet<Key>,
}

impl Running {
    /// Does what the slot wants; every start works but those of keys that divide by seven.
    fn carry_out(&mut self, stage: &mut Stage, mut actions: Vec<Action>) {
        while let Some(action) = actions.pop() {
            match action {
                Action::Spawn(key, _) => {
                    assert!(!stage.slot.is_ending(), "started in vain");
                    self.starts.push(stage.now);
                    let event = if key % 7 == 0 {
                        Event::NotSpawned(key)
                    } else {
                        assert!(self.keys.insert(key), "twice the same");
                        Event::Spawned(key, 100 + key as i32)
                    };
                    actions.extend(stage.on(event));
                }
                Action::Order(key, Order::Serve) => assert!(self.served.insert(key), "served twice"),
                Action::Order(key, Order::Drain(_)) | Action::Terminate(key) => {
                    self.told_to_go.insert(key);
                }
                Action::Kill(key) => {
                    self.told_to_go.insert(key);
                    self.killed.insert(key);
                }
                Action::Abandon { key, .. } => {
                    self.keys.remove(&key);
                    actions.extend(stage.on(Event::NotSpawned(key)));
                }
                Action::Order(..) | Action::Log(..) | Action::Tally(_) | Action::Record(..) => {}
            }
        }
    }

    fn nth(&self, which: usize) -> Option<Key> {
        self.keys.iter().copied().nth(which)
    }
}

proptest! {
    #[test]
    fn no_process_is_forgotten_and_the_slot_is_always_filled(
        happenings in proptest::collection::vec(happening(), 0..60),
        is_elastic: bool,
    ) {
        let limits = Limits { graceful_timeout: 15_000, shutdown_timeout: 5_000, ..Limits::default() };
        let stage = if is_elastic { Stage::elastic() } else { Stage::new(15, limits) };
        let (mut stage, mut running) = (stage, Running::default());
        let actions = stage.on(Event::Begin);
        running.carry_out(&mut stage, actions);
        for happening in happenings {
            let event = match happening {
                Happening::Ready(which) => running.nth(which).map(Event::Ready),
                Happening::Replace(which) => {
                    running.nth(which).map(|key| Event::Replace(key, Reason::ShutdownSignal, vec![script()]))
                }
                Happening::Idle(which) => {
                    running.nth(which).map(|key| Event::Replace(key, Reason::InactivityTimeout, vec![]))
                }
                Happening::Wake => Some(Event::Wake),
                Happening::Grow => Some(Event::Grow),
                Happening::Stopping(which) => running.nth(which).map(|key| Event::Stopping(key, Reason::ShutdownSignal)),
                Happening::Lost(which) => running.nth(which).map(Event::Lost),
                Happening::Exited(which, status) => running.nth(which).map(|key| {
                    running.keys.remove(&key);
                    Event::Exited(key, Exit::Status(status))
                }),
                Happening::Retire => Some(Event::Retire),
                Happening::Unused => Some(Event::Unused),
                Happening::Wait(time) => {
                    stage.now += time;
                    Some(Event::Tick)
                }
            };
            let Some(event) = event else { continue };
            let actions = stage.on(event);
            running.carry_out(&mut stage, actions);

            let slot = &stage.slot;
            let held: BTreeSet<Key> = slot
                .current
                .iter()
                .chain(&slot.successor)
                .map(|process| process.key)
                .chain(slot.exiting.iter().map(|exiting| exiting.key))
                .collect();
            prop_assert_eq!(&held, &running.keys);
            prop_assert!(slot.current.is_some() || slot.successor.is_none(), "a successor of nobody");
            prop_assert_eq!(slot.serving().is_some(), slot.state() == State::Serving);
            prop_assert!(
                slot.is_ending() || slot.current.is_some() || slot.respawn.is_some() || slot.is_dormant,
                "nobody is there, and nobody comes"
            );
            prop_assert_eq!(slot.is_dormant && (slot.current.is_some() || !is_elastic), false);
            let stuck: BTreeSet<Key> =
                slot.exiting.iter().filter(|exiting| exiting.is_stuck).map(|exiting| exiting.key).collect();
            prop_assert!(stuck.is_subset(&running.killed));
            prop_assert_eq!(slot.is_over(), slot.is_ending() && running.keys.is_subset(&stuck));
        }
        for (first, from) in running.starts.iter().enumerate() {
            for (last, to) in running.starts.iter().enumerate().skip(first) {
                let bound = 8 + (to - from) / 1_000;
                prop_assert!((last - first + 1) as u64 <= bound, "too many starts: {:?}", running.starts);
            }
        }
        let actions = stage.on(Event::Stop);
        running.carry_out(&mut stage, actions);
        prop_assert!(running.keys.is_subset(&running.told_to_go), "somebody was not told");
        stage.now += 100_000;
        let actions = stage.on(Event::Tick);
        running.carry_out(&mut stage, actions);
        prop_assert!(running.keys.is_subset(&running.killed), "somebody was not killed");
        stage.now += DEFAULT_SHUTDOWN;
        stage.on(Event::Tick);
        prop_assert!(stage.slot.is_over() && stage.slot.next().is_none(), "it waits for what cannot be killed");
    }

    #[test]
    fn a_healthy_process_is_always_replaced_at_once(
        before in proptest::collection::vec((0..3_u8, 0..3_000_u64), 0..30),
        how in 0..3_u8,
    ) {
        let mut stage = Stage::new(15, Limits::default());
        let actions = stage.on(Event::Begin);
        let mut running = Running::default();
        running.carry_out(&mut stage, actions);
        for (what, time) in before {
            stage.now += time;
            let Some(key) = running.nth(0) else { continue };
            let event = match what {
                0 => Event::Ready(key),
                1 => Event::Replace(key, Reason::ScriptReload, vec![]),
                _ => {
                    running.keys.remove(&key);
                    Event::Exited(key, Exit::Status(1))
                }
            };
            for event in [event, Event::Tick] {
                let actions = stage.on(event);
                running.carry_out(&mut stage, actions);
            }
        }
        // At last there is one that stays.
        stage.now += 20_000;
        let actions = stage.on(Event::Tick);
        running.carry_out(&mut stage, actions);
        while let Some(key) = stage.slot.successor.as_ref().map(|process| process.key) {
            running.keys.remove(&key);
            let actions = stage.on(Event::Exited(key, Exit::Status(1)));
            running.carry_out(&mut stage, actions);
        }
        let key = stage.slot.current.as_ref().map(|process| process.key);
        prop_assume!(key.is_some());
        let key = key.unwrap_or(0);
        stage.on(Event::Ready(key));
        stage.now += starts::SHORT_LIFE;
        let actions = stage.on(match how {
            0 => Event::Exited(key, Exit::Signal(11, false)),
            1 => Event::Stopping(key, Reason::InactivityTimeout),
            _ => Event::Replace(key, Reason::ScriptReload, vec![]),
        });
        prop_assert!(matches!(actions.last(), Some(Action::Spawn(..))), "{:?}", actions);
    }
}
