//! What pixels show: how many points there are, or what the values of a column come to.

use crate::engine::Measure;

/// What a pixel's value is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Agg {
    /// Points; of a column, points with a value.
    #[default]
    Count,
    Sum,
    Mean,
    Min,
    Max,
}

impl Agg {
    pub const ALL: [Agg; 5] = [Agg::Count, Agg::Sum, Agg::Mean, Agg::Min, Agg::Max];

    pub fn name(self) -> &'static str {
        match self {
            Agg::Count => "count",
            Agg::Sum => "sum",
            Agg::Mean => "mean",
            Agg::Min => "min",
            Agg::Max => "max",
        }
    }

    /// What is made of a column's values; `None` of a count, which needs none.
    pub fn measure(self) -> Option<Measure> {
        match self {
            Agg::Count => None,
            Agg::Sum => Some(Measure::Sum),
            Agg::Mean => Some(Measure::Mean),
            Agg::Min => Some(Measure::Min),
            Agg::Max => Some(Measure::Max),
        }
    }
}
