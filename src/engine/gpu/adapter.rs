//! Which GPU: finds an adapter, and says why there is none.

use crate::engine::EngineError;
use wgpu::{Adapter, Backends, DeviceType, Instance, InstanceDescriptor};

/// Which adapters will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapters {
    /// Real GPUs only.
    Hardware,
    /// Software ones too, where there is no real one.
    Any,
}

/// An adapter, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterText {
    /// Such as `NVIDIA H100 (Vulkan, driver 550.54)`.
    pub name: String,
    pub software: bool,
}

/// The best adapter that will do.
///
/// # Errors
/// [`EngineError::NoDevice`]: what was found instead, and what to do.
pub(super) fn choose(adapters: Adapters) -> Result<(Adapter, AdapterText), EngineError> {
    let backends = Backends::VULKAN | Backends::METAL | Backends::DX12;
    let instance =
        Instance::new(InstanceDescriptor { backends, ..InstanceDescriptor::new_without_display_handle() });
    let mut found: Vec<Adapter> = pollster::block_on(instance.enumerate_adapters(backends));
    if found.is_empty() {
        return Err(EngineError::NoDevice(
            "no Vulkan, Metal or DirectX 12 adapter was found; install the GPU's driver and the Vulkan loader (libvulkan1), \
             or use --backend cpu"
                .to_owned(),
        ));
    }
    found.sort_by_key(|adapter| preference(adapter.get_info().device_type));
    let best = found.swap_remove(0);
    let text = AdapterText::of(&best);
    if text.software && adapters == Adapters::Hardware {
        return Err(EngineError::NoDevice(format!("the only adapter is {}, emulated by software", text.name)));
    }
    Ok((best, text))
}

fn preference(kind: DeviceType) -> u8 {
    match kind {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}

impl AdapterText {
    fn of(adapter: &Adapter) -> AdapterText {
        let info = adapter.get_info();
        let driver = [info.driver.as_str(), info.driver_info.as_str()].join(" ");
        AdapterText {
            name: format!("{} ({}, {})", info.name, info.backend, driver.trim()),
            software: info.device_type == DeviceType::Cpu,
        }
    }
}
