//! Random numbers that are the same on every run: one small generator for each (seed, stream), and the draws that the data need.
//!
//! xoshiro256++ seeded by SplitMix64 (both as published by Blackman and Vigna, by way of `rand_xoshiro`, which promises stable values). It knows
//! nothing of what is drawn.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// One stream of random numbers.
pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The stream `stream` of `seed`. Streams are independent, so chunks can be made in any order and by any number of threads.
    pub fn of(seed: u64, stream: u64) -> Random {
        // The odd constant of SplitMix64 spreads neighbouring streams over the whole seed space.
        Random(Xoshiro256PlusPlus::seed_from_u64(seed.rotate_left(32) ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// Uniform in `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in `[low, high)`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform among `0..count`; `count` must not be 0.
    pub fn below(&mut self, count: u64) -> u64 {
        // Multiply-shift: the bias of at most count / 2^64 is far below anything visible.
        ((u128::from(self.0.next_u64()) * u128::from(count)) >> 64) as u64
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// One of `items`, all equally likely.
    pub fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// The standard normal distribution (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// The exponential distribution with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    /// The log-normal distribution with this median and this standard deviation of the logarithm.
    pub fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }
}

/// Draws an index with a probability proportional to its weight, in constant time (Walker's alias method, as arranged by Vose).
pub struct Weighted {
    keep: Vec<f64>,
    alias: Vec<u32>,
}

impl Weighted {
    /// # Panics
    /// If there is no weight, or their sum is not a positive number.
    pub fn new(weights: impl IntoIterator<Item = f64>) -> Weighted {
        let mut keep: Vec<f64> = weights.into_iter().collect();
        let mean = keep.iter().sum::<f64>() / keep.len() as f64;
        assert!(mean > 0.0, "weights must have a positive sum");
        keep.iter_mut().for_each(|weight| *weight /= mean);
        let mut alias = vec![0; keep.len()];
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..keep.len()).partition(|&i| keep[i] < 1.0);
        while let (Some(&under), Some(&over)) = (small.last(), large.last()) {
            small.pop();
            alias[under] = over as u32;
            keep[over] -= 1.0 - keep[under];
            if keep[over] < 1.0 {
                large.pop();
                small.push(over);
            }
        }
        // What is left differs from 1 by rounding only.
        small.into_iter().chain(large).for_each(|i| keep[i] = 1.0);
        Weighted { keep, alias }
    }

    pub fn pick(&self, random: &mut Random) -> usize {
        let i = random.below(self.keep.len() as u64) as usize;
        if random.uniform() < self.keep[i] { i } else { self.alias[i] as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |seed, stream| Random::of(seed, stream).below(u64::MAX);
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn weights_are_met() {
        let weights = [1.0, 0.0, 5.0, 2.0];
        let table = Weighted::new(weights);
        let mut random = Random::of(1, 1);
        let mut drawn = [0u32; 4];
        (0..80_000).for_each(|_| drawn[table.pick(&mut random)] += 1);
        for (weight, drawn) in weights.iter().zip(drawn) {
            assert!((f64::from(drawn) - weight * 10_000.0).abs() < 400.0, "{weight}: {drawn}");
        }
    }

    #[test]
    fn the_normal_has_mean_0_and_variance_1() {
        let mut random = Random::of(3, 1);
        let draws: Vec<f64> = (0..50_000).map(|_| random.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 5e4;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / 5e4;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }
}
