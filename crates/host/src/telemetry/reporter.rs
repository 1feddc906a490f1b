//! The reporter of a process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bridge::Level;
use os::thread::PeriodicThread;
use wsgi_core::lifecycle::Reason;
use wsgi_core::telemetry::{Datagram, Identity, Kind, Lifecycle, ProcessSample, SlowState};

use super::gc;
use super::socket::Socket;
use crate::locked::Exclusive;
use crate::metrics::{self, Ended};
use crate::process::{Process, log};
use crate::settings::Telemetry;
use crate::time::now;

/// The time that a collector has to make room for the datagrams of one sample.
const PATIENCE: Duration = Duration::from_millis(250);

/// The most slow requests that are reported while they run.
const MOST_ACTIVE: usize = 16;

/// The longest wait for the thread when the process ends.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The reporter of a process.
pub(super) struct Reporter {
    process: &'static Process,
    settings: &'static Telemetry,
    /// The process, which forked copies are not.
    id: u32,
    identity: Identity,
    socket: Socket,
    /// The number of samples so far; the collector counts losses from their numbers.
    samples: AtomicU32,
    /// The number of other datagrams so far.
    others: AtomicU32,
    /// Used by whoever sends a sample.
    buffer: Exclusive<Datagram>,
    thread: OnceLock<PeriodicThread>,
    is_stopping: AtomicBool,
    is_stopped: AtomicBool,
    /// The number of the reason for the end, from 1 on; 0 is none.
    reason: AtomicU8,
}

impl Reporter {
    pub(super) fn new(process: &'static Process, settings: &'static Telemetry) -> Result<Self, String> {
        let [major, minor, patch] = process.settings.server_version;
        let hostname = nix::unistd::gethostname().unwrap_or_default();
        let [version, version_minor, version_patch] = crate::interpreters::VERSION;
        Ok(Self {
            process,
            settings,
            id: std::process::id(),
            identity: Identity {
                version: format!("{version}.{version_minor}.{version_patch}"),
                python: super::python::version(),
                apache: format!("Apache/{major}.{minor}.{patch}"),
                mpm: process.settings.mpm_name.clone(),
                hostname: hostname.into_encoded_bytes(),
                process_group: process.settings.process_group.clone(),
                parent: process.settings.server_parent,
            },
            socket: Socket::new(&settings.socket)?,
            samples: AtomicU32::new(0),
            others: AtomicU32::new(0),
            buffer: Exclusive::new(Datagram::default()),
            thread: OnceLock::new(),
            is_stopping: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
            reason: AtomicU8::new(0),
        })
    }

    /// Starts to record and to report.
    pub(super) fn start(&'static self) -> std::io::Result<()> {
        let interval = Duration::from_secs_f64(self.settings.interval);
        let tick = || {
            let ticked = catch_unwind(AssertUnwindSafe(|| self.report(Some(Instant::now() + PATIENCE))));
            if ticked.is_err() {
                log(Level::Error, "panic while telemetry was reported");
            }
        };
        let thread = PeriodicThread::start("wsgi-telemetry", interval, tick)?;
        let _ = self.thread.set(thread);
        metrics::record();
        let mut datagram = Datagram::default();
        self.send(&mut datagram, Kind::Started, None, |datagram| {
            self.identity.write(datagram);
            datagram.float(wsgi_core::telemetry::field::SWITCH_INTERVAL, super::python::switch_interval());
        });
        let socket = String::from_utf8_lossy(&self.settings.socket);
        let text = format!("Telemetry is reported to '{socket}' every {} s.", self.settings.interval);
        log(Level::Info, &text);
        Ok(())
    }

    /// Reports that the end of the process has been decided on, once.
    pub(super) fn stopping(&self, reason: Option<Reason>) {
        if self.is_stopping.swap(true, Ordering::Relaxed) {
            return;
        }
        self.reason.store(reason.map_or(0, |reason| reason.number() + 1), Ordering::Relaxed);
        let event = Lifecycle::Stopping { active: self.process.requests.active() };
        self.send_event(Kind::Stopping, event);
    }

    /// Sends the last sample and reports the end of the process, once.
    pub(super) fn stop(&self, is_graceful: bool) {
        if self.is_stopped.swap(true, Ordering::Relaxed) || !self.is_original() {
            return;
        }
        // Some ends come without a notice: a child that Apache ends while nothing is served.
        self.stopping(None);
        if let Some(thread) = self.thread.get().filter(|_| is_graceful) {
            thread.end(END_TIMEOUT);
        }
        self.report(is_graceful.then(|| Instant::now() + PATIENCE));
        let requests = &self.process.requests;
        let event = Lifecycle::Stopped {
            uptime: self.process.started().0.elapsed(),
            requests: requests.ended(),
            active: requests.active(),
            is_graceful,
        };
        self.send_event(Kind::Stopped, event);
    }

    /// Sends a sample, unless another thread does so at this moment.
    fn report(&self, deadline: Option<Instant>) {
        let Some(mut datagram) = self.buffer.take() else { return };
        let Some(taken) = metrics::take(self.process) else { return };
        let cpu = (taken.cpu.user, taken.cpu.system);
        let sample = ProcessSample {
            period: taken.period(),
            interval: self.settings.interval,
            slow_requests: self.settings.slow_requests,
            switch_interval: super::python::switch_interval(),
            cpu,
            memory: (taken.used.resident, taken.used.peak_resident),
            threads: self.process.settings.threads,
            threads_started: taken.threads_started,
            requests: &taken.sample,
        };
        self.send(&mut datagram, Kind::Sample, deadline, |datagram| {
            self.identity.write(datagram);
            sample.write(datagram, !self.process.settings.process_group.is_empty());
        });
        self.report_slow_requests(&mut datagram, &taken.slow, deadline);
        self.report_collections(&mut datagram, deadline);
    }

    fn report_slow_requests(&self, datagram: &mut Datagram, ended: &[Ended], deadline: Option<Instant>) {
        for Ended { request, state, duration } in ended {
            self.send(datagram, Kind::SlowRequest, deadline, |datagram| {
                request.write(datagram, *state, *duration);
            });
        }
        let Some(threshold) = self.settings.slow_requests.map(Duration::from_secs_f64) else { return };
        for (active, age) in metrics::slow_requests(threshold, MOST_ACTIVE) {
            self.send(datagram, Kind::SlowRequest, deadline, |datagram| {
                active.request.write(datagram, SlowState::Active, age);
            });
        }
    }

    fn report_collections(&self, datagram: &mut Datagram, deadline: Option<Instant>) {
        let reports = gc::reports();
        for report in &reports {
            // With one interpreter there is nothing to tell apart.
            let name = if reports.len() > 1 { &report.interpreter[..] } else { b"" };
            self.send(datagram, Kind::GcSnapshot, deadline, |datagram| {
                report.snapshot.write(datagram, name, report.dropped);
            });
            for event in &report.events {
                self.send(datagram, Kind::GcEvent, deadline, |datagram| event.write(datagram, name));
            }
        }
    }

    fn send_event(&self, kind: Kind, event: Lifecycle) {
        let reason = self.reason.load(Ordering::Relaxed).checked_sub(1).and_then(Reason::from_number);
        let mut datagram = Datagram::default();
        self.send(&mut datagram, kind, None, |datagram| event.write(datagram, &self.identity, reason));
    }

    /// Sends a datagram, with what `fill` appends.
    fn send(
        &self,
        datagram: &mut Datagram,
        kind: Kind,
        deadline: Option<Instant>,
        fill: impl FnOnce(&mut Datagram),
    ) {
        if !self.is_original() {
            return;
        }
        let counter = if kind == Kind::Sample { &self.samples } else { &self.others };
        let number = counter.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        datagram.begin(kind, self.id, number, now());
        fill(datagram);
        if self.is_stopping.load(Ordering::Relaxed) {
            self.socket.send_last(datagram.bytes(), deadline);
        } else {
            self.socket.send(datagram.bytes(), deadline);
        }
    }

    /// Returns whether this is no forked copy of the process.
    fn is_original(&self) -> bool {
        std::process::id() == self.id
    }
}
