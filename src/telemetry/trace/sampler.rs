//! Which traces are recorded, by `OTEL_TRACES_SAMPLER`.

use super::context::{SpanContext, TraceId};

/// Decides which requests are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sampler {
    /// Decides about traces that begin here, and about all where the caller's decision does not count.
    pub(super) root: RootSampler,
    /// Whether the caller's decision counts.
    pub(super) is_parent_based: bool,
}

/// Decides about a trace without asking what its caller has decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum RootSampler {
    /// Records every trace.
    On,
    /// Records none.
    Off,
    /// Records this share of the traces, the same ones in all processes.
    Ratio(f64),
}

impl Sampler {
    /// Decides about a request whose caller is at `parent`, if it has said so.
    #[must_use]
    pub(super) fn records(
        &self,
        parent: Option<&SpanContext>,
        trace: impl FnOnce() -> TraceId,
    ) -> bool {
        match parent {
            Some(parent) if self.is_parent_based => parent.is_sampled,
            _ => self.root.records(trace),
        }
    }
}

impl RootSampler {
    fn records(self, trace: impl FnOnce() -> TraceId) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            // As the SDKs of OpenTelemetry have it: 63 bits of the id, below the share of 2^63.
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::cast_sign_loss,
                reason = "the low bits of the id are wanted, and the ratio is from 0 to 1"
            )]
            Self::Ratio(ratio) => {
                ratio >= 1.0 || (trace().0 as u64) >> 1 < (ratio * (1u64 << 63) as f64) as u64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::SpanId;
    use super::*;

    fn parent(is_sampled: bool) -> SpanContext {
        SpanContext {
            trace: TraceId(1),
            span: SpanId(1),
            is_sampled,
        }
    }

    #[test]
    fn the_callers_decision_counts_only_where_the_sampler_is_parent_based() {
        let id = TraceId(1);
        for root in [RootSampler::On, RootSampler::Off, RootSampler::Ratio(0.0)] {
            let based = |is_parent_based| Sampler {
                root,
                is_parent_based,
            };
            let of_root = root == RootSampler::On;
            assert_eq!(based(true).records(None, || id), of_root);
            for caller in [true, false] {
                let records = |it: Sampler| it.records(Some(&parent(caller)), || id);
                assert_eq!(records(based(true)), caller);
                assert_eq!(records(based(false)), of_root);
            }
        }
    }

    #[test]
    fn a_ratio_records_that_share_of_the_traces_and_the_same_ones_everywhere() {
        let mut random = fastrand::Rng::with_seed(7);
        let traces: Vec<_> = (0..10_000).map(|_| TraceId(random.u128(1..))).collect();
        let share = |ratio| {
            let sampler = RootSampler::Ratio(ratio);
            traces.iter().filter(|id| sampler.records(|| **id)).count()
        };
        assert_eq!((share(0.0), share(1.0)), (0, 10_000));
        assert!((900..1_100).contains(&share(0.1)), "{}", share(0.1));
        let small = RootSampler::Ratio(0.1);
        let large = RootSampler::Ratio(0.5);
        let nested = |id: &&TraceId| small.records(|| **id) && !large.records(|| **id);
        assert_eq!(traces.iter().filter(nested).count(), 0);
        assert!(small.records(|| TraceId(0xffff_0000_0000_0000_0000)));
        assert!(!small.records(|| TraceId(u128::from(u64::MAX))));
    }
}
