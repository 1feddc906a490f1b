//! Runs wrk and reads what `wrk.lua` prints.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::error::Error;
use crate::workload::Workload;

/// The counts of wrk. Times are in seconds.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) p99: f64,
    bytes: u64,
    /// Kinds of errors and their numbers, without those that did not happen.
    errors: Vec<(String, u64)>,
}

impl Counts {
    /// Why the figures are worthless, if they are. Every response has to be as long as the one that
    /// was looked at: wrk itself calls a redirect, or an answer that is cut short, a success.
    pub(crate) fn fault(&self, connections: u32, response_length: u64) -> Option<String> {
        if !self.errors.is_empty() {
            let list: Vec<_> =
                self.errors.iter().map(|(kind, count)| format!("{count} {kind} errors")).collect();
            return Some(list.join(", "));
        }
        if self.requests == 0 {
            return Some("no response within the whole round".to_owned());
        }
        let expected = self.requests * response_length;
        // Responses that were under way when the round ended.
        let partial = u64::from(connections) * response_length;
        (!(expected..=expected + partial).contains(&self.bytes)).then(|| {
            format!(
                "{} bytes in {} responses, where one should have {response_length}",
                self.bytes, self.requests
            )
        })
    }
}

/// One round.
pub(crate) fn round(
    address: SocketAddr,
    workload: &Workload,
    connections: u32,
    seconds: u32,
) -> Result<Counts, Error> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("wrk.lua");
    let mut command = Command::new("wrk");
    // One thread: the machine's processors are the servers'.
    command.args(["--threads", "1", "--timeout", "30"]);
    command.args(["--connections", &connections.to_string(), "--duration", &seconds.to_string()]);
    command.arg("--script").arg(script).arg(format!("http://{address}{}", workload.url));
    command.args(workload.post.map(|length| length.to_string()));
    let failed = |reason: String| Error::Program { name: "wrk", reason };
    let output = command.output().map_err(|error| failed(format!("{error}; install the package wrk")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).ok_or_else(|| {
        failed(format!(
            "{}, not the expected output:\n{text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))
    })
}

fn parse(text: &str) -> Option<Counts> {
    const MICROSECONDS: f64 = 1e6;
    let line = text.lines().find_map(|line| line.strip_prefix("bench "))?;
    let mut counts = Counts::default();
    for word in line.split_whitespace() {
        let (name, value) = word.split_once('=')?;
        let value: u64 = value.parse().ok()?;
        match name {
            "requests" => counts.requests = value,
            "duration" => counts.seconds = value as f64 / MICROSECONDS,
            "p99" => counts.p99 = value as f64 / MICROSECONDS,
            "bytes" => counts.bytes = value,
            _ if value > 0 => counts.errors.push((name.to_owned(), value)),
            _ => {}
        }
    }
    (counts.seconds > 0.0).then_some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "Running 1s test\nbench requests=10 duration=1500000 bytes=1000 connect=0 read=0 write=0 \
                        status=0 timeout=0 p99=250\n";

    #[test]
    fn reads_counts() {
        let counts = parse(LINE).unwrap();
        assert_eq!((counts.requests, counts.seconds, counts.p99), (10, 1.5, 0.000_25));
        assert_eq!(counts.fault(4, 100), None);
        assert_eq!(parse("unable to connect"), None);
    }

    #[test]
    fn errors_are_a_fault() {
        let counts = parse(&LINE.replace("status=0", "status=3").replace("read=0", "read=1")).unwrap();
        assert_eq!(counts.fault(4, 100).unwrap(), "1 read errors, 3 status errors");
    }

    #[test]
    fn responses_of_another_length_are_a_fault() {
        let counts = parse(LINE).unwrap();
        assert!(counts.fault(4, 99).is_none(), "as if some were under way");
        assert!(counts.fault(4, 101).is_some());
        assert!(counts.fault(4, 50).is_some());
    }

    #[test]
    fn silence_is_a_fault() {
        let counts =
            parse(&LINE.replace("requests=10", "requests=0").replace("bytes=1000", "bytes=0")).unwrap();
        assert!(counts.fault(4, 100).is_some());
    }
}
