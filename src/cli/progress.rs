//! Progress of a long step: a bar with rate and time left on a terminal, one plain line at its end elsewhere.
//!
//! Shared by every command that works through rows, bytes or tiles. It writes to stderr only and knows nothing of what is being done.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// What the total of a step is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Rows,
    Tiles,
    Bytes,
}

/// One step of a command. Threads may share it; dropping it unfinished removes the bar and prints nothing.
pub struct Progress {
    step: String,
    unit: Unit,
    done: AtomicU64,
    /// What accompanies the measured amount: rows of a step measured in bytes, bytes of one measured in rows or tiles.
    beside: AtomicU64,
    started: Instant,
    bar: ProgressBar,
}

impl Progress {
    /// Starts a step. `step` is a verb ("generate", "read", "sort"); `total` is in `unit`, `None` when it cannot be known.
    pub fn start(step: impl Into<String>, unit: Unit, total: Option<u64>) -> Progress {
        // The bar hides itself when stderr is no terminal; it then costs an atomic add.
        let target = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(total, target)
            .with_style(style(unit, total.is_some()))
            .with_finish(ProgressFinish::AndClear);
        let step = step.into();
        bar.set_prefix(step.clone());
        Progress { step, unit, done: AtomicU64::new(0), beside: AtomicU64::new(0), started: Instant::now(), bar }
    }

    /// `amount` more of the step's unit is done.
    pub fn advance(&self, amount: u64) {
        self.done.fetch_add(amount, Ordering::Relaxed);
        self.bar.inc(amount);
    }

    /// `amount` more rows (of a step measured in bytes) or bytes (of one measured in rows or tiles) came along.
    pub fn count_beside(&self, amount: u64) {
        let beside = self.beside.fetch_add(amount, Ordering::Relaxed) + amount;
        if !self.bar.is_hidden() {
            self.bar.set_message(match self.unit {
                Unit::Bytes => format!("{} rows", HumanCount(beside)),
                Unit::Rows | Unit::Tiles => HumanBytes(beside).to_string(),
            });
        }
    }

    /// Ends the step: removes the bar and leaves one line with what was done.
    pub fn finish(self) {
        self.bar.finish_and_clear();
        let amounts = Amounts {
            unit: self.unit,
            done: self.done.load(Ordering::Relaxed),
            beside: self.beside.load(Ordering::Relaxed),
        };
        eprintln!("{}: {}", self.step, amounts.summary(self.started.elapsed()));
    }
}

/// What a step worked through, apart from the clock and the terminal so that its wording can be tested.
struct Amounts {
    unit: Unit,
    done: u64,
    beside: u64,
}

impl Amounts {
    fn summary(&self, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64();
        // A step too short for the clock has no meaningful rate.
        let per_second = |amount: u64| if seconds < 1e-3 { 0 } else { (amount as f64 / seconds) as u64 };
        match self.unit {
            Unit::Bytes => format!(
                "{} rows, {} in {seconds:.1} s ({} rows/s)",
                HumanCount(self.beside),
                HumanBytes(self.done),
                HumanCount(per_second(self.beside))
            ),
            Unit::Rows | Unit::Tiles => format!(
                "{} {noun}, {} in {seconds:.1} s ({} {noun}/s)",
                HumanCount(self.done),
                HumanBytes(self.beside),
                HumanCount(per_second(self.done)),
                noun = if self.unit == Unit::Rows { "rows" } else { "tiles" },
            ),
        }
    }
}

fn style(unit: Unit, total_is_known: bool) -> ProgressStyle {
    let template = match (unit, total_is_known) {
        (Unit::Bytes, true) => "{prefix} [{bar:30}] {bytes}/{total_bytes} {msg} {bytes_per_sec} {eta} left",
        (Unit::Bytes, false) => "{prefix} {spinner} {bytes} {msg} {bytes_per_sec} {elapsed}",
        (Unit::Rows, true) => "{prefix} [{bar:30}] {human_pos}/{human_len} rows {msg} {per_sec} {eta} left",
        (Unit::Rows, false) => "{prefix} {spinner} {human_pos} rows {msg} {per_sec} {elapsed}",
        (Unit::Tiles, true) => "{prefix} [{bar:30}] {human_pos}/{human_len} tiles {msg} {per_sec} {eta} left",
        (Unit::Tiles, false) => "{prefix} {spinner} {human_pos} tiles {msg} {per_sec} {elapsed}",
    };
    ProgressStyle::with_template(template).expect("the templates above are constants, and a test renders each")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_valid() {
        for unit in [Unit::Rows, Unit::Tiles, Unit::Bytes] {
            style(unit, true);
            style(unit, false);
        }
    }

    #[test]
    fn the_plain_line_names_rows_bytes_and_rate() {
        let rows = Amounts { unit: Unit::Rows, done: 3_000_000, beside: 2048 };
        assert_eq!(rows.summary(Duration::from_secs(2)), "3,000,000 rows, 2.00 KiB in 2.0 s (1,500,000 rows/s)");
        let bytes = Amounts { unit: Unit::Bytes, done: 2048, beside: 3_000_000 };
        assert_eq!(bytes.summary(Duration::from_secs(2)), "3,000,000 rows, 2.00 KiB in 2.0 s (1,500,000 rows/s)");
    }

    #[test]
    fn threads_share_a_step() {
        let progress = Progress::start("count", Unit::Tiles, Some(400));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| progress.advance(1)));
            }
        });
        assert_eq!(progress.done.load(Ordering::Relaxed), 400);
    }
}
