//! Takes out of the microphone's sound what the speaker plays: the linear part of echo cancellation.
//!
//! A partitioned-block Kalman filter in the frequency domain (G. Enzner, P. Vary: Frequency-domain adaptive Kalman
//! filter for acoustic echo control in hands-free telephones, Signal Processing 86, 2006; partitioned as in F. Kuech,
//! E. Mabande, G. Enzner: State-space architecture of the partitioned-block-based acoustic echo controller, ICASSP
//! 2014). It keeps, for each coefficient, how uncertain that is, and weighs this against how much else there is to be heard: near
//! speech slows it down by itself, so that no double-talk detector is needed.
//!
//! Delay between speaker and microphone needs no estimate: the filter is long enough for both it and the room. What
//! the filter cannot model (above 8 kHz, distortion, echo later than 320 ms) is left to [`super::spectral`].

use realfft::num_complex::Complex32;

use super::spectrum::{LENGTH, NOTHING, Samples, Spectrum, Transform};
use crate::{BLOCK, Block, SILENCE, limits::MAX_FAR_BLOCKS};

/// Blocks of echo path that are modelled: 320 ms, of which devices take what they take and the room what is left.
const PARTITIONS: usize = 32;
/// Bins that are modelled, from the second on: 50 Hz to 8 kHz.
const MODELLED: usize = 160;
/// How much of a coefficient stays true from a block to the next: rooms change within some 10 s.
const MEMORY: f32 = 0.9999;
/// How uncertain each coefficient is in the beginning.
const DOUBT: f32 = 0.01;
/// No coefficient is ever more certain than this, nor does anything divide by less.
const LEAST: f32 = 1e-10;
/// Weight of the past in the power of what else is heard.
const NEAR_MEMORY: f32 = 0.9;
/// Its power to begin with.
const NEAR: f32 = 1e-3;
/// Partitions held to their length (the gradient constraint) in each block, in turn.
const CONSTRAINED: usize = 2;
/// The far end counts as silent below this power of a block: −90 dBFS.
const SILENT: f32 = 1e-9;
/// A filter that made a block this much louder lets it through as it came …
const WORST: f32 = 2.0;
/// … and one that for this many blocks made it this much louder on the average starts anew: the room is another one.
const WORSE_BLOCKS: u32 = 30;
const WORSE: f32 = 1.1;
/// Weight of the past in that average.
const WORSE_MEMORY: f32 = 0.95;
/// A far end of which no block was there this many times has stopped; until then it may be late.
const MISSING_BLOCKS: usize = MAX_FAR_BLOCKS;
/// Blocks of the far end that were waiting all this time (10 s) need not: they are left out.
const AHEAD_BLOCKS: u32 = 1000;

/// One plane of the filter: a number for each partition and bin.
type Plane = Box<[[f32; MODELLED]; PARTITIONS]>;

fn plane() -> Plane {
    // Made on the heap: it is too large to pass through the stack of a small thread.
    let rows = vec![[0.0; MODELLED]; PARTITIONS].into_boxed_slice();
    rows.try_into().unwrap_or_else(|_| Box::new([[0.0; MODELLED]; PARTITIONS]))
}

/// What the far end plays, in blocks that wait for the microphone's: one is taken for each of those.
struct Far {
    waiting: [Block; MAX_FAR_BLOCKS],
    first: usize,
    count: usize,
    /// Blocks that were missing in a row; at [`MISSING_BLOCKS`] the far end has stopped, or not begun.
    missing: usize,
    /// Fewest blocks left over lately after one was taken, and for how long that was watched.
    spare: usize,
    watched: u32,
}

impl Far {
    fn new() -> Self {
        Self {
            waiting: [SILENCE; MAX_FAR_BLOCKS],
            first: 0,
            count: 0,
            missing: MISSING_BLOCKS,
            spare: usize::MAX,
            watched: 0,
        }
    }

    fn push(&mut self, block: &Block) {
        if self.count == MAX_FAR_BLOCKS {
            // The microphone stands still: of what was played meanwhile nothing will be heard.
            self.count = 0;
        }
        self.waiting[(self.first + self.count) % MAX_FAR_BLOCKS] = *block;
        self.count += 1;
    }

    /// Gives the next block, or silence, and by how many blocks later (or earlier, if negative) echoes will be from now on.
    fn pop(&mut self, block: &mut Block) -> isize {
        if self.count == 0 {
            *block = SILENCE;
            (self.spare, self.watched) = (usize::MAX, 0);
            self.missing = (self.missing + 1).min(MISSING_BLOCKS);
            return 0;
        }
        *block = self.waiting[self.first];
        self.skip(1);
        let missing = std::mem::take(&mut self.missing);
        if missing > 0 && missing < MISSING_BLOCKS {
            // Blocks that were late wait from now on; those that are not there were lost.
            return -isize::try_from(self.count.min(missing)).unwrap_or(0);
        }
        self.spare = self.spare.min(self.count);
        self.watched += 1;
        if self.watched < AHEAD_BLOCKS {
            return 0;
        }
        let later = self.spare;
        self.skip(later);
        (self.spare, self.watched) = (usize::MAX, 0);
        isize::try_from(later).unwrap_or(0)
    }

    fn skip(&mut self, blocks: usize) {
        self.first = (self.first + blocks) % MAX_FAR_BLOCKS;
        self.count -= blocks;
    }
}

/// See the module's words.
pub(super) struct Echo {
    far: Far,
    transform: Transform,
    /// The far end's block before this one.
    last_far: Block,
    /// Spectra of the far end, and the power in them, as a ring of which `newest` is the present.
    far_re: Plane,
    far_im: Plane,
    far_power: Plane,
    newest: usize,
    /// The echo path.
    path_re: Plane,
    path_im: Plane,
    /// How uncertain it is.
    doubt: Plane,
    /// Power of what is heard besides the echo.
    near: [f32; MODELLED],
    /// The partition whose turn it is to be held to its length.
    turn: usize,
    /// Power with the filter and without, lately, and for how long the former was greater.
    with: f32,
    without: f32,
    worse: u32,
    /// What the microphone hears of the far end, as far as it is known.
    estimate: Block,
    is_active: bool,
    spectrum: Box<Spectrum>,
    samples: Box<Samples>,
}

impl Echo {
    pub(super) fn new() -> Self {
        let mut echo = Self {
            far: Far::new(),
            transform: Transform::new(),
            last_far: SILENCE,
            far_re: plane(),
            far_im: plane(),
            far_power: plane(),
            newest: 0,
            path_re: plane(),
            path_im: plane(),
            doubt: plane(),
            near: [0.0; MODELLED],
            turn: 0,
            with: 0.0,
            without: 0.0,
            worse: 0,
            estimate: SILENCE,
            is_active: false,
            spectrum: Box::new(NOTHING),
            samples: Box::new([0.0; LENGTH]),
        };
        echo.forget();
        echo
    }

    /// The far end plays a block.
    pub(super) fn hear(&mut self, far: &Block) {
        self.far.push(far);
    }

    /// Takes the echo out of a block of the microphone.
    pub(super) fn cancel(&mut self, block: &mut Block) {
        self.advance();
        self.is_active = self.far_power.iter().flatten().any(|power| *power > SILENT);
        if !self.is_active {
            self.estimate = SILENCE;
            return;
        }
        self.predict();
        let mut error = [0.0; BLOCK];
        for ((e, heard), echo) in error.iter_mut().zip(&*block).zip(&self.estimate) {
            *e = heard - echo;
        }
        self.learn(&error);
        let (with, without) = (power(&error), power(block));
        self.with = WORSE_MEMORY * self.with + (1.0 - WORSE_MEMORY) * with;
        self.without = WORSE_MEMORY * self.without + (1.0 - WORSE_MEMORY) * without;
        self.worse = if self.with > WORSE * self.without + SILENT { self.worse + 1 } else { 0 };
        if with > WORST * without {
            // Better the echo than what this makes of it.
            self.estimate = SILENCE;
        } else {
            *block = error;
        }
        if self.worse >= WORSE_BLOCKS || !with.is_finite() {
            self.forget();
        }
    }

    /// The echo that was taken out of the last block; `None` where the far end is silent and nothing can echo.
    pub(super) fn estimate(&self) -> Option<&Block> {
        self.is_active.then_some(&self.estimate)
    }

    /// Nothing is known of the echo path.
    fn forget(&mut self) {
        self.worse = 0;
        self.near = [NEAR; MODELLED];
        (self.with, self.without) = (0.0, 0.0);
        self.path_re.as_flattened_mut().fill(0.0);
        self.path_im.as_flattened_mut().fill(0.0);
        self.doubt.as_flattened_mut().fill(DOUBT);
    }

    /// Takes the far end's next block.
    fn advance(&mut self) {
        let mut far = SILENCE;
        let later = self.far.pop(&mut far);
        self.shift(later);
        self.samples[..BLOCK].copy_from_slice(&self.last_far);
        self.samples[BLOCK..].copy_from_slice(&far);
        self.last_far = far;
        self.transform.forward(&mut self.samples, &mut self.spectrum);
        self.newest = (self.newest + PARTITIONS - 1) % PARTITIONS;
        let at = self.newest;
        for (i, bin) in self.spectrum[1..=MODELLED].iter().enumerate() {
            (self.far_re[at][i], self.far_im[at][i]) = (bin.re, bin.im);
            self.far_power[at][i] = bin.norm_sqr();
        }
    }

    /// Echoes come `later` blocks later than before.
    fn shift(&mut self, later: isize) {
        let by = later.unsigned_abs().min(PARTITIONS);
        if by == 0 {
            return;
        }
        for (plane, new) in [(&mut self.path_re, 0.0), (&mut self.path_im, 0.0), (&mut self.doubt, DOUBT)] {
            if later > 0 {
                plane.rotate_right(by);
                plane[..by].as_flattened_mut().fill(new);
            } else {
                plane.rotate_left(by);
                plane[PARTITIONS - by..].as_flattened_mut().fill(new);
            }
        }
    }

    /// What the microphone should hear of the far end, into `estimate`.
    fn predict(&mut self) {
        let (mut re, mut im) = ([0.0; MODELLED], [0.0; MODELLED]);
        for p in 0..PARTITIONS {
            let x = (self.newest + p) % PARTITIONS;
            let (far_re, far_im) = (&self.far_re[x], &self.far_im[x]);
            let (path_re, path_im) = (&self.path_re[p], &self.path_im[p]);
            for i in 0..MODELLED {
                re[i] += far_re[i] * path_re[i] - far_im[i] * path_im[i];
                im[i] += far_re[i] * path_im[i] + far_im[i] * path_re[i];
            }
        }
        self.transform_back(&re, &im);
        self.estimate.copy_from_slice(&self.samples[BLOCK..]);
    }

    /// Corrects the echo path by what is left.
    fn learn(&mut self, error: &Block) {
        self.samples[..BLOCK].fill(0.0);
        self.samples[BLOCK..].copy_from_slice(error);
        self.transform.forward(&mut self.samples, &mut self.spectrum);
        let (mut error_re, mut error_im) = ([0.0; MODELLED], [0.0; MODELLED]);
        for (i, bin) in self.spectrum[1..=MODELLED].iter().enumerate() {
            (error_re[i], error_im[i]) = (bin.re, bin.im);
            self.near[i] = NEAR_MEMORY * self.near[i] + (1.0 - NEAR_MEMORY) * bin.norm_sqr();
        }
        // Power that the doubtful part of the echo may have; half, since half of a transform's samples are the block's.
        let mut doubtful = [0.0; MODELLED];
        for p in 0..PARTITIONS {
            let power = &self.far_power[(self.newest + p) % PARTITIONS];
            for i in 0..MODELLED {
                doubtful[i] += 0.5 * power[i] * self.doubt[p][i];
            }
        }
        let mut per_power = [0.0; MODELLED];
        for i in 0..MODELLED {
            per_power[i] = 1.0 / (doubtful[i] + self.near[i] + LEAST);
        }
        for p in 0..PARTITIONS {
            let x = (self.newest + p) % PARTITIONS;
            let (far_re, far_im, power) = (&self.far_re[x], &self.far_im[x], &self.far_power[x]);
            let (path_re, path_im, doubt) = (&mut self.path_re[p], &mut self.path_im[p], &mut self.doubt[p]);
            for i in 0..MODELLED {
                let step = doubt[i] * per_power[i];
                let re = path_re[i] + step * (far_re[i] * error_re[i] + far_im[i] * error_im[i]);
                let im = path_im[i] + step * (far_re[i] * error_im[i] - far_im[i] * error_re[i]);
                (path_re[i], path_im[i]) = (re, im);
                let kept = MEMORY * MEMORY * (1.0 - 0.5 * step * power[i]) * doubt[i];
                doubt[i] = (kept + (1.0 - MEMORY * MEMORY) * (re * re + im * im)).max(LEAST);
            }
        }
        for _ in 0..CONSTRAINED {
            self.turn = (self.turn + 1) % PARTITIONS;
            self.constrain(self.turn);
        }
    }

    /// A partition is one block long in time: what grew beyond that is cut off.
    fn constrain(&mut self, p: usize) {
        let (re, im) = (self.path_re[p], self.path_im[p]);
        self.transform_back(&re, &im);
        self.samples[BLOCK..].fill(0.0);
        self.transform.forward(&mut self.samples, &mut self.spectrum);
        for (i, bin) in self.spectrum[1..=MODELLED].iter().enumerate() {
            (self.path_re[p][i], self.path_im[p][i]) = (bin.re, bin.im);
        }
    }

    /// The samples of a plane's row, into `samples`.
    fn transform_back(&mut self, re: &[f32; MODELLED], im: &[f32; MODELLED]) {
        *self.spectrum = NOTHING;
        for (i, bin) in self.spectrum[1..=MODELLED].iter_mut().enumerate() {
            *bin = Complex32::new(re[i], im[i]);
        }
        self.transform.backward(&mut self.spectrum, &mut self.samples);
    }
}

/// Mean square.
fn power(block: &Block) -> f32 {
    block.iter().map(|s| s * s).sum::<f32>() / BLOCK as f32
}
