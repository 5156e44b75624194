//! From layers to steps.

use std::ops::Range;

use super::super::simd::{LANES, padded};
use super::super::winograd::conv::{Grid, Tiles};
use super::{Affine, ConvPool, Map, Op, Packed, Program, Slot, Step};
use crate::arch::Layer;
use crate::nn::plan::before_features;

/// Appends the steps of `layers` to `program`, which has the image alone, for chunks of up to `samples` samples.
pub(super) fn all(program: Program, layers: &[Layer], samples: usize) -> Program {
    let mut compiler = Compiler { program, layers: 0, samples };
    let (before, after) = layers.split_at(before_features(layers));
    let features = compiler.all(before, Value { map: 0, flat: false });
    let output = compiler.all(after, features);
    compiler.program.features = features.map;
    compiler.program.output = compiler.vector(output.map);
    let mut program = compiler.program;
    program.gradients = slots(&program);
    program.stages = stages(&program.steps);
    program.repeated = repeated(&program);
    program.lent.maps = program.repeated.iter().map(|&step| program.steps[step].output).collect();
    program.lent.gradients = lent_gradients(&program);
    program
}

/// The steps, cut before each batch norm.
fn stages(steps: &[Step]) -> Vec<Range<usize>> {
    let norms = (1..steps.len()).filter(|&step| matches!(steps[step].op, Op::BatchNorm { .. }));
    let starts: Vec<usize> = std::iter::once(0).chain(norms).collect();
    let ends = starts.iter().skip(1).copied().chain([steps.len()]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

/// The cheap steps whose output only their own stage reads. With a single stage the backward pass follows at once, and what
/// the forward pass gave is still in the cache.
fn repeated(program: &Program) -> Vec<usize> {
    let Program { steps, stages, .. } = program;
    let within = |stage: &Range<usize>, step: usize| {
        let output = steps[step].output;
        output != program.output
            && steps
                .iter()
                .enumerate()
                .all(|(index, reader)| stage.contains(&index) || reader.inputs().all(|input| input != output))
    };
    let stages = stages.iter().filter(|_| stages.len() > 1);
    stages.flat_map(|stage| stage.clone().filter(|&step| steps[step].is_cheap() && within(stage, step))).collect()
}

/// The gradients that only one stage uses. A batch norm makes that of its input when the stage before it has its turn.
fn lent_gradients(program: &Program) -> Vec<usize> {
    let Program { maps, steps, stages, .. } = program;
    let uses = |stage: &Range<usize>, map: usize| {
        let reach = stage.start..steps.len().min(stage.end + 1);
        steps[reach].iter().any(|step| step.inputs().chain([step.output]).any(|other| program.slot(other) == map))
    };
    let lent = |&map: &usize| {
        program.slot(map) == map && maps[map].trained && stages.iter().filter(|stage| uses(stage, map)).count() == 1
    };
    (0..maps.len()).filter(lent).collect()
}

/// Where the gradients of all maps are.
fn slots(program: &Program) -> Vec<Slot> {
    let count = program.maps.len();
    let mut slots: Vec<Slot> = (0..count).map(|map| Slot { map, last_reader: 0 }).collect();
    let mut readers = vec![0; count];
    for (index, step) in program.steps.iter().enumerate() {
        for input in step.inputs() {
            readers[input] += 1;
            slots[input].last_reader = index;
        }
    }
    for step in program.steps.iter().rev() {
        let only_reader = step.inputs().find(|&input| readers[input] == 1 && program.maps[input].trained);
        // The gradient of what a batch norm adds is there before that of its input, and stays while this is made.
        let only_reader = only_reader.filter(|&input| input == step.input || matches!(step.op, Op::Add { .. }));
        if let Some(input) = only_reader.filter(|_| step.is_by_value()) {
            slots[input].map = slots[step.output].map;
        }
    }
    slots
}

/// A program in the making.
struct Compiler {
    program: Program,
    /// Layers seen, those of residual blocks and the blocks themselves included, in the order in which they are written.
    layers: usize,
    /// The largest chunk.
    samples: usize,
}

/// What a layer hands on: a map, or the vector that `flatten` made of it without moving anything in memory.
#[derive(Clone, Copy)]
struct Value {
    map: usize,
    flat: bool,
}

impl Compiler {
    /// Appends `layers` after `value` and returns what they end in.
    fn all(&mut self, layers: &[Layer], mut value: Value) -> Value {
        let mut rest = layers;
        while let [first, after @ ..] = rest {
            let fused = Fused::of(first, after);
            value = self.layer(first, value, fused);
            self.layers += fused.layers();
            rest = &after[fused.layers()..];
        }
        value
    }

    fn layer(&mut self, layer: &Layer, value: Value, fused: Fused) -> Value {
        let index = self.layers;
        self.layers += 1;
        let relu = fused == Fused::Relu;
        let Value { map, flat } = value;
        match layer {
            Layer::Conv { filters, kernel, stride, padding } => {
                let conv = if let Some(grid) = self.grid(map, *kernel, *stride, *padding, fused) {
                    self.winograd(map, *filters, grid, relu)
                } else {
                    let source = self.pad(map, *padding);
                    self.conv(source, *filters, *kernel, *stride, fused)
                };
                Value { map: conv, flat }
            }
            Layer::Dense { units } => Value { map: self.dense(map, *units, relu), flat: true },
            Layer::MaxPool { size, stride } => Value { map: self.max_pool(map, *size, *stride), flat },
            Layer::Relu => Value { map: self.pointwise(Op::Relu, map), flat },
            Layer::BatchNorm => Value { map: self.batch_norm(value, relu), flat },
            Layer::Dropout(rate) => Value { map: self.pointwise(Op::Dropout { rate: *rate, layer: index }, map), flat },
            Layer::Flatten => Value { map, flat: true },
            Layer::GlobalAveragePool => Value { map: self.average(map), flat: true },
            Layer::Residual { body, shortcut } => {
                let main = self.all(body, value);
                let other = self.all(shortcut, value);
                Value { map: self.add(main.map, other.map, relu), flat: main.flat }
            }
        }
    }

    fn map(&self, index: usize) -> Map {
        self.program.maps[index]
    }

    fn push(&mut self, op: Op, input: usize, map: Map) -> usize {
        let output = self.program.maps.len();
        self.program.maps.push(map);
        self.program.steps.push(Step { op, input, output });
        output
    }

    fn pointwise(&mut self, op: Op, input: usize) -> usize {
        let input = self.widen(input);
        self.push(op, input, self.map(input))
    }

    /// The same map with whole lanes at each position: all but convolutions and dense layers want them.
    fn widen(&mut self, input: usize) -> usize {
        let map = self.map(input);
        if map.stride == padded(map.channels) {
            return input;
        }
        self.push(Op::Repack, input, Map { stride: padded(map.channels), ..map })
    }

    /// The values as one position of as many channels.
    fn vector(&mut self, input: usize) -> usize {
        let map = self.map(input);
        let whole = Map { trained: map.trained, ..Map::of(1, 1, map.positions() * map.channels) };
        if whole == map { input } else { self.push(Op::Repack, input, whole) }
    }

    fn pad(&mut self, input: usize, by: usize) -> usize {
        let map = self.map(input);
        if by == 0 {
            return input;
        }
        self.push(Op::Pad { by }, input, Map { height: map.height + 2 * by, width: map.width + 2 * by, ..map })
    }

    /// The tiles for a convolution, if it is one of those that Winograd's algorithm without a pool makes faster.
    fn grid(&self, map: usize, kernel: [usize; 2], stride: usize, padding: usize, fused: Fused) -> Option<Grid> {
        let map = self.map(map);
        if fused == Fused::ReluPool || !map.stride.is_multiple_of(LANES) {
            return None;
        }
        let grids = [3, 4].map(|tile| Grid::new([map.height, map.width], kernel, stride, padding, tile));
        let grid = grids.into_iter().flatten().min_by_key(Grid::multiplications)?;
        let direct = kernel.iter().chain(&grid.output).product();
        (2 * grid.multiplications() < direct).then_some(grid)
    }

    fn winograd(&mut self, input: usize, filters: usize, grid: Grid, relu: bool) -> usize {
        let Map { channels, stride, .. } = self.map(input);
        let ([height, width], [kh, kw]) = (grid.output, grid.kernel);
        let mut affine = Affine {
            parameter: 0,
            outputs: filters,
            outputs_padded: padded(filters),
            starts: Vec::new(),
            rows: height * width,
            runs: kh,
            run: kw * stride,
            step: kw * stride,
            taps: kh * kw,
            channels,
            stride,
        };
        affine.parameter = self.parameters(affine.packed());
        self.push(Op::Winograd { affine, tiles: Tiles::of(grid), relu }, input, Map::of(height, width, filters))
    }

    fn conv(&mut self, input: usize, filters: usize, [kh, kw]: [usize; 2], stride: usize, fused: Fused) -> usize {
        let map = self.map(input);
        let (height, width) = ((map.height - kh) / stride + 1, (map.width - kw) / stride + 1);
        let start = |y: usize, x: usize| (y * map.width + x) * stride * map.stride;
        let pooled = fused == Fused::ReluPool;
        let starts: Vec<usize> = if pooled {
            let cells = (0..height / 2).flat_map(|y| (0..width / 2).map(move |x| (2 * y, 2 * x)));
            cells.flat_map(|(y, x)| [start(y, x), start(y, x + 1), start(y + 1, x), start(y + 1, x + 1)]).collect()
        } else {
            (0..height).flat_map(|y| (0..width).map(move |x| start(y, x))).collect()
        };
        let mut affine = Affine {
            parameter: 0,
            outputs: filters,
            outputs_padded: padded(filters),
            rows: starts.len(),
            starts: in_chunk(&starts, self.samples, map.len()),
            runs: kh,
            run: kw * map.stride,
            step: map.width * map.stride,
            taps: kh * kw,
            channels: map.channels,
            stride: map.stride,
        };
        affine.parameter = self.parameters(affine.packed());
        if pooled {
            let winograd = [kh, kw, stride] == [3, 3, 1] && affine.vectorised();
            let kind = if winograd { ConvPool::Winograd } else { ConvPool::Direct };
            return self.push(Op::ConvPool { affine, kind }, input, Map::of(height / 2, width / 2, filters));
        }
        self.push(Op::Affine { affine, relu: fused == Fused::Relu }, input, Map::of(height, width, filters))
    }

    fn dense(&mut self, input: usize, units: usize, relu: bool) -> usize {
        let map = self.map(input);
        let mut affine = Affine {
            parameter: 0,
            outputs: units,
            outputs_padded: padded(units),
            rows: 1,
            starts: in_chunk(&[0], self.samples, map.len()),
            runs: 1,
            run: map.len(),
            step: map.len(),
            taps: map.positions(),
            channels: map.channels,
            stride: map.stride,
        };
        affine.parameter = self.parameters(affine.packed());
        self.push(Op::Affine { affine, relu }, input, Map::of(1, 1, units))
    }

    fn max_pool(&mut self, input: usize, size: usize, stride: usize) -> usize {
        let input = self.widen(input);
        let map = self.map(input);
        let (height, width) = ((map.height - size) / stride + 1, (map.width - size) / stride + 1);
        self.push(Op::MaxPool { size, stride }, input, Map { height, width, ..map })
    }

    fn batch_norm(&mut self, value: Value, relu: bool) -> usize {
        let input = self.widen(value.map);
        let map = self.map(input);
        let count = if value.flat { map.positions() } else { 1 };
        let packed = Packed::Runs { count, spare: 0, len: map.channels, stride: map.stride };
        let parameter = self.parameters([packed; 4]);
        self.push(Op::BatchNorm { parameter, flat: value.flat, other: None, relu }, input, Map { trained: true, ..map })
    }

    fn average(&mut self, input: usize) -> usize {
        let input = self.widen(input);
        let map = self.map(input);
        self.push(Op::Average, input, Map { height: 1, width: 1, ..map })
    }

    fn add(&mut self, input: usize, other: usize, relu: bool) -> usize {
        if self.norm_adds(input, other, relu) || self.norm_adds(other, input, relu) {
            return self.program.maps.len() - 1;
        }
        let (mut input, mut other) = (self.widen(input), self.widen(other));
        // Vectors of the same length can lie in memory in different ways.
        if self.map(input).len() != self.map(other).len() || self.map(input).channels != self.map(other).channels {
            (input, other) = (self.vector(input), self.vector(other));
        }
        let trained = self.map(input).trained || self.map(other).trained;
        self.push(Op::Add { other, relu }, input, Map { trained, ..self.map(input) })
    }

    /// Lets the step that made `norm` add `other` too, if it is a batch norm and the last step: nobody else reads its output, which
    /// need not be written and read again then. Whether it does.
    fn norm_adds(&mut self, norm: usize, other: usize, relu: bool) -> bool {
        let alike = Map { trained: true, ..self.map(other) } == self.map(norm);
        let Some(step) = self.program.steps.last_mut().filter(|step| step.output == norm && alike) else {
            return false;
        };
        let Op::BatchNorm { other: adds @ None, relu: rectifies @ false, .. } = &mut step.op else { return false };
        if [norm, step.input].contains(&other) {
            return false;
        }
        (*adds, *rectifies) = (Some(other), relu);
        true
    }

    /// Counts in the parameters of a layer and returns the number of the first.
    fn parameters<const N: usize>(&mut self, packed: [Packed; N]) -> usize {
        let parameters = &mut self.program.parameters;
        parameters.extend(packed);
        parameters.len() - N
    }
}

/// What a step does beside its own layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fused {
    Nothing,
    Relu,
    ReluPool,
}

impl Fused {
    /// How many of the layers `after` the step of `first` can take over.
    const fn of(first: &Layer, after: &[Layer]) -> Self {
        match (first, after) {
            (Layer::Conv { .. }, [Layer::Relu, Layer::MaxPool { size: 2, stride: 2 }, ..]) => Self::ReluPool,
            (
                Layer::Conv { .. } | Layer::Dense { .. } | Layer::BatchNorm | Layer::Residual { .. },
                [Layer::Relu, ..],
            ) => Self::Relu,
            _ => Self::Nothing,
        }
    }

    const fn layers(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Relu => 1,
            Self::ReluPool => 2,
        }
    }
}

/// `starts` of one sample repeated for `samples` of `len` values each.
fn in_chunk(starts: &[usize], samples: usize, len: usize) -> Vec<u32> {
    (0..samples).flat_map(|sample| starts.iter().map(move |start| (sample * len + start) as u32)).collect()
}
