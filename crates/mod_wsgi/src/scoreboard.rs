//! Apache's scoreboard as the bytes of the bridge, for `mod_wsgi.server_metrics()`.

use bridge::scoreboard::{Encoder, Summary, Worker};
use httpd::{Scoreboard, ScoreboardSize};

/// Appends the scoreboard to `buffer`, if there is one.
pub(crate) fn encode(buffer: &mut Vec<u8>) {
    let Some(scoreboard) = Scoreboard::find() else { return };
    let ScoreboardSize { server_limit, thread_limit } = scoreboard.size();
    let summary = Summary {
        server_limit,
        thread_limit,
        generation: scoreboard.generation(),
        restart_time: scoreboard.restart_time(),
        current_time: os::clock::microseconds(),
    };
    let mut encoder = Encoder::new(buffer, &summary);
    for process in 0..server_limit {
        let score = scoreboard.process(process);
        encoder.process(score.pid, score.generation, score.is_quiescing);
        for thread in 0..thread_limit {
            let Some(score) = scoreboard.worker(process, thread) else {
                encoder.worker(&Worker::default());
                continue;
            };
            encoder.worker(&Worker {
                thread_num: score.thread_num(),
                generation: score.generation(),
                status: score.status(),
                access_count: score.access_count(),
                bytes_served: score.bytes_served(),
                start_time: score.start_time(),
                stop_time: score.stop_time(),
                last_used: score.last_used(),
                client: score.client(),
                request: score.request(),
                vhost: score.vhost(),
            });
        }
    }
}

/// Returns the largest length of the scoreboard, in bytes.
pub(crate) fn longest() -> usize {
    let ScoreboardSize { server_limit, thread_limit } = ScoreboardSize::of_server();
    bridge::scoreboard::max_length(server_limit, thread_limit)
}
