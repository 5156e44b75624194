//! Where tiles lie: in the maps of a sample, and in memory.

use std::hint::black_box;
use std::ops::Range;

use super::super::piece::Piece;

/// How the tiles lie in the maps of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Rows and columns of the input, without the zeros around it.
    pub input: [usize; 2],
    pub output: [usize; 2],
    /// Rows and columns of a window, of which each phase has at most three.
    pub kernel: [usize; 2],
    /// Rows and columns from one window to the next, 1 or 2.
    pub stride: usize,
    /// Rows and columns of zeros on each side of the input.
    pub padding: usize,
    /// Rows and columns of outputs of a whole tile, M.
    pub tile: usize,
}

impl Grid {
    /// For windows of size `kernel`, if they are of a size that the algorithm is for.
    pub fn new(input: [usize; 2], kernel: [usize; 2], stride: usize, padding: usize, tile: usize) -> Option<Self> {
        let output = [0, 1].map(|axis| (input[axis] + 2 * padding - kernel[axis]) / stride + 1);
        let grid = Self { input, output, kernel, stride, padding, tile };
        kernel.iter().all(|&rows| grid.tap(rows - 1).0 == 2).then_some(grid)
    }

    /// How many convolutions in steps of 1 it is the sum of.
    pub const fn phases(&self) -> usize {
        self.stride * self.stride
    }

    /// Rows of zeros before the first row of a phase.
    const fn before(&self) -> usize {
        self.padding.div_ceil(self.stride)
    }

    /// Row `row` of a window as one of three rows in a phase, and which; the same of columns.
    const fn tap(&self, row: usize) -> (usize, usize) {
        let from_first = row + self.before() * self.stride - self.padding;
        (from_first / self.stride, from_first % self.stride)
    }

    /// Where tap `number` of the window stands among `[3, 3, phase]`.
    pub const fn place_of_tap(&self, number: usize) -> usize {
        let (row, row_phase) = self.tap(number / self.kernel[1]);
        let (column, column_phase) = self.tap(number % self.kernel[1]);
        (3 * row + column) * self.phases() + row_phase * self.stride + column_phase
    }

    /// Rows and columns of tiles; the last ones may be cut, or reach beyond the map.
    const fn tiles(&self) -> [usize; 2] {
        [self.output[0].div_ceil(self.tile), self.output[1].div_ceil(self.tile)]
    }

    /// Whether the last of some rows of tiles, or of columns, is cut to 2 of 4 rows of outputs.
    const fn is_cut(&self, axis: usize) -> bool {
        self.tile == 4 && self.output[axis] > 4 && matches!(self.output[axis] % 4, 1 | 2)
    }

    /// Whether tile `number` of a sample is cut, in rows and in columns.
    fn cut(&self, number: usize) -> [bool; 2] {
        let [rows, columns] = self.tiles();
        [self.is_cut(0) && number / columns == rows - 1, self.is_cut(1) && number % columns == columns - 1]
    }

    /// Places of a transformed patch, N².
    pub const fn places(&self) -> usize {
        (self.tile + 2) * (self.tile + 2)
    }

    /// Multiplications for one channel and output of a sample.
    pub fn multiplications(&self) -> usize {
        let places = [0, 1].map(|axis| (self.tile + 2) * self.tiles()[axis] - 2 * usize::from(self.is_cut(axis)));
        places[0] * places[1] * self.phases()
    }

    pub const fn in_sample(&self) -> usize {
        let [rows, columns] = self.tiles();
        rows * columns
    }

    /// What tile `number` of a sample reads of a phase.
    fn patch(&self, number: usize, phase: usize) -> Square {
        let phase = [phase / self.stride, phase % self.stride];
        self.square(number, self.input, 2, self.before(), self.stride, phase)
    }

    /// What tile `number` of a sample writes.
    fn outputs(&self, number: usize) -> Square {
        self.square(number, self.output, 0, 0, 1, [0, 0])
    }

    /// The tile's rows and columns and `more` of those rows and columns of `map` that begin at `phase` and are `stride` apart,
    /// from `before` the tile on.
    fn square(
        &self,
        number: usize,
        map: [usize; 2],
        more: usize,
        before: usize,
        stride: usize,
        phase: [usize; 2],
    ) -> Square {
        let columns = self.tiles()[1];
        let corner = [number / columns * self.tile, number % columns * self.tile];
        let cut = self.cut(number);
        let sides = cut.map(|cut| more + if cut { 2 } else { self.tile });
        let inside = [0, 1].map(|axis| {
            let rows = (map[axis] - phase[axis].min(map[axis])).div_ceil(stride);
            (before.saturating_sub(corner[axis]), sides[axis].min((rows + before).saturating_sub(corner[axis])))
        });
        let [y, x] = [0, 1].map(|axis| (corner[axis] * stride + phase[axis]).wrapping_sub(before * stride));
        Square {
            corner: y.wrapping_mul(map[1]).wrapping_add(x),
            steps: [map[1] * stride, stride],
            inside,
            cut,
            whole: cut == [false; 2] && inside == sides.map(|side| (0, side)),
        }
    }
}

/// A [`Grid`] and what its tiles read and write.
#[derive(Clone, Debug)]
pub struct Tiles {
    grid: Grid,
    /// `[tile, phase]`
    patches: Vec<Square>,
    /// `[tile]`
    outputs: Vec<Square>,
}

impl Tiles {
    /// Those of one sample.
    pub fn of(grid: Grid) -> Self {
        let tiles = 0..grid.in_sample();
        let phases = |tile| (0..grid.phases()).map(move |phase| grid.patch(tile, phase));
        Self {
            grid,
            patches: tiles.clone().flat_map(phases).collect(),
            outputs: tiles.map(|tile| grid.outputs(tile)).collect(),
        }
    }

    /// Tiles with these `numbers`, counted through all samples.
    pub fn piece(&self, numbers: Range<usize>) -> Piece {
        Piece::new(numbers, |number| self.outputs[number % self.outputs.len()].cut)
    }

    pub const fn grid(&self) -> &Grid {
        &self.grid
    }

    /// What tile `number`, counted through all samples, reads of a phase.
    #[inline(always)]
    pub fn patch(&self, number: usize, phase: usize) -> Square {
        let (sample, tile) = (number / self.outputs.len(), number % self.outputs.len());
        self.patches[tile * self.grid.phases() + phase].of_sample(sample, self.grid.input)
    }

    /// What tile `number`, counted through all samples, writes.
    #[inline(always)]
    pub fn outputs(&self, number: usize) -> Square {
        let (sample, tile) = (number / self.outputs.len(), number % self.outputs.len());
        self.outputs[tile].of_sample(sample, self.grid.output)
    }
}

/// A part of a map, that may reach beyond it.
#[derive(Clone, Copy, Debug)]
pub struct Square {
    /// The position of its upper left corner, wrapping around below 0.
    corner: usize,
    /// Positions from one row to the next, and from one column to the next.
    steps: [usize; 2],
    /// Its first row inside the map and the one after the last, and the same of its columns.
    inside: [(usize, usize); 2],
    /// Whether the tile has 2 rows only, and columns.
    pub cut: [bool; 2],
    /// Whether it is that of a whole tile, and all of it inside. Most are, and spare the question for each position.
    pub whole: bool,
}

impl Square {
    /// The same in `sample` of maps with so many rows and columns.
    #[inline(always)]
    fn of_sample(self, sample: usize, map: [usize; 2]) -> Self {
        Self { corner: self.corner.wrapping_add(sample * map[0] * map[1]), ..self }
    }

    /// Where its values of the channels from `channel` on lie in a map of so many `channels`.
    #[inline(always)]
    pub fn places(&self, channels: usize, channel: usize) -> Places {
        let first = self.corner.wrapping_mul(channels).wrapping_add(channel);
        Places { first, steps: self.steps.map(|step| step * channels) }
    }

    /// Whether row `y` and column `x` of it are inside the map; `whole` as a constant.
    #[inline(always)]
    pub fn holds(&self, y: usize, x: usize, whole: bool) -> bool {
        let [rows, columns] = self.inside;
        whole || (rows.0 <= y && y < rows.1 && columns.0 <= x && x < columns.1)
    }
}

/// Where the values of a square of rows and columns lie in memory.
#[derive(Clone, Copy)]
pub struct Places {
    pub first: usize,
    /// Values from one row to the next, and from one column to the next.
    pub steps: [usize; 2],
}

impl Places {
    #[inline(always)]
    pub fn at(self, y: usize, x: usize) -> usize {
        self.first.wrapping_add(y * self.steps[0] + x * self.steps[1])
    }

    /// The same in a way that the compiler can't see through. It would otherwise keep a pointer to each of the places, more
    /// than there are registers, and advance them all in memory from tile to tile.
    #[inline(always)]
    pub fn hidden(self) -> Self {
        black_box(self)
    }
}
