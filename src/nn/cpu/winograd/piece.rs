//! The tiles that are worked on together.

use std::ops::Range;

use super::TILES;

/// Up to [`TILES`] tiles, and where they stand in the matrices of products: those that are cut alike side by side, and so that
/// at each place those that have it follow each other. First stand tiles with cut columns, then whole ones, then those with cut
/// rows, then those with both.
pub struct Piece {
    /// Their numbers.
    pub numbers: Range<usize>,
    /// Where each stands.
    slots: [usize; TILES],
    /// Where each of the four kinds ends.
    ends: [usize; 4],
}

impl Piece {
    /// Of the tiles with these `numbers`; `cut` says whether one has cut rows, and cut columns.
    pub fn new(numbers: Range<usize>, cut: impl Fn(usize) -> [bool; 2]) -> Self {
        let kind = |number| match cut(number) {
            [false, true] => 0,
            [false, false] => 1,
            [true, false] => 2,
            [true, true] => 3,
        };
        let mut ends = [0; 4];
        for number in numbers.clone() {
            ends[kind(number)..].iter_mut().for_each(|end| *end += 1);
        }
        let mut next = [0, ends[0], ends[1], ends[2]];
        let mut slots = [0; TILES];
        for (slot, number) in slots.iter_mut().zip(numbers.clone()) {
            let next = &mut next[kind(number)];
            *slot = *next;
            *next += 1;
        }
        Self { numbers, slots, ends }
    }

    pub const fn len(&self) -> usize {
        self.ends[3]
    }

    /// The number of each tile and where it stands.
    #[inline(always)]
    pub fn tiles(&self) -> impl Iterator<Item = (usize, usize)> {
        self.numbers.clone().zip(self.slots)
    }

    /// Where those stand that have row `y` and column `x` of the products.
    #[inline(always)]
    pub const fn with(&self, y: usize, x: usize) -> Range<usize> {
        let [columns, whole, rows, all] = self.ends;
        match (is_left_out(y), is_left_out(x)) {
            (false, false) => 0..all,
            (true, false) => 0..whole,
            (false, true) => columns..rows,
            (true, true) => columns..whole,
        }
    }
}

/// Whether cut tiles do without row or column `i` of the products: those of the points ±b of F(4×4).
const fn is_left_out(i: usize) -> bool {
    matches!(i, 3 | 4)
}
