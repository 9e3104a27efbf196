//! Randomness as the core sees it: a generator from a seed that the driver hands in (production: 32 bytes from the
//! operating system; simulator: the run's number).

use rand_chacha::{
    ChaCha12Rng,
    rand_core::{RngCore, SeedableRng},
};

/// A cryptographically strong generator (ChaCha12): tokens made from it cannot be guessed as long as the seed cannot.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// The generator of this seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// The generator of a small number, for simulations.
    pub fn from_number(number: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(number))
    }

    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound` (0 for 0), without bias worth the name (Lemire's multiplication).
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}
