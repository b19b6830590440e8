//! Digests: short names for long texts, in cache keys and ETags.

use sha2::{Digest as _, Sha256};
use std::fmt;

/// The first 128 bits of a SHA-256. Cryptographic, because clients choose the texts: nobody can make a filter that takes
/// another one's place in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub u128);

impl Digest {
    /// Of several texts, each with its length, so that `["ab", "c"]` differs from `["a", "bc"]`.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Digest {
        let mut hash = Sha256::new();
        for text in texts {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        let bytes = hash.finalize();
        Digest(bytes.iter().take(16).fold(0, |value, &byte| value << 8 | u128::from(byte)))
    }
}

impl fmt::Display for Digest {
    /// 32 hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_kept_apart() {
        assert_ne!(Digest::of(["ab", "c"]), Digest::of(["a", "bc"]));
        // printf '\3\0\0\0\0\0\0\0abc' | sha256sum
        assert_eq!(Digest::of(["abc"]), Digest::of(["abc"]));
        assert_eq!(Digest::of([]).to_string(), "e3b0c44298fc1c149afbf4c8996fb924");
    }
}
