//! The power of the background behind a voice, by minimum statistics.
//!
//! Speech has gaps, between words and within them, in which the background alone is heard: the least power of the last
//! few seconds is the background's. R. Martin, "Noise power spectral density estimation based on optimal smoothing
//! and minimum statistics", IEEE Trans. Speech and Audio Processing 9 (2001), for the whole band at once, and without its
//! bias compensation: what is found is the quietest, not the mean.

use crate::{BLOCK, Block};

/// The minimum is taken over so many windows, the one being filled included …
const WINDOWS: usize = 4;
/// … of so many blocks: 3 to 4 s of heard sound.
const WINDOW_BLOCKS: u32 = 100;

/// The least power of a block lately.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    windows: [f32; WINDOWS],
    filled: u32,
}

impl Floor {
    pub(crate) fn new() -> Self {
        Self { windows: [f32::INFINITY; WINDOWS], filled: 0 }
    }

    /// Takes the power of the next block; anything but a number from 0 up is not looked at.
    pub(crate) fn push(&mut self, power: f32) {
        if !power.is_finite() || power < 0.0 {
            return;
        }
        if self.filled >= WINDOW_BLOCKS {
            self.windows.rotate_right(1);
            self.windows[0] = f32::INFINITY;
            self.filled = 0;
        }
        self.windows[0] = self.windows[0].min(power);
        self.filled += 1;
    }

    /// The least power; `None` before the first block.
    pub(crate) fn power(&self) -> Option<f32> {
        let least = self.windows.iter().copied().fold(f32::INFINITY, f32::min);
        least.is_finite().then_some(least)
    }
}

/// Mean square of a block. Not a finite number if the block holds what is none.
pub(crate) fn power(block: &Block) -> f32 {
    dot(block, block) / BLOCK as f32
}

/// The sum of the products of two equally long rows.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Eight sums, which a compiler can keep side by side.
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_power_is_kept_for_three_seconds_and_gone_after_four() {
        let mut floor = Floor::new();
        assert_eq!(floor.power(), None);
        floor.push(0.5);
        floor.push(0.1);
        for _ in 0..300 {
            floor.push(0.5);
            assert_eq!(floor.power(), Some(0.1));
        }
        (0..100).for_each(|_| floor.push(0.5));
        assert_eq!(floor.power(), Some(0.5));
        for odd in [f32::NAN, f32::INFINITY, -1.0] {
            floor.push(odd);
        }
        assert_eq!(floor.power(), Some(0.5));
    }

    #[test]
    fn rows_of_any_length_are_multiplied_to_their_ends() {
        let (a, b): (Vec<f32>, Vec<f32>) = (0..23).map(|i| (i as f32, 2.0 - i as f32)).unzip();
        for length in 0..=23 {
            let want: f32 = a[..length].iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(dot(&a[..length], &b[..length]), want, "{length}");
        }
    }

    #[test]
    fn power_is_the_mean_square() {
        let block: Block = std::array::from_fn(|i| if i % 2 == 0 { 0.5 } else { -0.1 });
        assert!((power(&block) - 0.13).abs() < 1e-6);
        assert!(!power(&[f32::NAN; BLOCK]).is_finite() && !power(&[f32::MAX; BLOCK]).is_finite());
    }
}
