//! The flags that choose an engine, for every command that counts.

use super::serve::parse_bytes;
use crate::dataset::Dataset;
use crate::engine::gpu::GpuOptions;
use crate::engine::{self, Engine, EngineError, EngineOptions};
use std::sync::Arc;

#[derive(clap::Args, Clone, Debug)]
pub struct EngineArgs {
    /// What counts: auto takes a real GPU where there is one, else the CPU
    #[arg(long, value_enum, default_value_t = Backend::Auto, env = "POINTILLIST_BACKEND")]
    pub backend: Backend,

    /// GPU memory to use, such as 6GB; what does not fit is paged in when it is needed, so 200MB is the least that large
    /// datasets work with. By default as much as there is
    #[arg(long, value_name = "SIZE", env = "POINTILLIST_DEVICE_MEMORY", value_parser = parse_bytes)]
    pub device_memory: Option<usize>,

    /// What to do when the GPU is lost twice: count on the CPU, or answer with errors
    #[arg(long, value_enum, default_value_t = OnDeviceLoss::Cpu, env = "POINTILLIST_ON_DEVICE_LOSS")]
    pub on_device_loss: OnDeviceLoss,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Auto,
    /// A GPU, or software that emulates one
    Gpu,
    Cpu,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDeviceLoss {
    Cpu,
    Fail,
}

impl EngineArgs {
    /// Opens the engine that the flags ask for.
    ///
    /// # Errors
    /// As [`engine::open`].
    pub fn open(&self, dataset: Arc<Dataset>) -> Result<Arc<dyn Engine>, EngineError> {
        let backend = match self.backend {
            Backend::Auto => engine::Backend::Auto,
            Backend::Gpu => engine::Backend::Gpu,
            Backend::Cpu => engine::Backend::Cpu,
        };
        let on_device_loss = match self.on_device_loss {
            OnDeviceLoss::Cpu => engine::OnDeviceLoss::Cpu,
            OnDeviceLoss::Fail => engine::OnDeviceLoss::Fail,
        };
        let gpu = GpuOptions { budget_bytes: self.device_memory.map(|bytes| bytes as u64), ..GpuOptions::default() };
        engine::open(dataset, backend, &EngineOptions { gpu, on_device_loss })
    }
}
