//! The choice of the requests whose spans are recorded.

use super::{TraceContext, TraceId};

/// The choice of requests. All spans of a trace should be recorded, or none, so by default the
/// decision of the caller counts, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    /// True if a request in a trace is recorded if its caller is.
    pub follows_parent: bool,
    /// The share of the others.
    pub ratio: Ratio,
}

/// A share of all traces. The same traces are chosen wherever the same share is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    /// Traces whose random part is below this number are chosen; `None`: all.
    bound: Option<u64>,
}

impl Default for Sampler {
    /// Follows the caller, and records what has none.
    fn default() -> Self {
        Self { follows_parent: true, ratio: Ratio::ALL }
    }
}

impl Sampler {
    /// Returns whether a request is recorded: one that belongs to `trace`, and to `parent` if it was
    /// made by a span.
    #[must_use]
    pub fn samples(self, trace: &TraceId, parent: Option<&TraceContext>) -> bool {
        match parent {
            Some(parent) if self.follows_parent => parent.is_sampled,
            _ => self.ratio.includes(trace),
        }
    }
}

impl Ratio {
    /// All traces.
    pub const ALL: Self = Self { bound: None };
    /// No trace.
    pub const NONE: Self = Self { bound: Some(0) };

    /// Creates a share, from 0 to 1. Returns `None` for another number.
    #[must_use]
    pub fn new(share: f64) -> Option<Self> {
        // The product is exact: it only changes the exponent.
        let bound = (share < 1.0).then_some((share * 18_446_744_073_709_551_616.0) as u64);
        (0.0..=1.0).contains(&share).then_some(Self { bound })
    }

    /// Parses a share, such as `0.25`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().and_then(Self::new)
    }

    fn includes(self, trace: &TraceId) -> bool {
        self.bound.is_none_or(|bound| trace.random_part() < bound)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::IdGenerator;
    use super::*;

    fn context(is_sampled: bool) -> TraceContext {
        let mut ids = IdGenerator::new([1, 2]);
        TraceContext { trace: ids.trace(), span: ids.span(), is_sampled }
    }

    #[test]
    fn the_callers_decision_counts_if_it_is_followed() {
        for ratio in [Ratio::ALL, Ratio::NONE] {
            let own = ratio == Ratio::ALL;
            for is_sampled in [false, true] {
                let parent = context(is_sampled);
                let samples =
                    |follows_parent| Sampler { follows_parent, ratio }.samples(&parent.trace, Some(&parent));
                assert_eq!((samples(true), samples(false)), (is_sampled, own));
            }
            let trace = context(true).trace;
            assert_eq!(Sampler { follows_parent: true, ratio }.samples(&trace, None), own);
        }
    }

    #[test]
    fn a_share_is_a_number_from_0_to_1() {
        assert_eq!(Ratio::parse("1"), Some(Ratio::ALL));
        assert_eq!(Ratio::parse("0"), Some(Ratio::NONE));
        assert_eq!(Ratio::parse("0.5"), Some(Ratio { bound: Some(1 << 63) }));
        for text in ["", "-0.1", "1.1", "NaN", "inf", "half", "10%"] {
            assert_eq!(Ratio::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn about_the_share_of_traces_is_chosen(seed in any::<[u64; 2]>(), share in 0.0..1.0_f64) {
            let (mut ids, ratio) = (IdGenerator::new(seed), Ratio::new(share).unwrap());
            let chosen = (0..4_000).filter(|_| ratio.includes(&ids.trace())).count() as f64;
            // Six standard deviations, at most.
            prop_assert!((chosen / 4_000.0 - share).abs() < 0.05, "{} of {}", chosen, share);
        }
    }
}
