//! The life of a group's template, as decisions: events in, actions out. No clock, no process.
//!
//! A template is a process that has imported the scripts of its group, and from which those of the
//! group's slots are forked. Templates are numbered. A process is forked from the latest one that is
//! ready; one that replaces a process because of a change is forked from a later template than that
//! process. Where there is no template, and none is being made, a process starts by itself and
//! imports the scripts: a template is never what a group needs to work.
//!
//! The template of a group without processes ends some time after the last of these, and the next
//! process has another one made.

use std::collections::BTreeSet;

use os::process::Exit;
use wsgi_core::ledger::EventKind;
use wsgi_core::lifecycle::Reason;
use wsgi_core::wire::control::Script;
use wsgi_core::wire::exit;
use wsgi_core::wire::launch::ProcessOptions;

use crate::log::Level;
use crate::slot::starts::{Ending, Starts};
use crate::slot::{Key, PREPARATION_TIMEOUT, SUCCESSOR_TIMEOUT};

/// The number of a template within its group, from 1 on; 0 comes before all of them.
pub(crate) type Number = u32;

/// The time that a template has to end when it is told to, and once it is killed.
const END_TIMEOUT: u64 = 1_000;

/// A process that a slot wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The index of the slot.
    pub(crate) slot: usize,
    /// The process.
    pub(crate) key: Key,
    /// Only a template after this one will do: the process replaces one that was there then,
    /// because of a change.
    pub(crate) newer_than: Option<Number>,
    /// The scripts that the process has to import, where a template is made for it.
    pub(crate) scripts: Vec<Script>,
}

/// An event of a template.
#[derive(Debug)]
pub(crate) enum Event {
    /// A slot wants a process.
    Wanted(Request),
    /// The template has become Python.
    Started(Number),
    /// It has imported the scripts.
    Ready(Number),
    /// It has ended, or could not be started (`None`).
    Ended(Number, Option<Exit>),
    /// It does not fork, though it was told to.
    Hung(Number),
    /// It could not fork the process that a slot wants, and waits for further orders, or has ended.
    NotForked(Number, Request),
    /// A process serves that has started by itself because of a change to what this template, and
    /// those before it, have imported.
    OutOfDate(Number),
    /// The slot with this index has become dormant.
    Dormant(usize),
    /// The configuration was read again: the group's processes are not replaced any more.
    Retire,
    /// Everything has to end now.
    Kill,
    /// Time has passed.
    Tick,
}

/// An action that an event leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start a template that imports these scripts, besides those of the configuration.
    Launch(Number, Vec<Script>),
    /// Have this template fork the process that a slot wants.
    Fork(Number, Request),
    /// Have the process that a slot wants start by itself.
    StartAlone(Request),
    /// Tell a slot that the scripts cannot be imported, which its process would have to.
    NotImported(Number, Request),
    /// Tell a template to end.
    End(Number),
    /// Kill it.
    Kill(Number),
    /// Write to the log.
    Log(Level, String),
    /// Record what has become of a template, with the cause.
    Record(Number, EventKind, String),
}

/// The templates of a group.
#[derive(Debug)]
pub(crate) struct Template {
    /// The `startup-timeout=` of the group, in milliseconds; 0: none.
    startup: u64,
    /// The time for which the template stays when there is no process.
    idle: u64,
    last: Number,
    /// True if the first process that is wanted has a template made.
    is_wanted: bool,
    /// True if the last template that was made had to say why no processes can be forked from it.
    /// The next one is made when there is a change.
    is_refused: bool,
    /// The slots that want a process.
    awake: BTreeSet<usize>,
    /// The time at which the template ends for lack of processes.
    rest: Option<u64>,
    ready: Option<ReadyTemplate>,
    starting: Option<StartingTemplate>,
    ending: Vec<EndingTemplate>,
    /// Processes that are wanted from the template that starts.
    waiting: Vec<Request>,
    /// The scripts of the last one that was ready.
    scripts: Vec<Script>,
    starts: Starts,
    /// The time at which another one is started in place of one that has died.
    again: Option<u64>,
    is_over: bool,
}

#[derive(Debug)]
struct ReadyTemplate {
    number: Number,
    since: u64,
}

#[derive(Debug)]
struct StartingTemplate {
    number: Number,
    since: u64,
    scripts: Vec<Script>,
    /// The end of its time to become Python, then to become ready.
    end: Option<u64>,
    /// The time to become ready.
    startup: Option<u64>,
}

#[derive(Debug)]
struct EndingTemplate {
    number: Number,
    /// The time at which it is killed, or was killed and is waited for no longer.
    end: Option<u64>,
    is_killed: bool,
}

/// Returns whether a process that is replaced for this reason needs a successor that has imported
/// the scripts anew: because they have changed, or because somebody may think so.
pub(crate) const fn needs_import(reason: Reason) -> bool {
    matches!(reason, Reason::ScriptReload | Reason::GracefulSignal | Reason::EvictionSignal)
}

impl Template {
    /// Creates the record of a group that has had no template.
    pub(crate) fn new(options: &ProcessOptions) -> Self {
        Self {
            startup: options.limits.startup_timeout,
            idle: options.limits.scale_down_idle,
            last: 0,
            is_wanted: true,
            is_refused: false,
            awake: BTreeSet::new(),
            rest: None,
            ready: None,
            starting: None,
            ending: Vec::new(),
            waiting: Vec::new(),
            scripts: Vec::new(),
            starts: Starts::new(false),
            again: None,
            is_over: false,
        }
    }

    /// Adds what is to be done to `actions`.
    pub(crate) fn handle(&mut self, event: Event, now: u64, actions: &mut Vec<Action>) {
        match event {
            Event::Wanted(request) => self.wanted(request, now, actions),
            Event::Started(number) => {
                if let Some(starting) = self.starting.as_mut().filter(|starting| starting.number == number) {
                    starting.end = starting.startup.map(|startup| now + startup);
                }
            }
            Event::Ready(number) => self.on_ready(number, now, actions),
            Event::Ended(number, exit) => self.on_end(number, exit, now, actions),
            Event::Hung(number) => {
                if self.ready.as_ref().is_some_and(|ready| ready.number == number) {
                    let text = format!("template {number} does not fork processes, and is killed");
                    actions.push(Action::Record(number, EventKind::Crash, text.clone()));
                    actions.push(Action::Log(Level::Error, text));
                    self.lose_ready(now);
                    self.kill(number, now, actions);
                }
            }
            // Another try would fail, too: because of threads or a limit. It may be able to later.
            Event::NotForked(number, request)
                if self.ready.as_ref().is_some_and(|ready| ready.number == number) =>
            {
                actions.push(Action::StartAlone(request));
            }
            Event::NotForked(_, request) => self.wanted(request, now, actions),
            Event::OutOfDate(number) => self.out_of_date(number, now, actions),
            Event::Dormant(slot) => {
                if self.awake.remove(&slot) && self.awake.is_empty() && !self.is_over {
                    self.rest = Some(now + self.idle);
                }
            }
            Event::Retire => self.retire(now, actions),
            Event::Kill => {
                self.retire(now, actions);
                for at in 0..self.ending.len() {
                    let number = self.ending[at].number;
                    self.kill(number, now, actions);
                }
            }
            Event::Tick => self.tick(now, actions),
        }
    }

    /// Returns the time at which it wants a tick, at the latest.
    pub(crate) fn next(&self) -> Option<u64> {
        let starting = self.starting.as_ref().and_then(|starting| starting.end);
        let ending = self.ending.iter().filter_map(|ending| ending.end);
        ending.chain(starting).chain(self.again).chain(self.rest).min()
    }

    /// Returns the number of the last template, whatever has become of it.
    pub(crate) const fn last(&self) -> Number {
        self.last
    }

    /// Returns whether a template was killed because it did not do what it should.
    pub(crate) fn has_killed(&self, number: Number) -> bool {
        self.ending.iter().any(|ending| ending.number == number && ending.is_killed)
    }

    /// Returns whether there is no template, and will be none.
    pub(crate) fn is_over(&self) -> bool {
        // One that was killed, and is held by the system, has no time any more.
        self.is_over && self.ending.iter().all(|ending| ending.end.is_none())
    }

    fn wanted(&mut self, request: Request, now: u64, actions: &mut Vec<Action>) {
        self.awake.insert(request.slot);
        self.rest = None;
        let ready = self.ready.as_ref().map(|ready| ready.number);
        let is_good = |number: Number| request.newer_than.is_none_or(|old| number > old);
        if let Some(number) = ready.filter(|number| is_good(*number)) {
            actions.push(Action::Fork(number, request));
        } else if self.starting.is_some() {
            self.waiting.push(request);
        } else if !self.is_over
            && (self.is_wanted || request.newer_than.is_some())
            && self.starts.wait(now) == 0
        {
            // An import may take long: there is no limit unless one was asked for, or another
            // process serves meanwhile.
            let startup = match request.newer_than {
                None if self.startup == 0 => None,
                _ => Some(self.startup.max(SUCCESSOR_TIMEOUT)),
            };
            let scripts = match request.newer_than {
                None => self.scripts.clone(),
                Some(_) => request.scripts.clone(),
            };
            self.launch(scripts, startup, now, actions);
            self.waiting.push(request);
        } else {
            actions.push(Action::StartAlone(request));
        }
    }

    fn launch(&mut self, scripts: Vec<Script>, startup: Option<u64>, now: u64, actions: &mut Vec<Action>) {
        (self.again, self.is_wanted, self.is_refused) = (None, false, false);
        self.last += 1;
        self.starts.take(now);
        actions.push(Action::Launch(self.last, scripts.clone()));
        let end = Some(now + PREPARATION_TIMEOUT);
        self.starting = Some(StartingTemplate { number: self.last, since: now, scripts, end, startup });
    }

    fn on_ready(&mut self, number: Number, now: u64, actions: &mut Vec<Action>) {
        let Some(starting) = self.starting.take_if(|starting| starting.number == number) else { return };
        self.scripts = starting.scripts;
        if let Some(old) = self.ready.replace(ReadyTemplate { number, since: now }) {
            self.end(old.number, now, actions);
        }
        actions.extend(self.waiting.drain(..).map(|request| Action::Fork(number, request)));
    }

    fn on_end(&mut self, number: Number, exit: Option<Exit>, now: u64, actions: &mut Vec<Action>) {
        if let Some(at) = self.ending.iter().position(|ending| ending.number == number) {
            self.ending.remove(at);
        } else if let Some(starting) = self.starting.take_if(|starting| starting.number == number) {
            const NOT_IMPORTED: Option<Exit> = Some(Exit::Status(exit::NOT_IMPORTED));
            const NOT_FORKABLE: Option<Exit> = Some(Exit::Status(exit::NOT_FORKABLE));
            if exit == NOT_IMPORTED || exit == NOT_FORKABLE {
                // It has said why.
                self.is_refused = true;
                return self.give_up_waiting(exit == NOT_IMPORTED, number, actions);
            }
            if let Some(exit) = exit {
                let text = format!("template {number} has ended before it was ready: {exit}");
                actions.push(Action::Record(number, EventKind::FailedStart, text.clone()));
                actions.push(Action::Log(Level::Error, text));
            }
            self.lose_starting(&starting, now, actions);
        } else if self.ready.as_ref().is_some_and(|ready| ready.number == number) {
            let exit = exit.map_or_else(String::new, |exit| format!(": {exit}"));
            let text = format!("template {number} has ended{exit}; another one is started");
            actions.push(Action::Record(number, EventKind::Crash, text.clone()));
            actions.push(Action::Log(Level::Warning, text));
            self.lose_ready(now);
            self.start_again(now, actions);
        }
    }

    /// Answers the requests that wait for a template that will not be.
    fn give_up_waiting(&mut self, is_import: bool, number: Number, actions: &mut Vec<Action>) {
        let ready = self.ready.as_ref().map(|ready| ready.number);
        actions.extend(self.waiting.drain(..).map(|request| match (request.newer_than, ready) {
            (Some(_), _) if is_import => Action::NotImported(number, request),
            (None, Some(ready)) => Action::Fork(ready, request),
            _ => Action::StartAlone(request),
        }));
    }

    /// Has another template made in place of one that did not get ready, after a pause.
    fn lose_starting(&mut self, starting: &StartingTemplate, now: u64, actions: &mut Vec<Action>) {
        let delay = self.starts.delay_after(Ending::Failed, false, now - starting.since, now);
        if self.ready.is_none() {
            self.again = Some(now + delay.max(END_TIMEOUT));
        }
        self.give_up_waiting(false, starting.number, actions);
    }

    /// Ends the template if it has what was there before a change that others have: its processes
    /// would take the change back.
    fn out_of_date(&mut self, number: Number, now: u64, actions: &mut Vec<Action>) {
        let Some(ready) = self.ready.take_if(|ready| ready.number <= number) else { return };
        self.end(ready.number, now, actions);
        if !self.is_refused && self.starting.is_none() {
            self.again = Some(now + self.starts.wait(now).max(END_TIMEOUT));
        }
    }

    fn lose_ready(&mut self, now: u64) {
        if let Some(ready) = self.ready.take() {
            let delay = self.starts.delay_after(Ending::Failed, true, now - ready.since, now);
            self.again = Some(now + delay);
        }
    }

    fn start_again(&mut self, now: u64, actions: &mut Vec<Action>) {
        if self.again.is_none_or(|again| again > now) || self.is_over {
            return;
        }
        self.again = None;
        if self.awake.is_empty() {
            self.is_wanted = true;
        } else if self.starting.is_none() && self.ready.is_none() {
            self.launch(self.scripts.clone(), Some(self.startup.max(SUCCESSOR_TIMEOUT)), now, actions);
        }
    }

    fn retire(&mut self, now: u64, actions: &mut Vec<Action>) {
        self.is_over = true;
        self.end_all(now, actions);
        actions.extend(self.waiting.drain(..).map(Action::StartAlone));
    }

    /// Ends the template of a group that has had no process for a while.
    fn rest(&mut self, now: u64, actions: &mut Vec<Action>) {
        self.is_wanted |= self.starting.is_some() || self.ready.is_some() || self.again.is_some();
        self.end_all(now, actions);
    }

    fn end_all(&mut self, now: u64, actions: &mut Vec<Action>) {
        (self.again, self.rest) = (None, None);
        let starting = self.starting.take().map(|starting| starting.number);
        let ready = self.ready.take().map(|ready| ready.number);
        for number in starting.into_iter().chain(ready) {
            self.end(number, now, actions);
        }
    }

    fn end(&mut self, number: Number, now: u64, actions: &mut Vec<Action>) {
        self.ending.push(EndingTemplate { number, end: Some(now + END_TIMEOUT), is_killed: false });
        actions.push(Action::End(number));
    }

    fn kill(&mut self, number: Number, now: u64, actions: &mut Vec<Action>) {
        let at = self.ending.iter().position(|ending| ending.number == number).unwrap_or_else(|| {
            self.ending.push(EndingTemplate { number, end: None, is_killed: false });
            self.ending.len() - 1
        });
        let ending = &mut self.ending[at];
        if !ending.is_killed {
            (ending.end, ending.is_killed) = (Some(now + END_TIMEOUT), true);
            actions.push(Action::Kill(number));
        }
    }

    fn tick(&mut self, now: u64, actions: &mut Vec<Action>) {
        if let Some(starting) = self.starting.take_if(|starting| starting.end.is_some_and(|end| end <= now)) {
            let number = starting.number;
            let text = format!(
                "template {number} was not ready in time (startup-timeout=), and is killed: an import hangs, or takes too long"
            );
            actions.push(Action::Record(number, EventKind::FailedStart, text.clone()));
            actions.push(Action::Log(Level::Error, text));
            self.kill(number, now, actions);
            self.lose_starting(&starting, now, actions);
        }
        for at in 0..self.ending.len() {
            let EndingTemplate { number, end, is_killed } = self.ending[at];
            match end {
                Some(end) if end <= now && is_killed => self.ending[at].end = None,
                Some(end) if end <= now => self.kill(number, now, actions),
                _ => {}
            }
        }
        self.start_again(now, actions);
        if self.rest.is_some_and(|rest| rest <= now) {
            self.rest(now, actions);
        }
    }
}

#[cfg(test)]
mod tests;
