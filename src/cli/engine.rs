//! The flags that choose an engine, for every command that counts.

use crate::config::{self, Config, OnDeviceLoss, Size};
use crate::dataset::Dataset;
use crate::engine::gpu::GpuOptions;
use crate::engine::{self, Engine, EngineError, EngineOptions};
use std::sync::Arc;

#[derive(clap::Args, Clone, Debug, Default)]
pub struct EngineArgs {
    /// What counts: auto, the default, takes a real GPU where there is one, else the CPU
    #[arg(long, value_enum, env = "POINTILLIST_BACKEND")]
    pub backend: Option<config::Backend>,

    /// GPU memory to use, such as 6GB; what does not fit is paged in when it is needed, so 200MB is the least that large
    /// datasets work with. By default as much as there is
    #[arg(long, value_name = "SIZE", env = "POINTILLIST_DEVICE_MEMORY")]
    pub device_memory: Option<Size>,

    /// What to do when the GPU is lost twice: count on the CPU, the default, or answer with errors
    #[arg(long, value_enum, env = "POINTILLIST_ON_DEVICE_LOSS")]
    pub on_device_loss: Option<OnDeviceLoss>,
}

impl From<&Config> for EngineArgs {
    fn from(config: &Config) -> EngineArgs {
        EngineArgs {
            backend: Some(config.backend),
            device_memory: config.device_memory,
            on_device_loss: Some(config.on_device_loss),
        }
    }
}

impl EngineArgs {
    /// Opens the engine that the flags ask for.
    ///
    /// # Errors
    /// As [`engine::open`].
    pub fn open(&self, dataset: Arc<Dataset>) -> Result<Arc<dyn Engine>, EngineError> {
        let backend = match self.backend.unwrap_or_default() {
            config::Backend::Auto => engine::Backend::Auto,
            config::Backend::Gpu => engine::Backend::Gpu,
            config::Backend::Cpu => engine::Backend::Cpu,
        };
        let on_device_loss = match self.on_device_loss.unwrap_or_default() {
            OnDeviceLoss::Cpu => engine::OnDeviceLoss::Cpu,
            OnDeviceLoss::Fail => engine::OnDeviceLoss::Fail,
        };
        let gpu = GpuOptions { budget_bytes: self.device_memory.map(|size| size.0), ..GpuOptions::default() };
        engine::open(dataset, backend, &EngineOptions { gpu, on_device_loss })
    }
}
