//! The reports of a slot's processes, and their ends.

use std::io;

use os::process::Exit;
use wsgi_core::codes::TOO_LITTLE_MEMORY;
use wsgi_core::ledger::EventKind;
use wsgi_core::tallies::Tally;
use wsgi_core::wire::control::Report;
use wsgi_core::wire::exit;

use super::{EVENT_PRICE, SlotRunner};
use crate::context::Context;
use crate::log::Level;
use crate::process::{AbandonedProcess, BATCH, FailedImport, texts_shown};
use crate::program;
use crate::slot::{Event, Key};
use crate::template;

impl SlotRunner {
    /// Handles reports of a process, or the end of its pipe.
    pub(crate) fn on_report(&mut self, key: Key, context: &Context) {
        for _ in 0..BATCH {
            let Some(at) = self.processes.iter().position(|process| process.key == key) else { return };
            let event = match self.processes[at].next_report(context.now()) {
                Ok(report) => match report {
                    // Nobody needs another one instead.
                    Report::Stopping(_) if self.is_unused() => Event::Unused,
                    Report::Ready(has_imported) => {
                        self.processes[at].lacks_import = !has_imported;
                        if let Some(failed) = self.processes[at].failed_import.take() {
                            self.record_import(at, &failed, context);
                        }
                        if let Some(template) = self.processes[at].outdates.take() {
                            self.tell_template(template::Event::OutOfDate(template), context);
                        }
                        Event::Ready(key)
                    }
                    Report::Replace { reason, scripts } => Event::Replace(key, reason, scripts),
                    Report::Stopping(reason) => Event::Stopping(key, reason),
                    Report::ImportFailed { text, detail } => {
                        self.on_failed_import(at, FailedImport::new(&text, &detail), context);
                        continue;
                    }
                    Report::Stuck { count, text, detail } => {
                        self.on_stuck(at, count, (&text, &detail), context);
                        continue;
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    if error.kind() == io::ErrorKind::InvalidData {
                        let pid = self.processes[at].child.pid();
                        let text =
                            format_args!("process {pid} sent the supervisor what it may not send: {error}");
                        context.log(self.group, Level::Error, text);
                    }
                    if let Some(reports) = self.processes[at].reports.take() {
                        // It is registered, so that cannot fail.
                        let _ = context.epoll.delete(reports);
                    }
                    self.handle(Event::Lost(key), context);
                    return;
                }
            };
            self.handle(event, context);
        }
    }

    /// Records a script that a process could not import. That of a successor belongs to its end, if
    /// it does not get ready.
    fn on_failed_import(&mut self, at: usize, failed: FailedImport, context: &Context) {
        if self.slot.reason_of(self.processes[at].key).is_some() {
            self.processes[at].failed_import.get_or_insert(failed);
        } else {
            self.record_import(at, &failed, context);
        }
    }

    fn record_import(&mut self, at: usize, failed: &FailedImport, context: &Context) {
        if self.imports.try_take(EVENT_PRICE, context.now()) {
            let pid = self.processes[at].child.pid();
            context.record(self.group, EventKind::FailedImport, pid, &failed.text, &failed.detail);
        }
    }

    /// Counts requests that have held threads of a process for too long, and records what it tells
    /// of one of them.
    fn on_stuck(&mut self, at: usize, count: u32, (text, detail): (&[u8], &[u8]), context: &Context) {
        context.record.count(self.index, Tally::Stuck, count);
        if !text.is_empty() && self.stuck.try_take(EVENT_PRICE, context.now()) {
            let (pid, (text, detail)) = (self.processes[at].child.pid(), texts_shown(text, detail));
            context.record(self.group, EventKind::Stuck, pid, &text, &detail);
        }
    }

    /// Handles the end of a process.
    pub(crate) fn on_exit(&mut self, key: Key, context: &Context) {
        // The reports from before its end come first.
        self.on_preparation(key, context);
        self.on_report(key, context);
        if let Some(at) = self.abandoned.iter().position(|abandoned| abandoned.key == key) {
            if !matches!(self.abandoned[at].child.try_wait(), Ok(None)) {
                let AbandonedProcess { child, word, output, .. } = self.abandoned.swap_remove(at);
                context.relay.collect(output);
                // Fails where there was no memory to watch it.
                let _ = context.epoll.delete(&child);
                self.page.clear(word);
            }
            return;
        }
        let Some(at) = self.processes.iter().position(|process| process.key == key) else { return };
        let exit = match self.processes[at].child.try_wait() {
            // That the system has killed another process meanwhile is no cause of this end.
            Ok(Some(exit)) if self.slot.has_killed(key) => exit,
            Ok(Some(exit)) => context.named(self.processes[at].child.pid(), exit),
            Ok(None) => return,
            // Nobody else waits for it, so this cannot be; but it is gone.
            Err(_) => Exit::Status(exit::FAILED),
        };
        let process = self.processes.swap_remove(at);
        // It is registered, so that cannot fail. The pipe may have readers elsewhere for a moment:
        // a process that starts.
        let _ = (
            context.epoll.delete(&process.child),
            process.reports.map(|reports| context.epoll.delete(reports)),
        );
        // Its last words, before what is to be said of its end.
        context.relay.collect(process.output);
        self.record_exit(process.child.pid(), exit, context);
        let detail = process.failed_import.map(|failed| failed.detail.into()).unwrap_or_default();
        let is_early = self.slot.is_starting(key);
        self.page.clear(process.word);
        if self.is_unused() {
            self.handle(Event::Unused, context);
        } else if self.is_cut(context) {
            self.handle(Event::Cut, context);
        }
        self.detail = detail;
        self.output = Some((process.output, exit));
        self.handle(Event::Exited(key, exit), context);
        if is_early
            && !exit.is_success()
            && let Some(text) = program::shortage(&context.groups[self.group])
        {
            context.log(self.group, TOO_LITTLE_MEMORY.level, format_args!("{TOO_LITTLE_MEMORY}: {text}"));
        }
    }
}
