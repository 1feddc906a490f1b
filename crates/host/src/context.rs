//! The request that a thread is serving, for what has no other way to know it: the standard streams, log
//! handlers, `mod_wsgi.request_data()`.

#![expect(
    clippy::disallowed_types,
    reason = "counts of references are changed under it, and no object is dropped"
)]

use std::cell::RefCell;
use std::sync::Arc;

use python::{Object, Py, Python};

use crate::log::Stream;

/// A request.
struct Current {
    /// Its `wsgi.errors`, while the application runs; what a script prints when it is loaded is not a request's.
    stream: Option<Arc<Stream>>,
    /// Its `mod_wsgi.request_data()`.
    data: Py,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Makes this thread's request known while `work` runs.
pub(crate) fn with_request<R>(py: Python<'_>, data: &Object, work: impl FnOnce() -> R) -> R {
    /// Forgets the request, also when `work` panics.
    struct Forget<'py>(Python<'py>);
    impl Drop for Forget<'_> {
        fn drop(&mut self) {
            if let Some(current) = CURRENT.take() {
                drop(current.data.into_object(self.0));
            }
        }
    }
    CURRENT.set(Some(Current { stream: None, data: Py::new(data.clone()) }));
    let _forget = Forget(py);
    work()
}

/// From now on, until the end of the request, this thread's standard streams are the request's.
pub(crate) fn direct_streams(stream: &Arc<Stream>) {
    CURRENT.with_borrow_mut(|current| {
        if let Some(current) = current {
            current.stream = Some(Arc::clone(stream));
        }
    });
}

/// The stream of this thread's request.
pub(crate) fn stream() -> Option<Arc<Stream>> {
    CURRENT.with_borrow(|current| current.as_ref()?.stream.clone())
}

/// The data dict of this thread's request.
pub(crate) fn data(py: Python<'_>) -> Option<Object> {
    CURRENT.with_borrow(|current| current.as_ref().map(|current| current.data.get(py).clone()))
}
