//! Ballista's own scheduler and executor, unmodified but for the functions that they know besides.

use super::ClusterError;
use super::functions::{registry, scheduler_session};
use ballista_core::utils::default_config_producer;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Plans are trees that are walked by recursion, and deep ones overflow the usual stack; Ballista's own binary takes as much.
const STACK_BYTES: usize = 32 << 20;

/// An executor says this many times that it is alive before it counts as lost.
const HEARTBEATS: u64 = 4;

/// The process that plans jobs and hands out their tasks. All its state is in memory: jobs end with it.
#[derive(Clone, Copy, Debug)]
pub struct Scheduler {
    /// Port 0 takes any that is free.
    pub listen: SocketAddr,
    /// How long an executor may be silent before its tasks are given to others.
    pub executor_timeout: Duration,
}

impl Scheduler {
    /// Runs until it is killed. `ready` is told the address.
    ///
    /// # Errors
    /// The address cannot be bound, or Ballista's own.
    pub fn run(self, ready: impl FnOnce(SocketAddr)) -> Result<(), ClusterError> {
        let seconds = self.executor_timeout.as_secs().max(1);
        runtime()?.block_on(async {
            let busy = |cause| ClusterError::node(format_args!("cannot listen on {}: {cause}", self.listen));
            let listener = tokio::net::TcpListener::bind(self.listen).await.map_err(busy)?;
            let address = listener.local_addr().map_err(busy)?;
            let config = SchedulerConfig {
                bind_host: address.ip().to_string(),
                bind_port: address.port(),
                external_host: address.ip().to_string(),
                executor_timeout_seconds: seconds,
                expire_dead_executor_interval_seconds: (seconds / HEARTBEATS).max(1),
                no_executors_grace_period_seconds: seconds,
                override_session_builder: Some(Arc::new(scheduler_session)),
                override_config_producer: Some(Arc::new(default_config_producer)),
                ..SchedulerConfig::default()
            };
            let cluster = BallistaCluster::new_from_config(&config).await.map_err(ClusterError::node)?;
            let scheduler = create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, Arc::new(config));
            let scheduler = scheduler.await.map_err(ClusterError::node)?;
            ready(address);
            start_grpc_service_with_listener(listener, scheduler).await.map_err(ClusterError::node)
        })
    }
}

/// A process that works on tasks.
#[derive(Clone, Debug)]
pub struct Executor {
    pub scheduler_host: String,
    pub scheduler_port: u16,
    /// Where other executors and clients fetch results. Port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Where the scheduler hands out tasks. Port 0 takes any that is free.
    pub control_port: u16,
    /// Tasks at a time.
    pub slots: usize,
    /// Where results wait to be fetched, and sorts spill to.
    pub work_dir: PathBuf,
    /// Memory of all tasks together, in bytes; beyond it sorts spill. `None` is Ballista's own: 70% of the machine's.
    pub memory_limit_bytes: Option<u64>,
    /// How often it says that it is alive.
    pub heartbeat: Duration,
}

impl Executor {
    /// Runs until it is stopped. `ready` is told the address, before the scheduler knows it.
    ///
    /// # Errors
    /// No scheduler, a port that is taken, or Ballista's own.
    pub fn run(self, ready: impl FnOnce(SocketAddr)) -> Result<(), ClusterError> {
        std::fs::create_dir_all(&self.work_dir).map_err(ClusterError::io("create", &self.work_dir))?;
        let mut listen = self.listen;
        listen.set_port(free_port(self.listen)?);
        let control = free_port(SocketAddr::new(listen.ip(), self.control_port))?;
        let config = ExecutorProcessConfig {
            bind_host: listen.ip().to_string(),
            external_host: Some(listen.ip().to_string()),
            port: listen.port(),
            grpc_port: control,
            scheduler_host: self.scheduler_host,
            scheduler_port: self.scheduler_port,
            vcores: self.slots,
            work_dir: Some(self.work_dir.to_string_lossy().into_owned()),
            memory_pool_size: self.memory_limit_bytes,
            executor_heartbeat_interval_seconds: self.heartbeat.as_secs().max(1),
            override_function_registry: Some(Arc::new(registry())),
            ..ExecutorProcessConfig::default()
        };
        ready(listen);
        runtime()?.block_on(start_executor_process(Arc::new(config))).map_err(ClusterError::node)
    }
}

/// The port, or one that is free now where it is 0: Ballista tells the scheduler before it binds.
fn free_port(address: SocketAddr) -> Result<u16, ClusterError> {
    let busy = |cause| ClusterError::node(format_args!("cannot listen on {address}: {cause}"));
    let listener = TcpListener::bind(address).map_err(busy)?;
    Ok(listener.local_addr().map_err(busy)?.port())
}

fn runtime() -> Result<tokio::runtime::Runtime, ClusterError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build();
    runtime.map_err(|error| ClusterError::node(format_args!("cannot start threads: {error}")))
}
