//! The compute pipelines: one per entry point of the shaders, made when the device is opened.

use super::GpuOptions;
use super::shaders::{self, Source};
use std::borrow::Cow;
use wgpu::{ComputePipeline, ComputePipelineDescriptor, ShaderModuleDescriptor, ShaderSource};

pub(super) struct Pipelines {
    pub select_keys: ComputePipeline,
    pub select_mask: ComputePipeline,
    pub select_groups: ComputePipeline,
    pub rank_blocks: ComputePipeline,
    pub rank_spine: ComputePipeline,
    pub rank_spread: ComputePipeline,
    pub count: ComputePipeline,
    pub histogram: ComputePipeline,
    pub aggregate: ComputePipeline,
    pub distribution: ComputePipeline,
    pub distribution_slices: ComputePipeline,
}

impl Pipelines {
    pub fn new(device: &wgpu::Device, options: &GpuOptions) -> Pipelines {
        let module = |source: &Source| {
            let wgsl = ShaderSource::Wgsl(wgsl(source, options));
            device.create_shader_module(ShaderModuleDescriptor { label: Some(source.name), source: wgsl })
        };
        let pipeline = |module: &wgpu::ShaderModule, entry: &str| {
            device.create_compute_pipeline(&ComputePipelineDescriptor {
                label: Some(entry),
                layout: None,
                module,
                entry_point: Some(entry),
                compilation_options: Default::default(),
                cache: None,
            })
        };
        let (select, rank, distribution) =
            (module(&shaders::SELECT), module(&shaders::RANK), module(&shaders::DISTRIBUTION));
        Pipelines {
            select_keys: pipeline(&select, "select_keys"),
            select_mask: pipeline(&select, "select_mask"),
            select_groups: pipeline(&select, "select_groups"),
            rank_blocks: pipeline(&rank, "rank_blocks"),
            rank_spine: pipeline(&rank, "rank_spine"),
            rank_spread: pipeline(&rank, "rank_spread"),
            count: pipeline(&module(&shaders::COUNT), "count"),
            histogram: pipeline(&module(&shaders::HISTOGRAM), "histogram"),
            aggregate: pipeline(&module(&shaders::AGGREGATE), "aggregate"),
            distribution: pipeline(&distribution, "distribution"),
            distribution_slices: pipeline(&distribution, "distribution_slices"),
        }
    }
}

#[cfg(not(test))]
fn wgsl(source: &Source, _: &GpuOptions) -> Cow<'static, str> {
    Cow::Borrowed(source.wgsl)
}

#[cfg(test)]
fn wgsl(source: &Source, options: &GpuOptions) -> Cow<'static, str> {
    match options.broken {
        Some((text, other)) => Cow::Owned(source.wgsl.replace(text, other)),
        None => Cow::Borrowed(source.wgsl),
    }
}
