//! The parts of a request's time that its host measures.

use std::time::Duration;

use wsgi_core::wire::{Malformed, Reader};

/// The parts of the time of a request, in microseconds. A part that is too long for its number has
/// the largest one; a part that the request did not get to is 0.
///
/// Those of a daemon process are what it says: see [`within`](Self::within).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// From the queue of a daemon's group until a thread took it; 0 in embedded mode.
    pub queue: u32,
    /// Waiting for the lock of the interpreter: to enter it, and after the application's own reads
    /// and writes where these are measured anyway.
    pub lock_wait: u32,
    /// From the call of the application until it was done with the response. (The last block may
    /// still have to be sent.)
    pub application: u32,
}

impl Times {
    /// The times of a request that has got nowhere.
    pub const NONE: Self = Self { queue: 0, lock_wait: 0, application: 0 };

    /// The length of encoded times, in bytes.
    pub const LENGTH: usize = 12;

    /// Returns a time as its number.
    #[must_use]
    pub fn number(time: Duration) -> u32 {
        u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
    }

    /// Returns the time between two stamps in microseconds: 0 where one is not known, or a clock
    /// was set back between them.
    #[must_use]
    pub fn between(from: i64, to: i64) -> u32 {
        if from == 0 || to <= from { 0 } else { u32::try_from(to.saturating_sub(from)).unwrap_or(u32::MAX) }
    }

    /// Returns the times of a request that has taken no longer than `longest`. No part of it did:
    /// clocks may have been set, and a process may say what it likes.
    #[must_use]
    pub fn within(self, longest: Duration) -> Self {
        let longest = Self::number(longest);
        let [queue, lock_wait, application] =
            [self.queue, self.lock_wait, self.application].map(|part| part.min(longest));
        Self { queue, lock_wait, application }
    }

    /// Encodes the times.
    #[must_use]
    pub fn bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        for (place, part) in bytes.chunks_exact_mut(4).zip([self.queue, self.lock_wait, self.application]) {
            place.copy_from_slice(&part.to_le_bytes());
        }
        bytes
    }

    /// Takes times from `reader`.
    ///
    /// # Errors
    /// The message ends before that.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { queue: reader.u32()?, lock_wait: reader.u32()?, application: reader.u32()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back() {
        let times = Times { queue: 1, lock_wait: u32::MAX, application: 70_000 };
        let bytes = times.bytes();
        assert_eq!(Times::decode(&mut Reader::new(&bytes)), Ok(times));
        assert_eq!(Times::decode(&mut Reader::new(&bytes[..11])), Err(Malformed));
    }

    #[test]
    fn no_part_is_longer_than_the_request() {
        let times = Times { queue: u32::MAX, lock_wait: 5, application: 2_000_001 };
        let expected = Times { queue: 2_000_000, lock_wait: 5, application: 2_000_000 };
        assert_eq!(times.within(Duration::from_secs(2)), expected);
        assert_eq!(times.within(Duration::MAX), times);
    }

    #[test]
    fn long_and_negative_times_have_the_nearest_number() {
        assert_eq!(Times::number(Duration::from_secs(100_000)), u32::MAX);
        let cases = [(10, 25, 15), (25, 10, 0), (0, 25, 0), (10, 0, 0), (i64::MIN, i64::MAX, u32::MAX)];
        for (from, to, expected) in cases {
            assert_eq!(Times::between(from, to), expected, "{from} to {to}");
        }
    }
}
