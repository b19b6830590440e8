//! The one place with `unsafe`: mapping a file into memory, and surviving that it is cut meanwhile.
//!
//! Measured reason: copying the 0.5 GB of hot columns of 40 million points at start-up takes 0.3 s and holds every column in
//! memory; mapped, a dataset opens in milliseconds and only the columns that filters use are ever read.
//!
//! A read beyond the end of a file that has become shorter raises SIGBUS, which ends a process. That is right for a command, which
//! leaves nothing half-made, and wrong for a server of many datasets: [`survive_cut_files`] puts zeros in the place of what is gone
//! and remembers of which map. Whoever reads asks [`cuts`] before and after, and throws away what was made of zeros.

#![allow(unsafe_code)]

use super::DatasetError;
use super::held::HeldFile;
use std::fs::File;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Once};

/// Maps a file read-only. An empty file gives an empty buffer.
///
/// # Errors
/// The file cannot be opened or mapped.
pub(super) fn map(path: &Path) -> Result<(bytes::Bytes, HeldFile), DatasetError> {
    let file = File::open(path).map_err(DatasetError::io("open", path))?;
    let metadata = file.metadata().map_err(DatasetError::io("read", path))?;
    if metadata.len() == 0 {
        return Ok((bytes::Bytes::new(), HeldFile::new(path, &metadata)));
    }
    // SAFETY: the map is read-only and private to this process. Datasets are written beside and renamed into place, never changed in
    // place, so a mapped file keeps its bytes for as long as the map lives, even after its name has gone. Where another process
    // cuts it all the same, reads give zeros or end the process; where one writes into it, they give other bytes, which are
    // numbers of the same type as before. HeldFile finds both.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(DatasetError::io("map", path))?;
    let place = Arc::new(Place::taken(map.as_ptr() as usize, map.len()));
    let held = HeldFile::new(path, &metadata).mapped(place.clone());
    Ok((bytes::Bytes::from_owner(Map { place, map }), held))
}

/// How often, in this process, a file has turned out to be shorter than its map.
pub fn cuts() -> u64 {
    CUTS.load(Ordering::Acquire)
}

static CUTS: AtomicU64 = AtomicU64::new(0);

struct Map {
    place: Arc<Place>,
    map: memmap2::Mmap,
}

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for Map {
    /// The place is forgotten before the fields are dropped and others may map something there.
    fn drop(&mut self) {
        self.place.slot.end.store(0, Ordering::Release);
    }
}

/// Where a map lies, or lay, and whether its file has been found to be cut.
#[derive(Debug)]
pub(super) struct Place {
    slot: &'static Slot,
}

/// What the handler of SIGBUS, which may take neither a lock nor memory, finds a map by: an entry of a list that only grows. An entry
/// that is not taken is used again, so the list is as long as there have been maps at a time.
#[derive(Debug)]
struct Slot {
    is_taken: AtomicBool,
    start: AtomicUsize,
    /// 0 where no map is there any more.
    end: AtomicUsize,
    is_cut: AtomicBool,
    next: AtomicPtr<Slot>,
}

static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());

fn slots() -> impl Iterator<Item = &'static Slot> {
    // SAFETY: the list's entries are leaked boxes: valid for ever, and shared only.
    let entry = |link: &AtomicPtr<Slot>| unsafe { link.load(Ordering::Acquire).as_ref::<'static>() };
    std::iter::successors(entry(&SLOTS), move |slot| entry(&slot.next))
}

impl Place {
    fn taken(start: usize, bytes: usize) -> Place {
        let free = slots().find(|slot| !slot.is_taken.swap(true, Ordering::AcqRel));
        let slot = free.unwrap_or_else(Slot::added);
        slot.is_cut.store(false, Ordering::Release);
        slot.start.store(start, Ordering::Release);
        slot.end.store(start + bytes, Ordering::Release);
        Place { slot }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.slot.is_cut.load(Ordering::Acquire)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.slot.is_taken.store(false, Ordering::Release);
    }
}

impl Slot {
    /// A new entry, taken.
    fn added() -> &'static Slot {
        let slot: &'static Slot = Box::leak(Box::new(Slot {
            is_taken: AtomicBool::new(true),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            is_cut: AtomicBool::new(false),
            next: AtomicPtr::new(ptr::null_mut()),
        }));
        let mut first = SLOTS.load(Ordering::Acquire);
        loop {
            slot.next.store(first, Ordering::Release);
            match SLOTS.compare_exchange(first, ptr::from_ref(slot).cast_mut(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return slot,
                Err(other) => first = other,
            }
        }
    }
}

static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// What SIGBUS did before, for what is none of ours: Rust's own handler, as a rule, which ends the process.
static FORMER: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// From here on, to read what a file no longer has gives zeros, and counts as one of [`cuts`]. For the whole process; once is enough.
pub fn survive_cut_files() {
    static ONCE: Once = Once::new();
    // SAFETY: both structures are plain data for which zeros are valid; the handler does only what a handler may (below); and it is
    // installed after what it reads is in place.
    ONCE.call_once(|| unsafe {
        let page_bytes = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(4096);
        PAGE_BYTES.store(page_bytes, Ordering::Release);
        let mut former: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGBUS, ptr::null(), &mut former);
        FORMER.store(Box::leak(Box::new(former)), Ordering::Release);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_bus_error as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        if libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) != 0 {
            tracing::warn!("SIGBUS cannot be handled: a dataset's file that is cut while it is served will end the server");
        }
    });
}

extern "C" fn on_bus_error(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives a valid `info`.
    let address = unsafe { (*info).si_addr() } as usize;
    let holds = |slot: &&Slot| slot.start.load(Ordering::Acquire) <= address && address < slot.end.load(Ordering::Acquire);
    if let Some(slot) = slots().find(holds) {
        let first = address & !(PAGE_BYTES.load(Ordering::Acquire) - 1);
        let bytes = slot.end.load(Ordering::Acquire) - first;
        slot.is_cut.store(true, Ordering::Release);
        CUTS.fetch_add(1, Ordering::AcqRel);
        // SAFETY: from the page at fault to the map's end nothing can be read any more, so nothing that is read is replaced; the range is
        // this map's own and stays mapped, read-only, until the map's owner unmaps it. The call is one system call.
        let filled = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            libc::mmap(first as *mut libc::c_void, bytes, libc::PROT_READ, flags, -1, 0)
        };
        if filled != libc::MAP_FAILED {
            return;
        }
    }
    // SAFETY: stored before this handler was installed, and never freed. The access is made again, and is then the former handler's.
    unsafe { libc::sigaction(libc::SIGBUS, FORMER.load(Ordering::Acquire), ptr::null_mut()) };
}
