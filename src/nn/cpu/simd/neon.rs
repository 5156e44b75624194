//! The level of 64-bit Arm processors, all of which have NEON.
//!
//! Every block here is sound for one of two reasons: the instructions belong to the target's baseline; and loads and stores
//! have the caller's promise that the slice reaches far enough, which debug assertions check.

use std::arch::aarch64::{
    float32x4_t, uint8x16_t, uint8x16x4_t, vaddq_f32, vaddq_u8, vbslq_f32, vcgtq_f32, vcombine_u8, vcombine_u16,
    vcvtq_u32_f32, vdupq_n_f32, vdupq_n_u8, vfmaq_f32, vld1_u8, vld1q_f32, vld1q_u8, vmaxvq_u8, vmovn_u16, vmovn_u32,
    vmulq_f32, vorrq_u8, vqtbl1q_u8, vqtbl4q_u8, vreinterpretq_f32_u8, vreinterpretq_u8_f32, vshlq_n_u8, vst1_u8,
    vst1q_f32, vsubq_f32,
};

use super::Simd;

/// 8 lanes, in two registers: so half as many loads feed as many multiply-adds as with 4.
#[derive(Clone, Copy, Debug)]
pub struct Neon;

/// Both halves.
#[inline(always)]
fn each<T: Copy, U>(v: [T; 2], f: impl Fn(T) -> U) -> [U; 2] {
    [f(v[0]), f(v[1])]
}

/// Both halves of both.
#[inline(always)]
fn each2<U>(a: [float32x4_t; 2], b: [float32x4_t; 2], f: impl Fn(float32x4_t, float32x4_t) -> U) -> [U; 2] {
    [f(a[0], b[0]), f(a[1], b[1])]
}

impl Simd for Neon {
    type V = [float32x4_t; 2];
    /// Of each lane the four bytes of its number in the table.
    type Index = [uint8x16_t; 2];
    type Table = uint8x16x4_t;
    const LANES: usize = 8;
    const ROWS: usize = 6;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        unsafe { [vdupq_n_f32(x); 2] }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        each2(a, b, |a, b| unsafe { vaddq_f32(a, b) })
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        each2(a, b, |a, b| unsafe { vsubq_f32(a, b) })
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        each2(a, b, |a, b| unsafe { vmulq_f32(a, b) })
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { [vfmaq_f32(c[0], a[0], b[0]), vfmaq_f32(c[1], a[1], b[1])] }
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        // Not the instruction for it, which keeps a NaN that the other levels do not.
        self.select_gt(a, b, a, b)
    }
    #[inline(always)]
    fn select_gt(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
        let greater = each2(a, b, |a, b| unsafe { vcgtq_f32(a, b) });
        unsafe { [vbslq_f32(greater[0], x[0], y[0]), vbslq_f32(greater[1], x[1], y[1])] }
    }
    #[inline(always)]
    fn shift(self, index: Self::Index, by: u8) -> Self::Index {
        each(index, |bytes| unsafe { vaddq_u8(bytes, vdupq_n_u8(4 * by)) })
    }
    #[inline(always)]
    fn is_blank(self, uint8x16x4_t(a, b, c, d): Self::Table) -> bool {
        unsafe { vmaxvq_u8(vorrq_u8(vorrq_u8(a, b), vorrq_u8(c, d))) == 0 }
    }
    #[inline(always)]
    fn lookup(self, table: Self::Table, index: Self::Index) -> Self::V {
        each(index, |bytes| unsafe { vreinterpretq_f32_u8(vqtbl4q_u8(table, bytes)) })
    }

    #[inline(always)]
    unsafe fn load(self, from: &[f32], at: usize) -> Self::V {
        debug_assert!(at + 8 <= from.len());
        unsafe { [vld1q_f32(from.as_ptr().add(at)), vld1q_f32(from.as_ptr().add(at + 4))] }
    }
    #[inline(always)]
    unsafe fn store(self, to: &mut [f32], at: usize, v: Self::V) {
        debug_assert!(at + 8 <= to.len());
        unsafe {
            vst1q_f32(to.as_mut_ptr().add(at), v[0]);
            vst1q_f32(to.as_mut_ptr().add(at + 4), v[1]);
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: &mut [u8], at: usize, v: Self::V) {
        debug_assert!(at + 8 <= to.len());
        unsafe {
            let [low, high] = each(v, |v| vmovn_u32(vcvtq_u32_f32(v)));
            vst1_u8(to.as_mut_ptr().add(at), vmovn_u16(vcombine_u16(low, high)));
        }
    }
    #[inline(always)]
    unsafe fn load_index(self, from: &[u8], at: usize) -> Self::Index {
        /// Which of 8 indices the 16 bytes of four lanes are of.
        const LANE: [[u8; 16]; 2] =
            [[0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3], [4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7]];
        const BYTE: [u8; 16] = [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3];
        debug_assert!(at + 8 <= from.len());
        unsafe {
            let indices = vld1_u8(from.as_ptr().add(at));
            let times_four = vshlq_n_u8::<2>(vcombine_u8(indices, indices));
            [0, 1].map(|half: usize| {
                vaddq_u8(vqtbl1q_u8(times_four, vld1q_u8(LANE[half].as_ptr())), vld1q_u8(BYTE.as_ptr()))
            })
        }
    }
    #[inline(always)]
    unsafe fn load_patch(self, from: &[f32], at: usize, step: usize) -> Self::Table {
        debug_assert!(at + 3 * step + 4 <= from.len());
        unsafe {
            let row = |i: usize| vreinterpretq_u8_f32(vld1q_f32(from.as_ptr().add(at + i * step)));
            uint8x16x4_t(row(0), row(1), row(2), row(3))
        }
    }
}
