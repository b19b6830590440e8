//! Timing: repeated runs, their median and 95th percentile, and what the machine can copy.

use super::report::Measurement;
use rayon::prelude::*;
use std::time::{Duration, Instant};

/// Runs until there are enough samples and half a second has gone by, or there are many.
pub(super) struct Timer {
    samples_min: usize,
    samples_max: usize,
    started: Instant,
    samples: Vec<Duration>,
    processor: Duration,
}

/// Enough to see noise, little enough that a benchmark of some hundred rows stays within a minute or two.
const ENOUGH: Duration = Duration::from_millis(300);

/// Processor time that is worth telling: a running thread's is known to the system's tick, of one to four milliseconds.
const PROCESSOR_TIME_MIN: Duration = Duration::from_millis(40);

impl Timer {
    pub(super) fn new(samples_min: usize, samples_max: usize) -> Timer {
        Timer { samples_min, samples_max, started: Instant::now(), samples: Vec::new(), processor: Duration::ZERO }
    }

    pub(super) fn again(&self) -> bool {
        self.samples.len() < self.samples_min
            || self.samples.len() < self.samples_max && self.started.elapsed() < ENOUGH
    }

    pub(super) fn run<T, E>(&mut self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let before = processor_time();
        let started = Instant::now();
        let answer = work()?;
        self.samples.push(started.elapsed());
        self.processor += processor_time().saturating_sub(before);
        Ok(answer)
    }

    pub(super) fn into_measurement(mut self, what: &str, detail: String) -> Measurement {
        self.samples.sort_unstable();
        let at = |share: f64| {
            let place = ((self.samples.len() - 1) as f64 * share).round() as usize;
            self.samples[place].as_secs_f64() * 1e3
        };
        Measurement {
            what: what.to_owned(),
            detail,
            median_ms: at(0.5),
            p95_ms: at(0.95),
            samples: self.samples.len(),
            processor_ms: (self.processor >= PROCESSOR_TIME_MIN)
                .then(|| self.processor.as_secs_f64() * 1e3 / self.samples.len() as f64),
            points_per_sec: None,
            bytes_per_sec: None,
        }
    }
}

/// Processor time of all threads of this program so far, which other programs do not lengthen. Zero where the system is not Linux.
fn processor_time() -> Duration {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return Duration::ZERO };
    let of_thread = |thread: std::fs::DirEntry| -> Option<u64> {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    Duration::from_nanos(threads.flatten().filter_map(of_thread).sum())
}

/// Bytes read plus bytes written per second, all threads copying arrays that no cache holds. Best of five: what the machine
/// can do, not what its neighbours leave.
pub(super) fn copy_bandwidth() -> f64 {
    const BYTES: usize = 256 << 20;
    const CHUNK: usize = 4 << 20;
    let from = vec![1u8; BYTES];
    let mut to = vec![0u8; BYTES];
    let best = (0..5)
        .map(|_| {
            let started = Instant::now();
            to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(to, from)| to.copy_from_slice(from));
            std::hint::black_box(&mut to);
            started.elapsed()
        })
        .min()
        .expect("five runs have a best one");
    2.0 * BYTES as f64 / best.as_secs_f64()
}
