//! Batch norm (Ioffe and Szegedy 2015), `y = (x − mean) · factor · scale + shift`, over rows of features.

use super::pointwise::{ROWS_IN_A_SUM, accumulate, mask_rectified};
use super::simd::{Kernel, Simd};
use super::weights::Normal;

/// Adds the sums of `input`, `[row, width]`, and of its squares to `sums`, `[2, width]`.
pub struct Statistics<'a> {
    pub input: &'a [f32],
    pub sums: &'a mut [f64],
}

impl Kernel for Statistics<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (sums, squares) = self.sums.split_at_mut(self.sums.len() / 2);
        for row in self.input.chunks_exact(sums.len()) {
            for ((sum, square), &x) in sums.iter_mut().zip(squares.iter_mut()).zip(row) {
                let x = f64::from(x);
                *sum += x;
                *square += x * x;
            }
        }
    }
}

/// The forward pass, with the rectifier if `relu`.
pub struct Forward<'a> {
    pub normal: &'a Normal,
    pub relu: bool,
    pub input: &'a [f32],
    pub out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Normal { mean, factor, scale, shift } = self.normal;
        let lowest = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        let width = mean.len();
        for (out, row) in self.out.chunks_exact_mut(width).zip(self.input.chunks_exact(width)) {
            let statistics = mean.iter().zip(factor.iter()).zip(scale.iter().zip(shift.iter()));
            for ((out, &x), ((mean, factor), (scale, shift))) in out.iter_mut().zip(row).zip(statistics) {
                *out = ((x - mean) * factor * scale + shift).max(lowest);
            }
        }
    }
}

/// Adds the gradients of scale and shift to theirs, after it has zeroed `gradient` where the rectified `output` is 0 (if
/// given). The gradient of the input needs these sums over the whole batch.
pub struct ParameterGradient<'a> {
    pub normal: &'a Normal,
    pub input: &'a [f32],
    pub output: Option<&'a [f32]>,
    pub gradient: &'a mut [f32],
    pub scale: &'a mut [f32],
    pub shift: &'a mut [f32],
    /// Scratch memory, `[2, width]`.
    pub sums: &'a mut [f32],
}

impl Kernel for ParameterGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Normal { mean, factor, .. } = self.normal;
        if let Some(output) = self.output {
            mask_rectified(output, self.gradient);
        }
        let width = mean.len();
        let block = ROWS_IN_A_SUM * width;
        for (input, gradient) in self.input.chunks(block).zip(self.gradient.chunks(block)) {
            self.sums.fill(0.0);
            let (scales, shifts) = self.sums.split_at_mut(width);
            for (row, gradient) in input.chunks_exact(width).zip(gradient.chunks_exact(width)) {
                let sums = scales.iter_mut().zip(shifts.iter_mut());
                let statistics = mean.iter().zip(factor.iter());
                for (((x, g), (mean, factor)), (scale, shift)) in row.iter().zip(gradient).zip(statistics).zip(sums) {
                    *scale += g * ((x - mean) * factor);
                    *shift += g;
                }
            }
            accumulate(scales, self.scale);
            accumulate(shifts, self.shift);
        }
    }
}

/// The gradient of the input, added to `input_gradient`; mean and factor depend on every row of the batch.
pub struct InputGradient<'a> {
    pub normal: &'a Normal,
    /// Rows of the whole batch.
    pub rows: usize,
    pub input: &'a [f32],
    pub gradient: &'a [f32],
    /// The whole batch's gradients of scale and shift.
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub input_gradient: &'a mut [f32],
}

impl Kernel for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Normal { mean, factor, scale, .. } = self.normal;
        let share = 1.0 / self.rows as f32;
        let width = mean.len();
        let rows = self.input.chunks_exact(width).zip(self.gradient.chunks_exact(width));
        for (to, (row, gradient)) in self.input_gradient.chunks_exact_mut(width).zip(rows) {
            let statistics = mean.iter().zip(factor.iter()).zip(scale.iter());
            let sums = self.scale.iter().zip(self.shift);
            let values = to.iter_mut().zip(row.iter().zip(gradient));
            for (((to, (x, g)), ((mean, factor), scale)), (scale_sum, shift_sum)) in values.zip(statistics).zip(sums) {
                let normal = (x - mean) * factor;
                *to += scale * factor * (g - share * (shift_sum + normal * scale_sum));
            }
        }
    }
}
