//! The identity of the schema, of all that two programs of ours have in common, by a number that the build
//! computes from their sources.
//!
//! It stands in every program and library that speaks them, so that it can be read from a file
//! before the file is run.

use std::fmt;
use std::hint::black_box;
use std::io::BufRead;
use std::str::FromStr;

use super::codec::{Malformed, Reader, Writer};
use super::record::Field;

/// The identity of a schema. Two programs understand each other only if theirs is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Schema(u64);

/// The text in the file of a program: it is found by its first byte, and not by chance.
static STAMP: &str = concat!("\u{2}mod_wsgi schema ", env!("MOD_WSGI_SCHEMA"), "\n");

/// The length of the number in the stamp.
const DIGITS: usize = 16;

/// Half of its number, for the tables of C, which are made by the compiler.
pub const ABI: u32 = match u64::from_str_radix(env!("MOD_WSGI_SCHEMA"), 16) {
    Ok(number) => number as u32,
    Err(_) => panic!("the build script gives a number of 16 digits"),
};

impl Schema {
    /// Returns this program's own, as its file says it.
    #[must_use]
    pub fn own() -> Self {
        // Without the black box the compiler would put the number wherever it is used, and might
        // leave out the stamp.
        Self::after_marker(black_box(STAMP).as_bytes()).unwrap_or(Self(0))
    }

    /// Returns the first one in a part of a file.
    fn find_in(mut contents: &[u8]) -> Option<Self> {
        let marker = black_box(STAMP).as_bytes()[0];
        while let Ok(1..) = contents.skip_until(marker) {
            if let Some(found) = Self::after_marker(&[&[marker], contents.get(..STAMP.len() - 1)?].concat()) {
                return Some(found);
            }
        }
        None
    }

    fn after_marker(text: &[u8]) -> Option<Self> {
        let (words, digits) = black_box(STAMP).as_bytes().split_at(STAMP.len() - DIGITS - 1);
        let number = text.strip_prefix(words)?.get(..digits.len())?.strip_suffix(b"\n")?;
        std::str::from_utf8(number).ok()?.parse().ok()
    }

    /// Writes it at the beginning of a conversation.
    pub fn encode(self, writer: &mut Writer<'_>) {
        writer.u64(self.0);
    }

    /// Reads what [`encode`](Self::encode) has written.
    ///
    /// # Errors
    /// The message ends before that.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.u64().map(Self)
    }

    /// Reads the schema of the other side, which has to be this program's own.
    ///
    /// # Errors
    /// It is another one, or there is none.
    pub fn check(reader: &mut Reader<'_>) -> Result<(), Malformed> {
        if Self::decode(reader)? == Self::own() { Ok(()) } else { Err(Malformed) }
    }
}

/// A search for the schema of a program or library in its file, which comes in blocks.
#[derive(Debug, Default)]
pub struct SchemaSearch {
    /// The end of what has come: a stamp may lie across blocks.
    end: Vec<u8>,
    found: Option<Schema>,
}

impl SchemaSearch {
    /// Takes the next block.
    pub fn feed(&mut self, block: &[u8]) {
        let most = STAMP.len() - 1;
        self.end.extend_from_slice(&block[..block.len().min(most)]);
        self.found = self.found.or_else(|| Schema::find_in(&self.end)).or_else(|| Schema::find_in(block));
        if block.len() > most {
            self.end.clear();
            self.end.extend_from_slice(&block[block.len() - most..]);
        } else {
            self.end.drain(..self.end.len().saturating_sub(most));
        }
    }

    /// Returns the schema; `None` if the file is none of ours, or of a time before files said so.
    #[must_use]
    pub fn found(&self) -> Option<Schema> {
        self.found
    }
}

/// The schema of this build, as a field: a record that begins with another one is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnSchema;

impl Field for OwnSchema {
    fn write(&self, writer: &mut Writer<'_>) {
        Schema::own().encode(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Schema::check(reader).map(|()| Self)
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Schema {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let is_number = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(text, 16).ok().filter(|_| is_number).map(Self).ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamp_is_computed_and_written_into_the_file() {
        let own = Schema::own();
        assert_ne!(own, Schema(0));
        assert_eq!(own.0 as u32, ABI);
        assert_eq!(own.to_string().parse(), Ok(own));
        let program = std::env::current_exe().and_then(std::fs::read).unwrap();
        assert_eq!(Schema::find_in(&program), Some(own));
    }

    #[test]
    fn only_a_stamp_is_one() {
        let other = Schema(0x0123_4567_89ab_cdef);
        let stamp = STAMP.replace(&Schema::own().to_string(), &other.to_string());
        let file = |text: &str| [b"\x02\x02mod_wsgi schema ", text.as_bytes(), b"\0rest"].concat();
        assert_eq!(Schema::find_in(&file(&stamp)), Some(other));
        assert_eq!(Schema::find_in(&file(&stamp[..stamp.len() - 1])), None);
        assert_eq!(Schema::find_in(stamp.as_bytes()), Some(other));
        for text in ["", "\u{2}", &STAMP.replace('\n', " "), "\u{2}mod_wsgi schema +123456789abcdef\n"] {
            assert_eq!(Schema::find_in(&file(text)), None, "{text:?}");
        }
    }

    #[test]
    fn a_stamp_is_found_in_whatever_blocks_the_file_comes() {
        let file = [b"\x02\x02mod_wsgi schema ", STAMP.as_bytes(), b"\0rest of it"].concat();
        for length in 1..=file.len() {
            let mut search = SchemaSearch::default();
            file.chunks(length).for_each(|block| search.feed(block));
            assert_eq!(search.found(), Some(Schema::own()), "{length}");
            let mut without = SchemaSearch::default();
            file[..file.len() - 12].chunks(length).for_each(|block| without.feed(block));
            assert_eq!(without.found(), None, "{length}");
        }
    }

    #[test]
    fn another_one_ends_the_conversation() {
        let mut message = Vec::new();
        Schema::own().encode(&mut Writer::new(&mut message));
        assert_eq!(Schema::check(&mut Reader::new(&message)), Ok(()));
        message[0] ^= 1;
        assert_eq!(Schema::check(&mut Reader::new(&message)), Err(Malformed));
        assert_eq!(Schema::check(&mut Reader::new(&message[..7])), Err(Malformed));
    }
}
