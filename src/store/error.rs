//! What can go wrong with a store, by what the caller can do about it.

use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    #[error("there is no {0}")]
    NotFound(String),
    #[error("{url} is not for these credentials ({cause}): set those of the store, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")]
    Denied { url: String, cause: String },
    /// It may come back: what was asked for may be asked for again.
    #[error("{url} does not answer: {cause}")]
    Away { url: String, cause: String },
    /// The URL, the settings or the request are wrong, and will be.
    #[error("{0}")]
    Wrong(String),
    /// A file on this side.
    #[error("cannot {action} {path}: {cause}")]
    File { action: &'static str, path: String, cause: String },
}

impl StoreError {
    pub(super) fn of(url: String, error: object_store::Error) -> StoreError {
        use object_store::Error as E;
        let cause = root_of(&error);
        match error {
            E::NotFound { .. } => StoreError::NotFound(url),
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => StoreError::Denied { url, cause },
            E::InvalidPath { .. } | E::NotSupported { .. } | E::NotImplemented { .. } | E::UnknownConfigurationKey { .. } => {
                StoreError::Wrong(format!("{url} cannot be used: {cause}"))
            }
            _ => StoreError::Away { url, cause },
        }
    }

    pub(super) fn file(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> StoreError {
        let path = path.display().to_string();
        move |cause| StoreError::File { action, path, cause: cause.to_string() }
    }

    /// Whether it may be otherwise in a moment.
    pub fn is_away(&self) -> bool {
        matches!(self, StoreError::Away { .. })
    }
}

/// What lies at the bottom of a chain of errors: the layers above it repeat the request and its retries.
fn root_of(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}
