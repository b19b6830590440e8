//! Work for a cluster of Apache DataFusion Ballista: its scheduler and executors, and what they are asked to do.
//!
//! ```text
//! functions   what executors know besides SQL: the key of a point
//! nodes       Ballista's own scheduler and executor, with those functions
//! session     a connection: plans go out, each under a deadline
//! ingest      an ingest whose projecting, partitioning and sorting the executors do
//! ```
//!
//! Only this module names Ballista and DataFusion, and it is compiled with the feature `cluster` alone: they take half an hour to
//! build. It knows nothing of engines, HTTP or the command line.

mod functions;
mod ingest;
mod nodes;
mod session;

pub use ingest::{ClusterWork, ingest};
pub use nodes::{Executor, Scheduler};
pub use session::Address;

use crate::ingest::IngestError;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Why the cluster did not do it.
#[derive(Debug, Error)]
pub enum ClusterError {
    #[error("no scheduler answers at {address} ({cause}): start one with `pointillist cluster scheduler`, or give its address")]
    NoScheduler { address: String, cause: std::io::Error },
    #[error("the cluster has not finished {what} within {} s: give it more time with --deadline, or executors with `pointillist cluster executor`", .deadline.as_secs())]
    Overdue { what: String, deadline: Duration },
    #[error("the cluster could not finish {what}, tried {attempts} times: {cause}")]
    GivenUp { what: String, attempts: usize, cause: String },
    #[error("{cause}: executors and this command must see {} as the same folder", .folder.display())]
    Incomplete { folder: PathBuf, cause: String },
    #[error("cannot {action} {}: {cause}", .path.display())]
    Io { action: &'static str, path: PathBuf, cause: std::io::Error },
    #[error("{0}")]
    Node(String),
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

impl ClusterError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ClusterError {
        let path = path.to_owned();
        move |cause| ClusterError::Io { action, path, cause }
    }

    fn node(what: impl std::fmt::Display) -> ClusterError {
        ClusterError::Node(what.to_string())
    }
}
