//! Counter-based random numbers: every draw is a pure function of a seed and the counters that name it.
//!
//! Nothing that is random here has a state to save: a shuffle is named by its epoch, a dropout mask by its step, an
//! augmentation by epoch and sample. A run that is resumed, or that uses another number of threads, draws the same numbers.

/// Mixes `value` so that near inputs give unrelated outputs (the finaliser of `SplitMix64`, Steele et al. 2014).
pub const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a stream of random numbers is for; two purposes never share numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Initial weights; counters: parameter, 0.
    Initialise = 1,
    /// The order of the training samples; counters: epoch, 0.
    Shuffle = 2,
    /// Dropout masks; counters: step, layer.
    Dropout = 3,
    /// Augmentation; counters: epoch, sample.
    Augment = 4,
    /// Corrupted images; counters: kind, sample.
    Corrupt = 5,
    /// What a search tries; counters: trial, attempt.
    Search = 6,
}

/// A stream of random numbers, named by seed, purpose and two counters.
#[derive(Clone, Debug)]
pub struct Stream {
    key: u64,
    drawn: u64,
}

impl Stream {
    /// The stream with this name, from its beginning.
    pub const fn new(seed: u64, purpose: Purpose, counters: [u64; 2]) -> Self {
        let key = mix(Self::prefix(seed, purpose, counters[0]) ^ counters[1]);
        Self { key, drawn: 0 }
    }

    /// What all streams of this seed and purpose with this first counter have in common: with the second one mixed in, it is the
    /// stream's key.
    pub const fn prefix(seed: u64, purpose: Purpose, counter: u64) -> u64 {
        mix(mix(seed ^ ((purpose as u64) << 56)) ^ counter)
    }

    /// The number at `index`, whatever was drawn before.
    pub const fn at(&self, index: u64) -> u64 {
        mix(self.key ^ index.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// The next 64 random bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.drawn += 1;
        self.at(self.drawn - 1)
    }

    /// Uniform in `[0, 1)`, with 24 random bits.
    pub const fn unit(&mut self) -> f32 {
        unit(self.next_u64())
    }

    /// Uniform in `[low, high)`.
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller 1958).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.unit()).cos()
    }

    /// Uniform in `0..bound`; `bound` must not be 0 (Lemire's multiply-shift, bias below 2⁻³²).
    pub const fn below(&mut self, bound: usize) -> usize {
        ((self.next_u64() as u128 * bound as u128) >> 64) as usize
    }

    /// `0..len` in a random order (Fisher and Yates).
    pub fn permutation(mut self, len: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..len as u32).collect();
        for last in (1..len).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

/// The upper 24 bits as a number in `[0, 1)`.
pub const fn unit(bits: u64) -> f32 {
    (bits >> 40) as f32 / (1 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::{Purpose, Stream};

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut order = Stream::new(1, Purpose::Shuffle, [3, 0]).permutation(1000);
        assert_ne!(order, (0..1000).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn streams_are_repeatable_and_differ_by_every_part_of_their_name() {
        let draw = |seed, purpose, counters| Stream::new(seed, purpose, counters).next_u64();
        let first = draw(1, Purpose::Dropout, [2, 3]);
        assert_eq!(first, draw(1, Purpose::Dropout, [2, 3]));
        for other in [
            draw(2, Purpose::Dropout, [2, 3]),
            draw(1, Purpose::Shuffle, [2, 3]),
            draw(1, Purpose::Dropout, [3, 2]),
            draw(1, Purpose::Dropout, [2, 4]),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn uniform_and_normal_have_the_moments_they_should() {
        let mut stream = Stream::new(7, Purpose::Augment, [0, 0]);
        let n = 100_000;
        let mean = (0..n).map(|_| f64::from(stream.unit())).sum::<f64>() / f64::from(n);
        assert!((mean - 0.5).abs() < 0.005, "mean {mean}");
        let square = (0..n).map(|_| f64::from(stream.normal()).powi(2)).sum::<f64>() / f64::from(n);
        assert!((square - 1.0).abs() < 0.02, "variance {square}");
    }
}
