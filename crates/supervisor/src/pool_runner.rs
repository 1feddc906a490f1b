//! A group whose number of processes follows the load: carries out what [`Pool`] decides, and
//! decides what the connections that come to a dormant slot lead to.

use std::ops::Range;

use nix::sys::epoll::EpollFlags;
use wsgi_core::wire::board::{State, slot as board};

use crate::context::Context;
use crate::pool::{Load, Pool};
use crate::slot::Event;
use crate::slot_runner::SlotRunner;
use crate::slot_runner::channel::Knock;

/// The number of signs that are taken at a stretch from one channel.
const BATCH: usize = 64;

/// The pool of one group.
#[derive(Debug)]
pub(crate) struct PoolRunner {
    /// The slots of the group.
    slots: Range<usize>,
    pool: Pool,
}

impl PoolRunner {
    /// Creates the pools of all groups whose number of processes follows the load.
    pub(crate) fn of_groups(context: &Context) -> Vec<Self> {
        let (mut pools, mut next) = (Vec::new(), 0);
        for group in &context.groups {
            let options = &group.daemon.options;
            let slots = next..next + options.process_count() as usize;
            next = slots.end;
            if options.is_elastic() {
                let pool = Self { slots, pool: Pool::new(options) };
                // A supervisor before this one may have left it.
                pool.publish(context);
                pools.push(pool);
            }
        }
        pools
    }

    /// Returns whether a slot is one of the group.
    pub(crate) fn has(&self, slot: usize) -> bool {
        self.slots.contains(&slot)
    }

    /// Returns the time of the next look at the load.
    pub(crate) fn next(&self) -> Option<u64> {
        self.pool.next()
    }

    /// Handles the channel of a dormant slot, which has something for it or has lost its senders.
    pub(crate) fn on_knock(
        &mut self,
        slot: usize,
        flags: EpollFlags,
        runners: &mut [SlotRunner],
        context: &Context,
    ) {
        if flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            return runners[slot].on_channel(flags, context);
        }
        for _ in 0..BATCH {
            match runners[slot].next_knock(context) {
                None => return,
                Some(Knock::Busy) => {
                    self.pool.on_busy(context.now());
                    self.publish(context);
                }
                Some(Knock::Unused) => return runners[slot].handle(Event::Unused, context),
                Some(Knock::Cut) => return runners[slot].handle(Event::Cut, context),
                // Its sender did not know yet that the process was about to end.
                Some(Knock::Connection) if self.has_others(slot, runners) => {
                    return runners[slot].close_waiting();
                }
                Some(Knock::Connection) => return runners[slot].handle(Event::Wake, context),
            }
        }
    }

    /// Handles a process that has begun to serve, in a slot where none did: it gets some of the
    /// requests that wait elsewhere. There may be more of them than it has threads.
    pub(crate) fn on_new_process(&mut self, slot: usize, runners: &mut [SlotRunner], context: &Context) {
        let is_serving = |other: &usize| runners[*other].state() == State::Serving;
        let serving: Vec<_> = self.slots.clone().filter(is_serving).collect();
        let count = u32::try_from(serving.len()).unwrap_or(u32::MAX);
        for other in serving.into_iter().filter(|other| *other != slot) {
            runners[other].share(count, context);
        }
        self.pool.on_new_process(context.now());
        self.publish(context);
    }

    /// Looks at the load, if it is time, and starts another process if one is wanted.
    pub(crate) fn look(&mut self, runners: &mut [SlotRunner], context: &Context) {
        if self.next().is_none_or(|next| next > context.now()) {
            return;
        }
        let load = |runner: &SlotRunner| {
            let state = runner.state();
            Load { state, requests: if state == State::Serving { runner.requests() } else { 0 } }
        };
        let loads: Vec<_> = runners[self.slots.clone()].iter().map(load).collect();
        let wanted = self.pool.look(&loads, context.now());
        self.publish(context);
        if let Some(number) = wanted {
            runners[self.slots.start + number].grow(context);
        }
    }

    /// Returns whether another slot of the group takes connections.
    fn has_others(&self, slot: usize, runners: &[SlotRunner]) -> bool {
        let mut others = self.slots.clone().filter(|other| *other != slot);
        others.any(|other| matches!(runners[other].state(), State::Serving | State::Starting))
    }

    /// Writes to the board whether the load is watched.
    fn publish(&self, context: &Context) {
        let word = self.slots.start * board::WORDS + board::IS_WATCHED;
        context.board.store(word, self.pool.is_watching().into());
    }
}
