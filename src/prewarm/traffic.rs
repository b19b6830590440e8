//! What a server does for others, as its `/metrics` say: whoever waits for a tile goes first.
//!
//! A glance at the queue alone would miss most of it: tiles take a millisecond. So it is asked for as long as threads have begun
//! any request since the last look.

use super::PrewarmError;
use std::time::{Duration, Instant};

/// How long a server may be quiet before it is asked again: a hundred times what asking costs.
const QUIET: Duration = Duration::from_millis(250);

/// A server that takes longer than this to say what it does has too much of it.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A running server.
pub(super) struct Traffic {
    metrics: String,
    agent: ureq::Agent,
    seen: Work,
    looked: Instant,
    has_gone: bool,
}

/// What its threads do for people who look at a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Work {
    /// Requests that wait for a thread, or have one.
    under_way: u64,
    /// Requests that a thread has begun, since the server started.
    begun: u64,
}

impl Traffic {
    /// The traffic of the server at an address such as `http://127.0.0.1:8080`, with `?key=` where it wants one. Looks, and takes
    /// the time that whoever looks next needs to see a difference.
    ///
    /// # Errors
    /// It is not there, or does not say what it does.
    pub(super) fn of(server: &str) -> Result<Traffic, PrewarmError> {
        let (base, query) = server.split_once('?').map_or((server, None), |(base, query)| (base, Some(query)));
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        let metrics = format!("{}/metrics{query}", base.trim_end_matches('/'));
        let agent = ureq::Agent::config_builder().timeout_global(Some(ANSWER_MAX)).build().into();
        let seen = Work { under_way: 0, begun: 0 };
        let mut traffic = Traffic { metrics, agent, seen, looked: Instant::now(), has_gone: false };
        traffic.seen = traffic.ask().map_err(|error| traffic.silent(&error))?;
        std::thread::sleep(QUIET);
        Ok(traffic)
    }

    /// Whether the server has, or has had since the last look, anything to do for anybody. Not asked again too soon: then it is
    /// as it was.
    ///
    /// # Errors
    /// It answers, and does not say.
    pub(super) fn is_live(&mut self) -> Result<bool, PrewarmError> {
        if self.has_gone || self.looked.elapsed() < QUIET {
            return Ok(false);
        }
        let now = match self.ask() {
            Ok(now) => now,
            Err(ureq::Error::Timeout(_)) => return Ok(true),
            Err(ureq::Error::Io(_) | ureq::Error::ConnectionFailed) => {
                tracing::warn!("the server at {} has gone: there is nobody left to yield to", shown(&self.metrics));
                self.has_gone = true;
                return Ok(false);
            }
            Err(error) => return Err(self.silent(&error)),
        };
        let is_live = now.under_way > 0 || now.begun != self.seen.begun;
        (self.seen, self.looked) = (now, Instant::now());
        Ok(is_live)
    }

    fn ask(&self) -> Result<Work, ureq::Error> {
        let text = self.agent.get(&self.metrics).call()?.body_mut().read_to_string()?;
        Work::of(&text).ok_or_else(|| ureq::Error::Other("its /metrics are not those of a pointillist of this version".into()))
    }

    fn silent(&self, error: &ureq::Error) -> PrewarmError {
        PrewarmError::Traffic { address: shown(&self.metrics).to_owned(), why: error.to_string() }
    }
}

impl Work {
    fn of(metrics: &str) -> Option<Work> {
        let number = |name: &str| -> Option<u64> {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
            line.trim().parse().ok()
        };
        Some(Work {
            under_way: number("pointillist_queue_depth{priority=\"interactive\"}")? + number("pointillist_jobs_running")?,
            begun: number("pointillist_jobs_total{priority=\"interactive\"}")?,
        })
    }
}

/// Without a key.
fn shown(address: &str) -> &str {
    address.split('?').next().unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_read_from_metrics() {
        let text = "# HELP pointillist_jobs_running Jobs\npointillist_jobs_running 2\npointillist_jobs_total{priority=\"interactive\"} 41\n\
            pointillist_jobs_total{priority=\"prewarm\"} 7\npointillist_queue_depth{priority=\"interactive\"} 3\n";
        assert_eq!(Work::of(text), Some(Work { under_way: 5, begun: 41 }));
        assert_eq!(Work::of("go_goroutines 7"), None);
    }

    #[test]
    fn a_server_that_is_not_there_is_said() {
        // Not among the ports that are given to whoever asks for any.
        let error = Traffic::of("http://127.0.0.1:1/?key=secret").err().unwrap().to_string();
        assert!(error.contains("/metrics") && !error.contains("secret"), "{error}");
    }
}
