//! The templates of a group: carries out what [`Template`] decides.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::sys::epoll::EpollFlags;
use os::process::{Exit, Signal};
use os::spawn::Launched;
use wsgi_core::codes::DAEMON_NOT_STARTED;
use wsgi_core::ledger::EventKind;
use wsgi_core::wire::control::{Report, Script};
use wsgi_core::wire::exit;

use crate::context::Context;
use crate::ends::{Ends, Given};
use crate::log::Level;
use crate::preparation::{self, Preparation};
use crate::process::{BATCH, FailedImport, Process};
use crate::program::{self, Obstacle};
use crate::record::{PendingEvent, RecordedGroup};
use crate::relay::Destination;
use crate::template::{Action, Event, Number, Request, Template};
use crate::token::Token;

/// The templates of a group.
#[derive(Debug)]
pub(crate) struct TemplateRunner {
    group: usize,
    template: Template,
    /// By number, which is their key. The word of a page means nothing here.
    processes: Vec<Process>,
    /// The end of the template whose end is handled.
    exit: Option<Exit>,
}

/// An answer to a slot that wants a process.
#[derive(Debug)]
pub(crate) enum Answer {
    /// This template forks it.
    Fork(Number, Request),
    /// It starts by itself; so many templates have been there before.
    StartAlone(Number, Request),
    /// The template that was made for it, with this process id, cannot import the scripts.
    NotImported(i32, Request),
}

impl TemplateRunner {
    /// Creates the runner of a group that has no template yet.
    pub(crate) fn new(group: usize, context: &Context) -> Self {
        let template = Template::new(&context.groups[group].daemon.options);
        Self { group, template, processes: Vec::new(), exit: None }
    }

    /// Returns the index of the group.
    pub(crate) const fn group(&self) -> usize {
        self.group
    }

    /// Returns the time at which it wants a tick, at the latest.
    pub(crate) fn next(&self) -> Option<u64> {
        self.template.next()
    }

    /// Returns whether there is no template, and will be none.
    pub(crate) fn is_over(&self) -> bool {
        self.template.is_over()
    }

    /// Returns the template with this number.
    pub(crate) fn process(&self, number: Number) -> Option<&Process> {
        self.processes.iter().find(|process| process.key == number)
    }

    /// Returns which template this process is, if it is one that has not been waited for.
    pub(crate) fn number_of(&self, pid: i32) -> Option<Number> {
        self.processes.iter().find(|process| process.child.pid() == pid).map(|process| process.key)
    }

    /// Handles an event, and adds the answers for slots.
    pub(crate) fn handle(&mut self, event: Event, context: &Context, answers: &mut Vec<Answer>) {
        if let Event::NotForked(number, _) = event {
            // Perhaps because it has ended.
            self.on_exit(number, context, answers);
        }
        let mut actions = Vec::new();
        self.template.handle(event, context.now(), &mut actions);
        for action in actions {
            match action {
                Action::Launch(number, scripts) => {
                    if let Err(Obstacle { level, text, .. }) = self.launch(number, scripts, context) {
                        context.log(self.group, level, text);
                        self.handle(Event::Ended(number, None), context, answers);
                    }
                }
                Action::Fork(number, request) => answers.push(Answer::Fork(number, request)),
                Action::StartAlone(request) => {
                    answers.push(Answer::StartAlone(self.template.last(), request));
                }
                Action::NotImported(number, request) => {
                    let pid = self.process(number).map_or(0, |process| process.child.pid());
                    answers.push(Answer::NotImported(pid, request));
                }
                Action::End(number) => self.signal(number, Signal::SIGTERM),
                Action::Kill(number) => self.signal(number, Signal::SIGKILL),
                Action::Log(level, text) => context.log(self.group, level, text),
                Action::Record(number, kind, text) => self.record(number, kind, text, context),
            }
        }
    }

    /// Handles messages of a template that prepares itself, or that has become Python.
    pub(crate) fn on_preparation(&mut self, number: Number, context: &Context, answers: &mut Vec<Answer>) {
        for _ in 0..BATCH {
            let Some(process) = self.processes.iter_mut().find(|process| process.key == number) else {
                return;
            };
            let Some(preparation) = &mut process.preparation else { return };
            let log = |level, text| context.log(self.group, level, text);
            let (level, text) = match preparation.next_failure(log) {
                // It ends by itself.
                Ok((level, text)) => {
                    log(level, text);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    // It is registered, so that cannot fail.
                    let _ = context.epoll.delete(&preparation.pipe);
                    process.preparation = None;
                    return self.handle(Event::Started(number), context, answers);
                }
                Err(error) => (
                    Level::Error,
                    format!(
                        "{DAEMON_NOT_STARTED}: a template prepares itself, and is not understood: {error}"
                    ),
                ),
            };
            context.log(self.group, level, text);
            let _ = context.epoll.delete(&preparation.pipe);
            process.preparation = None;
            return self.signal(number, Signal::SIGKILL);
        }
    }

    /// Handles reports of a template, or the end of its pipe.
    pub(crate) fn on_report(&mut self, number: Number, context: &Context, answers: &mut Vec<Answer>) {
        for _ in 0..BATCH {
            let Some(process) = self.processes.iter_mut().find(|process| process.key == number) else {
                return;
            };
            match process.next_report(context.now()) {
                Ok(Report::Ready(_)) => self.handle(Event::Ready(number), context, answers),
                Ok(Report::ImportFailed { text, detail }) => {
                    let pid = process.child.pid();
                    let failed = FailedImport::new(&text, &detail);
                    context.record(self.group, EventKind::FailedImport, pid, &failed.text, &failed.detail);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It has nothing else to say, unless an application does: it serves no requests that
                // could be stuck.
                report => {
                    let malformed = |error: &io::Error| error.kind() != io::ErrorKind::UnexpectedEof;
                    if report.as_ref().map_or_else(malformed, |_| true) {
                        let text = format_args!(
                            "template {number} sent the supervisor what it may not send, and is killed"
                        );
                        context.log(self.group, Level::Error, text);
                    }
                    if let Some(reports) = process.reports.take() {
                        // It is registered, so that cannot fail.
                        let _ = context.epoll.delete(reports);
                    }
                    return self.signal(number, Signal::SIGKILL);
                }
            }
        }
    }

    /// Handles the end of a template.
    pub(crate) fn on_exit(&mut self, number: Number, context: &Context, answers: &mut Vec<Answer>) {
        // What it has said before its end comes first.
        self.on_preparation(number, context, answers);
        self.on_report(number, context, answers);
        let Some(at) = self.processes.iter().position(|process| process.key == number) else { return };
        let exit = match self.processes[at].child.try_wait() {
            Ok(Some(exit)) => exit,
            Ok(None) => return,
            // Nobody else waits for it, so this cannot be; but it is gone.
            Err(_) => Exit::Status(exit::FAILED),
        };
        let Process { child, reports, preparation, output, .. } = &mut self.processes[at];
        let pipes = reports.take().into_iter().chain(preparation.take().map(|preparation| preparation.pipe));
        // They are registered, so that cannot fail.
        let _ = context.epoll.delete(&*child);
        pipes.for_each(|pipe| _ = context.epoll.delete(pipe));
        context.relay.collect(*output);
        // That the system has killed another process meanwhile is no cause of an end that was ordered.
        let exit = if self.template.has_killed(number) { exit } else { context.named(child.pid(), exit) };
        // Its process id is asked for meanwhile.
        self.exit = Some(exit);
        self.handle(Event::Ended(number, Some(exit)), context, answers);
        self.exit = None;
        self.processes.retain(|process| process.key != number);
    }

    fn launch(
        &mut self,
        number: Number,
        mut scripts: Vec<Script>,
        context: &Context,
    ) -> Result<(), Obstacle> {
        let group = &context.groups[self.group];
        let exhausted = |error: io::Error| program::no_process(&error);
        let mut daemon = group.daemon.clone();
        daemon.is_template = true;
        daemon.scripts.append(&mut scripts);
        let ends = Ends::new(group, daemon, 0, &Given::default())?;
        let Launched { child, pipe } =
            preparation::launch(group, context, ends.theirs.as_fd(), ends.log.as_fd()).map_err(exhausted)?;
        let Ends { control, reports, output, .. } = ends;
        let output = context.relay.watch(output, Destination::of(group));
        let preparation = Preparation::new(pipe.into());
        let watched = [
            context.watch(
                &preparation.pipe,
                EpollFlags::EPOLLIN,
                Token::TemplatePreparation(self.group, number),
            ),
            context.watch(&reports, EpollFlags::EPOLLIN, Token::TemplateReport(self.group, number)),
            context.watch(&child, EpollFlags::EPOLLIN, Token::TemplateExit(self.group, number)),
        ];
        let process = Process::new(number, child, 0, control, Some(preparation), reports, output);
        if watched.into_iter().collect::<io::Result<()>>().is_err() {
            // For lack of memory. That it has ended is learnt from the signal.
            let _ = process.child.signal(Signal::SIGKILL);
        }
        self.processes.push(process);
        Ok(())
    }

    /// Records what has become of a template, with the stacks that it has written if it has ended.
    fn record(&self, number: Number, kind: EventKind, text: String, context: &Context) {
        match (self.process(number), self.exit) {
            (Some(process), Some(exit)) => {
                let record = Arc::clone(&context.record);
                let group = RecordedGroup::from(&context.groups[self.group]);
                let event = PendingEvent { record, kind, group, pid: process.child.pid(), text };
                context.relay.record(process.output, exit, event);
            }
            (process, _) => {
                let pid = process.map_or(0, |process| process.child.pid());
                context.record(self.group, kind, pid, text.as_bytes(), b"");
            }
        }
    }

    /// Sends a signal. A template that waits for orders has nothing to finish.
    fn signal(&self, number: Number, signal: Signal) {
        if let Some(process) = self.process(number) {
            // This fails if the process has ended, which comes as an event of its own.
            let _ = process.child.signal(signal);
        }
    }
}
