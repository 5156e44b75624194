//! Vectors of f32: one small trait over AVX-512, AVX2, NEON and plain arrays, and the choice between them at run time.
//!
//! A kernel is a struct of its arguments that implements [`Kernel`]; [`Level::run`] enters it through a function compiled
//! for the level's instructions. Everything below is `#[inline(always)]`, so that it is compiled inside that function.

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::{env, fmt};

/// Channels are padded to a multiple of this, which every level's vectors divide.
pub const LANES: usize = 16;

/// `count` rounded up to whole [`LANES`].
pub const fn padded(count: usize) -> usize {
    count.next_multiple_of(LANES)
}

/// A set of instructions that the kernels are compiled for, the plainest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Arrays that the compiler vectorises for the target's baseline.
    Portable,
    /// Pairs of 128-bit vectors with fused multiply-add.
    Neon,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// 512-bit vectors.
    Avx512,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Neon => "NEON",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512",
        })
    }
}

impl Level {
    /// The best level of this processor, or no better one than `MNIST_LAB_SIMD` (`portable`, `neon`, `avx2`, `avx512`) names.
    pub fn detect() -> Self {
        let available = Self::available();
        let best = available.last().copied().unwrap_or(Self::Portable);
        let Ok(name) = env::var("MNIST_LAB_SIMD") else { return best };
        let Some(wanted) = Self::named(&name) else {
            tracing::warn!("`{name}` in MNIST_LAB_SIMD is none of portable, neon, avx2 and avx512: using {best}");
            return best;
        };
        available.into_iter().rfind(|&level| level <= wanted).unwrap_or(Self::Portable)
    }

    /// The level of this name, in small or capital letters, AVX-512 with or without its hyphen.
    fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "portable" => Some(Self::Portable),
            "neon" => Some(Self::Neon),
            "avx2" => Some(Self::Avx2),
            "avx512" | "avx-512" => Some(Self::Avx512),
            _ => None,
        }
    }

    /// All levels that this processor can run, the plainest first.
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "aarch64")]
        levels.push(Self::Neon);
        #[cfg(target_arch = "x86_64")]
        {
            if x86::has_avx2() {
                levels.push(Self::Avx2);
            }
            if x86::has_avx512() {
                levels.push(Self::Avx512);
            }
        }
        levels
    }

    /// Runs `kernel` with this level's instructions.
    ///
    /// # Panics
    /// If the processor lacks them.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => x86::run_avx512(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::run_avx2(kernel),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => kernel.run(neon::Neon),
            _ => kernel.run(Portable),
        }
    }
}

/// A computation that is compiled once for each level.
pub trait Kernel {
    /// What it gives back.
    type Output;

    /// The computation; implementations are `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Operations on vectors of [`Simd::LANES`] numbers. A value of the type is proof that the processor has the instructions,
/// so arithmetic is safe; loads and stores skip the bounds check, except in builds with debug assertions.
pub trait Simd: Copy {
    /// A vector.
    type V: Copy;
    /// As many small indices as a vector has lanes.
    type Index: Copy;
    /// 16 numbers to look up in.
    type Table: Copy;
    /// Numbers in a vector; divides [`LANES`].
    const LANES: usize;
    /// Rows of a register tile two vectors wide that leave room for its operands.
    const ROWS: usize;

    fn splat(self, x: f32) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `x` in the lanes where `a > b`, else `y`.
    fn select_gt(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// `index + by` in each lane.
    fn shift(self, index: Self::Index, by: u8) -> Self::Index;
    /// Whether all 16 numbers are zero.
    fn is_blank(self, table: Self::Table) -> bool;
    /// `table[index]` in each lane, for indices below 16.
    fn lookup(self, table: Self::Table, index: Self::Index) -> Self::V;

    /// # Safety
    /// `from` must hold [`Self::LANES`] values from `at`.
    unsafe fn load(self, from: &[f32], at: usize) -> Self::V;
    /// # Safety
    /// `to` must hold [`Self::LANES`] values from `at`.
    unsafe fn store(self, to: &mut [f32], at: usize, v: Self::V);
    /// Stores the lanes, small whole numbers, as bytes.
    ///
    /// # Safety
    /// `to` must hold [`Self::LANES`] bytes from `at`.
    unsafe fn store_bytes(self, to: &mut [u8], at: usize, v: Self::V);
    /// # Safety
    /// `from` must hold [`Self::LANES`] bytes from `at`.
    unsafe fn load_index(self, from: &[u8], at: usize) -> Self::Index;
    /// Four rows of four values, `step` apart.
    ///
    /// # Safety
    /// `from` must hold `3 · step + 4` values from `at`.
    unsafe fn load_patch(self, from: &[f32], at: usize, step: usize) -> Self::Table;

    /// A block of [`Self::LANES`] rows and columns, its rows `step` apart, to a place where its columns are rows `to_step` apart.
    ///
    /// # Safety
    /// `from` and `to` must hold the rows.
    #[inline(always)]
    unsafe fn transpose(self, from: &[f32], step: usize, to: &mut [f32], to_step: usize) {
        for row in 0..Self::LANES {
            for column in 0..Self::LANES {
                to[column * to_step + row] = from[row * step + column];
            }
        }
    }

    /// Asks for the cache line at `address`, whatever is there, to be in the cache soon.
    #[inline(always)]
    fn prefetch(self, address: *const f32) {
        let _ = address;
    }

    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }

    /// `from[at]` in every lane.
    ///
    /// # Safety
    /// `at` must be inside `from`.
    #[inline(always)]
    unsafe fn broadcast(self, from: &[f32], at: usize) -> Self::V {
        debug_assert!(at < from.len());
        // SAFETY: the caller's promise.
        self.splat(unsafe { *from.get_unchecked(at) })
    }
}

/// Arrays of 8, in loops that the compiler turns into what the target has.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Portable {
    #[inline(always)]
    fn map2(a: [f32; 8], b: [f32; 8], f: impl Fn(f32, f32) -> f32) -> [f32; 8] {
        std::array::from_fn(|i| f(a[i], b[i]))
    }
}

impl Simd for Portable {
    type V = [f32; 8];
    type Index = [u8; 8];
    type Table = [f32; 16];
    const LANES: usize = 8;
    const ROWS: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; 8]
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        Self::map2(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        Self::map2(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        Self::map2(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Without the instruction, `mul_add` is a call into the C library: round twice instead.
        if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
            std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
        } else {
            std::array::from_fn(|i| a[i] * b[i] + c[i])
        }
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        Self::map2(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn select_gt(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] > b[i] { x[i] } else { y[i] })
    }
    #[inline(always)]
    fn shift(self, index: Self::Index, by: u8) -> Self::Index {
        index.map(|i| i + by)
    }
    #[inline(always)]
    fn is_blank(self, table: Self::Table) -> bool {
        table.iter().fold(0, |bits, x| bits | x.to_bits()) == 0
    }
    #[inline(always)]
    fn lookup(self, table: Self::Table, index: Self::Index) -> Self::V {
        index.map(|i| table[usize::from(i & 15)])
    }

    #[inline(always)]
    unsafe fn load(self, from: &[f32], at: usize) -> Self::V {
        debug_assert!(at + 8 <= from.len());
        // SAFETY: the caller promises 8 values from `at`; an array of f32 has the alignment of f32.
        unsafe { from.as_ptr().add(at).cast::<[f32; 8]>().read() }
    }
    #[inline(always)]
    unsafe fn store(self, to: &mut [f32], at: usize, v: Self::V) {
        debug_assert!(at + 8 <= to.len());
        // SAFETY: as in `load`.
        unsafe { to.as_mut_ptr().add(at).cast::<[f32; 8]>().write(v) }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: &mut [u8], at: usize, v: Self::V) {
        to[at..at + 8].copy_from_slice(&v.map(|x| x as u8));
    }
    #[inline(always)]
    unsafe fn load_index(self, from: &[u8], at: usize) -> Self::Index {
        std::array::from_fn(|i| from[at + i])
    }
    #[inline(always)]
    unsafe fn load_patch(self, from: &[f32], at: usize, step: usize) -> Self::Table {
        std::array::from_fn(|i| from[at + i / 4 * step + i % 4])
    }
}

#[cfg(test)]
mod tests {
    use super::Level;

    #[test]
    fn a_level_is_known_by_the_name_that_it_shows() {
        for level in [Level::Portable, Level::Neon, Level::Avx2, Level::Avx512] {
            assert_eq!(Level::named(&level.to_string()), Some(level));
            assert_eq!(Level::named(&level.to_string().to_lowercase().replace('-', "")), Some(level));
        }
        assert_eq!(Level::named("sse"), None);
    }
}
