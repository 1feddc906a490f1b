//! `wsgi.errors`.

use std::sync::Arc;

use bridge::{Lease, RequestFacts};
use python::{Python, Result};

use crate::log::Log;
use crate::state::{ErrorsStream, State, ThreadState};
use crate::stream::Stream;

/// Returns `wsgi.errors` for a request: the stream of the thread's last request if the application
/// has neither kept nor changed it, or else a new one.
pub(crate) fn for_request(
    py: Python<'_>,
    state: &State,
    thread: &ThreadState,
    lease: &Arc<Lease>,
    facts: &RequestFacts<'_>,
) -> Result<ErrorsStream> {
    let errors = match thread.errors.take() {
        Some(errors) if errors.is_as_new(py, state)? => errors,
        _ => ErrorsStream::create(py, state)?,
    };
    errors.stream.begin(lease, facts);
    Ok(errors)
}

impl ErrorsStream {
    fn create(py: Python<'_>, state: &State) -> Result<Self> {
        let stream = Arc::new(Stream::default());
        let log = Log::new("<wsgi.errors>", &stream);
        let buffer = state.types.log.instance(py, log)?;
        let helpers = &state.helpers;
        let wrapper = helpers.text_io_wrapper.get(py).call([
            &buffer,
            helpers.encoding.get(py),
            helpers.replace.get(py),
            &py.none(),
            &py.bool(true),
            &py.bool(true),
        ])?;
        Ok(Self { wrapper, buffer, stream })
    }

    /// Returns whether the application has kept neither the stream nor its buffer, and has changed
    /// neither.
    fn is_as_new(&self, py: Python<'_>, state: &State) -> Result<bool> {
        let is_unshared = self.wrapper.reference_count() == 1 && self.buffer.reference_count() == 2;
        let log = state.types.log.value(py, &self.buffer);
        if !is_unshared || log.is_none_or(|log| log.is_touched()) {
            return Ok(false);
        }
        Ok(!self.wrapper.attr(state.names.dict.get(py))?.is_true()?)
    }
}
