//! The processes of a slot that its group's template forks.

use std::io;
use std::os::fd::AsFd;

use nix::sys::epoll::EpollFlags;
use os::descriptors::{self, Kind, Wait};
use os::process::{Child, Exit};
use wsgi_core::codes::DAEMON_NOT_STARTED;
use wsgi_core::wire::control::{Order, Script};
use wsgi_core::wire::exit;

use super::SlotRunner;
use crate::context::Context;
use crate::ends::Ends;
use crate::process::{Process, UnbornProcess};
use crate::program::{self, Obstacle};
use crate::relay::Destination;
use crate::slot::{Event, Key};
use crate::template::{self, Number, Request};
use crate::token::Token;

impl SlotRunner {
    /// Asks the group's template for a process.
    pub(super) fn want(&mut self, key: Key, scripts: Vec<Script>, context: &Context) -> Event {
        let request = self.request(key, scripts);
        self.tell_template(template::Event::Wanted(request), context);
        Event::Waiting(key)
    }

    /// Has an event handed to the group's template, if it may have one.
    pub(super) fn tell_template(&self, event: template::Event, context: &Context) {
        if context.groups[self.group].daemon.options.is_forked() {
            context.notes.borrow_mut().push((self.group, event));
        }
    }

    /// Returns the request for a process, which waits for its answer from now on.
    fn request(&mut self, key: Key, scripts: Vec<Script>) -> Request {
        let newer_than =
            self.slot.reason_of(key).filter(|reason| template::needs_import(*reason)).map(|_| {
                let serving = self.slot.serving();
                let serving = self.processes.iter().find(|process| Some(process.child.pid()) == serving);
                serving.map_or(0, |process| process.template)
            });
        let request = Request { slot: self.index, key, newer_than, scripts };
        self.waiting.push(request.clone());
        request
    }

    /// Starts a process by itself that was wanted from a template; so many of those have been there
    /// before it.
    pub(crate) fn start_alone(&mut self, key: Key, template: Number, context: &Context) {
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.key == key) {
            let Request { scripts, newer_than, .. } = self.waiting.swap_remove(at);
            let event = self.spawn(key, scripts, template, context);
            if let Some(process) = self.processes.iter_mut().find(|process| process.key == key) {
                process.outdates = newer_than;
            }
            self.handle(event, context);
        }
    }

    /// Has `template` fork a process that was wanted; if that cannot be, it starts by itself.
    pub(crate) fn fork(&mut self, key: Key, template: &Process, context: &Context) {
        let Some(at) = self.waiting.iter().position(|waiting| waiting.key == key) else { return };
        let scripts = self.waiting[at].scripts.clone();
        match self.order_fork(key, scripts, template, context) {
            Ok(()) => {
                self.waiting.retain(|waiting| waiting.key != key);
                // From now on its time counts.
                self.handle(Event::Spawned(key, template.child.pid()), context);
            }
            Err(_) => self.start_alone(key, template.key, context),
        }
    }

    fn order_fork(
        &mut self,
        key: Key,
        scripts: Vec<Script>,
        template: &Process,
        context: &Context,
    ) -> Result<(), Obstacle> {
        let exhausted = |error: io::Error| program::no_process(&error);
        let (word, ends) = self.ends(scripts.clone(), context)?;
        let (birth, theirs) = descriptors::pair(Kind::Sequence).map_err(exhausted)?;
        descriptors::name_senders(&birth).map_err(exhausted)?;
        context.watch(&birth, EpollFlags::EPOLLIN, Token::Birth(self.index, key)).map_err(exhausted)?;
        let parts = [ends.theirs.as_fd(), ends.log.as_fd(), theirs.as_fd()];
        descriptors::send_with(&template.control, &Order::Fork.encode(), &parts, Wait::Never)
            .map_err(exhausted)?;
        let Ends { control, reports, output, .. } = ends;
        let output = context.relay.watch(output, Destination::of(&context.groups[self.group]));
        let template = template.key;
        self.unborn.push(UnbornProcess { key, template, scripts, word, control, reports, output, birth });
        Ok(())
    }

    /// Handles the first message of a process that a template has forked, or the end of the socket
    /// where it does not. The kernel says who has sent it. An application of the group may have done
    /// so in place of the process; so what is taken is a process of the group's user, which is this
    /// process's child and that of no other slot (`is_known`).
    pub(crate) fn on_birth(&mut self, key: Key, is_known: impl Fn(i32) -> bool, context: &Context) {
        let Some(at) = self.unborn.iter().position(|unborn| unborn.key == key) else { return };
        let sender = match descriptors::receive_sender(&self.unborn[at].birth) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            sender => sender,
        };
        let account = context.groups[self.group].account.as_ref();
        let uid = account.map_or_else(os::accounts::own_user, |account| account.uid);
        let child = match sender {
            Ok(Some(sender)) if sender.uid == uid && !is_known(sender.pid) => Child::adopt(sender.pid),
            Ok(Some(_)) => Err(io::ErrorKind::PermissionDenied.into()),
            Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Err(error),
        };
        let UnbornProcess { template, scripts, word, control, reports, output, birth, .. } =
            self.unborn.swap_remove(at);
        // It is registered, so that cannot fail.
        let _ = context.epoll.delete(birth);
        let child = match child {
            Ok(child) => child,
            Err(error) => {
                context.relay.collect(output);
                if error.kind() != io::ErrorKind::UnexpectedEof {
                    let text = format_args!(
                        "{DAEMON_NOT_STARTED}: what template {template} has forked is no process of the group: {error}"
                    );
                    context.log(self.group, DAEMON_NOT_STARTED.level, text);
                }
                // The template has said why, if it could. It is not what the group needs to work.
                let request = self.request(key, scripts);
                self.tell_template(template::Event::NotForked(template, request), context);
                return self.handle(Event::Waiting(key), context);
            }
        };
        let pid = child.pid();
        let process = Process::new(key, child, word, control, None, reports, output);
        if self.add(process.with_template(template), context).is_err() {
            // For lack of memory. That it has ended is learnt from the signal.
            let event = self.abandon(key, context);
            return self.handle(event, context);
        }
        self.handle(Event::Spawned(key, pid), context);
        self.log_started(pid, &format!("forked from template {template}"), context);
        self.handle(Event::Started(key), context);
    }

    /// Returns the processes that are to be born.
    pub(crate) fn unborn(&self) -> Vec<Key> {
        self.unborn.iter().map(|unborn| unborn.key).collect()
    }

    /// Handles a template, with this process id, that could not import the scripts of a process that
    /// was wanted from it.
    pub(crate) fn not_imported(&mut self, key: Key, pid: i32, context: &Context) {
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.key == key) {
            self.waiting.swap_remove(at);
            self.handle(Event::Spawned(key, pid), context);
            self.handle(Event::Exited(key, Exit::Status(exit::NOT_IMPORTED)), context);
        }
    }
}
