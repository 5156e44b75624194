//! Numbers in eight or sixteen bits: scales from the range of what is kept, and programs that compute as if so kept.

use half::f16;

use super::lower::{Kernel, Program};
use super::run::run;
use crate::data::Images;

/// Training images on which ranges are measured.
const CALIBRATION: usize = 500;

/// How real numbers are kept in eight bits: `real = (integer − zero) · scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// The step between two integers.
    pub scale: f32,
    /// The integer for 0.
    pub zero: i32,
}

/// Grey values: each of the 256 is kept exactly.
const IMAGE: Scale = Scale { scale: 1.0 / 255.0, zero: -128 };
/// What TensorFlow Lite demands of a softmax.
const PROBABILITIES: Scale = Scale { scale: 1.0 / 256.0, zero: -128 };

impl Scale {
    /// The scale that holds all from `low` to `high`, and 0 exactly.
    pub fn of_range(low: f32, high: f32) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = ((high - low) / 255.0).max(1e-9);
        Self { scale, zero: (-128.0 - low / scale).round().clamp(-128.0, 127.0) as i32 }
    }

    /// The scale that holds all of `values`.
    pub fn of(values: &[f32]) -> Self {
        let (low, high) = values.iter().fold((0.0_f32, 0.0_f32), |(low, high), &v| (low.min(v), high.max(v)));
        Self::of_range(low, high)
    }

    /// The nearest integer that can be kept.
    pub fn integer(self, value: f32) -> i8 {
        ((value / self.scale).round_ties_even() + self.zero as f32).clamp(-128.0, 127.0) as i8
    }

    /// What is left of a number once it has been kept.
    fn kept(self, value: f32) -> f32 {
        (i32::from(self.integer(value)) - self.zero) as f32 * self.scale
    }
}

/// The scale of each value of `program`, from what it gives for training images.
pub fn calibrate(program: &Program, train: &Images) -> Vec<Scale> {
    let mut ranges = vec![(0.0_f32, 0.0_f32); program.steps.len() + 1];
    // Spread over the whole set, since some data sets are sorted.
    let count = CALIBRATION.min(train.len());
    for index in 0..count {
        run(program, train.image(index * train.len() / count), &|_| {}, &mut |value, numbers| {
            let (low, high) = &mut ranges[value];
            for number in numbers {
                *low = low.min(*number);
                *high = high.max(*number);
            }
        });
    }
    let mut scales: Vec<Scale> = vec![IMAGE];
    for (step, (low, high)) in program.steps.iter().zip(&ranges[1..]) {
        scales.push(match step.kernel {
            // These only move numbers.
            Kernel::Pad(_) | Kernel::MaxPool { .. } | Kernel::Reshape => scales[step.inputs[0]],
            Kernel::Softmax => PROBABILITIES,
            _ => Scale::of_range(*low, *high),
        });
    }
    scales
}

/// A weight in eight bits, symmetric around 0, with a scale for each of `rows`.
pub fn symmetric(weight: &[f32], rows: usize, least: impl Fn(usize) -> f32) -> (Vec<i8>, Vec<f32>) {
    let (mut integers, mut scales) = (Vec::with_capacity(weight.len()), Vec::with_capacity(rows));
    for (row, weights) in weight.chunks_exact(weight.len() / rows).enumerate() {
        let largest = weights.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
        let scale = (largest / 127.0).max(least(row)).max(1e-12);
        integers.extend(weights.iter().map(|weight| (weight / scale).round().clamp(-127.0, 127.0) as i8));
        scales.push(scale);
    }
    (integers, scales)
}

/// A convolution's or dense layer's weight and bias in integers.
pub struct Integers {
    /// The weight.
    pub weight: Vec<i8>,
    /// A scale for each filter, or one for a dense layer, which older runtimes ask for.
    pub scales: Vec<f32>,
    /// The bias at the scale of input times weight.
    pub bias: Vec<i32>,
}

/// A layer with inputs of `input` in integers; `rows` scales for its weight.
pub fn integers(weight: &[f32], bias: &[f32], rows: usize, input: Scale) -> Integers {
    let each = bias.len() / rows;
    // The bias must stay far from the ends of 32 bits.
    let least = |row: usize| {
        let largest = bias[row * each..(row + 1) * each].iter().fold(0.0_f32, |largest, bias| largest.max(bias.abs()));
        largest / (input.scale * (1 << 28) as f32)
    };
    let (weight, scales) = symmetric(weight, rows, least);
    let scaled = |(index, bias): (usize, &f32)| (bias / (input.scale * scales[index / each])).round() as i32;
    let bias = bias.iter().enumerate().map(scaled).collect();
    Integers { weight, scales, bias }
}

/// How many scales a layer's weight has.
pub fn rows(kernel: &Kernel) -> usize {
    match kernel {
        Kernel::Conv { shape, .. } => shape[0],
        _ => 1,
    }
}

/// `program` with its weights as sixteen bits keep them.
pub fn halved(mut program: Program) -> Program {
    for step in &mut program.steps {
        if let Kernel::Conv { weight, .. } | Kernel::Dense { weight, .. } = &mut step.kernel {
            for weight in weight {
                *weight = f16::from_f32(*weight).to_f32();
            }
        }
    }
    program
}

/// `program` with its weights as eight bits keep them; biases too if `scales` of the values are given.
pub fn rounded(mut program: Program, scales: Option<&[Scale]>) -> Program {
    for step in &mut program.steps {
        let rows = rows(&step.kernel);
        let input = step.inputs[0];
        match (&mut step.kernel, scales) {
            (Kernel::Conv { weight, bias, .. } | Kernel::Dense { weight, bias }, Some(scales)) => {
                let input = scales[input];
                let kept = integers(weight, bias, rows, input);
                unrounded(weight, &kept.weight, &kept.scales);
                let each = bias.len() / rows;
                for (index, (bias, integer)) in bias.iter_mut().zip(kept.bias).enumerate() {
                    *bias = integer as f32 * input.scale * kept.scales[index / each];
                }
            }
            (Kernel::Conv { weight, .. } | Kernel::Dense { weight, .. }, None) => {
                let (integers, scales) = symmetric(weight, rows, |_| 0.0);
                unrounded(weight, &integers, &scales);
            }
            (Kernel::Scale(numbers) | Kernel::Shift(numbers), Some(_)) => keep(numbers),
            _ => {}
        }
    }
    program
}

fn unrounded(weight: &mut [f32], integers: &[i8], scales: &[f32]) {
    let each = weight.len() / scales.len();
    for (index, (weight, integer)) in weight.iter_mut().zip(integers).enumerate() {
        *weight = f32::from(*integer) * scales[index / each];
    }
}

/// Rounds `values` as eight bits at their own range keep them: what runs with dynamic ranges does to activations.
pub fn keep(values: &mut [f32]) {
    let scale = Scale::of(values);
    keep_at(values, scale);
}

/// Rounds `values` as eight bits at `scale` keep them.
pub fn keep_at(values: &mut [f32], scale: Scale) {
    for value in values {
        *value = scale.kept(*value);
    }
}

#[cfg(test)]
mod tests {
    use super::{Scale, integers, symmetric};

    #[test]
    fn a_scale_keeps_zero_exactly_and_all_else_within_half_a_step() {
        for (low, high) in [(0.0, 1.0), (-3.0, 0.5), (2.0, 3.0), (-1.0, -0.5), (0.0, 0.0)] {
            let scale = Scale::of_range(low, high);
            assert_eq!(scale.kept(0.0).to_bits(), 0.0_f32.to_bits());
            for value in [low, high, f32::midpoint(low, high)] {
                assert!((scale.kept(value) - value).abs() <= scale.scale * 0.501, "{value} of {low} to {high}");
            }
        }
    }

    #[test]
    fn a_weight_has_a_scale_for_each_row_and_its_bias_fits() {
        let (integers_of, scales) = symmetric(&[1.0, -0.5, 100.0, 0.0], 2, |_| 0.0);
        assert_eq!((integers_of.as_slice(), scales.len()), ([127, -64, 127, 0].as_slice(), 2));
        let kept = integers(&[1e-9, 1e-9], &[1000.0], 1, Scale { scale: 1e-3, zero: 0 });
        assert!(kept.bias[0] > 1 << 27 && (kept.bias[0] as f32 * 1e-3 * kept.scales[0] - 1000.0).abs() < 0.1);
    }
}
