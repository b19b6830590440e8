//! A bounded queue in front of named threads. What does not fit is refused at once, not left to hang.

use super::{ServiceError, lock};
use crate::engine::Cancel;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Somebody is looking.
    Interactive,
    /// Somebody is looking at something coarser already.
    Refinement,
    /// Nobody is looking yet.
    Prewarm,
}

const PRIORITIES: [Priority; 3] = [Priority::Interactive, Priority::Refinement, Priority::Prewarm];

impl Priority {
    /// By how much a job lets later ones of a higher priority go before it: then it is their equal, so that it cannot starve.
    fn patience(self) -> Duration {
        match self {
            Priority::Interactive => Duration::ZERO,
            Priority::Refinement => Duration::from_secs(1),
            Priority::Prewarm => Duration::from_secs(4),
        }
    }

    /// How much of the queue jobs of this priority may fill, so that there is always room for those above.
    fn share(self, jobs_max: usize) -> usize {
        match self {
            Priority::Interactive => jobs_max,
            Priority::Refinement => jobs_max / 2,
            Priority::Prewarm => jobs_max / 4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Priority::Interactive => "interactive",
            Priority::Refinement => "refinement",
            Priority::Prewarm => "prewarm",
        }
    }
}

/// Called with `None` on a thread of the pool; or with the reason for which it will never be, on the thread that found it.
type Work = Box<dyn FnOnce(Option<ServiceError>) + Send>;

struct Job {
    work: Work,
    cancel: Cancel,
    /// When it is the equal of a job that is more urgent and comes then.
    due: Instant,
}

pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// The way into a pool, without the duty to end it.
#[derive(Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    jobs_max: usize,
    running: AtomicU64,
}

/// What a pool has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStats {
    /// Jobs that threads are at.
    pub running: u64,
    pub by_priority: [PriorityStats; PRIORITIES.len()],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriorityStats {
    pub priority: &'static str,
    pub waiting: u64,
    /// Jobs that threads have begun since the pool started.
    pub begun: u64,
}

#[derive(Default)]
struct Waiting {
    /// By priority, each in the order of `due`.
    jobs: [VecDeque<Job>; PRIORITIES.len()],
    /// Jobs that threads have begun, by priority.
    begun: [u64; PRIORITIES.len()],
    /// When the queue was last found full and looked through for jobs that nobody waits for.
    swept: Option<Instant>,
    is_stopping: bool,
}

/// A full queue is looked through for jobs that nobody waits for this often at most. A look at 512 jobs takes some 17 us, which without a bound
/// every refusal would pay, under the lock; this often it is a sixth of a percent of a core.
const SWEEP_PAUSE: Duration = Duration::from_millis(10);

impl Pool {
    pub fn start(threads: usize, jobs_max: usize) -> Pool {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            jobs_max,
            running: AtomicU64::new(0),
        });
        let threads = (0..threads.max(1))
            .map(|i| {
                let shared = shared.clone();
                std::thread::Builder::new()
                    .name(format!("tile-{i}"))
                    .spawn(move || shared.work())
                    .expect("threads can be started when the service starts")
            })
            .collect();
        Pool { shared, threads }
    }

    pub fn queue(&self) -> Queue {
        Queue { shared: self.shared.clone() }
    }

    /// As [`Queue::submit`].
    ///
    /// # Errors
    /// As there.
    pub fn submit(
        &self,
        priority: Priority,
        cancel: Cancel,
        work: impl FnOnce(Option<ServiceError>) + Send + 'static,
    ) -> Result<(), ()> {
        self.queue().submit(priority, cancel, work)
    }

    pub fn stats(&self) -> PoolStats {
        // The lock under which jobs are begun: none is counted twice, or not at all.
        let queue = lock(&self.shared.waiting);
        let by_priority = PRIORITIES.map(|priority| PriorityStats {
            priority: priority.name(),
            waiting: queue.jobs[priority as usize].len() as u64,
            begun: queue.begun[priority as usize],
        });
        PoolStats { running: self.shared.running.load(Ordering::Relaxed), by_priority }
    }
}

impl Queue {
    /// Queues a job, or calls it at once with the reason why not. Where the queue is full, jobs go whose answer nobody waits for
    /// any more.
    ///
    /// # Errors
    /// There was no room for it, or the queue is closing; the job knows already.
    pub fn submit(
        &self,
        priority: Priority,
        cancel: Cancel,
        work: impl FnOnce(Option<ServiceError>) + Send + 'static,
    ) -> Result<(), ()> {
        let job = Job { work: Box::new(work), cancel, due: Instant::now() + priority.patience() };
        let mut unwanted = Vec::new();
        let refused = {
            let mut queue = lock(&self.shared.waiting);
            if queue.is_stopping {
                Err((job, ServiceError::Stopping))
            } else {
                if !queue.has_room(priority, self.shared.jobs_max) {
                    unwanted = queue.take_unwanted(Instant::now());
                }
                if queue.has_room(priority, self.shared.jobs_max) {
                    queue.jobs[priority as usize].push_back(job);
                    Ok(())
                } else {
                    Err((job, ServiceError::Overloaded { waiting: queue.len() }))
                }
            }
        };
        // Told outside of the lock: they answer somebody.
        for (job, why) in unwanted {
            (job.work)(Some(why));
        }
        match refused {
            Ok(()) => {
                self.shared.changed.notify_one();
                Ok(())
            }
            Err((job, why)) => {
                (job.work)(Some(why));
                Err(())
            }
        }
    }
}

impl Waiting {
    fn len(&self) -> usize {
        self.jobs.iter().map(VecDeque::len).sum()
    }

    fn has_room(&self, priority: Priority, jobs_max: usize) -> bool {
        let of_this = self.jobs[priority as usize].len();
        self.len() < jobs_max && of_this < priority.share(jobs_max)
    }

    /// Removes the jobs whose answer is no longer wanted; none where that was done just before.
    fn take_unwanted(&mut self, now: Instant) -> Vec<(Job, ServiceError)> {
        let mut unwanted = Vec::new();
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP_PAUSE) {
            return unwanted;
        }
        self.swept = Some(now);
        for jobs in &mut self.jobs {
            for job in std::mem::take(jobs) {
                match job.cancel.check() {
                    Ok(()) => jobs.push_back(job),
                    Err(why) => unwanted.push((job, why.into())),
                }
            }
        }
        unwanted
    }

    /// The job that is due first, and the place of its priority.
    fn take_first(&mut self) -> Option<(usize, Job)> {
        let waiting = self.jobs.iter_mut().enumerate().filter(|(_, jobs)| !jobs.is_empty());
        let (place, jobs) = waiting.min_by_key(|(_, jobs)| jobs.front().map(|job| job.due))?;
        Some((place, jobs.pop_front()?))
    }
}

impl Shared {
    fn work(&self) {
        while let Some(job) = self.next() {
            // A panic is a bug; it costs its request, which is told by the drop of what the job holds, and not the thread.
            if catch_unwind(AssertUnwindSafe(|| (job.work)(None))).is_err() {
                tracing::error!("a job panicked; its request failed");
            }
            self.running.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = lock(&self.waiting);
        loop {
            if let Some((priority, job)) = queue.take_first() {
                self.running.fetch_add(1, Ordering::Relaxed);
                queue.begun[priority] += 1;
                return Some(job);
            }
            if queue.is_stopping {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Pool {
    /// Finishes what was queued, and joins the threads.
    fn drop(&mut self) {
        lock(&self.shared.waiting).is_stopping = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // The thread caught its jobs' panics; there is nothing more to learn from it.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// A pool of one thread, which is busy until the sender is dropped.
    fn busy(jobs_max: usize) -> (Pool, mpsc::Sender<()>) {
        let pool = Pool::start(1, jobs_max);
        let (release, blocked) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        let block = move |_| {
            started.send(()).unwrap();
            blocked.recv().unwrap_err();
            panic!("expected by the test: a panic costs one job");
        };
        pool.submit(Priority::Interactive, Cancel::never(), block).unwrap();
        has_started.recv().unwrap();
        (pool, release)
    }

    #[test]
    fn what_does_not_fit_is_refused_at_once() {
        let (pool, release) = busy(2);
        let (done, results) = mpsc::channel();
        for i in 0..3 {
            let done = done.clone();
            let accepted = pool.submit(Priority::Interactive, Cancel::never(), move |refused| done.send((i, refused)).unwrap());
            assert_eq!(accepted.is_ok(), i < 2);
        }
        assert_eq!(results.recv().unwrap(), (2, Some(ServiceError::Overloaded { waiting: 2 })));
        drop(release);
        assert_eq!((results.recv().unwrap(), results.recv().unwrap()), ((0, None), (1, None)));
    }

    #[test]
    fn a_full_queue_lets_go_of_what_nobody_waits_for() {
        let (pool, release) = busy(2);
        let (done, results) = mpsc::channel();
        let submit = |name, cancel: &Cancel| {
            let done = done.clone();
            pool.submit(Priority::Interactive, cancel.clone(), move |refused| done.send((name, refused)).unwrap())
        };
        let (left, stays) = (Cancel::never(), Cancel::never());
        submit("left", &left).unwrap();
        submit("stays", &stays).unwrap();
        left.cancel();
        submit("comes", &stays).unwrap();
        assert_eq!(results.recv().unwrap(), ("left", Some(ServiceError::Cancelled)));
        assert_eq!(submit("too many", &stays), Err(()));
        assert_eq!(results.recv().unwrap(), ("too many", Some(ServiceError::Overloaded { waiting: 2 })));
        // Just looked through: not again for every refusal, and again after a while.
        stays.cancel();
        assert_eq!(submit("at once", &Cancel::never()), Err(()));
        assert_eq!(results.recv().unwrap().0, "at once");
        std::thread::sleep(2 * SWEEP_PAUSE);
        submit("later", &Cancel::never()).unwrap();
        assert_eq!((results.recv().unwrap().0, results.recv().unwrap().0), ("stays", "comes"));
        drop(release);
        assert_eq!(results.recv().unwrap(), ("later", None));
    }

    #[test]
    fn the_urgent_go_first_and_leave_room_for_each_other() {
        let (pool, release) = busy(8);
        let (done, results) = mpsc::channel();
        let submit = |priority: Priority| {
            let done = done.clone();
            pool.submit(priority, Cancel::never(), move |refused| done.send((priority, refused.is_some())).unwrap())
        };
        submit(Priority::Prewarm).unwrap();
        submit(Priority::Prewarm).unwrap();
        assert_eq!(submit(Priority::Prewarm), Err(()), "a quarter of the queue is theirs");
        assert_eq!(results.recv().unwrap(), (Priority::Prewarm, true));
        submit(Priority::Refinement).unwrap();
        submit(Priority::Interactive).unwrap();
        let stats = |priority, waiting, begun| PriorityStats { priority, waiting, begun };
        let by_priority = [stats("interactive", 1, 1), stats("refinement", 1, 0), stats("prewarm", 2, 0)];
        assert_eq!(pool.stats(), PoolStats { running: 1, by_priority }, "the one that keeps the thread busy is begun");
        drop(release);
        let order: Vec<_> = (0..4).map(|_| results.recv().unwrap().0).collect();
        assert_eq!(order, [Priority::Interactive, Priority::Refinement, Priority::Prewarm, Priority::Prewarm]);
    }

    #[test]
    fn who_has_waited_long_enough_is_the_equal_of_the_urgent() {
        let now = Instant::now();
        let mut queue = Waiting::default();
        let job = |priority: Priority, came: Duration| Job {
            work: Box::new(|_| ()),
            cancel: Cancel::never(),
            due: now + came + priority.patience(),
        };
        let second = Duration::from_secs(1);
        queue.jobs[2].push_back(job(Priority::Prewarm, Duration::ZERO));
        for i in 3..6 {
            queue.jobs[0].push_back(job(Priority::Interactive, i * second));
        }
        let order: Vec<Duration> = std::iter::from_fn(|| queue.take_first()).map(|(_, job)| job.due - now).collect();
        assert_eq!(order, [3 * second, 4 * second, 4 * second, 5 * second]);
        assert_eq!(queue.len(), 0);
    }
}
