//! Max pooling on its own, with windows of any size.

use super::program::Map;

/// The windows of a pooling step over samples of `input`.
#[derive(Clone, Copy)]
pub struct MaxPool {
    pub size: usize,
    pub stride: usize,
    pub input: Map,
    pub output: Map,
}

impl MaxPool {
    /// The offsets in one sample of the positions of cell `cell`, row by row.
    fn window(self, cell: usize) -> impl Iterator<Item = usize> {
        let (y, x) = (cell / self.output.width * self.stride, cell % self.output.width * self.stride);
        (0..self.size).flat_map(move |dy| {
            (0..self.size).map(move |dx| ((y + dy) * self.input.width + x + dx) * self.input.stride)
        })
    }

    /// The maxima of one sample.
    pub fn forward(self, input: &[f32], out: &mut [f32]) {
        for (cell, out) in out.chunks_exact_mut(self.output.stride).enumerate() {
            out.fill(f32::NEG_INFINITY);
            for start in self.window(cell) {
                for (out, &x) in out.iter_mut().zip(&input[start..]) {
                    *out = if x > *out { x } else { *out };
                }
            }
        }
    }

    /// Adds each cell's gradient to the first position of its window that holds the maximum.
    pub fn backward(self, input: &[f32], output: &[f32], gradient: &[f32], input_gradient: &mut [f32]) {
        let width = self.output.stride;
        for (cell, (maxima, gradient)) in output.chunks_exact(width).zip(gradient.chunks_exact(width)).enumerate() {
            for (channel, (&maximum, &gradient)) in maxima.iter().zip(gradient).enumerate() {
                if gradient != 0.0 {
                    let found = self.window(cell).map(|start| start + channel).find(|&at| input[at] >= maximum);
                    if let Some(at) = found {
                        input_gradient[at] += gradient;
                    }
                }
            }
        }
    }
}
