//! The forward pass of each layer, recorded on a tape or not.

use dfdx::dtypes::Dtype;
use dfdx::shapes::{Axis, HasShape};
use dfdx::tensor::{PutTape, SplitTape, Tape, Tensor};
use dfdx::tensor_ops::{
    BroadcastTo, ChooseFrom, GatherTo, MeanTo, ReshapeTo, TryAdd, TryDiv, TryGt, TryMatMul, TryMul, TrySub,
};

use super::super::Step;
use super::super::backend::Backend;
use super::super::param::{number, to_f32};
use super::super::plan::{BATCH_NORM_EPSILON, DropoutMask, Matrix, Statistics};
use super::compile::{Node, Padding, Rows, Windows};
use crate::arch::{DropoutRate, Shape};

/// What the layers need beside their input.
pub(super) struct Context<'a, E: Dtype, D: Backend<E>> {
    pub device: &'a D,
    /// All parameters, flat.
    pub parameters: &'a [Tensor<(usize,), E, D>],
    pub mode: Mode<'a>,
    /// The statistics of the batch, by the place of the running one.
    pub statistics: Statistics,
}

/// Whether dropout and the batch's own statistics are on.
#[derive(Clone, Copy)]
pub(super) enum Mode<'a> {
    /// With the number of the first sample in its batch.
    Train {
        step: &'a Step,
        first: usize,
    },
    Evaluate,
}

/// Runs `x` through all `nodes`.
pub(super) fn forward<E: Dtype, D: Backend<E>, T: Tape<E, D>>(
    nodes: &[Node<E, D>],
    mut x: Matrix<E, D, T>,
    context: &mut Context<E, D>,
) -> Result<Matrix<E, D, T>, D::Err> {
    for node in nodes {
        x = match node {
            Node::Conv { parameter, filters, patch, padding, rows, first } => {
                let patches = if *first {
                    let (x, tape) = x.split_tape();
                    im2col(x, padding.as_ref(), rows)?.put_tape(tape)
                } else {
                    im2col(x, padding.as_ref(), rows)?
                };
                conv(patches, *filters, *patch, &context.parameters[*parameter..])?
            }
            Node::MaxPool { windows } => max_pool(x, windows, context.device)?,
            Node::Relu => x.try_relu()?,
            Node::BatchNorm { parameter, channels } => batch_norm(x, *channels, *parameter, context)?,
            Node::Dropout { place, rate, shape } => dropout(x, *place, *rate, *shape, context)?,
            Node::Flatten { rows: Some(rows) } => x.try_gather(rows.clone())?,
            Node::Flatten { rows: None } => x,
            Node::Dense { parameter, units } => affine(x, *units, &context.parameters[*parameter..])?,
            Node::GlobalAveragePool { channels } => {
                let (features, samples) = *x.shape();
                x.try_reshape_like(&(*channels, features / channels, samples))?.try_mean::<_, Axis<1>>()?
            }
            Node::Residual { body, shortcut } => {
                let (x, tape) = x.split_tape();
                let main = forward(body, x.clone().put_tape(tape), context)?;
                let other = forward(shortcut, x.put_tape(T::default()), context)?;
                // Times 1 makes a tensor of its own: two ways that change nothing (dropout at rate 0) would else be one, and
                // dfdx can't add a tensor to itself.
                main.try_add(other.try_mul(E::ONE)?)?
            }
        };
    }
    Ok(x)
}

/// `[patch, position · sample]`-to-be: the values under the kernel at every position, `[patch · position, sample]`.
fn im2col<E: Dtype, D: Backend<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    padding: Option<&Padding<E, D>>,
    rows: &Rows<D>,
) -> Result<Matrix<E, D, T>, D::Err> {
    let x = match padding {
        None => x,
        Some(Padding { rows, inside }) => {
            let padded: Matrix<E, D, T> = x.try_gather(rows.clone())?;
            let shape = *padded.shape();
            padded.try_mul(inside.clone().try_broadcast_like::<_, Axis<1>>(&shape)?)?
        }
    };
    x.try_gather(rows.clone())
}

fn conv<E: Dtype, D: Backend<E>, T: Tape<E, D>>(
    patches: Matrix<E, D, T>,
    filters: usize,
    patch: usize,
    parameters: &[Tensor<(usize,), E, D>],
) -> Result<Matrix<E, D, T>, D::Err> {
    let (rows, samples) = *patches.shape();
    let positions = rows / patch;
    let patches = patches.try_reshape_like(&(patch, positions * samples))?;
    affine(patches, filters, parameters)?.try_reshape_like(&(filters * positions, samples))
}

/// weight · x + bias, with the weight `[outputs, inputs]` and the bias the first two of `parameters`.
fn affine<E: Dtype, D: Backend<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    outputs: usize,
    parameters: &[Tensor<(usize,), E, D>],
) -> Result<Matrix<E, D, T>, D::Err> {
    let (inputs, columns) = *x.shape();
    let weight = parameters[0].retaped::<T>().try_reshape_like(&(outputs, inputs))?;
    let bias = parameters[1].retaped::<T>();
    weight.try_matmul(x)?.try_add(bias.try_broadcast_like::<_, Axis<1>>(&(outputs, columns))?)
}

/// The first maximum of each window, which alone gets the gradient: dfdx's own maximum gives it to every one of equals.
fn max_pool<E: Dtype, D: Backend<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    windows: &Windows<D>,
    device: &D,
) -> Result<Matrix<E, D, T>, D::Err> {
    match windows {
        Windows::Host(windows) => pool_by_index(x, windows, device),
        Windows::Device(windows) => pool_by_choice(x, windows),
    }
}

/// Finds the maxima on the host and gathers them.
fn pool_by_index<E: Dtype, D: Backend<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    windows: &[Vec<usize>],
    device: &D,
) -> Result<Matrix<E, D, T>, D::Err> {
    let (features, samples) = *x.shape();
    let mut values = vec![E::default(); features * samples];
    x.copy_into(&mut values);
    let outputs = windows[0].len();
    let mut largest = Vec::with_capacity(outputs * samples);
    let mut maxima = vec![E::default(); samples];
    for output in 0..outputs {
        let start = windows[0][output] * samples;
        maxima.copy_from_slice(&values[start..start + samples]);
        largest.extend(start..start + samples);
        let places = &mut largest[output * samples..];
        for rows in &windows[1..] {
            let start = rows[output] * samples;
            let candidates = values[start..start + samples].iter().zip(start..);
            for ((maximum, place), (&value, at)) in maxima.iter_mut().zip(places.iter_mut()).zip(candidates) {
                if value > *maximum {
                    (*maximum, *place) = (value, at);
                }
            }
        }
    }
    let rows = device.rows(&largest)?;
    x.try_reshape_like(&(features * samples,))?.try_gather(rows)?.try_reshape_like(&(outputs, samples))
}

/// Walks through the windows on the device, and takes what is larger than all before.
fn pool_by_choice<E: Dtype, D: Backend<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    windows: &[Rows<D>],
) -> Result<Matrix<E, D, T>, D::Err> {
    let (x, tape) = x.split_tape();
    let mut largest: Matrix<E, D, T> = x.clone().put_tape(tape).try_gather(windows[0].clone())?;
    for rows in &windows[1..] {
        let next: Matrix<E, D, T> = x.retaped::<T>().try_gather(rows.clone())?;
        let larger = next.try_gt(&largest)?;
        largest = larger.try_choose(next, largest)?;
    }
    Ok(largest)
}

/// The parameters are scale, shift, running mean and running variance.
fn batch_norm<E: Dtype, D: Backend<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    channels: usize,
    parameter: usize,
    context: &mut Context<E, D>,
) -> Result<Matrix<E, D, T>, D::Err> {
    let shape = *x.shape();
    let wide = (channels, shape.0 * shape.1 / channels);
    let x = x.try_reshape_like(&wide)?;
    let [scale, shift, mean, variance] =
        std::array::from_fn(|index| context.parameters[parameter + index].retaped::<T>());
    let (centred, variance) = match context.mode {
        Mode::Evaluate => (x.try_sub(mean.try_broadcast_like::<_, Axis<1>>(&wide)?)?, variance),
        Mode::Train { .. } => {
            let (x, tape) = x.split_tape();
            let mean: Tensor<(usize,), E, D, T> = x.clone().put_tape(tape).try_mean::<_, Axis<1>>()?;
            context.statistics.push((parameter + 2, to_f32(&mean.as_vec())));
            let centred = x.put_tape(T::default()).try_sub(mean.try_broadcast_like::<_, Axis<1>>(&wide)?)?;
            let (centred, tape) = centred.split_tape();
            let square = centred.clone().put_tape(tape).try_square()?;
            let variance: Tensor<(usize,), E, D, T> = square.try_mean::<_, Axis<1>>()?;
            context.statistics.push((parameter + 3, to_f32(&variance.as_vec())));
            (centred.put_tape(T::default()), variance)
        }
    };
    let deviation = variance.try_add(number::<E>(BATCH_NORM_EPSILON))?.try_sqrt()?;
    let factor = scale.try_div(deviation)?.try_broadcast_like::<_, Axis<1>>(&wide)?;
    let normal = factor.try_mul(centred)?.try_add(shift.try_broadcast_like::<_, Axis<1>>(&wide)?)?;
    normal.try_reshape_like(&shape)
}

fn dropout<E: Dtype, D: Backend<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    place: usize,
    rate: DropoutRate,
    shape: Shape,
    context: &Context<E, D>,
) -> Result<Matrix<E, D, T>, D::Err> {
    let Mode::Train { step, first } = context.mode else { return Ok(x) };
    let rate = match rate {
        DropoutRate::Setting => step.dropout,
        DropoutRate::Fixed(rate) => rate,
    };
    if rate <= 0.0 {
        return Ok(x);
    }
    let mask = DropoutMask::new(step, place, rate, shape.len());
    let (features, samples) = *x.shape();
    let (positions, channels) = match shape {
        Shape::Map { height, width, channels } => (height * width, channels),
        Shape::Vector(len) => (1, len),
    };
    let mut factors = Vec::with_capacity(features * samples);
    for feature in 0..features {
        // From channel, position to position, channel.
        let value = feature % positions * channels + feature / positions;
        factors.extend((first..first + samples).map(|sample| number::<E>(f64::from(mask.factor(sample, value)))));
    }
    x.try_mul(context.device.tensor(&factors, (features, samples))?)
}

#[cfg(test)]
mod tests {
    use dfdx::tensor::{Cpu, Gradients, Trace};
    use dfdx::tensor_ops::{Backward, SumTo};

    use super::*;
    use crate::random::{Purpose, Stream};

    /// Overlapping windows over values of which many tie: both ways to pool must choose the same ones.
    #[test]
    fn both_ways_to_pool_agree() {
        let (device, features, samples) = (Cpu::default(), 30, 8);
        let mut stream = Stream::new(1, Purpose::Augment, [1, 1]);
        let values: Vec<f64> = (0..features * samples).map(|_| stream.below(3) as f64).collect();
        let weights: Vec<f64> = (0..9 * samples).map(|_| f64::from(stream.unit())).collect();
        let windows: Vec<Vec<usize>> = (0..4).map(|place| (0..9).map(|output| 3 * output + place).collect()).collect();
        let rows = windows.iter().map(|rows| Backend::<f64>::rows(&device, rows).expect("the CPU")).collect();
        let pool = |windows: &Windows<Cpu>| {
            let x: Matrix<f64, Cpu> = device.tensor(&values, (features, samples)).expect("the CPU");
            let weights: Matrix<f64, Cpu> = Backend::tensor(&device, &weights, (9, samples)).expect("the CPU");
            let pooled = max_pool(x.trace(Gradients::leaky()), windows, &device).expect("the CPU");
            let maxima = pooled.as_vec();
            let gradients = (pooled * weights).sum::<(), _>().backward();
            (maxima, gradients.get(&x).as_vec())
        };
        let (maxima, gradient) = pool(&Windows::Host(windows));
        assert_eq!((maxima, gradient.clone()), pool(&Windows::Device(rows)));
        assert!((gradient.iter().sum::<f64>() - weights.iter().sum::<f64>()).abs() < 1e-9);
    }
}
