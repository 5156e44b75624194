//! Work cut into pieces of a size that the compiler knows, so that a piece stays in registers.

use std::ops::Range;

/// `0..len` cut into pieces of at most `most`, as equal as can be.
pub fn pieces(len: usize, most: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    let count = len.div_ceil(most).max(1);
    let (size, longer) = (len / count, len % count);
    // Each starts where the one before ends: from its number, the compiler would divide anew for every value of a tile.
    let mut start = 0;
    (0..count).map(move |i| {
        let piece = start..start + size + usize::from(i < longer);
        start = piece.end;
        piece
    })
}

/// Runs `$body` with the constant `$N` equal to `$count`, which is 1 to 12, or one of the numbers that are listed.
macro_rules! with_count {
    ($count:expr, $N:ident => $body:expr) => {
        with_count!($count, $N of 1 2 3 4 5 6 7 8 9 10 11 12 => $body)
    };
    ($count:expr, $N:ident of $($number:literal)* => $body:expr) => {
        match $count {
            $($number => { const $N: usize = $number; $body })*
            _ => unreachable!("no piece is larger than was asked for"),
        }
    };
}
pub(super) use with_count;
