//! A connection to a cluster: plans go out, each under a deadline, and are tried again when executors die under them.

use super::ClusterError;
use super::functions::functions;
use ballista::prelude::{SessionConfigExt, SessionContextExt};
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use std::fmt;
use std::future::Future;
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

/// Times that a job is tried: Ballista itself gives the tasks of a lost executor to others, so this is for what it cannot mend, a
/// file that was half written among them.
const ATTEMPTS_MAX: usize = 3;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a scheduler is: `ballista://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let wrong = || format!("'{text}' is no address of a scheduler: write it as ballista://127.0.0.1:50050");
        let rest = text.strip_prefix("ballista://").ok_or_else(wrong)?.trim_end_matches('/');
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        if host.is_empty() { Err(wrong()) } else { Ok(Address { host: host.to_owned(), port }) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ballista://{}:{}", self.host, self.port)
    }
}

/// A session whose plans run on the cluster, each in one partition: it is many small jobs that are parallel here.
///
/// # Errors
/// Nobody listens there.
pub async fn connect(address: &Address) -> Result<SessionContext, ClusterError> {
    let absent = |cause| ClusterError::NoScheduler { address: address.to_string(), cause };
    let found = (address.host.as_str(), address.port).to_socket_addrs().map_err(absent)?.next();
    let found = found.ok_or_else(|| absent(std::io::ErrorKind::NotFound.into()))?;
    TcpStream::connect_timeout(&found, CONNECT_TIMEOUT).map_err(absent)?;
    let config = SessionConfig::new_with_ballista()
        .with_target_partitions(1)
        // Columns keep the types that they have in the input.
        .set_bool("datafusion.execution.parquet.schema_force_view_types", false)
        .set_bool("datafusion.execution.parquet.skip_metadata", false)
        // A file is written by one task: one for each column of each of a job's 256 files would be thousands.
        .set_bool("datafusion.execution.parquet.allow_single_file_parallelism", false)
        // What is written between jobs is read once: fast, and without statistics.
        .set_str("datafusion.execution.parquet.compression", "lz4_raw")
        .set_str("datafusion.execution.parquet.statistics_enabled", "none");
    let state = SessionStateBuilder::new_with_default_features().with_config(config).build();
    let url = format!("df://{}:{}", address.host, address.port);
    let context = SessionContext::remote_with_state(&url, state).await.map_err(ClusterError::node)?;
    for function in functions() {
        context.register_udf(function.as_ref().clone());
    }
    Ok(context)
}

/// Does `work` until it succeeds, at most [`ATTEMPTS_MAX`] times and until `deadline` is over. It is told the number of the attempt,
/// from 0, so that no attempt writes where another did.
///
/// # Errors
/// The last attempt's, or that there is no time left.
pub async fn attempt<T, F>(what: &str, deadline: Duration, work: impl Fn(usize) -> F) -> Result<T, ClusterError>
where
    F: Future<Output = Result<T, ClusterError>>,
{
    let all = async {
        let mut number = 0;
        loop {
            match work(number).await {
                Err(error) if number + 1 < ATTEMPTS_MAX => tracing::warn!("{what} failed and is tried again: {error}"),
                Err(error) => {
                    let (what, cause) = (what.to_owned(), error.to_string());
                    return Err(ClusterError::GivenUp { what, attempts: ATTEMPTS_MAX, cause });
                }
                Ok(done) => return Ok(done),
            }
            number += 1;
        }
    };
    let overdue = |_| ClusterError::Overdue { what: what.to_owned(), deadline };
    tokio::time::timeout(deadline, all).await.map_err(overdue)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn addresses_are_told_from_what_is_none() {
        let address: Address = "ballista://10.0.0.1:50050".parse().unwrap();
        assert_eq!((address.host.as_str(), address.port), ("10.0.0.1", 50050));
        for wrong in ["10.0.0.1:50050", "ballista://host", "ballista://:1", "ballista://host:seven"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn what_fails_is_tried_again_and_given_up_in_the_end() {
        let fails = |times: usize| {
            let tried = AtomicUsize::new(0);
            async move {
                let work = |number| {
                    assert_eq!(number, tried.fetch_add(1, Ordering::Relaxed));
                    async move { if number < times { Err(ClusterError::node("lost")) } else { Ok(number) } }
                };
                attempt("a job", Duration::from_secs(60), work).await
            }
        };
        assert_eq!(fails(0).await.unwrap(), 0);
        assert_eq!(fails(2).await.unwrap(), 2);
        assert_eq!(fails(3).await.unwrap_err().to_string(), "the cluster could not finish a job, tried 3 times: lost");
    }

    #[tokio::test]
    async fn what_does_not_end_is_given_up() {
        let never = attempt("a job", Duration::from_millis(5), |_| std::future::pending::<Result<(), ClusterError>>()).await;
        assert!(matches!(never, Err(ClusterError::Overdue { .. })), "{never:?}");
    }
}
