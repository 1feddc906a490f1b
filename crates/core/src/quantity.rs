//! Numbers as an administrator writes them, with the units that make sense for what they count.
//!
//! There is no other way from a word to a number in this crate. A word that is no number, or has a
//! tail that is no unit, is rejected. Errors complete the sentence "Invalid *option* '*value*':
//! ...".

use std::fmt;

/// A number of things: `15`, `10k` (thousand), `2M` (million).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The least that may be given.
    pub least: u64,
    /// The most that may be given.
    pub most: u64,
}

/// A number of things, or the range that it may be in: `3`, `0-10`. The least of a range may be 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountOrRange {
    /// The most that may be given.
    pub most: u64,
}

/// A length of time: `30`, `500ms`, `30s`, `5m` or `5min`, `2h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration {
    /// The unit of a number without one.
    pub bare: TimeUnit,
    /// The finest step that can be kept.
    pub step: TimeUnit,
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// A thousandth of a second.
    Millisecond,
    /// A second.
    Second,
}

/// A number of bytes: `512`, `64K`, `512M`, `2G` (also `512MB` and `512MiB`: powers of 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// The least that may be given, except for 0.
    pub least: u64,
    /// True if 0 may be given.
    pub zero: bool,
}

/// A whole number without a unit, possibly negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integer;

/// A length of time that may be shorter than a millisecond: `0.005` (seconds), `5ms`, `500us`. More
/// than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval;

impl Count {
    /// At least 0.
    pub const ANY: Self = Self { least: 0, most: i64::MAX as u64 };

    /// Reads `text`.
    ///
    /// # Errors
    /// It is no such number, or not in the range.
    pub fn read(self, text: &[u8]) -> Result<u64, String> {
        const UNITS: &[(&str, u64)] = &[("k", 1_000), ("m", 1_000_000)];
        let number = scaled(text, UNITS, 1).filter(|number| (self.least..=self.most).contains(number));
        number.ok_or_else(|| format!("it must be {self}"))
    }
}

/// Shows as `a number, 1 to 65535`.
impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { least, most } if most >= 1_000_000 => {
                write!(f, "a number, {least} or more, such as 500 or 10k")
            }
            Self { least, most } => write!(f, "a number, {least} to {most}"),
        }
    }
}

impl CountOrRange {
    /// Reads `text`, as the least if it is a range, and the most.
    ///
    /// # Errors
    /// It is no such number, or not in the range.
    pub fn read(self, text: &[u8]) -> Result<(Option<u64>, u64), String> {
        let one = Count { least: 1, most: self.most };
        let Some(dash) = text.iter().position(|byte| *byte == b'-').filter(|dash| *dash > 0) else {
            return one.read(text).map(|count| (None, count)).map_err(|_| format!("it must be {self}"));
        };
        let least = Count { least: 0, ..one }.read(&text[..dash]);
        match (least, one.read(&text[dash + 1..])) {
            (Ok(least), Ok(most)) if least <= most => Ok((Some(least), most)),
            (Ok(_), Ok(_)) => Err("the least comes first, then the most, such as 1-5".to_owned()),
            _ => Err(format!("it must be {self}")),
        }
    }
}

/// Shows as `a number, 1 to 65535, or a range, such as 0-5`.
impl fmt::Display for CountOrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number, 1 to {}, or a range, such as 0-5", self.most)
    }
}

impl Duration {
    /// In seconds, kept as milliseconds.
    pub const SECONDS: Self = Self { bare: TimeUnit::Second, step: TimeUnit::Millisecond };
    /// In seconds, kept as such.
    pub const WHOLE_SECONDS: Self = Self { bare: TimeUnit::Second, step: TimeUnit::Second };
    /// In milliseconds.
    pub const MILLISECONDS: Self = Self { bare: TimeUnit::Millisecond, step: TimeUnit::Millisecond };

    /// Reads `text`, as a number of steps.
    ///
    /// # Errors
    /// It is no such time.
    pub fn read(self, text: &[u8]) -> Result<u64, String> {
        const UNITS: &[(&str, u64)] = &[
            ("ms", 1),
            ("s", 1_000),
            ("sec", 1_000),
            ("m", 60_000),
            ("min", 60_000),
            ("h", 3_600_000),
            ("d", 86_400_000),
        ];
        let milliseconds = scaled(text, UNITS, self.bare.milliseconds());
        let step = self.step.milliseconds();
        let steps = milliseconds.filter(|time| time % step == 0).map(|time| time / step);
        steps.ok_or_else(|| format!("it must be {self}"))
    }
}

/// Shows as `a time in seconds, 0 or more, or with a unit, such as 90s, 5m or 2h`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = match (self.bare, self.step) {
            (TimeUnit::Second, TimeUnit::Second) => "a time in whole seconds",
            (TimeUnit::Second, TimeUnit::Millisecond) => "a time in seconds",
            (TimeUnit::Millisecond, _) => "a time in milliseconds",
        };
        let units = if self.bare == TimeUnit::Millisecond { "5ms or 1s" } else { "90s, 5m or 2h" };
        write!(f, "{bare}, 0 or more, or with a unit, such as {units}")
    }
}

impl TimeUnit {
    const fn milliseconds(self) -> u64 {
        match self {
            Self::Millisecond => 1,
            Self::Second => 1_000,
        }
    }
}

impl Size {
    /// Creates a size of at least so many bytes, or 0.
    #[must_use]
    pub const fn zero_or(least: u64) -> Self {
        Self { least, zero: true }
    }

    /// Reads `text`, as a number of bytes.
    ///
    /// # Errors
    /// It is no such size, or not in the range.
    pub fn read(self, text: &[u8]) -> Result<u64, String> {
        const UNITS: &[(&str, u64)] = &[
            ("b", 1),
            ("k", 1 << 10),
            ("kb", 1 << 10),
            ("kib", 1 << 10),
            ("m", 1 << 20),
            ("mb", 1 << 20),
            ("mib", 1 << 20),
            ("g", 1 << 30),
            ("gb", 1 << 30),
            ("gib", 1 << 30),
            ("t", 1 << 40),
            ("tb", 1 << 40),
            ("tib", 1 << 40),
        ];
        let is_in_range = |size: &u64| *size >= self.least || (self.zero && *size == 0);
        scaled(text, UNITS, 1).filter(is_in_range).ok_or_else(|| format!("it must be {self}"))
    }
}

/// Shows as `0, or a number of bytes of at least 8192, or with a unit, such as 64K, 512M or 2G`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.zero {
            f.write_str("0, or ")?;
        }
        write!(f, "a number of bytes of at least {}, or with a unit, such as 64K, 512M or 2G", self.least)
    }
}

impl Integer {
    /// Reads `text`. What is beyond the range stays at its end.
    ///
    /// # Errors
    /// It is no whole number.
    pub fn read(self, text: &[u8]) -> Result<i32, String> {
        let (is_negative, digits) = match text.trim_ascii() {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] => (false, digits),
            digits => (false, digits),
        };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(format!("it must be {self}"));
        }
        let magnitude = decimal(digits).and_then(|number| i32::try_from(number).ok()).unwrap_or(i32::MAX);
        Ok(if is_negative { -magnitude } else { magnitude })
    }
}

/// Shows as `a whole number`.
impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }
}

impl Interval {
    /// Reads `text`, as seconds.
    ///
    /// # Errors
    /// It is no such time, or not greater than 0.
    pub fn read(self, text: &[u8]) -> Result<f64, String> {
        let text = text.trim_ascii();
        let (number, unit) = [(&b"ms"[..], 1e-3), (b"us", 1e-6), (b"s", 1.0)]
            .into_iter()
            .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))
            .unwrap_or((text, 1.0));
        let seconds = float(number).map(|number| number * unit).filter(|&seconds| seconds > 0.0);
        seconds.ok_or_else(|| format!("it must be {self}"))
    }
}

/// Shows as `a positive time in seconds, or with a unit, such as 0.005 or 5ms`.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a positive time in seconds, or with a unit, such as 0.005 or 5ms")
    }
}

/// Returns a number with one of `units` (any case) or none, in the smallest of them. Blanks around
/// it and a `+` are allowed, and decimals as far as the result is whole.
fn scaled(text: &[u8], units: &[(&str, u64)], bare: u64) -> Option<u64> {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.trim_ascii() {
        b"" => bare,
        name => units.iter().find(|(unit, _)| unit.as_bytes().eq_ignore_ascii_case(name))?.1,
    };
    let Some(point) = number.iter().position(|&byte| byte == b'.') else {
        return decimal(number)?.checked_mul(unit).filter(is_countable);
    };
    let (whole, fraction) = (&number[..point], &number[point + 1..]);
    let places = u32::try_from(fraction.len()).ok()?;
    let divisor = 10_u64.checked_pow(places)?;
    let parts = decimal(fraction)?.checked_mul(unit)?;
    if parts % divisor != 0 {
        return None;
    }
    decimal(whole)?.checked_mul(unit)?.checked_add(parts / divisor).filter(is_countable)
}

/// Returns whether the number fits whoever gets it.
fn is_countable(number: &u64) -> bool {
    i64::try_from(*number).is_ok()
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Returns a decimal number, the whole of `text`; infinity and NaN are not numbers here.
fn float(text: &[u8]) -> Option<f64> {
    if !text.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte)) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTES: u64 = 60_000;

    #[test]
    fn counts_can_be_ranges() {
        let count = CountOrRange { most: 100 };
        for (text, read) in [
            ("1", (None, 1)),
            (" 100 ", (None, 100)),
            ("0-1", (Some(0), 1)),
            ("3-3", (Some(3), 3)),
            ("1 - 100", (Some(1), 100)),
        ] {
            assert_eq!(count.read(text.as_bytes()), Ok(read), "{text}");
        }
        for text in ["", "0", "-1", "-", "1-", "-1-2", "1--2", "0-0", "1-101", "1-2-3", "a-b", "1..2"] {
            let expected = "it must be a number, 1 to 100, or a range, such as 0-5";
            assert_eq!(count.read(text.as_bytes()), Err(expected.to_owned()), "{text}");
        }
        assert!(count.read(b"3-2").is_err_and(|text| text.contains("the least comes first")));
    }

    #[test]
    fn times_have_units() {
        for (text, milliseconds) in [
            ("0", 0),
            ("30", 30_000),
            ("030", 30_000),
            (" +30 ", 30_000),
            ("30s", 30_000),
            ("30 S", 30_000),
            ("30sec", 30_000),
            ("1500ms", 1_500),
            ("1.5", 1_500),
            ("0.25s", 250),
            ("5m", 5 * MINUTES),
            ("5min", 5 * MINUTES),
            ("2h", 120 * MINUTES),
            ("1.5h", 90 * MINUTES),
            ("7d", 7 * 24 * 60 * MINUTES),
        ] {
            assert_eq!(Duration::SECONDS.read(text.as_bytes()), Ok(milliseconds), "{text}");
        }
        assert_eq!(Duration::MILLISECONDS.read(b"7"), Ok(7));
        assert_eq!(Duration::MILLISECONDS.read(b"1s"), Ok(1_000));
        assert_eq!(Duration::WHOLE_SECONDS.read(b"2m"), Ok(120));
        for text in ["1500ms", "0.5"] {
            assert!(Duration::WHOLE_SECONDS.read(text.as_bytes()).unwrap_err().contains("whole"), "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("512", 512),
            ("512b", 512),
            ("64k", 65_536),
            ("64KB", 65_536),
            ("64KiB", 65_536),
            ("512M", 512 << 20),
            ("1.5G", 3 << 29),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(Size::zero_or(1).read(text.as_bytes()), Ok(bytes), "{text}");
        }
        let size = Size::zero_or(512);
        assert_eq!((size.read(b"0"), size.read(b"512")), (Ok(0), Ok(512)));
        let text = size.read(b"511").unwrap_err();
        assert!(text.contains("0, or") && text.contains("512") && text.contains("64K"), "{text}");
        assert!(Size { least: 1, zero: false }.read(b"0").is_err());
        assert!(size.read(b"1000.3K").is_err(), "not a whole number of bytes");
    }

    #[test]
    fn counts_are_in_thousands() {
        let read = |text: &str| Count::ANY.read(text.as_bytes());
        assert_eq!(
            (read("5"), read("1k"), read("2K"), read("1M")),
            (Ok(5), Ok(1_000), Ok(2_000), Ok(1_000_000))
        );
        let some = Count { least: 1, most: 9 };
        assert_eq!((some.read(b"1"), some.read(b"9")), (Ok(1), Ok(9)));
        for text in ["0", "10", "1k"] {
            assert_eq!(some.read(text.as_bytes()), Err("it must be a number, 1 to 9".to_owned()), "{text}");
        }
    }

    #[test]
    fn integers_may_be_negative() {
        for (text, number) in [("-7", -7), ("+5", 5), (" 05 ", 5), ("99999999999", i32::MAX)] {
            assert_eq!(Integer.read(text.as_bytes()), Ok(number), "{text}");
        }
    }

    #[test]
    fn intervals_are_more_than_nothing() {
        for (text, seconds) in [("0.5", 0.5), ("1e-3", 0.001), ("5ms", 0.005), ("2s", 2.0)] {
            assert_eq!(Interval.read(text.as_bytes()), Ok(seconds), "{text}");
        }
        assert!((Interval.read(b"250us").unwrap() - 0.000_25).abs() < 1e-12);
        for text in ["", "0", "-1", "x", "inf", "nan", "0x1p-2", "5m", "ms", "0ms"] {
            assert!(Interval.read(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_number_is_none() {
        for text in [
            "", " ", "ten", "-1", "--1", "5,", "5;", "5 6", "0x10", "1_000", "1..5", ".", ".5", "5.", "k",
            "5x", "1e3",
        ] {
            let text = text.as_bytes();
            assert!(Duration::SECONDS.read(text).is_err(), "{text:?}");
            assert!(Size::zero_or(1).read(text).is_err(), "{text:?}");
            assert!(Count::ANY.read(text).is_err(), "{text:?}");
        }
        for text in ["", "-", "+", "5x", "x", "1.5", "5k", "--5"] {
            assert!(Integer.read(text.as_bytes()).is_err(), "{text}");
        }
        for text in ["99999999999999999999", "9999999999999999d", "18446744073709551615"] {
            assert!(Duration::SECONDS.read(text.as_bytes()).is_err(), "{text}: too large");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..24), near in "[-+ .0-9kKmMgGsSbi]{0,24}") {
            for text in [&text[..], near.as_bytes()] {
                let numbers = [
                    Duration::SECONDS.read(text),
                    Size::zero_or(1).read(text),
                    Count::ANY.read(text),
                ];
                for number in numbers {
                    match number {
                        Ok(_) => prop_assert!(begins_as_a_number(text)),
                        Err(reason) => prop_assert!(reason.starts_with("it must be ")),
                    }
                }
                let _ = (Integer.read(text), Interval.read(text));
            }
        }

        #[test]
        fn plain_numbers_are_themselves(number in 0..=i64::MAX as u64) {
            let text = number.to_string();
            prop_assert_eq!(Count::ANY.read(text.as_bytes()), Ok(number));
            prop_assert_eq!(Size::zero_or(0).read(text.as_bytes()), Ok(number));
            prop_assert_eq!(Duration::MILLISECONDS.read(text.as_bytes()), Ok(number));
        }
    }

    fn begins_as_a_number(text: &[u8]) -> bool {
        let text = text.trim_ascii();
        text.strip_prefix(b"+").unwrap_or(text).first().is_some_and(u8::is_ascii_digit)
    }
}
