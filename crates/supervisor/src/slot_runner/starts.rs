//! The starts of a slot's processes by themselves, until each is Python or given up.

use std::io;
use std::os::fd::AsFd;

use nix::sys::epoll::EpollFlags;
use os::process::Signal;
use os::spawn::Launched;
use wsgi_core::codes::DAEMON_NOT_STARTED;
use wsgi_core::wire::control::Script;
use wsgi_core::wire::launch::Group;

use super::SlotRunner;
use crate::context::Context;
use crate::ends::{Ends, Given};
use crate::log::Level;
use crate::preparation::{self, Preparation};
use crate::process::{AbandonedProcess, Process, UnbornProcess};
use crate::program::{self, Obstacle};
use crate::relay::Destination;
use crate::slot::{Event, Key};
use crate::template::{self, Number};
use crate::token::Token;

impl SlotRunner {
    /// Handles messages of a process that prepares itself, or that has become Python.
    pub(crate) fn on_preparation(&mut self, key: Key, context: &Context) {
        let Some(process) = self.processes.iter_mut().find(|process| process.key == key) else { return };
        let pid = process.child.pid();
        let Some(preparation) = &mut process.preparation else { return };
        let (level, text) = match preparation.next_failure(|level, text| context.log(self.group, level, text))
        {
            Ok(failure) => failure,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                // It is registered, so that cannot fail.
                let _ = context.epoll.delete(&preparation.pipe);
                process.preparation = None;
                self.log_started(pid, "started", context);
                return self.handle(Event::Started(key), context);
            }
            Err(error) => {
                (Level::Error, format!("process {pid} prepares itself, and is not understood: {error}"))
            }
        };
        context.log(self.group, level, &text);
        let event = self.abandon(key, context);
        self.cause = Some(text);
        self.handle(event, context);
    }

    pub(super) fn spawn(
        &mut self,
        key: Key,
        scripts: Vec<Script>,
        template: Number,
        context: &Context,
    ) -> Event {
        match self.try_spawn(key, scripts, template, context) {
            Ok(pid) => Event::Spawned(key, pid),
            Err(Obstacle { level, text, .. }) => {
                context.log(self.group, level, &text);
                self.cause = Some(text);
                Event::NotSpawned(key)
            }
        }
    }

    /// Starts a process, and waits for nothing: it looks for its user and for Python by itself.
    fn try_spawn(
        &mut self,
        key: Key,
        scripts: Vec<Script>,
        template: Number,
        context: &Context,
    ) -> Result<i32, Obstacle> {
        let group = &context.groups[self.group];
        let exhausted = |error: io::Error| program::no_process(&error);
        let (word, ends) = self.ends(scripts, context)?;
        let Launched { child, pipe } =
            preparation::launch(group, context, ends.theirs.as_fd(), ends.log.as_fd()).map_err(exhausted)?;
        let Ends { control, reports, output, .. } = ends;
        let output = context.relay.watch(output, Destination::of(group));
        let (pid, preparation) = (child.pid(), Preparation::new(pipe.into()));
        let watched =
            context.watch(&preparation.pipe, EpollFlags::EPOLLIN, Token::Preparation(self.index, key));
        let process = Process::new(key, child, word, control, Some(preparation), reports, output);
        watched.and(self.add(process.with_template(template), context)).map(|()| pid).map_err(|error| {
            // For lack of memory. That it has ended is learnt from the signal.
            let _ = self.abandon(key, context);
            exhausted(error)
        })
    }

    /// Makes the ends of a process that imports these scripts, and finds a word for it.
    pub(super) fn ends(&self, scripts: Vec<Script>, context: &Context) -> Result<(u8, Ends), Obstacle> {
        let group = &context.groups[self.group];
        let word = self.free_word().ok_or_else(|| {
            program::no_process(&format!("{} were killed and have not ended yet", self.abandoned.len()))
        })?;
        let mut daemon = group.daemon.clone();
        daemon.scripts.extend(scripts);
        if !self.is_elastic {
            daemon.options.limits.scale_down_idle = 0;
        }
        let scoreboard = context.scoreboard.as_ref().filter(|_| group.daemon.scoreboard > 0);
        let given =
            Given { before: &[self.channel.as_fd(), self.page.as_fd()], after: scoreboard.map(AsFd::as_fd) };
        Ok((word, Ends::new(group, daemon, word, &given)?))
    }

    /// Adds a process, and watches it.
    pub(super) fn add(&mut self, process: Process, context: &Context) -> io::Result<()> {
        let key = process.key;
        let watched = [
            process.reports.as_ref().map_or(Ok(()), |reports| {
                context.watch(reports, EpollFlags::EPOLLIN, Token::Control(self.index, key))
            }),
            context.watch(&process.child, EpollFlags::EPOLLIN, Token::Exit(self.index, key)),
        ];
        self.processes.push(process);
        watched.into_iter().collect()
    }

    /// Returns a word of the page that no living process has.
    fn free_word(&self) -> Option<u8> {
        self.page.free_word(|word| {
            self.processes.iter().any(|process| process.word == word)
                || self.unborn.iter().any(|unborn| unborn.word == word)
                || self.abandoned.iter().any(|abandoned| abandoned.word == word)
        })
    }

    pub(super) fn log_started(&self, pid: i32, how: &str, context: &Context) {
        let Group { account, daemon, .. } = &context.groups[self.group];
        let uid = account.as_ref().map_or_else(os::accounts::own_user, |account| account.uid);
        let text =
            format_args!("process {pid} is {how}, as uid {uid} with {} threads", daemon.options.threads);
        context.log(self.group, Level::Info, text);
    }

    /// Kills a process that prepares itself, and forgets it but for its end; one that is not there
    /// yet is not wanted any more.
    pub(super) fn abandon(&mut self, key: Key, context: &Context) -> Event {
        self.waiting.retain(|waiting| waiting.key != key);
        if let Some(at) = self.unborn.iter().position(|unborn| unborn.key == key) {
            // It ends when it finds its sockets closed.
            let UnbornProcess { output, birth, .. } = self.unborn.swap_remove(at);
            context.relay.collect(output);
            // It is registered, so that cannot fail.
            let _ = context.epoll.delete(birth);
        }
        if let Some(at) = self.processes.iter().position(|process| process.key == key) {
            let Process { child, word, output, preparation, reports, .. } = self.processes.swap_remove(at);
            // This fails if the process has ended, which comes as an event of its own.
            let _ = child.signal(Signal::SIGKILL);
            for pipe in preparation.map(|preparation| preparation.pipe).into_iter().chain(reports) {
                // Fails where there was no memory to watch it.
                let _ = context.epoll.delete(pipe);
            }
            self.abandoned.push(AbandonedProcess { key, child, word, output });
        }
        Event::NotSpawned(key)
    }

    /// Returns why a process that prepares itself is killed, or one that is not forked given up. The log
    /// has it then.
    pub(super) fn log_late_start(&self, key: Key, context: &Context) -> String {
        if let Some(UnbornProcess { template, .. }) = self.unborn.iter().find(|unborn| unborn.key == key) {
            self.tell_template(template::Event::Hung(*template), context);
            return format!("template {template} has not forked a process in time");
        }
        let process = self.processes.iter().find(|process| process.key == key);
        let obstacle = process.and_then(|process| process.preparation.as_ref()?.obstacle.as_deref());
        let text = obstacle.map_or_else(
            || {
                format!(
                    "{DAEMON_NOT_STARTED}: a process did not get to run the supervisor's own program in time, and is killed. \
                     Most likely the file system of mod_wsgi hangs"
                )
            },
            str::to_owned,
        );
        context.log(self.group, Level::Critical, &text);
        text
    }
}
