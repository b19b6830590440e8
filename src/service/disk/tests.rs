//! The disk cache against what disks do to it.

use super::store::key_bytes;
use super::*;
use crate::service::{Content, Digest, Scale};
use crate::world::TileId;
use std::time::Duration;

fn key(x: u32) -> TileKey {
    TileKey { digest: Digest(7), tile: TileId::new(20, x, 3).unwrap(), scale: Scale::One, content: Content::Png }
}

fn image(x: u32) -> Bytes {
    Bytes::from((0..1000).map(|i| (x * 31 + i) as u8).collect::<Vec<u8>>())
}

/// A folder with tiles 0 to `tiles`, in one file without a journal.
fn filled(folder: &Path, tiles: u32) -> PathBuf {
    let mut store = Store::open(folder, 64 << 20).unwrap();
    let all: Vec<(TileKey, Bytes)> = (0..tiles).map(|x| (key(x), image(x))).collect();
    store.put("towers", &all).unwrap();
    store.path().to_owned()
}

/// Waits until the writer has done what it was told.
fn settled(cache: &DiskCache) {
    cache.purge("nothing", &Purge::all()).unwrap();
}

#[test]
fn tiles_survive_and_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 20);
    let cache = DiskCache::open(folder.path(), 1 << 20).unwrap();
    assert_eq!(cache.get(&key(7)), Some(image(7)));
    assert_eq!(cache.get(&key(99)), None);
    cache.insert(&key(99), "ships", image(99));
    settled(&cache);
    assert_eq!(cache.get(&key(99)), Some(image(99)));
    let counted = cache.stats();
    assert_eq!((counted.hits, counted.misses, counted.evictions), (2, 1, 0));
    drop(cache);
    let held = stats(folder.path()).unwrap();
    assert_eq!((held.tiles, held.bytes), (21, 21_000));
    assert_eq!(held.datasets, [("ships".into(), 1, 1000), ("towers".into(), 20, 20_000)]);
}

#[test]
fn empty_tiles_cost_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    let cache = DiskCache::open(folder.path(), 1 << 20).unwrap();
    for scale in [Scale::One, Scale::Two] {
        cache.insert(&key(1), "towers", Bytes::from_static(empty_png(scale.pixels())));
    }
    drop(cache);
    assert_eq!(stats(folder.path()).unwrap().tiles, 0);
}

#[test]
fn the_file_stays_within_the_budget_and_the_least_recently_used_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = filled(folder.path(), 400);
    // Of two hours ago, but for ten of now.
    let database = Connection::open(&path).unwrap();
    database.execute("UPDATE tile SET used = used - 7200", []).unwrap();
    let roomy = DiskCache::open(folder.path(), 64 << 20).unwrap();
    for x in 100..110 {
        assert_eq!(roomy.get(&key(x)), Some(image(x)));
    }
    settled(&roomy);
    drop(roomy);
    let cache = DiskCache::open(folder.path(), 256 << 10).unwrap();
    cache.insert(&key(1000), "towers", image(1000));
    settled(&cache);
    let held = stats(folder.path()).unwrap();
    assert!(held.file_bytes <= 256 << 10, "{held:?}");
    assert!(held.tiles > 100, "it evicts no more than it must: {held:?}");
    for x in (100..110).chain([1000]) {
        assert_eq!(cache.get(&key(x)), Some(image(x)), "tile {x} was used last");
    }
    assert_eq!(cache.get(&key(0)), None);
    assert_eq!(cache.stats().evictions, 401 - held.tiles);
}

#[test]
fn a_purge_takes_what_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), 64 << 20).unwrap();
    let at = |z, x, y| TileKey { tile: TileId::new(z, x, y).unwrap(), ..key(0) };
    // North-west and south-east of zooms 1 and 2.
    let tiles: Vec<(TileKey, Bytes)> =
        [at(1, 0, 0), at(1, 1, 1), at(2, 0, 0), at(2, 3, 3)].into_iter().map(|key| (key, image(1))).collect();
    store.put("towers", &tiles).unwrap();
    store.put("ships", &tiles[..0]).unwrap();
    let left = |folder: &Path| stats(folder).unwrap().tiles;
    let north_west = Purge::all().touching(&"-170,10,-10,80".parse().unwrap());
    assert_eq!(purge(folder.path(), Some("ships"), &Purge::all()).unwrap(), 0);
    assert_eq!(purge(folder.path(), Some("towers"), &north_west.clone().zooms(2..=9)).unwrap(), 1);
    assert!(!store.holds(&at(2, 0, 0)).unwrap() && store.holds(&at(1, 0, 0)).unwrap());
    assert_eq!(purge(folder.path(), None, &north_west).unwrap(), 1);
    assert_eq!(purge(folder.path(), Some("towers"), &Purge::all().zooms(0..=1)).unwrap(), 1);
    assert_eq!(left(folder.path()), 1);
    assert_eq!(purge(folder.path(), None, &Purge::all()).unwrap(), 1);
    assert!(matches!(purge(&folder.path().join("nowhere"), None, &Purge::all()), Err(DiskError::Missing { .. })));
}

#[test]
fn whatever_byte_is_damaged_a_tile_is_whole_or_made_again_and_the_rest_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = filled(folder.path(), 200);
    let whole = std::fs::read(&file).unwrap();
    let (mut saved, mut rebuilt) = (0, 0);
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut broken = whole.clone();
        broken[at..(at + 64).min(whole.len())].fill(0xA5);
        std::fs::write(&file, broken).unwrap();
        let cache = DiskCache::open(folder.path(), 64 << 20).unwrap();
        for x in 0..200 {
            assert!(cache.get(&key(x)).is_none_or(|bytes| bytes == image(x)), "byte {at}, tile {x}");
        }
        settled(&cache);
        // It works again: what was lost can be kept, and what was intact is there.
        for x in (0..200).filter(|&x| cache.get(&key(x)).is_none()).collect::<Vec<_>>() {
            cache.insert(&key(x), "towers", image(x));
            saved -= 1;
        }
        settled(&cache);
        saved += 200;
        let aside = file.with_extension("sqlite.damaged");
        for x in 0..200 {
            // Damage that SQLite does not notice may keep a tile from being found, never be taken for one.
            let found = cache.get(&key(x));
            assert!(found.as_ref().is_none_or(|bytes| *bytes == image(x)), "byte {at}, tile {x}");
            assert!(found.is_some() || !aside.exists(), "byte {at}, tile {x} cannot be kept in the file that was made anew");
        }
        rebuilt += i32::from(aside.exists());
        let _ = std::fs::remove_file(aside);
        drop(cache);
    }
    assert!(rebuilt > 3, "of 60 places only {rebuilt} were damage to the tree: the test damages too little");
    assert!(saved > 60 * 200 / 2, "most of what was intact was lost: {saved} tiles of {} were kept", 60 * 200);
}

#[test]
fn a_file_cut_short_or_replaced_by_rubbish_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = filled(folder.path(), 100);
    let whole = std::fs::read(&file).unwrap();
    let rubbish = b"this is no database at all, but long enough to be taken for one by its size".to_vec();
    for broken in [whole[..whole.len() / 2].to_vec(), whole[..50].to_vec(), Vec::new(), rubbish] {
        std::fs::write(&file, &broken).unwrap();
        let cache = DiskCache::open(folder.path(), 64 << 20).unwrap();
        for round in 0..2 {
            for x in 0..100 {
                let found = cache.get(&key(x));
                assert!(found.as_ref().is_none_or(|bytes| *bytes == image(x)));
                assert!(round == 0 || found.is_some(), "{} bytes, tile {x}", broken.len());
                if found.is_none() {
                    cache.insert(&key(x), "towers", image(x));
                }
            }
            settled(&cache);
        }
    }
}

#[test]
fn two_caches_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let caches = [DiskCache::open(folder.path(), 64 << 20).unwrap(), DiskCache::open(folder.path(), 64 << 20).unwrap()];
    std::thread::scope(|scope| {
        for (i, cache) in caches.iter().enumerate() {
            scope.spawn(move || {
                for x in (0..300).filter(|x| x % 2 == i as u32) {
                    cache.insert(&key(x), "towers", image(x));
                    // The queue is bounded, and refuses what does not fit.
                    if x % 100 < 2 {
                        settled(cache);
                    }
                }
                settled(cache);
            });
        }
    });
    for cache in &caches {
        assert!((0..300).all(|x| cache.get(&key(x)) == Some(image(x))));
    }
    // One of them puts a damaged file aside; the other follows when it writes next.
    let path = caches[0].shared.path.clone();
    std::fs::rename(&path, path.with_extension("elsewhere")).unwrap();
    drop(Store::open(folder.path(), 64 << 20).unwrap());
    caches[1].insert(&key(1), "towers", image(1));
    settled(&caches[1]);
    assert_eq!(stats(folder.path()).unwrap().tiles, 1);
    assert_eq!((caches[1].get(&key(1)), caches[1].get(&key(2))), (Some(image(1)), None));
}

#[test]
fn what_is_not_written_in_time_is_not_kept_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let cache = DiskCache::open(folder.path(), 64 << 20).unwrap();
    let other = Connection::open(&cache.shared.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Nobody can write now: the caller is not held up, and what does not fit into the queue is let go.
    for x in 0..3 * WAITING_MAX as u32 {
        cache.insert(&key(x), "towers", image(x));
    }
    assert!(cache.shared.dropped.load(Ordering::Relaxed) > 0);
    other.execute_batch("ROLLBACK").unwrap();
    settled(&cache);
    std::thread::sleep(Duration::from_millis(1));
    assert!(stats(folder.path()).unwrap().tiles >= 1);
    assert_eq!(key_bytes(&key(1)).len(), 27);
}
