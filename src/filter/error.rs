//! What can be wrong with a filter, by what its author can do about it. Positions count characters of the text from 1.

use thiserror::Error;

/// The longest filter text, in bytes: what fits in a URL beside everything else (servers and proxies take 16 KiB or less).
pub const FILTER_BYTES_MAX: usize = 8 * 1024;

/// The deepest nesting of parentheses, NOTs and connectives. Nobody reads more, and the stack holds it many times over.
pub const FILTER_DEPTH_MAX: usize = 32;

/// Comparisons in a filter: each costs a scan of its column.
pub const FILTER_TERMS_MAX: usize = 256;

/// Values in one IN list.
pub const FILTER_LIST_MAX: usize = 1024;

/// Vertices of all polygons of a filter: points of partly covered cells are compared with every edge.
pub const FILTER_VERTICES_MAX: usize = 1024;

/// Texts that LIKE, ILIKE and CASEI may compare in one filter: every distinct value of their column, each time. A comparison takes some
/// 0.1 to 0.3 microseconds, so these take some seconds of processor time. One comparison is always allowed.
pub const FILTER_TEXTS_MAX: u64 = 16 << 20;

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FilterError {
    #[error("the filter is not CQL2 text: {what} (character {at})")]
    Syntax { what: String, at: usize },
    #[error("filters have no {what} (character {at}); {instead}")]
    Unsupported { what: String, instead: &'static str, at: usize },
    #[error("there is no column '{name}' (character {at}); {}the columns are {}", nearest_hint(nearest.as_deref()), .known.join(", "))]
    UnknownColumn { name: String, nearest: Option<String>, known: Vec<String>, at: usize },
    #[error("column '{name}' (character {at}) is a coordinate: filter by place with S_INTERSECTS(geometry, BBOX(west, south, east, north))")]
    CoordinateColumn { name: String, at: usize },
    #[error("column '{name}' (character {at}) is {kind}, and {found} is not: write a value such as {example}")]
    WrongType { name: String, kind: &'static str, found: String, example: &'static str, at: usize },
    #[error("the filter has {bytes} bytes, and {FILTER_BYTES_MAX} are allowed: shorten it")]
    TooLong { bytes: usize },
    #[error("the filter is nested more than {FILTER_DEPTH_MAX} deep: write fewer parentheses")]
    TooDeep,
    #[error("the filter has more than {limit} {what}: use fewer")]
    TooMany { what: &'static str, limit: usize },
    #[error("the filter's {terms} LIKE, ILIKE and CASEI would compare {texts} texts, and {FILTER_TEXTS_MAX} are allowed: use fewer, or = and IN")]
    TooManyTexts { terms: u64, texts: u64 },
}

impl FilterError {
    /// Where in the text, in characters from 1, for errors that have a place.
    pub fn position(&self) -> Option<usize> {
        match self {
            FilterError::Syntax { at, .. }
            | FilterError::Unsupported { at, .. }
            | FilterError::UnknownColumn { at, .. }
            | FilterError::CoordinateColumn { at, .. }
            | FilterError::WrongType { at, .. } => Some(*at),
            FilterError::TooLong { .. } | FilterError::TooDeep | FilterError::TooMany { .. } | FilterError::TooManyTexts { .. } => None,
        }
    }

    pub(super) fn syntax(what: impl Into<String>, at: usize) -> FilterError {
        FilterError::Syntax { what: what.into(), at }
    }
}

/// A question before the list of what there is; nothing without a name that is near.
pub fn nearest_hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("did you mean '{name}'? "))
}
