use std::fs::File;
use std::io::{PipeReader, Read, Write};

use os::shared::LongWords;
use wsgi_core::ledger::{EventKind, Ledger};
use wsgi_core::tallies;

use super::*;
use crate::record::{Record, RecordedGroup};

/// The time that anything may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns a relay with one log, a pipe.
fn relay() -> (Relay, PipeReader) {
    let (reader, log) = io::pipe().unwrap();
    (Relay::start(&[log.into()], 0, None, 1).unwrap(), reader)
}

/// Creates a pipe whose lines the relay carries.
fn writer(relay: &Relay) -> (Id, File) {
    let (reader, writer) = os::descriptors::pipe().unwrap();
    (relay.watch(reader, Destination { log: 0, json_of: None }), writer.into())
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Reads everything until nobody writes any more.
fn rest(mut log: PipeReader) -> String {
    let mut all = String::new();
    log.read_to_string(&mut all).unwrap();
    all
}

/// Writes numbered lines without pause.
fn flood(mut to: File, name: char, lines: u32) -> std::thread::JoinHandle<File> {
    std::thread::spawn(move || {
        for number in 0..lines {
            to.write_all(format!("{name} {number} {}\n", "-".repeat(100)).as_bytes()).unwrap();
        }
        to
    })
}

fn numbers(all: &str, name: char) -> Vec<u32> {
    let of = |line: &str| line.strip_prefix(name)?.split(' ').nth(1)?.parse().ok();
    all.lines().filter_map(of).collect()
}

#[test]
fn nothing_is_lost_while_the_log_moves() {
    let (relay, mut log) = relay();
    let (_, one) = writer(&relay);
    // Far more than may wait.
    let writing = flood(one, 'a', 20_000);
    let mut all = Vec::new();
    let mut part = [0; 40_000];
    while all.len() < 1 << 20 {
        // Slowly.
        std::thread::sleep(Duration::from_millis(2));
        let count = log.read(&mut part).unwrap();
        all.extend_from_slice(&part[..count]);
    }
    let reading = std::thread::spawn(move || rest(log));
    writing.join().unwrap();
    relay.finish();
    let all = String::from_utf8(all).unwrap() + &reading.join().unwrap();
    assert!(numbers(&all, 'a').into_iter().eq(0..20_000), "lines are missing or out of order");
    assert!(!all.contains("dropped"));
}

#[test]
fn a_flood_leaves_others_their_share_and_is_counted() {
    let (relay, log) = relay();
    let ((_, noisy), (_, quiet)) = (writer(&relay), writer(&relay));
    // Nobody reads, and yet it is done before long.
    let lines = 40_000;
    let noisy = flood(noisy, 'a', lines).join().unwrap();
    flood(quiet, 'b', 100).join().unwrap();
    relay.line(b"of the supervisor\n".to_vec());
    drop(noisy);
    let reading = std::thread::spawn(move || rest(log));
    // The relay goes on, since somebody reads.
    relay.finish();
    let all = reading.join().unwrap();
    let kept = numbers(&all, 'a');
    assert!(kept.is_sorted_by(|one, next| one < next), "lines are out of order");
    assert!(numbers(&all, 'b').into_iter().eq(0..100));
    assert!(all.contains("\nof the supervisor\n"));
    // They are all there, or counted.
    let announced = all.lines().filter_map(|line| line.split_once(" lines were dropped")?.0.rsplit_once(' '));
    let dropped: usize = announced.map(|(_, count)| count.parse::<usize>().unwrap()).sum();
    assert!(dropped > 0 && kept.len() + dropped == lines as usize, "{} and {dropped}", kept.len());
}

#[test]
fn leftover_lines_come_before_later_ones() {
    let (relay, log) = relay();
    for number in 0..50 {
        let (id, mut process) = writer(&relay);
        process.write_all(format!("last words of {number}").as_bytes()).unwrap();
        drop(process);
        relay.collect(id);
        relay.line(format!("the end of {number}\n").into_bytes());
    }
    relay.finish();
    let expected: String =
        (0..50).map(|number| format!("last words of {number}\nthe end of {number}\n")).collect();
    assert_eq!(rest(log), expected);
}

#[test]
fn pipes_that_orphans_hold_are_bounded() {
    let (relay, log) = relay();
    let mut orphans: Vec<_> = (0..=super::max_orphans(1))
        .map(|_| {
            let (id, orphan) = writer(&relay);
            relay.collect(id);
            orphan
        })
        .collect();
    // Nobody reads what the oldest writes; all others go on.
    let mut oldest = orphans.remove(0);
    until("the end of the oldest", || oldest.write_all(b"\n").is_err());
    for (number, orphan) in orphans.iter_mut().enumerate() {
        orphan.write_all(format!("{number}\n").as_bytes()).unwrap();
    }
    relay.finish();
    let mut numbers: Vec<usize> = rest(log).split_whitespace().filter_map(|line| line.parse().ok()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..super::max_orphans(1)));
}

#[test]
fn the_end_does_not_wait_for_a_log_that_takes_nothing() {
    let (relay, log) = relay();
    let (_, one) = writer(&relay);
    flood(one, 'a', 10_000).join().unwrap();
    let begin = Instant::now();
    relay.finish();
    assert!(begin.elapsed() < PATIENCE / 2);
    let all = rest(log);
    // The server's own lines find room in the pipe, too.
    assert!(!all.is_empty() && all.len() <= (64 << 10) / 2, "{}", all.len());
}

#[test]
fn a_log_without_a_reader_does_no_harm() {
    let (relay, log) = relay();
    drop(log);
    let (_, one) = writer(&relay);
    flood(one, 'a', 10_000).join().unwrap();
    relay.line(b"in vain\n".to_vec());
    relay.finish();
}

#[test]
fn a_log_that_cannot_be_reopened_is_kept() {
    let (log, mut reader) = std::os::unix::net::UnixStream::pair().unwrap();
    let relay = Relay::start(&[log.into()], 0, None, 1).unwrap();
    let (_, one) = writer(&relay);
    let writing = flood(one, 'a', 5_000);
    let reading = std::thread::spawn(move || {
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        all
    });
    writing.join().unwrap();
    relay.finish();
    assert!(numbers(&reading.join().unwrap(), 'a').into_iter().eq(0..5_000));
}

#[test]
fn stacks_of_many_processes_that_die_at_once_are_kept() {
    const MANY: usize = 40;
    let (relay, _log) = relay();
    let file = LongWords::create_for_writers(c"tallies", tallies::words_for(&[])).unwrap();
    let words = LongWords::map(&file, tallies::words_for(&[])).unwrap();
    let record = Arc::new(Record::map(file, Vec::new()).unwrap());
    let ids: Vec<_> = (0..MANY)
        .map(|number| {
            let (id, mut process) = writer(&relay);
            process
                .write_all(format!("Fatal Python error: Aborted\n\nstack {number}.\n").as_bytes())
                .unwrap();
            id
        })
        .collect();
    // All have ended before the first end is noticed.
    until("the ends of all pipes", || !relay.has_writers());
    for (number, id) in ids.into_iter().enumerate() {
        relay.collect(id);
        let event = PendingEvent {
            record: Arc::clone(&record),
            kind: EventKind::Crash,
            group: RecordedGroup { number: 1, name: b"all"[..].into() },
            pid: i32::try_from(number).unwrap(),
            text: String::new(),
        };
        relay.record(id, Exit::Signal(6, false), event);
    }
    relay.finish();
    let events = tallies::EVENTS.last(&|index| Ledger::new(words.as_slice()).load(index));
    assert_eq!(events.len(), MANY);
    for event in events {
        let detail = String::from_utf8(event.detail).unwrap();
        assert!(detail.contains(&format!("stack {}.", event.pid)), "{}: {detail}", event.pid);
    }
}

#[test]
fn lines_after_a_torn_one_begin_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let log = File::options().append(true).create(true).open(&path).unwrap();
    let mut sink = Sink::new(&log.into()).unwrap();
    // As when the disk was full after a part of a line.
    sink.push(1, b"torn\n".to_vec(), Instant::now());
    sink.fail_front_after(2);
    sink.push(1, b"whole\n".to_vec(), Instant::now());
    sink.flush(Instant::now());
    let all = std::fs::read_to_string(&path).unwrap();
    assert!(all.starts_with("\nwhole\n") && all.contains("1 lines were dropped"), "{all}");
}
