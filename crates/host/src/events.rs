//! The events of a request, for subscribers (`mod_wsgi.subscribe_events`).

use bridge::{Request, RequestFacts};
use os::usage::Cpu;
use python::{Object, Python, Result};

use crate::context;
use crate::meter::Meter;
use crate::process;
use crate::report;
use crate::state::State;
use crate::time::seconds;
use wsgi_core::codes::EVENT_NOT_PUBLISHED;

/// Returns whether anybody has subscribed in this interpreter.
#[inline]
pub(crate) fn has_subscribers(py: Python<'_>, state: &State) -> bool {
    state.helpers.event_callbacks.get(py).item_count() > 0
}

/// Publishes `request_started`. Returns the application object to call.
pub(crate) fn request_started(
    py: Python<'_>,
    state: &State,
    (request, id): (&Request<'_>, Option<&Object>),
    application: &Object,
    environ: &Object,
    application_start: f64,
) -> Result<Object> {
    let event = Event::new(py, id)?;
    event.common(state, &request.facts)?;
    event.integer("daemon_connects", request.facts.daemon_connects.into())?;
    event.integer("daemon_restarts", request.facts.daemon_restarts.into())?;
    event.set("application_object", application)?;
    event.set("callable_object", &py.latin1(request.callable_object.or_empty())?)?;
    event.set("request_environ", environ)?;
    event.set("application_start", &py.float(application_start)?)?;
    let event = event.publish(state, "request_started")?;
    let chosen = event.dict_get(&py.name("application_object")?)?;
    Ok(chosen.unwrap_or_else(|| application.clone()))
}

/// Publishes `response_started`, on each acceptable call of `start_response`.
pub(crate) fn response_started(
    py: Python<'_>,
    state: &State,
    request_id: Option<&Object>,
    status: &Object,
    headers: &Object,
    exc_info: Option<&Object>,
) -> Result<()> {
    if !has_subscribers(py, state) {
        return Ok(());
    }
    let event = Event::new(py, request_id)?;
    event.set("response_status", status)?;
    event.set("response_headers", headers)?;
    event.set("exception_info", &exc_info.cloned().unwrap_or_else(|| py.none()))?;
    event.publish(state, "response_started").map(drop)
}

/// Publishes `request_exception`.
pub(crate) fn request_exception(
    py: Python<'_>,
    state: &State,
    request_id: Option<&Object>,
    exception: &Object,
) {
    if !has_subscribers(py, state) {
        return;
    }
    let publish = || {
        let event = Event::new(py, request_id)?;
        let class = exception.attr(&py.name("__class__")?)?;
        let traceback = exception.attr(&py.name("__traceback__")?)?;
        event.set("exception_info", &py.tuple([&class, exception, &traceback])?)?;
        event.publish(state, "request_exception")
    };
    if let Err(raised) = publish() {
        report::outside(
            py,
            state,
            raised,
            format_args!("{EVENT_NOT_PUBLISHED}: The event 'request_exception' cannot be published"),
        );
    }
}

/// The facts at the end of a request.
pub(crate) struct Finished<'a> {
    pub(crate) status: u16,
    pub(crate) application_start: f64,
    pub(crate) application_finish: f64,
    pub(crate) meter: &'a Meter,
    /// CPU time of the thread.
    pub(crate) cpu: Option<Cpu>,
}

/// Publishes `request_finished`.
pub(crate) fn request_finished(
    py: Python<'_>,
    state: &State,
    (request, id): (&Request<'_>, Option<&Object>),
    finished: &Finished<'_>,
) {
    let publish = || {
        let meter = finished.meter;
        let event = Event::new(py, id)?;
        event.common(state, &request.facts)?;
        event.integer("input_reads", meter.input.count())?;
        event.integer("input_length", meter.input.bytes())?;
        event.set("input_time", &py.float(meter.input.time().as_secs_f64())?)?;
        event.integer("output_length", meter.output.bytes())?;
        event.integer("output_writes", meter.output.count())?;
        event.set("output_time", &py.float(meter.output.time().as_secs_f64())?)?;
        event.set("application_finish", &py.float(finished.application_finish)?)?;
        let time = (finished.application_finish - finished.application_start).max(0.0);
        event.set("application_time", &py.float(time)?)?;
        event.integer("status", finished.status.into())?;
        event.set("gil_wait_time", &py.float(meter.gil_wait_time().as_secs_f64())?)?;
        event.integer("gil_wait_count", meter.gil_wait_count())?;
        if let Some(cpu) = finished.cpu {
            let (user, system) = (cpu.user.as_secs_f64(), cpu.system.as_secs_f64());
            // The clocks differ in resolution; no request uses more of a CPU than it takes.
            let scale =
                if user + system > time && user + system > 0.0 { time / (user + system) } else { 1.0 };
            event.set("cpu_user_time", &py.float(user * scale)?)?;
            event.set("cpu_system_time", &py.float(system * scale)?)?;
            event.set("cpu_time", &py.float((user + system) * scale)?)?;
        }
        event.publish(state, "request_finished")
    };
    if let Err(raised) = publish() {
        report::outside(
            py,
            state,
            raised,
            format_args!("{EVENT_NOT_PUBLISHED}: The event 'request_finished' cannot be published"),
        );
    }
}

/// A payload in the making.
struct Event<'py> {
    py: Python<'py>,
    items: Object,
}

impl<'py> Event<'py> {
    fn new(py: Python<'py>, request_id: Option<&Object>) -> Result<Self> {
        let event = Self { py, items: py.dict()? };
        if let Some(id) = request_id {
            event.set("request_id", id)?;
        }
        if let Some(data) = context::data(py) {
            event.set("request_data", &data)?;
        }
        Ok(event)
    }

    /// Sets the items that `request_started` and `request_finished` have in common.
    fn common(&self, state: &State, facts: &RequestFacts<'_>) -> Result<()> {
        let py = self.py;
        self.integer("thread_id", process::thread_id(state.process).into())?;
        self.integer("server_pid", facts.server_pid.into())?;
        self.set("request_start", &py.float(seconds(facts.request_start))?)?;
        self.set("queue_start", &py.float(seconds(facts.queue_start))?)?;
        self.set("daemon_start", &py.float(seconds(facts.daemon_start))?)
    }

    fn set(&self, key: &str, value: &Object) -> Result<()> {
        self.items.dict_set(&self.py.name(key)?, value)
    }

    fn integer(&self, key: &str, value: u64) -> Result<()> {
        self.set(key, &self.py.int(i64::try_from(value).unwrap_or(i64::MAX))?)
    }

    /// Calls the subscribers; returns the payload with what they have merged into it.
    fn publish(self, state: &State, name: &str) -> Result<Object> {
        let callbacks = state.helpers.event_callbacks.get(self.py);
        state.helpers.publish.get(self.py).call([&self.py.str(name)?, callbacks, &self.items])
    }
}
