//! The entry of a request in the ledger: from its beginning to its end, and its count.

use std::cell::Cell;

use bridge::Times;
use httpd::{Request, Status};
use wsgi_core::ledger::{
    Cause, Combination, EndedRequest, GroupRow, Ledger, Method, More, Phase, Place, RequestFacts, SlotRow,
};

use super::{CHILD, ChildLedger};
use crate::daemon::{self, Target};

/// A request of ours that is under way. It is counted when this is dropped, whatever way the handler
/// takes: with the status that was [set](Self::finish), or 500.
///
/// It is used by one thread at a time, as the request is.
pub(crate) struct Entry<'r> {
    request: &'r Request,
    /// `None` if nothing is counted.
    open: Option<Open>,
    status: Cell<u16>,
    is_https: Cell<bool>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    /// The time spent so far, in nanoseconds.
    reading: Cell<u64>,
    writing: Cell<u64>,
    /// The time at which it began to wait for the client's body, and to write; 0 while it does not.
    reading_since: Cell<u64>,
    writing_since: Cell<u64>,
    times: Cell<Times>,
    is_rejected: Cell<bool>,
}

struct Open {
    child: &'static ChildLedger,
    group: GroupRow,
    method: Method,
    /// Set if a daemon process is to have it.
    is_queued: bool,
    /// The time at which it came, in nanoseconds since the epoch.
    start: u64,
    /// Its row among those under way, if there was one free.
    place: Option<Place>,
    /// The slot where it counts as active.
    active: Cell<Option<SlotRow>>,
    /// The slot that it has had last.
    slot: Cell<Option<SlotRow>>,
    /// The number of the daemon process's slot that it has had last, and the process that had the
    /// slot then.
    served: Cell<Option<(usize, u32)>>,
}

impl Open {
    #[inline]
    fn ledger(&self) -> Ledger<'static> {
        self.child.ledger()
    }

    #[inline]
    fn set_phase(&self, phase: Phase) {
        if let Some(place) = self.place {
            place.set_phase(self.ledger(), phase);
        }
    }
}

impl<'r> Entry<'r> {
    /// Begins a request to a process group, or to embedded mode.
    pub(crate) fn begin(request: &'r Request, target: Option<&Target<'_>>) -> Self {
        let child = CHILD.get().and_then(Option::as_ref);
        Self::with(request, child.and_then(|child| Self::open(child, request, target)))
    }

    /// Returns an entry of a request that belongs to no group, and is not counted.
    pub(crate) fn none(request: &'r Request) -> Self {
        Self::with(request, None)
    }

    fn with(request: &'r Request, open: Option<Open>) -> Self {
        Self {
            request,
            open,
            status: Cell::new(0),
            is_https: Cell::new(false),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            reading: Cell::new(0),
            writing: Cell::new(0),
            reading_since: Cell::new(0),
            writing_since: Cell::new(0),
            times: Cell::new(Times::NONE),
            is_rejected: Cell::new(false),
        }
    }

    fn open(child: &'static ChildLedger, request: &Request, target: Option<&Target<'_>>) -> Option<Open> {
        let group = match target {
            Some(target) => child.slots.get(target.first_slot())?.0,
            None => child.embedded,
        };
        let came = u64::try_from(request.time()).unwrap_or(0).saturating_mul(1000);
        // Others have the time of the client's request, of which they are a part.
        let start = if request.is_initial() { came } else { os::clock::nanoseconds() };
        let (method, other_method) = method(request);
        let ledger = child.ledger();
        let place = Place::claim(ledger, &child.requests, child.process, child.row());
        if let Some(place) = place {
            let (virtual_host, port) = child.hosts.name(request.server());
            let facts = RequestFacts {
                start: (start / 1000).max(1),
                group: group.head,
                method,
                other_method,
                path: request.uri().unwrap_or_default(),
                virtual_host,
                port,
                id: request.log_id().unwrap_or_default(),
            };
            place.publish(ledger, &facts, if target.is_some() { Phase::Queued } else { Phase::Running });
        }
        let open = Open {
            child,
            group,
            method,
            is_queued: target.is_some(),
            start,
            place,
            active: Cell::new(None),
            slot: Cell::new(None),
            served: Cell::new(None),
        };
        if target.is_none()
            && let Some(place) = child.place
        {
            open.enter(place);
        }
        Some(open)
    }

    /// Counts the request as active in the slot with this number.
    #[inline]
    pub(crate) fn enter_slot(&self, slot: usize) {
        if let Some(open) = &self.open
            && let Some((_, row)) = open.child.slots.get(slot)
        {
            open.set_phase(Phase::Running);
            // Another one may have the slot when the request has ended.
            open.served.set(Some((slot, daemon::process_of(slot))));
            open.enter(*row);
        }
    }

    /// Ends what [`Self::enter_slot`] has begun: the process is done with the request.
    #[inline]
    pub(crate) fn leave_slot(&self) {
        if let Some(open) = &self.open {
            open.leave();
        }
    }

    /// Notes that no process has the request any more, though it is not answered.
    pub(crate) fn wait_again(&self) {
        if let Some(open) = &self.open {
            open.leave();
            open.set_phase(Phase::Queued);
        }
    }

    /// Notes that so many bytes of the body were read.
    #[inline]
    pub(crate) fn add_read(&self, bytes: usize) {
        self.bytes_in.set(self.bytes_in.get() + bytes as u64);
    }

    /// Notes that so many bytes of the response's body were sent.
    #[inline]
    pub(crate) fn add_written(&self, bytes: u64) {
        self.bytes_out.set(self.bytes_out.get() + bytes);
    }

    /// Notes that the request reads, or waits for more of, the client's body, until
    /// [`Self::end_reading`].
    pub(crate) fn begin_reading(&self) {
        if self.reading_since.get() == 0 {
            self.reading_since.set(os::clock::nanoseconds());
            self.set_phase(Phase::Reading);
        }
    }

    /// Notes that it has what it waited for.
    pub(crate) fn end_reading(&self) {
        let since = self.reading_since.replace(0);
        if since != 0 {
            self.reading.set(self.reading.get() + os::clock::nanoseconds().saturating_sub(since));
            self.set_phase(Phase::Running);
        }
    }

    /// Notes that the request passes on a part of the response, until [`Self::end_writing`].
    #[inline]
    pub(crate) fn begin_writing(&self) {
        if self.writing_since.get() == 0 {
            self.writing_since.set(os::clock::nanoseconds());
            self.set_phase(Phase::Writing);
        }
    }

    /// Notes that it has passed on what it had.
    #[inline]
    pub(crate) fn end_writing(&self) {
        if self.writing_since.get() != 0 {
            self.add_writing_until(os::clock::nanoseconds());
            self.set_phase(Phase::Running);
        }
    }

    /// Notes whether the URL is one of `https`, as the application learns it.
    #[inline]
    pub(crate) fn set_https(&self, is_https: bool) {
        self.is_https.set(is_https);
    }

    /// Counts the request as rejected, for the first cause that is given.
    pub(crate) fn reject(&self, cause: Cause) {
        if let Some(open) = &self.open
            && !self.is_rejected.replace(true)
        {
            open.group.count_rejected(open.ledger(), open.child.shard(), cause);
        }
    }

    /// Notes the parts of the time that the host has measured.
    #[inline]
    pub(crate) fn set_times(&self, times: Times) {
        self.times.set(times);
    }

    /// Returns the daemon process that has had the request last; 0 if none had.
    pub(crate) fn process(&self) -> u32 {
        let Some((slot, process)) = self.open.as_ref().and_then(|open| open.served.get()) else { return 0 };
        // (It may have been about to start.)
        if process == 0 { daemon::process_of(slot) } else { process }
    }

    /// Returns the time that the request has waited for a thread of it, in microseconds; `None` if it
    /// has not told.
    pub(crate) fn queue_time(&self) -> Option<u64> {
        let times = self.times.get();
        (times != Times::NONE).then_some(times.queue.into())
    }

    /// Notes the result of the handler, and returns it.
    #[inline]
    pub(crate) fn finish(&self, status: Status) -> Status {
        self.status.set(match status {
            Status::Http(status) => status,
            Status::Ok | Status::Answered | Status::Declined => self.request.final_status(),
        });
        status
    }

    fn set_phase(&self, phase: Phase) {
        if let Some(open) = &self.open {
            open.set_phase(phase);
        }
    }

    fn add_writing_until(&self, now: u64) {
        let since = self.writing_since.replace(0);
        if since != 0 {
            self.writing.set(self.writing.get() + now.saturating_sub(since));
        }
    }

    fn count(&self, open: &Open) {
        let now = os::clock::nanoseconds();
        self.add_writing_until(now);
        let reading_since = self.reading_since.get();
        if reading_since != 0 {
            self.reading.set(self.reading.get() + now.saturating_sub(reading_since));
        }
        let (ledger, shard) = (open.ledger(), open.child.shard());
        let status = match self.status.get() {
            0 => 500,
            status => status,
        };
        let duration = now.saturating_sub(open.start) / 1000;
        let request = Combination { method: open.method, status, is_https: self.is_https.get() };
        open.group.count_ended(ledger, shard, request, duration);
        if duration >= open.child.slow_after {
            open.group.count_more(ledger, shard, More::Slow, 1);
        }
        let Some(slot) = open.slot.get() else { return };
        // A process may say what it likes, but no part takes longer than the whole.
        let part = |micros: u64| micros.min(duration);
        let times = self.times.get();
        let of_host =
            |micros: u32, is_known: bool| (is_known && times != Times::NONE).then(|| part(micros.into()));
        let of_child = |nanos: u64| (nanos > 0).then(|| part(nanos / 1000));
        slot.count_ended(
            ledger,
            shard,
            &EndedRequest {
                status,
                bytes_in: self.bytes_in.get(),
                // Apache sends no body with these.
                bytes_out: if matches!(status, 204 | 304) { 0 } else { self.bytes_out.get() },
                // In the order of `Part`.
                times: [
                    of_host(times.queue, open.is_queued),
                    of_host(times.lock_wait, true),
                    of_host(times.application, true),
                    of_child(self.reading.get()),
                    of_child(self.writing.get()),
                ],
            },
        );
    }
}

/// Returns the method of a request, and its name if it is none that is known.
#[inline]
fn method(request: &Request) -> (Method, &[u8]) {
    if request.is_get_or_head() {
        return (if request.is_header_only() { Method::Head } else { Method::Get }, &[]);
    }
    let name = request.method().unwrap_or_default();
    match Method::of(name) {
        Method::Other => (Method::Other, name),
        known => (known, &[]),
    }
}

impl Open {
    #[inline]
    fn enter(&self, row: SlotRow) {
        self.slot.set(Some(row));
        // Without a row, nobody could take it back if this process died.
        if let Some(place) = self.place {
            place.enter(self.ledger(), row);
            self.active.set(Some(row));
        }
    }

    #[inline]
    fn leave(&self) {
        if let (Some(row), Some(place)) = (self.active.take(), self.place) {
            place.leave(self.ledger(), row);
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            self.count(open);
            open.leave();
            if let Some(place) = open.place {
                place.free(open.ledger());
            }
        }
    }
}
