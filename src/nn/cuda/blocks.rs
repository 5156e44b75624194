//! How the products of convolutions are cut into blocks: which samples, rows and columns a block of threads does, and how its warps
//! share them.

use super::program::{Affine, After};

/// Blocks that keep the whole GPU at work: two for each multiprocessor of the largest.
const BLOCKS: usize = 264;
/// The batch that the shares of the sums of weight gradients are cut for. They must not depend on the batch itself, so that a step
/// adds up in the same order whatever came before it.
const USUAL_BATCH: usize = 256;

/// A block's tile of a product, as in `kernels.cu`: rows, columns and entries of the sum, and the warps that share each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    pub rows: usize,
    pub columns: usize,
    pub depth: usize,
    pub warps: [usize; 3],
}

impl Tile {
    const fn new(rows: usize, columns: usize, depth: usize, warps: [usize; 3]) -> Self {
        Self { rows, columns, depth, warps }
    }

    /// Threads of a block.
    pub const fn threads(&self) -> usize {
        32 * self.warps[0] * self.warps[1] * self.warps[2]
    }

    /// For products with `rows` rows a sample: many rows fill the GPU with large tiles; few rows need small ones, whose warps share
    /// the sum, so that it doesn't take long.
    fn along(rows: usize, columns: usize, depth: usize) -> Self {
        let narrow = columns <= 16;
        match rows {
            64.. if depth <= 16 => Self::new(64, if narrow { 16 } else { 32 }, 16, [2, 2, 1]),
            64.. if columns > 32 => Self::new(64, 64, 32, [2, 2, 1]),
            64.. => Self::new(64, if narrow { 16 } else { 32 }, 32, [2, 2, 1]),
            2.. => Self::new(32, if narrow { 16 } else { 32 }, 64, [1, 2, 2]),
            _ if narrow => Self::new(16, 16, 128, [1, 1, 4]),
            _ => Self::new(16, 32, 128, [1, 1, 4]),
        }
    }

    pub fn forward(affine: &Affine) -> Self {
        Self::along(affine.rows(8) / 8, affine.filters, affine.depth())
    }

    pub fn input_gradient(affine: &Affine) -> Self {
        let [height, width, channels] = affine.input;
        match height * width {
            1 => Self::new(16, 64, 64, [1, 4, 1]),
            positions => Self::along(positions, channels, affine.kernel[0] * affine.kernel[1] * affine.filters),
        }
    }

    pub fn weight_gradient(affine: &Affine) -> Self {
        let narrow = affine.depth() < 16;
        match affine.filters {
            33.. => Self::new(64, if narrow { 16 } else { 32 }, 32, [2, 2, 1]),
            17.. if narrow => Self::new(32, 16, 64, [2, 1, 2]),
            17.. => Self::new(32, 32, 64, [2, 1, 2]),
            _ if narrow => Self::new(16, 16, 64, [1, 1, 4]),
            _ => Self::new(16, 32, 64, [1, 2, 2]),
        }
    }

    /// As in `kernels.cu`.
    pub fn text(&self) -> String {
        let [m, n, k] = self.warps;
        format!("Tile<{}, {}, {}, {m}, {n}, {k}>", self.rows, self.columns, self.depth)
    }
}

/// How a convolution's products are computed. All ways give the same but for rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Tiles whose operands are gathered: any shape.
    Tiles(Tile),
    /// The maps of some samples in shared memory: see [`Whole`].
    Whole(Whole),
    /// The image, whose one channel makes no matrix.
    Image,
}

/// Blocks that take so many samples whole, and share them and the columns between their warps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    pub samples: usize,
    /// 16×8 fragments of a warp.
    pub fragments: [usize; 2],
    pub warps: [usize; 2],
    /// How many such groups of warps share the sums.
    groups: usize,
    /// Bytes of shared memory.
    pub shared: usize,
}

impl Whole {
    /// Columns of a block.
    pub const fn columns(&self) -> usize {
        self.fragments[1] * self.warps[1] * 8
    }

    pub const fn threads(&self) -> usize {
        32 * self.warps[0] * self.warps[1] * self.groups
    }

    /// The same with two groups of warps, and memory to add up what they have.
    fn doubled(self) -> Self {
        let sums = 4 * self.threads() * self.fragments[0] * self.fragments[1] * 4;
        Self { groups: 2, shared: self.shared.max(sums), ..self }
    }
}

/// The most fragments of sums that a warp can hold in registers.
const MOST_FRAGMENTS: usize = 16;

/// A convolution of more than one position, of whole groups of channels and filters.
fn can_be_whole(affine: &Affine) -> bool {
    let [height, width, channels] = affine.input;
    height * width > 1 && channels.is_multiple_of(8) && affine.filters.is_multiple_of(8)
}

/// Rows and columns of the input with the zeros around it.
fn padded(affine: &Affine) -> [usize; 2] {
    let [height, width, _] = affine.input;
    [height, width].map(|side| side + 2 * affine.padding)
}

/// Values of a map whose positions are `stride` apart, with as much to spare as the kernels leave between rows at most.
const fn map_len(height: usize, width: usize, stride: usize) -> usize {
    height * (width * stride + 32)
}

/// As in `kernels.cu`.
const fn across(len: usize) -> usize {
    if len.is_multiple_of(16) { len + 8 } else { len }
}

/// The way of the forward pass, where a block can have `limit` bytes of shared memory; `image` if the image goes in.
pub fn forward_way(affine: &Affine, image: bool, limit: usize) -> Way {
    if image && affine.output() != [1, 1] {
        return Way::Image;
    }
    let pool = affine.after == After::ReluPool;
    let rows = |samples: usize| affine.rows(samples);
    let samples = (64 / rows(1)).max(1);
    let tiles = rows(samples).div_ceil(16);
    let mt = if pool { (tiles / 2).div_ceil(4) * 2 } else { tiles.div_ceil(4) };
    let nt = affine.filters.div_ceil(8).min(MOST_FRAGMENTS / mt.min(MOST_FRAGMENTS)).min(if mt == 1 { 4 } else { 8 });
    let stride = affine.input[2] + 4;
    let [height, width] = padded(affine).map(|side| if pool { side.next_multiple_of(2) } else { side });
    let shared = 4 * (samples * map_len(height, width, stride) + 2 * nt * 8 * stride);
    let whole = Whole { samples, fragments: [mt, nt], warps: [4, 1], groups: 1, shared };
    if can_be_whole(affine) && mt <= 4 && whole.shared <= limit {
        Way::Whole(whole)
    } else {
        Way::Tiles(Tile::forward(affine))
    }
}

/// The way of the gradient of the input.
pub fn input_way(affine: &Affine, limit: usize) -> Way {
    let [height, width, channels] = affine.input;
    let samples = (112 / (height * width)).max(1);
    let mt = (samples * height * width).div_ceil(16).div_ceil(4);
    let nt = channels.div_ceil(8).min(4);
    let [kh, kw] = affine.kernel;
    let slopes = samples * map_len(height + kh - 1, width + kw - 1, affine.filters + 4);
    let shared = 4 * (slopes + kw * affine.filters * across(nt * 8));
    let whole = Whole { samples, fragments: [mt, nt], warps: [4, 1], groups: 1, shared }.doubled();
    if can_be_whole(affine) && mt <= 4 && whole.shared <= limit {
        Way::Whole(whole)
    } else {
        Way::Tiles(Tile::input_gradient(affine))
    }
}

/// The way of the gradient of the weights, with the blocks of its grid: the last are shares of the sum.
pub fn weight_way(affine: &Affine, image: bool, limit: usize) -> (Way, [usize; 3]) {
    if image && affine.output() != [1, 1] {
        return (Way::Image, [affine.filters.div_ceil(32), 1, BLOCKS]);
    }
    let positions = match affine.after {
        After::ReluPool => affine.output().map(|side| side / 2 * 2).iter().product::<usize>(),
        _ => affine.output().iter().product(),
    };
    let samples = (36 / positions).max(1);
    let (mt, wm) = match affine.filters {
        33.. => (2, 2),
        17.. => (2, 1),
        _ => (1, 1),
    };
    let wn = 8 / wm;
    let [kh, kw] = affine.kernel;
    let (taps, groups) = (kh * kw, affine.input[2] / 8);
    let (columns, parts) = if groups.is_multiple_of(wn) && taps > 1 {
        // A warp takes 8 channels in several entries of the kernel.
        (taps, groups / wn)
    } else {
        ((taps * groups).div_ceil(wn), 1)
    };
    let nt = columns.div_ceil(columns.div_ceil(5).max(1)).max(1);
    let wide = parts * columns.div_ceil(nt).max(1);
    let steps = (samples * positions).next_multiple_of(8);
    let [height, width] = padded(affine);
    let maps = samples * map_len(height, width, across(affine.input[2]));
    let shared = 4 * (maps + steps * (across(affine.filters) + 1));
    let whole = Whole { samples, fragments: [mt, nt], warps: [wm, wn], groups: 1, shared };
    let down = affine.filters.div_ceil(mt * wm * 16);
    if can_be_whole(affine) && shared <= limit {
        return (Way::Whole(whole), [wide, down, (BLOCKS / (wide * down)).max(1)]);
    }
    let tile = Tile::weight_gradient(affine);
    let (across, down) = ((affine.depth() + 1).div_ceil(tile.columns), affine.filters.div_ceil(tile.rows));
    let slabs = affine.rows(USUAL_BATCH).div_ceil(tile.depth);
    (Way::Tiles(tile), [across, down, (BLOCKS / (across * down)).clamp(1, slabs)])
}

/// Parts of each sample in the weight gradient of a convolution of the image.
pub const IMAGE_PARTS: usize = 4;

/// The shares of a weight gradient's sum; how many parts of the work are dealt to one of them at a time, 0 if all have some of each
/// sample; and into how many parts a sample is cut.
pub fn shares(affine: &Affine, image: bool, limit: usize) -> [usize; 3] {
    let (way, [_, _, shares]) = weight_way(affine, image, limit);
    let [dealt, parts] = match way {
        Way::Tiles(_) => [0, 1],
        Way::Whole(whole) => [whole.samples, 1],
        Way::Image => [1, IMAGE_PARTS],
    };
    [shares, dealt, parts]
}
