//! How long to wait before the next try.

/// How many processes in a row have to fail before there is a pause.
pub(crate) const PATIENCE: u32 = 3;
/// A process that ends sooner has failed, in milliseconds.
pub(crate) const SHORT: u64 = 5_000;
/// The longest pause: the contract allows three starts a minute.
const LONGEST: u64 = 20_000;

/// The pause in milliseconds after so many failures in a row: none, then 1 s, 2 s, 4 s and so on.
pub(crate) fn delay(failures: u32) -> u64 {
    match failures.checked_sub(PATIENCE) {
        None => 0,
        Some(more) => 1_000_u64.checked_shl(more.min(20)).unwrap_or(LONGEST).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let delays: Vec<_> = (0..10).map(delay).collect();
        assert_eq!(delays, [0, 0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
        assert_eq!(delay(u32::MAX), LONGEST);
    }
}
