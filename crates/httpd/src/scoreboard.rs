//! Apache's scoreboard: the states of the server's processes and threads.
//!
//! All of them write to this memory at any time. It is read as a copy, whose parts may be from
//! different moments.

use std::ffi::{c_char, c_int, c_uchar};
use std::mem::MaybeUninit;
use std::ptr;

use httpd_sys as sys;

/// The scoreboard of this server.
#[derive(Debug, Clone, Copy)]
pub struct Scoreboard {
    /// Places for processes.
    pub server_limit: u32,
    /// Places for threads in each of them.
    pub thread_limit: u32,
}

/// A place for a process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessScore {
    /// The process id; 0 if the place is free.
    pub pid: u32,
    /// The generation of the process.
    pub generation: u32,
    /// Set if the process takes no more connections and finishes its requests.
    pub is_quiescing: bool,
}

/// A place for a thread.
pub struct WorkerScore(sys::worker_score);

impl Scoreboard {
    /// Returns the size of the scoreboard, which is known once the configuration has been read.
    #[must_use]
    pub fn size() -> Self {
        let limit = |question: u32| {
            let mut answer: c_int = 0;
            // SAFETY: the MPM answers into the number, or not at all.
            unsafe { sys::ap_mpm_query(question as c_int, &raw mut answer) };
            u32::try_from(answer).unwrap_or(0)
        };
        Self {
            server_limit: limit(sys::AP_MPMQ_HARD_LIMIT_DAEMONS),
            thread_limit: limit(sys::AP_MPMQ_HARD_LIMIT_THREADS),
        }
    }

    /// Returns the scoreboard, or `None` if there is none. A child has it from its start until it
    /// has destroyed its own pool and those of the server.
    #[must_use]
    pub fn find() -> Option<Self> {
        // SAFETY: the call takes and returns numbers only.
        (unsafe { sys::ap_exists_scoreboard_image() } != 0).then(Self::size)
    }

    /// Returns the generation of new children.
    #[must_use]
    pub fn generation(&self) -> u32 {
        let global = self.global();
        // SAFETY: null or live; others may write to it meanwhile.
        let generation = unsafe {
            if global.is_null() { 0 } else { (&raw const (*global).running_generation).read_volatile() }
        };
        u32::try_from(generation).unwrap_or(0)
    }

    /// Returns the time of the last start or restart, in microseconds since the epoch.
    #[must_use]
    pub fn restart_time(&self) -> i64 {
        let global = self.global();
        // SAFETY: null or live; others may write to it meanwhile.
        unsafe { if global.is_null() { 0 } else { (&raw const (*global).restart_time).read_volatile() } }
    }

    /// Returns a place for a process.
    #[must_use]
    pub fn process(&self, index: u32) -> ProcessScore {
        let Ok(index) = c_int::try_from(index) else { return ProcessScore::default() };
        // SAFETY: Apache's function checks the index; the result is null or live, and others may
        // write to it meanwhile.
        unsafe {
            let process = sys::ap_get_scoreboard_process(index);
            if process.is_null() {
                return ProcessScore::default();
            }
            let pid = (&raw const (*process).pid).read_volatile();
            let generation = (&raw const (*process).generation).read_volatile();
            ProcessScore {
                pid: u32::try_from(pid).unwrap_or(0),
                generation: u32::try_from(generation).unwrap_or(0),
                is_quiescing: (&raw const (*process).quiescing).read_volatile() != 0,
            }
        }
    }

    /// Returns a place for a thread, or `None` if there is no such place.
    #[must_use]
    pub fn worker(&self, process: u32, thread: u32) -> Option<WorkerScore> {
        let (process, thread) = (c_int::try_from(process).ok()?, c_int::try_from(thread).ok()?);
        let mut copy = MaybeUninit::<sys::worker_score>::uninit();
        // SAFETY: the first function checks the indices, and the second one copies what the first
        // has found. A worker's score consists of numbers only, so any copy is one.
        unsafe {
            if sys::ap_get_scoreboard_worker_from_indexes(process, thread).is_null() {
                return None;
            }
            sys::ap_copy_scoreboard_worker(copy.as_mut_ptr(), process, thread);
            Some(WorkerScore(copy.assume_init()))
        }
    }

    fn global(&self) -> *const sys::global_score {
        // SAFETY: numbers only; the second call is made only if there is a scoreboard.
        unsafe {
            if sys::ap_exists_scoreboard_image() == 0 { ptr::null() } else { sys::ap_get_scoreboard_global() }
        }
    }
}

impl WorkerScore {
    /// Returns the number of the thread among those of all processes.
    #[must_use]
    pub fn thread_num(&self) -> u32 {
        u32::try_from(self.0.thread_num).unwrap_or(0)
    }

    /// Returns the generation of the process that used the place last.
    #[must_use]
    pub fn generation(&self) -> u32 {
        u32::try_from(self.0.generation).unwrap_or(0)
    }

    /// Returns the state of the thread, as the letter on Apache's status page.
    #[must_use]
    pub fn status(&self) -> u8 {
        match u32::from(self.0.status) {
            sys::SERVER_DEAD => b'.',
            sys::SERVER_STARTING => b'S',
            sys::SERVER_READY => b'_',
            sys::SERVER_BUSY_READ => b'R',
            sys::SERVER_BUSY_WRITE => b'W',
            sys::SERVER_BUSY_KEEPALIVE => b'K',
            sys::SERVER_BUSY_LOG => b'L',
            sys::SERVER_BUSY_DNS => b'D',
            sys::SERVER_CLOSING => b'C',
            sys::SERVER_GRACEFUL => b'G',
            sys::SERVER_IDLE_KILL => b'I',
            _ => b'?',
        }
    }

    /// Returns the number of requests that were served in this place.
    #[must_use]
    #[allow(clippy::useless_conversion, reason = "an unsigned long has 32 bits on some systems")]
    pub fn access_count(&self) -> u64 {
        self.0.access_count.into()
    }

    /// Returns the number of bytes that were sent for them.
    #[must_use]
    pub fn bytes_served(&self) -> u64 {
        u64::try_from(self.0.bytes_served).unwrap_or(0)
    }

    /// Returns the time at which the last request began, in microseconds since the epoch; 0 if
    /// there was none.
    #[must_use]
    pub fn start_time(&self) -> i64 {
        self.0.start_time
    }

    /// Returns the time at which the last request ended.
    #[must_use]
    pub fn stop_time(&self) -> i64 {
        self.0.stop_time
    }

    /// Returns the time at which the place was used last.
    #[must_use]
    pub fn last_used(&self) -> i64 {
        self.0.last_used
    }

    /// Returns the client of the last request; empty without `ExtendedStatus`.
    #[must_use]
    pub fn client(&self) -> &[u8] {
        until_nul(&self.0.client64)
    }

    /// Returns the beginning of the last request line; empty without `ExtendedStatus`.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        until_nul(&self.0.request)
    }

    /// Returns the virtual host of the last request; empty without `ExtendedStatus`.
    #[must_use]
    pub fn vhost(&self) -> &[u8] {
        until_nul(&self.0.vhost)
    }
}

fn until_nul(text: &[c_char]) -> &[u8] {
    const { assert!(size_of::<c_char>() == size_of::<c_uchar>()) };
    // SAFETY: characters are bytes.
    let bytes = unsafe { std::slice::from_raw_parts(text.as_ptr().cast::<u8>(), text.len()) };
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}
