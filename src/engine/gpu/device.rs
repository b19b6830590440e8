//! The device as its thread sees it: buffers under the budget, dispatches, submission. What goes to it and comes back is in
//! `device/transfer.rs`.
//!
//! Only [`super::worker`]'s thread has one, so nothing here locks. Knows nothing of points.

mod transfer;

pub(super) use transfer::{READINGS_MAX, Reading, Reply};

use super::GpuOptions;
use super::adapter::{Adapters, AdapterText, choose};
use super::health::Health;
use super::layout::constants::WORKGROUP;
use super::memory::{Counted, Memory, Resident, ResidentKey};
use super::pipelines::Pipelines;
use crate::engine::EngineError;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use wgpu::{
    BindGroupDescriptor, BindGroupEntry, BufferDescriptor, BufferUsages, CommandEncoder, ComputePassDescriptor,
    ComputePipeline, DeviceDescriptor, ErrorFilter, PollError, PollType,
};

/// Points or cells that one submission looks at, about: a millisecond on a GPU, and in software (0.15 G/s measured) a
/// fraction of the time after which a submission is taken for hung.
const SUBMISSION_ITEMS: u64 = 1 << 25;

/// Submissions that the device has not finished, at most: enough that it never waits for the host, few enough that evicted
/// memory is soon free.
const SUBMISSIONS_UNFINISHED_MAX: usize = 4;

/// What the host does with a device. For tests of what waits for what.
#[cfg(test)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Uploaded(String),
    Submitted(u64),
    WaitedFor(u64),
}

pub(super) struct Device {
    pub pipelines: Pipelines,
    pub memory: Memory,
    pub health: Arc<Health>,
    device: wgpu::Device,
    queue: wgpu::Queue,
    budget_bytes: u64,
    limits: wgpu::Limits,
    /// Commands that are recorded but not submitted.
    recorded: Option<CommandEncoder>,
    recorded_items: u64,
    /// [`SUBMISSION_ITEMS`], unless a test has fewer.
    submission_items: u64,
    uploads_pending: u64,
    /// Submissions that the device may be at, oldest first, by [`Device::submissions`].
    unfinished: VecDeque<(u64, wgpu::SubmissionIndex)>,
    /// Submissions so far.
    submissions: u64,
    /// Answers on their way back, oldest first, and who waits for them.
    answers: VecDeque<(Reading, Reply)>,
    /// Dispatches so far.
    #[cfg(test)]
    dispatches: u64,
    /// What the host did, in order.
    #[cfg(test)]
    pub trace: Vec<Step>,
    /// What the driver gives at most.
    #[cfg(test)]
    capacity_bytes: u64,
    /// The first error that no call returned: a bug of ours, or the driver's.
    error: Arc<Mutex<Option<String>>>,
    /// How many such errors there were: what was under way then is not to be trusted.
    refusals: u64,
    /// Stands in for buffers that a kernel binds but does not read.
    nothing: Arc<Counted>,
}

impl Device {
    pub fn open(adapters: Adapters, options: &GpuOptions, health: Arc<Health>) -> Result<(Device, AdapterText), EngineError> {
        let (adapter, text) = choose(adapters)?;
        let limits = adapter.limits();
        let descriptor = DeviceDescriptor { label: Some("pointillist"), required_limits: limits.clone(), ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|error| EngineError::NoDevice(format!("{} cannot be opened: {error}", text.name)))?;
        let error: Arc<Mutex<Option<String>>> = Arc::default();
        let first_error = error.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            if let Ok(mut first) = first_error.lock() {
                first.get_or_insert_with(|| error.to_string());
            }
        }));
        let lost = health.clone();
        device.set_device_lost_callback(move |reason, text| lost.set_lost(format!("{reason:?} {text}").trim()));
        let pipelines = Pipelines::new(&device, options);
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        let nothing = device.create_buffer(&BufferDescriptor { label: Some("nothing"), size: 16, usage, mapped_at_creation: false });
        let nothing = Arc::new(Counted::new(nothing, &health));
        let mut opened = Device {
            pipelines,
            memory: Memory::default(),
            health,
            device,
            queue,
            budget_bytes: options.budget_bytes.unwrap_or(u64::MAX),
            limits,
            recorded: None,
            recorded_items: 0,
            submission_items: SUBMISSION_ITEMS,
            uploads_pending: 0,
            unfinished: VecDeque::new(),
            submissions: 0,
            answers: VecDeque::new(),
            #[cfg(test)]
            dispatches: 0,
            #[cfg(test)]
            trace: Vec::new(),
            #[cfg(test)]
            capacity_bytes: u64::MAX,
            error,
            refusals: 0,
            nothing,
        };
        opened.memory.begin_submission(1);
        opened.check()?;
        Ok((opened, text))
    }

    /// A buffer that is not read.
    pub fn nothing(&self) -> Arc<Counted> {
        self.nothing.clone()
    }

    /// The largest buffer that can be bound.
    pub fn binding_bytes_max(&self) -> u64 {
        self.limits.max_storage_buffer_binding_size
    }

    pub fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }

    /// A buffer of at least `bytes`, zeroed.
    ///
    /// # Errors
    /// It does not fit, even with everything evicted that is not in use.
    pub fn buffer(&mut self, label: &str, bytes: u64) -> Result<Arc<Counted>, EngineError> {
        self.buffer_for(label, bytes, BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC)
    }

    fn buffer_for(&mut self, label: &str, bytes: u64, usage: BufferUsages) -> Result<Arc<Counted>, EngineError> {
        let size = bytes.next_multiple_of(4).max(16);
        let mut free_after = None;
        while self.health.memory_bytes.load(Ordering::Relaxed) + size > self.budget_bytes {
            free_after = free_after.max(Some(self.evict(size, self.budget_bytes)?));
        }
        // What was evicted is free when the commands that used it are done. What the device is at is newer than the least recently
        // used: so a segment goes up while the one before it is counted.
        if let Some(submission) = free_after {
            self.finish_through(submission)?;
        }
        loop {
            self.health.step();
            let scope = self.device.push_error_scope(ErrorFilter::OutOfMemory);
            let buffer = self.device.create_buffer(&BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false });
            let refused = pollster::block_on(scope.pop()).is_some();
            #[cfg(test)]
            let refused = refused || self.health.memory_bytes.load(Ordering::Relaxed) + size > self.capacity_bytes;
            if !refused {
                return Ok(Arc::new(Counted::new(buffer, &self.health)));
            }
            if self.evict(size, self.health.memory_bytes.load(Ordering::Relaxed)).is_err() {
                // Nothing of ours is in the way: opened anew the device may have room, and otherwise the policy holds.
                self.health.set_lost(format!("it has no memory for {size} bytes more, with all let go that can be"));
            }
            self.finish()?;
        }
    }

    /// Lets go of a buffer, which is free when the submission of this number is done.
    fn evict(&mut self, wanted_bytes: u64, budget_bytes: u64) -> Result<u64, EngineError> {
        loop {
            if let Some(submission) = self.memory.evict() {
                return Ok(submission);
            }
            if self.answers.is_empty() {
                let needed_bytes = self.health.memory_bytes.load(Ordering::Relaxed) + wanted_bytes;
                return Err(EngineError::DeviceMemory { needed_bytes, budget_bytes });
            }
            // What an answer comes back through is free once it is passed on.
            self.answer_oldest();
        }
    }

    /// Room to work in, of at least `bytes`; its contents are what the last user left.
    ///
    /// # Errors
    /// As [`Device::buffer`].
    pub fn room(&mut self, what: &'static str, bytes: u64) -> Result<Arc<Counted>, EngineError> {
        let key = ResidentKey { engine: 0, segment: 0, what: Resident::Room(what) };
        self.room_at(key, what, bytes, BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC)
    }

    fn room_at(&mut self, key: ResidentKey, label: &str, bytes: u64, usage: BufferUsages) -> Result<Arc<Counted>, EngineError> {
        if let Some(buffer) = self.memory.get(&key).filter(|buffer| buffer.size() >= bytes) {
            return Ok(buffer);
        }
        self.memory.release(|other| *other == key);
        // Rooms grow by powers of two, so that slightly larger questions find them large enough.
        let bytes = bytes.next_power_of_two().min(self.binding_bytes_max().max(bytes));
        let buffer = self.buffer_for(label, bytes, usage)?;
        self.memory.insert(key, buffer.clone());
        Ok(buffer)
    }

    /// Records zeroing the first bytes of a buffer.
    pub fn clear(&mut self, buffer: &Counted, bytes: u64) {
        self.encoder().clear_buffer(buffer, 0, Some(bytes));
    }

    /// Records a dispatch of at least `workgroups` workgroups, numbered `y * width + x`. `bindings` are (number, buffer).
    pub fn dispatch(&mut self, pipeline: fn(&Pipelines) -> &ComputePipeline, bindings: &[(u32, &Counted)], workgroups: u32) {
        let (x, y) = self.grid(workgroups);
        self.dispatch_grid(pipeline, bindings, x, y);
    }

    /// Records a dispatch of `x` by `y` workgroups.
    pub fn dispatch_grid(&mut self, pipeline: fn(&Pipelines) -> &ComputePipeline, bindings: &[(u32, &Counted)], x: u32, y: u32) {
        let entries: Vec<BindGroupEntry> = bindings
            .iter()
            .map(|&(binding, buffer)| BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let pipeline = pipeline(&self.pipelines).clone();
        let layout = pipeline.get_bind_group_layout(0);
        let group = self.device.create_bind_group(&BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
        let mut pass = self.encoder().begin_compute_pass(&ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(x, y, 1);
        drop(pass);
        #[cfg(test)]
        {
            self.dispatches += 1;
        }
    }

    fn grid(&self, workgroups: u32) -> (u32, u32) {
        let width = self.limits.max_compute_workgroups_per_dimension;
        if workgroups <= width { (workgroups, 1) } else { (width, workgroups.div_ceil(width)) }
    }

    fn encoder(&mut self) -> &mut CommandEncoder {
        self.recorded.get_or_insert_with(|| self.device.create_command_encoder(&Default::default()))
    }

    /// Between pieces of work: submits once enough is recorded, so that the device works while the host prepares more, and no
    /// submission takes long. `items` is how many points or cells the piece looks at.
    ///
    /// # Errors
    /// As [`Device::finish`].
    pub fn pace(&mut self, items: u64) -> Result<(), EngineError> {
        self.recorded_items += items;
        if self.recorded_items >= self.submission_items { self.submit() } else { Ok(()) }
    }

    fn submit(&mut self) -> Result<(), EngineError> {
        self.health.step();
        (self.uploads_pending, self.recorded_items) = (0, 0);
        let submission = self.queue.submit(self.recorded.take().map(CommandEncoder::finish));
        self.submissions += 1;
        self.memory.begin_submission(self.submissions + 1);
        #[cfg(test)]
        self.trace.push(Step::Submitted(self.submissions));
        self.unfinished.push_back((self.submissions, submission));
        while self.unfinished.len() > SUBMISSIONS_UNFINISHED_MAX {
            self.wait_for_one()?;
        }
        Ok(())
    }

    /// Submits and waits until the device is idle.
    ///
    /// # Errors
    /// The device was lost, does not finish a submission in time, or refused a command.
    pub fn finish(&mut self) -> Result<(), EngineError> {
        self.submit()?;
        while !self.unfinished.is_empty() {
            self.wait_for_one()?;
        }
        self.check()
    }

    /// Waits until the device has done the submission of this number, and those before it.
    fn finish_through(&mut self, submission: u64) -> Result<(), EngineError> {
        if submission > self.submissions {
            self.submit()?;
        }
        while self.unfinished.front().is_some_and(|&(number, _)| number <= submission) {
            self.wait_for_one()?;
        }
        self.check()
    }

    fn wait_for_one(&mut self) -> Result<(), EngineError> {
        #[cfg(test)]
        self.trace.extend(self.unfinished.front().map(|&(number, _)| Step::WaitedFor(number)));
        let Some((_, submission)) = self.unfinished.pop_front() else { return Ok(()) };
        let timeout = self.health.hang_timeout();
        self.health.step();
        let polled = self.device.poll(PollType::Wait { submission_index: Some(submission), timeout: Some(timeout) });
        self.health.step();
        match polled {
            Ok(_) => {}
            Err(PollError::Timeout) => self.health.set_lost(format!("it has not finished within {timeout:?}")),
            Err(error) => self.health.set_lost(error.to_string()),
        }
        self.health.check()
    }

    /// # Errors
    /// The device was lost, or a command was refused.
    pub fn check(&mut self) -> Result<(), EngineError> {
        self.health.check()?;
        match self.error.lock().ok().and_then(|mut error| error.take()) {
            Some(error) => {
                // A lost device refuses everything: let it say so first. An error of the poll itself is the same news.
                let _ = self.device.poll(PollType::Poll);
                self.health.check()?;
                // What is resident may be what the refused command should have made.
                self.memory.release(|_| true);
                self.refusals += 1;
                Err(EngineError::Internal(format!("the GPU refused a command: {error}")))
            }
            None => Ok(()),
        }
    }

    /// After a piece of work that may have ended early: submits what it recorded, because what is resident counts on it.
    pub fn settle(&mut self) {
        if self.recorded.is_some() {
            // A loss is noted, and met by whoever asks next.
            let _ = self.submit();
        }
    }

    /// Dispatches so far. For tests of how few a question takes.
    #[cfg(test)]
    pub fn dispatches(&self) -> u64 {
        self.dispatches
    }

    /// Has submissions look at fewer points or cells. For tests that have few points.
    #[cfg(test)]
    pub fn set_submission_items(&mut self, items: u64) {
        self.submission_items = items;
    }

    /// As if the device could have only so many workgroups side by side. For tests of dispatches in two dimensions.
    #[cfg(test)]
    pub fn set_workgroups_across_max(&mut self, max: u32) {
        self.limits.max_compute_workgroups_per_dimension = max;
    }

    /// As if the driver gave no more than so many bytes. For tests of what follows.
    #[cfg(test)]
    pub fn set_capacity_bytes(&mut self, max: u64) {
        self.capacity_bytes = max;
    }

    /// As if the device had been pulled out. For tests of what follows.
    #[cfg(test)]
    pub fn destroy(&self) {
        self.device.destroy();
    }
}

/// Workgroups for one invocation per item.
pub(super) fn workgroups(items: u32) -> u32 {
    items.div_ceil(WORKGROUP)
}
