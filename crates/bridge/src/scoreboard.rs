//! Apache's scoreboard as bytes, from a process that has it to one that shows it.
//!
//! It is written straight into a buffer ([`Encoder`]), which need not grow: see [`max_length`].

use wsgi_core::wire::{Malformed, Reader, Writer};

/// The part of the scoreboard about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Places for processes.
    pub server_limit: u32,
    /// Places for threads in each of them.
    pub thread_limit: u32,
    /// The number of times that the server has been restarted.
    pub generation: u32,
    /// The time when it was started or restarted.
    pub restart_time: i64,
    /// The time when this was read.
    pub current_time: i64,
}

/// A place for a process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process<'a> {
    /// The process id; 0 if there is no process.
    pub pid: u32,
    /// The server's generation that it belongs to.
    pub generation: u32,
    /// It only finishes the requests that it has.
    pub is_quiescing: bool,
    /// Its threads, one for each place.
    pub workers: Vec<Worker<'a>>,
}

/// A place for a thread. One that has never been used is empty (the [`default`](Default)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker<'a> {
    /// Its number among those of all processes.
    pub thread_num: u32,
    /// Of the process that used it last.
    pub generation: u32,
    /// Its state: a letter, as in Apache's status page.
    pub status: u8,
    /// Requests that it has served.
    pub access_count: u64,
    /// The number of bytes that it has sent.
    pub bytes_served: u64,
    /// The time when its last request began; 0: none has.
    pub start_time: i64,
    /// The time when it ended.
    pub stop_time: i64,
    /// The time when it last did something.
    pub last_used: i64,
    /// The client of the last request.
    pub client: &'a [u8],
    /// The line of that request.
    pub request: &'a [u8],
    /// The virtual host that it went to.
    pub vhost: &'a [u8],
}

impl Default for Worker<'_> {
    fn default() -> Self {
        Self {
            thread_num: 0,
            generation: 0,
            status: b'.',
            access_count: 0,
            bytes_served: 0,
            start_time: 0,
            stop_time: 0,
            last_used: 0,
            client: b"",
            request: b"",
            vhost: b"",
        }
    }
}

/// The longest text that is encoded, in bytes; longer ones are cut.
const MAX_TEXT: usize = 64;

const SUMMARY: usize = 32;
const PROCESS: usize = 13;
const WORKER: usize = 1 + 9 + 5 * 8 + 3 * (4 + MAX_TEXT);

/// Returns the largest number of bytes that the scoreboard of a server takes.
#[must_use]
pub const fn max_length(server_limit: u32, thread_limit: u32) -> usize {
    let process = (thread_limit as usize).saturating_mul(WORKER).saturating_add(PROCESS);
    (server_limit as usize).saturating_mul(process).saturating_add(SUMMARY)
}

/// An encoder of a scoreboard. Call [`process`](Self::process) for each process, followed by
/// [`worker`](Self::worker) for each of its threads.
#[derive(Debug)]
pub struct Encoder<'a> {
    writer: Writer<'a>,
    thread_limit: u32,
}

impl<'a> Encoder<'a> {
    /// Returns an encoder that appends to `buffer`.
    pub fn new(buffer: &'a mut Vec<u8>, summary: &Summary) -> Self {
        let mut writer = Writer::new(buffer);
        for number in [summary.server_limit, summary.thread_limit, summary.generation] {
            writer.u32(number);
        }
        writer.i64(summary.restart_time);
        writer.i64(summary.current_time);
        writer.u32(summary.server_limit);
        Self { writer, thread_limit: summary.thread_limit }
    }

    /// Writes the next of `server_limit` processes.
    pub fn process(&mut self, pid: u32, generation: u32, is_quiescing: bool) {
        self.writer.u32(pid);
        self.writer.u32(generation);
        self.writer.bool(is_quiescing);
        self.writer.u32(self.thread_limit);
    }

    /// Writes the next of the `thread_limit` threads of the process.
    pub fn worker(&mut self, worker: &Worker<'_>) {
        // Most places are empty on most servers.
        let is_used = *worker != Worker::default();
        self.writer.bool(is_used);
        if !is_used {
            return;
        }
        self.writer.u32(worker.thread_num);
        self.writer.u32(worker.generation);
        self.writer.u8(worker.status);
        self.writer.u64(worker.access_count);
        self.writer.u64(worker.bytes_served);
        for time in [worker.start_time, worker.stop_time, worker.last_used] {
            self.writer.i64(time);
        }
        for text in [worker.client, worker.request, worker.vhost] {
            self.writer.bytes(&text[..text.len().min(MAX_TEXT)]);
        }
    }
}

/// Reads what [`Encoder`] has written.
///
/// # Errors
/// The message is no scoreboard.
pub fn decode(message: &[u8]) -> Result<(Summary, Vec<Process<'_>>), Malformed> {
    let mut reader = Reader::new(message);
    let summary = Summary {
        server_limit: reader.u32()?,
        thread_limit: reader.u32()?,
        generation: reader.u32()?,
        restart_time: reader.i64()?,
        current_time: reader.i64()?,
    };
    let processes = reader.list(|reader| {
        Ok(Process {
            pid: reader.u32()?,
            generation: reader.u32()?,
            is_quiescing: reader.bool()?,
            workers: reader.list(worker)?,
        })
    })?;
    reader.end().map(|()| (summary, processes))
}

fn worker<'a>(reader: &mut Reader<'a>) -> Result<Worker<'a>, Malformed> {
    if !reader.bool()? {
        return Ok(Worker::default());
    }
    Ok(Worker {
        thread_num: reader.u32()?,
        generation: reader.u32()?,
        status: reader.u8()?,
        access_count: reader.u64()?,
        bytes_served: reader.u64()?,
        start_time: reader.i64()?,
        stop_time: reader.i64()?,
        last_used: reader.i64()?,
        client: reader.bytes()?,
        request: reader.bytes()?,
        vhost: reader.bytes()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUMMARY: Summary =
        Summary { server_limit: 2, thread_limit: 3, generation: 1, restart_time: 5, current_time: -6 };

    fn busy(text: &[u8]) -> Worker<'_> {
        Worker {
            thread_num: 7,
            generation: 8,
            status: b'W',
            access_count: u64::MAX,
            bytes_served: 9,
            start_time: -1,
            stop_time: 2,
            last_used: 3,
            client: text,
            request: text,
            vhost: text,
        }
    }

    /// Encodes two processes of three threads each, of which `used` are busy.
    fn encoded(used: usize, text: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        let mut encoder = Encoder::new(&mut message, &SUMMARY);
        for process in 0..2 {
            encoder.process(100 + process, process, process == 1);
            for thread in 0..3 {
                encoder.worker(&if thread < used { busy(text) } else { Worker::default() });
            }
        }
        message
    }

    #[test]
    fn a_scoreboard_comes_back() {
        let message = encoded(2, b"GET / HTTP/1.1");
        let (summary, processes) = decode(&message).unwrap();
        assert_eq!(summary, SUMMARY);
        let workers = vec![busy(b"GET / HTTP/1.1"), busy(b"GET / HTTP/1.1"), Worker::default()];
        assert_eq!(
            processes,
            [
                Process { pid: 100, generation: 0, is_quiescing: false, workers: workers.clone() },
                Process { pid: 101, generation: 1, is_quiescing: true, workers },
            ]
        );
        for cut in 0..message.len() {
            assert_eq!(decode(&message[..cut]), Err(Malformed), "cut at {cut}");
        }
    }

    #[test]
    fn a_scoreboard_never_exceeds_its_bound() {
        assert_eq!(encoded(3, &[b'x'; 100]).len(), max_length(2, 3));
        let message = encoded(3, &[b'x'; 100]);
        assert_eq!(decode(&message).unwrap().1[1].workers[2].client, [b'x'; MAX_TEXT]);
        assert!(encoded(0, b"").len() < 100);
        assert_eq!(max_length(u32::MAX, u32::MAX), usize::MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_damaged_scoreboard_is_read_without_panic(at in 0_usize..2000, byte in any::<u8>()) {
            let mut message = encoded(2, b"text");
            let at = at % message.len();
            message[at] = byte;
            let _ = decode(&message);
        }
    }
}
