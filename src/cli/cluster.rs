//! `pointillist cluster`, and work that is handed to one (`ingest --engine`). Without the feature `cluster` both say so.

use crate::config::Size;
use crate::ingest::{IngestOptions, Observer, Summary};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Start a node of a cluster that ingests: Apache DataFusion Ballista's scheduler or an executor
#[derive(clap::Args, Debug)]
#[command(after_help = "Example, each in a terminal of its own:
  pointillist cluster scheduler --listen 127.0.0.1:50050
  pointillist cluster executor --scheduler 127.0.0.1:50050 --slots 2
  pointillist cluster executor --scheduler 127.0.0.1:50050 --slots 2
  pointillist ingest 'years/*.parquet' -o years --engine ballista://127.0.0.1:50050
Nodes ask nobody who they are: listen on networks only where everybody may run plans and read files. See docs/cluster.md.")]
pub struct ClusterArgs {
    #[command(subcommand)]
    pub node: Node,
}

#[derive(clap::Subcommand, Debug)]
pub enum Node {
    Scheduler(SchedulerArgs),
    Executor(ExecutorArgs),
}

/// Plan jobs and hand out their tasks; one for a cluster
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  pointillist cluster scheduler --listen 10.0.0.1:50050")]
pub struct SchedulerArgs {
    /// Address for executors and clients; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50050")]
    pub listen: SocketAddr,

    /// Seconds an executor may be silent before its tasks are given to others
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(2..))]
    pub executor_timeout: u64,
}

/// Work on tasks; as many as there are machines
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  pointillist cluster executor --scheduler 10.0.0.1:50050 --listen 10.0.0.2:0 \\
      --slots 8 --work-dir /scratch --memory-limit 16GB")]
pub struct ExecutorArgs {
    /// The scheduler
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50050", value_parser = host_and_port)]
    pub scheduler: (String, u16),

    /// Address at which others fetch results; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    /// Port at which the scheduler hands out tasks; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub control_port: u16,

    /// Tasks at a time [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub slots: Option<u16>,

    /// Folder for results that wait and sorts that spill [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,

    /// Memory of all tasks together; beyond it sorts spill [default: 70% of the machine's]
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<Size>,

    /// Seconds between signs of life; the scheduler's --executor-timeout is to be some times as long
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub heartbeat: u64,
}

/// Whom a command hands its work to.
#[derive(clap::Args, Debug)]
pub struct WorkArgs {
    /// Let a cluster project, partition and sort the rows of Parquet files: ballista://HOST:PORT, its scheduler
    #[arg(long, value_name = "URL", conflicts_with = "rejects")]
    pub engine: Option<String>,

    /// Rows of a job of the cluster
    #[arg(long, value_name = "N", default_value_t = 5_000_000, requires = "engine", value_parser = clap::value_parser!(u64).range(1..))]
    pub job_rows: u64,

    /// Seconds that a job of the cluster may take, with what it waits for, before the ingest is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, requires = "engine", value_parser = clap::value_parser!(u64).range(1..))]
    pub deadline: u64,
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let wrong = || "write it as HOST:PORT, such as 127.0.0.1:50050".to_owned();
    let (host, port) = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).ok_or_else(wrong)?;
    Ok((host.to_owned(), port.parse().map_err(|_| wrong())?))
}

#[cfg(not(feature = "cluster"))]
const ABSENT: &str = "this build has no cluster engine: build with --features cluster";

#[cfg(not(feature = "cluster"))]
pub fn run(_: ClusterArgs) -> anyhow::Result<()> {
    anyhow::bail!(ABSENT)
}

/// # Errors
/// This build has no cluster engine.
#[cfg(not(feature = "cluster"))]
pub fn ingest(_: &IngestOptions, _: &str, _: &WorkArgs, _: &dyn Observer) -> anyhow::Result<Summary> {
    anyhow::bail!(ABSENT)
}

#[cfg(feature = "cluster")]
pub fn run(args: ClusterArgs) -> anyhow::Result<()> {
    use crate::cluster::{Executor, Scheduler};
    use std::time::Duration;
    match args.node {
        Node::Scheduler(args) => {
            let scheduler = Scheduler { listen: args.listen, executor_timeout: Duration::from_secs(args.executor_timeout) };
            scheduler.run(|address| eprintln!("scheduler at ballista://{address}"))?;
        }
        Node::Executor(args) => {
            let temporary = if args.work_dir.is_none() { Some(tempfile::tempdir()?) } else { None };
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let executor = Executor {
                scheduler_host: args.scheduler.0,
                scheduler_port: args.scheduler.1,
                listen: args.listen,
                control_port: args.control_port,
                slots: args.slots.map_or(cores, usize::from),
                work_dir: args.work_dir.or_else(|| temporary.as_ref().map(|folder| folder.path().to_owned())).unwrap_or_default(),
                memory_limit_bytes: args.memory_limit.map(|size| size.0),
                heartbeat: Duration::from_secs(args.heartbeat),
            };
            let slots = executor.slots;
            executor.run(|address| eprintln!("executor at {address}, {slots} tasks at a time"))?;
        }
    }
    Ok(())
}

/// An ingest by a cluster.
///
/// # Errors
/// The cluster's or the ingest's.
#[cfg(feature = "cluster")]
pub fn ingest(options: &IngestOptions, engine: &str, args: &WorkArgs, observer: &dyn Observer) -> anyhow::Result<Summary> {
    use crate::cluster::{ClusterError, ClusterWork};
    use std::time::Duration;
    let scheduler = engine.parse().unwrap_or_else(|error: String| super::ingest::misused(error));
    let work = ClusterWork { scheduler, job_rows: args.job_rows, deadline: Duration::from_secs(args.deadline) };
    match crate::cluster::ingest(options, &work, observer) {
        Err(ClusterError::Ingest(error)) if error.is_usage() => super::ingest::misused(error),
        other => Ok(other?),
    }
}
