//! Sets of classes of one dimension: rows of bits.

/// A set of classes of one dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Classes(pub(super) Box<[u64]>);

impl Classes {
    pub(super) fn from_fn(count: usize, has: impl Fn(usize) -> bool) -> Self {
        let mut words = vec![0_u64; count.div_ceil(64)];
        for class in (0..count).filter(|class| has(*class)) {
            words[class / 64] |= 1 << (class % 64);
        }
        Self(words.into())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(one, two)| one & two)
                .collect(),
        )
    }

    pub(super) fn without(&self, other: &Self) -> Self {
        Self(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(one, two)| one & !two)
                .collect(),
        )
    }
}
