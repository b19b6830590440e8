//! What defaults are derived from: what this machine lets the program have.

/// Files that the program needs beside connections: datasets are mapped and closed, so only sockets, logs and caches count.
const FILES_RESERVED: usize = 64;

/// Where the system does not say how many files there may be: what POSIX promises at the least is 20, what Linux gives is this.
const FILES_DEFAULT: usize = 1024;

/// As many connections as there may be files, less some.
pub fn connections_max() -> usize {
    files_max().saturating_sub(FILES_RESERVED).max(1)
}

#[cfg(unix)]
fn files_max() -> usize {
    rlimit::Resource::NOFILE.get().map_or(FILES_DEFAULT, |(current, _)| usize::try_from(current).unwrap_or(FILES_DEFAULT))
}

#[cfg(not(unix))]
fn files_max() -> usize {
    FILES_DEFAULT
}

/// Lets the program open as many files as the system allows it to ask for: the limit that shells begin with is for programs
/// that still use `select`.
#[cfg(unix)]
pub fn raise_files_max() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        // Nothing is lost: the limit of connections is derived from what there is.
        tracing::debug!("the limit of open files stays as it is: {error}");
    }
}

#[cfg(not(unix))]
pub fn raise_files_max() {}
