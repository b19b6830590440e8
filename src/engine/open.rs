//! Opens the engine that is wanted, or the one that there is.

use super::cpu::CpuEngine;
use super::failover::{Failover, OnDeviceLoss, Reopen};
use super::gpu::{Adapters, Gpu, GpuEngine, GpuOptions};
use super::{Engine, EngineError};
use crate::dataset::Dataset;
use std::sync::Arc;

/// Which engine is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Backend {
    /// The GPU where there is a real one, otherwise the CPU.
    #[default]
    Auto,
    /// A GPU, even one that software emulates.
    Gpu,
    Cpu,
}

/// How the engines of a process behave.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// The device is shared by all datasets: the first to open it decides its options.
    pub gpu: GpuOptions,
    pub on_device_loss: OnDeviceLoss,
}

/// Opens an engine over a dataset and says which it is.
///
/// # Errors
/// [`EngineError::NoDevice`], with the reason, where a GPU is wanted and there is none.
pub fn open(dataset: Arc<Dataset>, backend: Backend, options: &EngineOptions) -> Result<Arc<dyn Engine>, EngineError> {
    if dataset.is_stored() && backend != Backend::Cpu {
        let why = "datasets in a store are counted on the CPU, which reads of them only what it needs";
        if backend == Backend::Gpu {
            return Err(EngineError::NoDevice(format!("{why}: give --backend cpu or auto")));
        }
        tracing::info!("counting {} on the CPU: {why}", dataset.manifest.name);
        return Ok(cpu(dataset));
    }
    let adapters = match backend {
        Backend::Cpu => return Ok(cpu(dataset)),
        Backend::Gpu => Adapters::Any,
        Backend::Auto => Adapters::Hardware,
    };
    match gpu(dataset.clone(), adapters, options) {
        Err(EngineError::NoDevice(why)) if backend == Backend::Auto => {
            tracing::info!("counting {} on the CPU: {why}", dataset.manifest.name);
            Ok(cpu(dataset))
        }
        opened => opened,
    }
}

fn cpu(dataset: Arc<Dataset>) -> Arc<dyn Engine> {
    Arc::new(CpuEngine::new(dataset))
}

fn gpu(dataset: Arc<Dataset>, adapters: Adapters, options: &EngineOptions) -> Result<Arc<dyn Engine>, EngineError> {
    let (again, instead) = (dataset.clone(), dataset.clone());
    let gpu_options = options.gpu.clone();
    let open = move |dataset: Arc<Dataset>| -> Result<Arc<dyn Engine>, EngineError> {
        Ok(Arc::new(GpuEngine::new(Gpu::shared(adapters, &gpu_options)?, dataset)))
    };
    let engine = open(dataset.clone())?;
    let info = engine.info();
    let emulated = if info.software { ", emulated by software: slow" } else { "" };
    tracing::info!("counting {} on {}{emulated}", dataset.manifest.name, info.device);
    let reopen: Reopen = Box::new(move || open(again.clone()));
    let cpu: Reopen = Box::new(move || Ok(cpu(instead.clone())));
    Ok(Arc::new(Failover::new(engine, reopen, (options.on_device_loss == OnDeviceLoss::Cpu).then_some(cpu))))
}
