//! Whole files to a store and back, in parts under way at once.

use super::{Store, StoreError};
use bytes::Bytes;
use object_store::{MultipartUpload, ObjectStoreExt};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use tokio::task::JoinSet;

/// Bytes of a part: S3 takes 10,000 of at least 5 MiB, so that objects may have 80 GB.
pub(super) const PART_BYTES: usize = 8 << 20;

/// Parts under way: what an upload or a download holds in memory, 32 MiB.
const PARTS_MAX: usize = 4;

impl Store {
    /// Uploads a file, in the place of an object that is there; `progress` is told of bytes as they go. An upload that is
    /// broken off leaves no object.
    ///
    /// # Errors
    /// The file cannot be read, or the store does not take it.
    pub fn upload(&self, name: &str, file: &Path, progress: &dyn Fn(u64)) -> Result<(), StoreError> {
        let mut reader = File::open(file).map_err(StoreError::file("open", file))?;
        let bytes = reader.metadata().map_err(StoreError::file("read", file))?.len();
        if bytes <= PART_BYTES as u64 || !self.takes_parts {
            let mut whole = Vec::with_capacity(bytes as usize);
            reader.read_to_end(&mut whole).map_err(StoreError::file("read", file))?;
            self.put(name, whole.into())?;
            progress(bytes);
            return Ok(());
        }
        let (objects, path) = (self.objects.clone(), self.path(name));
        let upload = self.wait(name, async move { objects.put_multipart(&path).await })?;
        // The runtime's side takes parts as they are read, and says of each that it has gone.
        let (parts, to_upload) = tokio::sync::mpsc::channel(PARTS_MAX);
        let (gone, parts_gone) = sync_channel(PARTS_MAX * 2);
        let store = self.clone();
        let ended = std::thread::scope(|scope| {
            let uploading = scope.spawn(move || store.wait_for(upload_parts(upload, to_upload, gone)));
            let read = self.send_parts(file, &mut reader, &parts, &parts_gone, progress);
            match read {
                Ok(()) => drop(parts),
                // A channel that closes says that all is there; this says that it is not.
                Err(_) => drop(parts.blocking_send(None)),
            }
            parts_gone.iter().for_each(progress);
            let ended = uploading.join().map_err(|_| self.lost()).flatten();
            read.and(ended)
        })?;
        ended.map_err(|error| self.failed(name, error))
    }

    fn send_parts(
        &self,
        file: &Path,
        reader: &mut File,
        parts: &tokio::sync::mpsc::Sender<Option<Bytes>>,
        gone: &std::sync::mpsc::Receiver<u64>,
        progress: &dyn Fn(u64),
    ) -> Result<(), StoreError> {
        loop {
            let mut part = Vec::with_capacity(PART_BYTES);
            Read::by_ref(reader).take(PART_BYTES as u64).read_to_end(&mut part).map_err(StoreError::file("read", file))?;
            // A store that has failed takes no more, and says why at the end.
            if part.is_empty() || parts.blocking_send(Some(part.into())).is_err() {
                return Ok(());
            }
            gone.try_iter().for_each(progress);
        }
    }

    /// Downloads an object into a file.
    ///
    /// # Errors
    /// There is no such object, the store is away, or the file cannot be written.
    pub fn download(&self, name: &str, file: &Path, progress: &dyn Fn(u64)) -> Result<(), StoreError> {
        let bytes = self.size(name)?;
        let mut writer = File::create(file).map_err(StoreError::file("create", file))?;
        let step = (PART_BYTES * PARTS_MAX) as u64;
        for from in (0..bytes).step_by(step as usize) {
            let to = (from + step).min(bytes);
            let ranges: Vec<_> =
                (from..to).step_by(PART_BYTES).map(|start| (name, start..(start + PART_BYTES as u64).min(to))).collect();
            for part in self.ranges(&ranges)? {
                writer.write_all(&part).map_err(StoreError::file("write", file))?;
                progress(part.len() as u64);
            }
        }
        Ok(())
    }
}

/// Uploads parts until there are no more, or gives up. `None` among them: the rest cannot be had.
async fn upload_parts(
    mut upload: Box<dyn MultipartUpload>,
    mut parts: tokio::sync::mpsc::Receiver<Option<Bytes>>,
    gone: std::sync::mpsc::SyncSender<u64>,
) -> object_store::Result<()> {
    let mut under_way: JoinSet<object_store::Result<u64>> = JoinSet::new();
    let mut failure = None;
    let mut is_whole = true;
    while failure.is_none() {
        let Some(part) = parts.recv().await else { break };
        let Some(part) = part else {
            is_whole = false;
            break;
        };
        if under_way.len() == PARTS_MAX {
            failure = landed(&mut under_way, &gone).await.err();
        }
        let bytes = part.len() as u64;
        let sending = upload.put_part(part.into());
        under_way.spawn(async move { sending.await.map(|()| bytes) });
    }
    while failure.is_none() && !under_way.is_empty() {
        failure = landed(&mut under_way, &gone).await.err();
    }
    under_way.shutdown().await;
    match failure {
        None if is_whole => upload.complete().await.map(drop),
        // What is said is why it failed; that a broken upload cannot be taken back either is the store's to clear up.
        None => {
            let _ = upload.abort().await;
            Ok(())
        }
        Some(error) => {
            let _ = upload.abort().await;
            Err(error)
        }
    }
}

async fn landed(under_way: &mut JoinSet<object_store::Result<u64>>, gone: &std::sync::mpsc::SyncSender<u64>) -> object_store::Result<()> {
    if let Some(done) = under_way.join_next().await {
        let bytes = done??;
        // A count for a bar: where nobody looks, none is owed.
        let _ = gone.try_send(bytes);
    }
    Ok(())
}
