//! The end of a process whose threads do not end.

use std::ffi::{c_int, c_void};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Makes `exit` end the process at once if `at_once` returns true: without the handlers that were
/// registered before, by libraries above all. They take their data apart, and crash threads that
/// are inside the library.
pub fn skip_handlers_if(at_once: fn() -> bool) {
    // SAFETY: the handler is a function of this signature, and its argument what it expects.
    // Without memory it is not registered, and all is as if it had not been asked for.
    unsafe { on_exit(end, at_once as *const () as *mut c_void) };
}

/// Ends the process at once, whatever runs in it: no destructors, no exit handlers.
pub fn now(status: i32) -> ! {
    // SAFETY: it has no precondition, and nothing of this process is used after it.
    unsafe { libc::_exit(status) }
}

/// Returns whether this process has more threads than the one that asks; also if that cannot be
/// found out.
#[must_use]
pub fn has_other_threads() -> bool {
    // One link each, and two of the directory itself.
    fs::metadata("/proc/self/task").map_or(true, |tasks| tasks.nlink() > 3)
}

unsafe extern "C" fn end(status: c_int, at_once: *mut c_void) {
    // SAFETY: registered by `skip_handlers_if` only, with a function of this type.
    let at_once = unsafe { std::mem::transmute::<*mut c_void, fn() -> bool>(at_once) };
    if at_once() {
        // SAFETY: no conditions.
        unsafe { libc::_exit(status) }
    }
}

unsafe extern "C" {
    /// Registers a handler as `atexit` does, with the status. The last handler to be registered is
    /// the first to be called.
    fn on_exit(handler: unsafe extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn other_threads_are_seen() {
        // Tests run on threads of their own.
        assert!(has_other_threads());
        let (stop, stopped) = mpsc::channel::<()>();
        let other = thread::spawn(move || stopped.recv().is_err());
        assert!(has_other_threads());
        drop(stop);
        assert!(other.join().is_ok_and(|ended| ended));
    }

    #[test]
    fn a_process_without_threads_is_recognised() {
        // SAFETY: the copy makes system calls only, and ends.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            skip_handlers_if(|| true);
            let status = if has_other_threads() { 1 } else { 7 };
            // SAFETY: the only handlers that would not work in a copy are not called.
            unsafe { libc::exit(status) }
        }
        let mut status = 0;
        // SAFETY: the id is a child's.
        assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "{status}");
    }
}
