//! A bounded queue in front of named threads. What does not fit is refused at once, not left to hang.

use super::{ServiceError, lock};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A background job that has waited this long goes before interactive ones, so that it cannot starve.
const BACKGROUND_WAIT_MAX: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Somebody is looking.
    Interactive,
    /// Prewarming and refinement.
    Background,
}

/// Called with `None` on a thread of the pool; or with the reason for which it will never be, on the caller's.
type Job = Box<dyn FnOnce(Option<ServiceError>) + Send>;

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
}

#[derive(Default)]
struct Waiting {
    interactive: VecDeque<Job>,
    background: VecDeque<(Instant, Job)>,
    is_stopping: bool,
}

impl Pool {
    pub fn start(threads: usize, jobs_max: usize) -> Pool {
        let shared = Arc::new(Shared { waiting: Mutex::default(), changed: Condvar::new(), jobs_max });
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
    pub fn submit(&self, priority: Priority, job: impl FnOnce(Option<ServiceError>) + Send + 'static) -> Result<(), ()> {
        self.queue().submit(priority, job)
    }

    /// Jobs that wait, by priority.
    pub fn depths(&self) -> [(&'static str, usize); 2] {
        let queue = lock(&self.shared.waiting);
        [("interactive", queue.interactive.len()), ("background", queue.background.len())]
    }
}

impl Queue {
    /// Queues a job, or calls it at once with the reason why not.
    ///
    /// # Errors
    /// The queue was full or is closing; the job knows already.
    pub fn submit(&self, priority: Priority, job: impl FnOnce(Option<ServiceError>) + Send + 'static) -> Result<(), ()> {
        let mut queue = lock(&self.shared.waiting);
        let waiting = queue.interactive.len() + queue.background.len();
        let refused = if queue.is_stopping {
            Some(ServiceError::Stopping)
        } else {
            (waiting >= self.shared.jobs_max).then_some(ServiceError::Overloaded { waiting })
        };
        if let Some(error) = refused {
            drop(queue);
            job(Some(error));
            return Err(());
        }
        match priority {
            Priority::Interactive => queue.interactive.push_back(Box::new(job)),
            Priority::Background => queue.background.push_back((Instant::now(), Box::new(job))),
        }
        drop(queue);
        self.shared.changed.notify_one();
        Ok(())
    }
}

impl Shared {
    fn work(&self) {
        while let Some(job) = self.next() {
            // A panic is a bug; it costs its request, which is told by the drop of what the job holds, and not the thread.
            if catch_unwind(AssertUnwindSafe(|| job(None))).is_err() {
                tracing::error!("a job panicked; its request failed");
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = lock(&self.waiting);
        loop {
            let is_overdue = queue.background.front().is_some_and(|(since, _)| since.elapsed() > BACKGROUND_WAIT_MAX);
            if !is_overdue && let Some(job) = queue.interactive.pop_front() {
                return Some(job);
            }
            if let Some((_, job)) = queue.background.pop_front() {
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

    #[test]
    fn what_does_not_fit_is_refused_at_once() {
        let pool = Pool::start(1, 2);
        let (release, blocked) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        pool.submit(Priority::Interactive, move |_| {
            started.send(()).unwrap();
            blocked.recv().unwrap();
        })
        .unwrap();
        has_started.recv().unwrap();
        let (done, results) = mpsc::channel();
        for i in 0..3 {
            let done = done.clone();
            let accepted = pool.submit(Priority::Interactive, move |refused| done.send((i, refused)).unwrap());
            assert_eq!(accepted.is_ok(), i < 2);
        }
        assert_eq!(results.recv().unwrap(), (2, Some(ServiceError::Overloaded { waiting: 2 })));
        release.send(()).unwrap();
        assert_eq!((results.recv().unwrap(), results.recv().unwrap()), ((0, None), (1, None)));
    }

    #[test]
    fn interactive_jobs_go_first_and_a_panic_costs_one_job() {
        let pool = Pool::start(1, 10);
        let (release, blocked) = mpsc::channel::<()>();
        pool.submit(Priority::Interactive, move |_| {
            blocked.recv().unwrap();
            panic!("expected by the test");
        })
        .unwrap();
        let (done, results) = mpsc::channel();
        for (name, priority) in [("later", Priority::Background), ("sooner", Priority::Interactive)] {
            let done = done.clone();
            pool.submit(priority, move |_| done.send(name).unwrap()).unwrap();
        }
        release.send(()).unwrap();
        assert_eq!((results.recv().unwrap(), results.recv().unwrap()), ("sooner", "later"));
    }
}
