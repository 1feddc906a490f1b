//! The file of headers (`headers-file=`), which only this program reads.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use wsgi_core::codes::OPENTELEMETRY_NOT_SET_UP;

use crate::log;

/// More than any such file.
const LONGEST: usize = 64 << 10;

/// Reads the headers of a file, from its beginning: others have read it before. What is none is
/// logged, without its text, which may be a secret.
pub(crate) fn read(file: &OwnedFd) -> Vec<(String, String)> {
    let complain = |text: String| {
        log::write(
            OPENTELEMETRY_NOT_SET_UP.level,
            format_args!("{OPENTELEMETRY_NOT_SET_UP}: the file of headers-file= {text}"),
        );
    };
    match contents(file) {
        Ok(text) => {
            let (headers, wrong) = parse(&text);
            for line in wrong {
                complain(format!("has a line {line} that is no header: write Name: value"));
            }
            headers
        }
        Err(error) => {
            complain(format!("cannot be read: {error}"));
            Vec::new()
        }
    }
}

fn contents(file: &OwnedFd) -> io::Result<String> {
    let file = File::from(file.try_clone()?);
    let (mut bytes, mut length) = (vec![0; LONGEST], 0);
    loop {
        match file.read_at(&mut bytes[length..], length as u64)? {
            0 if length == LONGEST => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
            }
            0 => break,
            count => length += count,
        }
    }
    bytes.truncate(length);
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// Returns the headers, and the numbers of lines that are none.
fn parse(text: &str) -> (Vec<(String, String)>, Vec<usize>) {
    let (mut headers, mut wrong) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once(':').map(|(name, value)| (name.trim_end(), value.trim_start())) {
            Some((name, value)) if is_header(name, value) => {
                headers.push((name.to_owned(), value.to_owned()))
            }
            _ => wrong.push(number),
        }
    }
    (headers, wrong)
}

/// Returns whether HTTP takes this name and this value.
pub(crate) fn is_header(name: &str, value: &str) -> bool {
    ureq::http::HeaderName::try_from(name).is_ok() && ureq::http::HeaderValue::try_from(value).is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn headers_stand_one_a_line() {
        let text = "# keys\n\nApi-Key: secret: a b \nx:\n no header\nbad name: 1\n";
        let (headers, wrong) = parse(text);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(headers, [pair("Api-Key", "secret: a b"), pair("x", "")]);
        assert_eq!(wrong, [5, 6]);
    }

    #[test]
    fn a_file_is_read_again_and_again() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"a: b\n").unwrap();
        let file = OwnedFd::from(file);
        for _ in 0..2 {
            assert_eq!(read(&file), [("a".to_owned(), "b".to_owned())]);
        }
        File::from(file.try_clone().unwrap()).write_all(&[b'x'; LONGEST]).unwrap();
        assert!(contents(&file).is_err());
    }
}
