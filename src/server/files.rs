//! Whether the files of the datasets are still what was opened. Where they are not, nothing more is answered from them, and nothing
//! stays of what was.

use super::App;
use crate::service::Source;
use std::sync::Arc;
use std::time::Duration;

/// How often all files are looked at: some microseconds each, so even a thousand cost nothing to speak of. A byte that is changed in
/// place may be counted for as long; of a file that is cut nothing is.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What is on its way into a cache when damage is found is there after this.
const SETTLING: Duration = Duration::from_millis(100);

/// Looks at the files of all datasets, for ever.
pub async fn watch(app: Arc<App>) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let app = app.clone();
        // Only a panic ends it early, and the next look is another.
        let _ = tokio::task::spawn_blocking(move || app.service.registry().all().values().for_each(|source| looked_at(&app, source))).await;
    }
}

fn looked_at(app: &App, source: &Source) {
    let Some(damage) = source.new_damage() else { return };
    let name = source.name();
    tracing::error!("'{name}' is not served any more, until its files are restored and the configuration is reloaded: {damage}");
    std::thread::sleep(SETTLING);
    if let Err(error) = app.service.distrust(source) {
        tracing::error!("tiles of '{name}' may be in the cache on disk or the shared one that were made of damaged files; purge it: {error}");
    }
}
