//! The ends of a scale, where a client gives them.

use std::hash::{Hash, Hasher};

/// The ends of a scale: finite, the lower first.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub(super) lo: f64,
    pub(super) hi: f64,
}

impl Span {
    pub fn new(lo: f64, hi: f64) -> Option<Span> {
        // A sum with zero takes the sign off a zero.
        (lo.is_finite() && hi.is_finite() && lo < hi).then_some(Span { lo: lo + 0.0, hi: hi + 0.0 })
    }

    pub fn ends(self) -> (f64, f64) {
        (self.lo, self.hi)
    }

    /// Whether both ends are numbers of points.
    pub(super) fn is_of_counts(self) -> bool {
        let is_count = |end: f64| end >= 0.0 && end <= f64::from(u32::MAX) && end.fract() == 0.0;
        is_count(self.lo) && is_count(self.hi)
    }

    fn bits(self) -> [u64; 2] {
        [self.lo.to_bits(), self.hi.to_bits()]
    }
}

impl PartialEq for Span {
    fn eq(&self, other: &Span) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for Span {}

impl Hash for Span {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}
