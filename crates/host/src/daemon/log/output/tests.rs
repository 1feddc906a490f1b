use std::fs::File;
use std::io::{PipeReader, Read};
use std::sync::Arc;

use super::*;

/// Longer than a machine under any load needs to run a thread that could run.
const LONG: Duration = Duration::from_secs(60);

/// Returns an output, and where its lines come out.
fn output() -> (Arc<Output>, PipeReader) {
    output_with(LONG)
}

fn output_with(patience: Duration) -> (Arc<Output>, PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    let pipe = os::descriptors::reopen_for_append(&writer).unwrap();
    let output = Output {
        file: identity(&pipe).unwrap(),
        pipe,
        process: std::process::id(),
        patience,
        writing: Mutex::default(),
        waiting: Mutex::default(),
        is_stalled: AtomicBool::new(false),
        dropped: AtomicU64::new(0),
    };
    (Arc::new(output), reader)
}

/// Returns all lines until the output is closed, as the relay puts them together.
fn rest(mut reader: PipeReader) -> String {
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    let mut joiner = line::Joiner::default();
    joiner.join(&mut all);
    String::from_utf8(all).unwrap()
}

/// Returns the number in the lines that say how many are missing.
fn told(all: &str) -> u64 {
    let lines = all.lines().filter_map(|line| line.split_once(" lines of this process were dropped"));
    lines.map(|(head, _)| head.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn lines_of_threads_are_whole_and_in_order() {
    let (output, reader) = output();
    let reading = std::thread::spawn(move || rest(reader));
    let threads = ['a', 'b', 'c'].map(|name| {
        let output = Arc::clone(&output);
        // One of them never waits for the others. Some lines are more than a pipe takes whole.
        std::thread::spawn(move || {
            for number in 0..1_000 {
                let length = if number % 50 == 0 && name != 'c' { 20_000 } else { 50 };
                let line = format!("{name} {number} {}\n", name.to_string().repeat(length));
                output.write(line.as_bytes(), name == 'c');
            }
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    output.write(b"at the end\n", false);
    drop(output);
    let all = reading.join().unwrap();
    let (mut next, mut lines) = ([0; 3], [0; 3]);
    for line in all.lines().filter(|line| !line.starts_with('[') && *line != "at the end") {
        let fields: Vec<_> = line.split(' ').collect();
        let [name, number, text] = fields[..] else { panic!("{line}") };
        assert!(text.chars().all(|letter| name.starts_with(letter)), "{line}");
        let (at, number) = (usize::from(name.as_bytes()[0] - b'a'), number.parse::<u64>().unwrap());
        assert!(number == next[at] || (at == 2 && number > next[at]), "{name} {number} after {next:?}");
        next[at] = number + 1;
        lines[at] += 1;
    }
    // Only threads that do not wait lose lines, and all of these are counted.
    assert_eq!((lines[0], lines[1], lines[2] + told(&all)), (1_000, 1_000, 1_000));
}

#[test]
fn a_line_that_had_to_be_queued_precedes_the_next_one_of_its_thread() {
    let (output, reader) = output();
    let another_writes = output.writing.lock().unwrap();
    output.write(b"first\n", true);
    drop(another_writes);
    output.write(b"second\n", true);
    drop(output);
    assert_eq!(rest(reader), "first\nsecond\n");
}

#[test]
fn a_writer_that_never_waits_drops_and_counts() {
    let (output, mut reader) = output();
    let line = format!("{}\n", "x".repeat(99));
    for _ in 0..2_000 {
        output.write(line.as_bytes(), true);
    }
    let dropped = output.dropped.load(Ordering::Relaxed);
    assert!(dropped > 1_000, "{dropped}");
    // It moves again.
    let mut all = vec![0; 30_000];
    reader.read_exact(&mut all).unwrap();
    output.write(b"after\n", true);
    drop(output);
    let all = String::from_utf8(all).unwrap() + &rest(reader);
    assert_eq!(told(&all), dropped);
    assert!(all.ends_with("\nafter\n"));
    assert_eq!(all.matches(&line).count() as u64, 2_000 - dropped);
}

#[test]
fn waiting_has_an_end_and_is_not_repeated() {
    let patience = Duration::from_millis(500);
    let (output, reader) = output_with(patience);
    let line = format!("{}\n", "x".repeat(9_999));
    let begin = Instant::now();
    for _ in 0..100 {
        output.write(line.as_bytes(), false);
    }
    // Far less than a hundred times the patience.
    assert!((patience..50 * patience).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    drop(output);
    assert!(rest(reader).lines().filter(|text| text.len() == 9_999).count() >= 3);
}

#[test]
fn a_descriptor_with_a_reused_number_is_not_written_to() {
    let (output, _reader) = output();
    assert!(output.is_usable());
    // Like an application that closes all descriptors, and opens its own files.
    let file = File::open("/dev/null").unwrap();
    let output = Output { pipe: file.into(), ..Arc::into_inner(output).unwrap() };
    assert!(!output.is_usable());
}

#[test]
fn without_a_supervisor_lines_go_nowhere() {
    let (output, reader) = output();
    drop(reader);
    output.write(b"in vain\n", false);
    output.write(b"in vain\n", true);
    assert_eq!(output.dropped.load(Ordering::Relaxed), 0);
}
