//! Ids of traces and spans.

use super::{SpanId, TraceId};

/// A generator of ids: xoroshiro128++ of Blackman and Vigna. It is fast, and two that begin with
/// different seeds do not meet; it is not meant for secrets.
#[derive(Debug, Clone, Copy)]
pub struct IdGenerator {
    state: [u64; 2],
}

impl IdGenerator {
    /// Creates a generator with this seed, which is random.
    #[must_use]
    pub const fn new(seed: [u64; 2]) -> Self {
        // The state of zeroes would stay as it is.
        Self { state: [seed[0], seed[1] | if seed[0] == 0 { 1 } else { 0 }] }
    }

    /// Returns the id of a new trace.
    pub fn trace(&mut self) -> TraceId {
        loop {
            let number = u128::from(self.next()) << 64 | u128::from(self.next());
            if let Some(id) = TraceId::new(number.to_be_bytes()) {
                return id;
            }
        }
    }

    /// Returns the id of a new span.
    pub fn span(&mut self) -> SpanId {
        loop {
            if let Some(id) = SpanId::new(self.next().to_be_bytes()) {
                return id;
            }
        }
    }

    fn next(&mut self) -> u64 {
        let [a, b] = self.state;
        let number = a.wrapping_add(b).rotate_left(17).wrapping_add(a);
        let mixed = a ^ b;
        self.state = [a.rotate_left(49) ^ mixed ^ mixed << 21, mixed.rotate_left(28)];
        number
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_whatever_the_seed() {
        for seed in [[0, 0], [1, 0], [0, 1], [u64::MAX; 2]] {
            let mut ids = IdGenerator::new(seed);
            let traces: HashSet<_> = (0..1_000).map(|_| *ids.trace().bytes()).collect();
            let spans: HashSet<_> = (0..1_000).map(|_| *ids.span().bytes()).collect();
            assert_eq!((traces.len(), spans.len()), (1_000, 1_000), "{seed:?}");
        }
    }
}
