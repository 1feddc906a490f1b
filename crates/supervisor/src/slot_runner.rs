//! A slot with its processes: carries out what [`Slot`] decides.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::sys::epoll::EpollFlags;
use os::descriptors::{self, Wait};
use os::process::{Child, Exit, Signal};
use os::shared::ReadOnlyWords;
use wsgi_core::bucket::Bucket;
use wsgi_core::wire::board::State;
use wsgi_core::wire::control::Order;

use crate::context::Context;
use crate::log::Level;
use crate::page::Page;
use crate::process::{AbandonedProcess, Process, UnbornProcess};
use crate::record::{PendingEvent, RecordedGroup};
use crate::relay;
use crate::slot::{Action, Event, Key, Rules, Slot};
use crate::template::{self, Request};

mod board;
pub(crate) mod channel;
mod reports;
mod starts;
mod templates;

/// The budget for events of one kind that processes of a slot have recorded: eight at a stretch; in
/// the long run one in ten seconds.
const EVENT_BUDGET: u64 = 80_000;
/// The price of one.
const EVENT_PRICE: u64 = 10_000;

/// A slot and its processes.
#[derive(Debug)]
pub(crate) struct SlotRunner {
    index: usize,
    group: usize,
    slot: Slot,
    /// Its process ends when it has nothing to do.
    is_elastic: bool,
    channel: OwnedFd,
    page: Page,
    processes: Vec<Process>,
    abandoned: Vec<AbandonedProcess>,
    /// Processes that are wanted from a template.
    waiting: Vec<Request>,
    /// Processes that a template is to fork.
    unborn: Vec<UnbornProcess>,
    /// The flags that the channel is watched for.
    watched: Option<EpollFlags>,
    retired: Option<RetiredState>,
    /// The reason why the process of the event that is handled could not be started.
    cause: Option<String>,
    /// The traceback that the process of that event has reported.
    detail: Vec<u8>,
    /// The pipe of that process, and how it has ended, if it has: its stacks may have come through it.
    output: Option<(relay::Id, Exit)>,
    /// Bounds the failed imports that processes have recorded.
    imports: Bucket,
    /// Bounds the stuck requests that they have recorded.
    stuck: Bucket,
}

/// The state that is watched after retirement.
#[derive(Debug)]
struct RetiredState {
    page: Option<ReadOnlyWords>,
    idle_since: Option<u64>,
}

impl SlotRunner {
    /// Creates the runner of the slot with this index, which is one of this group with a number
    /// there, without a process yet.
    pub(crate) fn new(
        index: usize,
        (group, number): (usize, u32),
        context: &Context,
        channel: OwnedFd,
        page: OwnedFd,
    ) -> Self {
        let rules = Rules::from_options(&context.groups[group].daemon.options, number);
        Self {
            index,
            group,
            slot: Slot::new(rules),
            is_elastic: rules.is_elastic(),
            channel,
            page: Page::new(page, rules.end_without_supervisor(context.now())),
            processes: Vec::new(),
            abandoned: Vec::new(),
            waiting: Vec::new(),
            unborn: Vec::new(),
            watched: None,
            retired: None,
            cause: None,
            detail: Vec::new(),
            output: None,
            imports: Bucket::full(EVENT_BUDGET),
            stuck: Bucket::full(EVENT_BUDGET),
        }
    }

    /// Returns the index of the group.
    pub(crate) const fn group(&self) -> usize {
        self.group
    }

    /// Returns the process ids of the slot's processes that have not been waited for.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let processes = self.processes.iter().map(|process| &process.child);
        processes.chain(self.abandoned.iter().map(|abandoned| &abandoned.child)).map(Child::pid).collect()
    }

    /// Returns the time at which it wants a tick, at the latest.
    pub(crate) fn next(&self) -> Option<u64> {
        self.slot.next().into_iter().chain(self.page.next()).min()
    }

    /// Returns whether the slot is over, see [`Slot::is_over`].
    pub(crate) fn is_over(&self) -> bool {
        self.slot.is_over()
    }

    /// Handles an event: shows the new state on the board, and carries out the actions that follow.
    pub(crate) fn handle(&mut self, event: Event, context: &Context) {
        self.page.tick(context.now());
        // Also a supervisor that takes over finds it so.
        let event = if matches!(event, Event::Begin) && self.is_cut(context) { Event::Cut } else { event };
        let was_dormant = self.state() == State::Dormant;
        let (mut events, mut actions) = (VecDeque::from([event]), Vec::new());
        while let Some(event) = events.pop_front() {
            self.slot.handle(event, context.now(), &mut actions);
            // Before anybody can notice what follows from it.
            self.publish(context);
            for action in actions.drain(..) {
                events.extend(self.carry_out(action, context));
            }
        }
        self.cause = None;
        self.detail.clear();
        self.output = None;
        if !was_dormant && self.state() == State::Dormant {
            self.tell_template(template::Event::Dormant(self.index), context);
        }
    }

    /// Returns the state of the slot.
    pub(crate) fn state(&self) -> State {
        self.slot.state()
    }

    /// Returns the number of requests that run or wait in the processes of the slot.
    pub(crate) fn requests(&self) -> u32 {
        self.page.requests()
    }

    /// Wakes the slot because the others of its group are busy.
    pub(crate) fn grow(&mut self, context: &Context) {
        let text = "requests wait, another process is started";
        context.log(self.group, Level::Info, text);
        self.handle(Event::Grow, context);
    }

    /// Tells the process to share what waits there: so many serve now.
    pub(crate) fn share(&mut self, processes: u32, context: &Context) {
        let key = self.slot.serving().and_then(|pid| self.key_of(pid));
        let order = key.map(|key| Action::Order(key, Order::Share(processes)));
        if let Some(event) = order.and_then(|order| self.carry_out(order, context)) {
            self.handle(event, context);
        }
    }

    /// Returns which of the slot's processes this is, if it is one that has not been waited for.
    pub(crate) fn key_of(&self, pid: i32) -> Option<Key> {
        let processes = self.processes.iter().map(|process| (process.key, &process.child));
        let mut all =
            processes.chain(self.abandoned.iter().map(|abandoned| (abandoned.key, &abandoned.child)));
        all.find(|(_, child)| child.pid() == pid).map(|(key, _)| key)
    }

    fn carry_out(&mut self, action: Action, context: &Context) -> Option<Event> {
        match action {
            Action::Spawn(key, scripts) if context.groups[self.group].daemon.options.is_forked() => {
                Some(self.want(key, scripts, context))
            }
            Action::Spawn(key, scripts) => Some(self.spawn(key, scripts, 0, context)),
            Action::Abandon { key, is_late } => {
                if is_late {
                    self.cause = Some(self.log_late_start(key, context));
                }
                Some(self.abandon(key, context))
            }
            Action::Order(key, order) => {
                let process = self.processes.iter().find(|process| process.key == key)?;
                let has_sent = descriptors::send_with(&process.control, &order.encode(), &[], Wait::Never);
                has_sent.is_err().then_some(Event::Lost(key))
            }
            Action::Terminate(key) => self.signal(key, Signal::SIGTERM),
            Action::Kill(key) => self.signal(key, Signal::SIGKILL),
            Action::Log(level, text) => {
                context.log(self.group, level, text);
                None
            }
            Action::Tally(tally) => {
                context.record.count(self.index, tally, 1);
                None
            }
            Action::Record(kind, pid, text) => {
                let text = self.cause.take().unwrap_or(text);
                match self.output {
                    Some((output, exit)) if self.detail.is_empty() => {
                        let record = Arc::clone(&context.record);
                        let group = RecordedGroup::from(&context.groups[self.group]);
                        context.relay.record(output, exit, PendingEvent { record, kind, group, pid, text });
                    }
                    _ => context.record(self.group, kind, pid, text.as_bytes(), &self.detail),
                }
                None
            }
        }
    }

    fn signal(&self, key: Key, signal: Signal) -> Option<Event> {
        if let Some(process) = self.processes.iter().find(|process| process.key == key) {
            // This fails if the process has ended, which comes as an event of its own.
            let _ = process.child.signal(signal);
        }
        None
    }
}
