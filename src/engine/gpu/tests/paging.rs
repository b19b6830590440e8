//! Device memory: a dataset larger than it, what is let go and when, and what goes up while the device is at work.

use super::*;

#[test]
fn a_dataset_larger_than_the_budget_is_paged() {
    // A tile's counts, their copy on the way back, the tables of `distribution`: what is needed at the least, and a few
    // buffers of parts.
    let budget_bytes = 2 * 256 * 1024 + 2 * 32 * 1024 + 64 * 1024;
    let options = GpuOptions { budget_bytes: Some(budget_bytes), ..GpuOptions::default() };
    let Some(gpu) = own_gpu(&options) else { return };
    let (_folder, dataset) = large(5_000);
    let keys: usize = dataset.parts.iter().map(|part| part.index_bytes()).sum();
    assert!(keys as u64 > 2 * budget_bytes, "{keys} bytes would fit");
    let (cpu, engine) = (CpuEngine::new(dataset.clone()), GpuEngine::new(gpu.clone(), dataset.clone()));
    let wide = [HistogramRequest { column: ColumnId(3), bins: Bins::Edges(vec![1, 1 << 63, u64::MAX]) }];
    let groups = Arc::new(Groups::none(&dataset));
    let never = Cancel::never();
    let evictions = || gpu.run(|device| Ok(device.memory.evictions)).unwrap();
    for filter in filters() {
        let filter = Arc::new(filter);
        let mut before = evictions();
        let mut paged = |what: &str| {
            let now = evictions();
            assert!(now > before, "{what} under '{}' fitted", filter.canonical());
            before = now;
        };
        let (on_cpu, on_gpu) = (cpu.select(&filter, &groups, &never).unwrap(), engine.select(&filter, &groups, &never).unwrap());
        assert_eq!(on_cpu.counts, on_gpu.counts);
        if filter.canonical() == "nested" {
            paged("select");
        }
        for z in [0, 4, 12, 24] {
            let tiles = [TileId::containing(WorldPoint { x: 1 << 30, y: 3 << 29 }, Zoom::new(z).unwrap())];
            assert!(cpu.count(&on_cpu, &tiles, &never).unwrap() == engine.count(&on_gpu, &tiles, &never).unwrap());
        }
        paged("count");
        let zoom = Zoom::new(10).unwrap();
        assert_eq!(cpu.distribution(&on_cpu, zoom, &never).unwrap(), engine.distribution(&on_gpu, zoom, &never).unwrap());
        paged("distribution");
        let expected = cpu.histograms(&on_cpu, &wide, None, &never).unwrap();
        assert_eq!(expected, engine.histograms(&on_gpu, &wide, None, &never).unwrap());
        paged("histogram");
    }
    assert!(gpu.memory_peak_bytes() <= budget_bytes, "{} bytes of {budget_bytes}", gpu.memory_peak_bytes());

    let options = GpuOptions { budget_bytes: Some(100_000), ..GpuOptions::default() };
    let engine = GpuEngine::new(Gpu::open(Adapters::Any, &options).unwrap(), dataset.clone());
    let all = engine.select(&Arc::new(Filter::all()), &groups, &never).unwrap();
    let answer = engine.count(&all, &[TileId::new(0, 0, 0).unwrap()], &never);
    assert!(matches!(answer, Err(EngineError::DeviceMemory { budget_bytes: 100_000, .. })), "{:?}", answer.map(|_| ()));
}

#[test]
fn memory_of_engines_and_selections_that_are_gone_is_free() {
    let Some(gpu) = gpu() else { return };
    let (_folder, dataset) = large(100_000);
    let before = gpu.memory_bytes();
    let engine = GpuEngine::new(gpu.clone(), dataset.clone());
    let groups = Arc::new(Groups::none(&dataset));
    let [_, filter, _] = filters();
    let selection = engine.select(&Arc::new(filter), &groups, &Cancel::never()).unwrap();
    let rooms = |gpu: &Gpu| gpu.run(|device| Ok(device.memory.rooms_bytes())).unwrap();
    let with_selection = gpu.memory_bytes();
    drop(selection);
    gpu.run(|_| Ok(())).unwrap();
    assert!(gpu.memory_bytes() < with_selection);
    drop(engine);
    let rooms = rooms(&gpu);
    assert!(gpu.memory_bytes() <= before + rooms, "{} > {before} + {rooms}", gpu.memory_bytes());
}

#[test]
fn a_device_with_less_memory_than_the_dataset_pages_without_a_budget() {
    let Some(gpu) = own_gpu(&GpuOptions::default()) else { return };
    let (_folder, dataset) = large(20_000);
    gpu.run(|device| {
        device.set_capacity_bytes(8 << 20);
        Ok(())
    })
    .unwrap();
    let (cpu, engine) = (CpuEngine::new(dataset.clone()), GpuEngine::new(gpu.clone(), dataset.clone()));
    compare(&cpu, &engine, &filters()[1], &Arc::new(Groups::none(&dataset)), &[0, 13, 22]);
    assert!(gpu.run(|device| Ok(device.memory.evictions)).unwrap() > 0);
}

#[test]
fn a_segment_goes_up_while_the_one_before_it_is_at_work() {
    // Room for some three of the fifteen segments' keys and columns, beside what every question needs.
    let options = GpuOptions { budget_bytes: Some(2 << 20), ..GpuOptions::default() };
    let Some(gpu) = own_gpu(&options) else { return };
    let (_folder, dataset) = large(20_000);
    let engine = GpuEngine::new(gpu.clone(), dataset.clone());
    let groups = Arc::new(Groups::none(&dataset));
    let [_, filter, _] = filters().map(Arc::new);
    let steps = gpu.run(|device| {
        // Every segment is a submission, as those of hundreds of millions of points are.
        device.set_submission_items(1);
        Ok(device.trace.len())
    });
    engine.select(&filter, &groups, &Cancel::never()).unwrap();
    let trace = gpu.run(move |device| Ok((device.trace.split_off(steps?), device.memory.evictions))).unwrap();
    let (trace, evictions) = trace;
    assert!(evictions > 0, "everything fitted");
    let columns: Vec<&str> = dataset.columns().iter().map(|column| column.name.as_str()).collect();
    let (mut submitted, mut done, mut beside, mut idle) = (0, 0, 0, 0);
    for step in &trace {
        match step {
            device::Step::Submitted(number) => submitted = *number,
            device::Step::WaitedFor(number) => done = *number,
            // The first segment goes up before anything is at work.
            device::Step::Uploaded(label) if columns.contains(&label.as_str()) && submitted > 0 => {
                if submitted > done { beside += 1 } else { idle += 1 }
            }
            device::Step::Uploaded(_) => {}
        }
    }
    assert!(beside > 20 && idle == 0, "{beside} columns went up beside work, {idle} to an idle device: {trace:?}");
}
