//! The thread that owns a device: it alone submits and polls, so nobody waits for another's lock or poll.
//!
//! Callers hand it closures and wait for their answers. While an answer comes back the thread goes on with the next closure,
//! so the device is not idle between questions. Whatever happens to the device or to its driver, every caller gets an
//! answer: see [`Health`].

use super::GpuOptions;
use super::adapter::{Adapters, AdapterText};
use super::device::{Device, READINGS_MAX, Reading};
use super::health::Health;
use crate::engine::EngineError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// How long a GPU that nobody uses any more may take to let its device go. A process that ends while a driver still takes a
/// device down may crash in the driver's own end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Questions that wait for the device, at most: more than the service lets in at once.
const JOBS_MAX: usize = 256;

/// How often those who wait look whether the device still answers.
const TICK: Duration = Duration::from_millis(50);

/// How long opening a device may take: drivers compile the shaders then, which took 1 s on a busy machine.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);

type Job = Box<dyn FnOnce(&mut Device) + Send>;

/// What makes an answer of the words that came back, on the thread of whoever asked: the device's has better things to do.
type Finish<T> = Box<dyn FnOnce(Vec<u32>) -> Result<T, EngineError> + Send>;

/// What a piece of work on the device comes to.
pub(super) enum Answer<T> {
    Now(T),
    /// When these words have come back.
    Later(Reading, Finish<T>),
}

impl<T> Answer<T> {
    /// What `finish` makes of the words of a reading.
    pub fn later(reading: Reading, finish: impl FnOnce(Vec<u32>) -> Result<T, EngineError> + Send + 'static) -> Answer<T> {
        Answer::Later(reading, Box::new(finish))
    }
}

/// A GPU. One serves all datasets of a process.
pub struct Gpu {
    jobs: SyncSender<Job>,
    /// Closed when the thread has let its device go.
    closed: Mutex<Receiver<()>>,
    health: Arc<Health>,
    text: AdapterText,
    binding_bytes_max: u64,
    budget_bytes: u64,
    engines: AtomicU64,
}

/// The GPU of this process, while an engine uses it.
static SHARED: Mutex<Weak<Gpu>> = Mutex::new(Weak::new());

impl Gpu {
    /// The GPU that the engines of this process share: opened by the first, with its options, and again after it was lost.
    ///
    /// # Errors
    /// [`EngineError::NoDevice`], with the reason.
    pub fn shared(adapters: Adapters, options: &GpuOptions) -> Result<Arc<Gpu>, EngineError> {
        let mut shared = SHARED.lock().expect("no code panics while it holds this lock");
        let usable = |gpu: &Arc<Gpu>| gpu.health.check().is_ok() && (adapters == Adapters::Any || !gpu.text.software);
        if let Some(gpu) = shared.upgrade().filter(usable) {
            return Ok(gpu);
        }
        let gpu = Gpu::open(adapters, options)?;
        *shared = Arc::downgrade(&gpu);
        Ok(gpu)
    }

    /// Opens a device of its own.
    ///
    /// # Errors
    /// [`EngineError::NoDevice`], with the reason.
    pub fn open(adapters: Adapters, options: &GpuOptions) -> Result<Arc<Gpu>, EngineError> {
        let health = Arc::new(Health::new(options.hang_timeout));
        let (jobs, waiting) = sync_channel::<Job>(JOBS_MAX);
        let (opened, answer) = sync_channel(1);
        let (open, closed) = sync_channel::<()>(1);
        let (options, its_health) = (options.clone(), health.clone());
        let run = move || {
            match Device::open(adapters, &options, its_health) {
                Ok((device, text)) => {
                    let _ = opened.send(Ok((text, device.binding_bytes_max(), device.budget_bytes())));
                    work(device, &waiting);
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            }
            drop(open);
        };
        std::thread::Builder::new()
            .name("gpu".to_owned())
            .spawn(run)
            .map_err(|error| EngineError::Internal(format!("start the GPU's thread: {error}")))?;
        let (text, binding_bytes_max, budget_bytes) = answer
            .recv_timeout(OPEN_TIMEOUT)
            .map_err(|_| EngineError::NoDevice(format!("its driver did not open it within {OPEN_TIMEOUT:?}")))??;
        Ok(Arc::new(Gpu { jobs, closed: Mutex::new(closed), health, text, binding_bytes_max, budget_bytes, engines: AtomicU64::new(0) }))
    }

    /// What the device is.
    pub fn text(&self) -> &AdapterText {
        &self.text
    }

    /// The largest buffer that its shaders can be handed.
    pub(super) fn binding_bytes_max(&self) -> u64 {
        self.binding_bytes_max
    }

    /// Bytes of device memory that may be used.
    pub(super) fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }

    /// Bytes of all its buffers.
    pub fn memory_bytes(&self) -> u64 {
        self.health.memory_bytes.load(Ordering::Relaxed)
    }

    /// The most bytes that its buffers ever had together.
    pub fn memory_peak_bytes(&self) -> u64 {
        self.health.memory_peak_bytes.load(Ordering::Relaxed)
    }

    /// Whether it was lost.
    pub fn is_lost(&self) -> bool {
        self.health.check().is_err()
    }

    /// A number for the next engine: resident buffers are named by it. 0 is nobody's.
    pub(super) fn engine_number(&self) -> u64 {
        self.engines.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// As [`Gpu::ask`], for work that has its answer at once.
    #[cfg(test)]
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Device) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        self.ask(move |device| work(device).map(Answer::Now))
    }

    /// Has the thread do something and waits for its answer, which may come back while the thread goes on.
    ///
    /// # Errors
    /// The work's own, or [`EngineError::DeviceLost`].
    pub(super) fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Device) -> Result<Answer<T>, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        type Rest<T> = Box<dyn FnOnce() -> Result<T, EngineError> + Send>;
        let (reply, answer) = sync_channel::<Result<Rest<T>, EngineError>>(1);
        // The caller may have left: then nobody wants the answer.
        let mut job: Job = Box::new(move |device| match work(device) {
            Ok(Answer::Now(answer)) => drop(reply.send(Ok(Box::new(move || Ok(answer))))),
            Ok(Answer::Later(reading, finish)) => device.answer_later(
                reading,
                Box::new(move |words| drop(reply.send(words.map(|words| Box::new(move || finish(words)) as Rest<T>)))),
            ),
            Err(error) => drop(reply.send(Err(error))),
        });
        loop {
            self.health.check_progress()?;
            match self.jobs.try_send(job) {
                Ok(()) => break,
                Err(TrySendError::Full(unsent)) => job = unsent,
                Err(TrySendError::Disconnected(_)) => return Err(self.ended()),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        loop {
            match answer.recv_timeout(TICK) {
                Ok(rest) => return rest?(),
                Err(RecvTimeoutError::Timeout) => self.health.check_progress()?,
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
            }
        }
    }

    /// Has the thread do something when it comes to it, wanting no answer. Not done where the device is gone: then there is
    /// nothing to do.
    pub(super) fn tell(&self, work: impl FnOnce(&mut Device) + Send + 'static) {
        let _ = self.jobs.try_send(Box::new(work));
    }

    /// The thread has panicked.
    fn ended(&self) -> EngineError {
        self.health.set_lost("its thread has ended");
        EngineError::DeviceLost("its thread has ended".to_owned())
    }
}

impl Drop for Gpu {
    /// Waits until the device is gone, unless it was lost: then its thread may never come back.
    fn drop(&mut self) {
        let (nobody, _) = sync_channel(1);
        self.jobs = nobody;
        if !self.is_lost() {
            let closed = self.closed.get_mut().expect("no code panics while it holds this lock");
            let _ = closed.recv_timeout(CLOSE_TIMEOUT);
        }
    }
}

fn work(mut device: Device, waiting: &Receiver<Job>) {
    loop {
        let job = if device.answers_pending() == 0 {
            device.health.idle();
            waiting.recv().map_err(|_| TryRecvError::Disconnected)
        } else {
            waiting.try_recv()
        };
        device.health.step();
        match job {
            Ok(job) => {
                job(&mut device);
                device.settle();
                device.answer_finished();
                // The next one needs a buffer to come back through.
                if device.answers_pending() == READINGS_MAX {
                    device.answer_oldest();
                }
            }
            Err(TryRecvError::Empty) => device.answer_oldest(),
            Err(TryRecvError::Disconnected) => break,
        }
    }
}
