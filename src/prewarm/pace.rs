//! When to go on: not while the machine or a server has other work, and not once somebody has said stop.

use super::PrewarmError;
use super::traffic::Traffic;
use crate::engine::Cancel;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a run that waits looks again. The kernel renews the load every five seconds.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often a run that waits looks whether it is to stop.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

/// Says that a run is to end early. What is under way is finished, unless it is given up too.
pub struct Stop {
    is_asked: AtomicBool,
    cancel: Cancel,
}

impl Stop {
    pub fn new() -> Stop {
        Stop { is_asked: AtomicBool::new(false), cancel: Cancel::never() }
    }

    /// No tile is begun any more.
    pub fn ask(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
    }

    /// Tiles under way are given up.
    pub fn give_up(&self) {
        self.ask();
        self.cancel.cancel();
    }

    pub(super) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }

    pub(super) fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}

impl Default for Stop {
    fn default() -> Stop {
        Stop::new()
    }
}

/// Yields to live traffic: a run waits while the machine's load is above a bound, and while a server works for somebody.
pub(super) struct Pace<'a> {
    load_max: Option<f64>,
    load: &'a (dyn Fn() -> std::io::Result<f64> + Sync),
    traffic: Option<Traffic>,
    pub waited: Duration,
}

impl<'a> Pace<'a> {
    pub(super) fn new(
        load_max: Option<f64>,
        load: &'a (dyn Fn() -> std::io::Result<f64> + Sync),
        traffic: Option<Traffic>,
    ) -> Pace<'a> {
        Pace { load_max, load, traffic, waited: Duration::ZERO }
    }

    /// Returns when the load and the server allow it, or the run is to stop.
    ///
    /// # Errors
    /// The machine does not say what its load is, or the server does not say what it does.
    pub(super) fn wait(&mut self, stop: &Stop) -> Result<(), PrewarmError> {
        let started = Instant::now();
        while !stop.is_asked() && self.is_to_wait()? {
            let looked = Instant::now();
            while !stop.is_asked() && looked.elapsed() < LOOK_INTERVAL {
                std::thread::sleep(STOP_INTERVAL);
            }
        }
        self.waited += started.elapsed();
        Ok(())
    }

    fn is_to_wait(&mut self) -> Result<bool, PrewarmError> {
        let is_loaded = match self.load_max {
            Some(load_max) => (self.load)().map_err(PrewarmError::Load)? > load_max,
            None => false,
        };
        Ok(match &mut self.traffic {
            Some(traffic) => traffic.is_live()? || is_loaded,
            None => is_loaded,
        })
    }
}

/// The load of the last minute: threads that run or wait to run, this program's own among them.
pub(super) fn load_average() -> std::io::Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    let first = text.split(' ').next().and_then(|number| number.parse().ok());
    first.ok_or_else(|| std::io::Error::other(format!("/proc/loadavg says '{}'", text.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn a_run_waits_while_the_load_is_high() {
        let looks = AtomicU32::new(0);
        // High when it is first asked for, then low.
        let load = || Ok(if looks.fetch_add(1, Ordering::Relaxed) == 0 { 9.0 } else { 1.0 });
        let mut pace = Pace::new(Some(2.0), &load, None);
        pace.wait(&Stop::new()).unwrap();
        assert_eq!(looks.load(Ordering::Relaxed), 2);
        assert!(pace.waited >= LOOK_INTERVAL);
        let mut free = Pace::new(None, &load, None);
        free.wait(&Stop::new()).unwrap();
        assert_eq!(looks.load(Ordering::Relaxed), 2, "who has no bound does not look");
    }

    #[test]
    fn a_run_that_waits_can_be_stopped_and_an_unknown_load_is_said() {
        let stop = Stop::new();
        let high = || {
            stop.ask();
            Ok(9.0)
        };
        Pace::new(Some(2.0), &high, None).wait(&stop).unwrap();
        let unknown = || Err(std::io::Error::other("no such file"));
        assert!(matches!(Pace::new(Some(2.0), &unknown, None).wait(&Stop::new()), Err(PrewarmError::Load(_))));
        assert!(!cfg!(target_os = "linux") || load_average().unwrap() >= 0.0);
    }
}
