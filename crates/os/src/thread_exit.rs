//! Threads that code of somebody else ends from within, by `pthread_exit` or a cancellation.
//!
//! glibc unwinds the stack of such a thread. Rust's functions on it cannot be unwound like that:
//! they end the process. So the thread has to be stopped before.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;

thread_local! {
    /// The thread's record, or null if there is none.
    static CLEANUP: Cell<*mut Cleanup> = const { Cell::new(ptr::null_mut()) };
}

/// Has `handler` called when the calling thread begins to be ended from within, as long as all of
/// its stack is still there. The thread ends if it returns. The first handler of a thread stays.
pub fn intercept(handler: fn()) {
    if cfg!(target_env = "gnu") && CLEANUP.get().is_null() {
        let cleanup = Box::into_raw(Box::new(Cleanup {
            routine: None,
            argument: ptr::null_mut(),
            cancel_type: 0,
            previous: ptr::null_mut(),
        }));
        CLEANUP.set(cleanup);
        // SAFETY: the record lives until `forget`. The handler is a function of this library, which
        // stays loaded.
        unsafe { _pthread_cleanup_push(cleanup, call_handler, handler as *mut c_void) };
    }
}

/// Frees what [`intercept`] has made for the calling thread.
///
/// # Safety
/// The thread runs its last destructors (those of its keys), when glibc no longer unwinds.
pub unsafe fn forget() {
    let cleanup = CLEANUP.replace(ptr::null_mut());
    if !cleanup.is_null() {
        // SAFETY: it has come from a box; by the caller, nobody looks at it any more.
        drop(unsafe { Box::from_raw(cleanup) });
    }
}

/// Stops the calling thread for ever.
pub fn park() -> ! {
    loop {
        // SAFETY: no conditions. Handlers of signals still run on the thread.
        unsafe { libc::pause() };
    }
}

/// A record of glibc's (`_pthread_cleanup_buffer` in pthread.h). While it unwinds a stack, glibc
/// calls the function before it leaves the frame that the record is in. This one is in no frame but
/// on the heap, so that its function is called before any frame is left.
#[repr(C)]
struct Cleanup {
    routine: Option<unsafe extern "C" fn(*mut c_void)>,
    argument: *mut c_void,
    cancel_type: c_int,
    previous: *mut Self,
}

unsafe extern "C" fn call_handler(handler: *mut c_void) {
    // SAFETY: registered by `intercept` only, with a function of this type.
    let handler = unsafe { std::mem::transmute::<*mut c_void, fn()>(handler) };
    handler();
}

unsafe extern "C" {
    fn _pthread_cleanup_push(
        cleanup: *mut Cleanup,
        routine: unsafe extern "C" fn(*mut c_void),
        argument: *mut c_void,
    );
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    static CALLS: AtomicU32 = AtomicU32::new(0);

    fn stop() {
        CALLS.fetch_add(1, Ordering::SeqCst);
        park();
    }

    #[test]
    fn a_thread_that_is_ended_from_within_is_stopped_before() {
        let _stopped = std::thread::spawn(|| {
            intercept(stop);
            // A value with a destructor, which cannot be unwound by pthread_exit.
            let _value = String::from("value");
            // SAFETY: the stack of this thread is not left: `stop` does not return.
            unsafe { libc::pthread_exit(ptr::null_mut()) }
        });
        let deadline = Instant::now() + Duration::from_secs(30);
        while CALLS.load(Ordering::SeqCst) == 0 {
            assert!(Instant::now() < deadline, "the handler is not called");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_thread_that_returns_ends() {
        let thread = std::thread::spawn(|| intercept(stop));
        assert!(thread.join().is_ok());
    }
}
