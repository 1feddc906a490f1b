//! Random numbers of the system.

use std::hash::{BuildHasher, RandomState};

/// Returns a random number, another one in each process: unlike the keys of [`RandomState`], it is not
/// inherited by a fork. It is no secret.
#[must_use]
pub fn number() -> u64 {
    let mut number = [0; size_of::<u64>()];
    // SAFETY: getrandom writes no more than so many bytes to `number`, which has them.
    let length = unsafe { libc::getrandom(number.as_mut_ptr().cast(), number.len(), libc::GRND_NONBLOCK) };
    if usize::try_from(length) == Ok(number.len()) {
        return u64::from_ne_bytes(number);
    }
    // The system has just been started, or is older than the call, or forbids it.
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ() {
        assert_ne!([number(), number()], [number(), number()]);
    }
}
