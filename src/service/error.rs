//! What can go wrong between a request and its answer, by what the caller can do about it.

use crate::crossfilter::CrossfilterError;
use crate::dataset::{DatasetError, ReadError, RowsError};
use crate::engine::{EngineError, GroupsError};
use crate::filter::FilterError;
use crate::points::PointsError;
use crate::shade::StyleError;
use thiserror::Error;

/// Clones, for a joined request fails for everybody who waits.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ServiceError {
    /// The request asks for what cannot be: the message says what can.
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("the server is busy: {waiting} requests wait already; try again in a few seconds")]
    Overloaded { waiting: usize },
    #[error("the answer took longer than it may; try again, or ask for less")]
    DeadlinePassed,
    /// Nobody is waiting any more.
    #[error("the request was cancelled")]
    Cancelled,
    /// The dataset's files are not what was opened. Which and how is for the log.
    #[error("this dataset cannot be read at the moment: its files were changed while it was served; try again later")]
    Damaged,
    #[error("the server is stopping")]
    Stopping,
    /// A dataset lies in a store that does not answer, and what was asked for is not here.
    #[error("what this needs of the dataset is not here, and its store does not answer; try again in a few seconds")]
    Away,
    /// A fault of ours, or of the machine. For the log, not for clients.
    #[error("{0}")]
    Internal(String),
}

impl From<EngineError> for ServiceError {
    fn from(error: EngineError) -> ServiceError {
        match error {
            EngineError::Cancelled => ServiceError::Cancelled,
            EngineError::DeadlinePassed => ServiceError::DeadlinePassed,
            EngineError::Away(_) => ServiceError::Away,
            other => ServiceError::Internal(other.to_string()),
        }
    }
}

impl From<DatasetError> for ServiceError {
    fn from(error: DatasetError) -> ServiceError {
        if error.is_away() { ServiceError::Away } else { ServiceError::Internal(error.to_string()) }
    }
}

impl From<StyleError> for ServiceError {
    fn from(error: StyleError) -> ServiceError {
        ServiceError::Invalid(error.to_string())
    }
}

impl From<CrossfilterError> for ServiceError {
    fn from(error: CrossfilterError) -> ServiceError {
        match error {
            CrossfilterError::Engine(error) => error.into(),
            CrossfilterError::Filter(error) => error.into(),
            wrong => ServiceError::Invalid(wrong.to_string()),
        }
    }
}

impl From<PointsError> for ServiceError {
    fn from(error: PointsError) -> ServiceError {
        match error {
            PointsError::Engine(error) => error.into(),
            PointsError::Read(ReadError::Dataset(error)) => error.into(),
            wrong => ServiceError::Invalid(wrong.to_string()),
        }
    }
}

impl From<RowsError> for ServiceError {
    fn from(error: RowsError) -> ServiceError {
        ServiceError::Internal(error.to_string())
    }
}

impl From<GroupsError> for ServiceError {
    fn from(error: GroupsError) -> ServiceError {
        ServiceError::Invalid(error.to_string())
    }
}
