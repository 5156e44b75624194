//! Runs a program on images: to measure the range of what its operations give, and what quantisation costs.

use super::lower::{Kernel, Program, Step};
use crate::data::{Image, SIDE};

/// Runs `program` on `image`. `change` sees what goes into a convolution or dense layer, and `observe` what each operation
/// gives with the value's number, the image as value 0; both may change it. Gives the probabilities.
pub fn run(
    program: &Program,
    image: &Image,
    change: &impl Fn(&mut [f32]),
    observe: &mut impl FnMut(usize, &mut [f32]),
) -> Vec<f32> {
    let mut values: Vec<Vec<f32>> = vec![image.iter().map(|&pixel| f32::from(pixel) / 255.0).collect()];
    let mut shapes: Vec<&[usize]> = vec![&[SIDE, SIDE, 1]];
    observe(0, &mut values[0]);
    for step in &program.steps {
        let input = &values[step.inputs[0]];
        let changed: Vec<f32>;
        let input = if matches!(step.kernel, Kernel::Conv { .. } | Kernel::Dense { .. }) {
            let mut copy = input.clone();
            change(&mut copy);
            changed = copy;
            &changed
        } else {
            input
        };
        let other = step.inputs.get(1).map(|&value| values[value].as_slice());
        let mut output = compute(step, input, shapes[step.inputs[0]], other);
        if step.relu {
            for value in &mut output {
                *value = value.max(0.0);
            }
        }
        observe(values.len(), &mut output);
        values.push(output);
        shapes.push(&step.shape);
    }
    values.pop().unwrap_or_default()
}

fn compute(step: &Step, input: &[f32], shape: &[usize], other: Option<&[f32]>) -> Vec<f32> {
    match &step.kernel {
        &Kernel::Pad(padding) => pad(input, shape, padding),
        Kernel::Conv { shape: kernel, stride, weight, bias } => {
            convolution(input, shape, weight, *kernel, *stride, bias, &step.shape)
        }
        Kernel::Dense { weight, bias } => {
            let rows = weight.chunks_exact(input.len());
            rows.zip(bias).map(|(row, bias)| dot(row, input) + bias).collect()
        }
        Kernel::Scale(factors) => each_channel(input, factors, |value, factor| value * factor),
        Kernel::Shift(offsets) => each_channel(input, offsets, |value, offset| value + offset),
        &Kernel::MaxPool { size, stride } => max_pool(input, shape, size, stride, &step.shape),
        Kernel::Mean => {
            let channels = step.shape[0];
            let mut sums = vec![0.0_f32; channels];
            for pixel in input.chunks_exact(channels) {
                sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
            }
            let pixels = (input.len() / channels) as f32;
            sums.into_iter().map(|sum| sum / pixels).collect()
        }
        Kernel::Reshape => input.to_vec(),
        Kernel::Add => input.iter().zip(other.unwrap_or_default()).map(|(a, b)| a + b).collect(),
        Kernel::Relu => input.iter().map(|value| value.max(0.0)).collect(),
        Kernel::Softmax => {
            let largest = input.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let exps: Vec<f32> = input.iter().map(|value| (value - largest).exp()).collect();
            let sum: f32 = exps.iter().sum();
            exps.into_iter().map(|exp| exp / sum).collect()
        }
    }
}

fn each_channel(input: &[f32], numbers: &[f32], apply: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    input.iter().zip(numbers.iter().cycle()).map(|(&value, &number)| apply(value, number)).collect()
}

/// In eight lanes, so that the compiler may use the processor's.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0_f32; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

fn pad(input: &[f32], shape: &[usize], padding: usize) -> Vec<f32> {
    let (row, zeros) = (shape[1] * shape[2], padding * shape[2]);
    let wide = row + 2 * zeros;
    let mut output = vec![0.0; (shape[0] + 2 * padding) * wide];
    for (from, to) in input.chunks_exact(row).zip(output.chunks_exact_mut(wide).skip(padding)) {
        to[zeros..zeros + row].copy_from_slice(from);
    }
    output
}

fn convolution(
    input: &[f32],
    shape: &[usize],
    weight: &[f32],
    [filters, height, width, channels]: [usize; 4],
    stride: usize,
    bias: &[f32],
    output_shape: &[usize],
) -> Vec<f32> {
    let (row, window) = (shape[1] * channels, width * channels);
    let mut patch = vec![0.0; height * window];
    let mut output = Vec::with_capacity(output_shape.iter().product());
    for y in 0..output_shape[0] {
        for x in 0..output_shape[1] {
            for (line, to) in patch.chunks_exact_mut(window).enumerate() {
                let start = (y * stride + line) * row + x * stride * channels;
                to.copy_from_slice(&input[start..start + window]);
            }
            let rows = weight.chunks_exact(patch.len()).take(filters);
            output.extend(rows.zip(bias).map(|(weight, bias)| dot(weight, &patch) + bias));
        }
    }
    output
}

fn max_pool(input: &[f32], shape: &[usize], size: usize, stride: usize, output_shape: &[usize]) -> Vec<f32> {
    let channels = shape[2];
    let mut output = vec![f32::NEG_INFINITY; output_shape.iter().product()];
    for (pixel, largest) in output.chunks_exact_mut(channels).enumerate() {
        let (y, x) = (pixel / output_shape[1] * stride, pixel % output_shape[1] * stride);
        for line in y..y + size {
            for column in x..x + size {
                let start = (line * shape[1] + column) * channels;
                largest.iter_mut().zip(&input[start..start + channels]).for_each(|(l, value)| *l = l.max(*value));
            }
        }
    }
    output
}
