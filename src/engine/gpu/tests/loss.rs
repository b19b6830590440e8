//! Devices that are lost, hang or never come back: whoever asks gets an answer or an error.

use super::*;

#[test]
fn a_device_that_is_lost_or_out_of_memory_is_opened_again_and_then_the_cpu_counts() {
    if gpu().is_none() {
        return;
    }
    // One after the other, because they share the process's device.
    for injure in [|device: &mut device::Device| device.destroy(), |device: &mut device::Device| device.set_capacity_bytes(0)] {
        let (_folder, dataset) = large(100_000);
        let engine = crate::engine::open(dataset.clone(), Backend::Gpu, &EngineOptions::default()).unwrap();
        let groups = Arc::new(Groups::none(&dataset));
        let never = Cancel::never();
        let tile = [TileId::new(3, 2, 3).unwrap()];
        let [_, filter, _] = filters();
        let filter = Arc::new(filter);
        let cpu = CpuEngine::new(dataset.clone());
        let expected = cpu.count(&cpu.select(&filter, &groups, &never).unwrap(), &tile, &never).unwrap();
        let selection = engine.select(&filter, &groups, &never).unwrap();
        let mut seen = Vec::new();
        for _ in 0..3 {
            assert!(engine.count(&selection, &tile, &never).unwrap() == expected);
            seen.push((engine.info().backend, engine.info().trouble.is_some()));
            if engine.info().backend == "gpu" {
                let gpu = Gpu::shared(Adapters::Any, &GpuOptions::default()).unwrap();
                gpu.run(move |device| {
                    injure(device);
                    Ok(())
                })
                .unwrap();
            }
        }
        assert_eq!(seen, [("gpu", false), ("gpu", true), ("cpu", true)]);
    }
}

#[test]
fn a_driver_that_does_not_return_is_noticed_by_everybody() {
    let options = GpuOptions { hang_timeout: Duration::from_millis(100), ..GpuOptions::default() };
    let Some(gpu) = own_gpu(&options) else { return };
    // The GPU's thread is stuck until the end of this test.
    let (release, stuck) = std::sync::mpsc::channel::<()>();
    let first = gpu.run(move |_| Ok(stuck.recv().is_ok()));
    assert!(matches!(first, Err(EngineError::DeviceLost(_))));
    let second = gpu.run(|_| Ok(()));
    assert!(matches!(second, Err(EngineError::DeviceLost(_))));
    assert!(gpu.is_lost());
    drop(release);
}

#[test]
fn a_device_that_does_not_finish_is_lost() {
    // A shader that takes far longer than it is given.
    let slow = "var slow = 0u; for (var i = 0u; i < 1000000u; i++) { slow = slow * 5u + keys[i % 7u].x; } \
                var passing = u32(slow == 1u);";
    let broken = Some(("var passing = 0u;", slow));
    let options = GpuOptions { hang_timeout: Duration::from_millis(20), broken, ..GpuOptions::default() };
    let Some(gpu) = own_gpu(&options) else { return };
    let (_folder, dataset) = large(1 << 23);
    let engine = GpuEngine::new(gpu, dataset.clone());
    let [_, filter, _] = filters();
    let answer = engine.select(&Arc::new(filter), &Arc::new(Groups::none(&dataset)), &Cancel::never());
    assert!(matches!(&answer, Err(EngineError::DeviceLost(_))), "{:?}", answer.map(|_| ()));
}
