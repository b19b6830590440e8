//! What happens when an engine's device is lost: it is opened once more, and then the policy holds.
//!
//! Stands between the service and a GPU engine, and knows neither: it is told how to open the engine again and what to use
//! instead. The question that met the loss is asked again, so a caller sees an answer or an error, never a wrong tile.

use super::{
    Aggregate, Cancel, CountGrid, Distribution, Engine, EngineError, EngineInfo, Groups, Histogram, HistogramRequest,
    LinkedCounts, LinkedQuestion, PartialGrid, Selection, SelectionBody, ValueDistribution, ValueGrid,
};
use crate::filter::{Filter, Region};
use crate::world::{TileId, Zoom};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What to do when a device is lost for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnDeviceLoss {
    /// Count on the CPU from then on, and say so.
    #[default]
    Cpu,
    /// Answer with errors.
    Fail,
}

/// Opens an engine over the same dataset.
pub type Reopen = Box<dyn Fn() -> Result<Arc<dyn Engine>, EngineError> + Send + Sync>;

/// How often a lost device is opened again. Once: a device that is lost twice is broken, and every loss costs seconds.
const REOPENINGS_MAX: u32 = 1;

pub struct Failover {
    state: Mutex<State>,
    reopen: Reopen,
    /// `None` where the policy is to fail.
    instead: Option<Reopen>,
}

struct State {
    engine: Arc<dyn Engine>,
    /// Which engine this is: 0 is the first. Selections of older ones are made anew.
    generation: u64,
    reopenings: u32,
    trouble: Option<String>,
    /// Why there is no engine any more.
    failed: Option<String>,
}

/// The selection that the engine of a generation made.
struct Made {
    latest: Mutex<(u64, Arc<Selection>)>,
}

impl Failover {
    pub fn new(engine: Arc<dyn Engine>, reopen: Reopen, instead: Option<Reopen>) -> Failover {
        let state = State { engine, generation: 0, reopenings: 0, trouble: None, failed: None };
        Failover { state: Mutex::new(state), reopen, instead }
    }

    /// Asks the engine of the day, and once more whenever it was replaced because of the question.
    fn ask<T>(&self, question: impl Fn(&dyn Engine, u64) -> Result<T, EngineError>) -> Result<T, EngineError> {
        loop {
            let (engine, generation) = {
                let state = locked(&self.state);
                if let Some(why) = &state.failed {
                    return Err(EngineError::DeviceLost(why.clone()));
                }
                (state.engine.clone(), state.generation)
            };
            match question(&*engine, generation) {
                Err(EngineError::DeviceLost(why)) => self.replace(generation, &why)?,
                answer => return answer,
            }
        }
    }

    /// Replaces the engine of a generation, unless somebody has done so already. At most [`REOPENINGS_MAX`] + 1 times.
    fn replace(&self, generation: u64, why: &str) -> Result<(), EngineError> {
        let mut state = locked(&self.state);
        if state.generation != generation || state.failed.is_some() {
            return Ok(());
        }
        state.generation += 1;
        if state.reopenings < REOPENINGS_MAX {
            state.reopenings += 1;
            match (self.reopen)() {
                Ok(engine) => {
                    tracing::warn!("the GPU was lost ({why}) and opened again");
                    state.trouble = Some(format!("the GPU was lost and opened again: {why}"));
                    state.engine = engine;
                    return Ok(());
                }
                Err(error) => tracing::error!("the GPU cannot be opened again: {error}"),
            }
        }
        let Some(instead) = &self.instead else {
            tracing::error!("the GPU is lost for good ({why}): questions fail from now on");
            state.trouble = Some(format!("the GPU was lost: {why}"));
            state.failed = Some(why.to_owned());
            return Err(EngineError::DeviceLost(why.to_owned()));
        };
        tracing::error!("the GPU is lost for good ({why}): counting on the CPU from now on");
        state.trouble = Some(format!("the GPU was lost, counting on the CPU: {why}"));
        state.engine = instead()?;
        Ok(())
    }

    /// Asks about a selection, making it anew where it is an older engine's.
    fn ask_about<T>(
        &self,
        selection: &Selection,
        cancel: &Cancel,
        question: impl Fn(&dyn Engine, &Selection) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let made = match &selection.body {
            SelectionBody::Device(body) => body.downcast_ref::<Made>(),
            SelectionBody::Host(_) | SelectionBody::Everything => None,
        };
        let made = made.ok_or_else(|| EngineError::Internal("a selection was asked of an engine that did not make it".to_owned()))?;
        self.ask(|engine, generation| {
            let latest = {
                let mut latest = locked(&made.latest);
                if latest.0 != generation {
                    *latest = (generation, engine.select(&selection.filter, &selection.groups, cancel)?);
                }
                latest.1.clone()
            };
            question(engine, &latest)
        })
    }
}

/// The state stays whole wherever a holder of the lock panics.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine for Failover {
    fn info(&self) -> EngineInfo {
        let state = locked(&self.state);
        EngineInfo { trouble: state.trouble.clone(), ..state.engine.info() }
    }

    fn copy_bandwidth(&self) -> Result<Option<f64>, EngineError> {
        self.ask(|engine, _| engine.copy_bandwidth())
    }

    fn select(&self, filter: &Arc<Filter>, groups: &Arc<Groups>, cancel: &Cancel) -> Result<Arc<Selection>, EngineError> {
        self.ask(|engine, generation| {
            let selection = engine.select(filter, groups, cancel)?;
            Ok(Arc::new(Selection {
                filter: filter.clone(),
                groups: groups.clone(),
                counts: selection.counts.clone(),
                bytes: selection.bytes,
                body: SelectionBody::Device(Box::new(Made { latest: Mutex::new((generation, selection)) })),
            }))
        })
    }

    fn count(&self, selection: &Selection, tiles: &[TileId], cancel: &Cancel) -> Result<Vec<CountGrid>, EngineError> {
        self.ask_about(selection, cancel, |engine, selection| engine.count(selection, tiles, cancel))
    }

    fn histograms(
        &self,
        selection: &Selection,
        requests: &[HistogramRequest],
        area: Option<&Region>,
        cancel: &Cancel,
    ) -> Result<Vec<Histogram>, EngineError> {
        self.ask_about(selection, cancel, |engine, selection| engine.histograms(selection, requests, area, cancel))
    }

    fn distribution(&self, selection: &Selection, zoom: Zoom, cancel: &Cancel) -> Result<Distribution, EngineError> {
        self.ask_about(selection, cancel, |engine, selection| engine.distribution(selection, zoom, cancel))
    }

    fn linked_counts(&self, question: &LinkedQuestion, cancel: &Cancel) -> Result<LinkedCounts, EngineError> {
        self.ask(|engine, _| engine.linked_counts(question, cancel))
    }

    fn aggregate(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        tiles: &[TileId],
        cancel: &Cancel,
    ) -> Result<Vec<ValueGrid>, EngineError> {
        self.ask_about(selection, cancel, |engine, selection| engine.aggregate(selection, aggregate, tiles, cancel))
    }

    fn partials(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        tiles: &[TileId],
        cancel: &Cancel,
    ) -> Result<Vec<PartialGrid>, EngineError> {
        self.ask_about(selection, cancel, |engine, selection| engine.partials(selection, aggregate, tiles, cancel))
    }

    fn value_distribution(
        &self,
        selection: &Selection,
        aggregate: Aggregate,
        zoom: Zoom,
        cancel: &Cancel,
    ) -> Result<ValueDistribution, EngineError> {
        self.ask_about(selection, cancel, |engine, selection| {
            engine.value_distribution(selection, aggregate, zoom, cancel)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Dataset;
    use crate::dataset::testing::dataset;
    use crate::engine::cpu::CpuEngine;
    use crate::world::WorldPoint;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// The CPU's answers, until it has given so many: then its device is lost.
    struct Fragile {
        engine: CpuEngine,
        answers: AtomicU32,
    }

    impl Fragile {
        fn open(dataset: &Arc<Dataset>, answers: u32) -> Arc<dyn Engine> {
            Arc::new(Fragile { engine: CpuEngine::new(dataset.clone()), answers: AtomicU32::new(answers) })
        }

        fn answer(&self) -> Result<(), EngineError> {
            let left = self.answers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            left.map(|_| ()).map_err(|_| EngineError::DeviceLost("pulled out".to_owned()))
        }
    }

    impl Engine for Fragile {
        fn info(&self) -> EngineInfo {
            EngineInfo { backend: "gpu", ..self.engine.info() }
        }

        fn select(&self, filter: &Arc<Filter>, groups: &Arc<Groups>, cancel: &Cancel) -> Result<Arc<Selection>, EngineError> {
            self.answer()?;
            self.engine.select(filter, groups, cancel)
        }

        fn count(&self, selection: &Selection, tiles: &[TileId], cancel: &Cancel) -> Result<Vec<CountGrid>, EngineError> {
            self.answer()?;
            self.engine.count(selection, tiles, cancel)
        }

        fn histograms(
            &self,
            selection: &Selection,
            requests: &[HistogramRequest],
            area: Option<&Region>,
            cancel: &Cancel,
        ) -> Result<Vec<Histogram>, EngineError> {
            self.answer()?;
            self.engine.histograms(selection, requests, area, cancel)
        }

        fn distribution(&self, selection: &Selection, zoom: Zoom, cancel: &Cancel) -> Result<Distribution, EngineError> {
            self.answer()?;
            self.engine.distribution(selection, zoom, cancel)
        }

        fn linked_counts(&self, question: &LinkedQuestion, cancel: &Cancel) -> Result<LinkedCounts, EngineError> {
            self.answer()?;
            self.engine.linked_counts(question, cancel)
        }

        fn aggregate(
            &self,
            selection: &Selection,
            aggregate: Aggregate,
            tiles: &[TileId],
            cancel: &Cancel,
        ) -> Result<Vec<ValueGrid>, EngineError> {
            self.answer()?;
            self.engine.aggregate(selection, aggregate, tiles, cancel)
        }

        fn partials(
            &self,
            selection: &Selection,
            aggregate: Aggregate,
            tiles: &[TileId],
            cancel: &Cancel,
        ) -> Result<Vec<PartialGrid>, EngineError> {
            self.answer()?;
            self.engine.partials(selection, aggregate, tiles, cancel)
        }

        fn value_distribution(
            &self,
            selection: &Selection,
            aggregate: Aggregate,
            zoom: Zoom,
            cancel: &Cancel,
        ) -> Result<ValueDistribution, EngineError> {
            self.answer()?;
            self.engine.value_distribution(selection, aggregate, zoom, cancel)
        }
    }

    fn sample() -> (tempfile::TempDir, Arc<Dataset>) {
        let points: Vec<WorldPoint> = (0..100u32).map(|i| WorldPoint { x: i << 20, y: i << 22 }).collect();
        let (folder, dataset) = dataset(&points, &[], 40);
        (folder, Arc::new(dataset))
    }

    /// An engine whose first two devices give so many answers each.
    fn failover(dataset: &Arc<Dataset>, answers: [u32; 2], policy: OnDeviceLoss) -> Failover {
        let (again, instead) = (dataset.clone(), dataset.clone());
        let cpu: Reopen = Box::new(move || Ok(Arc::new(CpuEngine::new(instead.clone()))));
        Failover::new(
            Fragile::open(dataset, answers[0]),
            Box::new(move || Ok(Fragile::open(&again, answers[1]))),
            (policy == OnDeviceLoss::Cpu).then_some(cpu),
        )
    }

    #[test]
    fn a_lost_device_is_opened_once_more_and_then_the_cpu_counts() {
        let (_folder, dataset) = sample();
        let groups = Arc::new(Groups::none(&dataset));
        let (filter, never) = (Arc::new(Filter::all()), Cancel::never());
        let tile = [TileId::new(0, 0, 0).unwrap()];
        let expected = {
            let cpu = CpuEngine::new(dataset.clone());
            cpu.count(&cpu.select(&filter, &groups, &never).unwrap(), &tile, &never).unwrap()
        };
        // The first device answers the selection and one tile; the second makes the selection again and counts one tile.
        let engine = failover(&dataset, [2, 2], OnDeviceLoss::Cpu);
        let selection = engine.select(&filter, &groups, &never).unwrap();
        let mut seen = Vec::new();
        for _ in 0..4 {
            assert_eq!(engine.count(&selection, &tile, &never).unwrap(), expected);
            seen.push((engine.info().backend, engine.info().trouble.is_some()));
        }
        assert_eq!(seen, [("gpu", false), ("gpu", true), ("cpu", true), ("cpu", true)]);
        assert_eq!(engine.distribution(&selection, Zoom::new(3).unwrap(), &never).unwrap().points(), 100);
    }

    #[test]
    fn where_the_policy_is_to_fail_every_question_fails_at_once() {
        let (_folder, dataset) = sample();
        let (groups, filter, never) = (Arc::new(Groups::none(&dataset)), Arc::new(Filter::all()), Cancel::never());
        let engine = failover(&dataset, [1, 0], OnDeviceLoss::Fail);
        let selection = engine.select(&filter, &groups, &never).unwrap();
        for _ in 0..2 {
            let answer = engine.count(&selection, &[TileId::new(0, 0, 0).unwrap()], &never);
            assert!(matches!(answer, Err(EngineError::DeviceLost(_))));
        }
        assert!(engine.info().trouble.is_some());
    }

    #[test]
    fn other_errors_are_answers() {
        let (_folder, dataset) = sample();
        let (groups, filter, cancel) = (Arc::new(Groups::none(&dataset)), Arc::new(Filter::all()), Cancel::never());
        let engine = failover(&dataset, [9, 9], OnDeviceLoss::Fail);
        let selection = engine.select(&filter, &groups, &cancel).unwrap();
        cancel.cancel();
        let answer = engine.count(&selection, &[TileId::new(0, 0, 0).unwrap()], &cancel);
        assert!(matches!(answer, Err(EngineError::Cancelled)));
        assert_eq!(engine.info().trouble, None);
    }
}
