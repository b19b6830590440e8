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

/// The bits at the top of a digest that name the data.
const DATA_BITS: u32 = 32;

impl Digest {
    /// The same with a data version in its top bits, by which a cache knows what belongs to a dataset. The 96 bits that stay are
    /// enough to keep apart what clients choose.
    pub fn of_data(self, data_version: &str) -> Digest {
        Digest(data_bits(data_version) | self.0 << DATA_BITS >> DATA_BITS)
    }

    /// The same for data of a version, in which it keeps the bits that name the data.
    pub fn at(self, data_version: &str) -> Digest {
        let mixed = Digest::of([self.to_string().as_str(), data_version]);
        Digest(self.0 >> (128 - DATA_BITS) << (128 - DATA_BITS) | mixed.0 << DATA_BITS >> DATA_BITS)
    }

    /// Whether it may be of this data version: one in 2^32 others looks the same.
    pub fn is_of_data(self, data_version: &str) -> bool {
        self.0 >> (128 - DATA_BITS) == data_bits(data_version) >> (128 - DATA_BITS)
    }
}

fn data_bits(data_version: &str) -> u128 {
    Digest::of([data_version]).0 >> (128 - DATA_BITS) << (128 - DATA_BITS)
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

    #[test]
    fn a_digest_says_of_which_data_it_is() {
        let (one, other) = (Digest::of(["a"]).of_data("v1"), Digest::of(["b"]).of_data("v1"));
        assert_ne!(one, other);
        assert!(one.is_of_data("v1") && other.is_of_data("v1") && !one.is_of_data("v2"));
        assert_eq!(one.0 << 32, Digest::of(["a"]).0 << 32);
        let later = one.at("v3");
        assert!(later.is_of_data("v1") && later != one && later == one.at("v3") && later != one.at("v4") && later != other.at("v3"));
    }
}
