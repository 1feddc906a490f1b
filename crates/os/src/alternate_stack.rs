//! The alternate stack of a thread, on which handlers of signals run that ask for it (`SA_ONSTACK`).
//!
//! A thread whose stack has overflowed has no room there for the handler of SIGSEGV. Python's
//! `faulthandler` gives the main thread such a stack, and no other one.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;
use std::sync::OnceLock;

/// The size of a stack. Pages are taken once they are used.
const SIZE: usize = 64 << 10;
/// The size of what lies in front of it and cannot be used: a page of any system.
const GUARD: usize = 64 << 10;

thread_local! {
    /// The stack that [`install`] has made, with the guard in front of it; null if there is none.
    static STACK: Cell<*mut c_void> = const { Cell::new(ptr::null_mut()) };
}

/// The key whose destructor takes back the stacks of threads that end.
static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();

/// Gives the calling thread an alternate stack until it ends, unless it has one. Without memory there is
/// none.
pub fn install() {
    if current().is_none_or(|stack| stack.ss_flags & libc::SS_DISABLE == 0) {
        return;
    }
    let key = KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: the place is valid, and the destructor a function of this library, which stays loaded.
        let is_made = unsafe { libc::pthread_key_create(&raw mut key, Some(thread_ends)) } == 0;
        is_made.then_some(key)
    });
    let Some(key) = *key else { return };
    // SAFETY: the mapping is new; its first part becomes a guard. The system is given a stack that stays
    // until the thread takes it back.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
        let memory =
            libc::mmap(ptr::null_mut(), GUARD + SIZE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        if memory == libc::MAP_FAILED {
            return;
        }
        libc::mprotect(memory, GUARD, libc::PROT_NONE);
        let stack = libc::stack_t { ss_sp: memory.byte_add(GUARD), ss_flags: 0, ss_size: SIZE };
        if libc::sigaltstack(&raw const stack, ptr::null_mut()) == 0 {
            STACK.set(memory);
            // Any value but null has the destructor called. Without memory for it, the stack stays.
            libc::pthread_setspecific(key, memory);
        } else {
            libc::munmap(memory, GUARD + SIZE);
        }
    }
}

extern "C" fn thread_ends(_: *mut c_void) {
    remove();
}

/// Takes back the stack that [`install`] has given the calling thread. One that was put in its place by
/// others stays.
fn remove() {
    let memory = STACK.replace(ptr::null_mut());
    if memory.is_null() {
        return;
    }
    // SAFETY: the memory was mapped by `install`, and nothing runs on it: that would be this function's
    // caller. If another stack is in use, somebody may still hold this one, to put it back.
    unsafe {
        let is_free = |stack: libc::stack_t| {
            stack.ss_sp == memory.byte_add(GUARD) || stack.ss_flags & libc::SS_DISABLE != 0
        };
        if current().is_some_and(is_free) {
            let none = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: SIZE };
            if libc::sigaltstack(&raw const none, ptr::null_mut()) == 0 {
                libc::munmap(memory, GUARD + SIZE);
            }
        }
    }
}

/// Returns the alternate stack of the calling thread.
fn current() -> Option<libc::stack_t> {
    let mut stack = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: 0, ss_size: 0 };
    // SAFETY: the place is valid; nothing is changed.
    let is_known = unsafe { libc::sigaltstack(ptr::null(), &raw mut stack) } == 0;
    is_known.then_some(stack)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_one_until_it_takes_it_back() {
        let is_there = || current().is_some_and(|stack| stack.ss_flags & libc::SS_DISABLE == 0);
        // SAFETY: no handler runs here.
        let use_none = || unsafe {
            let none = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: SIZE };
            libc::sigaltstack(&raw const none, ptr::null_mut())
        };
        std::thread::spawn(move || {
            // The thread of a test has one of Rust's.
            assert_eq!(use_none(), 0);
            install();
            let own = current().map(|stack| stack.ss_sp);
            assert!(is_there());
            install();
            assert_eq!(current().map(|stack| stack.ss_sp), own, "it keeps the one that it has");
            remove();
            assert!(!is_there());
            remove();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn threads_that_end_leave_nothing() {
        let mappings = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        let before = mappings();
        for _ in 0..200 {
            std::thread::spawn(|| {
                // SAFETY: no handler runs here.
                unsafe {
                    let none =
                        libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: SIZE };
                    assert_eq!(libc::sigaltstack(&raw const none, ptr::null_mut()), 0);
                }
                install();
                assert!(!STACK.get().is_null());
            })
            .join()
            .unwrap();
        }
        // Other tests have threads, too.
        assert!(mappings() < before + 200, "{before}");
    }
}
