//! One request, from the script to the end of the response.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge::{Bytes, Cgi, Lease, Level, Request, RequestFacts, Times, flag, write};
use os::usage::{self, Cpu};
use python::{Exception, Object, Python, Raised, Result};

use crate::adapter::{Adapter, START_RESPONSE, SendError};
use crate::input::{Input, SeekableInput};
use crate::meter::Meter;
use crate::metrics::{self, Recording};
use crate::outcome::Outcome;
use crate::scripts::{NotLoaded, WithoutChange};
use crate::state::{Interpreter, State, ThreadState};
use crate::{context, environ, errors, events, report, scripts, stuck, time};
use wsgi_core::codes::{CLOSE_NOT_FOUND, NO_CALLABLE};

/// The longest block that is copied, so that it can be sent when Python is done with the request.
const LONGEST_COPY: usize = 32 * 1024;

thread_local! {
    /// Memory for such copies.
    static COPY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The end of a request inside Python.
enum CallResult {
    Ended(Outcome),
    /// Complete with this last block.
    LastBlock(Vec<u8>),
}

/// A thread that runs requests for a process that may want to interrupt them.
pub(crate) trait Runner: Sync {
    /// Notes that its request enters an interpreter.
    fn enter(&self, interpreter: &'static Interpreter);

    /// Notes the parts of its request's time, as far as they are known: it may be about to end.
    fn measured(&self, _times: Times) {}

    /// Notes that its request leaves the interpreter: from now on it cannot be interrupted.
    fn leave(&self, py: Python<'_>);
}

/// A request that is in an interpreter, until this is dropped, also while a panic unwinds.
pub(crate) struct Entered<'py> {
    py: Python<'py>,
    runner: Option<&'static dyn Runner>,
}

impl<'py> Entered<'py> {
    pub(crate) fn new(
        py: Python<'py>,
        runner: Option<&'static dyn Runner>,
        interpreter: &'static Interpreter,
    ) -> Self {
        if let Some(runner) = runner {
            runner.enter(interpreter);
        }
        Self { py, runner }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some(runner) = self.runner {
            runner.leave(self.py);
        }
    }
}

/// Returns the parts of a request's time before it comes to its interpreter.
pub(crate) fn times_before(facts: &RequestFacts<'_>) -> Times {
    Times { queue: Times::between(facts.queue_start, facts.daemon_start), ..Times::NONE }
}

/// Runs the application for a request; called while the thread is not attached.
pub(crate) fn run(
    interpreter: &'static Interpreter,
    request: &Request<'_>,
    lease: &Arc<Lease>,
    runner: Option<&'static dyn Runner>,
) -> (Outcome, Times) {
    let begin = os::clock::monotonic();
    let recording = metrics::begin(request);
    let recording = recording.as_ref();
    let (result, times) = interpreter.attach(|py, state, thread| {
        let lock_wait = Duration::from_nanos(os::clock::monotonic().saturating_sub(begin));
        let times = Cell::new(Times { lock_wait: Times::number(lock_wait), ..times_before(&request.facts) });
        let _entered = Entered::new(py, runner, interpreter);
        let _watched = stuck::watch(interpreter, &request.facts);
        let call = RequestCall {
            py,
            interpreter,
            state,
            thread,
            request,
            lease,
            recording,
            runner,
            lock_wait,
            times: &times,
        };
        let result = call.serve();
        (result, times.get())
    });
    if let Some(runner) = runner {
        runner.measured(times);
    }
    let outcome = match result {
        CallResult::Ended(outcome) => outcome,
        CallResult::LastBlock(block) => {
            // Most responses end here, with Python free for other threads. A client that has gone
            // makes no difference any more.
            let begin = recording.map(|_| Instant::now());
            let _ = lease.with(|exchange| exchange.write(&block, write::LAST));
            if let Some((recording, begin)) = recording.zip(begin) {
                recording.wrote(begin);
            }
            COPY.set(block);
            Outcome::Complete
        }
    };
    (outcome, times)
}

/// The common data of the steps of a request.
struct RequestCall<'a> {
    py: Python<'a>,
    interpreter: &'static Interpreter,
    state: &'static State,
    thread: &'a ThreadState,
    request: &'a Request<'a>,
    lease: &'a Arc<Lease>,
    recording: Option<&'a Recording<'a>>,
    runner: Option<&'static dyn Runner>,
    /// The time until the thread was attached.
    lock_wait: Duration,
    /// The parts of the request's time, as far as they are known.
    times: &'a Cell<Times>,
}

/// A request whose application is about to be called.
struct PreparedCall<'a> {
    errors: &'a Object,
    id: Option<&'a Object>,
    meter: Option<&'a Arc<Meter>>,
    is_subscribed: bool,
    /// Seconds since the epoch.
    application_start: f64,
}

impl RequestCall<'_> {
    fn serve(&self) -> CallResult {
        context::with_request(self.py, || self.serve_in_context())
    }

    fn serve_in_context(&self) -> CallResult {
        let (py, state, request) = (self.py, self.state, self.request);
        let prepare = || {
            let errors = errors::for_request(py, state, self.thread, self.lease, &request.facts)?;
            let id = self.id()?;
            let data = self.register(id.as_ref())?;
            Ok((errors, data, id))
        };
        let (errors, data, id) = match prepare() {
            Ok(prepared) => prepared,
            Err(raised) => return CallResult::Ended(Outcome::Status(self.failed(raised))),
        };
        let serve = || {
            let module = match self.module() {
                Ok(module) => module,
                Err(NotLoaded::Failed) => return CallResult::Ended(Outcome::Status(500)),
                Err(NotLoaded::Interrupted) => return self.interrupted(),
                Err(NotLoaded::Held) => return CallResult::Ended(Outcome::Held),
                Err(NotLoaded::NotTried) => return CallResult::Ended(Outcome::NotRun),
            };
            match self.callable(&module) {
                Ok(Some(application)) => {
                    self.note_callable(&application);
                    context::direct_streams(&errors.stream);
                    self.call(&errors.wrapper, id.as_ref(), &application)
                }
                Ok(None) => CallResult::Ended(Outcome::Status(self.no_callable())),
                Err(raised) => CallResult::Ended(Outcome::Status(self.failed(raised))),
            }
        };
        let result = serve();
        errors.stream.expire(py);
        self.unregister(id.as_ref(), &data);
        self.thread.errors.replace(Some(errors));
        result
    }

    /// Returns the module of the script.
    fn module(&self) -> std::result::Result<Object, NotLoaded> {
        let facts = &self.request.facts;
        let resource = facts.variable(Cgi::ScriptFilename).or_empty();
        scripts::module(
            self.py,
            self.state,
            self.thread,
            facts,
            self.lease,
            Some(resource),
            WithoutChange::Serve,
        )
    }

    /// Returns the request's id, if it has one.
    fn id(&self) -> Result<Option<Object>> {
        self.request.facts.request_id.get().map(|id| self.py.latin1(id)).transpose()
    }

    /// Makes the request's data dict, known under its id. Another request may run with the same id:
    /// one that this is a part of, or one that has failed and whose page this is, which another
    /// thread may still run.
    fn register(&self, id: Option<&Object>) -> Result<Object> {
        let data = self.py.dict()?;
        if let Some(id) = id {
            let helpers = &self.state.helpers;
            if !helpers.active_requests.get(self.py).dict_set_default(id, &data)?.is(&data) {
                helpers.cover_request.get(self.py).call([id, &data])?;
            }
        }
        context::set_data(&data);
        Ok(data)
    }

    fn unregister(&self, id: Option<&Object>, data: &Object) {
        if let Some(id) = id {
            let helpers = &self.state.helpers;
            let done = if helpers.covered_requests.get(self.py).item_count() == 0 {
                helpers.active_requests.get(self.py).dict_remove(id).map(drop)
            } else {
                helpers.uncover_request.get(self.py).call([id, data]).map(drop)
            };
            done.unwrap_or_else(Raised::clear);
        }
    }

    /// Returns the application in the script's module, if there is one.
    fn callable(&self, module: &Object) -> Result<Option<Object>> {
        let wanted = self.request.callable_object.or_empty();
        let name = self.thread.callable.get(wanted, || scripts::callable_name(self.py, wanted))?;
        module.module_dict()?.dict_get(&name)
    }

    /// Notes the callable for successors of the process, which must have it, too.
    fn note_callable(&self, application: &Object) {
        if !self.state.process.has_successors {
            return;
        }
        let (path, name) = (self.request.facts.script.or_empty(), self.request.callable_object.or_empty());
        let known = &self.thread.callables;
        if known.is_new(path, name) && application.is_callable() {
            known.add(path, name);
            self.state.process.mode.callable_found(path, &self.state.group, name);
        }
    }

    fn no_callable(&self) -> u16 {
        let (script, name) = (self.request.facts.script.to_text(), self.request.callable_object.to_text());
        let text = format!(
            "{NO_CALLABLE}: The script '{script}' has no callable '{name}'. Define it there, or name another one with \
             WSGICallableObject."
        );
        self.lease.with(|exchange| exchange.log(Level::Error, text.as_bytes()));
        if self.request.facts.has_flag(flag::CALLABLE_REQUIRED) { 500 } else { 404 }
    }

    /// Calls the application and sends its response.
    fn call(&self, errors: &Object, id: Option<&Object>, application: &Object) -> CallResult {
        let (py, state) = (self.py, self.state);
        let is_subscribed = events::has_subscribers(py, state);
        let meter = (is_subscribed || self.recording.is_some()).then(|| {
            let meter = Meter::default();
            meter.add_wait(self.lock_wait);
            Arc::new(meter)
        });
        let application_start = time::now();
        // A thread without any CPU time has a clock that does not work.
        let cpu = is_subscribed.then(usage::thread_cpu).flatten().filter(|cpu| *cpu != Cpu::default());
        let adapter = Adapter::new(
            self.interpreter,
            self.lease,
            meter.clone(),
            id,
            self.request.facts.has_flag(flag::DEBUG_PANIC),
        );
        let object = match state.types.adapter.instance(py, adapter) {
            Ok(object) => object,
            Err(raised) => return CallResult::Ended(Outcome::Status(self.failed(raised))),
        };
        let Some(adapter) = state.types.adapter.value(py, &object) else {
            return CallResult::Ended(Outcome::Status(500));
        };

        let prepared = PreparedCall { errors, id, meter: meter.as_ref(), is_subscribed, application_start };
        let result = match self.respond(&object, adapter, application, &prepared) {
            Ok(result) => result,
            Err(SendError::Disconnected) => CallResult::Ended(Outcome::Complete),
            Err(SendError::Raised(raised)) => self.fail(adapter, raised),
        };
        let application_finish = time::now();
        self.measure((application_start, application_finish), meter.as_deref());
        if let Some(meter) = meter {
            let status = adapter.status(py);
            if let Some(recording) = self.recording {
                recording.completed((application_start, application_finish), status, &meter);
                if let Some(gc) = &state.gc {
                    gc.note_if_due(py);
                }
            }
            if is_subscribed {
                let cpu = cpu.zip(usage::thread_cpu()).map(|(begin, end)| end.since(begin));
                let finished =
                    events::Finished { status, application_start, application_finish, meter: &meter, cpu };
                events::request_finished(py, state, (self.request, id), &finished);
            }
        }
        result
    }

    /// Notes the parts of the request's time once the application is done with it.
    fn measure(&self, (application_start, application_finish): (f64, f64), meter: Option<&Meter>) {
        let mut times = self.times.get();
        // (A clock that was set back makes a negative number, which becomes 0.)
        times.application = ((application_finish - application_start) * 1e6) as u32;
        if let Some(meter) = meter {
            times.lock_wait = Times::number(meter.gil_wait_time());
        }
        self.times.set(times);
    }

    /// Ends a request whose application has raised an exception.
    fn fail(&self, adapter: &Adapter, raised: Raised) -> CallResult {
        let is_interrupted = self.is_interrupted(&raised);
        let status =
            self.failed_unless(raised, adapter.has_begun(), |exception| adapter.says_client_gone(exception));
        if is_interrupted && self.runner.is_some() && !adapter.has_begun() {
            return self.answer_interrupted();
        }
        let has_begun = adapter.fail(self.py, status);
        CallResult::Ended(if has_begun { Outcome::Aborted } else { Outcome::Status(status) })
    }

    /// Calls the application, and sends its response. Inlined, since its only caller has much to
    /// pass.
    #[inline(always)]
    fn respond(
        &self,
        object: &Object,
        adapter: &Adapter,
        application: &Object,
        prepared: &PreparedCall<'_>,
    ) -> std::result::Result<CallResult, SendError> {
        let (py, state) = (self.py, self.state);
        let PreparedCall { errors, id, meter, is_subscribed, application_start } = *prepared;
        let input = Input::new(self.lease, meter.cloned());
        let input = if self.request.facts.has_flag(flag::SEEKABLE_BODY) {
            state.types.seekable_input.instance(py, SeekableInput(input))?
        } else {
            state.types.input.instance(py, input)?
        };
        let environ = environ::build(
            py,
            state,
            &self.thread.environ,
            self.request,
            (&input, errors, id),
            application_start,
        )?;
        let application = if is_subscribed {
            events::request_started(py, state, (self.request, id), application, &environ, application_start)?
        } else {
            application.clone()
        };
        let start_response = state.types.adapter.bound(py, object, START_RESPONSE)?;
        if let Some(recording) = self.recording {
            recording.called(application_start);
        }
        let result = application.call([&environ, &start_response])?;

        if result.is_exact_list() || result.is_exact_tuple() {
            return self.send_items(adapter, &result, prepared);
        }
        let sent = self.send_iterable(adapter, &result);
        self.close(&result);
        sent.map(|()| CallResult::Ended(Outcome::Complete))
    }

    /// Sends the blocks of a list or tuple, which are complete, so there is no flush before the
    /// end.
    fn send_items(
        &self,
        adapter: &Adapter,
        items: &Object,
        prepared: &PreparedCall<'_>,
    ) -> std::result::Result<CallResult, SendError> {
        let mut index = 0;
        while let Some(item) = items.item(index) {
            index += 1;
            let block = self.block(&item)?;
            if block.is_empty() {
                continue;
            }
            let last = index >= items.item_count();
            if last && block.len() <= LONGEST_COPY {
                adapter.begin(self.py)?;
                adapter.count(block.len());
                let mut copy = COPY.take();
                copy.clear();
                copy.extend_from_slice(block);
                return Ok(CallResult::LastBlock(copy));
            }
            if let Some(runner) = self.runner.filter(|_| last) {
                // The end of the response goes with this block.
                self.measure((prepared.application_start, time::now()), prepared.meter.map(|meter| &**meter));
                runner.measured(self.times.get());
            }
            adapter.send(self.py, block, if last { write::LAST } else { 0 })?;
        }
        adapter.begin(self.py)?;
        Ok(CallResult::Ended(Outcome::Complete))
    }

    /// Sends the items of an iterable, each at once; a file by its descriptor.
    fn send_iterable(&self, adapter: &Adapter, iterable: &Object) -> std::result::Result<(), SendError> {
        if !adapter.has_begun() && self.send_file(adapter, iterable)? {
            return Ok(());
        }
        let iterator = iterable.iter()?;
        let mut last_check = None;
        while let Some(item) = iterator.next()? {
            let block = self.block(&item)?;
            if !block.is_empty() {
                adapter.send(self.py, block, write::FLUSH)?;
            } else if is_due(&mut last_check) && adapter.is_client_gone() {
                return Err(SendError::Disconnected);
            }
        }
        adapter.begin(self.py)
    }

    /// Sends a file that the application has wrapped, if it is one that the server can send.
    fn send_file(&self, adapter: &Adapter, iterable: &Object) -> std::result::Result<bool, SendError> {
        let (py, helpers) = (self.py, &self.state.helpers);
        if !iterable.is_instance(helpers.file_wrapper.get(py))? {
            return Ok(false);
        }
        let region = helpers.file_region.get(py).call([iterable])?;
        let (Some(descriptor), Some(position), Some(size)) = (region.item(0), region.item(1), region.item(2))
        else {
            return Ok(false);
        };
        let number = i32::try_from(descriptor.to_i64()?);
        let (Ok(number), Ok(offset), Ok(end)) =
            (number, u64::try_from(position.to_i64()?), u64::try_from(size.to_i64()?))
        else {
            return Ok(false);
        };
        let sent = adapter.send_file(py, number, offset, end.saturating_sub(offset));
        helpers.restore_position.get(py).call([&descriptor, &position])?;
        sent.map(|()| true)
    }

    /// Returns the bytes of an item that an application yields.
    fn block<'o>(&self, item: &'o Object) -> Result<&'o [u8]> {
        item.as_bytes().ok_or_else(|| {
            let text = format!("sequence of bytes values expected, value of type {} found", item.type_name());
            self.py.raise(Exception::TypeError, &text)
        })
    }

    /// Calls the result's `close`, if it has one. Failures are reported, and change nothing.
    fn close(&self, result: &Object) {
        let py = self.py;
        // An earlier exception must not be taken for one of this call.
        let pending = py.pending_exception();
        match result.attr_if_any(self.state.names.close.get(py)) {
            Ok(None) => {}
            Ok(Some(close)) => {
                match close.call([]) {
                    // An interrupt that comes as late as this has nothing to end.
                    Err(raised) if self.is_interrupted(&raised) => raised.clear(),
                    Err(raised) => drop(self.failed(raised)),
                    Ok(_) => {}
                }
            }
            Err(raised) => {
                let exception = raised.take(py);
                let script = self.request.facts.script.or_empty();
                let text = "Looking up close() of the response raised an exception: it is not called.";
                report::in_request_as(py, self.state, self.lease, script, &exception, CLOSE_NOT_FOUND, text);
            }
        }
        if let Some(exception) = pending {
            let _ = py.raise_instance(&exception);
        }
    }

    /// Returns whether an exception is that of an interrupted request.
    fn is_interrupted(&self, raised: &Raised) -> bool {
        raised.is_instance(self.state.helpers.request_timeout.get(self.py))
    }

    /// Ends a request that was interrupted before its application was called.
    fn interrupted(&self) -> CallResult {
        self.log_interrupted("thread recovered");
        if self.runner.is_some() {
            self.answer_interrupted()
        } else {
            CallResult::Ended(Outcome::Status(INTERRUPTED))
        }
    }

    fn log_interrupted(&self, end: &str) {
        let script = self.request.facts.script.to_text();
        // Log monitors look for these words, which are those of the original.
        let text = format!("[script {script}] Request interrupted by RequestTimeout; {end}.");
        self.lease.with(|exchange| exchange.log(Level::Info, text.as_bytes()));
    }

    /// Sends the whole response to a request that a daemon process has interrupted: the server adds
    /// nothing.
    fn answer_interrupted(&self) -> CallResult {
        let started =
            self.lease.with(|exchange| exchange.start(INTERRUPTED, Bytes::new(b"Gateway Timeout"), &[]));
        CallResult::Ended(if started == Some(Ok(())) {
            Outcome::Complete
        } else {
            Outcome::Status(INTERRUPTED)
        })
    }

    /// Reports an exception. Returns the status for the case that nothing was sent.
    fn failed(&self, raised: Raised) -> u16 {
        self.failed_unless(raised, false, |_| false)
    }

    /// Logs an exception like [`failed`](Self::failed), except one that `write` has raised because
    /// the client is gone: that is no failure of the application.
    fn failed_unless(
        &self,
        raised: Raised,
        has_begun: bool,
        says_client_gone: impl FnOnce(&Object) -> bool,
    ) -> u16 {
        if self.is_interrupted(&raised) {
            raised.clear();
            self.log_interrupted(if has_begun { "the response breaks off" } else { "thread recovered" });
            return INTERRUPTED;
        }
        let exception = raised.take(self.py);
        if says_client_gone(&exception) {
            let text = b"The client has gone, or a filter has answered, before all of the response was sent: write() raised \
                         OSError, which the application did not catch.";
            self.lease.with(|exchange| exchange.log(Level::Info, text));
        } else {
            report::in_request(
                self.py,
                self.state,
                self.lease,
                self.request.facts.script.or_empty(),
                &exception,
            );
        }
        let id = self.id().unwrap_or_else(|raised| {
            raised.clear();
            None
        });
        events::request_exception(self.py, self.state, id.as_ref(), &exception);
        500
    }
}

/// The status of an interrupted request.
const INTERRUPTED: u16 = 504;

/// The interval of checks for the client while an application yields empty blocks.
const CLIENT_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Returns whether a check for the client is due: some time after the first empty block, or the
/// last check.
fn is_due(last: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    let is_due = last.is_some_and(|last| now.saturating_duration_since(last) >= CLIENT_CHECK_INTERVAL);
    if is_due || last.is_none() {
        *last = Some(now);
    }
    is_due
}
