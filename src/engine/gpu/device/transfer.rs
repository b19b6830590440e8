//! What goes to the device and comes back: uploads in pieces, and a ring of buffers to read back through, so that the device
//! works on while earlier answers are copied out.

use super::{Device, EngineError};
use crate::engine::gpu::memory::{Counted, Resident, ResidentKey};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use wgpu::{BufferUsages, MapMode, PollType};

/// Bytes written to buffers but not submitted yet, at most: the copies wait in memory of the driver. What is submitted goes
/// up while the host reads the next piece.
const UPLOADS_PENDING_MAX: u64 = 64 << 20;

/// Answers on their way back at a time, at most: one that is copied out, one that is copied from the device's memory, and
/// one that is being counted.
pub(in crate::engine::gpu) const READINGS_MAX: usize = 3;

/// What [`Device::copy_bandwidth`] copies: more than any cache holds, and so often that a round takes long enough; twice that
/// long at most, so that no device is taken for hung.
const COPY_BYTES_MAX: u64 = 256 << 20;
const COPY_ROUND_MIN: Duration = Duration::from_millis(50);
const COPY_ROUNDS: u32 = 5;
const COPIES_MAX: u64 = 1 << 12;

/// An answer on its way back.
pub(in crate::engine::gpu) struct Reading {
    staging: Arc<Counted>,
    bytes: u64,
    /// Whether it could be mapped, once that is known.
    mapped: Arc<OnceLock<bool>>,
    submission: u64,
    /// [`Device::refusals`] when it was asked for.
    refusals: u64,
}

/// Who waits for an answer, and wants its words.
pub(in crate::engine::gpu) type Reply = Box<dyn FnOnce(Result<Vec<u32>, EngineError>) + Send>;

impl Device {
    /// A new buffer with these pieces one after the other, each padded to whole words.
    ///
    /// # Errors
    /// As [`Device::buffer`].
    pub fn upload(&mut self, label: &str, pieces: &[&[u8]]) -> Result<Arc<Counted>, EngineError> {
        let mut words = 0;
        let placed: Vec<(u32, &[u8])> = pieces
            .iter()
            .map(|&piece| {
                let place = words;
                words += piece.len().div_ceil(4) as u32;
                (place, piece)
            })
            .collect();
        self.upload_placed(label, words.into(), placed)
    }

    /// The resident buffer of this name, uploaded now if it is not there: so many words, with pieces at some of them and
    /// zeros between.
    ///
    /// # Errors
    /// As [`Device::buffer`].
    pub fn resident<'a>(
        &mut self,
        key: ResidentKey,
        label: &str,
        words: u64,
        pieces: impl IntoIterator<Item = (u32, &'a [u8])>,
    ) -> Result<Arc<Counted>, EngineError> {
        if let Some(buffer) = self.memory.get(&key) {
            return Ok(buffer);
        }
        let buffer = self.upload_placed(label, words, pieces)?;
        self.memory.insert(key, buffer.clone());
        Ok(buffer)
    }

    fn upload_placed<'a>(
        &mut self,
        label: &str,
        words: u64,
        pieces: impl IntoIterator<Item = (u32, &'a [u8])>,
    ) -> Result<Arc<Counted>, EngineError> {
        let buffer = self.buffer(label, 4 * words)?;
        #[cfg(test)]
        self.trace.push(super::Step::Uploaded(label.to_owned()));
        for (place, piece) in pieces {
            let offset = 4 * u64::from(place);
            let (whole, rest) = piece.split_at(piece.len() / 4 * 4);
            self.queue.write_buffer(&buffer, offset, whole);
            if !rest.is_empty() {
                let mut word = [0; 4];
                word[..rest.len()].copy_from_slice(rest);
                self.queue.write_buffer(&buffer, offset + whole.len() as u64, &word);
            }
            self.uploads_pending += piece.len() as u64;
            if self.uploads_pending > UPLOADS_PENDING_MAX {
                self.submit()?;
            }
        }
        Ok(buffer)
    }

    /// Asks for the first words of each buffer, after everything recorded, one buffer after the other. At most
    /// [`READINGS_MAX`] may be under way.
    ///
    /// # Errors
    /// As [`Device::finish`] and [`Device::buffer`].
    pub fn begin_read(&mut self, buffers: &[(&Counted, u64)]) -> Result<Reading, EngineError> {
        let bytes = 4 * buffers.iter().map(|(_, words)| words).sum::<u64>();
        let staging = self.staging(bytes)?;
        let mut offset = 0;
        for &(buffer, words) in buffers {
            self.encoder().copy_buffer_to_buffer(buffer, 0, &staging, offset, Some(4 * words));
            offset += 4 * words;
        }
        self.submit()?;
        let mapped: Arc<OnceLock<bool>> = Arc::default();
        let answer = mapped.clone();
        // It is asked once, so the answer is the first.
        staging.slice(..bytes).map_async(MapMode::Read, move |result| {
            let _ = answer.set(result.is_ok());
        });
        let reading = Reading { staging, bytes, mapped, submission: self.submissions, refusals: self.refusals };
        // What was refused until now concerns this answer: it is met here, and not by whoever comes next.
        self.check()?;
        Ok(reading)
    }

    /// Waits for an answer and copies it out. The device goes on with what was submitted later.
    ///
    /// # Errors
    /// As [`Device::finish`].
    pub fn end_read(&mut self, reading: Reading) -> Result<Vec<u32>, EngineError> {
        self.finish_through(reading.submission)?;
        if self.refusals != reading.refusals {
            return Err(EngineError::Internal("the GPU refused a command while it was at this one".to_owned()));
        }
        if reading.mapped.get() != Some(&true) {
            self.health.set_lost("its memory cannot be read back");
            self.health.check()?;
        }
        let view = reading.staging.slice(..reading.bytes).get_mapped_range();
        view.map(|view| bytemuck::pod_collect_to_vec(&view))
            .map_err(|error| EngineError::Internal(format!("read back: {error}")))
    }

    /// The first words of each buffer, now.
    ///
    /// # Errors
    /// As [`Device::finish`] and [`Device::buffer`].
    pub fn read(&mut self, buffers: &[(&Counted, u64)]) -> Result<Vec<u32>, EngineError> {
        let reading = self.begin_read(buffers)?;
        self.end_read(reading)
    }

    /// Bytes per second, read plus written, of copies within the device's memory: the best of some rounds, each long enough
    /// that what it takes to begin one does not count.
    ///
    /// # Errors
    /// As [`Device::finish`] and [`Device::buffer`].
    pub fn copy_bandwidth(&mut self) -> Result<f64, EngineError> {
        let bytes = COPY_BYTES_MAX.min(self.budget_bytes() / 16 * 4);
        let (from, to) = (self.buffer("copy from", bytes)?, self.buffer("copy to", bytes)?);
        let (mut copies, mut best) = (1, 0.0f64);
        let mut rounds = 0;
        while rounds < COPY_ROUNDS {
            self.finish()?;
            let started = Instant::now();
            for _ in 0..copies {
                self.encoder().copy_buffer_to_buffer(&from, 0, &to, 0, Some(bytes));
            }
            self.finish()?;
            let took = started.elapsed();
            if took < COPY_ROUND_MIN && copies < COPIES_MAX {
                copies *= 2;
                continue;
            }
            best = best.max((2 * bytes * copies) as f64 / took.as_secs_f64());
            rounds += 1;
        }
        Ok(best)
    }

    /// Keeps an answer that is on its way back, for [`Device::answer_oldest`] to pass on.
    pub fn answer_later(&mut self, reading: Reading, reply: Reply) {
        self.answers.push_back((reading, reply));
    }

    /// Answers that are on their way back.
    pub fn answers_pending(&self) -> usize {
        self.answers.len()
    }

    /// Passes on the answers that have come back.
    pub fn answer_finished(&mut self) {
        // Whether the device is lost is found out by whoever waits.
        let _ = self.device.poll(PollType::Poll);
        while self.answers.front().is_some_and(|(reading, _)| reading.mapped.get().is_some()) {
            self.answer_oldest();
        }
    }

    /// Waits for the oldest answer on its way back, if there is one, and passes it on, or the error that it met.
    pub fn answer_oldest(&mut self) {
        if let Some((reading, reply)) = self.answers.pop_front() {
            reply(self.end_read(reading));
        }
    }

    /// A buffer of the ring that no answer is in.
    fn staging(&mut self, bytes: u64) -> Result<Arc<Counted>, EngineError> {
        let key = |place| ResidentKey { engine: 0, segment: place, what: Resident::Staging };
        loop {
            if let Some(place) = (0..READINGS_MAX).find(|&place| !self.memory.is_held(&key(place))) {
                return self.room_at(key(place), "staging", bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST);
            }
            assert!(!self.answers.is_empty(), "a question ends one reading before it begins one too many");
            self.answer_oldest();
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // Ended or given up: its buffer is free for the next.
        self.staging.unmap();
    }
}
