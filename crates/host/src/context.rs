//! The request that a thread is serving, for code that is not passed it: the standard streams, log
//! handlers, `mod_wsgi.request_data()`.
//!
//! A thread may serve one request inside another: the server's filters make such requests while a
//! response is sent. The inner one replaces the outer one until it ends.

#![expect(
    clippy::disallowed_types,
    reason = "counts of references are changed under it, and no object is dropped"
)]

use std::cell::RefCell;
use std::sync::Arc;

use python::{Object, Py, Python};

use crate::stream::Stream;

/// A request.
#[derive(Default)]
struct Current {
    /// Its `wsgi.errors`, while the application runs; output of a script that is being loaded
    /// belongs to no request.
    stream: Option<Arc<Stream>>,
    /// Its `mod_wsgi.request_data()`.
    data: Option<Py>,
}

thread_local! {
    /// Gone already when values of an ending thread print something.
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Runs `work` as a request of this thread, perhaps within another one.
pub(crate) fn with_request<R>(py: Python<'_>, work: impl FnOnce() -> R) -> R {
    /// A guard that restores the outer request, also when `work` panics.
    struct Restore<'py>(Python<'py>, Option<Current>);
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            if let Some(data) = CURRENT.replace(self.1.take()).and_then(|current| current.data) {
                drop(data.into_object(self.0));
            }
        }
    }
    let outer = CURRENT.replace(Some(Current::default()));
    let _restore = Restore(py, outer);
    work()
}

/// Sets the data dict of this thread's request, once.
pub(crate) fn set_data(data: &Object) {
    change(|current| current.data = Some(Py::new(data.clone())));
}

/// Directs this thread's standard streams to the request, until its end.
pub(crate) fn direct_streams(stream: &Arc<Stream>) {
    change(|current| current.stream = Some(Arc::clone(stream)));
}

fn change(change: impl FnOnce(&mut Current)) {
    CURRENT.with_borrow_mut(|current| current.as_mut().map(change));
}

/// Returns the stream of this thread's request, if it serves one.
pub(crate) fn stream() -> Option<Arc<Stream>> {
    CURRENT.try_with(|current| current.borrow().as_ref()?.stream.clone()).ok()?
}

/// Returns the data dict of this thread's request, if it serves one.
pub(crate) fn data(py: Python<'_>) -> Option<Object> {
    let data = |current: &Current| current.data.as_ref().map(|data| data.get(py).clone());
    CURRENT.try_with(|current| current.borrow().as_ref().and_then(data)).ok()?
}
