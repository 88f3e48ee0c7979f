//! Chance: one generator, seeded, and the same on every machine.
//!
//! Sources: Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021 (xoshiro256**); Steele, Lea
//! and Flood, "Fast splittable pseudorandom number generators", 2014 (SplitMix64, for the seeding). Only integers
//! are drawn: floating point would tie a run to a mathematics library.

use std::ops::Range;
use std::time::Duration;

use crate::time::nanos;

/// A probability in parts per million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ppm(pub u32);

impl Ppm {
    /// What never happens.
    pub const NEVER: Ppm = Ppm(0);

    /// A probability in per cent.
    pub const fn percent(percent: u32) -> Self {
        Ppm(percent * 10_000)
    }
}

/// A seeded source of chance.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The generator of a seed. Neighbouring seeds give unrelated numbers.
    pub fn new(seed: u64) -> Self {
        let mut mixer = seed;
        Rng { state: [(); 4].map(|()| splitmix64(&mut mixer)) }
    }

    /// A generator of its own for one purpose, so that what one part of a simulation draws doesn't shift what
    /// another draws: taking a fault out of a schedule must not reshuffle the workload.
    pub fn for_purpose(seed: u64, purpose: u64) -> Self {
        let mut mixer = purpose;
        Rng::new(seed ^ splitmix64(&mut mixer))
    }

    /// Any 64 bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let drawn = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        drawn
    }

    /// A number below `bound`, which must not be zero.
    ///
    /// The product's high half is biased by less than `bound / 2^64`, which no test here can notice.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a draw from nothing");
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in the range, which must not be empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        assert!(range.start < range.end, "a draw from an empty range");
        range.start + self.below(range.end - range.start)
    }

    /// Whether something of that probability happens. What never happens costs no draw.
    #[inline]
    pub fn happens(&mut self, probability: Ppm) -> bool {
        probability.0 > 0 && self.below(1_000_000) < u64::from(probability.0)
    }

    /// One of the choices, which must not be empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// A duration in the range; its start if the range is empty.
    #[inline]
    pub fn duration(&mut self, range: &Range<Duration>) -> Duration {
        let (start, end) = (nanos(range.start), nanos(range.end));
        if start >= end {
            return range.start;
        }
        Duration::from_nanos(start + self.below(end - start))
    }

    /// A duration in the range, every order of magnitude as likely as any other: faults that last microseconds and
    /// faults that last seconds find different bugs. The range's start must not be zero.
    pub fn duration_by_magnitude(&mut self, range: &Range<Duration>) -> Duration {
        let (start, end) = (nanos(range.start), nanos(range.end));
        assert!(0 < start && start < end, "a draw by magnitude needs a range above zero");
        let doublings = u64::from((end / start).ilog2()) + 1;
        let low = start << self.below(doublings);
        let high = low.saturating_mul(2).min(end);
        Duration::from_nanos(if low < high { self.within(low..high) } else { low })
    }
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_the_published_numbers() {
        let mut state = 1_234_567;
        let drawn: Vec<u64> = (0..3).map(|_| splitmix64(&mut state)).collect();
        assert_eq!(
            drawn,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn xoshiro_gives_the_published_numbers() {
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let drawn: Vec<u64> = (0..4).map(|_| rng.bits()).collect();
        assert_eq!(drawn, [11_520, 0, 1_509_978_240, 1_215_971_899_390_074_240]);
    }

    #[test]
    fn a_draw_stays_within_its_bounds_and_reaches_both_ends() {
        let mut rng = Rng::new(1);
        let mut seen = [false; 7];
        for _ in 0..1_000 {
            seen[rng.below(7) as usize] = true;
            let range = Duration::from_millis(1)..Duration::from_millis(900);
            assert!(range.contains(&rng.duration(&range)));
            assert!(range.contains(&rng.duration_by_magnitude(&range)));
        }
        assert_eq!(seen, [true; 7]);
    }

    #[test]
    fn a_probability_is_about_as_often_true_as_it_says() {
        let mut rng = Rng::new(2);
        let happened = (0..100_000).filter(|_| rng.happens(Ppm::percent(20))).count();
        assert!((19_000..21_000).contains(&happened), "{happened} of 100000 at 20 %");
        assert!(!(0..1_000).any(|_| rng.happens(Ppm::NEVER)));
    }

    #[test]
    fn purposes_of_one_seed_draw_different_numbers() {
        assert_ne!(Rng::for_purpose(1, 1).bits(), Rng::for_purpose(1, 2).bits());
        assert_eq!(Rng::for_purpose(1, 1).bits(), Rng::for_purpose(1, 1).bits());
    }
}
