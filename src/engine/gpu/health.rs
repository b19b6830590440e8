//! Whether the device still answers: written by the thread that drives it, read by those who wait for it.

use crate::engine::EngineError;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(super) struct Health {
    base: Instant,
    /// When the step that the thread is at began: milliseconds after `base`, plus 1; 0 while it is idle.
    step_began: AtomicU64,
    hang_timeout: Duration,
    lost: OnceLock<String>,
    /// Bytes of all buffers that are alive.
    pub memory_bytes: AtomicU64,
    /// The most they ever were.
    pub memory_peak_bytes: AtomicU64,
}

impl Health {
    pub fn new(hang_timeout: Duration) -> Health {
        Health {
            base: Instant::now(),
            step_began: AtomicU64::new(0),
            hang_timeout,
            lost: OnceLock::new(),
            memory_bytes: AtomicU64::new(0),
            memory_peak_bytes: AtomicU64::new(0),
        }
    }

    pub fn hang_timeout(&self) -> Duration {
        self.hang_timeout
    }

    /// The thread begins a step that should take less than the timeout.
    pub fn step(&self) {
        self.step_began.store(self.now() + 1, Ordering::Relaxed);
    }

    pub fn idle(&self) {
        self.step_began.store(0, Ordering::Relaxed);
    }

    /// The first reason stays.
    pub fn set_lost(&self, why: impl Into<String>) {
        let why = why.into();
        if self.lost.set(why.clone()).is_ok() {
            tracing::error!("the GPU was lost: {why}");
        }
    }

    /// # Errors
    /// The device is lost.
    pub fn check(&self) -> Result<(), EngineError> {
        match self.lost.get() {
            Some(why) => Err(EngineError::DeviceLost(why.clone())),
            None => Ok(()),
        }
    }

    /// Also notices a driver call that does not return. Its own timeouts come first, so they get twice as long.
    ///
    /// # Errors
    /// The device is lost.
    pub fn check_progress(&self) -> Result<(), EngineError> {
        let began = self.step_began.load(Ordering::Relaxed);
        let limit = 2 * self.hang_timeout.as_millis() as u64;
        if began > 0 && self.now().saturating_sub(began - 1) > limit {
            self.set_lost(format!("a call to its driver has not returned for {:?}", 2 * self.hang_timeout));
        }
        self.check()
    }

    fn now(&self) -> u64 {
        self.base.elapsed().as_millis() as u64
    }
}
