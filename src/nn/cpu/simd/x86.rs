//! The levels of x86-64 processors.
//!
//! Every block here is sound for one of two reasons: an [`Avx512`] or [`Avx2`] is only made inside the function that is
//! entered after the processor was asked for these instructions; and loads and stores have the caller's promise that the
//! slice reaches far enough, which debug assertions check.

use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _CMP_GT_OQ, _MM_HINT_T0, _mm_loadl_epi64, _mm_loadu_ps, _mm_loadu_si128,
    _mm_packs_epi32, _mm_packus_epi16, _mm_prefetch, _mm_storel_epi64, _mm_storeu_si128, _mm256_add_epi32,
    _mm256_add_ps, _mm256_blendv_ps, _mm256_castpd_ps, _mm256_castps_pd, _mm256_castps_si256, _mm256_castps128_ps256,
    _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_cmp_ps, _mm256_cmpgt_epi32, _mm256_cvtepu8_epi32,
    _mm256_cvttps_epi32, _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_insertf128_ps, _mm256_loadu_ps,
    _mm256_max_ps, _mm256_mul_ps, _mm256_or_ps, _mm256_permute2f128_ps, _mm256_permutevar8x32_ps, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_storeu_ps, _mm256_sub_ps, _mm256_testz_si256, _mm256_unpackhi_pd, _mm256_unpackhi_ps,
    _mm256_unpacklo_pd, _mm256_unpacklo_ps, _mm512_add_epi32, _mm512_add_ps, _mm512_castpd_ps, _mm512_castps_pd,
    _mm512_castps_si512, _mm512_castps128_ps512, _mm512_cmp_ps_mask, _mm512_cvtepi32_epi8, _mm512_cvtepu8_epi32,
    _mm512_cvttps_epi32, _mm512_fmadd_ps, _mm512_insertf32x4, _mm512_loadu_ps, _mm512_mask_blend_ps, _mm512_max_ps,
    _mm512_mul_ps, _mm512_permutexvar_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_shuffle_f32x4, _mm512_storeu_ps,
    _mm512_sub_ps, _mm512_test_epi32_mask, _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd,
    _mm512_unpacklo_ps,
};

use super::{Kernel, Simd};

/// Whether the processor has what [`run_avx512`] needs.
pub fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
}

/// Whether the processor has what [`run_avx2`] needs.
pub fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

pub fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
    fn enter<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx512(()))
    }
    assert!(has_avx512(), "a level that is available");
    // SAFETY: the processor was just asked (the answer is cached).
    unsafe { enter(kernel) }
}

pub fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx2,fma")]
    fn enter<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx2(()))
    }
    assert!(has_avx2(), "a level that is available");
    // SAFETY: the processor was just asked.
    unsafe { enter(kernel) }
}

/// 16 lanes.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Simd for Avx512 {
    type V = __m512;
    type Index = __m512i;
    type Table = __m512;
    const LANES: usize = 16;
    const ROWS: usize = 12;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn select_gt(self, a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), y, x) }
    }
    #[inline(always)]
    fn shift(self, index: __m512i, by: u8) -> __m512i {
        unsafe { _mm512_add_epi32(index, _mm512_set1_epi32(i32::from(by))) }
    }
    #[inline(always)]
    fn is_blank(self, table: __m512) -> bool {
        unsafe {
            let bits = _mm512_castps_si512(table);
            _mm512_test_epi32_mask(bits, bits) == 0
        }
    }
    #[inline(always)]
    fn lookup(self, table: __m512, index: __m512i) -> __m512 {
        unsafe { _mm512_permutexvar_ps(index, table) }
    }

    #[inline(always)]
    unsafe fn transpose(self, from: &[f32], step: usize, to: &mut [f32], to_step: usize) {
        debug_assert!(15 * step + 16 <= from.len() && 15 * to_step + 16 <= to.len());
        unsafe {
            let pd = |a: __m512, b: __m512| (_mm512_castps_pd(a), _mm512_castps_pd(b));
            let low = |a, b| {
                let (a, b) = pd(a, b);
                _mm512_castpd_ps(_mm512_unpacklo_pd(a, b))
            };
            let high = |a, b| {
                let (a, b) = pd(a, b);
                _mm512_castpd_ps(_mm512_unpackhi_pd(a, b))
            };
            // Quarter q of `fours[4 · i + j]` has rows 4 · i to 4 · i + 3 of column 4 · q + j.
            let mut fours = [self.zero(); 16];
            for i in (0..16).step_by(4) {
                let row = |row: usize| self.load(from, (i + row) * step);
                let pairs = [(row(0), row(1)), (row(2), row(3))];
                let [lower, lower_after] = pairs.map(|(a, b)| _mm512_unpacklo_ps(a, b));
                let [upper, upper_after] = pairs.map(|(a, b)| _mm512_unpackhi_ps(a, b));
                fours[i] = low(lower, lower_after);
                fours[i + 1] = high(lower, lower_after);
                fours[i + 2] = low(upper, upper_after);
                fours[i + 3] = high(upper, upper_after);
            }
            for j in 0..4 {
                let even = |i: usize| _mm512_shuffle_f32x4::<0x88>(fours[i + j], fours[i + 4 + j]);
                let odd = |i: usize| _mm512_shuffle_f32x4::<0xdd>(fours[i + j], fours[i + 4 + j]);
                self.store(to, j * to_step, _mm512_shuffle_f32x4::<0x88>(even(0), even(8)));
                self.store(to, (4 + j) * to_step, _mm512_shuffle_f32x4::<0x88>(odd(0), odd(8)));
                self.store(to, (8 + j) * to_step, _mm512_shuffle_f32x4::<0xdd>(even(0), even(8)));
                self.store(to, (12 + j) * to_step, _mm512_shuffle_f32x4::<0xdd>(odd(0), odd(8)));
            }
        }
    }

    #[inline(always)]
    fn prefetch(self, address: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    #[inline(always)]
    unsafe fn load(self, from: &[f32], at: usize) -> __m512 {
        debug_assert!(at + 16 <= from.len());
        unsafe { _mm512_loadu_ps(from.as_ptr().add(at)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: &mut [f32], at: usize, v: __m512) {
        debug_assert!(at + 16 <= to.len());
        unsafe { _mm512_storeu_ps(to.as_mut_ptr().add(at), v) }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: &mut [u8], at: usize, v: __m512) {
        debug_assert!(at + 16 <= to.len());
        unsafe { _mm_storeu_si128(to.as_mut_ptr().add(at).cast(), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(v))) }
    }
    #[inline(always)]
    unsafe fn load_index(self, from: &[u8], at: usize) -> __m512i {
        debug_assert!(at + 16 <= from.len());
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(from.as_ptr().add(at).cast())) }
    }
    #[inline(always)]
    unsafe fn load_patch(self, from: &[f32], at: usize, step: usize) -> __m512 {
        debug_assert!(at + 3 * step + 4 <= from.len());
        unsafe {
            let row = |i: usize| _mm_loadu_ps(from.as_ptr().add(at + i * step));
            let table = _mm512_castps128_ps512(row(0));
            let table = _mm512_insertf32x4::<1>(table, row(1));
            let table = _mm512_insertf32x4::<2>(table, row(2));
            _mm512_insertf32x4::<3>(table, row(3))
        }
    }
}

/// 8 lanes.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Simd for Avx2 {
    type V = __m256;
    type Index = __m256i;
    type Table = [__m256; 2];
    const LANES: usize = 8;
    const ROWS: usize = 6;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn select_gt(self, a: __m256, b: __m256, x: __m256, y: __m256) -> __m256 {
        unsafe { _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_GT_OQ>(a, b)) }
    }
    #[inline(always)]
    fn shift(self, index: __m256i, by: u8) -> __m256i {
        unsafe { _mm256_add_epi32(index, _mm256_set1_epi32(i32::from(by))) }
    }
    #[inline(always)]
    fn is_blank(self, [low, high]: [__m256; 2]) -> bool {
        unsafe {
            let bits = _mm256_castps_si256(_mm256_or_ps(low, high));
            _mm256_testz_si256(bits, bits) == 1
        }
    }
    #[inline(always)]
    fn lookup(self, table: [__m256; 2], index: __m256i) -> __m256 {
        // The permutation takes the lowest three bits of the index; the fourth chooses between the halves.
        unsafe {
            let upper = _mm256_castsi256_ps(_mm256_cmpgt_epi32(index, _mm256_set1_epi32(7)));
            let [low, high] = table.map(|half| _mm256_permutevar8x32_ps(half, index));
            _mm256_blendv_ps(low, high, upper)
        }
    }

    #[inline(always)]
    unsafe fn transpose(self, from: &[f32], step: usize, to: &mut [f32], to_step: usize) {
        debug_assert!(7 * step + 8 <= from.len() && 7 * to_step + 8 <= to.len());
        unsafe {
            let pd = |a: __m256, b: __m256| (_mm256_castps_pd(a), _mm256_castps_pd(b));
            let low = |a, b| {
                let (a, b) = pd(a, b);
                _mm256_castpd_ps(_mm256_unpacklo_pd(a, b))
            };
            let high = |a, b| {
                let (a, b) = pd(a, b);
                _mm256_castpd_ps(_mm256_unpackhi_pd(a, b))
            };
            // Quarter q of `fours[4 · i + j]` has rows 4 · i to 4 · i + 3 of column 4 · q + j.
            let mut fours = [self.zero(); 8];
            for i in (0..8).step_by(4) {
                let row = |row: usize| self.load(from, (i + row) * step);
                let pairs = [(row(0), row(1)), (row(2), row(3))];
                let [lower, lower_after] = pairs.map(|(a, b)| _mm256_unpacklo_ps(a, b));
                let [upper, upper_after] = pairs.map(|(a, b)| _mm256_unpackhi_ps(a, b));
                fours[i] = low(lower, lower_after);
                fours[i + 1] = high(lower, lower_after);
                fours[i + 2] = low(upper, upper_after);
                fours[i + 3] = high(upper, upper_after);
            }
            for j in 0..4 {
                self.store(to, j * to_step, _mm256_permute2f128_ps::<0x20>(fours[j], fours[4 + j]));
                self.store(to, (4 + j) * to_step, _mm256_permute2f128_ps::<0x31>(fours[j], fours[4 + j]));
            }
        }
    }

    #[inline(always)]
    fn prefetch(self, address: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    #[inline(always)]
    unsafe fn load(self, from: &[f32], at: usize) -> __m256 {
        debug_assert!(at + 8 <= from.len());
        unsafe { _mm256_loadu_ps(from.as_ptr().add(at)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: &mut [f32], at: usize, v: __m256) {
        debug_assert!(at + 8 <= to.len());
        unsafe { _mm256_storeu_ps(to.as_mut_ptr().add(at), v) }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: &mut [u8], at: usize, v: __m256) {
        debug_assert!(at + 8 <= to.len());
        unsafe {
            let whole = _mm256_cvttps_epi32(v);
            let halves = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256::<1>(whole));
            _mm_storel_epi64(to.as_mut_ptr().add(at).cast(), _mm_packus_epi16(halves, halves));
        }
    }
    #[inline(always)]
    unsafe fn load_index(self, from: &[u8], at: usize) -> __m256i {
        debug_assert!(at + 8 <= from.len());
        unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.as_ptr().add(at).cast())) }
    }
    #[inline(always)]
    unsafe fn load_patch(self, from: &[f32], at: usize, step: usize) -> [__m256; 2] {
        debug_assert!(at + 3 * step + 4 <= from.len());
        unsafe {
            let row = |i: usize| _mm_loadu_ps(from.as_ptr().add(at + i * step));
            let pair = |i| _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(row(i)), row(i + 1));
            [pair(0), pair(2)]
        }
    }
}
