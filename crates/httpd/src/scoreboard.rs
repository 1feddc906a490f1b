//! Apache's scoreboard: the states of the server's processes and threads.
//!
//! All of them write to this memory at any time. It is read as a copy, whose parts may be from
//! different moments.
//!
//! Apache 2.4 has added fields to a worker's score at its end more than once. The server that runs
//! may be older or newer than the headers that this was built with, so the size of its scores is
//! taken from where they lie. (Apache's own function for a copy writes as much as the server's
//! score has, and is not told how much room there is.)

use std::ffi::{c_char, c_int, c_uchar};
use std::mem;
use std::ptr;

use httpd_sys as sys;

/// The size of a scoreboard.
#[derive(Debug, Clone, Copy)]
pub struct ScoreboardSize {
    /// Places for processes.
    pub server_limit: u32,
    /// Places for threads in each of them.
    pub thread_limit: u32,
}

/// The scoreboard of this server.
#[derive(Debug, Clone, Copy)]
pub struct Scoreboard {
    size: ScoreboardSize,
    /// The bytes of a worker's score in the server that runs.
    worker_length: usize,
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

impl ScoreboardSize {
    /// Returns the size for this server, which is known once the configuration has been read.
    #[must_use]
    pub fn of_server() -> Self {
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
}

impl Scoreboard {
    /// Returns the scoreboard, or `None` if there is none. A child has it from its start until it
    /// has destroyed its own pool and those of the server.
    #[must_use]
    pub fn find() -> Option<Self> {
        // SAFETY: the call takes and returns numbers only.
        (unsafe { sys::ap_exists_scoreboard_image() } != 0).then(|| Self::of(ScoreboardSize::of_server()))
    }

    /// Returns the scoreboard, which exists, and whose size is `size`.
    fn of(size: ScoreboardSize) -> Self {
        let ScoreboardSize { server_limit, thread_limit } = size;
        // Scores lie side by side, those of a process after those of the one before.
        let first = worker_address(0, 0);
        let after_first = if thread_limit > 1 {
            worker_address(0, 1)
        } else if server_limit > 1 {
            worker_address(1, 0)
        } else {
            end_of_memory()
        };
        Self { size, worker_length: after_first.saturating_sub(first) }
    }

    /// Returns its size.
    #[must_use]
    pub fn size(&self) -> ScoreboardSize {
        self.size
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
        let score = worker_score(process, thread);
        if score.is_null() || self.worker_length == 0 {
            return None;
        }
        const { assert!(align_of::<sys::worker_score>() >= align_of::<usize>()) };
        let words = self.worker_length.min(size_of::<sys::worker_score>()) / size_of::<usize>();
        // SAFETY: a worker's score consists of numbers only, so any bytes are one. Both sides have
        // as many words; others may write to the server's meanwhile.
        unsafe {
            let mut copy = mem::zeroed::<sys::worker_score>();
            let (source, target) = (score.cast::<usize>(), (&raw mut copy).cast::<usize>());
            for index in 0..words {
                target.add(index).write(source.add(index).read_volatile());
            }
            Some(WorkerScore(copy))
        }
    }

    fn global(&self) -> *const sys::global_score {
        // SAFETY: numbers only; the second call is made only if there is a scoreboard.
        unsafe {
            if sys::ap_exists_scoreboard_image() == 0 { ptr::null() } else { sys::ap_get_scoreboard_global() }
        }
    }
}

/// Returns a worker's score in the scoreboard, which exists, or null if there is no such place.
fn worker_score(process: u32, thread: u32) -> *const sys::worker_score {
    let (Ok(process), Ok(thread)) = (c_int::try_from(process), c_int::try_from(thread)) else {
        return ptr::null();
    };
    // SAFETY: the function checks the indices, and looks up an address.
    unsafe { sys::ap_get_scoreboard_worker_from_indexes(process, thread) }
}

fn worker_address(process: u32, thread: u32) -> usize {
    worker_score(process, thread).addr()
}

/// Returns the end of the scoreboard, which exists: it begins with the global score, and ends with
/// the last worker's.
fn end_of_memory() -> usize {
    // SAFETY: numbers only. The second function asks the MPM again, which answers as before.
    let (begin, length) = unsafe { (sys::ap_get_scoreboard_global().addr(), sys::ap_calc_scoreboard_size()) };
    usize::try_from(length).map_or(0, |length| begin + length)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A scoreboard whose scores are longer or shorter than those that this was built with.
    struct Memory {
        words: Vec<u64>,
        size: ScoreboardSize,
        worker_length: usize,
    }

    const GLOBAL_LENGTH: usize = 128;
    const OTHER: u8 = 0xEE;

    thread_local! {
        static MEMORY: Cell<*const Memory> = const { Cell::new(ptr::null()) };
    }

    impl Memory {
        fn new(server_limit: u32, thread_limit: u32, worker_length: usize) -> Self {
            let size = ScoreboardSize { server_limit, thread_limit };
            let length = GLOBAL_LENGTH + (server_limit * thread_limit) as usize * worker_length;
            Self { words: vec![u64::from_ne_bytes([OTHER; 8]); length / 8], size, worker_length }
        }

        /// Returns a place for a thread, as Apache's function does.
        fn worker(&self, process: u32, thread: u32) -> *mut sys::worker_score {
            let ScoreboardSize { server_limit, thread_limit } = self.size;
            if process >= server_limit || thread >= thread_limit {
                return ptr::null_mut();
            }
            let offset = GLOBAL_LENGTH + (process * thread_limit + thread) as usize * self.worker_length;
            self.words[offset / 8..].as_ptr().cast_mut().cast()
        }

        fn write(&mut self, process: u32, thread: u32, score: &sys::worker_score) {
            let length = self.worker_length.min(size_of::<sys::worker_score>());
            // SAFETY: both have this length.
            unsafe {
                ptr::copy_nonoverlapping(
                    ptr::from_ref(score).cast::<u8>(),
                    self.worker(process, thread).cast::<u8>(),
                    length,
                );
            }
        }

        fn scoreboard<T>(&self, test: impl FnOnce(Scoreboard) -> T) -> T {
            MEMORY.set(self);
            test(Scoreboard::of(self.size))
        }
    }

    fn memory<T>(answer: impl FnOnce(&Memory) -> T) -> T {
        // SAFETY: set by this thread, which still holds it.
        answer(unsafe { &*MEMORY.get() })
    }

    /// Stands in for Apache's function.
    // SAFETY: no other object of the test defines the symbol.
    #[unsafe(no_mangle)]
    extern "C" fn ap_get_scoreboard_worker_from_indexes(
        process: c_int,
        thread: c_int,
    ) -> *mut sys::worker_score {
        memory(|memory| memory.worker(process as u32, thread as u32))
    }

    /// Stands in for Apache's function.
    // SAFETY: no other object of the test defines the symbol.
    #[unsafe(no_mangle)]
    extern "C" fn ap_get_scoreboard_global() -> *const sys::global_score {
        memory(|memory| memory.words.as_ptr().cast())
    }

    /// Stands in for Apache's function.
    // SAFETY: no other object of the test defines the symbol.
    #[unsafe(no_mangle)]
    extern "C" fn ap_calc_scoreboard_size() -> c_int {
        memory(|memory| (memory.words.len() * 8) as c_int)
    }

    fn score() -> sys::worker_score {
        // SAFETY: it consists of numbers only.
        let mut score = unsafe { mem::zeroed::<sys::worker_score>() };
        score.thread_num = 7;
        score.status = sys::SERVER_BUSY_WRITE as u8;
        score.access_count = 42;
        let fields =
            [(&mut score.request[..], "GET /"), (&mut score.vhost, "host"), (&mut score.client64, "client")];
        for (field, text) in fields {
            for (character, byte) in field.iter_mut().zip(text.bytes()) {
                *character = byte as c_char;
            }
        }
        score
    }

    #[test]
    fn scores_of_other_servers_are_read_as_far_as_they_are_known() {
        let known = size_of::<sys::worker_score>();
        let before_client64 = mem::offset_of!(sys::worker_score, client64);
        for (length, client) in [(known, "client"), (known + 64, "client"), (before_client64, "")] {
            for (processes, threads) in [(2, 3), (3, 1), (1, 2), (1, 1)] {
                let mut memory = Memory::new(processes, threads, length);
                memory.write(processes - 1, threads - 1, &score());
                let found = memory.scoreboard(|board| board.worker(processes - 1, threads - 1)).unwrap();
                assert_eq!((found.thread_num(), found.status(), found.access_count()), (7, b'W', 42));
                assert_eq!((found.request(), found.vhost()), (&b"GET /"[..], &b"host"[..]));
                assert_eq!(found.client(), client.as_bytes(), "{length} {processes} {threads}");
            }
        }
    }

    #[test]
    fn there_is_nothing_where_no_place_is() {
        let memory = Memory::new(2, 3, size_of::<sys::worker_score>());
        memory.scoreboard(|board| {
            assert!(board.worker(1, 2).is_some());
            assert!(board.worker(1, 3).is_none() && board.worker(2, 0).is_none());
            assert!(board.worker(u32::MAX, 0).is_none());
        });
    }
}
